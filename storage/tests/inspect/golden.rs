//! Directories that were recorded once, `store-1` with the first journals and checkpoints, `store-2` with a folder for each
//! start and version 2 of the checkpoint, `store-3` with version 2 of the frame, `store-4` with version 3 of the checkpoint, which
//! has aborted transactions, `store-5` with the first truncation: they are opened, shown and found undamaged for ever. `golden/store-1/killed` is what a process left that ended without warning: a journal that has been
//! around its ring, with carried bytes, a deleted log, a moved log start and segments that rolled. `clean` is the same
//! after a start and a clean stop. `RINGMAIN_GOLDEN=write` records anew: for a new version, into a new folder.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ringmain_storage::inspect::Finding;
use ringmain_storage::inspect::dump::{DumpOptions, Row, Value, dump};
use ringmain_storage::inspect::verify::Verified;

use crate::store::{self, contents};

/// The folder of a format version's files.
fn golden(version: u32) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(format!("store-{version}"))
}

/// The newest one. Only the first has a clean stop's files: they are Kafka's and never change.
const NEWEST: u32 = 5;

/// A copy to work on: a start changes what it opens.
fn copy(from: &Path, to: &Path) {
    for (path, content) in contents(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Everything `dump` shows of a directory, with file names from there on.
fn shown(directory: &Path) -> String {
    let mut text = String::new();
    let mut here = PathBuf::new();
    let mut show = |path: &Path, Row { kind, fields }: Row| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        let path = path.strip_prefix(directory).unwrap();
        if here != path {
            path.clone_into(&mut here);
            text += &format!("{}\n", here.display());
        }
        text += &format!("  {kind}: {}\n", fields.join(", "));
        ControlFlow::Continue(())
    };
    dump(directory, DumpOptions { records: false }, &mut show).unwrap();
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::Absent => "none".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Count(count) => count.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(_) | Value::Pairs(_) => unreachable!("only records have them"),
    }
}

fn found(directory: &Path) -> String {
    let verified = crate::look(directory);
    let mut findings = String::new();
    for finding in &verified.findings {
        let path = finding.path.strip_prefix(directory).unwrap().to_owned();
        findings += &format!("{}\n", Finding { path, ..finding.clone() });
    }
    let Verified { clean, partitions, segments, batches, frames, .. } = verified;
    format!(
        "{findings}clean {clean}, {partitions} partitions, {segments} segments, {batches} batches, {frames} frames\n"
    )
}

#[test]
fn recorded_directories_are_shown_and_checked_as_when_they_were_recorded() {
    if std::env::var("RINGMAIN_GOLDEN").as_deref() == Ok("write") {
        record();
    }
    for version in 1..=NEWEST {
        let golden = golden(version);
        let now = shown(&golden.join("killed"));
        let then = fs::read_to_string(golden.join("killed.dump")).unwrap();
        for (line, (now, then)) in now.lines().zip(then.lines()).enumerate() {
            assert_eq!(now, then, "{version}: killed.dump line {}", line + 1);
        }
        assert_eq!(now.lines().count(), then.lines().count());
        let expected = fs::read_to_string(golden.join("killed.verify")).unwrap();
        assert_eq!(found(&golden.join("killed")), expected, "{version}");
    }
    let clean = fs::read_to_string(golden(1).join("clean.verify")).unwrap();
    assert_eq!(found(&golden(1).join("clean")), clean);
}

#[test]
fn recorded_directories_open_with_every_record() {
    for version in 1..=NEWEST {
        let directory = tempfile::tempdir().unwrap();
        copy(&golden(version).join("killed"), directory.path());
        let batches = crate::look(directory.path()).batches;
        assert_eq!(store::check_small(directory.path()), batches, "{version}");
        if version > 1 {
            continue;
        }
        // The clean stop after it leaves what was recorded of one.
        let now = contents(directory.path());
        let clean = golden(1).join("clean");
        for (path, content) in contents(&clean) {
            let path = path.strip_prefix(&clean).unwrap();
            assert!(now.get(&directory.path().join(path)) == Some(&content), "{version}: {}", path.display());
        }
    }
}

/// Writes what the tests read of the newest version.
fn record() {
    let golden = golden(NEWEST);
    fs::remove_dir_all(&golden).ok();
    let killed = golden.join("killed");
    fs::create_dir_all(&killed).unwrap();
    store::make_small(&killed);
    fs::write(golden.join("killed.dump"), shown(&killed)).unwrap();
    fs::write(golden.join("killed.verify"), found(&killed)).unwrap();
}
