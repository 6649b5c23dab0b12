//! The engine's own steps, each beside what the machine does at its best with the same bytes, in the same run:
//! `cargo bench --package ringmain-storage --bench limits -- [--quick] [NAME]`. How to read it: `storage/docs/benches.md`.
//!
//! Every pair is two criterion benches, `NAME/engine` and `NAME/machine`; at the end stands one line a pair with their
//! medians and the ratio. Files are made in the system's directory for temporary ones (`TMPDIR`).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench"
)]

#[path = "limits/kit.rs"]
mod kit;

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures::future::join_all;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ringmain_storage::config::StoreConfig;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::io::{AlignedBuffer, Io, IoFile, OpenHow};
use ringmain_storage::journal::frame::frame_bytes;
use ringmain_storage::log::Log;
use ringmain_storage::segment::offset_index::OffsetIndex;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, Position, TimestampMs};

use kit::{Pairs, a_batch, create_logs, open, run};

/// Batches appended before anybody waits: those of a busy producer's request.
const BURST: usize = 64;
/// Bytes of a journal file, and of a pass through a log.
const PASS_BYTES: usize = 32 << 20;
/// Bytes of one fetch.
const FETCH_BYTES: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut pairs = Pairs::default();
    append(&mut criterion, &mut pairs);
    group_commit(&mut criterion, &mut pairs);
    read_warm(&mut criterion, &mut pairs);
    read_cold(&mut criterion, &mut pairs);
    recovery(&mut criterion, &mut pairs);
    index_lookup(&mut criterion, &mut pairs);
    criterion.final_summary();
    pairs.print();
}

fn bytes(count: usize) -> Throughput {
    Throughput::Bytes(u64::try_from(count).unwrap())
}

/// Appends, up to the journal's queue and without the journal; beside a copy of the same bytes.
fn append(criterion: &mut Criterion, pairs: &mut Pairs) {
    let dir = tempfile::tempdir().unwrap();
    let batch = a_batch(1 << 10);
    let engine = |rounds| {
        run(async {
            let store = open(&dir.path().join("append"), StoreConfig::new("")).await;
            let log = &create_logs(&store, 1).await[0];
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let burst = vec![batch.clone(); BURST];
                let began = Instant::now();
                for batch in burst {
                    log.append(batch, LeaderEpoch(0), TimestampMs(0)).unwrap();
                }
                spent += began.elapsed();
                settle(log).await;
            }
            store.close().await.unwrap();
            spent
        })
    };
    let machine = |rounds| {
        let (from, mut to) = (vec![batch.clone(); BURST], vec![vec![0_u8; batch.len()]; BURST]);
        let began = Instant::now();
        for _ in 0..rounds {
            for (from, to) in from.iter().zip(&mut to) {
                black_box(to).copy_from_slice(black_box(from));
            }
        }
        began.elapsed()
    };
    pairs.measure(criterion, ("append", bytes(BURST * batch.len())), engine, machine);
}

async fn settle(log: &Rc<Log<RealIo>>) {
    log.wait_durable(log.offsets().log_end_offset).await.unwrap();
    log.room().await.unwrap();
}

/// Batches of as many partitions until all are durable; beside one bare durable write of the frame they make.
fn group_commit(criterion: &mut Criterion, pairs: &mut Pairs) {
    let dir = tempfile::tempdir().unwrap();
    let batch = a_batch(4 << 10);
    let frame = frame_bytes(BURST, BURST * batch.len());
    let engine = |rounds| {
        run(async {
            let store = open(&dir.path().join("commit"), StoreConfig::new("")).await;
            let logs = create_logs(&store, i32::try_from(BURST).unwrap()).await;
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                join_all(logs.iter().map(|log| log.room())).await;
                let burst = vec![batch.clone(); BURST];
                let began = Instant::now();
                for (log, batch) in logs.iter().zip(burst) {
                    log.append(batch, LeaderEpoch(0), TimestampMs(0)).unwrap();
                }
                join_all(logs.iter().map(|log| log.wait_durable(log.offsets().log_end_offset))).await;
                spent += began.elapsed();
            }
            store.close().await.unwrap();
            spent
        })
    };
    let path = dir.path().join("bare");
    let machine = |rounds| {
        run(async {
            let io = RealIo::new().unwrap();
            if !path.exists() {
                fs::write(&path, vec![1; PASS_BYTES]).unwrap();
                File::open(&path).unwrap().sync_all().unwrap();
            }
            let file = io.open(&path, OpenHow::ReadWrite).await.unwrap();
            let (mut buffer, mut at) = (AlignedBuffer::zeroed(frame), 0);
            let began = Instant::now();
            for _ in 0..rounds {
                at = if at + 2 * frame > PASS_BYTES { 0 } else { at + frame };
                buffer = file.write_durable_at(buffer, u64::try_from(at).unwrap()).await.unwrap();
            }
            began.elapsed()
        })
    };
    pairs.measure(criterion, ("group commit", bytes(BURST * batch.len())), engine, machine);
}

