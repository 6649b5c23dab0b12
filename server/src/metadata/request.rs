//! What the controller can be asked, and what it answers. Plain data: no API versions.

use super::error::ControllerError;
use super::image::{ConfigResource, MetadataImage};
use futures::channel::oneshot;
use ringmain_storage::types::{PartitionKey, TopicId};
use std::sync::Arc;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions; −1 is the broker's default, and what must stand with `assignments`.
    pub partition_count: i32,
    /// How many replicas of each; −1 is the broker's default, and what must stand with `assignments`.
    pub replication_factor: i16,
    /// Replicas of each partition, chosen by hand; empty leaves it to the controller.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configuration to set on it, checked by the caller.
    pub configs: Vec<(String, String)>,
}

/// A topic that was made, or that would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id, or one that nobody has if the request was only checked.
    pub topic_id: TopicId,
    /// How many partitions it has.
    pub partition_count: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

/// A topic named in one of two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By its name.
    Name(String),
    /// By its id.
    Id(TopicId),
}

/// A topic that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub topic_id: TopicId,
}

/// A topic that shall have more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePartitionsSpec {
    /// Its name.
    pub name: String,
    /// How many it shall have afterwards.
    pub partition_count: i32,
    /// Replicas of each new partition, chosen by hand; `None` leaves it to the controller.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// How one key of a configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// To this value.
    Set(String),
    /// To the default.
    Delete,
    /// By these list elements more; `base` is the value while nothing is set.
    Append {
        /// Elements, separated by commas.
        value: String,
        /// What the list is while nothing is set.
        base: String,
    },
    /// By these list elements less; `base` is the value while nothing is set.
    Subtract {
        /// Elements, separated by commas.
        value: String,
        /// What the list is while nothing is set.
        base: String,
    },
}

/// Changes to the configuration of one resource; the caller has checked keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterConfigSpec {
    /// Whose.
    pub resource: ConfigResource,
    /// Key and change.
    pub ops: Vec<(String, ConfigOp)>,
    /// Whether keys that are not named go back to their defaults (the older `AlterConfigs`).
    pub replace: bool,
}

/// Producer ids that are the asker's for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first of them.
    pub first: i64,
    /// How many there are.
    pub count: i32,
}

/// One answer for each thing asked, in the same order.
pub type Answers<T> = Vec<Result<T, ControllerError>>;

/// What shards have to do because the metadata changed.
#[derive(Clone, Debug)]
pub struct ImageChanges {
    /// The metadata after the change.
    pub image: Arc<MetadataImage>,
    /// Partitions that this broker shall hold now, with their topics' names.
    pub created: Vec<(PartitionKey, Arc<str>)>,
    /// Partitions that this broker shall hold no longer.
    pub deleted: Vec<PartitionKey>,
    /// Partitions this broker keeps whose leader, epochs or replicas changed.
    pub changed: Vec<PartitionKey>,
    /// Topics that are gone.
    pub deleted_topics: Vec<Arc<str>>,
    /// Resources whose configuration changed.
    pub configs: Vec<ConfigResource>,
}

/// A change of the metadata that shards act on before anybody is told of it.
#[derive(Debug)]
pub struct ImageUpdate {
    /// What they have to do.
    pub changes: ImageChanges,
    /// Sent or dropped when that is done; answers wait for it.
    pub ack: oneshot::Sender<()>,
}

/// How a leader is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any replica, if the partition has no leader: it may miss acknowledged records.
    Unclean,
}

/// Partitions that shall get a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectLeadersSpec {
    /// How.
    pub kind: ElectionKind,
    /// Topic and partition; `None` is all there are.
    pub partitions: Option<Vec<(String, i32)>>,
}

/// What became of each partition that was looked at: topic, partition, result.
pub type Elections = Vec<(String, i32, Result<(), ControllerError>)>;

/// A partition that shall have other replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReassignmentSpec {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: i32,
    /// The replicas; `None` ends a reassignment under way.
    pub replicas: Option<Vec<i32>>,
}

/// Whether a change of a feature's level may lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeKind {
    /// It may not.
    Upgrade,
    /// If nothing is lost.
    SafeDowngrade,
    /// Even if something is lost.
    UnsafeDowngrade,
    /// A number no Kafka knows.
    Unknown,
}

/// A feature that shall have another level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSpec {
    /// Its name.
    pub name: String,
    /// The level; 0 is off.
    pub level: i16,
    /// Whether it may be lower than now.
    pub kind: UpgradeKind,
}
