//! A segment that is rolled by the first append after a start: its last block is rewritten, padded, when it is sealed.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use ringmain_storage::config::LogConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld, Stopped};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, Offset, TimestampMs};

use crate::checks::read_all;
use crate::cuts;
use crate::workload::{key, small_log, small_store};

async fn append(log: &Log<SimIo>, timestamp: i64) {
    let mut builder = BatchBuilder::new(Codec::None);
    let timestamp = TimestampMs(timestamp);
    builder.push(&NewRecord { timestamp, value: Some(&[7; 5000]), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
    log.wait_durable(appended.answered_at()).await.unwrap();
}

/// Appends one record and stops.
async fn stop(io: SimIo) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, small_store()).await.unwrap();
    let log = manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    append(&log, 0).await;
    manager.close().await.unwrap();
}

/// Starts and appends records that are so much younger that they go into other segments.
async fn roll(io: SimIo) {
    let (manager, _) = LogManager::open(io.clone(), small_store()).await.unwrap();
    let config = LogConfig { segment_ms: 10, ..small_log() };
    let log = manager.create_log(key(1, 0), "t", config).await.unwrap();
    append(&log, 100).await;
    append(&log, 200).await;
    io.sleep(Duration::from_secs(1)).await;
}

#[test]
fn a_segment_rolled_right_after_a_start_survives_a_cut_at_every_step() {
    let _told = cuts::Told;
    let stopped = SimWorld::new(1);
    stopped.run(stop(stopped.io())).unwrap();
    let whole = stopped.crash(1);
    whole.run(roll(whole.io())).unwrap();
    for step in 0..whole.steps() {
        let world = stopped.crash(1);
        world.cut_at_step(step);
        assert_eq!(world.run(roll(world.io())), Err(Stopped::PowerCut));
        for crash in 0..8 {
            let after = world.crash(crash);
            let read = after.run(async {
                let (manager, _) = LogManager::open(after.io(), small_store()).await.unwrap();
                let log = manager.log(key(1, 0)).ok_or_else(|| format!("{:?}", manager.offline_logs()))?;
                read_all(&log, Offset(0), log.offsets().log_end_offset).await
            });
            let read = read.unwrap().unwrap_or_else(|what| panic!("cut at {step}, crash {crash}: {what}"));
            assert!(read.len() > 5000, "cut at {step}, crash {crash}");
            cuts::count();
        }
    }
}
