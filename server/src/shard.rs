//! One shard: an executor pinned to a core, with its logs, its broker and its connections.
//!
//! Shards start and stop in step, led by [`crate::start`]: each [`Step`] is taken by all before the next begins,
//! since journals are declared dead only when every shard has read them, and a clean stop is one only when
//! every shard has stopped.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::abort;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::{join_all, try_join_all};
use ringmain_storage::config::StoreConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::executor::{self, Pinned};
use ringmain_storage::io::real::RealIo;
use ringmain_storage::journal::directories::{Survey, survey};
use ringmain_storage::manager::opening::finish_open;
use ringmain_storage::manager::stopping::{StoppedLogs, finish_stop};
use ringmain_storage::manager::{LogManager, RecoveryReport};

use crate::control::ControllerClient;
use crate::counters::ShardCounters;
use crate::handler::{Broker, BrokerParts, Settings};
use crate::metadata::request::ImageUpdate;
use crate::metadata::store::MetadataStore;
use crate::net::handover::Peers;
use crate::net::{Net, NetLimits, NetParts};
use crate::partition::Stores;
use crate::runtime::router::{Inbox, Router};

/// How long a clean stop waits for connections to take their answers.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// The broker as a real shard has it.
pub type ShardBroker = Broker<RealIo>;
/// Its connections.
pub type ShardNet = Net<RealIo>;

/// All a shard is given.
#[derive(Debug)]
pub struct ShardConfig {
    /// Places and limits of its stores, one a log directory.
    pub stores: Vec<StoreConfig>,
    /// What is put around its logs once they are open.
    pub parts: ShardParts,
    /// What to do, in order. Once the sender is gone the shard ends as it is.
    pub steps: mpsc::UnboundedReceiver<Step>,
}

/// What a shard is made of beside its logs.
#[derive(Debug)]
pub struct ShardParts {
    /// The way to the other shards.
    pub router: Router<ShardBroker>,
    /// Where their work comes in.
    pub inbox: Inbox<ShardBroker>,
    /// The way of connections to the other shards.
    pub peers: Peers<ShardNet>,
    /// Where they come in.
    pub net_inbox: Inbox<ShardNet>,
    /// Limits of its connections.
    pub limits: NetLimits,
    /// What its handlers need to know.
    pub settings: Settings,
    /// The published metadata.
    pub metadata: Arc<MetadataStore>,
    /// Who changes them.
    pub controller: ControllerClient,
    /// What it counts.
    pub counters: Arc<ShardCounters>,
}

/// What came of a step; the text says what went wrong.
pub type Outcome<T> = oneshot::Sender<Result<T, String>>;

/// One step of a shard's life.
#[derive(Debug)]
pub enum Step {
    /// Find the journals of every log directory. One shard does it for all.
    Survey(Outcome<Vec<Survey>>),
    /// Open this shard's logs.
    Open(Vec<Survey>, Outcome<Vec<RecoveryReport>>),
    /// Declare the old journals dead. One shard does it for all.
    Settle(Vec<Survey>, Outcome<()>),
    /// Lead the partitions that the metadata give to this shard.
    Lead(Outcome<()>),
    /// Accept from these sockets, and hand on the updates, for all shards. The first one does it, once all lead.
    Serve(Vec<TcpListener>, mpsc::Receiver<ImageUpdate>, Outcome<()>),
    /// Answer what is in flight and take nothing new.
    Drain(Outcome<()>),
    /// Write everything out; where the logs of each directory ended, unless that directory failed.
    Stop(Outcome<Vec<Result<StoppedLogs, String>>>),
    /// Mark these directories as cleanly stopped. One shard does it for all.
    Finish(Vec<(std::path::PathBuf, Vec<StoppedLogs>)>, Outcome<()>),
}

/// A started shard.
pub type ShardHandle = thread::JoinHandle<()>;

/// Starts the shard's thread, on one CPU if any is named. The error says what to do.
pub fn start(cpu: Option<usize>, config: ShardConfig) -> Result<ShardHandle, String> {
    let name = format!("shard-{}", config.parts.router.me());
    let started = thread::Builder::new().name(name.clone()).spawn(move || {
        // The CPU may have been taken from this process since it was looked for.
        let pinned = cpu.and_then(|cpu| Pinned::to(cpu).ok());
        let ran = catch_unwind(AssertUnwindSafe(|| executor::block_on(pinned.as_ref(), run(config))));
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the shard's executor cannot start: {error}"),
            Err(_) => {
                tracing::error!("a shard has failed, and the broker with it: the next start recovers");
                abort();
            }
        }
    });
    started.map_err(|error| format!("the thread {name} cannot start: {error}"))
}

