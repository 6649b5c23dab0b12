//! The admin listener: metrics that count what clients do, health, and the log's level while the broker runs.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use nix::sys::signal::Signal;
use ringmain_tests::admin::{ask, metric};
use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, free_port, wait_for};
use ringmain_tests::client::Client;

/// A broker with the admin listener on a port of its own.
fn start(directory: &Path) -> (Broker, String) {
    let admin = format!("127.0.0.1:{}", free_port());
    let broker = Broker::start(&directory.join("data"), &[&format!("ringmain.admin.listener={admin}")]);
    (broker, admin)
}

#[test]
fn metrics_count_what_clients_do() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, admin) = start(directory.path());
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("counted", 3);
    let batch = batch::build(&[vec![b'v'; 10_000]]);
    for _ in 0..20 {
        client.produce("counted", 0, &batch).unwrap();
    }
    client.fetch("counted", 0, 0).unwrap();
    assert!(metric(&admin, "ringmain_requests_total", "api=\"Produce\"") >= 20.0);
    assert!(metric(&admin, "ringmain_requests_total", "api=\"Fetch\"") >= 1.0);
    assert!(metric(&admin, "ringmain_received_bytes_total", "") > 200_000.0);
    assert!(metric(&admin, "ringmain_sent_bytes_total", "") > 200_000.0);
    assert!(metric(&admin, "ringmain_appended_bytes_total", "") > 200_000.0);
    assert!(metric(&admin, "ringmain_journal_copied_bytes_total", "") > 200_000.0);
    let groups = metric(&admin, "ringmain_journal_sync_seconds_count", "");
    assert!(groups >= 20.0, "each of these waited for its own write: {groups}");
    assert!(metric(&admin, "ringmain_journal_sync_seconds_sum", "") > 0.0);
    assert!(metric(&admin, "ringmain_request_duration_seconds_count", "api=\"Produce\"") >= 20.0);
    let shown = |name: &str, value: f64| {
        wait_for(name, || (metric(&admin, name, "") == value).then_some(()));
    };
    shown("ringmain_partitions", 3.0);
    shown("ringmain_connections", 1.0);
    drop(client);
    shown("ringmain_connections", 0.0);
    let mut liar = TcpStream::connect(&broker.address).unwrap();
    liar.write_all(&[0xff; 8]).unwrap();
    shown("ringmain_connections_refused_total", 1.0);
    assert!(broker.stop().success());
}

#[test]
fn health_says_when_requests_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, admin) = start(directory.path());
    assert_eq!(ask(&admin, "GET", "/health/live", "").0, 200);
    wait_for("the broker to be ready", || (ask(&admin, "GET", "/health/ready", "").0 == 200).then_some(()));
    assert_eq!(ask(&admin, "GET", "/nothing", "").0, 404);
    broker.signal(Signal::SIGTERM);
    assert!(broker.ended().success());
}

#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, admin) = start(directory.path());
    assert_eq!(ask(&admin, "GET", "/log-level", ""), (200, "info\n".to_owned()));
    assert_eq!(ask(&admin, "PUT", "/log-level", "debug"), (200, "debug\n".to_owned()));
    assert!(broker.log().contains("the log's filter is debug now"));
    let (status, problem) = ask(&admin, "PUT", "/log-level", "a=b=c");
    assert_eq!(status, 400, "{problem}");
    assert_eq!(ask(&admin, "GET", "/log-level", "").1, "debug\n", "a wrong filter changes nothing");
    assert_eq!(ask(&admin, "PUT", "/log-level", &"x".repeat(100_000)).0, 413);
    assert!(broker.stop().success());
}

#[test]
fn a_taken_port_stops_the_start_only_if_it_was_set() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = std::process::Command::new(ringmain_tests::broker::binary());
    command.args(["--set", &format!("log.dirs={}", directory.path().join("data").display())]);
    command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]);
    command.args(["--set", &format!("ringmain.admin.listener={address}")]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ringmain.admin.listener"), "{said}");
    // The default port may be taken by whoever else runs here: with and without it the broker starts.
    let first = Broker::start(&directory.path().join("first"), &[]);
    let second = Broker::start(&directory.path().join("second"), &[]);
    wait_for("advice about the port", || second.log().contains("no metrics on 127.0.0.1:9644").then_some(()));
    assert!(first.stop().success() && second.stop().success());
}
