//! Reads of what the tail cache has given up: ranges of segment files, whole batches within every limit, also
//! when the page cache holds nothing of them and when their segment is deleted.

use std::path::Path;
use std::rc::Rc;

use bytes::BytesMut;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::executor;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::batch;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::{Fetched, ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

const KEY: PartitionKey = PartitionKey { topic_id: TopicId([5; 16]), partition: PartitionIndex(0) };

/// Runs on an executor of its own.
fn run(test: impl AsyncFnOnce() + Send + 'static) {
    std::thread::spawn(|| executor::block_on(None, test()).unwrap()).join().unwrap();
}

/// A store that keeps next to nothing in memory.
async fn open(dir: &Path) -> Rc<LogManager<RealIo>> {
    let config = StoreConfig {
        journal_file_bytes: 1 << 20,
        group_bytes_max: 128 << 10,
        tail_cache_bytes: 64 << 10,
        write_behind_bytes: 16 << 10,
        ..StoreConfig::new(dir)
    };
    LogManager::open(RealIo::new().unwrap(), config).await.unwrap().0
}

/// A batch of `records` records, its bytes following from its first offset.
pub(crate) fn produced(first: i64, records: i64, size: usize) -> BytesMut {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in first..first + records {
        let mut value = number.to_string().into_bytes();
        value.resize(size, b'.');
        let record =
            NewRecord { timestamp: TimestampMs(number), value: Some(&value), ..NewRecord::default() };
        builder.push(&record).unwrap();
    }
    BytesMut::from(builder.build().unwrap().as_ref())
}

/// Appends batches of 1 to 4 records of 10 to 40,000 bytes; returns them as stored.
async fn fill(log: &Log<RealIo>, batches: usize) -> Vec<Vec<u8>> {
    let mut stored = Vec::new();
    for index in 0..batches {
        log.room().await.unwrap();
        let first = log.offsets().log_end_offset;
        let size = [10, 100, 3_000, 40_000, 100, 700][index % 6];
        let mut batch = produced(first.0, i64::try_from(index % 4).unwrap() + 1, size);
        let end =
            Offset(log.append(batch.clone(), LeaderEpoch(0), TimestampMs(1)).unwrap().last_offset.0 + 1);
        batch::stamp(&mut batch, first, LeaderEpoch(0));
        stored.push(batch.to_vec());
        if index % 8 == 0 {
            log.wait_durable(end).await.unwrap();
        }
    }
    let end = log.offsets().log_end_offset;
    log.wait_durable(end).await.unwrap();
    log.set_high_watermark(end);
    stored
}

/// The bytes of what was fetched.
pub(crate) fn bytes_of(fetched: &Fetched) -> Vec<u8> {
    let mut all = Vec::new();
    for slice in &fetched.slices {
        match slice {
            Slice::Memory(bytes) => all.extend_from_slice(bytes),
            Slice::File { descriptor, position, len } => {
                let mut bytes = vec![0; *len];
                let at = i64::try_from(*position).unwrap();
                assert_eq!(nix::sys::uio::pread(descriptor, &mut bytes, at).unwrap(), *len);
                all.extend_from_slice(&bytes);
            }
        }
    }
    assert_eq!(all.len(), fetched.bytes);
    all
}

/// Empties the page cache of what the slices stand in; returns how many are file ranges.
fn chill(fetched: &Fetched) -> usize {
    let files = fetched.slices.iter().filter_map(|slice| match slice {
        Slice::File { descriptor, .. } => Some(descriptor),
        Slice::Memory(_) => None,
    });
    files.map(|file| posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap()).count()
}

#[test]
fn cold_reads_give_whole_batches_within_every_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let store = open(&path).await;
        let settings = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
        let log = store.create_log(KEY, "topic", settings).await.unwrap();
        let stored = fill(&log, 240).await;
        let end = log.offsets().log_end_offset;
        let mut files = 0;
        for bytes_max in [1, 5_000, 100_000, 1 << 20, 8 << 20] {
            for stop in [end, Offset(end.0 / 2)] {
                let mut next = 0;
                let mut rest = &stored[..];
                loop {
                    let limits = ReadLimits { end: stop, bytes_max, at_least_one: true };
                    let fetched = log.read(Offset(next), limits).await.unwrap();
                    files += chill(&fetched);
                    let bytes = bytes_of(&fetched);
                    if bytes.is_empty() {
                        break;
                    }
                    let mut taken = 0;
                    for (header, batch) in batch::batches(&bytes) {
                        assert!(
                            batch == &rest[0][..],
                            "batch at {next} read up to {stop:?}, {bytes_max} bytes"
                        );
                        assert!(header.last_offset() < stop);
                        next = header.next_offset().0;
                        taken += batch.len();
                        rest = &rest[1..];
                    }
                    assert_eq!(taken, bytes.len(), "whole batches");
                    assert!(taken <= bytes_max || batch::batches(&bytes).count() == 1);
                }
                let whole =
                    rest.first().map_or(end, |batch| batch::BatchHeader::read(batch).unwrap().base_offset());
                assert!(whole <= stop && Offset(next) == whole, "all below {stop:?} is read: {next}");
                let not_fitting =
                    rest.first().map(|batch| batch::BatchHeader::read(batch).unwrap().last_offset());
                assert!(not_fitting.is_none_or(|last| last >= stop));
            }
        }
        assert!(files > 20, "{files} file ranges");
        store.close().await.unwrap();
    });
}

#[test]
fn any_offset_finds_its_batch_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let store = open(&path).await;
        let log = store.create_log(KEY, "topic", LogConfig::default()).await.unwrap();
        fill(&log, 60).await;
        let end = log.offsets().log_end_offset;
        for offset in 0..end.0 {
            for at_least_one in [true, false] {
                let limits = ReadLimits { end, bytes_max: 200, at_least_one };
                let bytes = bytes_of(&log.read(Offset(offset), limits).await.unwrap());
                let Some((header, _)) = batch::batches(&bytes).next() else {
                    assert!(!at_least_one, "nothing at {offset}");
                    continue;
                };
                assert!(header.base_offset().0 <= offset && offset <= header.last_offset().0);
                assert!(at_least_one || bytes.len() <= 200);
            }
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_slice_outlives_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move || {
        let store = open(&path).await;
        let log = store.create_log(KEY, "topic", LogConfig::default()).await.unwrap();
        let stored = fill(&log, 60).await;
        let limits = ReadLimits { end: log.offsets().log_end_offset, bytes_max: 1 << 20, at_least_one: true };
        // The first reader gets memory, those who follow the page cache.
        let first = log.read(Offset(0), limits).await.unwrap();
        assert!(matches!(first.slices[..], [Slice::Memory(_)]));
        let fetched = log.read(Offset(0), limits).await.unwrap();
        assert!(matches!(fetched.slices[..], [Slice::File { .. }]));
        assert_eq!(bytes_of(&first), bytes_of(&fetched));
        drop(log);
        store.delete_log(KEY).await.unwrap();
        chill(&fetched);
        let bytes = bytes_of(&fetched);
        assert_eq!(bytes, stored.concat()[..bytes.len()]);
        store.close().await.unwrap();
    });
}
