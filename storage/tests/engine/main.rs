//! The engine over real files: what was acknowledged is there after a stop without warning, after a clean
//! one, and after the journal has been around its ring many times.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "tests")]

mod aborted;
mod cold_reads;
mod compacted;
mod first_reads;
mod index_files;
mod producers;
mod restarts;
mod retention;
mod rotten_ends;
mod rotten_reads;
mod transactions;

use std::path::Path;
use std::rc::Rc;

use bytes::BytesMut;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::executor;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::{LogManager, RecoveryReport};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

type Store = Rc<LogManager<RealIo>>;

/// Runs on an executor of its own; what the test leaves running dies with it, as with `kill -9`.
fn run<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(|| executor::block_on(None, test()).unwrap()).join().unwrap()
}

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { journal_file_bytes: 1 << 20, group_bytes_max: 128 << 10, ..StoreConfig::new(dir) }
}

async fn open(dir: &Path) -> (Store, RecoveryReport) {
    LogManager::open(RealIo::new().unwrap(), config(dir)).await.unwrap()
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic_id: TopicId([3; 16]), partition: PartitionIndex(partition) }
}

/// A batch of one record that says which it is.
fn batch(partition: i32, number: i64, size: usize) -> BytesMut {
    let mut value = format!("{partition}/{number}/").into_bytes();
    value.resize(size.max(value.len()), b'x');
    let mut builder = BatchBuilder::new(Codec::None);
    let record =
        NewRecord { timestamp: TimestampMs(1000 + number), value: Some(&value), ..NewRecord::default() };
    builder.push(&record).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

async fn produce(log: &Rc<Log<RealIo>>, from: i64, count: i64, size: usize) {
    let partition = log.key().partition.0;
    let mut end = Offset(from);
    for number in from..from + count {
        log.room().await.unwrap();
        let appended = log.append(batch(partition, number, size), LeaderEpoch(0), TimestampMs(1)).unwrap();
        assert_eq!(appended.base_offset, Offset(number));
        end = Offset(number + 1);
        if number % 16 == 0 {
            log.wait_durable(end).await.unwrap();
        }
    }
    log.wait_durable(end).await.unwrap();
    log.set_high_watermark(end);
}

/// What sending a slice would send.
fn bytes_of(slice: &Slice) -> Vec<u8> {
    match slice {
        Slice::Memory(bytes) => bytes.to_vec(),
        Slice::File { descriptor, position, len } => {
            let mut bytes = vec![0; *len];
            let at = i64::try_from(*position).unwrap();
            assert_eq!(nix::sys::uio::pread(descriptor, &mut bytes, at).unwrap(), *len);
            bytes
        }
    }
}

/// Reads everything and checks that each batch is the one that was sent, once and in order.
async fn check(log: &Rc<Log<RealIo>>, count: i64, size: usize) {
    let partition = log.key().partition.0;
    let end = log.offsets().log_end_offset;
    assert_eq!(end, Offset(count), "{log:?}");
    let mut next = Offset(0);
    while next < end {
        let limits = ReadLimits { end, bytes_max: 300_000, at_least_one: true };
        let fetched = log.read(next, limits).await.unwrap();
        assert!(fetched.bytes > 0, "nothing at {next} of {log:?}");
        for slice in fetched.slices {
            for (header, bytes) in ringmain_storage::record::batch::batches(&bytes_of(&slice)) {
                assert_eq!(header.base_offset(), next);
                let mut expected = batch(partition, next.0, size);
                ringmain_storage::record::batch::stamp(&mut expected, next, LeaderEpoch(0));
                assert_eq!(bytes, &expected[..]);
                next = header.next_offset();
            }
        }
    }
}

#[test]
fn acknowledged_records_survive_a_stop_without_warning_and_a_clean_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, report) = open(&at).await;
        assert!(report.clean);
        let log = store.create_log(key(0), "topic", LogConfig::default()).await.unwrap();
        produce(&log, 0, 100, 100).await;
        check(&log, 100, 100).await;
    });
    let at = path.clone();
    run(async move || {
        let (store, report) = open(&at).await;
        assert!(!report.clean && report.frames > 0, "{report:?}");
        let log = store.log(key(0)).unwrap();
        check(&log, 100, 100).await;
        produce(&log, 100, 50, 100).await;
        check(&log, 150, 100).await;
        store.close().await.unwrap();
        assert!(!at.join("ringmain.journal").exists());
        assert!(at.join(".kafka_cleanshutdown").exists());
    });
    let at = path.clone();
    run(async move || {
        let (store, report) = open(&at).await;
        assert!(report.clean, "{report:?}");
        let log = store.log(key(0)).unwrap();
        check(&log, 150, 100).await;
        produce(&log, 150, 50, 100).await;
    });
    run(async move || {
        let (store, _) = open(&path).await;
        let log = store.log(key(0)).unwrap();
        check(&log, 200, 100).await;
        let found = log.offset_for_timestamp(TimestampMs(1150), Offset(200)).await.unwrap();
        assert_eq!(found, Some((TimestampMs(1150), Offset(150))));
        assert_eq!(log.max_timestamp().await.unwrap(), Some((TimestampMs(1199), Offset(199))));
        store.close().await.unwrap();
    });
}

