//! A file that is damaged while the broker is down, or that it cannot write: its partition is offline, with the file and
//! the way out in the log, the others go on, and all is there again once it is mended. A segment that rots under a
//! running broker: the damaged batch is not sent, all others are.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, free_port, wait_for};
use ringmain_tests::client::Client;

const PARTITIONS: i32 = 3;
/// `KAFKA_STORAGE_ERROR`.
const STORAGE: i16 = 56;
/// What a Fetch of the tests' version is told instead.
const NOT_LEADER: i16 = 6;
/// `CORRUPT_MESSAGE`.
const CORRUPT: i16 = 2;
/// Unit of writes past the page cache.
const BLOCK: usize = 4096;

fn start(data: &Path) -> (Broker, String) {
    let admin = format!("127.0.0.1:{}", free_port());
    (Broker::start(data, &[&format!("ringmain.admin.listener={admin}")]), admin)
}

/// The sum over the shards of a metric.
fn metric(admin: &str, name: &str) -> f64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let values = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn produce(client: &mut Client, partition: i32, value: &str) -> i16 {
    client.produce("t", partition, &batch::build(&[value.into()])).unwrap().error_code
}

fn values(client: &mut Client, partition: i32) -> Result<Vec<String>, i16> {
    let fetched = client.fetch("t", partition, 0).unwrap();
    if fetched.error_code != 0 {
        return Err(fetched.error_code);
    }
    let records = batch::records(&fetched.records).into_iter();
    Ok(records.map(|(_, value)| String::from_utf8(value).unwrap()).collect())
}

fn flip(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_segment_takes_its_partition_offline_until_it_is_mended() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (broker, _) = start(&data);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("t", PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(produce(&mut client, partition, &format!("one {partition}")), 0);
    }
    assert!(broker.stop().success());

    let segment = data.join("t-1/00000000000000000000.log");
    flip(&segment);
    for round in 0..2 {
        let (broker, admin) = start(&data);
        let mut client = Client::connect(&broker.address);
        assert_eq!(produce(&mut client, 1, "two"), STORAGE);
        assert_eq!(values(&mut client, 1), Err(NOT_LEADER));
        for partition in [0, 2] {
            assert_eq!(produce(&mut client, partition, "two"), 0);
            assert_eq!(values(&mut client, partition).unwrap()[0], format!("one {partition}"));
        }
        assert!(broker.log().contains("00000000000000000000.log is damaged"), "{}", broker.log());
        assert_eq!(metric(&admin, "ringmain_partitions_offline"), 1.0);
        if round == 0 {
            broker.kill();
        } else {
            assert!(broker.stop().success());
        }
    }

    flip(&segment);
    let (broker, admin) = start(&data);
    let mut client = Client::connect(&broker.address);
    assert_eq!(values(&mut client, 1).unwrap(), ["one 1"]);
    assert_eq!(metric(&admin, "ringmain_partitions_offline"), 0.0);
    assert_eq!(values(&mut client, 0).unwrap(), ["one 0", "two", "two"]);
    assert_eq!(produce(&mut client, 1, "three"), 0);
    assert!(broker.stop().success());
    assert!(!data.join("ringmain.journal").exists(), "it may be taken over again");
}

#[test]
fn a_segment_that_cannot_be_made_takes_its_partition_offline_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let (broker, admin) = start(&data);
    let mut client = Client::connect(&broker.address);
    client.create_topic_with("t", PARTITIONS, &[("segment.bytes", "1048576")]).unwrap();
    client.wait_for_leaders("t", PARTITIONS);
    // The second segment of one partition finds its name taken by a folder.
    let value = "v".repeat(600_000);
    assert_eq!(produce(&mut client, 1, &value), 0);
    let obstacle = data.join("t-1/00000000000000000001.log");
    fs::create_dir(&obstacle).unwrap();
    assert_eq!(produce(&mut client, 1, &value), 0);
    let mut acknowledged = 2;
    let refused = wait_for("the partition is offline", || {
        let answer = produce(&mut client, 1, "small");
        acknowledged += i64::from(answer == 0);
        (answer != 0).then_some(answer)
    });
    assert_eq!(refused, STORAGE);
    let told = broker.log();
    assert!(told.contains("t-1: open") && told.contains("00000000000000000001.log"), "{told}");
    assert_eq!(metric(&admin, "ringmain_partitions_offline"), 1.0);
    for round in 0..60 {
        for partition in [0, 2] {
            assert_eq!(produce(&mut client, partition, &value), 0, "round {round}");
        }
    }
    assert_eq!(values(&mut client, 1).unwrap()[0], value);
    assert_eq!(values(&mut client, 0).unwrap()[0], value);
    broker.kill();

    fs::remove_dir(&obstacle).unwrap();
    let (broker, admin) = start(&data);
    let mut client = Client::connect(&broker.address);
    assert_eq!(metric(&admin, "ringmain_partitions_offline"), 0.0);
    assert!(client.list_offset("t", 1, -1).unwrap() >= acknowledged);
    assert_eq!(produce(&mut client, 1, "last"), 0);
    assert!(broker.stop().success());
    assert!(!data.join("ringmain.journal").exists(), "nothing is left of what was kept");
}

