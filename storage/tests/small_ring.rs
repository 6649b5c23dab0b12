//! A journal whose ring may not grow goes on, and stops: what has to be carried so that a file becomes free always finds
//! a place, and a stop does not wait for files that nobody frees any more.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
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

async fn live(io: SimIo, pace: u64) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, store()).await.unwrap();
    let mut logs = Vec::new();
    for partition in 0..3 {
        let key = PartitionKey { topic_id: TopicId([7; 16]), partition: PartitionIndex(partition) };
        logs.push(manager.create_log(key, "t", LogConfig::default()).await.unwrap());
    }
    for round in 0..100 {
        for (index, log) in logs.iter().enumerate() {
            if index == 1 && round % 8 > 0 {
                continue;
            }
            log.room().await.unwrap();
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(&NewRecord { value: Some(&[7; 300]), ..NewRecord::default() }).unwrap();
            let batch = BytesMut::from(builder.build().unwrap().as_ref());
            let end = Offset(log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap().last_offset.0 + 1);
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
