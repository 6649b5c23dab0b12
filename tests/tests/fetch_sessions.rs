//! Fetch sessions (KIP-227) over several shards: each partition's records come under its own name, and every partition
//! gets its turn.

use std::collections::BTreeMap;

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::client::{Client, FETCH};
use ringmain_tests::dice::{Dice, rounds};
use ringmain_tests::wire::{Reader, Writer};

const PARTITIONS: i32 = 8;

/// Topic and partition.
type Name = (&'static str, i32);

/// A connection with one session.
struct Session {
    client: Client,
    id: i32,
    epoch: i32,
}

fn topics(body: Writer, named: &[(Name, i64)], entry: impl Fn(Writer, i32, i64) -> Writer) -> Writer {
    let mut body = body.i32(i32::try_from(named.len()).unwrap());
    for ((topic, partition), offset) in named {
        body = entry(body.string(topic).i32(1), *partition, *offset);
    }
    body
}

impl Session {
    /// Fetches and gives the records of each partition that has some.
    fn fetch(
        &mut self,
        bytes_max: i32,
        from: &[(Name, i64)],
        forgotten: &[Name],
    ) -> Vec<(String, i32, Vec<u8>)> {
        let body = Writer::default().i32(-1).i32(0).i32(1).i32(bytes_max).i8(0).i32(self.id).i32(self.epoch);
        let body =
            topics(body, from, |body, partition, offset| body.i32(partition).i64(offset).i64(0).i32(1 << 20));
        let forgotten: Vec<_> = forgotten.iter().map(|name| (*name, 0)).collect();
        let body = topics(body, &forgotten, |body, partition, _| body.i32(partition));
        let answer = self.client.request(FETCH, 7, &body.0).unwrap();
        let mut reader = Reader(&answer);
        reader.i32();
        assert_eq!(reader.i16(), 0);
        (self.id, self.epoch) = (reader.i32(), self.epoch + 1);
        let mut found = Vec::new();
        for _ in 0..reader.count() {
            let topic = reader.string();
            for _ in 0..reader.count() {
                let (partition, error_code) = (reader.i32(), reader.i16());
                assert_eq!(error_code, 0);
                let _offsets = (reader.i64(), reader.i64(), reader.i64());
                assert_eq!(reader.count(), 0, "no aborted transactions");
                let length = reader.count();
                let records = reader.raw(length).to_vec();
                if !records.is_empty() {
                    found.push((topic.clone(), partition, records));
                }
            }
        }
        found
    }
}

fn value(topic: &str, partition: i32) -> Vec<u8> {
    format!("{topic}/{partition}/").repeat(100).into_bytes()
}

fn produce(client: &mut Client, topic: &str, partition: i32) {
    let batch = batch::build(&[value(topic, partition)]);
    assert_eq!(client.produce(topic, partition, &batch).unwrap().error_code, 0);
}

#[test]
fn what_a_session_forgot_is_never_told_under_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &["ringmain.shards=3"]);
    let mut client = Client::connect(&broker.address);
    let every =
        |topic, offset| (0..PARTITIONS).map(move |index| ((topic, index), offset)).collect::<Vec<_>>();
    for topic in ["first", "second"] {
        client.create_topic_and_wait(topic, PARTITIONS);
    }
    // Whichever shards they are on: once all but one of each are forgotten, some shard has none of them.
    for kept in 0..PARTITIONS {
        let mut session = Session { client: Client::connect(&broker.address), id: 0, epoch: 0 };
        session.fetch(1 << 20, &every("first", i64::from(kept)), &[]);
        let forgotten: Vec<Name> =
            (0..PARTITIONS).filter(|index| *index != kept).map(|i| ("first", i)).collect();
        session.fetch(1 << 20, &[], &forgotten);
        session.fetch(1 << 20, &every("second", 0), &[]);
        for partition in 0..PARTITIONS {
            produce(&mut client, "first", partition);
        }
        for _ in 0..3 {
            for (topic, partition, records) in session.fetch(1 << 20, &[], &[]) {
                assert_eq!((&*topic, partition), ("first", kept));
                assert!(batch::records(&records).iter().all(|(_, read)| *read == value(&topic, partition)));
            }
        }
    }
    assert!(broker.stop().success());
}

