//! `inspect` over directories that the engine left: nothing to find where nothing is wrong, and every damaged bit found
//! where it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod damage;
mod golden;
mod store;

use std::path::Path;

use ringmain_storage::inspect::verify::{Progress, Verified, verify};

use store::{contents, make};

/// Checks a directory.
fn look(dir: &Path) -> Verified {
    verify(dir, 2, &Progress::default()).unwrap()
}

#[test]
fn a_clean_stop_leaves_nothing_to_find_and_looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), true);
    let before = contents(dir.path());
    let verified = look(dir.path());
    assert_eq!(verified.findings, []);
    assert!(verified.clean && verified.partitions == 4 && verified.segments > 10, "{verified:?}");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn what_only_the_journal_holds_after_a_kill_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false);
    let before = contents(dir.path());
    let verified = look(dir.path());
    assert!(!verified.is_damaged(), "{:?}", verified.findings);
    assert!(!verified.clean && verified.frames > 0 && verified.partitions == 4, "{verified:?}");
    assert!(contents(dir.path()) == before, "something was changed");
    // More than the files hold: the rest stands in the journal.
    assert!(verified.batches >= store::BATCHES, "{verified:?}");
}

#[test]
fn a_start_goes_on_from_what_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false);
    look(dir.path());
    store::reopen(dir.path());
    let verified = look(dir.path());
    assert_eq!(verified.findings, []);
    assert!(verified.clean && verified.batches >= store::BATCHES, "{verified:?}");
}
