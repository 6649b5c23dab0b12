//! Sealed segments after a restart: nothing of them is touched before somebody reads them, their index files are
//! used if they fit and made anew if not, and few are open at a time however many there are.

#![expect(clippy::disallowed_methods, reason = "the test looks at files from outside")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::producer_snapshot::read_snapshot;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::segment::ReadLimits;
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::{Store, batch, bytes_of, key, produce, run};

const BATCHES: i64 = 400;
const BATCH_BYTES: usize = 3000;

async fn open(dir: &Path, tail_cache_bytes: usize) -> Store {
    let config = StoreConfig {
        journal_file_bytes: 1 << 20,
        group_bytes_max: 128 << 10,
        open_segments_max: 3,
        index_bytes_max: 300,
        tail_cache_bytes,
        ..StoreConfig::new(dir)
    };
    LogManager::open(RealIo::new().unwrap(), config).await.unwrap().0
}

/// A log of some twenty segments, cleanly stopped.
fn fill(dir: &Path) {
    let dir = dir.to_path_buf();
    run(async move || {
        let store = open(&dir, 64 << 20).await;
        let settings = LogConfig { segment_bytes: 64 << 10, ..LogConfig::default() };
        let log = store.create_log(key(0), "topic", settings).await.unwrap();
        produce(&log, 0, BATCHES, BATCH_BYTES).await;
        store.close().await.unwrap();
    });
}

/// Files of the log with this ending, and their content.
fn files(dir: &Path, ending: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir.join("topic-0")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

/// How many of the log's segments this process has open.
fn open_segments(dir: &Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut open: Vec<PathBuf> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.starts_with(dir) && path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    open.sort();
    open.dedup();
    open.len()
}

/// Reads every batch, each from the offset before the one of the last read, so that segments alternate.
fn check_all(dir: &Path) {
    let dir = dir.to_path_buf();
    run(async move || {
        let store = open(&dir, 1 << 20).await;
        assert!(open_segments(&dir) <= 1, "only the last segment is looked at");
        let log = store.log(key(0)).unwrap();
        let end = Offset(BATCHES);
        assert_eq!(log.offsets().log_end_offset, end);
        for step in 0..BATCHES {
            let number = (step * 37) % BATCHES;
            let limits = ReadLimits { end, bytes_max: 1, at_least_one: true };
            let fetched = log.read(Offset(number), limits).await.unwrap();
            let mut expected = batch(0, number, BATCH_BYTES);
            let epoch = LeaderEpoch(0);
            ringmain_storage::record::batch::stamp(&mut expected, Offset(number), epoch);
            assert_eq!(fetched.slices.iter().flat_map(bytes_of).collect::<Vec<_>>(), &expected[..]);
            assert!(open_segments(&dir) <= 4, "{} open", open_segments(&dir));
        }
        for number in [0, 1, BATCHES / 2, BATCHES - 1] {
            let at = TimestampMs(1000 + number);
            assert_eq!(log.offset_for_timestamp(at, end).await.unwrap(), Some((at, Offset(number))));
        }
        drop(Rc::clone(&log));
        store.close().await.unwrap();
    });
}

#[test]
fn index_files_are_used_after_a_restart_and_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let (offsets, times) = (files(dir.path(), ".index"), files(dir.path(), ".timeindex"));
    assert!(offsets.len() > 15 && offsets.len() == files(dir.path(), ".log").len());
    check_all(dir.path());
    assert_eq!(files(dir.path(), ".index"), offsets);
    assert_eq!(files(dir.path(), ".timeindex"), times);
}

#[test]
fn index_files_that_are_missing_or_wrong_are_made_anew_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let (offsets, times) = (files(dir.path(), ".index"), files(dir.path(), ".timeindex"));
    let short = |content: &[u8], entry: usize| content[..content.len() / entry / 2 * entry].to_vec();
    for (index, (path, content)) in offsets.iter().enumerate() {
        match index % 6 {
            0 => std::fs::remove_file(path).unwrap(),
            1 => std::fs::write(path, short(content, 8)).unwrap(),
            2 => std::fs::write(path, &content[..content.len() - 3]).unwrap(),
            3 => std::fs::write(path, []).unwrap(),
            // Positions that are no batch's.
            4 => {
                let mut wrong = content.clone();
                wrong.chunks_exact_mut(8).for_each(|entry| entry[7] ^= 1);
                std::fs::write(path, wrong).unwrap();
            }
            _ => {}
        }
    }
    check_all(dir.path());
    assert_eq!(files(dir.path(), ".index"), offsets);
    assert_eq!(files(dir.path(), ".timeindex"), times);
}