/// A log in one segment that a clean stop left, and its file.
fn filled(root: &Path) -> PathBuf {
    let dir = root.join("filled");
    run(async {
        let store = open(&dir, StoreConfig::new("")).await;
        let log = &create_logs(&store, 1).await[0];
        let batch = a_batch(16 << 10);
        for _ in 0..PASS_BYTES / batch.len() {
            log.append(batch.clone(), LeaderEpoch(0), TimestampMs(0)).unwrap();
            settle(log).await;
        }
        store.close().await.unwrap();
    });
    dir
}

fn segment_of(dir: &Path) -> PathBuf {
    dir.join("bench-0/00000000000000000000.log")
}

/// Reads a log from its begin to its end by fetches, and what they gave as a socket's buffer would get it.
async fn read_through(log: &Rc<Log<RealIo>>, out: &mut [u8]) {
    let end = log.offsets().log_end_offset;
    let mut from = Offset(0);
    while from < end {
        let limits = ReadLimits { end, bytes_max: FETCH_BYTES, at_least_one: true };
        let fetched = log.read(from, limits).await.unwrap();
        for slice in &fetched.slices {
            match slice {
                Slice::Memory(bytes) => out[..bytes.len()].copy_from_slice(bytes),
                Slice::File { descriptor, position, len } => {
                    let file = File::from(descriptor.try_clone().unwrap());
                    file.read_exact_at(&mut out[..*len], *position).unwrap();
                }
            }
        }
        black_box(&mut *out);
        from = fetched.end;
    }
}

/// A pass through a log that lies in the page cache; beside `pread` of the same file from there.
fn read_warm(criterion: &mut Criterion, pairs: &mut Pairs) {
    let root = tempfile::tempdir().unwrap();
    let dir = filled(root.path());
    let engine = |rounds| {
        run(async {
            let config = StoreConfig { tail_cache_bytes: 1 << 20, ..StoreConfig::new("") };
            let store = open(&dir, config).await;
            let log = &create_logs(&store, 1).await[0];
            let mut out = vec![0; 2 * FETCH_BYTES];
            for _ in 0..2 {
                // Read past the page cache first, then brought into it and checked.
                read_through(log, &mut out).await;
            }
            let began = Instant::now();
            for _ in 0..rounds {
                read_through(log, &mut out).await;
            }
            let spent = began.elapsed();
            store.close().await.unwrap();
            spent
        })
    };
    let machine = |rounds| {
        let (file, mut out) = (File::open(segment_of(&dir)).unwrap(), vec![0; FETCH_BYTES]);
        let mut pass = || {
            let mut at = 0;
            while let Ok(count @ 1..) = file.read_at(&mut out, at) {
                black_box(&mut out);
                at += u64::try_from(count).unwrap();
            }
        };
        pass();
        let began = Instant::now();
        (0..rounds).for_each(|_| pass());
        began.elapsed()
    };
    pairs.measure(criterion, ("read warm", bytes(PASS_BYTES)), engine, machine);
}

