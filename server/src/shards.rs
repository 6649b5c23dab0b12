//! All shards together: started side by side, opened, settled and stopped in step. Runs on the main thread.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use ringmain_storage::config::StoreConfig;
use ringmain_storage::manager::RecoveryReport;
use ringmain_storage::manager::stopping::StoppedLogs;
use ringmain_storage::types::{ShardSlot, TopicId};

use crate::control::ControllerClient;
use crate::counters::ShardCounters;
use crate::handler::Settings;
use crate::metadata::request::ImageUpdate;
use crate::metadata::store::MetadataStore;
use crate::net::NetLimits;
use crate::net::handover::Peers;
use crate::runtime::host;
use crate::runtime::router::routers;
use crate::shard::{self, Outcome, ShardConfig, ShardHandle, ShardParts, Step};

/// What all shards have in common.
#[derive(Debug)]
pub struct ShardsConfig {
    /// What each counts: one a shard, at least one.
    pub counters: Vec<Arc<ShardCounters>>,
    /// Log directories.
    pub log_dirs: Vec<PathBuf>,
    /// Limits of all stores together; they share its memory.
    pub store: StoreConfig,
    /// Limits of connections.
    pub net: NetLimits,
    /// What handlers need to know.
    pub settings: Settings,
    /// The published metadata.
    pub metadata: Arc<MetadataStore>,
    /// Who changes them.
    pub controller: ControllerClient,
}

/// The running shards.
#[derive(Debug)]
pub struct Shards {
    log_dirs: Vec<PathBuf>,
    running: Vec<(mpsc::UnboundedSender<Step>, ShardHandle)>,
}

impl Shards {
    /// Starts the threads and opens all logs; returns when every acknowledged record is readable and nothing
    /// needs the journals of the last run. The error is for the operator.
    pub fn open(config: &ShardsConfig) -> Result<(Self, Vec<RecoveryReport>), String> {
        let cpus = allowed_cpus();
        let mut shards = Self { log_dirs: config.log_dirs.clone(), running: Vec::new() };
        let count = config.counters.len();
        let counts: Arc<[AtomicUsize]> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        let image = config.metadata.image();
        let ids = image.topics().map(|topic| (topic.name.to_string(), topic.id));
        let topic_ids = Arc::new(ids.collect());
        let ends = routers(count).into_iter().zip(routers(count)).zip(&config.counters);
        for (index, (((router, inbox), (net_router, net_inbox)), counters)) in ends.enumerate() {
            let (steps, received) = mpsc::unbounded();
            let cpu = (!cpus.is_empty()).then(|| cpus[index % cpus.len()]);
            let parts = ShardParts {
                router,
                inbox,
                peers: Peers::new(net_router, Arc::clone(&counts)),
                net_inbox,
                limits: config.net.of_shard(count),
                settings: config.settings.clone(),
                metadata: Arc::clone(&config.metadata),
                controller: config.controller.clone(),
                counters: Arc::clone(counters),
            };
            let stores = stores(config, (index, &topic_ids));
            let config = ShardConfig { stores, parts, steps: received };
            shards.running.push((steps, shard::start(cpu, config)?));
        }
        let mut surveys = shards.first(Step::Survey)?;
        let reports = shards.all(|_, outcome| Step::Open(surveys.clone(), outcome))?;
        for (index, survey) in surveys.iter_mut().enumerate() {
            let mut of_directory = reports.iter().filter_map(|shard: &Vec<RecoveryReport>| shard.get(index));
            survey.keeps_journals = of_directory.any(RecoveryReport::keeps_journals);
        }
        shards.first(|outcome| Step::Settle(surveys, outcome))?;
        Ok((shards, reports.into_iter().flatten().collect()))
    }

    /// Begins to accept and to answer.
    pub fn serve(
        &self,
        listeners: Vec<TcpListener>,
        updates: mpsc::Receiver<ImageUpdate>,
    ) -> Result<(), String> {
        // Whoever is accepted may ask for any shard's partitions at once.
        self.all(|_, outcome| Step::Lead(outcome))?;
        self.first(|outcome| Step::Serve(listeners, updates, outcome))
    }

