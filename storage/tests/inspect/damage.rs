//! One bit of one file, over all files.

use std::fs;
use std::path::Path;

use ringmain_storage::inspect::Severity;

use crate::store::{contents, make};

/// Bits of each file that are tried, others in each file.
const BITS_PER_FILE: usize = 8;

/// Turns one bit round, looks, and turns it back.
fn flipped<T>(path: &Path, bit: usize, look: impl FnOnce() -> T) -> T {
    let whole = fs::read(path).unwrap();
    let mut damaged = whole.clone();
    damaged[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, damaged).unwrap();
    let seen = look();
    fs::write(path, whole).unwrap();
    seen
}

fn bits(file: usize, len: usize) -> impl Iterator<Item = usize> {
    let step = (len * 8 / BITS_PER_FILE).max(1) | 1;
    (file * 37 % step..len * 8).step_by(step)
}

#[test]
fn a_flipped_bit_after_a_clean_stop_is_found_in_its_file_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), true);
    let mut tried = 0;
    for (index, (path, content)) in contents(dir.path()).into_iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        // Numbers as text without a checksum: another number is as good, unless something contradicts it.
        if name.ends_with("-offset-checkpoint") || name.starts_with('.') {
            continue;
        }
        for bit in bits(index, content.len()) {
            let verified = flipped(&path, bit, || crate::look(dir.path()));
            let found = verified.findings.iter().find(|finding| finding.path == path);
            let found = found.unwrap_or_else(|| {
                panic!("bit {bit} of {} was not found: {:?}", path.display(), verified.findings)
            });
            // Older Kafka names a record within the batch.
            let note = name.ends_with(".timeindex") && found.what.contains("within a batch");
            assert!(found.severity == Severity::Damage || note, "bit {bit}: {found}");
            assert_eq!(
                verified.findings.len(),
                1,
                "bit {bit} of {}: {:?}",
                path.display(),
                verified.findings
            );
            let byte = u64::try_from(bit / 8).unwrap();
            if let Some(position) = found.position {
                assert!(position <= byte && byte < position + 4000, "bit {bit}, byte {byte}: {found}");
            }
            assert!(found.partition.is_some(), "{found}");
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried} bits were tried");
    assert_eq!(crate::look(dir.path()).findings, []);
}

#[test]
fn a_flipped_bit_after_a_kill_is_found_where_the_journal_vouches_for_it() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false);
    let clean = crate::look(dir.path()).findings;
    let mut found_in_journals = 0;
    for (index, (path, content)) in contents(dir.path()).into_iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let journal = name.ends_with(".journal");
        if !journal
            && path.extension().is_none_or(|suffix| suffix != "log")
            && name != "checkpoint"
            && name != "settled"
        {
            continue;
        }
        for bit in bits(index, content.len()) {
            let verified = flipped(&path, bit, || crate::look(dir.path()));
            let new: Vec<_> = verified.findings.iter().filter(|finding| !clean.contains(finding)).collect();
            if let Some(found) = new.iter().find(|finding| finding.path == path) {
                found_in_journals += usize::from(journal);
                let byte = u64::try_from(bit / 8).unwrap();
                let near = found.position.is_none_or(|at| at <= byte && byte < at + (80 << 10));
                assert!(near, "byte {byte}: {found}");
            } else {
                // Only what no start needs may be wrong unseen: zeros, and frames of an earlier lap.
                assert!(journal, "bit {bit} of {}: {:?}", path.display(), verified.findings);
            }
        }
    }
    assert!(found_in_journals > 3, "{found_in_journals}");
}
