//! What durable appends cost by number of partitions: the journal together with the synced write-behind into segments,
//! without a broker. `cargo bench --package ringmain-storage --bench write_behind -- [--seconds N] [--dir DIR] [CASE...]`
//! prints one line a case (decision record 0014 in `server/docs/adr` has some), CASE being a part of its name.
//!
//! Writers append one batch each, wait until it is durable, and append the next. The floor is what the same number of
//! bytes a second could be: frames of the case's own mean size, written with `RWF_DSYNC`, two in flight, into three
//! pre-written files of the journal's size, nothing else. It is taken right behind each case, on the same disk.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench"
)]

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use nix::sys::resource::{UsageWho, getrusage};
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::real::RealIo;
use ringmain_storage::io::{AlignedBuffer, Io, IoFile, OpenHow, executor};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, PartitionIndex, PartitionKey, TimestampMs, TopicId};

/// Bytes that count as one record.
const RECORD_BYTES: f64 = 100.0;
/// A case ends before its time when so much was appended: the records stay on the disk.
const BYTES_MAX: u64 = 44 << 30;
/// Of the time a case has, the floor gets this part.
const FLOOR_PART: u32 = 10;

/// One line of the table.
#[derive(Clone)]
struct Case {
    name: String,
    partitions: u64,
    /// Nine of ten batches go to one partition in a hundred.
    is_skewed: bool,
    batch_bytes: usize,
    writers: u64,
    store: StoreConfig,
}

/// What a case took.
struct Measured {
    bytes: u64,
    written_bytes: u64,
    elapsed: Duration,
    cpu: Duration,
    waits_us: Vec<u32>,
    group_bytes: usize,
    laps: u64,
}

fn cases() -> Vec<Case> {
    let base = StoreConfig { tail_cache_bytes: 1 << 30, ..StoreConfig::new("") };
    let case = |name: &str, partitions, is_skewed| Case {
        name: name.to_owned(),
        partitions,
        is_skewed,
        batch_bytes: 4 << 10,
        writers: 256,
        store: base.clone(),
    };
    let mut all = vec![
        Case { batch_bytes: 64 << 10, writers: 64, ..case("6 even 64KiB-batches", 6, false) },
        case("6 even", 6, false),
        case("6 skewed", 6, true),
    ];
    for partitions in [1000, 5000] {
        for is_skewed in [false, true] {
            let name = format!("{partitions} {}", if is_skewed { "skewed" } else { "even" });
            all.push(case(&name, partitions, is_skewed));
            let mut without = case(&format!("{name} no-carry"), partitions, is_skewed);
            without.store.carry_laps_max = 0;
            all.push(without);
        }
    }
    let mut varied = |what: &str, set: &dyn Fn(&mut StoreConfig)| {
        let mut case = case(&format!("1000 skewed {what}"), 1000, true);
        set(&mut case.store);
        all.push(case);
    };
    for mebibytes in [8, 128] {
        varied(&format!("file={mebibytes}MiB"), &|store| store.journal_file_bytes = mebibytes << 20);
    }
    for kibibytes in [4, 64] {
        varied(&format!("carry={kibibytes}KiB"), &|store| store.carry_bytes_max = kibibytes << 10);
    }
    for laps in [1, 16] {
        varied(&format!("laps={laps}"), &|store| store.carry_laps_max = laps);
    }
    for kibibytes in [256, 512, 4096] {
        varied(&format!("behind={kibibytes}KiB"), &|store| store.write_behind_bytes = kibibytes << 10);
    }
    all
}

fn main() {
    let (mut seconds, mut root, mut wanted) = (60, std::env::temp_dir(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            "--dir" => root = PathBuf::from(arguments.next().unwrap()),
            _ => wanted.push(argument),
        }
    }
    let is_wanted = |case: &Case| wanted.is_empty() || wanted.iter().any(|part| case.name.contains(part));
    println!(
        "| case | k records/s | MB/s | CPU s/M records | wait p50 ms | p99 ms | disk bytes ÷ bytes | group KiB | laps | \
         floor MB/s | of floor |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for case in cases().into_iter().filter(is_wanted) {
        let dir = tempfile::TempDir::new_in(&root).unwrap();
        let time = Duration::from_secs(seconds);
        let (name, at) = (case.name.clone(), dir.path().to_path_buf());
        let file_bytes = case.store.journal_file_bytes;
        let measured = executor::block_on(None, run(case, at.clone(), time)).unwrap();
        let floor = executor::block_on(None, floor(&at, &measured, (file_bytes, time / FLOOR_PART))).unwrap();
        tell(&name, measured, floor);
    }
}

fn tell(name: &str, mut measured: Measured, floor: f64) {
    measured.waits_us.sort_unstable();
    let part = |percent: usize| {
        let at = (measured.waits_us.len() * percent / 100).min(measured.waits_us.len() - 1);
        f64::from(measured.waits_us[at]) / 1000.0
    };
    let (bytes, seconds) = (measured.bytes as f64, measured.elapsed.as_secs_f64());
    let records = bytes / RECORD_BYTES;
    println!(
        "| {name} | {:.0} | {:.0} | {:.4} | {:.2} | {:.2} | {:.2} | {} | {} | {:.0} | {:.2} |",
        records / seconds / 1e3,
        bytes / seconds / 1e6,
        measured.cpu.as_secs_f64() / records * 1e6,
        part(50),
        part(99),
        measured.written_bytes as f64 / bytes,
        measured.group_bytes >> 10,
        measured.laps,
        floor,
        bytes / seconds / 1e6 / floor,
    );
}

