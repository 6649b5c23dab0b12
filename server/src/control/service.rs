//! The control thread's loop. It takes what waits, lets the controller decide one request after the other, makes
//! all their records durable as one batch, has the shard act on them, publishes the image, and only then answers.

use super::client::Request;
use super::{ControlConfig, now_ms};
use crate::config::topic_keys;
use crate::metadata::batch::NewBatch;
use crate::metadata::control_record::ControlRecord;
use crate::metadata::controller::{
    Context, Outcome, configs, elections, features, partitions, producer_ids, reassignments, topics,
};
use crate::metadata::delta::{MetadataDelta, Touched};
use crate::metadata::error::{ControllerError, ErrorCode};
use crate::metadata::image::{ConfigMap, ConfigResource, MetadataImage};
use crate::metadata::image_records::{METADATA_VERSION, records_of};
use crate::metadata::log::MetadataLog;
use crate::metadata::request::{Answers, Elections, ImageChanges, ImageUpdate};
use crate::metadata::snapshot::SnapshotContent;
use crate::metadata::store::MetadataStore;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, FutureExt, select};
use futures::{SinkExt, StreamExt};
use ringmain_protocol::metadata::MetadataRecord;
use ringmain_storage::types::TopicId;
use std::sync::Arc;

/// Requests whose records become durable together: one sync for a burst of topics made on first use.
const GROUP_REQUESTS_MAX: usize = 256;
/// No further request joins a group that has this many records: about a megabyte.
const GROUP_RECORDS_MAX: usize = 10_000;

/// The owner of the controller's state. Lives on the control thread.
#[derive(Debug)]
pub(super) struct Service {
    log: Box<dyn MetadataLog>,
    image: Arc<MetadataImage>,
    /// Control records every snapshot carries on.
    control: Vec<ControlRecord>,
    store: Arc<MetadataStore>,
    node_id: i32,
    partition_count_default: i32,
    replication_factor_default: i16,
}

/// Sends an answer, or an error instead of it. Whoever asked may be gone.
type Reply = Box<dyn FnOnce(Result<(), ControllerError>) + Send>;

/// What a group of requests came to, before it is durable.
#[derive(Default)]
struct Group {
    records: Vec<MetadataRecord>,
    touched: Touched,
    replies: Vec<Reply>,
}

impl Service {
    /// A service that goes on from `image`, which is the log's.
    pub(super) fn new(
        config: &ControlConfig,
        log: Box<dyn MetadataLog>,
        image: Arc<MetadataImage>,
        control: Vec<ControlRecord>,
        store: Arc<MetadataStore>,
    ) -> Self {
        Self {
            log,
            image,
            control,
            store,
            node_id: config.node_id,
            partition_count_default: config.num_partitions,
            replication_factor_default: config.default_replication_factor,
        }
    }