#[test]
fn a_journal_many_times_around_its_ring_keeps_every_record_of_rolled_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        let settings = LogConfig { segment_bytes: 700_000, ..LogConfig::default() };
        for partition in 0..4 {
            store.create_log(key(partition), "topic", settings.clone()).await.unwrap();
        }
        // Partition 3 gets little: its remainder is carried from lap to lap.
        for round in 0..30 {
            for partition in 0..3 {
                produce(&store.log(key(partition)).unwrap(), round * 40, 40, 5_000).await;
            }
            produce(&store.log(key(3)).unwrap(), round, 1, 50).await;
        }
    });
    for _ in 0..2 {
        let at = path.clone();
        run(async move || {
            let (store, report) = open(&at).await;
            for partition in 0..3 {
                check(&store.log(key(partition)).unwrap(), 1200, 5_000).await;
            }
            check(&store.log(key(3)).unwrap(), 30, 50).await;
            assert!(report.frames > 0);
        });
    }
    run(async move || {
        let (store, _) = open(&path).await;
        produce(&store.log(key(3)).unwrap(), 30, 3, 50).await;
        check(&store.log(key(3)).unwrap(), 33, 50).await;
        store.close().await.unwrap();
        let (store, report) = open(&path).await;
        assert!(report.clean);
        for partition in 0..3 {
            check(&store.log(key(partition)).unwrap(), 1200, 5_000).await;
        }
        check(&store.log(key(3)).unwrap(), 33, 50).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_deleted_log_stays_deleted_and_its_name_may_be_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let again = PartitionKey { topic_id: TopicId([4; 16]), partition: PartitionIndex(0) };
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        let log = store.create_log(key(0), "topic", LogConfig::default()).await.unwrap();
        produce(&log, 0, 10, 100).await;
        store.delete_log(key(0)).await.unwrap();
        assert!(store.log(key(0)).is_none());
        let log = store.create_log(again, "topic", LogConfig::default()).await.unwrap();
        produce(&log, 0, 5, 100).await;
    });
    run(async move || {
        let (store, _) = open(&path).await;
        assert_eq!(store.keys(), [again]);
        check(&store.log(again).unwrap(), 5, 100).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_thousand_partitions_share_one_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let at = path.clone();
    run(async move || {
        let (store, _) = open(&at).await;
        for partition in 0..1000 {
            store.create_log(key(partition), "topic", LogConfig::default()).await.unwrap();
        }
        for round in 0..8 {
            for partition in 0..1000 {
                let log = store.log(key(partition)).unwrap();
                log.append(batch(partition, round, 1000), LeaderEpoch(0), TimestampMs(1)).unwrap();
            }
            for partition in 0..1000 {
                store.log(key(partition)).unwrap().wait_durable(Offset(round + 1)).await.unwrap();
            }
        }
    });
    run(async move || {
        let (store, _) = open(&path).await;
        for partition in 0..1000 {
            check(&store.log(key(partition)).unwrap(), 8, 1000).await;
        }
        store.close().await.unwrap();
    });
}
