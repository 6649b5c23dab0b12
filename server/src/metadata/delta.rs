//! Replay: what each metadata record does to the image. The only way an image comes to be, while the log is
//! read at the start and while it is written, so that both give the same.
//!
//! Topics that change are taken out into the delta, changed there as often as needed, and put back once.
//! Follows Kafka's `MetadataDelta` and `PartitionRegistration.merge`.

use super::image::{
    BrokerImage, ConfigResource, ControllerImage, Endpoint, FeatureRange, Id, MetadataImage, PartitionImage,
    TopicImage, metric_name,
};
use ringmain_protocol::Uuid;
use ringmain_protocol::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, RegisterControllerRecord,
};
use ringmain_storage::types::{PartitionIndex, PartitionKey, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `leader` of a change that leaves the leader as it is.
const LEADER_UNCHANGED: i32 = -2;

/// A record contradicts what came before it: the log is not what a controller wrote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It names a topic that is not there.
    #[error("a record names the topic id {0:?}, which does not exist")]
    UnknownTopic(TopicId),
    /// It names a partition that is not there, or one beyond the next.
    #[error("a record names partition {1} of topic {0:?}, which cannot be")]
    UnknownPartition(TopicId, i32),
    /// It names a broker that is not there, or with an epoch that is not its own.
    #[error("a record names broker {0} with epoch {1}, which is not registered")]
    UnknownBroker(i32, i64),
    /// It says something only other versions know.
    #[error("a record cannot be replayed: {0}")]
    Unsupported(String),
}

/// What records touched, so that whoever acts on it looks at nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Topics that came, changed or went.
    pub topics: BTreeSet<TopicId>,
    /// Resources whose configuration changed.
    pub configs: BTreeSet<ConfigResource>,
}

/// What the partitions of one broker go through between two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalChanges {
    /// Partitions the broker holds now, with their topics' names.
    pub created: Vec<(PartitionKey, Arc<str>)>,
    /// Partitions it holds no longer.
    pub deleted: Vec<PartitionKey>,
    /// Partitions it keeps that changed.
    pub changed: Vec<PartitionKey>,
    /// Topics that are gone.
    pub deleted_topics: Vec<Arc<str>>,
}

impl Touched {
    /// Adds what another delta touched.
    pub fn merge(&mut self, other: Self) {
        self.topics.extend(other.topics);
        self.configs.extend(other.configs);
    }

    /// What happens to the partitions of broker `node_id` from `old` to `new`.
    pub fn local_changes(&self, node_id: i32, old: &MetadataImage, new: &MetadataImage) -> LocalChanges {
        let mut changes = LocalChanges::default();
        for id in &self.topics {
            let (old, new) = (old.topic_by_id(*id), new.topic_by_id(*id));
            changes.deleted_topics.extend(old.filter(|_| new.is_none()).map(|topic| Arc::clone(&topic.name)));
            let before = old.map_or(&[][..], |topic| &topic.partitions);
            let after = new.map_or(&[][..], |topic| &topic.partitions);
            for index in 0..before.len().max(after.len()) {
                let holds = |partition: &&PartitionImage| partition.replicas.contains(&node_id);
                let Ok(partition) = i32::try_from(index) else { break };
                let key = PartitionKey { topic_id: *id, partition: PartitionIndex(partition) };
                match (before.get(index).filter(holds), after.get(index).filter(holds)) {
                    (None, Some(_)) => {
                        changes.created.extend(new.map(|topic| (key, Arc::clone(&topic.name))));
                    }
                    (Some(_), None) => changes.deleted.push(key),
                    (Some(was), Some(is)) if was != is => changes.changed.push(key),
                    _ => {}
                }
            }
        }
        changes
    }
}

/// Records applied on top of an image.
#[derive(Debug)]
pub struct MetadataDelta {
    image: MetadataImage,
    /// Topics being changed; `None` is a topic that went. The image's own maps are stale about them.
    topics: BTreeMap<TopicId, Option<TopicImage>>,
    touched: Touched,
}

impl MetadataDelta {
    /// No change to `base` yet.
    pub fn new(base: &MetadataImage) -> Self {
        Self { image: base.clone(), topics: BTreeMap::new(), touched: Touched::default() }
    }

    /// The image with all changes, at the end offset and epoch of the last record, and what they touched.
    pub fn finish(mut self, end_offset: i64, epoch: i32) -> (MetadataImage, Touched) {
        for (id, topic) in std::mem::take(&mut self.topics) {
            self.put_back(id, topic);
        }
        (self.image.end_offset, self.image.epoch) = (end_offset, epoch);
        (self.image, self.touched)
    }

