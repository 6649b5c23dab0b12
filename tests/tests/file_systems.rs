//! File systems that are not what one wishes for. A device without room, a real one: producers are refused with an error
//! they retry, consumers are served, topics can be deleted, and what that frees is used without a restart. And one
//! without direct I/O and allocation ahead: it works, and the broker says what that means.
//!
//! Each is mounted for its test alone, in a mount namespace that ends with it.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, wait_for};
use ringmain_tests::client::Client;
use ringmain_tests::wire::{Reader, Writer};

const DELETE_TOPICS: i16 = 20;
const DELETE_RECORDS: i16 = 21;
const ALTER_CONFIGS: i16 = 33;
const KAFKA_STORAGE_ERROR: i16 = 56;
const DEVICE_MIB: i64 = 192;
const BATCH_BYTES: usize = 500_000;

/// A directory on a file system of its own.
fn mounted(directory: &Path, kind: &str, options: &str) -> PathBuf {
    let why = "it needs root: run it as root, or with `unshare -rm`";
    unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| panic!("unshare: {error}; {why}"));
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some(kind), directory, Some(kind), MsFlags::empty(), Some(options)).unwrap();
    directory.join("data")
}

fn delete_topic(client: &mut Client, topic: &str) -> i16 {
    let body = Writer::default().i32(1).string(topic).i32(30_000);
    let answer = client.request(DELETE_TOPICS, 1, &body.0).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!((reader.i32(), reader.i32()), (0, 1));
    assert_eq!(reader.string(), topic);
    reader.i16()
}

/// All records are alike: one that was refused may be stored all the same once there is room, before the next.
fn value() -> Vec<u8> {
    vec![7; BATCH_BYTES]
}

/// Produces until the broker refuses; the end of what it took.
fn produce_until_refused(client: &mut Client, topic: &str, from: i64) -> i64 {
    let mut end = from;
    loop {
        let produced = client.produce(topic, 0, &batch::build(&[value()])).unwrap();
        if produced.error_code != 0 {
            assert_eq!(produced.error_code, KAFKA_STORAGE_ERROR, "after {end} batches");
            return end;
        }
        assert!(produced.base_offset >= end, "no offset is given twice");
        end = produced.base_offset + 1;
        assert!(end < 2 * DEVICE_MIB, "a device of {DEVICE_MIB} MiB takes everything");
    }
}

/// Everything down to the last byte.
#[expect(clippy::disallowed_methods, reason = "the test fills the device from outside")]
fn fill(ballast: &Path) {
    let (mut step, mut content) = (16 << 20, Vec::new());
    while step > 0 {
        content.resize(content.len() + step, 1);
        if std::fs::write(ballast, &content).is_err() {
            content.truncate(content.len() - step);
            step /= 2;
        }
    }
    drop(std::fs::write(ballast, &content));
}

/// Changes a topic's configuration again and again: each change is a record of the metadata.
fn alter(client: &mut Client, topic: &str) {
    for number in 0..200 {
        let body = Writer::default().i32(1).i8(2).string(topic).i32(1).string("retention.ms");
        let body = body.string(&format!("{}", 1_000_000_000 + number)).i8(0);
        let answer = client.request(ALTER_CONFIGS, 0, &body.0).unwrap();
        let mut reader = Reader(&answer);
        assert_eq!((reader.i32(), reader.i32(), reader.i16()), (0, 1, 0), "change {number}");
    }
}

fn check(client: &mut Client, topic: &str, count: i64) {
    for number in 0..count {
        let fetched = client.fetch(topic, 0, number).unwrap();
        assert_eq!(fetched.error_code, 0);
        assert_eq!(batch::records(&fetched.records)[0], (number, value()));
    }
}

#[test]
fn a_full_device_is_mended_by_deleting_a_topic() {
    const TOPICS: [&str; 6] = ["zero", "one", "two", "three", "four", "large"];
    let directory = tempfile::tempdir().unwrap();
    let data = mounted(directory.path(), "tmpfs", &format!("size={DEVICE_MIB}m"));
    let settings =
        ["ringmain.shards=1", "ringmain.tail.cache.bytes=16777216", "ringmain.journal.file.bytes=8388608"];
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    let mut taken = [0; TOPICS.len()];
    for (topic, taken) in TOPICS.iter().zip(&mut taken) {
        client.create_topic_and_wait(topic, 1);
        for _ in 0..3 {
            assert_eq!(client.produce(topic, 0, &batch::build(&[value()])).unwrap().error_code, 0);
        }
        *taken = 3;
    }
    // Each has some blocks ahead: when the last one is refused the journal has no room either.
    for round in 0..2 {
        for (topic, taken) in TOPICS.iter().zip(&mut taken).rev() {
            *taken = produce_until_refused(&mut client, topic, *taken);
        }
        if round == 0 {
            fill(&directory.path().join("ballast"));
        }
    }
    for (topic, taken) in TOPICS.iter().zip(taken) {
        check(&mut client, topic, taken);
    }
    alter(&mut client, "zero");
    assert_eq!(delete_topic(&mut client, "large"), 0, "deleting needs no room");
    wait_for("room for others", || {
        let produced = client.produce("zero", 0, &batch::build(&[value()])).unwrap();
        (produced.error_code == 0).then_some(())
    });
    client.create_topic_and_wait("more", 1);
    assert_eq!(client.produce("more", 0, &batch::build(&[value()])).unwrap().error_code, 0);
    check(&mut client, "more", 1);
    assert!(broker.stop().success());
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    taken[0] += 1;
    for (topic, taken) in TOPICS.iter().zip(taken).filter(|(topic, _)| **topic != "large") {
        client.wait_for_leaders(topic, 1);
        check(&mut client, topic, taken);
    }
    assert!(broker.stop().success());
}

