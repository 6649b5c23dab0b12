//! `ringmain consume TOPIC`: records to standard output, one a line, until interrupted or told to stop.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ringmain_protocol::messages::fetch_response::PartitionData;
use ringmain_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::record::batch::batches;
use ringmain_storage::record::record::{BatchRecords, Record};

use super::client::{Client, TopicView, check};
use super::clock::{instant, pause};
use super::error::CliError;
use super::sender::retrying;

/// ListOffsets' special timestamps.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// Most bytes one batch may take decompressed here.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// How long broken connections are tried again.
const OUTAGE: std::time::Duration = std::time::Duration::from_secs(30);

/// Arguments of `ringmain consume`.
#[derive(Args, Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ConsumeArgs {
    /// The topic.
    pub topic: String,
    /// A broker, as HOST:PORT; of several with commas between them the first that answers.
    #[arg(short, long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Only this partition; may be given again. Without it all of them.
    #[arg(short, long, value_name = "N")]
    pub partition: Vec<i32>,
    /// Start at this offset; a negative one counts back from the end.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, conflicts_with = "from_beginning")]
    pub offset: Option<i64>,
    /// Start at the oldest record instead of the end.
    #[arg(long)]
    pub from_beginning: bool,
    /// Stop after this many records.
    #[arg(short = 'n', long, value_name = "N")]
    pub max_records: Option<u64>,
    /// Stop at what was the end when the command started.
    #[arg(short, long)]
    pub exit_at_end: bool,
    /// Print the key before the value (nothing for a null key).
    #[arg(short = 'k', long)]
    pub print_key: bool,
    /// Print headers, as name=value with commas, before key and value.
    #[arg(long)]
    pub print_headers: bool,
    /// Print partition and offset first.
    #[arg(long)]
    pub print_offset: bool,
    /// Print the timestamp, in milliseconds since 1970.
    #[arg(long)]
    pub print_timestamp: bool,
    /// What stands between the printed parts.
    #[arg(long, default_value = "\t", value_name = "TEXT")]
    pub separator: String,
}

/// Runs the command: 0 when it ended as asked, 1 otherwise.
pub fn run(args: &ConsumeArgs) -> ExitCode {
    match consume(args) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output went away, as `head` does: that is its right.
        Err(CliError::Terminal(source)) if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmain consume: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where reading of a partition stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    next: i64,
    /// Where to stop under `--exit-at-end`.
    end: i64,
}

struct Consumer<'a> {
    args: &'a ConsumeArgs,
    view: TopicView,
    connections: BTreeMap<String, Client>,
    places: BTreeMap<usize, Place>,
    printed: u64,
}

fn consume(args: &ConsumeArgs) -> Result<(), CliError> {
    if args.max_records == Some(0) {
        return Ok(());
    }
    let view = retrying(|| Client::connect(&args.bootstrap)?.topic(&args.topic, false))?;
    let count = view.leaders.len();
    let mut consumer =
        Consumer { args, view, connections: BTreeMap::new(), places: BTreeMap::new(), printed: 0 };
    let wanted: Vec<usize> = if args.partition.is_empty() {
        (0..count).collect()
    } else {
        let index = |partition: &i32| {
            usize::try_from(*partition).ok().filter(|index| *index < count).ok_or_else(|| {
                CliError::Usage(format!("{} has partitions 0 to {}, not {partition}", args.topic, count - 1))
            })
        };
        args.partition.iter().map(index).collect::<Result<_, _>>()?
    };
    for index in wanted {
        let place = consumer.start_place(index)?;
        consumer.places.insert(index, place);
    }
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let mut failing_since = None;
    loop {
        if args.exit_at_end {
            consumer.places.retain(|_, place| place.next < place.end);
        }
        if consumer.places.is_empty() {
            return out.flush().map_err(CliError::Terminal);
        }
        match consumer.round(&mut out) {
            Ok(true) => return out.flush().map_err(CliError::Terminal),
            Ok(false) => failing_since = None,
            Err(error) if error.retriable() => {
                if instant() - *failing_since.get_or_insert_with(instant) > OUTAGE {
                    return Err(error);
                }
                pause(std::time::Duration::from_millis(200));
                consumer.connections.clear();
                if let Ok(view) =
                    Client::connect(&args.bootstrap).and_then(|mut c| c.topic(&args.topic, false))
                {
                    consumer.view = view;
                }
            }
            Err(error) => return Err(error),
        }
        out.flush().map_err(CliError::Terminal)?;
    }
}

