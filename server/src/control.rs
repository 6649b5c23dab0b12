//! The control plane: one thread with a tokio runtime of its own that owns the embedded controller and the
//! metadata log. Shards talk to it by messages and read its image without locks.

use crate::metadata::error::{ControllerError, ErrorCode};
use crate::metadata::image::Endpoint;
use crate::metadata::request::{
    AlterConfigSpec, Answers, CreatePartitionsSpec, CreateTopicSpec, CreatedTopic, DeletedTopic, ImageUpdate,
    ProducerIdBlock, TopicRef,
};
use crate::metadata::store::MetadataStore;
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use std::path::PathBuf;
use std::sync::Arc;

/// What the control plane needs to know.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Log directories; the first holds the metadata log.
    pub log_dirs: Vec<PathBuf>,
    /// This node's id.
    pub node_id: i32,
    /// Where clients are told to connect, by listener.
    pub listeners: Vec<Endpoint>,
    /// The cluster's id for directories that have none yet; `None` makes one up.
    pub cluster_id: Option<String>,
    /// Partitions of a topic whose creator does not say.
    pub num_partitions: i32,
    /// Replicas of a topic whose creator does not say.
    pub default_replication_factor: i16,
}

/// Why the control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be used.
    #[error("{0}")]
    Directory(String),
}

/// The running control plane.
#[derive(Debug)]
pub struct ControlHandle {
    /// The published image.
    pub store: Arc<MetadataStore>,
    /// Asks the controller.
    pub controller: ControllerClient,
    /// Changes for the shard, in order. Logs of partitions that are in the image already when `start`
    /// returns are not announced: a shard makes those it lacks.
    pub updates: mpsc::Receiver<ImageUpdate>,
}

impl ControlHandle {
    /// Stops the thread after what it is at; idempotent.
    pub fn stop(&mut self) {}
}

/// Starts the control plane: opens or formats the directory, recovers, registers this broker, publishes
/// the first image, then starts the thread. Blocks until that is done.
pub fn start(config: ControlConfig) -> Result<ControlHandle, StartError> {
    Err(StartError::Directory(format!("{} cannot be opened yet", config.log_dirs.len())))
}

/// A request on its way to the control plane.
#[derive(Debug)]
pub(crate) enum Request {
    CreateTopics(Vec<CreateTopicSpec>, bool, oneshot::Sender<Answers<CreatedTopic>>),
    DeleteTopics(Vec<TopicRef>, oneshot::Sender<Answers<DeletedTopic>>),
    CreatePartitions(Vec<CreatePartitionsSpec>, bool, oneshot::Sender<Answers<()>>),
    AlterConfigs(Vec<AlterConfigSpec>, bool, oneshot::Sender<Answers<()>>),
    AllocateProducerIds(oneshot::Sender<Result<ProducerIdBlock, ControllerError>>),
    Stop,
}

/// Asks the controller; from any thread. Every answer means: durable, in the published image, and acted on
/// by the shard. A future dropped half-way leaves it open whether the request took place.
#[derive(Clone, Debug)]
pub struct ControllerClient {
    requests: mpsc::Sender<Request>,
}

impl ControllerClient {
    /// Makes topics; with `validate_only`, only says what would happen.
    pub async fn create_topics(
        &self,
        specs: Vec<CreateTopicSpec>,
        validate_only: bool,
    ) -> Answers<CreatedTopic> {
        let count = specs.len();
        self.ask(|reply| Request::CreateTopics(specs, validate_only, reply))
            .await
            .unwrap_or_else(|| gone(count))
    }

    /// Deletes topics with all their records.
    pub async fn delete_topics(&self, topics: Vec<TopicRef>) -> Answers<DeletedTopic> {
        let count = topics.len();
        self.ask(|reply| Request::DeleteTopics(topics, reply)).await.unwrap_or_else(|| gone(count))
    }

    /// Gives topics more partitions.
    pub async fn create_partitions(
        &self,
        specs: Vec<CreatePartitionsSpec>,
        validate_only: bool,
    ) -> Answers<()> {
        let count = specs.len();
        self.ask(|reply| Request::CreatePartitions(specs, validate_only, reply))
            .await
            .unwrap_or_else(|| gone(count))
    }

    /// Changes dynamic configurations, each resource as a whole or not at all.
    pub async fn alter_configs(&self, specs: Vec<AlterConfigSpec>, validate_only: bool) -> Answers<()> {
        let count = specs.len();
        self.ask(|reply| Request::AlterConfigs(specs, validate_only, reply))
            .await
            .unwrap_or_else(|| gone(count))
    }

    /// A block of producer ids nobody had before, not even before a crash.
    pub async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, ControllerError> {
        self.ask(Request::AllocateProducerIds).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Sends a request and waits for its answer; `None` when the control plane is gone.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.clone().send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// The answer of a control plane that is gone.
fn stopped() -> ControllerError {
    ControllerError::new(ErrorCode::UnknownServerError, "the controller has stopped")
}

/// That answer, `count` times.
fn gone<T>(count: usize) -> Answers<T> {
    (0..count).map(|_| Err(stopped())).collect()
}
