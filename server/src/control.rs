//! The control plane: one thread with a tokio runtime of its own that owns the embedded controller and the
//! metadata log. Shards talk to it by messages and read its image without locks. It never sees record bytes.

mod client;
#[cfg(test)]
pub(crate) mod in_memory;
mod service;
mod startup;
#[cfg(test)]
mod tests;

pub use client::ControllerClient;

use crate::admin::{self, Admin};
use crate::metadata::batch::WriteError;
use crate::metadata::delta::ReplayError;
use crate::metadata::directory::DirectoryError;
use crate::metadata::image::Endpoint;
use crate::metadata::log::LogError;
use crate::metadata::request::ImageUpdate;
use crate::metadata::store::MetadataStore;
use futures::channel::{mpsc, oneshot};
use std::path::PathBuf;
use std::sync::Arc;

/// Requests that may wait for the control plane: beyond, senders wait. Each is one client's, so this is more than
/// a burst of topics made at once by all clients of a small cluster.
const REQUESTS_WAITING_MAX: usize = 1024;

/// What the control plane needs to know.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Log directories; the first holds the metadata log.
    pub log_dirs: Vec<PathBuf>,
    /// This node's id.
    pub node_id: i32,
    /// Where this node stands, if it is said.
    pub rack: Option<String>,
    /// Where clients are told to connect, by listener.
    pub listeners: Vec<Endpoint>,
    /// The cluster's id for directories that have none yet; `None` makes one up.
    pub cluster_id: Option<String>,
    /// Partitions of a topic whose creator does not say.
    pub num_partitions: i32,
    /// Replicas of a topic whose creator does not say.
    pub default_replication_factor: i16,
    /// Bytes of metadata log after which a snapshot is due.
    pub snapshot_log_bytes: u64,
}

/// Why the control plane could not start. Each names a file and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The metadata log cannot be read or written.
    #[error("the metadata log cannot be used: {0}")]
    Log(#[from] LogError),
    /// The configuration and the directory do not go together.
    #[error("{0}")]
    Mismatch(String),
    /// The thread could not be started.
    #[error("the control plane's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<ReplayError> for StartError {
    fn from(error: ReplayError) -> Self {
        Self::Log(error.into())
    }
}

impl From<WriteError> for StartError {
    fn from(error: WriteError) -> Self {
        Self::Log(error.into())
    }
}

/// The running control plane. Dropping it stops the thread.
#[derive(Debug)]
pub struct ControlHandle {
    /// The published image.
    pub store: Arc<MetadataStore>,
    /// Asks the controller.
    pub controller: ControllerClient,
    /// Changes for the shard, in order, one at a time. Partitions that are in the image already when `start`
    /// returns are not announced: a shard makes the logs it lacks.
    pub updates: mpsc::Receiver<ImageUpdate>,
    /// Id of each log directory, in the order of the configuration.
    pub directory_ids: Vec<(PathBuf, crate::metadata::image::Id)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ControlHandle {
    /// Stops the thread after what it is at, and waits for it. What is asked later is answered with an error.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody is there any more if the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control plane's thread panicked");
        }
    }

    /// Takes the stream of updates out, for the shard.
    pub fn take_updates(&mut self) -> mpsc::Receiver<ImageUpdate> {
        let (_, closed) = mpsc::channel(0);
        std::mem::replace(&mut self.updates, closed)
    }
}

impl Drop for ControlHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the control plane: opens or formats the directories, recovers, begins a new epoch, registers this
/// broker, publishes the first image, then starts the thread. Blocks until that is done.
pub fn start(config: ControlConfig) -> Result<ControlHandle, StartError> {
    start_with(config, None)
}

/// The same, with the admin listener on the same thread.
#[expect(clippy::needless_pass_by_value, reason = "whoever starts it is done with its configuration")]
pub fn start_with(config: ControlConfig, admin: Option<Admin>) -> Result<ControlHandle, StartError> {
    let started = startup::start(&config, now_ms())?;
    let store = Arc::new(MetadataStore::new(Arc::clone(&started.image)));
    let (requests, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (update, updates) = mpsc::channel(0);
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let service =
        service::Service::new(&config, started.log, started.image, started.control, Arc::clone(&store));
    let thread = std::thread::Builder::new().name("control".to_string()).spawn(move || {
        if let Some(admin) = admin {
            runtime.spawn(async {
                if let Err(error) = admin::serve(admin).await {
                    tracing::error!("the admin listener ended: {error}");
                }
            });
        }
        runtime.block_on(service.run(waiting, update, stopped));
    })?;
    Ok(ControlHandle {
        store,
        controller: ControllerClient { requests },
        updates,
        directory_ids: started.directory_ids,
        stop: Some(stop),
        thread: Some(thread),
    })
}

/// The time, for records.
#[expect(clippy::disallowed_methods, reason = "the control plane's only look at the clock")]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
