//! A directory that was recorded once, when journals and checkpoints had format version 1: it is opened, shown and found
//! undamaged for ever. `golden/store-1/killed` is what a process left that ended without warning: a journal that has been
//! around its ring, with carried bytes, a deleted log, a moved log start and segments that rolled. `clean` is the same
//! after a start and a clean stop. `RINGMAIN_GOLDEN=write` records anew: for a new version, into a new folder.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ringmain_storage::inspect::Finding;
use ringmain_storage::inspect::dump::{DumpOptions, Row, Value, dump};
use ringmain_storage::inspect::verify::Verified;

use crate::store::{self, contents};

/// The folder of this format version's files.
fn golden() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/store-1"))
}

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
    let now = shown(&golden().join("killed"));
    let then = fs::read_to_string(golden().join("killed.dump")).unwrap();
    for (line, (now, then)) in now.lines().zip(then.lines()).enumerate() {
        assert_eq!(now, then, "killed.dump line {}", line + 1);
    }
    assert_eq!(now.lines().count(), then.lines().count());
    for which in ["killed", "clean"] {
        let expected = fs::read_to_string(golden().join(format!("{which}.verify"))).unwrap();
        assert_eq!(found(&golden().join(which)), expected, "{which}");
    }
}

#[test]
fn a_recorded_directory_opens_with_every_record() {
    let directory = tempfile::tempdir().unwrap();
    copy(&golden().join("killed"), directory.path());
    let batches = crate::look(directory.path()).batches;
    assert_eq!(store::check_small(directory.path()), batches);
    // The clean stop after it leaves what was recorded of one: only the epoch of a start is not in these files.
    let now = contents(directory.path());
    for (path, content) in contents(&golden().join("clean")) {
        let path = path.strip_prefix(golden().join("clean")).unwrap().to_owned();
        assert!(now.get(&directory.path().join(&path)) == Some(&content), "{}", path.display());
    }
}

/// Writes what the tests read.
fn record() {
    let killed = golden().join("killed");
    fs::remove_dir_all(golden()).ok();
    fs::create_dir_all(&killed).unwrap();
    store::make_small(&killed);
    let clean = golden().join("clean");
    copy(&killed, &clean);
    store::check_small(&clean);
    fs::write(golden().join("killed.dump"), shown(&killed)).unwrap();
    for which in ["killed", "clean"] {
        fs::write(golden().join(format!("{which}.verify")), found(&golden().join(which))).unwrap();
    }
}