/// The first pass through a log after a start; beside direct reads of the same file, one after the other.
fn read_cold(criterion: &mut Criterion, pairs: &mut Pairs) {
    let root = tempfile::tempdir().unwrap();
    let dir = filled(root.path());
    let engine = |rounds| {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            let file = File::open(segment_of(&dir)).unwrap();
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
            spent += run(async {
                let store = open(&dir, StoreConfig::new("")).await;
                let log = &create_logs(&store, 1).await[0];
                let mut out = vec![0; 2 * FETCH_BYTES];
                let began = Instant::now();
                read_through(log, &mut out).await;
                let spent = began.elapsed();
                store.close().await.unwrap();
                spent
            });
        }
        spent
    };
    let machine = |rounds| run(read_files(vec![segment_of(&dir)], rounds));
    pairs.measure(criterion, ("read cold", bytes(PASS_BYTES)), engine, machine);
}

/// Direct reads of whole files, as large as a fetch.
async fn read_files(paths: Vec<PathBuf>, rounds: u64) -> Duration {
    let io = RealIo::new().unwrap();
    let began = Instant::now();
    for _ in 0..rounds {
        for path in &paths {
            let file = io.open(path, OpenHow::Read).await.unwrap();
            let size = file.size().await.unwrap();
            for at in (0..size).step_by(FETCH_BYTES) {
                black_box(file.read_at(at, FETCH_BYTES).await.unwrap());
            }
        }
    }
    began.elapsed()
}

/// A start after the process was killed with a full file of the journal that no segment has; beside direct reads of the
/// journal's files.
fn recovery(criterion: &mut Criterion, pairs: &mut Pairs) {
    const PARTITIONS: i32 = 64;
    let root = tempfile::tempdir().unwrap();
    let (killed, copy) = (root.path().join("killed"), root.path().join("copy"));
    run(async {
        let config = StoreConfig { write_behind_bytes: u64::MAX, ..StoreConfig::new("") };
        let store = open(&killed, config).await;
        let logs = create_logs(&store, PARTITIONS).await;
        let batch = a_batch(16 << 10);
        for number in 0..PASS_BYTES * 7 / 8 / batch.len() {
            let log = &logs[number % logs.len()];
            log.append(batch.clone(), LeaderEpoch(0), TimestampMs(0)).unwrap();
            settle(log).await;
        }
        // Neither the store nor its tasks are told that this is the end.
    });
    let engine = |rounds| {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            kit::copy_directory(&killed, &copy);
            spent += run(async {
                let began = Instant::now();
                let store = open(&copy, StoreConfig::new("")).await;
                assert_eq!(store.log_count(), usize::try_from(PARTITIONS).unwrap());
                began.elapsed()
            });
            fs::remove_dir_all(&copy).unwrap();
        }
        spent
    };
    let machine = |rounds| run(read_files(kit::journal_files(&killed), rounds));
    pairs.measure(criterion, ("recovery", bytes(PASS_BYTES * 7 / 8)), engine, machine);
}

/// Lookups in the index of a 1 GiB segment; beside a binary search of as many pairs.
fn index_lookup(criterion: &mut Criterion, pairs: &mut Pairs) {
    const ENTRIES: i32 = 1 << 18;
    let mut index = OffsetIndex::new(Offset(0));
    let mut plain: Vec<(i32, i32)> = Vec::new();
    for number in 1..=ENTRIES {
        index
            .append(Offset(i64::from(number) * 41), Position(u64::from(number.unsigned_abs()) * 4096))
            .unwrap();
        plain.push((number * 41, number));
    }
    let places =
        || (0..).map(|number: u64| i32::try_from(number.wrapping_mul(0x9e37_79b9) % (41 << 18)).unwrap());
    let engine = |rounds: u64| {
        let began = Instant::now();
        for place in places().take(usize::try_from(rounds).unwrap()) {
            black_box(index.lookup(Offset(i64::from(black_box(place)))));
        }
        began.elapsed()
    };
    let machine = |rounds: u64| {
        let began = Instant::now();
        for place in places().take(usize::try_from(rounds).unwrap()) {
            let place = black_box(place);
            black_box(plain.partition_point(|(offset, _)| *offset <= place));
        }
        began.elapsed()
    };
    pairs.measure(criterion, ("index lookup", Throughput::Elements(1)), engine, machine);
}
