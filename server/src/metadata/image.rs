//! The cluster's metadata at one offset of the metadata log, immutable.
//!
//! Shards read it without locks: they take the `Arc` that the [store](super::store) holds and look things up
//! in it. A newer image shares all topics that did not change. Only [replay](super::delta) makes images, so
//! that nothing but records ever changes what the cluster is.
//! Knows no request, no response and no API version.

use super::carried::Carried;
use super::chunk_map::ChunkMap;
use ringmain_storage::types::TopicId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A UUID of the metadata records that is no topic's: a log directory, a process's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub [u8; 16]);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TopicId(self.0).fmt(f)
    }
}

/// The configuration set on a resource.
pub type ConfigMap = BTreeMap<Arc<str>, Arc<str>>;

/// The metadata at one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataImage {
    /// The cluster's id, as in `meta.properties`.
    pub cluster_id: Arc<str>,
    /// End (exclusive) of the records that made this image.
    pub end_offset: i64,
    /// Leader epoch of the last of those records.
    pub epoch: i32,
    /// Finalized feature levels above 0, by name; `metadata.version` is one of them.
    pub features: Arc<BTreeMap<Arc<str>, i16>>,
    /// Level of `kraft.version`, which control records keep.
    pub kraft_version: i16,
    /// Registered brokers by node id.
    pub brokers: Arc<BTreeMap<i32, BrokerImage>>,
    /// Registered controllers by node id.
    pub controllers: Arc<BTreeMap<i32, ControllerImage>>,
    /// Dynamic configuration that is set, by resource.
    pub configs: ChunkMap<ConfigResource, Arc<ConfigMap>>,
    /// First producer id no block was handed out for yet.
    pub next_producer_id: i64,
    /// Records that ringmain keeps for others but does not act on yet.
    pub carried: Carried,
    pub(super) topics_by_name: ChunkMap<Arc<str>, Arc<TopicImage>>,
    pub(super) topics_by_id: ChunkMap<TopicId, Arc<TopicImage>>,
    /// Topics whose names hold '.' or '_', by the name that metrics give them.
    pub(super) topics_by_metric_name: ChunkMap<String, Arc<str>>,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// Its node id.
    pub id: i32,
    /// Offset of its registration record.
    pub epoch: i64,
    /// Made anew by every process.
    pub incarnation_id: Id,
    /// Where clients reach it.
    pub listeners: Vec<Endpoint>,
    /// Feature levels it supports: name, lowest, highest.
    pub features: Vec<FeatureRange>,
    /// Its rack, if it told one.
    pub rack: Option<Arc<str>>,
    /// Not in service: it leads nothing and clients are not sent to it.
    pub fenced: bool,
    /// About to stop.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories that are online.
    pub log_dirs: Vec<Id>,
    /// Ids of the log directories that take no new replicas; `None` until the broker told.
    pub cordoned_log_dirs: Option<Vec<Id>>,
}

impl BrokerImage {
    /// Whether new replicas may be placed on it and partitions led by it.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerImage {
    /// Its node id.
    pub id: i32,
    /// Made anew by every process.
    pub incarnation_id: Id,
    /// Whether it could take part in a move away from `ZooKeeper`.
    pub zk_migration_ready: bool,
    /// Where brokers reach it.
    pub listeners: Vec<Endpoint>,
    /// Feature levels it supports.
    pub features: Vec<FeatureRange>,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub name: Arc<str>,
    /// Host name or address to tell clients.
    pub host: Arc<str>,
    /// Port to tell clients.
    pub port: u16,
    /// Kafka's number of the security protocol: 0 plaintext, 1 TLS, 2 SASL, 3 SASL over TLS.
    pub security_protocol: i16,
}

/// The levels of a feature that a node supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature's name.
    pub name: Arc<str>,
    /// Lowest level supported.
    pub min: i16,
    /// Highest level supported.
    pub max: i16,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, new whenever a topic is made, even under an old name.
    pub id: TopicId,
    /// Its partitions; the index is the partition's.
    pub partitions: Vec<PartitionImage>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Log directory of each replica, in the order of `replicas`; zero means unassigned.
    pub directories: Vec<Id>,
    /// Replicas in sync.
    pub isr: Vec<i32>,
    /// Replicas being taken away.
    pub removing_replicas: Vec<i32>,
    /// Replicas being added.
    pub adding_replicas: Vec<i32>,
    /// Replicas that may be elected though not in sync (KIP-966).
    pub elr: Vec<i32>,
    /// What was the last of the eligible ones (KIP-966).
    pub last_known_elr: Vec<i32>,
    /// The leader; −1 is none.
    pub leader: i32,
    /// Whether the leader came from an unclean election and has not recovered yet.
    pub recovering: bool,
    /// Counts the changes of leader.
    pub leader_epoch: i32,
    /// Counts the changes of this record.
    pub partition_epoch: i32,
}

/// What a dynamic configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// Kafka's number of the kind: 2 topic, 4 broker, 16 client metrics, 32 group.
    pub kind: i8,
    /// Name of the topic or id of the broker; empty for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// Kind of a topic.
    pub const TOPIC: i8 = 2;
    /// Kind of a broker; with an empty name, of all brokers.
    pub const BROKER: i8 = 4;
    /// Kind of a broker's loggers; no record tells of them.
    pub const BROKER_LOGGER: i8 = 8;
    /// Kind of a subscription of client metrics.
    pub const CLIENT_METRICS: i8 = 16;
    /// Kind of a group.
    pub const GROUP: i8 = 32;
    /// The kinds of resources that Kafka knows.
    pub const KINDS: [i8; 5] =
        [Self::TOPIC, Self::BROKER, Self::BROKER_LOGGER, Self::CLIENT_METRICS, Self::GROUP];

    /// The resource of a topic.
    pub fn topic(name: &str) -> Self {
        Self { kind: Self::TOPIC, name: Arc::from(name) }
    }

    /// The resource of a group.
    pub fn group(name: &str) -> Self {
        Self { kind: Self::GROUP, name: Arc::from(name) }
    }

    /// The resource of a broker, or of all of them when `name` is empty.
    pub fn broker(name: &str) -> Self {
        Self { kind: Self::BROKER, name: Arc::from(name) }
    }
}

impl MetadataImage {
    /// The image before the first record.
    pub fn empty(cluster_id: &str) -> Self {
        Self {
            cluster_id: Arc::from(cluster_id),
            end_offset: 0,
            epoch: 0,
            features: Arc::default(),
            kraft_version: 0,
            brokers: Arc::default(),
            controllers: Arc::default(),
            configs: ChunkMap::default(),
            next_producer_id: 0,
            carried: Carried::default(),
            topics_by_name: ChunkMap::default(),
            topics_by_id: ChunkMap::default(),
            topics_by_metric_name: ChunkMap::default(),
        }
    }

    /// The topic of that name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics_by_name.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics_by_name.values()
    }

    /// The topic that metrics cannot tell from one of this name, if there is one; it may be the name itself.
    pub fn topic_with_metric_name_of(&self, name: &str) -> Option<&Arc<str>> {
        self.topics_by_metric_name.get(&metric_name(name)?)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics_by_name.len()
    }

    /// What is set on a topic; `None` when nothing is.
    pub fn topic_config(&self, name: &str) -> Option<&Arc<ConfigMap>> {
        self.configs.get(&ConfigResource::topic(name))
    }

    /// The finalized level of a feature; 0 when it is off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
}

/// The name that metrics give a topic, where '.' becomes '_'; `None` for names that hold neither.
pub(super) fn metric_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
