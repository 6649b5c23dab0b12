//! `ringmain group` and `ringmain consume --group`: what they print, what they do, how they end.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringmain_tests::broker::{Broker, binary, wait_for};

/// Runs `ringmain ARGUMENTS` against the broker.
fn ringmain(broker: &Broker, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).args(["--bootstrap", &broker.address]).output().unwrap()
}

/// What it prints; it must succeed.
fn done(broker: &Broker, arguments: &[&str]) -> String {
    let output = ringmain(broker, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says is wrong, and how it ends.
fn refused(broker: &Broker, arguments: &[&str]) -> (Option<i32>, String) {
    let output = ringmain(broker, arguments);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A broker whose groups do not wait for members that may come.
fn broker(directory: &tempfile::TempDir) -> Broker {
    Broker::start(&directory.path().join("data"), &["group.initial.rebalance.delay.ms=0"])
}

/// A topic with as many records in each partition, numbered through.
fn fill(broker: &Broker, topic: &str, partitions: u32, records: u32) {
    done(broker, &["topic", "create", topic, "-p", &partitions.to_string()]);
    for partition in 0..partitions {
        let mut producer = Command::new(binary())
            .args(["produce", topic, "-p", &partition.to_string(), "--bootstrap", &broker.address])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines: String =
            (0..records).map(|number| format!("{}\n", partition * records + number)).collect();
        producer.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(producer.wait().unwrap().success());
    }
}

/// A member that runs until it is told to stop.
struct Member {
    child: Child,
    lines: std::thread::JoinHandle<Vec<u32>>,
}

impl Member {
    fn start(broker: &Broker, topic: &str, group: &str) -> Self {
        let mut child = Command::new(binary())
            .args(["consume", topic, "-g", group, "--from-beginning", "--bootstrap", &broker.address])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines =
            std::thread::spawn(move || out.lines().map(|line| line.unwrap().parse().unwrap()).collect());
        Self { child, lines }
    }

    /// Asks it to stop; what it has printed.
    fn stop(mut self, signal: Signal) -> Vec<u32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.lines.join().unwrap()
    }
}

#[test]
fn a_group_goes_on_where_it_stopped_and_its_offsets_can_be_moved() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory);
    fill(&broker, "numbers", 2, 100);
    let consume = ["consume", "numbers", "-g", "readers", "--from-beginning"];
    let first = done(&broker, &[&consume[..], &["-n", "130"]].concat());
    let rest = done(&broker, &[&consume[..], &["--exit-at-end"]].concat());
    let printed: BTreeSet<u32> =
        first.lines().chain(rest.lines()).map(|line| line.parse().unwrap()).collect();
    assert_eq!(first.lines().count() + rest.lines().count(), 200);
    assert_eq!(printed.len(), 200, "each once");
    assert_eq!(done(&broker, &["group", "list"]), "readers\tEmpty\tclassic\tconsumer\n");
    let described = done(&broker, &["group", "describe", "readers"]);
    let (state, partitions) = described.split_once('\n').unwrap();
    assert!(state.starts_with("readers  state=Empty type=classic assignor=none members=0"), "{state}");
    assert_eq!(
        partitions,
        "readers\tnumbers\t0\t100\t100\t0\t-\t-\nreaders\tnumbers\t1\t100\t100\t0\t-\t-\n"
    );

    let reset = ["group", "reset-offsets", "readers", "--topic", "numbers:1"];
    let moved = "readers\tnumbers\t1\t100\t70\n";
    assert_eq!(done(&broker, &[&reset[..], &["--shift-by", "-30"]].concat()), moved);
    assert_eq!(done(&broker, &["group", "describe", "readers"]), described, "nothing was moved yet");
    assert_eq!(done(&broker, &[&reset[..], &["--shift-by", "-30", "--execute"]].concat()), moved);
    assert_eq!(done(&broker, &[&consume[..], &["--exit-at-end"]].concat()).lines().count(), 30);
    for (target, offset) in [
        (&["--to-earliest"][..], "0"),
        (&["--to-latest"], "100"),
        (&["--to-offset", "7"], "7"),
        (&["--to-offset", "700"], "100"),
        (&["--to-timestamp", "2001-09-09T01:46:40Z"], "0"),
        (&["--by-duration", "1d"], "0"),
    ] {
        let told = done(&broker, &[&reset[..], target].concat());
        assert_eq!(told, format!("readers\tnumbers\t1\t100\t{offset}\n"), "{target:?}");
    }
    let json = done(&broker, &["group", "describe", "readers", "--json"]);
    for part in ["\"group\": \"readers\"", "\"lag\": 0", "\"state\": \"Empty\""] {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert_eq!(done(&broker, &["group", "delete", "readers"]), "readers deleted\n");
    assert_eq!(done(&broker, &["group", "delete", "readers", "--if-exists"]), "readers is not there\n");
    assert_eq!(done(&broker, &["group", "list"]), "");
    assert!(broker.stop().success());
}

#[test]
fn members_share_partitions_and_a_group_with_members_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory);
    fill(&broker, "numbers", 4, 50);
    let members = [(); 2].map(|()| Member::start(&broker, "numbers", "readers"));
    wait_for("both members have partitions and all is committed", || {
        let output = ringmain(&broker, &["group", "describe", "readers"]);
        let told = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = told.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        let owners: BTreeSet<&str> = lines.iter().map(|line| line[6]).filter(|owner| *owner != "-").collect();
        let caught_up = lines.len() == 4 && lines.iter().all(|line| line[5] == "0");
        (caught_up && owners.len() == 2).then_some(())
    });
    let told = done(&broker, &["group", "describe", "readers", "--members"]);
    assert!(told.starts_with("readers  state=Stable type=classic assignor=range members=2"), "{told}");
    assert!(told.contains("\tnumbers:0,1\n") && told.contains("\tnumbers:2,3\n"), "{told}");
    assert_eq!(refused(&broker, &["group", "delete", "readers"]).0, Some(1));
    let reset = ["group", "reset-offsets", "readers", "--all-topics", "--to-earliest", "--execute"];
    let (code, said) = refused(&broker, &reset);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is Stable with 2 members"), "{said}");
    let [first, second] = members;
    let mut printed = first.stop(Signal::SIGINT);
    printed.extend(second.stop(Signal::SIGTERM));
    printed.sort_unstable();
    printed.dedup();
    assert_eq!(printed, (0..200).collect::<Vec<_>>());
    // They left: the group need not wait for their sessions to end.
    assert_eq!(done(&broker, &["group", "list", "--state", "Empty"]), "readers\tEmpty\tclassic\tconsumer\n");
    assert!(broker.stop().success());
}

