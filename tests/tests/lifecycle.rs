//! Starting and stopping: a clean stop leaves Kafka's directory and nothing of ours in the way,
//! and what cannot start says why.

use std::process::Command;

use nix::sys::signal::Signal;
use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, binary, wait_for};
use ringmain_tests::checker::read_all;
use ringmain_tests::client::{Client, FETCH};
use ringmain_tests::wire::Writer;

fn values(from: usize, count: usize) -> Vec<Vec<u8>> {
    (from..from + count).map(|index| format!("value {index}").into_bytes()).collect()
}

#[test]
fn a_clean_stop_empties_the_journal_and_a_restart_has_all() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut produced = Vec::new();
    for round in 0..3 {
        let broker = Broker::start(&data, &[]);
        let mut client = Client::connect(&broker.address);
        if round == 0 {
            client.create_topic_and_wait("kept", 2);
        }
        for request in 0..10 {
            let values = values(round * 100 + request * 10, 10);
            let answer = client.produce("kept", 1, &batch::build(&values)).unwrap();
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::try_from(produced.len()).unwrap()));
            produced.extend(values);
        }
        let status = broker.stop();
        assert_eq!(status.code(), Some(0), "SIGTERM ends with 0: {status}");
        assert!(!data.join("ringmain.journal").exists(), "Apache refuses a directory with our journal in it");
        assert!(data.join(".kafka_cleanshutdown").exists());
        assert!(data.join("meta.properties").exists());
    }
    let broker = Broker::start(&data, &[]);
    let found = read_all(&mut Client::connect(&broker.address), "kept", 1);
    assert!(found.into_iter().map(|(_, value)| value).eq(produced), "everything is there, in order");
    assert!(broker.stop().success());
}

#[test]
fn relaxed_durability_is_said_at_the_start_and_a_kill_takes_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut produced = Vec::new();
    for round in 0..3 {
        let broker = Broker::start(&data, &["ringmain.durability=relaxed"]);
        wait_for("a word about it", || broker.log().contains("durability is relaxed").then_some(()));
        let mut client = Client::connect(&broker.address);
        if round == 0 {
            client.create_topic_and_wait("kept", 1);
        }
        client.wait_for_leaders("kept", 1);
        for request in 0..20 {
            let values = values(round * 200 + request * 10, 10);
            let answer = client.produce("kept", 0, &batch::build(&values)).unwrap();
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::try_from(produced.len()).unwrap()));
            produced.extend(values);
        }
        broker.kill();
    }
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("kept", 1);
    let found = read_all(&mut client, "kept", 0);
    assert!(found.into_iter().map(|(_, value)| value).eq(produced), "everything is there, in order");
    assert!(broker.stop().success());
}

#[test]
fn a_stop_does_not_wait_for_a_long_poll() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("quiet", 1);
    // A fetch of one byte within ten minutes, from the end of an empty partition.
    let body = Writer::default().i32(-1).i32(600_000).i32(1).i32(1 << 20).i8(0);
    let body = body.i32(1).string("quiet").i32(1).i32(0).i64(0).i32(1 << 20);
    std::io::Write::write_all(client.stream(), &Client::frame(FETCH, 4, 99, &body.0)).unwrap();
    assert!(broker.stop().success());
}

#[test]
fn a_directory_has_one_broker_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut first = Broker::start(&data, &[]);
    let second = Command::new(binary())
        .args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"])
        .args(["--set", &format!("log.dirs={}", data.display())])
        .output()
        .unwrap();
    assert!(!second.status.success(), "a second broker on one directory is refused");
    let said =
        String::from_utf8_lossy(&second.stderr).into_owned() + &String::from_utf8_lossy(&second.stdout);
    assert!(said.contains(data.to_str().unwrap()), "it names the directory: {said}");
    assert!(first.runs());
    assert!(first.stop().success());
}

#[test]
fn a_wrong_value_is_refused_by_name() {
    let refused = |setting: &str| {
        let output = Command::new(binary()).args(["--set", setting]).output().unwrap();
        assert!(!output.status.success(), "{setting} is refused");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let key = setting.split('=').next().unwrap();
        assert!(said.contains(key), "the key is named: {said}");
    };
    refused("num.partitions=many");
    refused("log.segment.bytes=-5");
    refused("listeners=nowhere");
}

#[test]
fn help_config_lists_kafkas_keys() {
    let output = Command::new(binary()).arg("--help-config").output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for key in ["log.dirs", "listeners", "advertised.listeners", "message.max.bytes", "num.partitions"] {
        assert!(said.contains(key), "{key} is explained");
    }
}

#[test]
fn records_acknowledged_before_a_stop_signal_are_kept_when_it_comes_amid_work() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("amid", 1);
    let mut acknowledged = Vec::new();
    for request in 0..200 {
        if request == 100 {
            broker.signal(Signal::SIGTERM);
        }
        let values = values(request * 5, 5);
        match client.produce("amid", 0, &batch::build(&values)) {
            Ok(answer) if answer.error_code == 0 => acknowledged.extend(values),
            _ => break,
        }
    }
    // Not `stop`: a second signal would end it at once, by design.
    assert!(broker.ended().success(), "a clean end");
    let broker = Broker::start(&data, &[]);
    let found = read_all(&mut Client::connect(&broker.address), "amid", 0);
    let found: Vec<Vec<u8>> = found.into_iter().map(|(_, value)| value).collect();
    assert!(found.starts_with(&acknowledged), "{} acknowledged, {} found", acknowledged.len(), found.len());
}
