//! `ringmain consume TOPIC`: records to standard output, one a line, until interrupted or told to stop; as a member of a
//! group with `--group`.

mod membership;
mod print;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ringmain_protocol::messages::fetch_response::PartitionData;
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::record::batch::batches;
use ringmain_storage::record::record::BatchRecords;

use self::membership::Membership;
use super::client::{Client, TopicView, check};
use super::clock::{instant, pause};
use super::error::CliError;
use super::offsets;
use super::sender::retrying;
use crate::runtime::signals::StopSignals;

/// Most bytes one batch may take decompressed here.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// How long broken connections are tried again.
const OUTAGE: Duration = Duration::from_secs(30);
/// Before a broken connection is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `ringmain consume`.
#[derive(Args, Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ConsumeArgs {
    /// The topic.
    pub topic: String,
    /// A broker, as HOST:PORT; of several with commas between them the first that answers.
    #[arg(short, long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// As a member of this group: its members share the partitions, and go on where it stopped. Offsets are committed once
    /// a second and at the end, behind what was printed. Where nothing is committed it starts at the end, or with
    /// --from-beginning at the oldest record.
    #[arg(short, long, value_name = "GROUP", conflicts_with_all = ["partition", "offset"])]
    pub group: Option<String>,
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
    membership: Option<Membership>,
    printed: u64,
    failing_since: Option<Instant>,
}

fn consume(args: &ConsumeArgs) -> Result<(), CliError> {
    if args.max_records == Some(0) {
        return Ok(());
    }
    let stop = args.group.is_some().then(stopped_by_signal).transpose()?.unwrap_or_default();
    let view = retrying(|| Client::connect(&args.bootstrap)?.topic(&args.topic, false))?;
    let membership = args.group.as_deref().map(|group| Membership::new(&args.bootstrap, group, &args.topic));
    let mut consumer = Consumer {
        args,
        view,
        connections: BTreeMap::new(),
        places: BTreeMap::new(),
        membership,
        printed: 0,
        failing_since: None,
    };
    if consumer.membership.is_none() {
        consumer.place_all()?;
    }
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    loop {
        let ended = consumer.step(&mut out).or_else(|error| consumer.recover(error))?;
        out.flush().map_err(CliError::Terminal)?;
        if ended || stop.load(Ordering::Relaxed) {
            return consumer.leave();
        }
    }
}

/// Set by SIGINT or SIGTERM, so that the group is left in order; a second one ends the command at once.
fn stopped_by_signal() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let signals = StopSignals::block().map_err(|errno| CliError::Terminal(errno.into()))?;
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            told.store(true, Ordering::Relaxed);
        }
        let _ = signals.wait();
        std::process::exit(1);
    });
    Ok(stop)
}

