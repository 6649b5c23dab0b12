//! A log start that was moved and answered stays moved, whatever is cut when (DeleteRecords, retention), and the leader
//! epochs agree with the log that is left.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::error::StoreError;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld, Stopped};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::ReadLimits;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

const KEY: PartitionKey = PartitionKey { topic_id: TopicId([7; 16]), partition: PartitionIndex(0) };

/// What the outside has heard.
#[derive(Clone, Default)]
struct Heard {
    created: Rc<Cell<bool>>,
    /// A start that was answered, and one that was asked for.
    start: Rc<Cell<(i64, i64)>>,
    end: Rc<Cell<i64>>,
}

/// Small enough that the journal wraps and segments roll in a short run.
fn store() -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 64 << 10,
        group_bytes_max: 16 << 10,
        tail_cache_bytes: 128 << 10,
        write_behind_bytes: 8 << 10,
        carry_bytes_max: 2 << 10,
        ..StoreConfig::new("/data")
    }
}

/// Who moves the start.
#[derive(Clone, Copy, Debug)]
enum Mover {
    /// DeleteRecords, to somewhere in the last segments.
    Client,
    /// Retention, which every third time takes all there is.
    Retention,
}

async fn live(io: SimIo, heard: Heard, mover: Mover) -> Result<(), StoreError> {
    io.create_directory(Path::new("/data")).await?;
    let (manager, _) = LogManager::open(io.clone(), store()).await.unwrap();
    let mut config = LogConfig { segment_bytes: 16 << 10, retention_ms: -1, ..LogConfig::default() };
    if matches!(mover, Mover::Retention) {
        config = LogConfig { retention_ms: 100, file_delete_delay_ms: 1, ..config };
    }
    let log = manager.create_log(KEY, "t", config).await?;
    heard.created.set(true);
    for round in 1..=12 {
        for _ in 0..4 {
            let mut builder = BatchBuilder::new(Codec::None);
            let value = [7; 3000];
            let timestamp = TimestampMs(round);
            builder.push(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() }).unwrap();
            let batch = BytesMut::from(builder.build().unwrap().as_ref());
            let appended = log.append(batch, epoch_of(heard.end.get()), TimestampMs(1)).unwrap();
            let end = Offset(appended.last_offset.0 + 1);
            log.wait_durable(end).await?;
            log.set_high_watermark(end);
            heard.end.set(end.0);
        }
        match mover {
            Mover::Client => {
                let start = round * 4 - round % 3;
                heard.start.set((heard.start.get().0, start));
                log.advance_log_start(Offset(start)).await?;
                heard.start.set((start, start));
            }
            Mover::Retention => {
                heard.start.set((heard.start.get().0, heard.end.get()));
                // What is younger than the round before stays, or nothing.
                let now = if round % 3 == 0 { 1000 } else { 100 + round };
                log.enforce_retention(TimestampMs(now)).await?;
                let start = log.offsets().log_start_offset.0;
                assert!(round % 3 != 0 || start == heard.end.get(), "all of it is old: {start}");
                heard.start.set((start, start));
            }
        }
    }
    Ok(())
}

/// Records of a leader epoch.
const EPOCH_RECORDS: i64 = 3;

/// The leader epoch a record is appended in.
fn epoch_of(offset: i64) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(offset / EPOCH_RECORDS).unwrap())
}

/// Every epoch ends where the next one's first record is, those before the log's start with it.
fn check_epochs(log: &Log<SimIo>, context: &str) {
    let offsets = log.offsets();
    let (start, end) = (offsets.log_start_offset.0, offsets.log_end_offset.0);
    if start == end {
        return;
    }
    let (oldest, newest) = (epoch_of(start), epoch_of(end - 1));
    assert_eq!(log.latest_epoch(), Some(newest), "{context}");
    for epoch in (0..=newest.0).map(LeaderEpoch) {
        let ends = (i64::from(epoch.0 + 1) * EPOCH_RECORDS).clamp(start, end);
        assert_eq!(
            log.epoch_end_offset(epoch),
            Some((epoch, Offset(ends))),
            "{context}: {oldest} {offsets:?}"
        );
    }
}

/// Opens what is left and checks it against what was heard, as it does again after a clean stop.
fn check(world: &SimWorld, heard: &Heard, context: &str) {
    world
        .run(async {
            check_opened(world, heard, context).await.close().await.unwrap();
            check_opened(world, heard, &format!("{context}, stopped and started")).await;
        })
        .unwrap();
}

/// Opens what is left and checks it against what was heard.
async fn check_opened(world: &SimWorld, heard: &Heard, context: &str) -> Rc<LogManager<SimIo>> {
    let (manager, _) = LogManager::open(world.io(), store()).await.unwrap();
    let Some(log) = manager.log(KEY) else {
        assert!(!heard.created.get(), "{context}: the log is gone");
        return manager;
    };
    let offsets = log.offsets();
    let (answered, asked) = heard.start.get();
    let start = offsets.log_start_offset.0;
    assert!(answered <= start && start <= asked, "{context}: {answered} ≤ {start} ≤ {asked}");
    assert!(offsets.log_end_offset.0 >= heard.end.get(), "{context}: {offsets:?}");
    if start < offsets.log_end_offset.0 {
        let limits = ReadLimits { end: offsets.log_end_offset, bytes_max: 1, at_least_one: true };
        let read = log.read(offsets.log_start_offset, limits).await.unwrap();
        assert!(!read.slices.is_empty(), "{context}: nothing at the start");
    }
    check_epochs(&log, context);
    manager
}

#[test]
fn an_answered_log_start_survives_a_cut_at_every_step() {
    survives_a_cut_at_every_step(Mover::Client);
}

#[test]
fn what_retention_removed_stays_removed_after_a_cut_at_every_step() {
    survives_a_cut_at_every_step(Mover::Retention);
}

fn survives_a_cut_at_every_step(mover: Mover) {
    let whole = SimWorld::new(11);
    whole.run(live(whole.io(), Heard::default(), mover)).unwrap().unwrap();
    for step in 0..whole.steps() {
        let (world, heard) = (SimWorld::new(11), Heard::default());
        world.cut_at_step(step);
        let ended = world.run(live(world.io(), heard.clone(), mover));
        assert!(matches!(ended, Err(Stopped::PowerCut)), "step {step}");
        for crash in 0..2 {
            let after = world.crash(crash);
            check(&after, &heard, &format!("cut at {step}, crash {crash}"));
            check(&after.crash(crash), &heard, &format!("cut at {step}, crash {crash}, and again"));
        }
    }
}