    /// Applies one record.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Topic(topic) => {
                let id = topic_id(topic.topic_id);
                let name = Arc::from(topic.name.as_str());
                self.touched.topics.insert(id);
                self.topics.insert(id, Some(TopicImage { name, id, partitions: Vec::new() }));
                Ok(())
            }
            MetadataRecord::Partition(partition) => self.partition(partition),
            MetadataRecord::PartitionChange(change) => self.partition_change(change),
            MetadataRecord::RemoveTopic(remove) => self.remove_topic(topic_id(remove.topic_id)),
            MetadataRecord::Config(config) => {
                self.config(config);
                Ok(())
            }
            MetadataRecord::FeatureLevel(feature) => {
                self.feature_level(feature);
                Ok(())
            }
            MetadataRecord::ProducerIds(ids) => {
                self.image.next_producer_id = ids.next_producer_id;
                Ok(())
            }
            MetadataRecord::RegisterBroker(broker) => {
                self.register_broker(broker);
                Ok(())
            }
            MetadataRecord::UnregisterBroker(broker) => {
                Arc::make_mut(&mut self.image.brokers).remove(&broker.broker_id);
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(change) => self.broker_change(change),
            MetadataRecord::FenceBroker(change) => {
                self.broker(change.id, change.epoch).map(|broker| broker.fenced = true)
            }
            MetadataRecord::UnfenceBroker(change) => {
                self.broker(change.id, change.epoch).map(|broker| broker.fenced = false)
            }
            MetadataRecord::RegisterController(controller) => {
                self.register_controller(controller);
                Ok(())
            }
            MetadataRecord::ClearElr(clear) => {
                self.clear_elr(&clear.topic_name);
                Ok(())
            }
            MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => Ok(()),
            MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => {
                Err(ReplayError::Unsupported("a transaction marker outside of the loader".into()))
            }
            other => {
                self.image.carried.replay(other);
                Ok(())
            }
        }
    }

    /// Puts a changed topic back into the image's maps.
    fn put_back(&mut self, id: TopicId, topic: Option<TopicImage>) {
        if let Some(topic) = topic {
            let topic = Arc::new(topic);
            if let Some(metric_name) = metric_name(&topic.name) {
                self.image.topics_by_metric_name.insert(metric_name, Arc::clone(&topic.name));
            }
            self.image.topics_by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
            self.image.topics_by_id.insert(id, topic);
        } else if let Some(old) = self.image.topics_by_id.remove(&id)
            && self.image.topics_by_name.get(&*old.name).is_some_and(|named| named.id == id)
        {
            self.image.topics_by_name.remove(&*old.name);
            if let Some(metric_name) = metric_name(&old.name) {
                self.image.topics_by_metric_name.remove(&metric_name);
            }
        }
    }

    /// A topic, taken out to be changed.
    fn topic(&mut self, id: TopicId) -> Result<&mut TopicImage, ReplayError> {
        let image = &self.image;
        let topic =
            self.topics.entry(id).or_insert_with(|| image.topic_by_id(id).map(|t| TopicImage::clone(t)));
        self.touched.topics.insert(id);
        topic.as_mut().ok_or(ReplayError::UnknownTopic(id))
    }

    fn partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        let id = topic_id(record.topic_id);
        let topic = self.topic(id)?;
        let unknown = || ReplayError::UnknownPartition(id, record.partition_id);
        let index = usize::try_from(record.partition_id).map_err(|_| unknown())?;
        let partition = PartitionImage {
            replicas: record.replicas.clone(),
            directories: directories(&record.directories, record.replicas.len()),
            isr: record.isr.clone(),
            removing_replicas: record.removing_replicas.clone(),
            adding_replicas: record.adding_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            recovering: record.leader_recovery_state == 1,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        let count = topic.partitions.len();
        match topic.partitions.get_mut(index) {
            Some(old) => *old = partition,
            None if index == count => topic.partitions.push(partition),
            None => return Err(unknown()),
        }
        Ok(())
    }

    fn partition_change(&mut self, record: &PartitionChangeRecord) -> Result<(), ReplayError> {
        let id = topic_id(record.topic_id);
        let topic = self.topic(id)?;
        let partition = usize::try_from(record.partition_id).ok().and_then(|i| topic.partitions.get_mut(i));
        let partition = partition.ok_or(ReplayError::UnknownPartition(id, record.partition_id))?;
        let replace = |field: &mut Vec<i32>, new: &Option<Vec<i32>>| {
            if let Some(new) = new {
                field.clone_from(new);
            }
        };
        if let Some(new) = &record.directories {
            let count = record.replicas.as_ref().map_or(partition.replicas.len(), Vec::len);
            partition.directories = directories(new, count);
        } else if let Some(new) = &record.replicas {
            // Replicas that stay keep their directories.
            let old: Vec<(i32, Id)> =
                partition.replicas.iter().copied().zip(partition.directories.iter().copied()).collect();
            let of =
                |replica: &i32| old.iter().find(|(r, _)| r == replica).map_or(Id::default(), |(_, d)| *d);
            partition.directories = new.iter().map(of).collect();
        }
        replace(&mut partition.replicas, &record.replicas);
        replace(&mut partition.isr, &record.isr);
        replace(&mut partition.removing_replicas, &record.removing_replicas);
        replace(&mut partition.adding_replicas, &record.adding_replicas);
        replace(&mut partition.elr, &record.eligible_leader_replicas);
        replace(&mut partition.last_known_elr, &record.last_known_elr);
        if record.leader != LEADER_UNCHANGED {
            partition.leader = record.leader;
            partition.leader_epoch = partition.leader_epoch.saturating_add(1);
        }
        if record.leader_recovery_state >= 0 {
            partition.recovering = record.leader_recovery_state == 1;
        }
        partition.partition_epoch = partition.partition_epoch.saturating_add(1);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), ReplayError> {
        let name = Arc::clone(&self.topic(id)?.name);
        self.topics.remove(&id);
        self.put_back(id, None);
        let resource = ConfigResource::topic(&name);
        if self.image.configs.remove(&resource).is_some() {
            self.touched.configs.insert(resource);
        }
        Ok(())
    }

    fn config(&mut self, record: &ConfigRecord) {
        let resource =
            ConfigResource { kind: record.resource_type, name: Arc::from(record.resource_name.as_str()) };
        let mut configs = self.image.configs.get(&resource).map(|c| (**c).clone()).unwrap_or_default();
        match &record.value {
            Some(value) => configs.insert(Arc::from(record.name.as_str()), Arc::from(value.as_str())),
            None => configs.remove(record.name.as_str()),
        };
        self.touched.configs.insert(resource.clone());
        if configs.is_empty() {
            self.image.configs.remove(&resource);
        } else {
            self.image.configs.insert(resource, Arc::new(configs));
        }
    }

    fn feature_level(&mut self, record: &FeatureLevelRecord) {
        let features = Arc::make_mut(&mut self.image.features);
        if record.feature_level == 0 {
            features.remove(record.name.as_str());
        } else {
            features.insert(Arc::from(record.name.as_str()), record.feature_level);
        }
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        let endpoints =
            record.end_points.iter().map(|e| endpoint(&e.name, &e.host, e.port, e.security_protocol));
        let features = record.features.iter();
        let broker = BrokerImage {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: id(&record.incarnation_id),
            listeners: endpoints.collect(),
            features: features
                .map(|f| range(&f.name, f.min_supported_version, f.max_supported_version))
                .collect(),
            rack: record.rack.as_ref().map(|rack| Arc::from(rack.as_str())),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.iter().map(id).collect(),
            cordoned_log_dirs: record.cordoned_log_dirs.as_ref().map(|dirs| dirs.iter().map(id).collect()),
        };
        Arc::make_mut(&mut self.image.brokers).insert(broker.id, broker);
    }

    fn broker(&mut self, id: i32, epoch: i64) -> Result<&mut BrokerImage, ReplayError> {
        Arc::make_mut(&mut self.image.brokers)
            .get_mut(&id)
            .filter(|broker| broker.epoch == epoch)
            .ok_or(ReplayError::UnknownBroker(id, epoch))
    }

    fn broker_change(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ReplayError> {
        let broker = self.broker(record.broker_id, record.broker_epoch)?;
        match record.fenced {
            0 => {}
            change => broker.fenced = change > 0,
        }
        if record.in_controlled_shutdown != 0 {
            broker.in_controlled_shutdown = record.in_controlled_shutdown > 0;
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs = record.log_dirs.iter().map(id).collect();
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs = Some(cordoned.iter().map(id).collect());
        }
        Ok(())
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord) {
        let endpoints =
            record.end_points.iter().map(|e| endpoint(&e.name, &e.host, e.port, e.security_protocol));
        let features = record.features.iter();
        let controller = ControllerImage {
            id: record.controller_id,
            incarnation_id: id(&record.incarnation_id),
            zk_migration_ready: record.zk_migration_ready,
            listeners: endpoints.collect(),
            features: features
                .map(|f| range(&f.name, f.min_supported_version, f.max_supported_version))
                .collect(),
        };
        Arc::make_mut(&mut self.image.controllers).insert(controller.id, controller);
    }

    /// Forgets the eligible replicas of one topic, or of all when no name is given.
    fn clear_elr(&mut self, name: &str) {
        let mut ids: BTreeSet<TopicId> = self.topics.keys().copied().collect();
        ids.extend(self.image.topics_by_id.iter().map(|(id, _)| *id));
        for id in ids {
            let Ok(topic) = self.topic(id) else { continue };
            if name.is_empty() || &*topic.name == name {
                for partition in &mut topic.partitions {
                    partition.elr.clear();
                    partition.last_known_elr.clear();
                }
            }
        }
    }
}

/// A record's id of a topic.
pub fn topic_id(uuid: Uuid) -> TopicId {
    TopicId(*uuid.as_bytes())
}

/// A record's id of something else.
pub fn id(uuid: &Uuid) -> Id {
    Id(*uuid.as_bytes())
}

/// As many directories as there are replicas; those that older records do not tell are unassigned.
fn directories(uuids: &[Uuid], count: usize) -> Vec<Id> {
    let mut directories: Vec<Id> = uuids.iter().map(id).collect();
    directories.resize(count, Id::default());
    directories
}

fn endpoint(name: &str, host: &str, port: u16, security_protocol: i16) -> Endpoint {
    Endpoint { name: Arc::from(name), host: Arc::from(host), port, security_protocol }
}

fn range(name: &str, min: i16, max: i16) -> FeatureRange {
    FeatureRange { name: Arc::from(name), min, max }
}
