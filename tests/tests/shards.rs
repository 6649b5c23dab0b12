//! Several shards behave as one broker: whichever shard a connection is on and whichever owns a partition.

use std::io::Write;

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::client::{Client, PRODUCE};
use ringmain_tests::wire::Reader;

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 6;
/// Enough of 8 KiB each that a connection moves to the shard of the one partition it uses.
const REQUESTS: i32 = 300;
/// Requests on their way at a time.
const IN_FLIGHT: i32 = 5;

/// Produces to one partition, several requests at a time, and checks that answers come in order.
fn fill(client: &mut Client, partition: i32) {
    let send = |client: &mut Client, number: i32| {
        let batch = batch::build(&[value(partition, number)]);
        let body = Client::produce_body(TOPIC, &[(partition, &batch)]);
        client.stream().write_all(&Client::frame(PRODUCE, 3, number, &body)).unwrap();
    };
    for number in 0..REQUESTS + IN_FLIGHT {
        if number < REQUESTS {
            send(client, number);
        }
        let answered = number - IN_FLIGHT;
        if answered >= 0 {
            let answer = client.receive().unwrap();
            let mut reader = Reader(&answer);
            assert_eq!(reader.i32(), answered, "answers come in the order of requests");
            let produced = Client::produce_answer(reader.0);
            assert_eq!(produced[0].1.error_code, 0);
            assert_eq!(produced[0].1.base_offset, i64::from(answered), "in the order they were sent");
        }
    }
}

fn value(partition: i32, number: i32) -> Vec<u8> {
    let mut value = format!("{partition}/{number}/").into_bytes();
    value.resize(8192, b'x');
    value
}

/// Reads a partition from its start and compares every value.
fn check(client: &mut Client, partition: i32) {
    let mut next = 0;
    while next < i64::from(REQUESTS) {
        let fetched = client.fetch(TOPIC, partition, next).unwrap();
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, i64::from(REQUESTS)));
        let records = batch::records(&fetched.records);
        assert!(!records.is_empty(), "a fetch below the end gives records");
        let from = next;
        for (offset, read) in records.into_iter().filter(|(offset, _)| *offset >= from) {
            assert_eq!(offset, next);
            assert!(read == value(partition, i32::try_from(next).unwrap()), "{partition}: {next}");
            next += 1;
        }
    }
}

#[test]
fn connections_move_between_shards_and_nothing_is_lost_or_reordered() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &["ringmain.shards=3", "ringmain.log.filter=debug"]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait(TOPIC, PARTITIONS);
    for partition in 0..PARTITIONS {
        fill(&mut client, partition);
    }
    for partition in 0..PARTITIONS {
        check(&mut client, partition);
    }
    assert!(broker.log().contains("moves to shard"), "the connection used one partition after the other");
    assert!(broker.stop().success());
}

#[test]
fn another_number_of_shards_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut broker = Broker::start(&data, &["ringmain.shards=2"]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait(TOPIC, PARTITIONS);
    for partition in 0..PARTITIONS {
        fill(&mut client, partition);
    }
    for shards in ["ringmain.shards=3", "ringmain.shards=1", "ringmain.shards=4"] {
        broker.kill();
        broker = Broker::start(&data, &[shards]);
        let mut client = Client::connect(&broker.address);
        for partition in 0..PARTITIONS {
            check(&mut client, partition);
        }
    }
    assert!(broker.stop().success());
}
