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
use ringmain_storage::manager::reserve::RESERVE_FILE;
use ringmain_storage::record::batch::{batches, stamp};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::marker::Marker;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::segment::{ReadLimits, Slice};
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

/// Every file of a directory and its folders, with what it holds; not the reserve, which holds nothing.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_reserve = |path: &Path| path.to_string_lossy().contains(RESERVE_FILE);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !is_reserve(&path) {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Small enough to be kept as files.
fn small_config(dir: &Path) -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 24 << 10,
        journal_files_max: 2,
        group_bytes_max: 8 << 10,
        write_behind_bytes: 4 << 10,
        carry_bytes_max: 1 << 10,
        carry_laps_max: 1,
        tail_cache_bytes: 64 << 10,
        ..StoreConfig::new(dir)
    }
}

/// The partition of small directories that has transactions, and how many batches: two and a marker, over and over, every
/// second time one that aborts; the last transaction stays open.
const TRANSACTIONAL: i32 = 4;
const TRANSACTIONAL_END: i64 = 26;

/// The partition of small directories whose end is cut off and written anew.
const TRUNCATED: i32 = 5;
const TRUNCATED_TO: Offset = Offset(40);

fn small_marker(number: i64) -> BytesMut {
    let (key, value) = Marker { is_abort: number % 6 == 2, coordinator_epoch: 4 }.write();
    let (producer_id, producer_epoch) = (ProducerId(2000), ProducerEpoch(0));
    let mut builder = BatchBuilder::new(Codec::None).transactional().control().with_producer(ProducerBatch {
        producer_id,
        producer_epoch,
        base_sequence: -1,
    });
    let timestamp = TimestampMs(1_700_000_000_000 + number);
    let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), ..NewRecord::default() };
    builder.push(&record).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

fn small_batch(partition: i32, number: i64) -> BytesMut {
    if partition == TRANSACTIONAL && number % 3 == 2 {
        return small_marker(number);
    }
    let value = vec![b'a' + u8::try_from(number % 26).unwrap(); 300];
    let key = format!("{partition}/{number}").into_bytes();
    let mut builder = BatchBuilder::new(Codec::None);
    if partition == 0 {
        builder = builder.with_producer(ProducerBatch {
            producer_id: ProducerId(1000),
            producer_epoch: ProducerEpoch(2),
            base_sequence: i32::try_from(number).unwrap(),
        });
    }
    if partition == TRANSACTIONAL {
        builder = builder.transactional().with_producer(ProducerBatch {
            producer_id: ProducerId(2000),
            producer_epoch: ProducerEpoch(0),
            base_sequence: i32::try_from(number - number / 3).unwrap(),
        });
    }
    let timestamp = TimestampMs(1_700_000_000_000 + number);
    let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), ..NewRecord::default() };
    builder.push(&record).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

/// A journal that has been around its ring, with every kind of entry there is, left without warning.
pub(crate) fn make_small(dir: &Path) {
    let dir = dir.to_owned();
    run(async move || {
        let (store, _) = LogManager::open(RealIo::new().unwrap(), small_config(&dir)).await.unwrap();
        let config = LogConfig { segment_bytes: 6 << 10, index_interval_bytes: 1024, ..log_config() };
        let mut logs = Vec::new();
        logs.push(store.create_log(key(TRANSACTIONAL), "kept", config.clone()).await.unwrap());
        for partition in [TRUNCATED, 0, 1, 2] {
            logs.push(store.create_log(key(partition), "kept", config.clone()).await.unwrap());
        }
        for number in 0..48 {
            for log in &logs {
                // The second one has little at a time: it is carried.
                if log.key().partition.0 == 1 && number % 8 > 0 {
                    continue;
                }
                log.room().await.unwrap();
                let next = log.offsets().log_end_offset.0;
                if log.key().partition.0 == TRANSACTIONAL && next == TRANSACTIONAL_END {
                    continue;
                }
                let batch = small_batch(log.key().partition.0, next);
                log.append(batch, LeaderEpoch(number / 20), TimestampMs(1)).unwrap();
                log.wait_durable(Offset(next + 1)).await.unwrap();
                log.set_high_watermark(Offset(next + 1));
            }
            if number == 46 {
                let gone = logs.pop().unwrap();
                store.delete_log(gone.key()).await.unwrap();
                logs.push(store.create_log(key(3), "kept", config.clone()).await.unwrap());
                logs[2].advance_log_start(Offset(7)).await.unwrap();
                logs[1].truncate(TRUNCATED_TO).await.unwrap();
            }
        }
    });
}

/// Starts on what [`make_small`] left, compares every record with what was sent, and stops cleanly. How many batches
/// there are.
pub(crate) fn check_small(dir: &Path) -> u64 {
    let dir = dir.to_owned();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&count);
    run(async move || {
        let (store, _) = LogManager::open(RealIo::new().unwrap(), small_config(&dir)).await.unwrap();
        assert!(store.log(key(2)).is_none(), "it was deleted");
        for (partition, start, end) in
            [(0, 7, 48), (1, 0, 6), (3, 0, 1), (TRANSACTIONAL, 0, TRANSACTIONAL_END), (TRUNCATED, 0, 41)]
        {
            let log = store.log(key(partition));
            if log.is_none() && partition >= TRANSACTIONAL {
                // An older version.
                continue;
            }
            let log = log.unwrap();
            let offsets = log.offsets();
            assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (Offset(start), Offset(end)));
            if partition == TRANSACTIONAL {
                let aborted = log.aborted(Offset(start)..Offset(end)).await.unwrap();
                assert_eq!(aborted.iter().map(|one| one.last_offset.0).collect::<Vec<_>>(), [2, 8, 14, 20]);
                assert_eq!(offsets.last_stable_offset, Offset(end - 2));
            }
            let mut next = Offset(start);
            while next < offsets.log_end_offset {
                let limits =
                    ReadLimits { end: offsets.log_end_offset, bytes_max: 1 << 20, at_least_one: true };
                for slice in log.read(next, limits).await.unwrap().slices {
                    let Slice::Memory(bytes) = slice else {
                        panic!("what is not sealed is read from memory")
                    };
                    for (header, bytes) in batches(&bytes) {
                        let mut sent = small_batch(partition, next.0);
                        stamp(&mut sent, next, header.partition_leader_epoch());
                        assert!(bytes == &sent[..], "{partition}: offset {next}");
                        next = header.next_offset();
                    }
                }
            }
        }
        store.close().await.unwrap();
        counted.store(crate::look(&dir).batches, std::sync::atomic::Ordering::Relaxed);
    });
    count.load(std::sync::atomic::Ordering::Relaxed)
}