/// Moves the log start; the error code.
fn delete_records(client: &mut Client, topic: &str, before: i64) -> i16 {
    let body = Writer::default().i32(1).string(topic).i32(1).i32(0).i64(before).i32(30_000);
    let answer = client.request(DELETE_RECORDS, 0, &body.0).unwrap();
    let mut reader = Reader(&answer);
    assert_eq!((reader.i32(), reader.i32()), (0, 1));
    assert_eq!((reader.string(), reader.i32(), reader.i32()), (topic.to_owned(), 1, 0));
    assert_eq!(reader.i64(), before);
    reader.i16()
}

fn wait_until_taken(client: &mut Client, topic: &str) {
    wait_for("room to produce", || {
        let produced = client.produce(topic, 0, &batch::build(&[value()])).unwrap();
        (produced.error_code == 0).then_some(())
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test fills the device from outside, and empties it")]
fn a_start_on_a_full_device_serves_what_there_is_and_goes_on_when_there_is_room() {
    const COUNT: i64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let data = mounted(directory.path(), "tmpfs", &format!("size={DEVICE_MIB}m"));
    let ballast = |number: u32| directory.path().join(format!("ballast-{number}"));
    let settings = [
        "ringmain.shards=1",
        "ringmain.tail.cache.bytes=16777216",
        "ringmain.journal.file.bytes=8388608",
        "log.segment.bytes=2000000",
    ];
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    for topic in ["kept", "trimmed", "large"] {
        client.create_topic_and_wait(topic, 1);
        for _ in 0..COUNT {
            assert_eq!(client.produce(topic, 0, &batch::build(&[value()])).unwrap().error_code, 0);
        }
    }
    fill(&ballast(0));
    let end = produce_until_refused(&mut client, "kept", COUNT);
    broker.kill();
    fill(&ballast(1));

    // Killed, and not a byte is left: what only the journal has needs one all the same.
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("kept", 1);
    fill(&ballast(2));
    let end = produce_until_refused(&mut client, "kept", end);
    check(&mut client, "kept", end);
    check(&mut client, "trimmed", COUNT);
    assert_eq!(delete_records(&mut client, "trimmed", COUNT / 2), 0, "moving a log start needs no room");
    assert_eq!(delete_topic(&mut client, "large"), 0, "deleting needs no room");
    wait_until_taken(&mut client, "kept");
    assert!(broker.stop().success());

    // Stopped, and what it gave back is taken by others.
    assert!(data.join("ringmain.reserve").exists());
    fill(&ballast(3));
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("kept", 1);
    fill(&ballast(4));
    let end = produce_until_refused(&mut client, "kept", end + 1);
    check(&mut client, "kept", end);
    assert_eq!(delete_records(&mut client, "trimmed", COUNT - 1), 0);
    for number in 0..5 {
        drop(std::fs::remove_file(ballast(number)));
    }
    wait_until_taken(&mut client, "kept");
    check(&mut client, "kept", end + 1);
    assert!(broker.stop().success());
}

#[test]
fn a_file_system_without_direct_io_works_and_the_broker_says_what_that_means() {
    let directory = tempfile::tempdir().unwrap();
    let data = mounted(directory.path(), "ramfs", "");
    let broker = Broker::start(&data, &[]);
    for advice in ["without direct I/O", "lies in memory"] {
        wait_for(advice, || broker.log().contains(advice).then_some(()));
    }
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("topic", 1);
    for _ in 0..100 {
        assert_eq!(client.produce("topic", 0, &batch::build(&[value()])).unwrap().error_code, 0);
    }
    check(&mut client, "topic", 100);
    broker.kill();
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("topic", 1);
    check(&mut client, "topic", 100);
    assert!(broker.stop().success());
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("topic", 1);
    check(&mut client, "topic", 100);
    assert!(broker.stop().success());
}
