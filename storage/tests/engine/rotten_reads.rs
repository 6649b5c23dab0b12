//! Segments that rot on a real disk under an open store: whichever byte it is, the batch it is in never leaves again, by
//! any of the ways out, and all others do.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test spoils files from outside"
)]

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::error::ReadError;
use ringmain_storage::io::page_cache::is_resident;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::batch::{self, BatchHeader};
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TimestampMs, TopicId};

use super::cold_reads::{bytes_of, produced};
use super::run;

const KEY: PartitionKey = PartitionKey { topic_id: TopicId([6; 16]), partition: PartitionIndex(0) };
/// The segment that rots, of several.
const SEGMENT: &str = "t-0/00000000000000000000.log";

type Store = Rc<LogManager<RealIo>>;

/// A directory on a disk: what a temporary file system holds cannot be read again.
pub(super) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        journal_file_bytes: 1 << 20,
        group_bytes_max: 128 << 10,
        tail_cache_bytes: 64 << 10,
        write_behind_bytes: 16 << 10,
        ..StoreConfig::new(dir)
    }
}

/// A store that keeps next to nothing in memory, its log, and what counts.
pub(super) async fn open(dir: &Path) -> (Store, Rc<Log<RealIo>>, StoreConfig) {
    open_with(dir, 300 << 10).await
}

async fn open_with(dir: &Path, segment_bytes: u64) -> (Store, Rc<Log<RealIo>>, StoreConfig) {
    let config = config(dir);
    let settings = LogConfig { segment_bytes, retention_ms: -1, ..LogConfig::default() };
    let store = LogManager::open(RealIo::new().unwrap(), config.clone()).await.unwrap().0;
    let log = store.create_log(KEY, "t", settings).await.unwrap();
    let end = log.offsets().log_end_offset;
    log.set_high_watermark(end);
    (store, log, config)
}

/// Appends batches of many sizes under several leader epochs, and stops. Returns them as stored.
pub(super) async fn fill(dir: &Path) -> Vec<Vec<u8>> {
    fill_with(dir, 300 << 10, 90).await
}

/// The same with segments of another size, and so many batches.
pub(super) async fn fill_with(dir: &Path, segment_bytes: u64, batches: usize) -> Vec<Vec<u8>> {
    let (store, log, _) = open_with(dir, segment_bytes).await;
    let mut stored = Vec::new();
    for index in 0..batches {
        log.room().await.unwrap();
        let first = log.offsets().log_end_offset;
        let size = [10, 100, 3_000, 30_000, 100, 700][index % 6];
        let mut batch = produced(first.0, i64::try_from(index % 3).unwrap() + 1, size);
        let epoch = LeaderEpoch(i32::try_from(index / 10).unwrap());
        let appended = log.append(batch.clone(), epoch, TimestampMs(1)).unwrap();
        log.wait_durable(Offset(appended.last_offset.0 + 1)).await.unwrap();
        batch::stamp(&mut batch, first, epoch);
        stored.push(batch.to_vec());
    }
    store.close().await.unwrap();
    stored
}

