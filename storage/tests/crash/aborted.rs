//! Transactions that overlap, over segments that roll, a clean stop and a power cut at every step behind it: what was aborted
//! is what the batches that are left say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld, Stopped};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::batch;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::marker::Marker;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::segment::txn_index::AbortedTransaction;
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::checks::read_all;
use crate::cuts;
use crate::workload::{key, small_log, small_store};

async fn append(log: &Log<SimIo>, producer: i64, sequence: Option<i32>, is_abort: bool) {
    log.room().await.unwrap();
    let (producer_id, producer_epoch) = (ProducerId(producer), ProducerEpoch(0));
    let base_sequence = sequence.unwrap_or(-1);
    let mut builder = BatchBuilder::new(Codec::None).transactional().with_producer(ProducerBatch {
        producer_id,
        producer_epoch,
        base_sequence,
    });
    let (key, value) = Marker { is_abort, coordinator_epoch: 1 }.write();
    let record = if sequence.is_some() {
        NewRecord { value: Some(&[7; 1500]), ..NewRecord::default() }
    } else {
        builder = builder.control();
        NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() }
    };
    builder.push(&record).unwrap();
    let batch = BytesMut::from(builder.build().unwrap().as_ref());
    log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
}

/// Two producers by turns, each of whose transactions has so many records as its number and one more.
async fn work(log: &Log<SimIo>, rounds: std::ops::Range<i32>) {
    for round in rounds {
        for producer in [1, 2] {
            append(log, producer, Some(round), false).await;
            if i64::from(round) % (producer + 1) == producer {
                append(log, producer, None, round % 3 > 0).await;
            }
        }
        let end = log.offsets().log_end_offset;
        log.wait_durable(end).await.unwrap();
        log.set_high_watermark(end);
    }
}

async fn first_life(io: SimIo) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let (manager, _) = LogManager::open(io, small_store()).await.unwrap();
    let log = manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    work(&log, 0..14).await;
    manager.close().await.unwrap();
}

async fn second_life(io: SimIo) {
    let (manager, _) = LogManager::open(io.clone(), small_store()).await.unwrap();
    let log = manager.create_log(key(1, 0), "t", small_log()).await.unwrap();
    work(&log, 14..40).await;
    io.sleep(Duration::from_secs(1)).await;
    manager.close().await.unwrap();
}

/// What a log's batches say, told without the engine's state.
fn told_by(bytes: &[u8]) -> Vec<AbortedTransaction> {
    let mut open: BTreeMap<ProducerId, Offset> = BTreeMap::new();
    let mut aborted = Vec::new();
    for (header, batch) in batch::batches(bytes) {
        let producer_id = header.producer_id();
        if !header.attributes().is_control() {
            open.entry(producer_id).or_insert(header.base_offset());
            continue;
        }
        let first = open.remove(&producer_id);
        let is_abort = Marker::read(batch).unwrap().is_abort;
        if let Some(first_offset) = first.filter(|_| is_abort) {
            let last_stable_offset = open.values().min().copied().unwrap_or(header.next_offset());
            let last_offset = header.last_offset();
            aborted.push(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset });
        }
    }
    aborted
}

/// Opens what is left and compares. How many transactions were aborted.
async fn look(io: SimIo) -> Result<usize, String> {
    let (manager, _) = LogManager::open(io, small_store()).await.unwrap();
    let log = manager.log(key(1, 0)).ok_or_else(|| format!("{:?}", manager.offline_logs()))?;
    let end = log.offsets().log_end_offset;
    log.set_high_watermark(end);
    let told = told_by(&read_all(&log, Offset(0), end).await?);
    let known = log.aborted(Offset(0)..end).await.map_err(|error| error.to_string())?;
    if known == told { Ok(known.len()) } else { Err(format!("{known:?}, but the batches say {told:?}")) }
}

#[test]
fn aborted_transactions_are_what_the_log_says_after_a_cut_at_every_step() {
    let _told = cuts::Told;
    let stopped = SimWorld::new(1);
    stopped.run(first_life(stopped.io())).unwrap();
    let whole = stopped.crash(1);
    whole.run(second_life(whole.io())).unwrap();
    let mut most = 0;
    for step in 0..whole.steps() {
        let world = stopped.crash(1);
        world.cut_at_step(step);
        assert_eq!(world.run(second_life(world.io())), Err(Stopped::PowerCut));
        for crash in 0..2 {
            let after = world.crash(crash);
            let found = after.run(look(after.io())).unwrap();
            most = most.max(found.unwrap_or_else(|what| panic!("cut at {step}, crash {crash}: {what}")));
            // What the start made durable, without what it did not.
            let again = after.crash(crash);
            let found = again.run(look(again.io())).unwrap();
            found.unwrap_or_else(|what| panic!("cut at {step}, crash {crash}, again: {what}"));
            cuts::count();
        }
    }
    assert!(most > 8, "{most} aborted");
}
