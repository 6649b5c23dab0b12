//! Measures how long a start takes until every partition answers: `tests/startup/run [--rounds N] [--shards N]`.
//!
//! 1,000 partitions of 10 segments each are made with the binary itself. Then, again and again, the broker is ended in one
//! of the ways below and started, and from the `exec` on eight connections ask every partition for one Produce (acks=all)
//! and one Fetch, each a request of its own; the time counts until the last answer. The Fetch asks for a record that was
//! acknowledged before the end, and checks that it is there.
//!
//! It prints milliseconds, and what the start found in the journal, and fails when a goal is missed. It measures, so it is
//! no test of `cargo test`: nothing else may run meanwhile.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::client::{Client, FETCH, PRODUCE};
use ringmain_tests::wire::Reader;

const TOPIC: &str = "startup";
const PARTITIONS: i32 = 1000;
const SEGMENTS: i64 = 10;
const CONNECTIONS: i32 = 8;
/// Records of the prepared segments lie so far apart in time that each batch begins a segment.
const SEGMENT_MS: i64 = 60_000;
const CLEAN_GOAL: Duration = Duration::from_millis(200);
const KILLED_GOAL: Duration = Duration::from_secs(1);
/// A broker that does not listen after so long never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the broker ended before the start that is measured.
#[derive(Clone, Copy)]
enum End {
    Clean,
    /// One second after its last record.
    KilledIdle,
    /// Just after sixteen small batches were acknowledged on every partition.
    KilledPending,
    /// Just after 256 MiB in large batches.
    KilledBusy,
}

impl End {
    const ALL: [End; 4] = [End::Clean, End::KilledIdle, End::KilledPending, End::KilledBusy];

    fn name(self) -> &'static str {
        match self {
            End::Clean => "clean stop",
            End::KilledIdle => "kill -9, idle",
            End::KilledPending => "kill -9, small pending data",
            End::KilledBusy => "kill -9, amid large batches",
        }
    }

    fn goal(self) -> Duration {
        if matches!(self, End::Clean) { CLEAN_GOAL } else { KILLED_GOAL }
    }
}

/// What one start took.
#[derive(Clone, Copy)]
struct Start {
    first_answer: Duration,
    last_answer: Duration,
}

fn main() -> ExitCode {
    let (mut rounds, mut shards) = (5, default_shards());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (argument.as_str(), value) {
            ("--rounds", Some(value)) => rounds = value,
            ("--shards", Some(value)) => shards = value,
            _ => {
                eprintln!("startup [--rounds N] [--shards N]");
                return ExitCode::from(2);
            }
        }
    }
    let shards = format!("ringmain.shards={shards}");
    let settings = [shards.as_str(), "ringmain.log.filter=info,ringmain::start=debug"];
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    println!(
        "{PARTITIONS} partitions of {SEGMENTS} segments, {CONNECTIONS} connections, {shards}; ms from exec"
    );
    let mut broker = Broker::start(&directory, &settings);
    let mut offset = prepare(&broker);
    let mut reached = true;
    for end in End::ALL {
        let mut starts = Vec::new();
        let mut found = String::new();
        for _ in 0..rounds {
            offset = bring_about(end, broker, offset);
            let before = log_bytes(&directory);
            let began = Instant::now();
            broker = Broker::launch(&directory, &settings);
            starts.push(ask_everybody(&broker.address, began, &mut offset));
            found = report(&broker.log()[before..]);
        }
        reached &= tell(end, &mut starts, &found);
    }
    broker.stop();
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As many as the broker has when nobody says.
fn default_shards() -> usize {
    thread::available_parallelism().map_or(1, |cpus| (cpus.get() - 1).max(1))
}

fn log_bytes(directory: &Path) -> usize {
    std::fs::read_to_string(directory.with_extension("log")).unwrap_or_default().len()
}

/// What the broker said that it found.
fn report(log: &str) -> String {
    let reports = log.lines().filter_map(|line| Some(line.split_once("RecoveryReport")?.1.trim().to_owned()));
    reports.collect::<Vec<_>>().join(" ")
}

/// A batch of one record of `bytes` bytes, of a time.
fn batch_at(timestamp: i64, bytes: usize) -> Vec<u8> {
    const TIMESTAMPS: usize = 27;
    let mut batch = batch::build(&[vec![b'x'; bytes]]);
    for at in [TIMESTAMPS, TIMESTAMPS + 8] {
        batch[at..at + 8].copy_from_slice(&timestamp.to_be_bytes());
    }
    batch::seal(&mut batch);
    batch
}

/// A time of the segment's.
fn time_of(segment: i64) -> i64 {
    1_700_000_000_000 + segment * 2 * SEGMENT_MS
}

