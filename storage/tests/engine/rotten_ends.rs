//! Rot in the newest batches of a log that was stopped cleanly, where no CRC looks.
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

use super::{bytes_of, key, open, produce, run};

fn segment(dir: &Path) -> PathBuf {
    dir.join("t-0/00000000000000000000.log")
}

/// The batch with this offset, if it can be read.
async fn read_one(log: &Rc<Log<RealIo>>, offset: i64) -> Option<Vec<u8>> {
    let limits = ReadLimits { end: Offset(offset + 1), bytes_max: 1, at_least_one: true };
    let fetched = log.read(Offset(offset), limits).await.ok()?;
    Some(fetched.slices.iter().flat_map(bytes_of).collect())
}

#[test]
fn the_end_of_what_a_clean_stop_left_is_not_read_if_it_rotted() {
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

#[test]
fn a_rotted_epoch_is_not_believed_either_after_a_kill_that_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 5, 100).await;
        store.close().await.unwrap();
        let file = OpenOptions::new().write(true).open(segment(&path)).unwrap();
        // The last byte of the last batch's leader epoch: it was 0.
        file.write_all_at(&[2], 4 * stored_size(&path, 5) + 15).unwrap();
        file.sync_all().unwrap();
        for life in 0..3 {
            // Dropped without a stop, as with kill -9.
            let (store, _) = open(&path).await;
            let log = store.log(key(0)).unwrap();
            assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)), "life {life}");
            assert_eq!(read_one(&log, 4).await, None, "life {life}");
            assert_eq!(read_one(&log, 3).await, Some(read_back(3)), "life {life}");
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