/// A batch of one record.
fn template(bytes: usize) -> BytesMut {
    let value = vec![b'x'; bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

/// Picks partitions, the same way in every run.
struct Picker {
    state: u64,
    partitions: u64,
    is_skewed: bool,
}

impl Picker {
    fn next(&mut self) -> usize {
        let mut draw = |below: u64| {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.state % below
        };
        let among =
            if self.is_skewed && draw(10) > 0 { (self.partitions / 100).max(1) } else { self.partitions };
        usize::try_from(draw(among)).unwrap()
    }
}

async fn run(case: Case, dir: PathBuf, time: Duration) -> Measured {
    let io = RealIo::new().unwrap();
    let config = StoreConfig { log_dir: dir, ..case.store };
    let counters = std::sync::Arc::clone(&config.counters);
    let file_bytes = config.journal_file_bytes;
    let (store, _) = LogManager::open(io, config).await.unwrap();
    let mut logs: Vec<Rc<Log<RealIo>>> = Vec::new();
    for partition in 0..i32::try_from(case.partitions).unwrap() {
        let key = PartitionKey { topic_id: TopicId([1; 16]), partition: PartitionIndex(partition) };
        logs.push(store.create_log(key, "bench", LogConfig::default()).await.unwrap());
    }
    let batch = template(case.batch_bytes);
    let picker = RefCell::new(Picker {
        state: 0x9e37_79b9_7f4a_7c15,
        partitions: case.partitions,
        is_skewed: case.is_skewed,
    });
    let (bytes, waits) = (Cell::new(0), RefCell::new(Vec::new()));
    let (cpu, disk, began) = (cpu_time(), written_bytes(), Instant::now());
    let (groups, framed) = (groups(&counters), counters.journal_copied_bytes.get());
    let mut writers: FuturesUnordered<_> = (0..case.writers)
        .map(|_| async {
            while began.elapsed() < time && bytes.get() < BYTES_MAX {
                let log = &logs[picker.borrow_mut().next()];
                log.room().await.unwrap();
                let sent = Instant::now();
                log.append(batch.clone(), LeaderEpoch(0), TimestampMs(0)).unwrap();
                log.wait_durable(log.offsets().log_end_offset).await.unwrap();
                waits.borrow_mut().push(u32::try_from(sent.elapsed().as_micros()).unwrap());
                bytes.set(bytes.get() + u64::try_from(batch.len()).unwrap());
            }
        })
        .collect();
    while writers.next().await.is_some() {}
    drop(writers);
    let framed = counters.journal_copied_bytes.get() - framed;
    let measured = Measured {
        bytes: bytes.get(),
        written_bytes: written_bytes() - disk,
        elapsed: began.elapsed(),
        cpu: cpu_time().saturating_sub(cpu),
        waits_us: waits.take(),
        group_bytes: usize::try_from(framed / (groups_since(&counters, groups)).max(1)).unwrap(),
        laps: framed / (3 * file_bytes),
    };
    store.close().await.unwrap();
    measured
}

fn groups(counters: &ringmain_storage::counters::StoreCounters) -> u64 {
    counters.group_batches.buckets().iter().sum()
}

fn groups_since(counters: &ringmain_storage::counters::StoreCounters, before: u64) -> u64 {
    groups(counters) - before
}

/// MB/s of bare durable writes of the same size.
async fn floor(dir: &Path, measured: &Measured, (file_bytes, time): (u64, Duration)) -> f64 {
    let io = RealIo::new().unwrap();
    let bytes = measured.group_bytes.next_multiple_of(4096);
    let step = u64::try_from(bytes).unwrap();
    let mut files = Vec::new();
    for number in 0..3 {
        let file = io.open(&dir.join(format!("floor-{number}")), OpenHow::Create).await.unwrap();
        for at in 0..file_bytes >> 20 {
            file.write_at(AlignedBuffer::zeroed(1 << 20), at << 20).await.unwrap();
        }
        file.sync().await.unwrap();
        files.push(file);
    }
    let (next, began) = (Cell::new(0_u64), Instant::now());
    let writers: FuturesUnordered<_> = (0..2)
        .map(|_| async {
            let mut buffer = AlignedBuffer::zeroed(bytes);
            buffer.fill(7);
            while began.elapsed() < time {
                let number = next.replace(next.get() + 1);
                let at = number * step % (3 * file_bytes);
                let within = (at % file_bytes).min(file_bytes - step);
                let file = &files[usize::try_from(at / file_bytes).unwrap()];
                buffer = file.write_durable_at(buffer, within / 4096 * 4096).await.unwrap();
            }
        })
        .collect();
    writers.collect::<Vec<()>>().await;
    (next.get() * step) as f64 / began.elapsed().as_secs_f64() / 1e6
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Bytes that this process had written to the device.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}