#[test]
fn a_refusal_says_its_name_and_ends_with_one_and_wrong_arguments_with_two() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory);
    fill(&broker, "there", 1, 1);
    for (arguments, name) in
        [(&["describe", "missing"][..], "GROUP_ID_NOT_FOUND"), (&["delete", "missing"], "GROUP_ID_NOT_FOUND")]
    {
        let (code, said) = refused(&broker, &[&["group"], arguments].concat());
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(name), "{arguments:?}: {said}");
    }
    for arguments in [
        &["reset-offsets", "g"][..],
        &["reset-offsets", "g", "--to-earliest"],
        &["reset-offsets", "g", "--topic", "there"],
        &["reset-offsets", "g", "--topic", "there", "--to-earliest", "--to-latest"],
        &["reset-offsets", "g", "--topic", "there:9", "--to-earliest"],
        &["reset-offsets", "g", "--topic", "missing", "--to-earliest"],
        &["reset-offsets", "g", "--topic", "there", "--shift-by", "1"],
        &["reset-offsets", "g", "--topic", "there", "--by-duration", "a while"],
        &["delete"],
    ] {
        let (code, said) = refused(&broker, &[&["group"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    let (code, said) = refused(&broker, &["consume", "there", "-g", "g", "-p", "0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(broker.stop().success());
}