#[test]
fn a_reopened_segment_is_indexed_as_if_it_had_never_been_closed() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tempfile::tempdir().unwrap();
    for (dir, stop) in [(dir.path(), true), (whole.path(), false)] {
        let dir = dir.to_path_buf();
        run(async move || {
            let mut store = open(&dir, 64 << 20).await;
            let settings = LogConfig { segment_bytes: 64 << 10, ..LogConfig::default() };
            store.create_log(key(0), "topic", settings.clone()).await.unwrap();
            for round in 0..7 {
                produce(&store.log(key(0)).unwrap(), round * 9, 9, BATCH_BYTES).await;
                if stop {
                    store.close().await.unwrap();
                    store = open(&dir, 64 << 20).await;
                    store.create_log(key(0), "topic", settings.clone()).await.unwrap();
                }
            }
            store.close().await.unwrap();
        });
    }
    let named = |dir: &Path, ending: &str| -> Vec<(String, Vec<u8>)> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        files(dir, ending).into_iter().map(|(path, content)| (name(path), content)).collect()
    };
    for ending in [".log", ".index", ".timeindex"] {
        assert_eq!(named(dir.path(), ending), named(whole.path(), ending), "{ending}");
    }
}

#[test]
fn segments_close_early_by_another_part_of_the_jitter_each_and_never_late() {
    let first_rolls = |segment_jitter_ms: i64| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        run(async move || {
            let store = open(&path, 64 << 20).await;
            let settings = LogConfig { segment_ms: 100, segment_jitter_ms, ..LogConfig::default() };
            for partition in 0..4 {
                // A record each millisecond.
                let log = store.create_log(key(partition), "topic", settings.clone()).await.unwrap();
                produce(&log, 0, 150, 20).await;
            }
            store.close().await.unwrap();
        });
        let second = |partition: i32| {
            let entries = std::fs::read_dir(dir.path().join(format!("topic-{partition}"))).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let bases = names.filter_map(|name| name.strip_suffix(".log")?.parse::<i64>().ok());
            bases.filter(|base| *base > 0).min().unwrap()
        };
        (0..4).map(second).collect::<Vec<_>>()
    };
    assert_eq!(first_rolls(0), [101; 4]);
    for jitter in [60, i64::MAX] {
        let rolls = first_rolls(jitter);
        assert!(rolls.iter().all(|roll| (1..=101).contains(roll)), "{rolls:?}");
        assert!(jitter != 60 || rolls.iter().all(|roll| *roll > 41), "{rolls:?}");
        assert!(rolls.iter().any(|roll| *roll != rolls[0]), "{rolls:?}");
    }
}

#[test]
fn each_roll_leaves_a_snapshot_of_the_producers_and_retention_takes_it_with_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let store = open(&path, 64 << 20).await;
        let settings =
            LogConfig { segment_bytes: 16 << 10, retention_bytes: 40 << 10, ..LogConfig::default() };
        let log = store.create_log(key(0), "topic", settings.clone()).await.unwrap();
        for number in 0..60_i64 {
            let value = vec![b'v'; 2000];
            let producer = ProducerBatch {
                producer_id: ProducerId(5),
                producer_epoch: ProducerEpoch(0),
                base_sequence: i32::try_from(number).unwrap(),
            };
            let mut builder = BatchBuilder::new(Codec::None).with_producer(producer);
            builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
            let batch = BytesMut::from(builder.build().unwrap().as_ref());
            log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
            log.wait_durable(Offset(number + 1)).await.unwrap();
        }
        log.set_high_watermark(Offset(60));
        store.close().await.unwrap();
        let snapshots = files(&path, ".snapshot");
        let logs = files(&path, ".log");
        // All segments but the first, and the log's end.
        assert_eq!(snapshots.len(), logs.len());
        for (file, content) in &snapshots {
            let offset: i64 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let state = read_snapshot(content, TimestampMs(1)).unwrap();
            let last = state.get(ProducerId(5)).unwrap().batches().last().copied().unwrap();
            assert_eq!(last.last_offset, Offset(offset - 1), "{}", file.display());
        }
        let store = open(&path, 64 << 20).await;
        let log = store.create_log(key(0), "topic", settings).await.unwrap();
        assert!(log.enforce_retention(TimestampMs(1)).await.unwrap() > 3);
        let oldest = files(&path, ".log").into_keys().next().unwrap();
        let snapshots = files(&path, ".snapshot");
        assert!(snapshots.keys().all(|file| file.file_stem() >= oldest.file_stem()), "{snapshots:?}");
        store.close().await.unwrap();
    });
}
