//! How other threads ask the controller.

use crate::metadata::error::{ControllerError, ErrorCode};
use crate::metadata::request::{
    AlterConfigSpec, Answers, CreatePartitionsSpec, CreateTopicSpec, CreatedTopic, DeletedTopic,
    ElectLeadersSpec, Elections, FeatureSpec, ProducerIdBlock, ReassignmentSpec, TopicRef,
};
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};

/// A request on its way to the control plane.
#[derive(Debug)]
pub(super) enum Request {
    CreateTopics(Vec<CreateTopicSpec>, bool, oneshot::Sender<Answers<CreatedTopic>>),
    DeleteTopics(Vec<TopicRef>, oneshot::Sender<Answers<DeletedTopic>>),
    CreatePartitions(Vec<CreatePartitionsSpec>, bool, oneshot::Sender<Answers<()>>),
    AlterConfigs(Vec<AlterConfigSpec>, bool, oneshot::Sender<Answers<()>>),
    ElectLeaders(ElectLeadersSpec, oneshot::Sender<Elections>),
    AlterReassignments(Vec<ReassignmentSpec>, bool, oneshot::Sender<Answers<()>>),
    UpdateFeatures(Vec<FeatureSpec>, bool, oneshot::Sender<Result<(), ControllerError>>),
    AllocateProducerIds(oneshot::Sender<Result<ProducerIdBlock, ControllerError>>),
}

/// Asks the controller; from any thread. Every answer means: durable, in the published image, and acted on
/// by the shard. A future dropped half-way leaves it open whether the request took place.
#[derive(Clone, Debug)]
pub struct ControllerClient {
    pub(super) requests: mpsc::Sender<Request>,
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

    /// Elects leaders; asked for all partitions, only those are told that something was done or wrong about.
    pub async fn elect_leaders(&self, spec: ElectLeadersSpec) -> Elections {
        let named = spec.partitions.clone().unwrap_or_default();
        self.ask(|reply| Request::ElectLeaders(spec, reply)).await.unwrap_or_else(|| {
            named.into_iter().map(|(topic, partition)| (topic, partition, Err(stopped()))).collect()
        })
    }

    /// Gives partitions other replicas; with `keep_count` as many as before.
    pub async fn alter_reassignments(&self, specs: Vec<ReassignmentSpec>, keep_count: bool) -> Answers<()> {
        let count = specs.len();
        self.ask(|reply| Request::AlterReassignments(specs, keep_count, reply))
            .await
            .unwrap_or_else(|| gone(count))
    }

    /// Changes levels of features, all or none.
    pub async fn update_features(
        &self,
        specs: Vec<FeatureSpec>,
        validate_only: bool,
    ) -> Result<(), ControllerError> {
        self.ask(|reply| Request::UpdateFeatures(specs, validate_only, reply))
            .await
            .unwrap_or_else(|| Err(stopped()))
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