/// Has the page cache give up the file; false if the file system keeps it there.
fn evict(file: &File) -> bool {
    let size = file.metadata().unwrap().len();
    let descriptor = file.as_fd().try_clone_to_owned().unwrap();
    file.sync_all().unwrap();
    for _ in 0..1000 {
        posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        if (0..size).step_by(4096).all(|at| !is_resident(&descriptor, at, at + 1).unwrap()) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// A file that rots and is mended.
pub(super) struct Rotting(File);

impl Rotting {
    /// A file by its name.
    pub(super) fn open(path: &Path) -> Self {
        Self(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// Flips a bit on the disk; false if this is no disk.
    pub(super) fn flip(&self, at: usize, bit: u8) -> bool {
        let at = u64::try_from(at).unwrap();
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, at).unwrap();
        self.0.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
        evict(&self.0)
    }
}

/// What a consumer gets of a log.
#[derive(Default)]
pub(super) struct Consumed {
    /// Base offsets of the batches that came.
    pub(super) batches: Vec<i64>,
    /// Offsets at which a fetch failed.
    pub(super) damaged: Vec<i64>,
    /// Slices sent from a file.
    pub(super) files: usize,
}

/// Consumes all there is, stepping over what is damaged. Every batch that comes is as it was stored.
pub(super) async fn consume(log: &Log<RealIo>, stored: &[Vec<u8>], bytes_max: usize) -> Consumed {
    let end = log.offsets().log_end_offset;
    let mut consumed = Consumed::default();
    let mut next = Offset(0);
    while next < end {
        let fetched = match log.read(next, ReadLimits { end, bytes_max, at_least_one: true }).await {
            Err(ReadError::Damaged { offset, .. }) => {
                assert!(offset <= next, "{offset} is named where {next} is read");
                consumed.damaged.push(next.0);
                next = Offset(next.0 + 1);
                continue;
            }
            read => read.unwrap(),
        };
        consumed.files += fetched.slices.iter().filter(|slice| matches!(slice, Slice::File { .. })).count();
        let bytes = bytes_of(&fetched);
        let before = next;
        for (header, batch) in batch::batches(&bytes) {
            let base = header.base_offset();
            let known = stored.iter().any(|stored| stored == batch);
            assert!(known && header.last_offset() >= next, "a damaged batch left where {next} is read");
            consumed.batches.push(base.0);
            next = header.next_offset();
        }
        assert!(next > before, "nothing at {before}");
    }
    consumed
}

/// Base offset, end offset and position of the batches of the first segment.
fn places(stored: &[Vec<u8>], segment_bytes: usize) -> Vec<(i64, i64, usize)> {
    let mut places = Vec::new();
    let mut position = 0;
    for batch in stored {
        if position == segment_bytes {
            break;
        }
        let header = BatchHeader::read(batch).unwrap();
        places.push((header.base_offset().0, header.next_offset().0, position));
        position += batch.len();
    }
    places
}

/// Everything but the batches with these base offsets came, and every offset of those failed.
pub(super) fn check(consumed: &Consumed, stored: &[Vec<u8>], bad: &[(i64, i64, usize)], context: &str) {
    let all = stored.iter().map(|batch| BatchHeader::read(batch).unwrap().base_offset().0);
    let good: Vec<i64> = all.filter(|base| bad.iter().all(|(bad, ..)| bad != base)).collect();
    assert_eq!(consumed.batches, good, "{context}");
    let failed: Vec<i64> = bad.iter().flat_map(|(base, end, _)| *base..*end).collect();
    assert_eq!(consumed.damaged, failed, "{context}");
}

/// Bytes to flip: all of some headers, and some of all batches.
fn flips(places: &[(i64, i64, usize)], stored: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let mut flips = Vec::new();
    for (index, (.., position)) in places.iter().enumerate() {
        let header = if index % 9 == 4 { 0..batch::HEADER_BYTES } else { 3..4 };
        flips.extend(header.map(|at| (index, position + at)));
        let len = stored[index].len();
        flips.extend([61, len / 2, len - 1].map(|at| (index, position + at)));
    }
    flips
}

#[test]
fn no_byte_that_rots_after_it_was_checked_is_sent() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill(&path).await;
        let segment = path.join(SEGMENT);
        let places = places(&stored, fs::read(&segment).unwrap().len());
        let rotting = Rotting::open(&segment);
        let (store, log, config) = open(&path).await;
        for (bytes_max, step) in [(1 << 20, 2), (12 << 10, 5)] {
            // Each range is read past the page cache first, then sent from it.
            for round in 0..2 {
                let consumed = consume(&log, &stored, bytes_max).await;
                check(&consumed, &stored, &[], "before");
                assert!(round == 0 || consumed.files > 0, "what is read again is sent from the file");
            }
            for (count, (index, at)) in flips(&places, &stored).into_iter().enumerate().step_by(step) {
                let bit = u8::try_from(count % 8).unwrap();
                let counted = config.counters.damaged_batches.get();
                if !rotting.flip(at, bit) {
                    eprintln!("this file system has no disk: nothing is tested");
                    return;
                }
                for reader in 0..2 {
                    let context = format!("byte {at} of batch {index}, bit {bit}, reader {reader}");
                    check(
                        &consume(&log, &stored, bytes_max).await,
                        &stored,
                        &places[index..=index],
                        &context,
                    );
                    assert_eq!(config.counters.damaged_batches.get() - counted, 1, "{context}");
                }
                rotting.flip(at, bit);
                for _ in 0..2 {
                    check(&consume(&log, &stored, bytes_max).await, &stored, &[], "mended");
                }
            }
        }
        store.close().await.unwrap();
    });
}

