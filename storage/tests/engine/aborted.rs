//! Aborted transactions: known again after every kind of stop, in Kafka's files after a clean one, and found in the log
//! where those files are lost or spoilt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::marker::Marker;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::segment::txn_index::{self, AbortedTransaction};
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::key;

const DIRECTORY: &str = "/data/t-0";

/// How the store ended before it is opened again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    /// By the book.
    Clean,
    /// Without warning.
    Killed,
    /// As by Apache Kafka: its own files are all there is.
    KilledApache,
}

/// What producers did, told by the test alone.
#[derive(Clone, Default)]
struct Model {
    open: BTreeMap<i64, Offset>,
    sequences: BTreeMap<i64, i32>,
    aborted: Vec<AbortedTransaction>,
}

impl Model {
    fn unstable(&self) -> Option<Offset> {
        self.open.values().min().copied()
    }
}

async fn open(io: &SimIo) -> (Rc<LogManager<SimIo>>, Rc<Log<SimIo>>) {
    io.create_directory(Path::new("/data")).await.unwrap();
    let config =
        StoreConfig { journal_file_bytes: 64 << 10, group_bytes_max: 16 << 10, ..StoreConfig::new("/data") };
    let (store, _) = LogManager::open(io.clone(), config).await.unwrap();
    let config = LogConfig { segment_bytes: 8 << 10, ..LogConfig::default() };
    let log = store.create_log(key(0), "t", config).await.unwrap();
    (store, log)
}

async fn append(log: &Rc<Log<SimIo>>, batch: BatchBuilder, record: &NewRecord<'_>) -> Offset {
    let mut batch = batch;
    batch.push(record).unwrap();
    log.room().await.unwrap();
    let batch = BytesMut::from(batch.build().unwrap().as_ref());
    let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
    log.wait_durable(appended.answered_at()).await.unwrap();
    log.set_high_watermark(appended.answered_at());
    appended.base_offset
}

fn by(producer: i64, base_sequence: i32) -> BatchBuilder {
    let (producer_id, producer_epoch) = (ProducerId(producer), ProducerEpoch(0));
    let batch = ProducerBatch { producer_id, producer_epoch, base_sequence };
    BatchBuilder::new(Codec::None).transactional().with_producer(batch)
}

async fn write(log: &Rc<Log<SimIo>>, model: &mut Model, producer: i64) {
    let sequence = model.sequences.entry(producer).or_default();
    let record = NewRecord { value: Some(&[7; 400]), ..NewRecord::default() };
    let offset = append(log, by(producer, *sequence), &record).await;
    *sequence += 1;
    model.open.entry(producer).or_insert(offset);
}

async fn end(log: &Rc<Log<SimIo>>, model: &mut Model, producer: i64, is_abort: bool) {
    let (key, value) = Marker { is_abort, coordinator_epoch: 3 }.write();
    let record = NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() };
    let offset = append(log, by(producer, -1).control(), &record).await;
    let first = model.open.remove(&producer);
    if let Some(first_offset) = first.filter(|_| is_abort) {
        model.aborted.push(AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset,
            last_offset: offset,
            last_stable_offset: model.unstable().unwrap_or(Offset(offset.0 + 1)),
        });
    }
}

/// Transactions of four producers that overlap, some aborted, some without records; one of them stays open.
async fn work(log: &Rc<Log<SimIo>>, model: &mut Model, rounds: i64) {
    for round in 0..rounds {
        for producer in 1..5 {
            write(log, model, producer).await;
            if (round + producer) % 3 == 0 && producer != 4 {
                end(log, model, producer, round % 2 == 0).await;
            }
            if (round + producer) % 7 == 0 {
                // Nothing may be open by then.
                end(log, model, 9, true).await;
            }
        }
    }
}

/// Whether the log knows what the model knows, in all ranges.
async fn check(log: &Rc<Log<SimIo>>, model: &Model, context: &str) {
    let end = log.offsets().log_end_offset;
    log.set_high_watermark(end);
    assert_eq!(log.aborted(Offset(0)..end).await.unwrap(), model.aborted, "{context}");
    for (from, to) in (0..end.0).step_by(9).flat_map(|from| [(from, from + 1), (from, from + 30)]) {
        let expected: Vec<_> = model
            .aborted
            .iter()
            .filter(|one| one.last_offset.0 >= from && one.first_offset.0 < to)
            .copied()
            .collect();
        assert_eq!(log.aborted(Offset(from)..Offset(to)).await.unwrap(), expected, "{context}, {from}..{to}");
    }
    assert_eq!(log.offsets().last_stable_offset, model.unstable().unwrap_or(end), "{context}");
}

async fn finish(io: &SimIo, store: &Rc<LogManager<SimIo>>, stop: Stop) {
    if stop != Stop::Killed {
        store.close().await.unwrap();
    }
    if stop == Stop::KilledApache {
        io.remove_file(Path::new("/data/.kafka_cleanshutdown")).await.unwrap();
    }
}