/// Flips a bit on the disk, past the page cache: what that holds of the block is given up, and never holds the flipped bit
/// before it is read from the disk again.
fn rot(path: &Path, at: usize) {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_DIRECT).open(path).unwrap();
    let mut memory = vec![0; 2 * BLOCK];
    let skip = memory.as_ptr().align_offset(BLOCK);
    let block = &mut memory[skip..skip + BLOCK];
    let begin = u64::try_from(at / BLOCK * BLOCK).unwrap();
    file.read_exact_at(block, begin).unwrap();
    block[at % BLOCK] ^= 1;
    file.write_all_at(block, begin).unwrap();
    file.sync_all().unwrap();
}

/// Offsets from the first to the last that fetches give, stepping over those that fail, which are returned apart.
fn consume(client: &mut Client, partition: i32, end: i64) -> (Vec<i64>, Vec<(i64, i16)>) {
    let (mut offsets, mut failed, mut next) = (Vec::new(), Vec::new(), 0);
    while next < end {
        let fetched = client.fetch("t", partition, next).unwrap();
        if fetched.error_code != 0 {
            failed.push((next, fetched.error_code));
            next += 1;
            continue;
        }
        for (offset, value) in batch::records(&fetched.records) {
            assert!(value.iter().all(|byte| *byte == b'v'), "record {offset} of {partition} is damaged");
            offsets.push(offset);
            next = offset + 1;
        }
    }
    (offsets, failed)
}

#[test]
fn a_batch_that_rots_under_the_broker_is_not_sent_and_all_others_are() {
    const RECORDS: i64 = 60;
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = root.path().join("data");
    let (broker, _) = start(&data);
    let mut client = Client::connect(&broker.address);
    assert_eq!(client.create_topic_with("t", 2, &[("segment.bytes", "1048576")]).unwrap(), 0);
    client.wait_for_leaders("t", 2);
    for record in 0..RECORDS {
        for partition in [0, 1] {
            let value = vec![b'v'; 30_000];
            let produced = client.produce("t", partition, &batch::build(&[value])).unwrap();
            assert_eq!((produced.error_code, produced.base_offset), (0, record));
        }
    }
    assert!(broker.stop().success());

    // What was appended before is served from files.
    let (broker, admin) = start(&data);
    let mut client = Client::connect(&broker.address);
    let all: Vec<i64> = (0..RECORDS).collect();
    for _ in 0..3 {
        for partition in [0, 1] {
            assert_eq!(consume(&mut client, partition, RECORDS), (all.clone(), Vec::new()));
        }
    }
    assert_eq!(metric(&admin, "ringmain_damaged_batches_total"), 0.0);

    let segment = data.join("t-1/00000000000000000000.log");
    let batch_bytes = batch::build(&[vec![b'v'; 30_000]]).len();
    let at = 17 * batch_bytes + 12_345;
    rot(&segment, at);
    // The page cache may hold on to a page while something of it is being sent.
    wait_for("the damage to be noticed", || {
        (consume(&mut client, 1, RECORDS).1 == [(17, CORRUPT)]).then_some(())
    });
    let others: Vec<i64> = all.iter().copied().filter(|offset| *offset != 17).collect();
    for _ in 0..3 {
        assert_eq!(consume(&mut client, 1, RECORDS), (others.clone(), vec![(17, CORRUPT)]));
        assert_eq!(consume(&mut client, 0, RECORDS), (all.clone(), Vec::new()));
    }
    assert_eq!(produce(&mut client, 1, "v"), 0);
    assert_eq!(metric(&admin, "ringmain_damaged_batches_total"), 1.0);
    let log = broker.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("a damaged batch is not served")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let position = format!("position={}", 17 * batch_bytes);
    for part in [segment.to_str().unwrap(), &position, "offset=17", "partition=t-1", "the CRC is wrong"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }

    rot(&segment, at);
    wait_for("the mended batch", || (consume(&mut client, 1, RECORDS + 1).1.is_empty()).then_some(()));
    assert!(broker.stop().success());
}
