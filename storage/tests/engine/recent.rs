//! The newest batches that a start has read anyway stay in memory, if they are what was acknowledged.
#![expect(clippy::disallowed_types, reason = "the test spoils files from outside")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringmain_storage::config::LogConfig;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::record::batch;
use ringmain_storage::segment::ReadLimits;
use ringmain_storage::types::{LeaderEpoch, Offset};

use super::{bytes_of, check, key, open, produce, run};

const SIZE: usize = 1000;

fn segment(dir: &Path) -> PathBuf {
    dir.join("t-0/00000000000000000000.log")
}

/// Loses all that a file holds, under whoever has it open.
fn wipe(path: &Path) {
    let bytes = fs::metadata(path).unwrap().len();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; usize::try_from(bytes).unwrap()], 0).unwrap();
    file.sync_all().unwrap();
}

/// The batch with this offset, if it can be read.
async fn read_one(log: &Rc<Log<RealIo>>, offset: i64) -> Option<Vec<u8>> {
    let limits = ReadLimits { end: Offset(offset + 1), bytes_max: 1, at_least_one: true };
    let fetched = log.read(Offset(offset), limits).await.ok()?;
    Some(fetched.slices.iter().flat_map(bytes_of).collect())
}

fn stored(offset: i64) -> Vec<u8> {
    let mut sent = super::batch(0, offset, SIZE);
    batch::stamp(&mut sent, Offset(offset), LeaderEpoch(0));
    sent.to_vec()
}

#[test]
fn what_a_start_took_from_the_journal_is_read_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 40, SIZE).await;
    });
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.log(key(0)).unwrap();
        assert!(fs::metadata(segment(&path)).unwrap().len() > 32 << 10, "so much is written at a start");
        wipe(&segment(&path));
        check(&log, 40, SIZE).await;
        // What is appended next goes behind it.
        produce(&log, 40, 5, SIZE).await;
        check(&log, 45, SIZE).await;
    });
}

#[test]
fn the_end_of_what_a_clean_stop_left_is_read_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 40, SIZE).await;
        store.close().await.unwrap();
        let (store, _) = open(&path).await;
        wipe(&segment(&path));
        let log = store.log(key(0)).unwrap();
        // The last block is in memory anyway, those before it are not.
        for offset in 36..40 {
            assert_eq!(read_one(&log, offset).await, Some(stored(offset)), "{offset}");
        }
        assert_eq!(read_one(&log, 20).await, None, "only the end of it");
    });
}

#[test]
fn the_end_of_what_a_clean_stop_left_is_not_read_from_memory_if_it_rotted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 5, 100).await;
        store.close().await.unwrap();
        let file = OpenOptions::new().read(true).write(true).open(segment(&path)).unwrap();
        let size = stored_size(&path, 5);
        // Offset, length, leader epoch, magic: no CRC covers them.
        let bits = |batch, step| (0..17 * 8).step_by(step).map(move |bit| (batch, bit));
        for (batch, bit) in bits(4, 3).chain(bits(3, 7)) {
            let at = batch * size + bit / 8;
            let mut byte = [0];
            let flip = |byte: &mut [u8; 1]| {
                file.read_exact_at(byte, at).unwrap();
                byte[0] ^= 1 << (bit % 8);
                file.write_all_at(byte, at).unwrap();
                file.sync_all().unwrap();
            };
            flip(&mut byte);
            let (store, _) = open(&path).await;
            if let Some(log) = store.log(key(0)) {
                for offset in 0..log.offsets().log_end_offset.0 {
                    let read = read_one(&log, offset).await;
                    let sent = (offset < 5).then(|| read_back(offset));
                    assert!(read.is_none() || read == sent, "bit {bit} of batch {batch}: offset {offset}");
                }
                store.close().await.unwrap();
            }
            drop(store);
            flip(&mut byte);
        }
    });
}

fn read_back(offset: i64) -> Vec<u8> {
    let mut sent = super::batch(0, offset, 100);
    batch::stamp(&mut sent, Offset(offset), LeaderEpoch(0));
    sent.to_vec()
}

fn stored_size(dir: &Path, batches: u64) -> u64 {
    fs::metadata(segment(dir)).unwrap().len() / batches
}
