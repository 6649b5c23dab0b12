//! `ringmain produce` and `ringmain consume`: lines in, the same lines out.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use ringmain_tests::broker::{Broker, binary};
use ringmain_tests::client::Client;

fn run(broker: &Broker, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--bootstrap", &broker.address]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_vec();
    // A thread feeds it, so that neither pipe can block the other.
    let feeder = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = process.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn consume(broker: &Broker, arguments: &[&str]) -> String {
    let output = run(broker, &[&["consume"], arguments, &["--exit-at-end"]].concat(), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn produce(broker: &Broker, arguments: &[&str], input: &str) {
    let output = run(broker, &[&["produce"], arguments].concat(), input.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn lines_come_back_identical_through_every_codec() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    let mut lines = String::new();
    for line in 0..20_000 {
        lines += &format!("{line} {}\n", "ärger ".repeat(line % 40));
    }
    lines += "\n\nlast\n";
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("lines-{codec}");
        produce(&broker, &[&topic, "--compression", codec], &lines);
        assert!(consume(&broker, &[&topic, "--from-beginning"]) == lines, "{codec}: other lines came back");
    }
    assert!(broker.stop().success());
}

#[test]
fn keys_headers_partitions_and_offsets_are_printed_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    Client::connect(&broker.address).create_topic_and_wait("pairs", 3);
    let keyed = ["pairs", "--key-separator", ":", "--partition", "2", "--header", "from=test"];
    produce(&broker, &keyed, "one:1\ntwo:2\nthree:3\n");
    let printed = consume(&broker, &["pairs", "--from-beginning", "--print-key", "--print-headers"]);
    assert_eq!(printed, "from=test\tone\t1\nfrom=test\ttwo\t2\nfrom=test\tthree\t3\n");
    assert_eq!(consume(&broker, &["pairs", "--partition", "2", "--offset", "1"]), "2\n3\n");
    assert_eq!(consume(&broker, &["pairs", "--partition", "2", "--offset", "-1"]), "3\n");
    assert_eq!(consume(&broker, &["pairs", "--partition", "0", "--from-beginning"]), "");
    assert_eq!(consume(&broker, &["pairs"]), "", "without a start only what comes from now on");
    assert!(broker.stop().success());
}

#[test]
fn what_cannot_be_done_is_said_with_an_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]);
    let fails = |arguments: &[&str]| {
        let output = run(&broker, arguments, b"line\n");
        assert!(!output.status.success(), "{arguments:?} fails");
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    };
    fails(&["produce", "no such/topic"]);
    fails(&["produce", "topic", "--compression", "brotli"]);
    fails(&["produce", "topic", "--partition", "9"]);
    assert!(broker.stop().success());
}