    /// Serves until told to stop, or until all clients are gone.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut updates: mpsc::Sender<ImageUpdate>,
        mut stop: oneshot::Receiver<()>,
    ) {
        loop {
            let Either::Left((Some(request), _)) = select(requests.next(), &mut stop).await else { return };
            let mut working = MetadataImage::clone(&self.image);
            let mut group = Group::default();
            let mut next = Some(request);
            while let Some(request) = next {
                self.handle(request, &mut working, &mut group);
                let has_room =
                    group.replies.len() < GROUP_REQUESTS_MAX && group.records.len() < GROUP_RECORDS_MAX;
                next = if has_room { requests.next().now_or_never().flatten() } else { None };
            }
            if !self.commit(working, group, &mut updates, &mut stop).await {
                return;
            }
        }
    }

    /// Makes a group durable, has it acted on, publishes it and answers. False when told to stop meanwhile.
    async fn commit(
        &mut self,
        working: MetadataImage,
        group: Group,
        updates: &mut mpsc::Sender<ImageUpdate>,
        stop: &mut oneshot::Receiver<()>,
    ) -> bool {
        let mut is_stopping = false;
        let result = if group.records.is_empty() {
            Ok(())
        } else {
            let version = self.image.feature(METADATA_VERSION);
            self.log.append(NewBatch::Data(&group.records, version), now_ms()).map(|_| ())
        };
        if let Err(error) = &result {
            tracing::error!(%error, "metadata cannot be written; a change was refused");
        } else if !group.records.is_empty() {
            let image = Arc::new(working);
            let (update, acted) = self.update(&image, group.touched);
            let announce = async {
                // A shard that is gone has nothing to act on; it reads the image when it comes again.
                if updates.send(update).await.is_ok() {
                    let _ = acted.await;
                }
            };
            is_stopping = matches!(select(std::pin::pin!(announce), stop).await, Either::Right(_));
            self.image = Arc::clone(&image);
            self.store.publish(image);
        }
        let result =
            result.map_err(|error| ControllerError::new(ErrorCode::KafkaStorageError, error.to_string()));
        for reply in group.replies {
            reply(result.clone());
        }
        self.snapshot_if_due();
        !is_stopping
    }

    /// What the shard has to be told.
    fn update(&self, image: &Arc<MetadataImage>, touched: Touched) -> (ImageUpdate, oneshot::Receiver<()>) {
        let changes = touched.local_changes(self.node_id, &self.image, image);
        let (ack, acted) = oneshot::channel();
        let changes = ImageChanges {
            image: Arc::clone(image),
            created: changes.created,
            deleted: changes.deleted,
            changed: changes.changed,
            deleted_topics: changes.deleted_topics,
            configs: touched.configs.into_iter().collect::<Vec<ConfigResource>>(),
        };
        (ImageUpdate { changes, ack }, acted)
    }

    /// Lets the controller decide one request on top of those before it in the group.
    fn handle(&mut self, request: Request, working: &mut MetadataImage, group: &mut Group) {
        match request {
            Request::CreateTopics(specs, validate_only, reply) => {
                let mut context = Context {
                    new_id: &mut new_topic_id,
                    partition_count_default: self.partition_count_default,
                    replication_factor_default: self.replication_factor_default,
                };
                let mut outcome = topics::create(working, &specs, &mut context);
                if validate_only {
                    outcome.records.clear();
                }
                self.take(outcome, reply, failed_list, working, group);
            }
            Request::DeleteTopics(names, reply) => {
                self.take(topics::delete(working, &names), reply, failed_list, working, group);
            }
            Request::CreatePartitions(specs, validate_only, reply) => {
                let outcome = only_checked(partitions::create(working, &specs), validate_only);
                self.take(outcome, reply, failed_list, working, group);
            }
            Request::AlterConfigs(specs, validate_only, reply) => {
                let outcome = only_checked(configs::alter(working, &specs, &check_together), validate_only);
                self.take(outcome, reply, failed_list, working, group);
            }
            Request::ElectLeaders(spec, reply) => {
                self.take(elections::elect(working, &spec), reply, failed_elections, working, group);
            }
            Request::AlterReassignments(specs, keep_count, reply) => {
                let outcome = reassignments::alter(working, &specs, keep_count);
                self.take(outcome, reply, failed_list, working, group);
            }
            Request::UpdateFeatures(specs, validate_only, reply) => {
                let outcome = only_checked(features::update(working, &specs), validate_only);
                self.take(outcome, reply, |answer, error| answer.and(Err(error)), working, group);
            }
            Request::AllocateProducerIds(reply) => {
                let outcome = producer_ids::allocate(working, self.node_id);
                self.take(outcome, reply, |_, error| Err(error), working, group);
            }
        }
    }

    /// Adds an outcome to the group and its records to the working image.
    fn take<T: Send + 'static>(
        &self,
        outcome: Outcome<T>,
        reply: oneshot::Sender<T>,
        failed: fn(T, ControllerError) -> T,
        working: &mut MetadataImage,
        group: &mut Group,
    ) {
        let mut delta = MetadataDelta::new(working);
        let replayed = outcome.records.iter().try_for_each(|record| delta.replay(record));
        let count = group.records.len() + outcome.records.len();
        let end_offset = self.log.end_offset().saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        let answer = match replayed {
            Ok(()) if outcome.records.is_empty() => outcome.answer,
            Ok(()) => {
                let (image, touched) = delta.finish(end_offset, self.log.epoch());
                *working = image;
                group.touched.merge(touched);
                group.records.extend(outcome.records);
                outcome.answer
            }
            Err(error) => {
                tracing::error!(%error, "the controller made records that cannot be replayed; request refused");
                failed(outcome.answer, ControllerError::new(ErrorCode::UnknownServerError, error.to_string()))
            }
        };
        group.replies.push(Box::new(move |result: Result<(), ControllerError>| {
            let answer = match result {
                Ok(()) => answer,
                Err(error) => failed(answer, error),
            };
            // Whoever asked may have gone away.
            let _ = reply.send(answer);
        }));
    }

    /// Writes a snapshot once the log has grown enough. A failure costs nothing but a longer log.
    fn snapshot_if_due(&mut self) {
        if !self.log.wants_snapshot() {
            return;
        }
        let records = records_of(&self.image);
        let now_ms = now_ms();
        let content = SnapshotContent {
            control: &self.control,
            records: &records,
            metadata_version: self.image.feature(METADATA_VERSION),
            last_timestamp_ms: now_ms,
            now_ms,
        };
        match self.log.write_snapshot(content) {
            Ok(()) => tracing::info!(end_offset = self.image.end_offset, "metadata snapshot written"),
            Err(error) => tracing::error!(%error, "metadata snapshot failed; the log is kept"),
        }
    }
}

/// What several settings of a resource together can be wrong about.
fn check_together(resource: &ConfigResource, set: &ConfigMap) -> Result<(), ControllerError> {
    if resource.kind != ConfigResource::TOPIC {
        return Ok(());
    }
    topic_keys::check_together(set).map_err(|why| ControllerError::new(ErrorCode::InvalidConfig, why))
}

/// An outcome without its records if nothing is to be changed.
fn only_checked<T>(outcome: Outcome<T>, validate_only: bool) -> Outcome<T> {
    if validate_only { Outcome { records: Vec::new(), ..outcome } } else { outcome }
}

/// A list of answers in which nothing took place.
#[expect(clippy::needless_pass_by_value, reason = "one shape for all kinds of answers")]
fn failed_list<T>(answers: Answers<T>, error: ControllerError) -> Answers<T> {
    answers.into_iter().map(|answer| answer.and_then(|_| Err(error.clone()))).collect()
}

/// Elections of which none took place.
#[expect(clippy::needless_pass_by_value, reason = "one shape for all kinds of answers")]
fn failed_elections(answers: Elections, error: ControllerError) -> Elections {
    let failed = |(topic, partition, result): (String, i32, Result<(), ControllerError>)| {
        (topic, partition, result.and_then(|()| Err(error.clone())))
    };
    answers.into_iter().map(failed).collect()
}

/// A random id that is not one of those Kafka reserves, nor one whose text begins with a dash, which command
/// lines take for an option.
pub(super) fn new_topic_id() -> TopicId {
    loop {
        let id = uuid::Uuid::new_v4();
        if !ringmain_protocol::Uuid::from_bytes(*id.as_bytes()).to_string().starts_with('-') {
            return TopicId(*id.as_bytes());
        }
    }
}