async fn run(config: ShardConfig) {
    let ShardConfig { stores, parts, mut steps } = config;
    let io = match RealIo::new() {
        Ok(io) => io,
        Err(error) => {
            // The first step fails with it.
            tracing::error!("file I/O cannot be set up: {error}");
            return;
        }
    };
    let mut parts = Some(parts);
    let mut serving: Option<Serving> = None;
    while let Some(step) = steps.next().await {
        match step {
            Step::Survey(outcome) => {
                let surveys = stores.iter().map(|store| survey(&io, &store.log_dir));
                tell(outcome, try_join_all(surveys).await);
            }
            Step::Open(surveys, outcome) => {
                let Some(parts) = parts.take() else { return };
                match open(&io, &stores, &surveys, parts).await {
                    Ok((opened, reports)) => {
                        serving = Some(opened);
                        tell(outcome, Ok::<_, String>(reports));
                    }
                    Err(problem) => tell(outcome, Err(problem)),
                }
            }
            Step::Settle(surveys, outcome) => {
                let settling = stores
                    .iter()
                    .zip(&surveys)
                    .map(|(store, survey)| finish_open(&io, &store.log_dir, survey));
                tell(outcome, try_join_all(settling).await.map(drop));
            }
            Step::Lead(outcome) => {
                let Some((broker, _)) = &serving else { return };
                tell(outcome, broker.open_partitions().await.map(drop));
            }
            Step::Serve(listeners, updates, outcome) => {
                let Some((broker, net)) = &serving else { return };
                io.spawn(announce_all(Rc::clone(broker), updates));
                for listener in listeners {
                    net.accept_on(listener);
                }
                tell(outcome, Ok::<_, String>(()));
            }
            Step::Drain(outcome) => {
                let Some((broker, net)) = &serving else { return };
                let drained = std::pin::pin!(net.drain(DRAIN_PATIENCE));
                broker.stop_waiting();
                drained.await;
                tell(outcome, Ok::<_, String>(()));
            }
            Step::Stop(outcome) => {
                let Some((broker, _)) = &serving else { return };
                let stopped = broker.stop_stores().await;
                let stopped = stopped.into_iter().map(|stopped| stopped.map_err(|error| error.to_string()));
                tell(outcome, Ok::<_, String>(stopped.collect()));
            }
            Step::Finish(directories, outcome) => {
                let finishing = directories.iter().map(|(log_dir, stopped)| finish(&io, log_dir, stopped));
                let finished: Result<Vec<()>, String> = join_all(finishing).await.into_iter().collect();
                tell(outcome, finished.map(drop));
            }
        }
    }
}

/// A shard that serves, or could.
type Serving = (Rc<ShardBroker>, Rc<ShardNet>);

/// Opens the logs and puts the rest of the shard around them; nothing is accepted yet.
async fn open(
    io: &RealIo,
    stores: &[StoreConfig],
    surveys: &[Survey],
    parts: ShardParts,
) -> Result<(Serving, Vec<RecoveryReport>), String> {
    let ShardParts { router, inbox, peers, net_inbox, limits, settings, metadata, controller, counters } =
        parts;
    let opening = stores
        .iter()
        .zip(surveys)
        .map(|(store, survey)| LogManager::open_shard(io.clone(), store.clone(), survey));
    let opened = try_join_all(opening).await.map_err(|error| error.to_string())?;
    let (managers, reports) = opened.into_iter().unzip();
    let (stores, store) = (Stores::new(managers), metadata);
    let broker =
        Broker::new(BrokerParts { io: io.clone(), stores, router, store, controller, settings, counters });
    let spawner = io.clone();
    io.spawn(inbox.serve(Rc::clone(&broker), move |work| spawner.spawn(work)));
    let net = NetParts { limits, peers };
    let net = Net::start(io.clone(), Rc::clone(&broker), net);
    let spawner = io.clone();
    io.spawn(net_inbox.serve(Rc::clone(&net), move |work| spawner.spawn(work)));
    Ok(((broker, net), reports))
}

async fn finish(io: &RealIo, log_dir: &Path, stopped: &[StoppedLogs]) -> Result<(), String> {
    finish_stop(io, log_dir, stopped).await.map_err(|error| error.to_string())
}

/// Answers a step. If nobody waits any more, nobody needs to know.
fn tell<T>(outcome: Outcome<T>, result: Result<T, impl std::fmt::Display>) {
    drop(outcome.send(result.map_err(|error| error.to_string())));
}

async fn announce_all(broker: Rc<ShardBroker>, mut updates: mpsc::Receiver<ImageUpdate>) {
    while let Some(update) = updates.next().await {
        broker.announce(update).await;
    }
}
