//! What starts after a kill do with what only the journal has: little of a log is journalled again, more is written.

#![expect(clippy::disallowed_methods, reason = "the test makes files from outside")]

use std::fs;
use std::path::Path;

use futures::FutureExt;
use ringmain_storage::config::LogConfig;
use ringmain_storage::log::LogOffsets;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey, TopicId};

use super::{check, key, open, produce, run};

/// Bytes of the segment's file.
fn segment_bytes(dir: &Path, partition: i32) -> u64 {
    let path = dir.join(format!("t-{partition}/00000000000000000000.log"));
    fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn little_that_only_the_journal_has_is_journalled_again_at_a_start_and_not_written() {
    const LITTLE: i64 = 9;
    const MUCH: i64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        for partition in 0..20 {
            let log = store.create_log(key(partition), "t", LogConfig::default()).await.unwrap();
            produce(&log, 0, if partition == 0 { MUCH } else { LITTLE }, 1000).await;
        }
    });
    // Each start may rely on what the one before journalled again.
    for life in 0..3 {
        let at = path.clone();
        run(async move || {
            let (store, report) = open(&at).await;
            assert_eq!((report.clean, report.cut_bytes), (false, 0));
            for partition in 0..20 {
                let count = if partition == 0 { MUCH } else { LITTLE };
                check(&store.log(key(partition)).unwrap(), count, 1000).await;
                let written = segment_bytes(&at, partition);
                assert_eq!(written > 0, partition == 0, "life {life}: partition {partition} has {written}");
            }
        });
    }
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        for partition in 1..20 {
            produce(&store.log(key(partition)).unwrap(), LITTLE, 30, 1000).await;
        }
        store.close().await.unwrap();
    });
    run(async move || {
        let (store, report) = open(&path).await;
        assert_eq!((report.clean, report.replayed_bytes), (true, 0));
        for partition in 1..20 {
            check(&store.log(key(partition)).unwrap(), LITTLE + 30, 1000).await;
        }
    });
}

#[test]
fn a_log_that_was_only_begun_has_nothing_of_one_that_had_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 5, 100).await;
        log.advance_log_start(Offset(3)).await.unwrap();
        store.close().await.unwrap();
        let (store, _) = open(&path).await;
        store.delete_log(key(0)).await.unwrap();
        // Killed while the next one was made: its folder is there, and no journal has it.
        let again = PartitionKey { topic_id: TopicId([4; 16]), partition: PartitionIndex(0) };
        drop(store);
        fs::create_dir(path.join("t-0")).unwrap();
        let metadata = "version: 0\ntopic_id: BAQEBAQEBAQEBAQEBAQEBA\n";
        fs::write(path.join("t-0/partition.metadata"), metadata).unwrap();
        let (store, _) = open(&path).await;
        assert_eq!(store.offline_logs(), []);
        let log = store.create_log(again, "t", LogConfig::default()).await.unwrap();
        assert_eq!(log.offsets().log_start_offset, Offset(0));
        produce(&log, 0, 5, 100).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_log_start_whose_asker_went_away_bounds_a_truncation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        let log = store.create_log(key(0), "t", LogConfig::default()).await.unwrap();
        produce(&log, 0, 40, 1000).await;
        log.advance_log_start(Offset(1)).await.unwrap();
        assert!(log.advance_log_start(Offset(30)).now_or_never().is_none(), "it waits for the journal");
        assert_eq!(log.truncate(Offset(20)).await.unwrap(), Offset(30));
        assert_eq!(log.offsets(), LogOffsets::all_at(Offset(30)));
    });
    run(async move || {
        let (store, _) = open(&path).await;
        assert_eq!(store.log(key(0)).unwrap().offsets(), LogOffsets::all_at(Offset(30)));
    });
}
