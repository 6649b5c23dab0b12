//! Idempotent producers go on after a crash: all their last batches are known, also those of segments that are gone.

use std::path::Path;
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::{Appended, Log};
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::key;

/// The producer that always writes, and one that wrote once.
const BUSY: i64 = 1;
const QUIET: i64 = 2;

async fn open(io: &SimIo) -> Rc<LogManager<SimIo>> {
    io.create_directory(Path::new("/data")).await.unwrap();
    LogManager::open(io.clone(), StoreConfig::new("/data")).await.unwrap().0
}

async fn append(log: &Log<SimIo>, producer: i64, base_sequence: i32) -> Appended {
    let (producer_id, producer_epoch) = (ProducerId(producer), ProducerEpoch(0));
    let producer = ProducerBatch { producer_id, producer_epoch, base_sequence };
    let mut builder = BatchBuilder::new(Codec::None).with_producer(producer);
    builder.push(&NewRecord { value: Some(&[7; 1500]), ..NewRecord::default() }).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
    log.wait_durable(appended.answered_at()).await.unwrap();
    log.set_high_watermark(appended.answered_at());
    appended
}

/// A log of many small segments with one batch of the quiet producer and twelve of the busy one, in that order, which then
/// starts at `start`; and the machine after a crash.
fn crashed(start: i64) -> SimWorld {
    let world = SimWorld::new(3);
    world
        .run(async {
            let store = open(&world.io()).await;
            let config = LogConfig { segment_bytes: 4 << 10, ..LogConfig::default() };
            let log = store.create_log(key(0), "t", config).await.unwrap();
            append(&log, QUIET, 0).await;
            for sequence in 0..12 {
                append(&log, BUSY, sequence).await;
            }
            // Segments are sealed meanwhile.
            world.io().sleep(std::time::Duration::from_secs(1)).await;
            log.advance_log_start(Offset(start)).await.unwrap();
        })
        .unwrap();
    world.crash(4)
}

#[test]
fn a_crash_forgets_none_of_a_producers_last_batches() {
    let world = crashed(0);
    world
        .run(async {
            let log = open(&world.io()).await.log(key(0)).unwrap();
            for sequence in 7..12 {
                let again = append(&log, BUSY, sequence).await;
                assert!(again.duplicate, "{sequence}: {again:?}");
                assert_eq!(again.base_offset, Offset(1 + i64::from(sequence)));
            }
        })
        .unwrap();
}

#[test]
fn a_producer_goes_on_after_a_crash_though_its_batches_were_removed() {
    let world = crashed(12);
    world
        .run(async {
            let log = open(&world.io()).await.log(key(0)).unwrap();
            assert_eq!(log.offsets().log_start_offset, Offset(12));
            for sequence in 7..12 {
                assert!(append(&log, BUSY, sequence).await.duplicate, "{sequence}");
            }
            assert!(append(&log, QUIET, 0).await.duplicate);
            assert!(!append(&log, QUIET, 1).await.duplicate);
        })
        .unwrap();
}