    /// The clean stop. A log directory whose disk failed is left as after a crash, and reported.
    pub fn stop(mut self) -> Result<(), String> {
        self.all(|_, outcome| Step::Drain(outcome))?;
        let stopped = self.all(|_, outcome| Step::Stop(outcome))?;
        let mut directories: BTreeMap<usize, Result<Vec<StoppedLogs>, String>> = BTreeMap::new();
        for (index, logs) in stopped.into_iter().flat_map(|shard| shard.into_iter().enumerate()) {
            let directory = directories.entry(index).or_insert_with(|| Ok(Vec::new()));
            match (&mut *directory, logs) {
                (Ok(all), Ok(logs)) => all.push(logs),
                (Ok(_), Err(problem)) => *directory = Err(problem),
                (Err(_), _) => {}
            }
        }
        let mut problems = Vec::new();
        let mut clean = Vec::new();
        for (path, result) in self.log_dirs.iter().zip(directories.into_values()) {
            match result {
                Ok(stopped) => clean.push((path.clone(), stopped)),
                Err(problem) => problems.push(format!("{}: {problem}", path.display())),
            }
        }
        self.first(|outcome| Step::Finish(clean, outcome))?;
        for (steps, handle) in std::mem::take(&mut self.running) {
            drop(steps);
            handle.join().map_err(|_| "a shard failed".to_owned())?;
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(format!("the clean stop failed, the next start will recover: {}", problems.join("; ")))
    }

    fn first<T>(&self, step: impl FnOnce(Outcome<T>) -> Step) -> Result<T, String> {
        let (outcome, done) = oneshot::channel();
        if let Some((steps, _)) = self.running.first() {
            // A shard that has ended drops the step, and with it the sender.
            drop(steps.unbounded_send(step(outcome)));
        }
        block_on(done).map_err(|_| ended())?
    }

    /// Has all shards take a step side by side; what came of it, by shard, or the first problem.
    fn all<T>(&self, mut step: impl FnMut(usize, Outcome<T>) -> Step) -> Result<Vec<T>, String> {
        let mut waiting = Vec::new();
        for (index, (steps, _)) in self.running.iter().enumerate() {
            let (outcome, done) = oneshot::channel();
            drop(steps.unbounded_send(step(index, outcome)));
            waiting.push(done);
        }
        let done: Vec<Result<T, String>> =
            waiting.into_iter().map(|done| block_on(done).unwrap_or_else(|_| Err(ended()))).collect();
        done.into_iter().collect()
    }
}

fn ended() -> String {
    "a shard ended before it was done; the log above says why".to_owned()
}

/// The stores of one shard: memory and descriptors are shared evenly.
fn stores(
    config: &ShardsConfig,
    (index, topic_ids): (usize, &Arc<BTreeMap<String, TopicId>>),
) -> Vec<StoreConfig> {
    let slot = ShardSlot {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        count: u32::try_from(config.counters.len()).unwrap_or(u32::MAX),
    };
    let share = config.counters.len() * config.log_dirs.len();
    // A segment that is read has two descriptors: so half of all are left to connections.
    let open_segments = usize::try_from(host::descriptors() / 4).unwrap_or(usize::MAX).max(share);
    let of = |log_dir: &PathBuf| StoreConfig {
        log_dir: log_dir.clone(),
        slot,
        topic_ids: Some(Arc::clone(topic_ids)),
        other_log_dirs: config.settings.log_dirs.iter().filter(|other| *other != log_dir).cloned().collect(),
        counters: config.counters.get(index).map(|shard| Arc::clone(&shard.store)).unwrap_or_default(),
        tail_cache_bytes: config.store.tail_cache_bytes / share,
        open_segments_max: open_segments / share,
        index_bytes_max: config.store.index_bytes_max / share,
        ..config.store.clone()
    };
    config.log_dirs.iter().map(of).collect()
}

/// The CPUs this process may use, the last ones first: the first ones take most interrupts.
fn allowed_cpus() -> Vec<usize> {
    let Ok(allowed) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    (0..nix::sched::CpuSet::count()).rev().filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect()
}

/// How many shards there are when nobody says: one CPU of those this process may use is left to the kernel's network and
/// disk work, the control plane and whatever else runs there (decision record 0011).
pub fn shard_count_default() -> usize {
    allowed_cpus().len().saturating_sub(1).max(1)
}
