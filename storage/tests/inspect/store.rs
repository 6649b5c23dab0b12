//! Directories to look at, written by the engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::executor;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{
    LeaderEpoch, Offset, PartitionIndex, PartitionKey, ProducerEpoch, ProducerId, TimestampMs, TopicId,
};

/// Partitions and what each is given.
const PARTITIONS: i32 = 4;
const ROUNDS: i32 = 240;
/// Batches of a directory that was made.
pub(crate) const BATCHES: u64 = 960;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 256 << 10,
        group_bytes_max: 64 << 10,
        write_behind_bytes: 24 << 10,
        ..StoreConfig::new(dir)
    }
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 10,
        index_interval_bytes: 1024,
        retention_ms: -1,
        ..LogConfig::default()
    }
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TopicId([9; 16]), partition: PartitionIndex(partition) }
}

/// Two records, compressed in every third round, of an idempotent producer in every second partition.
fn batch(partition: i32, round: i32) -> BytesMut {
    let mut builder = BatchBuilder::new(if round % 3 == 0 { Codec::Lz4 } else { Codec::None });
    if partition % 2 == 0 {
        builder = builder.with_producer(ProducerBatch {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(0),
            base_sequence: round * 2,
        });
    }
    let value: Vec<u8> =
        (0..500 + round % 7 * 100).map(|at| ((at * 37 + round) % 251).to_le_bytes()[0]).collect();
    for record in 0..2 {
        let timestamp = TimestampMs(1_700_000_000_000 + i64::from(round * 10 + record));
        builder.push(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() }).unwrap();
    }
    BytesMut::from(builder.build().unwrap().as_ref())
}

async fn produce(log: &Rc<Log<RealIo>>, round: i32) -> Offset {
    log.room().await.unwrap();
    // A new leader epoch now and then.
    let epoch = LeaderEpoch(round / 100);
    let appended = log.append(batch(log.key().partition.0, round), epoch, TimestampMs(1)).unwrap();
    Offset(appended.last_offset.0 + 1)
}

/// Runs on an executor of its own; what is left running dies with it, as with `kill -9`.
fn run(work: impl AsyncFnOnce() + Send + 'static) {
    std::thread::spawn(|| executor::block_on(None, work()).unwrap()).join().unwrap();
}

/// Fills a directory and stops, cleanly or not.
pub(crate) fn make(dir: &Path, cleanly: bool) {
    let dir = dir.to_owned();
    run(async move || {
        let (store, _) = LogManager::open(RealIo::new().unwrap(), config(&dir)).await.unwrap();
        let mut logs = Vec::new();
        for partition in 0..PARTITIONS {
            logs.push(store.create_log(key(partition), "topic", log_config()).await.unwrap());
        }
        for round in 0..ROUNDS {
            for log in &logs {
                let end = produce(log, round).await;
                if round % 8 == 7 {
                    log.wait_durable(end).await.unwrap();
                    log.set_high_watermark(end);
                }
            }
        }
        if cleanly {
            store.close().await.unwrap();
        } else {
            // The empty frame that vouches for the last group.
            let io = RealIo::new().unwrap();
            ringmain_storage::io::Io::sleep(&io, std::time::Duration::from_millis(400)).await;
        }
    });
}

/// Starts on a directory and stops cleanly.
pub(crate) fn reopen(dir: &Path) {
    let dir = dir.to_owned();
    run(async move || {
        let (store, _) = LogManager::open(RealIo::new().unwrap(), config(&dir)).await.unwrap();
        store.close().await.unwrap();
    });
}

/// Every file of a directory and its folders, with what it holds.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
