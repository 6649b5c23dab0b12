//! What administration changes holds at once, and after a kill.

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::client::Client;
use ringmain_tests::wire::{Reader, Writer};

const DELETE_RECORDS: i16 = 21;
const DESCRIBE_CONFIGS: i16 = 32;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;

/// Kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// What happens to a key.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Where a batch has its timestamps.
const FIRST_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;

const PARTITIONS: i32 = 6;

const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;

/// Changes one key, and gives the error code.
fn change(client: &mut Client, (kind, name): (i8, &str), key: &str, value: Option<&str>) -> i16 {
    let body = Writer::default().i32(1).i8(kind).string(name).i32(1).string(key);
    let body = match value {
        Some(value) => body.i8(SET).string(value),
        None => body.i8(DELETE).i16(-1),
    };
    let answer = client.request(INCREMENTAL_ALTER_CONFIGS, 0, &body.i8(0).0).unwrap();
    let mut reader = Reader(&answer);
    reader.i32();
    assert_eq!(reader.count(), 1);
    reader.i16()
}

/// The value of one key, and where it comes from.
fn told(client: &mut Client, (kind, name): (i8, &str), key: &str) -> (String, i8) {
    let body = Writer::default().i32(1).i8(kind).string(name).i32(1).string(key).i8(0);
    let answer = client.request(DESCRIBE_CONFIGS, 1, &body.0).unwrap();
    let mut reader = Reader(&answer);
    reader.i32();
    assert_eq!((reader.count(), reader.i16()), (1, 0));
    let _echo = (reader.string(), reader.i8(), reader.string());
    assert_eq!((reader.count(), reader.string()), (1, key.to_owned()));
    let value = reader.string();
    reader.i8();
    (value, reader.i8())
}

/// Moves the start of partition 0, and gives the error code and the new start.
fn delete_records(client: &mut Client, topic: &str, offset: i64) -> (i16, i64) {
    let body = Writer::default().i32(1).string(topic).i32(1).i32(0).i64(offset).i32(30_000);
    let answer = client.request(DELETE_RECORDS, 0, &body.0).unwrap();
    let mut reader = Reader(&answer);
    let _echo = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
    let low_watermark = reader.i64();
    (reader.i16(), low_watermark)
}

fn one_value(bytes: usize) -> Vec<u8> {
    batch::build(&[vec![7; bytes]])
}

/// Produces to partition 0, and gives the error code.
fn produce(client: &mut Client, topic: &str, batch: &[u8]) -> i16 {
    client.produce(topic, 0, batch).unwrap().error_code
}

/// Produces to each of the partitions, which lie on several shards, and gives the error code that all have.
fn produce_to_all(client: &mut Client, topic: &str, batch: &[u8]) -> i16 {
    let mut codes: Vec<i16> = (0..PARTITIONS)
        .map(|partition| client.produce(topic, partition, batch).unwrap().error_code)
        .collect();
    codes.dedup();
    assert_eq!(codes.len(), 1, "the partitions of {topic} do not agree: {codes:?}");
    codes[0]
}

#[test]
fn a_setting_that_was_changed_holds_at_once_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let settings = ["message.max.bytes=50000", "ringmain.shards=3"];
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("plain", PARTITIONS);
    client.create_topic_and_wait("own", PARTITIONS);
    assert_eq!(told(&mut client, (TOPIC, "plain"), "max.message.bytes"), ("50000".to_owned(), 4));
    let large = one_value(20_000);
    assert_eq!(produce_to_all(&mut client, "plain", &large), 0);

    assert_eq!(change(&mut client, (BROKER, ""), "message.max.bytes", Some("10000")), 0);
    assert_eq!(change(&mut client, (TOPIC, "own"), "max.message.bytes", Some("30000")), 0);
    let check = |client: &mut Client| {
        assert_eq!(produce_to_all(client, "plain", &large), MESSAGE_TOO_LARGE);
        assert_eq!(produce_to_all(client, "own", &large), 0);
        assert_eq!(told(client, (TOPIC, "plain"), "max.message.bytes"), ("10000".to_owned(), 3));
        assert_eq!(told(client, (TOPIC, "own"), "max.message.bytes"), ("30000".to_owned(), 1));
        assert_eq!(told(client, (BROKER, "1"), "message.max.bytes"), ("10000".to_owned(), 3));
    };
    check(&mut client);
    broker.kill();

    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    check(&mut client);
    assert_eq!(change(&mut client, (BROKER, "1"), "message.max.bytes", Some("40000")), 0);
    assert_eq!(told(&mut client, (TOPIC, "plain"), "max.message.bytes"), ("40000".to_owned(), 2));
    assert_eq!(produce_to_all(&mut client, "plain", &large), 0);
    for name in ["1", ""] {
        assert_eq!(change(&mut client, (BROKER, name), "message.max.bytes", None), 0);
    }
    assert_eq!(change(&mut client, (TOPIC, "own"), "max.message.bytes", None), 0);
    assert_eq!(told(&mut client, (TOPIC, "own"), "max.message.bytes"), ("50000".to_owned(), 4));
    assert!(broker.stop().success());
}

#[test]
fn timestamps_follow_what_their_topic_says() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", 1);
    let at = |timestamp_ms: i64| {
        let mut batch = one_value(10);
        for position in [FIRST_TIMESTAMP, MAX_TIMESTAMP] {
            batch[position..position + 8].copy_from_slice(&timestamp_ms.to_be_bytes());
        }
        batch::seal(&mut batch);
        batch
    };
    // Nothing is from the first second of 1970, and nothing will be from the year 5138 for long.
    let (old, future) = (at(1000), at(100_000_000_000_000));
    assert_eq!(produce(&mut client, "t", &old), 0);
    assert_eq!(produce(&mut client, "t", &future), INVALID_TIMESTAMP, "an hour ahead is the default");
    assert_eq!(change(&mut client, (TOPIC, "t"), "message.timestamp.before.max.ms", Some("60000")), 0);
    assert_eq!(produce(&mut client, "t", &old), INVALID_TIMESTAMP);
    assert_eq!(change(&mut client, (TOPIC, "t"), "message.timestamp.type", Some("LogAppendTime")), 0);
    assert_eq!(produce(&mut client, "t", &old), 0, "the broker's clock counts");
    let stored = client.fetch("t", 0, 1).unwrap().records;
    assert_eq!(stored[batch::position::ATTRIBUTES + 1] & 8, 8, "the batch says whose clock stamped it");
    assert_eq!(batch::records(&stored).len(), 1, "and its CRC is right again");
    assert!(broker.stop().success());
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", 1);
    for _ in 0..10 {
        assert_eq!(produce(&mut client, "t", &one_value(100)), 0);
    }
    assert_eq!(delete_records(&mut client, "t", 7), (0, 7));
    broker.kill();
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    assert_eq!(client.list_offset("t", 0, -2).unwrap(), 7);
    assert_eq!(batch::records(&client.fetch("t", 0, 7).unwrap().records).len(), 3);
    assert_eq!(delete_records(&mut client, "t", -1), (0, 10));
    assert!(broker.stop().success());
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    assert_eq!(client.list_offset("t", 0, -2).unwrap(), 10);
    assert_eq!(produce(&mut client, "t", &one_value(1)), 0);
    assert_eq!(client.list_offset("t", 0, -1).unwrap(), 11);
    assert!(broker.stop().success());
}
