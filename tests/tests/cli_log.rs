//! `ringmain log`: what it finds in directories that the running binary left, what it prints, how it ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, binary};
use ringmain_tests::client::Client;

const TOPIC: &str = "looked-at";
const PARTITIONS: i32 = 3;
const BATCHES: i32 = 60;

/// Runs `ringmain log ARGUMENTS`; its exit code and what it printed, both streams.
fn log(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary()).arg("log").args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap() + std::str::from_utf8(&stderr).unwrap())
}

/// Checks a directory and makes sure that nothing in it changed.
fn verify(data: &Path) -> (i32, String) {
    let before = contents(data);
    let seen = log(&["verify", data.to_str().unwrap()]);
    assert!(contents(data) == before, "something was changed");
    seen
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Starts a broker on a directory and produces to every partition of the topic; small segments roll.
fn filled(data: &Path) -> Broker {
    let broker = Broker::start(data, &["log.segment.bytes=1048576", "log.index.interval.bytes=1024"]);
    let mut client = Client::connect(&broker.address);
    if !data.join(format!("{TOPIC}-0")).exists() {
        assert_eq!(client.create_topic(TOPIC, PARTITIONS).unwrap(), 0);
    }
    client.wait_for_leaders(TOPIC, PARTITIONS);
    for number in 0..BATCHES {
        for partition in 0..PARTITIONS {
            let values = vec![format!("{partition}/{number}/{}", "x".repeat(30_000)).into_bytes(); 2];
            assert_eq!(client.produce(TOPIC, partition, &batch::build(&values)).unwrap().error_code, 0);
        }
    }
    broker
}

#[test]
fn directories_of_clean_stops_and_of_kills_are_undamaged_and_those_in_use_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = filled(&data);
    let (code, said) = log(&["verify", data.to_str().unwrap()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("is in use by process"), "{said}");
    broker.kill();
    let (code, said) = verify(&data);
    assert!(code == 0 && said.contains("not after a clean stop: nothing is damaged"), "{code}: {said}");
    let broker = filled(&data);
    assert!(broker.stop().success());
    let (code, said) = verify(&data);
    assert!(code == 0 && said.contains(", after a clean stop: nothing is damaged"), "{code}: {said}");
    let (code, json) = log(&["verify", "--json", data.to_str().unwrap()]);
    assert!(code == 0 && json.contains("\"damaged\":false") && json.contains("\"clean\":true"), "{json}");
    let counted = json.split("\"batches\":").nth(1).unwrap().split(',').next().unwrap();
    // Those of both lives, and the metadata log's.
    assert!(counted.parse::<i32>().unwrap() > 2 * PARTITIONS * BATCHES, "{json}");
}

#[test]
fn damage_is_named_with_file_position_and_partition_and_ends_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert!(filled(&data).stop().success());
    let log_file = data.join(format!("{TOPIC}-1/00000000000000000000.log"));
    let mut bytes = fs::read(&log_file).unwrap();
    bytes[100] ^= 4;
    fs::write(&log_file, &bytes).unwrap();
    let (code, said) = verify(&data);
    assert_eq!(code, 1, "{said}");
    let expected = format!("damaged: {} at 0 ({TOPIC}-1): CRC mismatch", log_file.display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.trim_end().ends_with("1 damaged"), "{said}");
}

#[test]
fn what_cannot_be_looked_at_ends_with_two() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().to_str().unwrap();
    let missing = directory.path().join("missing.log");
    for arguments in [
        &["verify"][..],
        &["verify", empty],
        &["verify", missing.to_str().unwrap()],
        &["verify", empty, "--threads", "0"],
        &["dump"],
        &["dump", empty],
        &["dump", missing.to_str().unwrap()],
        &["dump", "Cargo.toml"],
        &["burn"],
    ] {
        let (code, said) = log(arguments);
        assert!(code == 2 && !said.is_empty(), "{arguments:?}: {code}: {said}");
    }
}

#[test]
fn a_dump_shows_batches_records_indexes_and_journals() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = filled(&data);
    broker.kill();
    let (code, all) = log(&["dump", data.to_str().unwrap()]);
    // The file of an active segment ends within a batch: the rest stands in the journal.
    assert!(code <= 1, "{all}");
    for part in [
        "batch baseOffset: 0 lastOffset: 1 count: 2 baseSequence: -1",
        "frame position: 0 epoch: ",
        "entry kind: create topicId: ",
        "entry kind: batch topicId: ",
        "checkpoint epoch: ",
        "partition topicId: ",
    ] {
        assert!(all.contains(part), "{part}: not in {} bytes", all.len());
    }
    let segment = data.join(format!("{TOPIC}-2/00000000000000000000.log"));
    let index = data.join(format!("{TOPIC}-2/00000000000000000000.index"));
    let (code, entries) = log(&["dump", index.to_str().unwrap()]);
    assert!(code == 0 && entries.contains("index offset: "), "{entries}");
    let (code, records) = log(&["dump", "--records", "--json", segment.to_str().unwrap()]);
    assert_eq!(code, 0, "{records}");
    let first = records.lines().find(|line| line.contains("\"row\":\"record\"")).unwrap();
    assert!(first.contains("\"offset\":0") && first.contains("\"payload\":\"2/0/xxx"), "{first}");
}
