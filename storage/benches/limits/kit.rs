//! What the benches of [`super`] share: stores to measure, and pairs of medians with their ratio.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::io::executor;
use ringmain_storage::io::real::RealIo;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{PartitionIndex, PartitionKey, TopicId};

/// Runs on an executor of its own. What is left when it ends is dropped, as by a kill.
pub(super) fn run<T>(what: impl Future<Output = T>) -> T {
    executor::block_on(None, what).unwrap()
}

/// Opens or makes a store.
pub(super) async fn open(dir: &Path, config: StoreConfig) -> Rc<LogManager<RealIo>> {
    fs::create_dir_all(dir).unwrap();
    let config = StoreConfig { log_dir: dir.to_path_buf(), ..config };
    LogManager::open(RealIo::new().unwrap(), config).await.unwrap().0
}

/// Makes logs, or finds those that are there.
pub(super) async fn create_logs(store: &LogManager<RealIo>, count: i32) -> Vec<Rc<Log<RealIo>>> {
    let mut logs = Vec::new();
    for partition in 0..count {
        let key = PartitionKey { topic_id: TopicId([1; 16]), partition: PartitionIndex(partition) };
        logs.push(store.create_log(key, "bench", LogConfig::default()).await.unwrap());
    }
    logs
}

/// A batch of one record.
pub(super) fn a_batch(bytes: usize) -> BytesMut {
    let value = vec![b'x'; bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

/// Copies a directory and all in it.
pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All journal files in a directory.
pub(super) fn journal_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(journal_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "journal") {
            found.push(path);
        }
    }
    found
}

/// What was measured: for each pair the microseconds of one round, by sample.
#[derive(Default)]
pub(super) struct Pairs {
    measured: Vec<(String, [Vec<f64>; 2])>,
}

impl Pairs {
    /// Measures the engine and the machine, each told how many rounds to do and saying how long they took.
    pub(super) fn measure(
        &mut self,
        criterion: &mut Criterion,
        (name, throughput): (&str, Throughput),
        mut engine: impl FnMut(u64) -> Duration,
        mut machine: impl FnMut(u64) -> Duration,
    ) {
        let mut samples = [Vec::new(), Vec::new()];
        let mut group = criterion.benchmark_group(name);
        group.throughput(throughput);
        let [of_engine, of_machine] = &mut samples;
        group.bench_function("engine", |bencher| {
            bencher.iter_custom(|rounds| noted(of_engine, rounds, engine(rounds)));
        });
        group.bench_function("machine", |bencher| {
            bencher.iter_custom(|rounds| noted(of_machine, rounds, machine(rounds)));
        });
        group.finish();
        self.measured.push((name.to_owned(), samples));
    }

    /// One line a pair that was measured as a whole.
    pub(super) fn print(mut self) {
        println!("| | engine µs | machine µs | engine ÷ machine |\n|---|---|---|---|");
        for (name, samples) in &mut self.measured {
            if let [Some(engine), Some(machine)] = samples.each_mut().map(|of| median(of)) {
                println!("| {name} | {engine:.3} | {machine:.3} | {:.2} |", engine / machine);
            }
        }
    }
}

fn noted(samples: &mut Vec<f64>, rounds: u64, spent: Duration) -> Duration {
    samples.push(spent.as_secs_f64() * 1e6 / rounds as f64);
    spent
}

fn median(samples: &mut [f64]) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}
