//! A segment that is rolled by the first append after a start: its last block is rewritten, padded, when it is sealed, and
//! readers may be making its index then.

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

/// Appends records and stops.
async fn stop(io: SimIo, records: usize) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, small_store()).await.unwrap();
    let log = manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    for _ in 0..records {
        append(&log, 0).await;
    }
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

/// Reads all that is there, and nothing else is.
fn read(world: &SimWorld) -> Result<Vec<u8>, String> {
    let read = world.run(async {
        let (manager, _) = LogManager::open(world.io(), small_store()).await.unwrap();
        let log = manager.log(key(1, 0)).ok_or_else(|| format!("{:?}", manager.offline_logs()))?;
        let read = read_all(&log, Offset(0), log.offsets().log_end_offset).await?;
        let size = log.size_bytes();
        if size == read.len() as u64 {
            Ok(read)
        } else {
            Err(format!("{size} bytes, {} of batches", read.len()))
        }
    });
    read.unwrap()
}

/// Ends [`roll`] at every step, and tells what is left of each.
fn cut_at_every_step(each: impl Fn(u64, &SimWorld)) {
    let stopped = SimWorld::new(1);
    stopped.run(stop(stopped.io(), 1)).unwrap();
    let whole = stopped.crash(1);
    whole.run(roll(whole.io())).unwrap();
    for step in 0..whole.steps() {
        let world = stopped.crash(1);
        world.cut_at_step(step);
        assert_eq!(world.run(roll(world.io())), Err(Stopped::PowerCut));
        each(step, &world);
    }
}

#[test]
fn a_segment_rolled_right_after_a_start_survives_a_cut_at_every_step() {
    let _told = cuts::Told;
    cut_at_every_step(|step, world| {
        for crash in 0..8 {
            let read = read(&world.crash(crash));
            let read = read.unwrap_or_else(|what| panic!("cut at {step}, crash {crash}: {what}"));
            assert!(read.len() > 5000, "cut at {step}, crash {crash}");
            cuts::count();
        }
    });
}

#[test]
fn a_segment_rolled_right_after_a_start_survives_a_kill_at_every_step_and_a_cut_in_the_next_life() {
    let _told = cuts::Told;
    cut_at_every_step(|step, world| {
        let killed = world.kill(step);
        killed.run(roll(killed.io())).unwrap();
        for crash in 0..8 {
            let read = read(&killed.crash(crash));
            let read = read.unwrap_or_else(|what| panic!("killed at {step}, crash {crash}: {what}"));
            assert!(read.len() > 15_000, "killed at {step}, crash {crash}");
            cuts::count();
        }
    });
}

/// Rolls as [`roll`] does while readers look for a time in the first segment.
async fn roll_and_read(io: SimIo) -> Result<(), String> {
    let (manager, _) =
        LogManager::open(io.clone(), small_store()).await.map_err(|error| error.to_string())?;
    let config = LogConfig { segment_ms: 10, ..small_log() };
    let log = manager.create_log(key(1, 0), "t", config).await.map_err(|error| error.to_string())?;
    let read =
        async || log.offset_for_timestamp(TimestampMs(0), Offset(1)).await.map_err(|error| error.to_string());
    let later = async |micros| {
        io.sleep(Duration::from_micros(micros)).await;
        read().await
    };
    let append = async {
        append(&log, 100).await;
        append(&log, 200).await;
        log.enforce_retention(TimestampMs(0)).await.map_err(|error| error.to_string())
    };
    let (_, first, second, third) = futures::join!(append, read(), later(100), later(1000));
    for found in [first?, second?, third?] {
        if found != Some((TimestampMs(0), Offset(0))) {
            return Err(format!("{found:?}"));
        }
    }
    io.sleep(Duration::from_secs(1)).await;
    log.failure().map_or(Ok(()), |failed| Err(failed.to_string()))
}

#[test]
fn a_segment_whose_index_readers_make_while_it_is_sealed_stays_online() {
    let stopped = SimWorld::new(1);
    stopped.run(stop(stopped.io(), 3)).unwrap();
    for seed in 0..300 {
        let world = stopped.crash(seed);
        world.run(roll_and_read(world.io())).unwrap().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}
