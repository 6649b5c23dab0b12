//! `ringmain topic` and `ringmain completions`: what they print, what they do, how they end.

use std::process::{Command, Output};

use ringmain_tests::broker::{Broker, binary};

/// Runs `ringmain topic ARGUMENTS` against the broker.
fn topic(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("topic").args(arguments).args(["--bootstrap", &broker.address]).output().unwrap()
}

/// What it prints; it must succeed.
fn done(broker: &Broker, arguments: &[&str]) -> String {
    let output = topic(broker, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says is wrong, and how it ends.
fn refused(broker: &Broker, arguments: &[&str]) -> (Option<i32>, String) {
    let output = topic(broker, arguments);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn topics_are_made_listed_described_altered_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    let made = done(&broker, &["create", "orders", "bills", "--partitions", "3", "-c", "retention.ms=60000"]);
    assert_eq!(made, "orders created: 3 partitions × 1 replica\nbills created: 3 partitions × 1 replica\n");
    assert_eq!(done(&broker, &["list"]), "bills\t3\t1\norders\t3\t1\n");
    done(&broker, &["alter", "orders", "-p", "4", "--append-config", "cleanup.policy=compact"]);
    done(
        &broker,
        &["alter", "orders", "--delete-config", "retention.ms", "--config", "segment.bytes=2000000"],
    );
    let told = done(&broker, &["describe", "orders"]);
    assert!(
        told.lines().next().unwrap().ends_with("cleanup.policy=delete,compact segment.bytes=2000000"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 5, "{told}");
    assert_eq!(told.lines().nth(4), Some("orders\t3\t1\t0\t1\t1"));
    assert_eq!(done(&broker, &["describe", "--unavailable-partitions"]), "");
    done(&broker, &["create", "by-hand", "--replica-assignment", "1,1"]);
    assert_eq!(done(&broker, &["create", "orders", "--if-not-exists"]), "orders exists\n");
    assert!(done(&broker, &["create", "only-checked", "--validate-only"]).contains("could be created"));
    assert_eq!(done(&broker, &["delete", "orders", "by-hand"]).lines().count(), 2);
    assert_eq!(done(&broker, &["delete", "orders", "--if-exists"]), "orders is not there\n");
    assert_eq!(done(&broker, &["list"]), "bills\t3\t1\n");
    let json = done(&broker, &["describe", "bills", "--json"]);
    for part in ["\"name\": \"bills\"", "\"retention.ms\": \"60000\"", "\"partition\": 2", "\"leader\": 1"] {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert!(broker.stop().success());
}

#[test]
fn a_refusal_says_its_name_and_ends_with_one_and_wrong_arguments_with_two() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    done(&broker, &["create", "there"]);
    for (arguments, name) in [
        (&["create", "there"][..], "TOPIC_ALREADY_EXISTS"),
        (&["create", "a b"], "INVALID_TOPIC_EXCEPTION"),
        (&["create", "new", "-r", "3"], "INVALID_REPLICATION_FACTOR"),
        (&["create", "new", "-c", "no.such.key=1"], "INVALID_CONFIG"),
        (&["create", "new", "--replica-assignment", "7"], "INVALID_REPLICA_ASSIGNMENT"),
        (&["describe", "missing"], "UNKNOWN_TOPIC_OR_PARTITION"),
        (&["alter", "missing", "-p", "2"], "UNKNOWN_TOPIC_OR_PARTITION"),
        (&["alter", "there", "-p", "1"], "INVALID_PARTITIONS"),
        (&["alter", "there", "-c", "retention.ms=never"], "INVALID_CONFIG"),
        (&["delete", "missing"], "UNKNOWN_TOPIC_OR_PARTITION"),
    ] {
        let (code, said) = refused(&broker, arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(name), "{arguments:?}: {said}");
    }
    for arguments in [
        &["create"][..],
        &["create", "new", "-p", "0"],
        &["create", "new", "-c", "retention.ms"],
        &["create", "new", "-p", "1", "--replica-assignment", "1"],
        &["create", "new", "--replica-assignment", "one"],
        &["alter", "there"],
        &["delete"],
        &["burn", "there"],
    ] {
        let (code, said) = refused(&broker, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
    let both = topic(&broker, &["create", "there", "beside"]);
    assert_eq!(both.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&both.stdout), "beside created: 1 partition × 1 replica\n");
    assert_eq!(done(&broker, &["list"]), "beside\t1\t1\nthere\t1\t1\n");
    let several = format!("127.0.0.1:1, {}", broker.address);
    let second = Command::new(binary()).args(["topic", "list", "-b", &several]).output().unwrap();
    assert!(second.status.success(), "the first that answers is asked");
    let nobody = Command::new(binary()).args(["topic", "list", "-b", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(broker.stop().success());
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(binary()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["produce", "consume", "topic", "describe", "if-not-exists", "completions"] {
            assert!(script.contains(word), "{word} in the script for {shell}");
        }
    }
    let unknown = Command::new(binary()).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}
