//! `ringmain produce TOPIC`: every line of standard input becomes a record.
//!
//! The producer is idempotent: a batch whose answer was lost is sent again with the same sequence, so a
//! broken connection neither loses nor repeats a line. One request is in flight; lines that arrive
//! meanwhile make the next one larger, so a pipe is fast and a terminal is prompt.

use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::Args;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;

use super::error::CliError;
use super::sender::{Outgoing, Sender};
use crate::cli::clock::now_ms;

/// How long a line waits for company when nothing is in flight.
const LINGER: Duration = Duration::from_millis(5);
/// Lines read ahead of the sender: enough to fill the next request while one is in flight.
const LINES_AHEAD_MAX: usize = 65_536;
/// Longest line: what a broker with default settings takes, with room for the batch around it.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Arguments of `ringmain produce`.
#[derive(Args, Debug, Clone)]
pub struct ProduceArgs {
    /// The topic; a broker that allows it makes it on first use.
    pub topic: String,
    /// A broker, as HOST:PORT; of several with commas between them the first that answers.
    #[arg(short, long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Send every line to this partition. Without it lines with a key go where their key belongs, as the
    /// Java client places them, and lines without one to one partition a batch, in turn.
    #[arg(short, long, value_name = "N")]
    pub partition: Option<i32>,
    /// What stands between key and value in a line; without it lines have no key.
    #[arg(short, long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// A header for every record; may be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub header: Vec<String>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, default_value = "none", value_name = "CODEC")]
    pub compression: String,
    /// A batch is sent when it holds this many bytes.
    #[arg(long, default_value_t = 65_536, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(128..=16_777_216))]
    pub batch_bytes: u32,
}

/// Runs the command: 0 when every line was acknowledged, 1 otherwise.
pub fn run(args: &ProduceArgs) -> ExitCode {
    match produce(args) {
        Ok(count) => {
            eprintln!("{count} records acknowledged");
            ExitCode::SUCCESS
        }
        Err((count, error)) => {
            eprintln!("ringmain produce: {error}");
            eprintln!("{count} records acknowledged; the rest was not");
            ExitCode::FAILURE
        }
    }
}

fn produce(args: &ProduceArgs) -> Result<u64, (u64, CliError)> {
    let early = |error| (0, error);
    let codec = Codec::from_name(&args.compression).ok_or_else(|| {
        early(CliError::Usage(format!(
            "no codec is named {:?}: none, gzip, snappy, lz4, zstd",
            args.compression
        )))
    })?;
    let headers = parse_headers(&args.header).map_err(early)?;
    let mut sender = Sender::connect(&args.bootstrap, &args.topic).map_err(early)?;
    if let Some(partition) = args.partition {
        sender.require_partition(partition).map_err(early)?;
    }
    let lines = read_lines_on_a_thread();
    let mut batcher = Batcher { args, codec, headers, turn: 0 };
    let mut input_error = None;
    loop {
        let (batch, open) = gather(&lines, args.batch_bytes as usize, &mut input_error);
        if !batch.is_empty() {
            let outgoing = batcher.batches(&batch, sender.partition_count());
            let sent = outgoing.and_then(|outgoing| sender.send(outgoing));
            sent.map_err(|error| (sender.acknowledged(), error))?;
        }
        if let Some(error) = input_error {
            return Err((sender.acknowledged(), CliError::Terminal(error)));
        }
        if !open {
            return Ok(sender.acknowledged());
        }
    }
}

/// Reads lines without their newline; the channel closes at the end of input.
fn read_lines_on_a_thread() -> Receiver<io::Result<Vec<u8>>> {
    let (to, lines) = sync_channel(LINES_AHEAD_MAX);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(1 << 20, io::stdin().lock());
        loop {
            let mut line = Vec::new();
            let read = io::Read::take(&mut input, LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
            let item = match read {
                Ok(0) => return,
                Ok(_) if line.len() > LINE_BYTES_MAX => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB"))
                }
                Ok(_) => {
                    if line.last() == Some(&b'\n') {
                        line.pop();
                    }
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if to.send(item).is_err() || failed {
                return;
            }
        }
    });
    lines
}

