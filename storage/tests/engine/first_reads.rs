//! The first reads after a start, of those who go on where the log ended: they begin where the start looked, not at the
//! segment's begin.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the test spoils files from outside"
)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::batch;
use ringmain_storage::segment::ReadLimits;
use ringmain_storage::types::{LeaderEpoch, Offset};

use super::{Store, bytes_of, config, key, produce, run};

const BATCHES: i64 = 12;
const BYTES: usize = 3000;

/// A store whose only log has one segment, stopped cleanly; or started once more and then killed.
async fn fill(path: &Path, is_killed: bool) {
    let (store, _) = open(path).await;
    let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
    produce(&log, 0, BATCHES, BYTES).await;
    store.close().await.unwrap();
    if is_killed {
        // Dropped without a stop, as with kill -9.
        drop(open(path).await);
        for index in ["index", "timeindex"] {
            fs::remove_file(segment(path).with_extension(index)).unwrap();
        }
    }
}

async fn open(path: &Path) -> (Store, StoreConfig) {
    let config = config(path);
    let (store, _) = LogManager::open(RealIo::new().unwrap(), config.clone()).await.unwrap();
    (store, config)
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("t-0/00000000000000000000.log")
}

/// Flips bits of a byte of the segment.
fn flip(dir: &Path, at: u64, bits: u8) {
    let file = OpenOptions::new().read(true).write(true).open(segment(dir)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ bits], at).unwrap();
    file.sync_all().unwrap();
}

/// Where a batch begins: all have one length.
fn begin(dir: &Path, offset: i64) -> u64 {
    fs::metadata(segment(dir)).unwrap().len() / BATCHES.unsigned_abs() * offset.unsigned_abs()
}

async fn read_one(log: &Rc<Log<RealIo>>, offset: i64) -> Option<Vec<u8>> {
    let limits = ReadLimits { end: Offset(offset + 1), bytes_max: 1, at_least_one: true };
    let fetched = log.read(Offset(offset), limits).await.ok()?;
    Some(fetched.slices.iter().flat_map(bytes_of).collect())
}

fn sent(offset: i64) -> Vec<u8> {
    let mut sent = super::batch(0, offset, BYTES);
    batch::stamp(&mut sent, Offset(offset), LeaderEpoch(0));
    sent.to_vec()
}

#[test]
fn who_goes_on_at_the_end_after_a_start_is_served_without_a_look_at_the_rest_of_the_segment() {
    for is_killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        run(async move || {
            fill(&path, is_killed).await;
            // Whoever looks at the rest comes across this.
            flip(&path, begin(&path, 1) + 100, 1);
            let (store, config) = open(&path).await;
            let log = store.log(key(0)).unwrap();
            let damaged = || config.counters.damaged_batches.get();
            assert_eq!(read_one(&log, BATCHES - 1).await, Some(sent(BATCHES - 1)), "killed: {is_killed}");
            assert_eq!(damaged(), 0, "killed: {is_killed}");
            produce(&log, BATCHES, 3, BYTES).await;
            for offset in (0..BATCHES + 3).rev() {
                let expected = (offset != 1).then(|| sent(offset));
                assert_eq!(read_one(&log, offset).await, expected, "killed: {is_killed}");
            }
            assert_eq!(damaged(), 1, "killed: {is_killed}");
        });
    }
}

#[test]
fn an_offset_that_rotted_among_the_last_batches_is_not_where_reads_begin() {
    for is_killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        run(async move || {
            fill(&path, is_killed).await;
            // After a kill nobody tells where the last batch ended.
            for offset in BATCHES - 5..BATCHES - i64::from(is_killed) {
                for bit in 0..5 {
                    // The lowest byte of the base offset, which no CRC covers.
                    flip(&path, begin(&path, offset) + 7, 1 << bit);
                    let (store, _) = open(&path).await;
                    if let Some(log) = store.log(key(0)) {
                        for wanted in (0..BATCHES).rev() {
                            let read = read_one(&log, wanted).await;
                            let is_good = read.is_none() || read == Some(sent(wanted));
                            assert!(is_good, "killed: {is_killed}, bit {bit} of {offset}: {wanted}");
                        }
                        if !is_killed {
                            store.close().await.unwrap();
                        }
                    }
                    drop(store);
                    flip(&path, begin(&path, offset) + 7, 1 << bit);
                }
            }
        });
    }
}
