//! Starts: without privileges or configuration one succeeds, and what is in the way is said in words, with
//! what to do about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use ringmain_tests::broker::{Broker, binary, wait_for};
use ringmain_tests::client::{Client, FETCH};
use ringmain_tests::{batch, wire::Writer};

/// The user `nobody`, on every distribution.
const NOBODY: u32 = 65534;

/// Runs `command` in a shell, where `$0` is the binary; returns what it says when it ends in failure.
fn refused(command: &str, directory: &Path) -> String {
    let data = format!("log.dirs={}", directory.join("data").display());
    let output = Command::new("bash")
        .args(["-c", &format!("{command} \"$0\" \"$@\"")])
        .arg(binary())
        .args(["--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", &data])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command}: {said}");
    assert_eq!(said.lines().count(), 1, "one line says it: {said}");
    said
}

#[test]
fn a_user_without_privileges_starts_it_without_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ringmain");
    fs::copy(binary(), &program).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // All but the port, which may be taken here.
    let mut command = Command::new(&program);
    command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0"]).current_dir(directory.path());
    if geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listens = said.next().unwrap();
    assert!(listens.contains("listens on 127.0.0.1:") && listens.contains("./data"), "{listens}");
    let acknowledgement = said.next().unwrap();
    assert!(acknowledgement.contains("stable media"), "{acknowledgement}");
    let command = said.next().unwrap();
    assert!(command.contains("ringmain produce") && command.contains("ringmain consume"), "{command}");
    assert!(directory.path().join("data/meta.properties").exists());
    kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(process.wait().unwrap().success());
}

#[test]
fn limits_that_are_too_low_are_said_with_what_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused("ulimit -n 20 && exec", directory.path());
    assert!(said.contains("only 20 descriptors") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn a_kernel_that_is_too_old_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let said = refused("exec setarch --uname-2.6", directory.path());
    assert!(said.contains("Linux 2.6") && said.contains("6.1 or newer"), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start(&data, &[]);
    let mut client = Client::connect(&broker.address);
    client.create_topic_and_wait("unread", 1);
    for _ in 0..8 {
        let answer = client.produce("unread", 0, &batch::build(&[vec![7; 1_000_000]])).unwrap();
        assert_eq!(answer.error_code, 0);
    }
    // Answers that nobody reads: the stop waits for them to be taken.
    let body = Writer::default().i32(-1).i32(0).i32(1).i32(50 << 20).i8(0);
    let body = body.i32(1).string("unread").i32(1).i32(0).i64(0).i32(50 << 20);
    for id in 0..4 {
        std::io::Write::write_all(client.stream(), &Client::frame(FETCH, 4, id, &body.0)).unwrap();
    }
    let mut first_byte = [0];
    std::io::Read::read_exact(client.stream(), &mut first_byte).unwrap();
    broker.signal(Signal::SIGTERM);
    wait_for("the stop to begin", || broker.log().contains("stopping").then_some(()));
    broker.signal(Signal::SIGTERM);
    let log = data.with_extension("log");
    assert_eq!(broker.ended().code(), Some(1));
    assert!(!fs::read_to_string(log).unwrap().contains("stopped"), "it did not wait");
    assert!(data.join("ringmain.journal").exists(), "the next start recovers");
    let broker = Broker::start(&data, &[]);
    assert_eq!(Client::connect(&broker.address).list_offset("unread", 0, -1).unwrap(), 8);
}

#[test]
fn a_killed_broker_starts_again_at_once_on_its_port() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("log.dirs={}", directory.path().join("data").display());
    let mut listener = "listeners=PLAINTEXT://127.0.0.1:0".to_owned();
    for round in 0..12 {
        let mut command = Command::new(binary());
        command.args(["--set", &listener, "--set", &data, "--set", "ringmain.admin.listener=off"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listens = said.next().unwrap();
        let (_, rest) = listens.split_once("listens on ").unwrap_or_else(|| panic!("{round}: {listens}"));
        let address = rest.split([' ', ';']).next().unwrap();
        listener = format!("listeners=PLAINTEXT://{address}");
        // An open connection, whose reads the broker's rings wait for.
        assert_eq!(Client::connect(address).create_topic(&format!("round-{round}"), 1).unwrap(), 0);
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