#[test]
fn a_backlog_larger_than_the_limit_keeps_no_partition_waiting_for_ever() {
    const BATCHES: i64 = 10;
    for shards in ["ringmain.shards=1", "ringmain.shards=3"] {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::start(&directory.path().join("data"), &[shards]);
        let mut client = Client::connect(&broker.address);
        client.create_topic_and_wait("backlog", PARTITIONS);
        for _ in 0..BATCHES {
            (0..PARTITIONS).for_each(|partition| produce(&mut client, "backlog", partition));
        }
        let mut session = Session { client, id: 0, epoch: 0 };
        let mut next: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        let mut from: Vec<(Name, i64)> =
            (0..PARTITIONS).map(|partition| (("backlog", partition), 0)).collect();
        // A little more than one batch: every fetch gives at least one.
        for _ in 0..BATCHES * i64::from(PARTITIONS) {
            let got = session.fetch(1200, &from, &[]);
            from.clear();
            for (_, partition, records) in got {
                let last = batch::records(&records).last().unwrap().0;
                next.insert(partition, last + 1);
                from.push((("backlog", partition), last + 1));
            }
        }
        assert!(next.values().all(|offset| *offset == BATCHES), "{shards}: {next:?}");
        assert!(broker.stop().success());
    }
}

#[test]
fn whatever_a_session_names_and_forgets_it_reads_each_partition_in_order_and_to_its_end() {
    const NAMES: [&str; 3] = ["red", "green", "blue"];
    let mut dice = Dice::of_this_run();
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &["ringmain.shards=3"]);
    let mut client = Client::connect(&broker.address);
    NAMES.iter().for_each(|topic| client.create_topic_and_wait(topic, PARTITIONS));
    let every: Vec<Name> =
        NAMES.iter().flat_map(|topic| (0..PARTITIONS).map(|index| (*topic, index))).collect();
    let mut session = Session { client: Client::connect(&broker.address), id: 0, epoch: 0 };
    // How many records there are, how many were read, and from where the session was last told to read.
    let mut written: BTreeMap<Name, i64> = every.iter().map(|name| (*name, 0)).collect();
    let (mut read, mut told) = (written.clone(), BTreeMap::from([(every[0], 0)]));
    session.fetch(1, &[(every[0], 0)], &[]);
    let steps = rounds(300);
    // Each fetch after the last change gives a batch at least.
    let drained = usize::try_from(steps).unwrap() + 4 * usize::try_from(steps).unwrap();
    for step in 0..drained {
        let changes = step < usize::try_from(steps).unwrap();
        for _ in 0..if changes { 4 } else { 0 } {
            let (topic, partition) = every[usize::try_from(dice.below(24)).unwrap()];
            produce(&mut client, topic, partition);
            *written.get_mut(&(topic, partition)).unwrap() += 1;
        }
        let forgotten: Vec<Name> =
            every[1..].iter().copied().filter(|name| told.contains_key(name)).collect();
        let forgotten: Vec<Name> = forgotten.into_iter().filter(|_| changes && dice.below(6) == 0).collect();
        let named = every.iter().filter(|name| !forgotten.contains(name));
        let from: Vec<(Name, i64)> = named
            .filter(|name| {
                told.get(*name).map_or(!changes || dice.below(6) == 0, |from| *from != read[*name])
            })
            .map(|name| (*name, read[name]))
            .collect();
        told.retain(|name, _| !forgotten.contains(name));
        told.extend(from.iter().copied());
        let bytes_max = [1, 1500, 5000][usize::try_from(dice.below(3)).unwrap()];
        for (topic, partition, records) in session.fetch(bytes_max, &from, &forgotten) {
            let name = *every.iter().find(|name| (name.0, name.1) == (&*topic, partition)).unwrap();
            assert!(told.contains_key(&name), "{name:?} was not asked for");
            for (offset, found) in batch::records(&records) {
                assert!(found == value(&topic, partition), "{name:?} at {offset}");
                if offset >= read[&name] {
                    assert_eq!(offset, read[&name], "{name:?}");
                    read.insert(name, offset + 1);
                }
            }
        }
        if !changes && read == written {
            break;
        }
    }
    assert_eq!(read, written, "everything is read to its end");
    assert!(broker.stop().success());
}
