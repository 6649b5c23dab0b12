//! One shard: an executor pinned to a core, with its logs, its broker and its connections.

use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};
use ringmain_storage::config::StoreConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::glommio::GlommioIo;
use ringmain_storage::manager::LogManager;

use crate::control::ControllerClient;
use crate::handler::{Broker, BrokerParts, Settings};
use crate::metadata::request::ImageUpdate;
use crate::metadata::store::MetadataStore;
use crate::net::{Net, NetLimits};

/// A busy executor looks at its rings at least this often (measured: longer ones stall peers).
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// Registered I/O memory of the runtime's own rings; our files go through a ring of their own.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// Threads for calls that block: opening and replacing files, filling the page cache. They may run on any core,
/// since on the shard's own they would take its time.
const HELPER_THREADS: usize = 4;
/// How long a clean stop waits for connections to take their answers.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// All a shard is given.
#[derive(Debug)]
pub struct ShardConfig {
    /// Places and limits of its store.
    pub store: StoreConfig,
    /// Limits of its connections.
    pub net: NetLimits,
    /// What its handlers need to know.
    pub settings: Settings,
    /// The published metadata.
    pub metadata: std::sync::Arc<MetadataStore>,
    /// Who changes them.
    pub controller: ControllerClient,
    /// Changes to act on, in order.
    pub updates: mpsc::Receiver<ImageUpdate>,
    /// Bound sockets.
    pub listeners: Vec<TcpListener>,
    /// Fires once requests are answered: what recovery found, for the banner.
    pub ready: oneshot::Sender<Result<String, String>>,
    /// Fires, or is dropped, when the shard shall stop.
    pub stop: oneshot::Receiver<()>,
}

/// A started shard.
pub type ShardHandle = glommio::ExecutorJoinHandle<Result<(), String>>;

/// Starts the shard's thread. The error says what to do.
pub fn start(cpu: Option<usize>, config: ShardConfig) -> Result<ShardHandle, String> {
    LocalExecutorBuilder::new(cpu.map_or(Placement::Unbound, Placement::Fixed))
        .name("shard-0")
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIMER)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(HELPER_THREADS))
        .spawn(move || run(config))
        .map_err(|error| {
            format!("the shard's executor cannot start: {error}. `ulimit -l 8192` may be what it needs")
        })
}

async fn run(config: ShardConfig) -> Result<(), String> {
    let ShardConfig { store, net, settings, metadata, controller, updates, listeners, ready, stop } = config;
    let opened = open(store, settings, metadata, controller).await;
    let (io, manager, broker, found) = match opened {
        Ok(opened) => opened,
        Err(text) => {
            // The starter learns it here, or, if it has gone, nobody needs to.
            drop(ready.send(Err(text.clone())));
            return Err(text);
        }
    };
    io.spawn(apply_updates(Rc::clone(&broker), updates));
    let net = Net::start(io.clone(), Rc::clone(&broker), net);
    for listener in listeners {
        net.accept_on(listener);
    }
    drop(ready.send(Ok(found)));
    // A dropped sender means that the main thread is gone: stop then, too.
    let _ = stop.await;
    let drained = std::pin::pin!(net.drain(DRAIN_PATIENCE));
    broker.stop_waiting();
    drained.await;
    manager
        .close()
        .await
        .map_err(|error| format!("the clean stop failed, the next start will recover: {error}"))
}

type Opened = (GlommioIo, Rc<LogManager<GlommioIo>>, Rc<Broker<GlommioIo>>, String);

async fn open(
    store: StoreConfig,
    settings: Settings,
    metadata: std::sync::Arc<MetadataStore>,
    controller: ControllerClient,
) -> Result<Opened, String> {
    let io = GlommioIo::new().map_err(|error| error.to_string())?;
    let (manager, report) = LogManager::open(io.clone(), store).await.map_err(|error| error.to_string())?;
    let parts =
        BrokerParts { io: io.clone(), manager: Rc::clone(&manager), store: metadata, controller, settings };
    let broker = Broker::new(parts);
    broker.open_partitions().await.map_err(|error| error.to_string())?;
    Ok((io, manager, broker, format!("{report:?}")))
}

async fn apply_updates(broker: Rc<Broker<GlommioIo>>, mut updates: mpsc::Receiver<ImageUpdate>) {
    while let Some(update) = updates.next().await {
        if let Err(error) = broker.apply(update).await {
            tracing::error!("a change of the metadata could not be carried out: {error}");
        }
    }
}