impl Consumer<'_> {
    /// Takes all partitions, or those that were named.
    fn place_all(&mut self) -> Result<(), CliError> {
        let (args, count) = (self.args, self.view.leaders.len());
        let wanted: Vec<usize> = if args.partition.is_empty() {
            (0..count).collect()
        } else {
            let index = |partition: &i32| {
                usize::try_from(*partition).ok().filter(|index| *index < count).ok_or_else(|| {
                    CliError::Usage(format!(
                        "{} has partitions 0 to {}, not {partition}",
                        args.topic,
                        count - 1
                    ))
                })
            };
            args.partition.iter().map(index).collect::<Result<_, _>>()?
        };
        self.place(wanted.into_iter().filter_map(|index| Some((i32::try_from(index).ok()?, None))).collect())
    }

    /// Joins if that has to be, fetches and prints once. True when the command has printed all it was asked for.
    fn step(&mut self, out: &mut impl Write) -> Result<bool, CliError> {
        if let Some(membership) = self.membership.as_mut().filter(|membership| membership.must_join()) {
            let assigned = membership.join()?;
            self.places.clear();
            let placed = self.place(assigned);
            if let Some(membership) = self.membership.as_mut().filter(|_| placed.is_err()) {
                membership.join_again();
            }
            placed?;
        }
        let is_done = |place: &Place| place.next >= place.end;
        if self.args.exit_at_end && self.places.values().all(is_done) {
            return Ok(true);
        }
        let ended = self.round(out)?;
        self.failing_since = None;
        if ended {
            return Ok(true);
        }
        // Only what has left this process is committed.
        out.flush().map_err(CliError::Terminal)?;
        let positions = self.positions();
        if let Some(membership) = &mut self.membership {
            membership.keep_up(&positions)?;
        }
        Ok(false)
    }

    /// Waits for what may pass, for a while; any other error ends the command.
    fn recover(&mut self, error: CliError) -> Result<bool, CliError> {
        if !error.retriable() || instant() - *self.failing_since.get_or_insert_with(instant) > OUTAGE {
            return Err(error);
        }
        pause(RETRY_PAUSE);
        self.connections.clear();
        if let Ok(view) =
            Client::connect(&self.args.bootstrap).and_then(|mut client| client.topic(&self.args.topic, false))
        {
            self.view = view;
        }
        Ok(false)
    }

    /// Commits what was printed and leaves the group, if there is one.
    fn leave(&mut self) -> Result<(), CliError> {
        let positions = self.positions();
        let Some(membership) = &mut self.membership else { return Ok(()) };
        membership.commit(&positions)?;
        membership.leave()
    }

    fn positions(&self) -> BTreeMap<i32, i64> {
        let places = self.places.iter();
        places.filter_map(|(index, place)| Some((i32::try_from(*index).ok()?, place.next))).collect()
    }

    fn connection(&mut self, leader: &str) -> Result<&mut Client, CliError> {
        let client = match self.connections.remove(leader) {
            Some(client) => client,
            None => Client::connect(leader)?,
        };
        Ok(self.connections.entry(leader.to_owned()).or_insert(client))
    }

    /// Finds out where reading of partitions starts, each with what a group has committed for it.
    fn place(&mut self, wanted: BTreeMap<i32, Option<i64>>) -> Result<(), CliError> {
        let named = |index: &i32| (self.args.topic.clone(), *index);
        let partitions: Vec<_> = wanted.keys().map(named).collect();
        let mut client = Client::connect(&self.args.bootstrap)?;
        let earliest = offsets::all_at(&mut client, &partitions, offsets::EARLIEST)?;
        let ends = offsets::all_at(&mut client, &partitions, offsets::LATEST)?;
        for (partition, committed) in partitions.into_iter().zip(wanted.into_values()) {
            let (Some(earliest), Some(end)) = (earliest.get(&partition), ends.get(&partition)) else {
                let doing = format!("find offsets of {}-{}", partition.0, partition.1);
                return Err(CliError::Broker { doing, code: ErrorCode::LeaderNotAvailable, message: None });
            };
            let index = usize::try_from(partition.1).unwrap_or(usize::MAX);
            self.places.insert(index, self.start_place(index, committed, (*earliest, *end))?);
        }
        Ok(())
    }

    fn start_place(
        &self,
        index: usize,
        committed: Option<i64>,
        (earliest, end): (i64, i64),
    ) -> Result<Place, CliError> {
        let next = match committed.or(self.args.offset) {
            // What was committed is gone: as where nothing was.
            Some(offset) if committed.is_some() && !(earliest..=end).contains(&offset) => {
                if self.args.from_beginning { earliest } else { end }
            }
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

    /// One fetch from every leader. True when the command has printed all it was asked for.
    fn round(&mut self, out: &mut impl Write) -> Result<bool, CliError> {
        let mut by_leader: BTreeMap<String, Vec<FetchPartition>> = BTreeMap::new();
        let finished = |place: &Place| self.args.exit_at_end && place.next >= place.end;
        for (index, place) in self.places.iter().filter(|(_, place)| !finished(place)) {
            let leader = self.view.leaders.get(*index).cloned().unwrap_or_default();
            by_leader.entry(leader).or_default().push(FetchPartition {
                partition: i32::try_from(*index).unwrap_or(i32::MAX),
                fetch_offset: place.next,
                partition_max_bytes: 4 << 20,
                ..Default::default()
            });
        }
        if by_leader.is_empty() {
            // Others of the group have all partitions.
            pause(Duration::from_millis(500));
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
        let (Records::Bytes(bytes), Some(place)) = (&data.records, self.places.get_mut(&index)) else {
            return Ok(false);
        };
        let args = self.args;
        for (header, batch) in batches(bytes) {
            let batch_end = header.next_offset().0;
            if header.attributes().is_control() {
                place.next = place.next.max(batch_end);
                continue;
            }
            let damaged =
                |error| CliError::Usage(format!("{name} at offset {}: {error}", header.base_offset()));
            let records = BatchRecords::open(batch, BATCH_BYTES_MAX).map_err(damaged)?;
            for record in &records {
                let record = record.map_err(damaged)?;
                if record.offset.0 < place.next {
                    continue;
                }
                if args.exit_at_end && record.offset.0 >= place.end {
                    // What follows is not printed: it is not behind us.
                    place.next = place.next.max(place.end);
                    return Ok(false);
                }
                print::print(args, data.partition_index, &record, out).map_err(CliError::Terminal)?;
                place.next = record.offset.0 + 1;
                self.printed += 1;
                if Some(self.printed) == args.max_records {
                    return Ok(true);
                }
            }
            place.next = place.next.max(batch_end);
        }
        Ok(false)
    }
}