#[test]
fn the_parts_of_a_large_segment_are_checked_each_for_itself() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill_with(&path, 3_500_000, 600).await;
        let segment = path.join(SEGMENT);
        let places = places(&stored, fs::read(&segment).unwrap().len());
        assert!(places.last().unwrap().2 > 3 << 20, "several windows");
        let rotting = Rotting::open(&segment);
        let (store, log, _) = open_with(&path, 3_500_000).await;
        for bytes_max in [1 << 20, 100_000] {
            for round in 0..2 {
                let consumed = consume(&log, &stored, bytes_max).await;
                check(&consumed, &stored, &[], "before");
                assert!(round == 0 || consumed.files > 3);
            }
            let mut files = 0;
            // Among them the batches that lie across the ends of windows.
            let across = (1..4).map(|window| places.partition_point(|(.., at)| *at <= window << 20) - 1);
            for index in (0..places.len()).step_by(37).chain(across) {
                for at in [places[index].2 + 9, places[index].2 + stored[index].len() - 1] {
                    if !rotting.flip(at, 0) {
                        eprintln!("this file system has no disk: nothing is tested");
                        return;
                    }
                    for _ in 0..2 {
                        let context = format!("byte {at} of batch {index}, {bytes_max} at a time");
                        let consumed = consume(&log, &stored, bytes_max).await;
                        check(&consumed, &stored, &places[index..=index], &context);
                        files += consumed.files;
                    }
                    rotting.flip(at, 0);
                }
            }
            assert!(files > 0, "what is good is sent from the file");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn no_byte_that_rotted_while_the_store_was_down_is_sent() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill(&path).await;
        let segment = path.join(SEGMENT);
        let places = places(&stored, fs::read(&segment).unwrap().len());
        let rotting = Rotting::open(&segment);
        for (count, (index, at)) in flips(&places, &stored).into_iter().enumerate().step_by(7) {
            let bit = u8::try_from(count % 8).unwrap();
            rotting.flip(at, bit);
            // Without its index files, too.
            let without_index = count % 2 == 1;
            if without_index {
                for suffix in ["index", "timeindex"] {
                    let _ = fs::remove_file(segment.with_extension(suffix));
                }
            }
            let (store, log, config) = open(&path).await;
            for reader in 0..3 {
                let context =
                    format!("byte {at} of batch {index}, bit {bit}, reader {reader} {without_index}");
                // What a reader finds in the page cache is sent from there, if it is good.
                fs::read(&segment).unwrap();
                check(&consume(&log, &stored, 200 << 10).await, &stored, &places[index..=index], &context);
                assert_eq!(config.counters.damaged_batches.get(), 1, "{context}");
            }
            store.close().await.unwrap();
            rotting.flip(at, bit);
        }
    });
}

#[test]
fn a_search_by_time_fails_at_damage_and_finds_what_lies_elsewhere() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill(&path).await;
        let segment = path.join(SEGMENT);
        let places = places(&stored, fs::read(&segment).unwrap().len());
        let middle = places.len() / 2;
        let (bad, bad_end, at) = places[middle];
        Rotting::open(&segment).flip(at + 70, 3);
        let (store, log, _) = open(&path).await;
        let end = log.offsets().log_end_offset;
        for (index, (base, ..)) in places.iter().enumerate() {
            // A record's timestamp is its offset.
            match log.offset_for_timestamp(TimestampMs(*base), end).await {
                Ok(found) => {
                    assert_eq!(found, Some((TimestampMs(*base), Offset(*base))));
                    assert!(!(bad..bad_end).contains(base), "it was read out of the damaged batch");
                }
                // Behind the damage up to the next entry of the index, too: the search comes by.
                Err(ReadError::Damaged { .. }) => assert!((middle..middle + 8).contains(&index), "{index}"),
                Err(error) => panic!("{error}"),
            }
        }
        store.close().await.unwrap();
    });
}

