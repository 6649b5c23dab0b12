//! Kills the broker with SIGKILL at random moments while records are produced to 20 partitions,
//! restarts it, and compares every acknowledged offset and its content.

use std::collections::VecDeque;
use std::io::Write;
use std::thread;
use std::time::Duration;

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::checker::Checker;
use ringmain_tests::client::{Client, PRODUCE};
use ringmain_tests::dice::{Dice, rounds};
use ringmain_tests::wire::Reader;

const TOPIC: &str = "killed";
const WRITERS: i32 = 4;
const PARTITIONS_PER_WRITER: i32 = 5;
/// Requests on their way at a time on each connection.
const IN_FLIGHT_MAX: usize = 3;
/// Keeps what a round writes, and what each verification reads, to a few megabytes a writer.
const REQUESTS_MAX: usize = 400;

/// The values of one batch.
type Values = Vec<Vec<u8>>;

/// One produced batch: its partition, its values, and its base offset if it was acknowledged.
struct Sent {
    partition: i32,
    values: Values,
    base_offset: Option<i64>,
}

fn random_values(dice: &mut Dice, tag: &str) -> Values {
    let count = 1 + dice.below(12);
    let size_max = if dice.below(40) == 0 { 60_000 } else { 400 };
    let value = |dice: &mut Dice, index| {
        let mut value = format!("{tag}-{index}-").into_bytes();
        let size = usize::try_from(dice.below(size_max)).unwrap();
        value.extend(dice.bytes(size));
        value
    };
    (0..count).map(|index| value(dice, index)).collect()
}

/// Produces to its partitions until the connection breaks or enough was sent.
fn write(address: &str, writer: i32, mut dice: Dice, tag: &str) -> Vec<Sent> {
    let mut client = Client::connect(address);
    let mut all = Vec::new();
    let mut in_flight: VecDeque<(i32, Vec<Sent>)> = VecDeque::new();
    for request in 0..REQUESTS_MAX {
        let correlation_id = i32::try_from(request).unwrap();
        let first = writer * PARTITIONS_PER_WRITER;
        let mut sent = Vec::new();
        for partition in first..first + PARTITIONS_PER_WRITER {
            if dice.below(3) > 0 {
                let values = random_values(&mut dice, &format!("{tag}-{partition}-{request}"));
                sent.push(Sent { partition, values, base_offset: None });
            }
        }
        let batches: Vec<(i32, Vec<u8>)> =
            sent.iter().map(|sent| (sent.partition, batch::build(&sent.values))).collect();
        let batches: Vec<(i32, &[u8])> =
            batches.iter().map(|(partition, batch)| (*partition, &batch[..])).collect();
        let body = Client::produce_body(TOPIC, &batches);
        let frame = Client::frame(PRODUCE, 3, correlation_id, &body);
        in_flight.push_back((correlation_id, sent));
        if client.stream().write_all(&frame).is_err() {
            break;
        }
        if in_flight.len() == IN_FLIGHT_MAX && !receive(&mut client, &mut in_flight, &mut all) {
            break;
        }
    }
    while !in_flight.is_empty() && receive(&mut client, &mut in_flight, &mut all) {}
    all.extend(in_flight.into_iter().flat_map(|(_, sent)| sent));
    all
}

/// Receives one answer; false if the connection broke.
fn receive(client: &mut Client, in_flight: &mut VecDeque<(i32, Vec<Sent>)>, all: &mut Vec<Sent>) -> bool {
    let Ok(answer) = client.receive() else { return false };
    let (correlation_id, mut sent) = in_flight.pop_front().unwrap();
    let mut reader = Reader(&answer);
    assert_eq!(reader.i32(), correlation_id, "answers come in the order of requests");
    let mut answers = if sent.is_empty() { Vec::new() } else { Client::produce_answer(reader.0) };
    assert_eq!(answers.len(), sent.len(), "every partition is answered");
    // Each request lists its partitions in ascending order; an answer may use another.
    answers.sort_by_key(|(partition, _)| *partition);
    for (sent, (partition, produced)) in sent.iter_mut().zip(answers) {
        assert_eq!(partition, sent.partition);
        assert_eq!(produced.error_code, 0, "partition {partition}");
        sent.base_offset = Some(produced.base_offset);
    }
    all.extend(sent);
    true
}

#[test]
fn acknowledged_records_survive_kills_at_random_moments() {
    let mut dice = Dice::of_this_run();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // Small segments, so that kills also meet rolls.
    let settings = ["log.segment.bytes=1048576"];
    let mut checker = Checker::default();
    let mut broker = Broker::start(&data, &settings);
    Client::connect(&broker.address).create_topic_and_wait(TOPIC, WRITERS * PARTITIONS_PER_WRITER);
    for round in 0..rounds(20) {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (address, dice) = (broker.address.clone(), dice.fork());
                thread::spawn(move || write(&address, writer, dice, &format!("{round}")))
            })
            .collect();
        thread::sleep(Duration::from_millis(dice.below(400)));
        broker.kill();
        for writer in writers {
            for sent in writer.join().unwrap() {
                match sent.base_offset {
                    Some(base_offset) => checker.acknowledged(sent.partition, base_offset, sent.values),
                    None => checker.unanswered(sent.partition, sent.values),
                }
            }
        }
        // Another number of shards finds everything, too.
        let shards = format!("ringmain.shards={}", 1 + dice.below(3));
        broker = Broker::start(&data, &[settings[0], &shards]);
        checker.verify(&mut Client::connect(&broker.address), TOPIC);
        println!("kill {}: {} acknowledged records are there", round + 1, checker.acknowledged_count());
    }
    assert!(checker.acknowledged_count() > 0, "nothing was ever acknowledged");
    assert!(broker.stop().success(), "the last stop is clean");
}