/// Makes the topic and its segments. Returns the offset of the last record of every partition.
fn prepare(broker: &Broker) -> i64 {
    let mut client = Client::connect(&broker.address);
    let segment_ms = SEGMENT_MS.to_string();
    let configs = [("segment.ms", segment_ms.as_str()), ("retention.ms", "-1")];
    assert_eq!(client.create_topic_with(TOPIC, PARTITIONS, &configs).unwrap(), 0, "making the topic");
    client.wait_for_leaders(TOPIC, PARTITIONS);
    for segment in 0..SEGMENTS {
        produce_everywhere(&mut client, &batch_at(time_of(segment), 16 << 10), segment);
    }
    SEGMENTS - 1
}

/// Produces the batch of one record to every partition, a few in each request; it has to get `offset`.
fn produce_everywhere(client: &mut Client, batch: &[u8], offset: i64) {
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    for some in partitions.chunks(50) {
        let batches: Vec<(i32, &[u8])> = some.iter().map(|partition| (*partition, batch)).collect();
        let answer = client.request(PRODUCE, 3, &Client::produce_body(TOPIC, &batches)).unwrap();
        for (partition, produced) in Client::produce_answer(&answer) {
            assert_eq!((produced.error_code, produced.base_offset), (0, offset), "partition {partition}");
        }
    }
}

/// Ends the broker. Returns the offset of the last record of every partition.
fn bring_about(end: End, broker: Broker, mut offset: i64) -> i64 {
    let now = time_of(SEGMENTS - 1);
    let mut client = Client::connect(&broker.address);
    let (count, batch) = match end {
        End::Clean => (0, Vec::new()),
        End::KilledIdle => (1, batch_at(now, 100)),
        End::KilledPending => (16, batch_at(now, 100)),
        End::KilledBusy => (4, batch_at(now, 64 << 10)),
    };
    for _ in 0..count {
        offset += 1;
        produce_everywhere(&mut client, &batch, offset);
    }
    match end {
        End::Clean => assert!(broker.stop().success(), "a clean stop"),
        End::KilledIdle => {
            thread::sleep(Duration::from_secs(1));
            broker.kill();
        }
        End::KilledPending | End::KilledBusy => broker.kill(),
    }
    offset
}

/// One Produce and one Fetch for every partition, over all connections.
fn ask_everybody(address: &str, began: Instant, offset: &mut i64) -> Start {
    let last = *offset;
    let askers: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let address = address.to_owned();
            thread::spawn(move || ask(&address, connection, (began, last)))
        })
        .collect();
    let answers: Vec<Start> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
    *offset += 1;
    Start {
        first_answer: answers.iter().map(|answer| answer.first_answer).min().unwrap(),
        last_answer: answers.iter().map(|answer| answer.last_answer).max().unwrap(),
    }
}

fn ask(address: &str, connection: i32, (began, last): (Instant, i64)) -> Start {
    let batch = batch_at(time_of(SEGMENTS - 1), 100);
    let partitions = || (connection..PARTITIONS).step_by(CONNECTIONS.unsigned_abs() as usize);
    let mut requests = Vec::new();
    for partition in partitions() {
        let body = Client::produce_body(TOPIC, &[(partition, &batch)]);
        requests.extend(Client::frame(PRODUCE, 3, partition, &body));
        let body = Client::fetch_body(TOPIC, partition, last);
        requests.extend(Client::frame(FETCH, 4, partition, &body));
    }
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < PATIENCE, "the broker does not listen");
        thread::sleep(Duration::from_millis(1));
    }
    let mut client = Client::connect(address);
    client.stream().write_all(&requests).unwrap();
    let mut first_answer = None;
    for partition in partitions() {
        let answer = client.receive().unwrap();
        first_answer.get_or_insert_with(|| began.elapsed());
        assert_eq!(Reader(&answer).i32(), partition, "answers come in the order of requests");
        let produced = Client::produce_answer(&answer[4..])[0].1;
        assert_eq!((produced.error_code, produced.base_offset), (0, last + 1), "partition {partition}");
        let fetched = Client::fetch_answer(&client.receive().unwrap()[4..]);
        let offsets = batch::records(&fetched.records);
        assert_eq!(fetched.error_code, 0, "partition {partition}");
        assert_eq!(offsets.first().map(|(offset, _)| *offset), Some(last), "partition {partition}");
    }
    Start { first_answer: first_answer.unwrap(), last_answer: began.elapsed() }
}

/// Prints a line; says whether the goal is reached, also by the worst start.
fn tell(end: End, starts: &mut [Start], found: &str) -> bool {
    starts.sort_by_key(|start| start.last_answer);
    let (median, worst) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    let reached = worst.last_answer <= end.goal();
    println!(
        "{:<28} first answer {:>5}, last answer {:>5} (median), {:>5} (worst of {}); goal {:>4}: {}   {found}",
        end.name(),
        median.first_answer.as_millis(),
        median.last_answer.as_millis(),
        worst.last_answer.as_millis(),
        starts.len(),
        end.goal().as_millis(),
        if reached { "reached" } else { "MISSED" },
    );
    reached
}