impl Consumer<'_> {
    fn connection(&mut self, leader: &str) -> Result<&mut Client, CliError> {
        let client = match self.connections.remove(leader) {
            Some(client) => client,
            None => Client::connect(leader)?,
        };
        Ok(self.connections.entry(leader.to_owned()).or_insert(client))
    }

    fn start_place(&mut self, index: usize) -> Result<Place, CliError> {
        let earliest = self.list_offset(index, EARLIEST)?;
        let end = self.list_offset(index, LATEST)?;
        let next = match self.args.offset {
            Some(offset) if offset >= 0 => offset,
            Some(back) => end.saturating_add(back).max(earliest),
            None if self.args.from_beginning => earliest,
            None => end,
        };
        if next < earliest || next > end {
            return Err(CliError::Usage(format!(
                "{}-{index} holds offsets {earliest} to {end} (exclusive), not {next}",
                self.args.topic
            )));
        }
        Ok(Place { next, end })
    }

    fn list_offset(&mut self, index: usize, timestamp: i64) -> Result<i64, CliError> {
        let topic = self.args.topic.clone();
        let leader = self.view.leaders.get(index).cloned().unwrap_or_default();
        let partition_index = i32::try_from(index).unwrap_or(i32::MAX);
        let partition = ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Str::from(topic.as_str()),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let client = self.connection(&leader)?;
        retrying(|| {
            let answer = client.call(&request)?;
            let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
            let Some(partition) = partition else { return Err(CliError::Unsupported("ListOffsets")) };
            check(partition.error_code, || format!("find offsets of {topic}-{index}"))?;
            Ok(partition.offset)
        })
    }

    /// One fetch from every leader. True when the command has printed all it was asked for.
    fn round(&mut self, out: &mut impl Write) -> Result<bool, CliError> {
        let mut by_leader: BTreeMap<String, Vec<FetchPartition>> = BTreeMap::new();
        for (index, place) in &self.places {
            let leader = self.view.leaders.get(*index).cloned().unwrap_or_default();
            by_leader.entry(leader).or_default().push(FetchPartition {
                partition: i32::try_from(*index).unwrap_or(i32::MAX),
                fetch_offset: place.next,
                partition_max_bytes: 4 << 20,
                ..Default::default()
            });
        }
        // With several leaders none may hold up the others for long.
        let max_wait_ms = if by_leader.len() == 1 { 500 } else { 50 };
        for (leader, partitions) in by_leader {
            let request = FetchRequest {
                max_wait_ms,
                min_bytes: 1,
                max_bytes: 32 << 20,
                topics: vec![FetchTopic {
                    topic: Str::from(self.args.topic.as_str()),
                    topic_id: self.view.id,
                    partitions,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = self.connection(&leader)?.call(&request)?;
            check(answer.error_code, || format!("fetch from {leader}"))?;
            for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                if self.take(&partition, out)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn take(&mut self, data: &PartitionData, out: &mut impl Write) -> Result<bool, CliError> {
        let name = format!("{}-{}", self.args.topic, data.partition_index);
        if ErrorCode::from_code(data.error_code) == Some(ErrorCode::OffsetOutOfRange) {
            let text =
                format!("{name}: the offset is no longer there (oldest now: {})", data.log_start_offset);
            return Err(CliError::Usage(text));
        }
        check(data.error_code, || format!("fetch {name}"))?;
        let index = usize::try_from(data.partition_index).unwrap_or(usize::MAX);
        let (Records::Bytes(bytes), Some(place)) = (&data.records, self.places.get(&index).copied()) else {
            return Ok(false);
        };
        let mut next = place.next;
        for (header, batch) in batches(bytes) {
            if header.attributes().is_control() {
                next = next.max(header.next_offset().0);
                continue;
            }
            let damaged = |error| CliError::Usage(format!("{name} at offset {next}: {error}"));
            let records = BatchRecords::open(batch, BATCH_BYTES_MAX).map_err(damaged)?;
            for record in &records {
                let record = record.map_err(damaged)?;
                if record.offset.0 < place.next {
                    continue;
                }
                if self.args.exit_at_end && record.offset.0 >= place.end {
                    break;
                }
                self.print(data.partition_index, &record, out).map_err(CliError::Terminal)?;
                self.printed += 1;
                if Some(self.printed) == self.args.max_records {
                    return Ok(true);
                }
            }
            next = next.max(header.next_offset().0);
        }
        if let Some(place) = self.places.get_mut(&index) {
            place.next = next;
        }
        Ok(false)
    }

    fn print(&self, partition: i32, record: &Record<'_>, out: &mut impl Write) -> io::Result<()> {
        let separator = self.args.separator.as_bytes();
        if self.args.print_offset {
            write!(out, "{partition}:{}", record.offset)?;
            out.write_all(separator)?;
        }
        if self.args.print_timestamp {
            write!(out, "{}", record.timestamp)?;
            out.write_all(separator)?;
        }
        if self.args.print_headers {
            for (position, (name, value)) in record.headers.enumerate() {
                if position > 0 {
                    out.write_all(b",")?;
                }
                out.write_all(name.as_bytes())?;
                out.write_all(b"=")?;
                out.write_all(value.unwrap_or_default())?;
            }
            out.write_all(separator)?;
        }
        if self.args.print_key {
            out.write_all(record.key.unwrap_or_default())?;
            out.write_all(separator)?;
        }
        out.write_all(record.value.unwrap_or_default())?;
        out.write_all(b"\n")
    }
}