/// Shortens the segment to `bytes`, with the store open or not, and has everything read.
fn shortened(bytes: impl Fn(&[(i64, i64, usize)]) -> usize, is_open: bool) {
    let dir = directory();
    let path = dir.path().to_path_buf();
    let stored = run({
        let path = path.clone();
        async move || fill(&path).await
    });
    let segment = path.join(SEGMENT);
    let places = places(&stored, fs::read(&segment).unwrap().len());
    let bytes = bytes(&places);
    let lost: Vec<_> = places
        .iter()
        .enumerate()
        .filter(|(index, (.., at))| at + stored[*index].len() > bytes)
        .map(|(_, place)| *place)
        .collect();
    assert!(!lost.is_empty() && lost.len() < places.len());
    let shorten = move |segment: PathBuf| {
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(u64::try_from(bytes).unwrap()).unwrap();
        file.sync_all().unwrap();
    };
    run(async move || {
        if !is_open {
            shorten(segment.clone());
        }
        let (store, log, _) = open(&path).await;
        if is_open {
            for _ in 0..2 {
                check(&consume(&log, &stored, 1 << 20).await, &stored, &[], "before");
            }
            shorten(segment);
        }
        for _ in 0..3 {
            let consumed = consume(&log, &stored, 1 << 20).await;
            check(&consumed, &stored, &lost, "shortened");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_sealed_segment_that_became_too_short_fails_where_its_batches_are_missing() {
    for is_open in [false, true] {
        shortened(|places| places[places.len() / 2].2 + 30, is_open);
        shortened(|places| places[places.len() - 3].2, is_open);
        shortened(|places| places[places.len() - 1].2 + 100, is_open);
    }
}

#[test]
fn a_segment_that_the_disk_refuses_to_read_fails_alone() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill(&path).await;
        let segment = path.join(SEGMENT);
        let (_, first_end, _) = *places(&stored, fs::read(&segment).unwrap().len()).last().unwrap();
        let (store, log, config) = open(&path).await;
        fs::remove_file(&segment).unwrap();
        let end = log.offsets().log_end_offset;
        let limits = ReadLimits { end, bytes_max: 1 << 20, at_least_one: true };
        for count in 1..3 {
            assert!(matches!(log.read(Offset(0), limits).await, Err(ReadError::Io(_))));
            assert_eq!(config.counters.read_errors.get(), count);
        }
        assert!(!bytes_of(&log.read(Offset(first_end), limits).await.unwrap()).is_empty());
        assert!(log.failure().is_none());
        log.append(produced(end.0, 1, 10), LeaderEpoch(9), TimestampMs(1)).unwrap();
        log.wait_durable(Offset(end.0 + 1)).await.unwrap();
        assert_eq!(config.counters.damaged_batches.get(), 0);
        store.close().await.unwrap();
    });
}

#[test]
fn a_damaged_batch_that_an_index_names_costs_no_new_index() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        let stored = fill(&path).await;
        let segment = path.join(SEGMENT);
        let places = places(&stored, fs::read(&segment).unwrap().len());
        let index = segment.with_extension("index");
        let entries = fs::read(&index).unwrap();
        let named = |entry: usize| {
            let at = entries[entry * 8 + 4..entry * 8 + 8].try_into().unwrap();
            usize::try_from(u32::from_be_bytes(at)).unwrap()
        };
        let rotting = Rotting::open(&segment);
        let inode = fs::metadata(&index).unwrap().ino();
        for entry in [0, 2, entries.len() / 8 - 1] {
            let bad = places.iter().position(|(.., at)| *at == named(entry)).unwrap();
            rotting.flip(named(entry) + 70, 2);
            let (store, log, _) = open(&path).await;
            // It begins where the index leads to.
            let end = log.offsets().log_end_offset;
            let limits = ReadLimits { end, bytes_max: 1 << 20, at_least_one: true };
            let from = Offset(places[bad].1 - 1);
            assert!(matches!(log.read(from, limits).await, Err(ReadError::Damaged { .. })));
            check(&consume(&log, &stored, 1 << 20).await, &stored, &places[bad..=bad], "by the index");
            assert_eq!(fs::metadata(&index).unwrap().ino(), inode, "entry {entry}");
            store.close().await.unwrap();
            rotting.flip(named(entry) + 70, 2);
        }
        // The other way round: the batch is good, and the index is made anew, once.
        let mut spoilt = entries.clone();
        spoilt[2 * 8 + 7] ^= 1;
        fs::write(&index, &spoilt).unwrap();
        let (store, log, config) = open(&path).await;
        let from = Offset(places.iter().find(|(.., at)| *at == named(2)).unwrap().0);
        let end = log.offsets().log_end_offset;
        let limits = ReadLimits { end, bytes_max: 1 << 20, at_least_one: true };
        log.read(from, limits).await.unwrap();
        check(&consume(&log, &stored, 1 << 20).await, &stored, &[], "by a wrong index");
        assert_eq!(config.counters.damaged_batches.get(), 0);
        assert_eq!(fs::read(&index).unwrap(), entries);
        store.close().await.unwrap();
    });
}
