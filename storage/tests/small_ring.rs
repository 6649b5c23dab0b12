//! A journal whose ring may not grow goes on, and stops: what has to be carried so that a file becomes free always finds
//! a place, and a stop does not wait for files that nobody frees any more. What a lap holds is known of each life of a log.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

/// Two files, and little enough pending that it is carried.
fn store() -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 24 << 10,
        journal_files_max: 2,
        group_bytes_max: 8 << 10,
        write_behind_bytes: 4 << 10,
        carry_bytes_max: 1 << 10,
        carry_laps_max: 1,
        tail_cache_bytes: 64 << 10,
        ..StoreConfig::new("/data")
    }
}

async fn append(log: &Log<SimIo>, size: usize) -> Offset {
    log.room().await.unwrap();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&vec![7; size]), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap().answered_at()
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TopicId([7; 16]), partition: PartitionIndex(partition) }
}

async fn live(io: SimIo, pace: u64) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, store()).await.unwrap();
    let mut logs = Vec::new();
    for partition in 0..3 {
        logs.push(manager.create_log(key(partition), "t", LogConfig::default()).await.unwrap());
    }
    for round in 0..100 {
        for (index, log) in logs.iter().enumerate() {
            if index == 1 && round % 8 > 0 {
                continue;
            }
            let end = append(log, 300).await;
            // Not one by one: the second file fills while the first one is emptied.
            if round % pace == 0 {
                log.wait_durable(end).await.unwrap();
                log.set_high_watermark(end);
            }
        }
    }
    manager.close().await.unwrap();
}

#[test]
fn a_full_ring_of_two_files_goes_on_and_closes() {
    for seed in 0..100 {
        let world = SimWorld::new(seed);
        let ended = world.run(live(world.io(), 2 + seed % 9));
        assert!(ended.is_ok(), "seed {seed}: {ended:?}");
    }
}

/// Appends that nobody waits for, to a store where less may wait for segments than one log gathers.
async fn append_into_little_memory(io: SimIo, partitions: i32) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let config = StoreConfig { tail_cache_bytes: 64 << 10, ..StoreConfig::new("/data") };
    assert!(u64::try_from(config.dirty_bytes_max()).unwrap() < config.write_behind_bytes);
    let (manager, _) = LogManager::open(io, config).await.unwrap();
    let mut logs = Vec::new();
    for partition in 0..partitions {
        logs.push(manager.create_log(key(partition), "t", LogConfig::default()).await.unwrap());
    }
    for _ in 0..60 {
        for log in &logs {
            append(log, 4 << 10).await;
        }
    }
    manager.close().await.unwrap();
}

#[test]
fn little_memory_does_not_stop_appends() {
    for seed in 0..10 {
        let world = SimWorld::new(seed);
        let ended = world.run(append_into_little_memory(world.io(), if seed % 2 == 0 { 1 } else { 5 }));
        assert!(ended.is_ok(), "seed {seed}: {ended:?}");
    }
}

/// Makes a log anew under its key, with its journal entries of both lives in one lap, then sends that lap off.
async fn make_anew(io: SimIo, former_batches: usize) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, store()).await.unwrap();
    let config = LogConfig { segment_bytes: 2 << 10, ..LogConfig::default() };
    let former = manager.create_log(key(0), "t", config.clone()).await.unwrap();
    for _ in 0..former_batches {
        former.wait_durable(append(&former, 900).await).await.unwrap();
    }
    manager.delete_log(key(0)).await.unwrap();
    let log = manager.create_log(key(0), "t", config).await.unwrap();
    log.wait_durable(append(&log, 100).await).await.unwrap();
    let other = manager.create_log(key(1), "t", LogConfig::default()).await.unwrap();
    for _ in 0..60 {
        other.wait_durable(append(&other, 1500).await).await.unwrap();
    }
}

#[test]
fn a_log_that_was_made_anew_within_a_lap_keeps_its_records() {
    // In one segment, and in several.
    for former_batches in [1, 5] {
        let world = SimWorld::new(1);
        world.run(make_anew(world.io(), former_batches)).unwrap();
        let world = world.crash(2);
        world
            .run(async {
                let (manager, _) = LogManager::open(world.io(), store()).await.unwrap();
                assert_eq!(manager.offline_logs(), [], "{former_batches} before");
                let log = manager.log(key(0)).unwrap();
                assert_eq!(log.offsets().log_end_offset, Offset(1), "{former_batches} before");
            })
            .unwrap();
    }
}