/// Waits for a first line, then takes what comes within the linger, up to eight batches' worth of bytes.
/// The flag says whether more may come.
fn gather(
    lines: &Receiver<io::Result<Vec<u8>>>,
    batch_bytes: usize,
    error: &mut Option<io::Error>,
) -> (Vec<Vec<u8>>, bool) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let Ok(first) = lines.recv() else { return (batch, false) };
    let mut next = Ok(first);
    loop {
        match next {
            Ok(Ok(line)) => {
                bytes += line.len();
                batch.push(line);
            }
            Ok(Err(failed)) => {
                *error = Some(failed);
                return (batch, false);
            }
            Err(RecvTimeoutError::Timeout) => return (batch, true),
            Err(RecvTimeoutError::Disconnected) => return (batch, false),
        }
        if bytes >= 8 * batch_bytes {
            return (batch, true);
        }
        next = lines.recv_timeout(LINGER);
    }
}

fn parse_headers(given: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let parse = |header: &String| {
        let (name, value) = header
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("header {header:?} is not of the form NAME=VALUE")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    given.iter().map(parse).collect()
}

/// Turns lines into batches.
struct Batcher<'a> {
    args: &'a ProduceArgs,
    codec: Codec,
    headers: Vec<(String, String)>,
    /// Batches of keyless lines made so far: their partition goes round.
    turn: usize,
}

impl Batcher<'_> {
    /// Batches in sending order; lines of one partition keep their order.
    fn batches(&mut self, lines: &[Vec<u8>], partition_count: usize) -> Result<Vec<Outgoing>, CliError> {
        let mut open: Vec<Option<BatchBuilder>> = (0..partition_count).map(|_| None).collect();
        let mut done = Vec::new();
        let headers: Vec<(&str, Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))).collect();
        let timestamp = now_ms();
        for line in lines {
            let (key, value) = self.split(line);
            let index = match (self.args.partition, key) {
                (Some(partition), _) => usize::try_from(partition).unwrap_or(0),
                (None, Some(key)) => partition_of_key(key, partition_count),
                (None, None) => self.turn % partition_count,
            };
            let Some(slot) = open.get_mut(index) else {
                return Err(CliError::Usage(format!("the topic has no partition {index}")));
            };
            let builder = slot.get_or_insert_with(|| BatchBuilder::new(self.codec));
            let record = NewRecord { timestamp, key, value: Some(value), headers: &headers };
            builder.push(&record).map_err(|error| CliError::Usage(error.to_string()))?;
            if builder.uncompressed_bytes() >= self.args.batch_bytes as usize {
                done.extend(slot.take().map(|builder| Outgoing::new(index, builder)));
                self.turn = self.turn.wrapping_add(1);
            }
        }
        let rest = open.into_iter().enumerate();
        let before = done.len();
        done.extend(rest.filter_map(|(index, slot)| slot.map(|builder| Outgoing::new(index, builder))));
        if done.len() > before {
            self.turn = self.turn.wrapping_add(1);
        }
        Ok(done)
    }

    fn split<'a>(&self, line: &'a [u8]) -> (Option<&'a [u8]>, &'a [u8]) {
        let separator = self.args.key_separator.as_deref().unwrap_or_default().as_bytes();
        if separator.is_empty() {
            return (None, line);
        }
        let found = line.windows(separator.len()).position(|window| window == separator);
        match found.map(|at| line.split_at(at)) {
            Some((key, rest)) => (Some(key), rest.get(separator.len()..).unwrap_or_default()),
            None => (None, line),
        }
    }
}

/// Where the Java client places a key: murmur2, sign bit off, modulo.
fn partition_of_key(key: &[u8], partition_count: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partition_count
}

/// Murmur2 in the 32-bit form with the seed Kafka's clients share (`Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c_u32 ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_land_where_the_java_client_puts_them() {
        // Values that `org.apache.kafka.common.utils.Utils.murmur2` returns, as signed integers.
        for (key, expected) in
            [("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }
}