async fn txn_indexes(io: &SimIo) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in io.list_directory(Path::new(DIRECTORY)).await.unwrap() {
        if name.ends_with(txn_index::SUFFIX) {
            let path = Path::new(DIRECTORY).join(name);
            let file = io.read_file(&path, 1 << 20).await.unwrap();
            found.insert(path, file);
        }
    }
    found
}

#[test]
fn aborted_transactions_are_known_after_every_stop() {
    for (seed, stops) in [
        [Stop::Clean, Stop::Clean, Stop::Killed],
        [Stop::Killed, Stop::Killed, Stop::Clean],
        [Stop::KilledApache, Stop::Killed, Stop::KilledApache],
        [Stop::Clean, Stop::KilledApache, Stop::Clean],
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = SimWorld::new(seed.try_into().unwrap());
        let mut model = Model::default();
        for (start, stop) in stops.into_iter().enumerate() {
            let io = world.io();
            model = world
                .run(async move {
                    let (store, log) = open(&io).await;
                    check(&log, &model, &format!("{stops:?}, start {start}")).await;
                    work(&log, &mut model, 25).await;
                    check(&log, &model, &format!("{stops:?}, at work after start {start}")).await;
                    finish(&io, &store, stop).await;
                    model
                })
                .unwrap();
            world = world.kill(7);
        }
        let io = world.io();
        world
            .run(async move {
                let (_store, log) = open(&io).await;
                check(&log, &model, &format!("{stops:?}, in the end")).await;
            })
            .unwrap();
    }
}

#[test]
fn a_clean_stop_leaves_kafkas_files_and_spoilt_ones_are_made_anew() {
    let world = SimWorld::new(3);
    let io = world.io();
    let (model, files) = world
        .run(async move {
            let (store, log) = open(&io).await;
            let mut model = Model::default();
            work(&log, &mut model, 30).await;
            store.close().await.unwrap();
            (model, txn_indexes(&io).await)
        })
        .unwrap();
    let all: Vec<u8> = files.values().flatten().copied().collect();
    assert_eq!(all, txn_index::write(&model.aborted));
    assert!(files.len() > 3);
    for spoilt in [&b"garbage"[..], &[0xff; 34], &[0; 68], &all[..40]] {
        let world = world.kill(4);
        let io = world.io();
        let (files, model) = (files.clone(), model.clone());
        world
            .run(async move {
                for path in files.keys() {
                    io.replace_file(path, spoilt.to_vec()).await.unwrap();
                }
                let (store, log) = open(&io).await;
                check(&log, &model, "by spoilt files").await;
                store.close().await.unwrap();
                assert_eq!(txn_indexes(&io).await, files);
            })
            .unwrap();
    }
}

#[test]
fn producers_of_an_open_transaction_are_found_without_the_newest_snapshots() {
    let world = SimWorld::new(3);
    let io = world.io();
    world
        .run(async move {
            let (store, log) = open(&io).await;
            let mut model = Model::default();
            work(&log, &mut model, 30).await;
            finish(&io, &store, Stop::KilledApache).await;
            let names = io.list_directory(Path::new(DIRECTORY)).await.unwrap();
            let mut snapshots: Vec<_> = names.iter().filter(|name| name.ends_with(".snapshot")).collect();
            snapshots.sort();
            assert!(snapshots.len() > 4);
            for name in snapshots.iter().rev().take(3) {
                io.replace_file(&Path::new(DIRECTORY).join(name), b"spoilt".to_vec()).await.unwrap();
            }
            let (_store, log) = open(&io).await;
            check(&log, &model, "by an older snapshot").await;
        })
        .unwrap();
}

#[test]
fn a_transaction_stays_unstable_until_readers_may_see_its_marker() {
    let world = SimWorld::new(3);
    let io = world.io();
    world
        .run(async move {
            let (_store, log) = open(&io).await;
            let mut model = Model::default();
            write(&log, &mut model, 1).await;
            write(&log, &mut model, 2).await;
            // A record that readers do not see yet either.
            let plain = || {
                let mut batch = BatchBuilder::new(Codec::None);
                batch.push(&NewRecord::default()).unwrap();
                BytesMut::from(batch.build().unwrap().as_ref())
            };
            log.append(plain(), LeaderEpoch(0), TimestampMs(1)).unwrap();
            let (key, value) = Marker { is_abort: true, coordinator_epoch: 0 }.write();
            let mut batch = by(1, -1).control();
            batch.push(&NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() }).unwrap();
            let batch = BytesMut::from(batch.build().unwrap().as_ref());
            let appended = log.append(batch, LeaderEpoch(0), TimestampMs(1)).unwrap();
            log.append(plain(), LeaderEpoch(0), TimestampMs(1)).unwrap();
            log.wait_durable(Offset(5)).await.unwrap();
            // The marker is stable, but readers do not see it yet.
            log.set_high_watermark(appended.base_offset);
            assert_eq!(log.offsets().last_stable_offset, Offset(0));
            assert!(log.aborted(Offset(0)..Offset(2)).await.unwrap().is_empty());
            log.set_high_watermark(Offset(5));
            assert_eq!(log.offsets().last_stable_offset, Offset(1));
            assert_eq!(log.aborted(Offset(0)..Offset(2)).await.unwrap().len(), 1);
        })
        .unwrap();
}
