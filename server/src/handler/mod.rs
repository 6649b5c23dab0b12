//! From a framed request to a framed response. [`Broker`] is one shard's view of the whole broker;
//! each API has a file of its own below. This module knows no sockets: it takes the bytes of one
//! frame and hands back pieces of memory and ranges of files, which the connection sends in order.

mod alter_configs;
mod alter_partition_reassignments;
#[cfg(test)]
mod any_request_tests;
mod api_versions;
mod config_changes;
mod configs;
mod consumer_group_describe;
mod consumer_group_heartbeat;
#[cfg(test)]
mod consumer_group_tests;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod dispatch;
mod elect_leaders;
mod errors;
mod fetch;
mod find_coordinator;
mod group;
#[cfg(test)]
mod group_tests;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod live_settings;
mod loggers;
mod made_topics;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod request;
mod response;
mod sync_group;
#[cfg(test)]
mod test_kit;
mod topics;
mod turns;
mod update_features;
mod workload;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_storage::error::StoreError;
use ringmain_storage::io::Io;
use ringmain_storage::manager::stopping::StoppedLogs;
use ringmain_storage::types::{LeaderEpoch, PartitionIndex, PartitionKey, ShardSlot};

use crate::config::layers::Layers;
use crate::control::ControllerClient;
use crate::counters::ShardCounters;
use crate::group::{Coordinators, GroupSettings, OFFSETS_TOPIC};
use crate::metadata::image::{ConfigResource, MetadataImage, TopicImage};
use crate::metadata::request::{ImageChanges, ImageUpdate};
use crate::metadata::store::MetadataStore;
use crate::partition::watch::Watch;
use crate::partition::{Partition, Partitions, Purgatory, Stores};
use crate::runtime::logging::LogFilter;
use crate::runtime::router::Router;
use crate::runtime::traffic::Traffic;
use init_producer_id::ProducerIds;
use live_settings::LiveSettings;

pub use made_topics::{InternalTopic, InternalTopics};
pub use request::{BadRequest, ListenerId, Peer, Request};
pub use response::{Part, Response};
pub use workload::{Right, Workload};

/// An address that the broker listens on, and the name of its listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerAddress {
    /// As it is bound: it may stand for every address.
    pub address: SocketAddr,
    /// The listener's name, such as `PLAINTEXT`.
    pub name: String,
}

/// What the handlers need to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `node.id`.
    pub node_id: i32,
    /// Where clients come through; each is told the advertised addresses of its own listener.
    pub listeners: Vec<ListenerAddress>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `fetch.max.bytes`: the most one fetch may ask for.
    pub fetch_max_bytes: usize,
    /// `max.request.partition.size.limit`: the most partitions one answer describes.
    pub request_partitions_max: usize,
    /// `ringmain.recordless.request.max.bytes`: the largest request of any kind but Produce.
    pub recordless_request_bytes_max: usize,
    /// The largest batch that storage takes: no topic may promise more.
    pub batch_bytes_max: usize,
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// Those of them that could not be used when the broker was started.
    pub offline_log_dirs: Vec<PathBuf>,
    /// Set for good once a shard found a partition that cannot be used.
    pub has_offline_partitions: Arc<AtomicBool>,
    /// What groups are bound to.
    pub groups: GroupSettings,
    /// How the topic that holds them is made.
    pub internal_topics: InternalTopics,
    /// `max.incremental.fetch.session.cache.slots`: fetch sessions of all shards together.
    pub fetch_sessions_max: usize,
    /// Keys that were set when the broker was started, by file, flag or environment, with their values.
    pub set_at_start: BTreeMap<String, String>,
    /// The filter of the log.
    pub log: LogFilter,
}

/// What a shard's broker is made of.
#[derive(Debug)]
pub struct BrokerParts<I: Io> {
    /// Time and tasks of this shard.
    pub io: I,
    /// The logs of this shard.
    pub stores: Stores<I>,
    /// The way to the other shards.
    pub router: Router<Broker<I>>,
    /// The newest metadata.
    pub store: Arc<MetadataStore>,
    /// Who changes them.
    pub controller: ControllerClient,
    /// The configuration.
    pub settings: Settings,
    /// What this shard counts.
    pub counters: Arc<ShardCounters>,
}

/// The broker as one shard sees it. Lives on the shard's thread; connections share it by `Rc`.
#[derive(Debug)]
pub struct Broker<I: Io> {
    parts: BrokerParts<I>,
    partitions: Partitions<I>,
    /// Those that ought to be here and cannot be used.
    offline: RefCell<BTreeSet<PartitionKey>>,
    purgatory: Purgatory,
    coordinators: Coordinators<I>,
    producer_ids: ProducerIds,
    opener: Rc<produce::Opener>,
    live: LiveSettings,
    sessions: fetch::Sessions,
    /// This shard's part of fetch sessions, by the session's number; `None` while a fetch uses it.
    watches: RefCell<HashMap<i32, Option<Watch<I>>>>,
}

impl<I: Io> Broker<I> {
    /// Puts a broker together. Nothing runs until a request comes.
    pub fn new(parts: BrokerParts<I>) -> Rc<Self> {
        let Settings { node_id, set_at_start, .. } = &parts.settings;
        let live = LiveSettings::new(&live_settings::layers(&parts.store.image(), *node_id, set_at_start));
        let (groups, counters) = (parts.settings.groups.clone(), Arc::clone(&parts.counters));
        let coordinators = Coordinators::new(groups, Arc::clone(&parts.store), counters);
        Rc::new(Self {
            live,
            parts,
            coordinators,
            partitions: Partitions::default(),
            offline: RefCell::default(),
            purgatory: Purgatory::default(),
            producer_ids: ProducerIds::default(),
            opener: Rc::default(),
            sessions: fetch::Sessions::default(),
            watches: RefCell::default(),
        })
    }

    /// Opens every partition that the metadata say this broker holds on this shard, and makes the logs that are
    /// missing. Call it once, before the first request. Logs the metadata do not know stay where they are, unused.
    pub async fn open_partitions(&self) -> Result<usize, StoreError> {
        let image = self.image();
        for topic in image.topics() {
            for index in (0_i32..).take(topic.partitions.len()) {
                self.open_partition(&image, topic, PartitionIndex(index), false).await?;
            }
        }
        let offline = self.offline.borrow().len();
        if offline > 0 {
            tracing::error!("{offline} partitions are offline");
        }
        Ok(self.partitions.len())
    }

    /// Has every shard do what a change of the metadata asks of it, then says so. What fails is logged: the change
    /// stands, the partition it failed for is not led.
    pub async fn announce(self: &Rc<Self>, update: ImageUpdate) {
        let ImageUpdate { changes, ack } = update;
        let others = (0..self.router().shard_count()).filter(|shard| *shard != self.router().me());
        let sent: Vec<_> = others
            .map(|shard| {
                let changes = changes.clone();
                self.router().send(shard, async move |broker: Rc<Self>| broker.apply(changes).await)
            })
            .collect();
        let mut results = vec![self.apply(changes).await];
        // A shard that has ended has nothing to act on; it reads the image when it comes again.
        results.extend(futures::future::join_all(sent).await.into_iter().flatten());
        for error in results.into_iter().filter_map(Result::err) {
            tracing::error!("a change of the metadata could not be carried out: {error}");
        }
        // Whoever waits for the answer may have gone: then there is nobody to tell.
        let _ = ack.send(());
    }

    /// Does what a change of the metadata asks of this shard. An error concerns only the partition it names: the
    /// others are done.
    async fn apply(&self, changes: ImageChanges) -> Result<(), StoreError> {
        let ImageChanges { image, created, deleted, changed, deleted_topics, configs } = changes;
        let mut result = Ok(());
        let is_own =
            configs.iter().any(|resource| live_settings::concerns(resource, self.settings().node_id));
        let has_new_defaults = is_own && self.live.refresh(&self.layers(&image));
        for key in deleted.into_iter().filter(|key| self.owner(*key) == self.router().me()) {
            self.take_partition(key);
            self.set_offline(key, false);
            match self.parts.stores.delete_log(key).await {
                Ok(()) | Err(StoreError::UnknownLog(_)) => {}
                Err(error) => result = Err(error),
            }
        }
        self.coordinators.topics_deleted(deleted_topics);
        let created = created.into_iter().map(|(key, _)| (key, true));
        for (key, is_new) in created.chain(changed.into_iter().map(|key| (key, false))) {
            if let Some(topic) = image.topic_by_id(key.topic_id)
                && let Err(error) = self.open_partition(&image, topic, key.partition, is_new).await
            {
                result = Err(error);
            }
        }
        if has_new_defaults {
            image.topics().for_each(|topic| self.configure(&image, &topic.name));
        } else {
            let of_topics = configs.iter().filter(|resource| resource.kind == ConfigResource::TOPIC);
            of_topics.for_each(|resource| self.configure(&image, &resource.name));
        }
        result
    }

    /// Bytes of records that the store could let go of if no answer held them.
    pub fn lingering_bytes(&self) -> usize {
        self.parts.stores.lingering_bytes()
    }

    /// Stops the stores of this shard: see [`Stores::stop`].
    pub async fn stop_stores(&self) -> Vec<Result<StoppedLogs, StoreError>> {
        self.parts.stores.stop().await
    }

    /// The listener that a connection with this address at our end came through: addresses first, since a port may have
    /// one listener for IPv4 and one for IPv6.
    pub fn listener_at(&self, local: SocketAddr) -> ListenerId {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let listeners = &self.settings().listeners;
        let find = |fits: &dyn Fn(&SocketAddr) -> bool| {
            listeners
                .iter()
                .position(|listener| listener.address.port() == local.port() && fits(&listener.address))
        };
        let same = find(&|address| address.ip() == local.ip());
        let same_kind = || find(&|address| address.is_ipv6() == local.is_ipv6());
        ListenerId(same.or_else(same_kind).or_else(|| find(&|_| true)).unwrap_or_default())
    }

    /// Ends all waits: fetches answer with what they have, members of groups look for another coordinator. For a broker
    /// that stops.
    pub fn stop_waiting(&self) {
        self.purgatory.stop();
        self.coordinators.stop();
    }

    /// Opens a partition if this shard leads it, and makes its log if nobody has it. Only of a new one can that be said
    /// while a log directory is offline: any other may stand there, and is offline with it.
    async fn open_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: PartitionIndex,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let Some(described) = usize::try_from(index.0).ok().and_then(|at| topic.partitions.get(at)) else {
            return Ok(());
        };
        let key = PartitionKey { topic_id: topic.id, partition: index };
        if self.owner(key) != self.router().me() {
            return Ok(());
        }
        if described.leader != self.parts.settings.node_id {
            self.take_partition(key);
            return Ok(());
        }
        let leader_epoch = LeaderEpoch(described.leader_epoch);
        if let Some(partition) = self.partitions.get(key) {
            partition.set_leader_epoch(leader_epoch);
            return Ok(());
        }
        let is_elsewhere = !is_new && !self.settings().offline_log_dirs.is_empty();
        if is_elsewhere && !self.parts.stores.has_log(key) {
            self.set_offline(key, true);
            return Ok(());
        }
        let settings = Rc::new(self.live.of_topic(image, &topic.name));
        let log = match self.parts.stores.create_log(key, &topic.name, settings.log.clone()).await {
            Ok(log) => log,
            Err(StoreError::Offline { reason }) => {
                tracing::error!("{}-{index} is offline: {reason}", topic.name);
                self.set_offline(key, true);
                return Ok(());
            }
            Err(error) if error.is_no_space() => {
                tracing::error!("{}-{index} is offline until a start finds room for it: {error}", topic.name);
                self.set_offline(key, true);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        log.set_config(settings.log.clone());
        let partition = self.partitions.insert(Partition::new(key, log, leader_epoch, settings));
        if &*topic.name == OFFSETS_TOPIC {
            self.coordinators.load(self.io(), &partition);
        }
        Ok(())
    }

    /// Leads a partition no more.
    fn take_partition(&self, key: PartitionKey) {
        self.partitions.remove(key);
        self.coordinators.unload(key);
    }

    /// Notes that a partition ought to be here and cannot be used, or that it is gone.
    fn set_offline(&self, key: PartitionKey, is_offline: bool) {
        let mut offline = self.offline.borrow_mut();
        if is_offline {
            offline.insert(key);
            self.settings().has_offline_partitions.store(true, Relaxed);
        } else {
            offline.remove(&key);
        }
        self.counters().partitions_offline.set_len(offline.len());
    }

    /// Whether a partition may be missing because it cannot be used.
    fn has_offline(&self) -> bool {
        self.settings().has_offline_partitions.load(Relaxed)
    }

    /// Why a partition is not here, of which the metadata know: another broker leads it, or nobody can.
    fn absent(&self, key: PartitionKey) -> ErrorCode {
        let image = self.image();
        let topic = image.topic_by_id(key.topic_id);
        let described = usize::try_from(key.partition.0).ok().and_then(|at| topic?.partitions.get(at));
        let is_own = described.is_some_and(|described| described.leader == self.settings().node_id);
        if is_own && self.has_offline() {
            ErrorCode::KafkaStorageError
        } else {
            ErrorCode::NotLeaderOrFollower
        }
    }

    /// Hands a topic's configuration to its partitions.
    fn configure(&self, image: &MetadataImage, name: &str) {
        let Some(topic) = image.topic_by_name(name) else { return };
        let settings = Rc::new(self.live.of_topic(image, name));
        for index in (0_i32..).take(topic.partitions.len()) {
            let key = PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) };
            if let Some(partition) = self.partitions.get(key) {
                partition.set_settings(Rc::clone(&settings));
            }
        }
    }

    /// What this shard counts.
    pub fn counters(&self) -> &ShardCounters {
        &self.parts.counters
    }

    /// How many partitions this shard leads.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// How much work of other shards waits for this one.
    pub fn mailbox_depth(&self) -> usize {
        let router = &self.parts.router;
        router.depths().nth(router.me()).unwrap_or_default()
    }

    /// The text that holds now for one of the broker's keys, empty if there is none.
    pub fn text(&self, name: &str) -> String {
        self.layers(&self.image()).text(name).unwrap_or_default().to_owned()
    }

    /// The number that holds now for one of the broker's keys, dynamic ones included.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.layers(&self.image()).integer(name)
    }

    /// The layers of this broker's configuration.
    fn layers<'a>(&'a self, image: &'a MetadataImage) -> Layers<'a> {
        live_settings::layers(image, self.settings().node_id, &self.settings().set_at_start)
    }

    fn io(&self) -> &I {
        &self.parts.io
    }

    fn image(&self) -> Arc<MetadataImage> {
        self.parts.store.image()
    }

    fn partition(&self, key: PartitionKey) -> Option<Rc<Partition<I>>> {
        self.partitions.get(key)
    }

    /// Runs `work` with the partition on the shard that owns it, and gives back what it returns; `None` if it
    /// is not led here. Dropping the future may leave the work done or not begun, never half undone.
    async fn at_partition<R, W>(&self, key: PartitionKey, work: W) -> Option<R>
    where
        R: Send + 'static,
        W: AsyncFnOnce(Rc<Partition<I>>) -> R + Send + 'static,
    {
        let owner = self.owner(key);
        if owner == self.router().me() {
            return match self.partition(key) {
                Some(partition) => Some(work(partition).await),
                None => None,
            };
        }
        let sent = self.router().send(owner, async move |broker| match broker.partition(key) {
            Some(partition) => Some(work(partition).await),
            None => None,
        });
        sent.await.ok().flatten()
    }

    /// Index of the shard that owns a partition.
    fn owner(&self, key: PartitionKey) -> usize {
        let count = u32::try_from(self.router().shard_count()).unwrap_or(u32::MAX);
        usize::try_from(ShardSlot::owner(key, count)).unwrap_or(0)
    }

    /// The way to the other shards.
    pub(crate) fn router(&self) -> &Router<Self> {
        &self.parts.router
    }

    fn controller(&self) -> &ControllerClient {
        &self.parts.controller
    }

    fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    fn listener_name(&self, listener: ListenerId) -> &str {
        self.settings().listeners.get(listener.0).map_or("", |listener| listener.name.as_str())
    }

    fn purgatory(&self) -> &Purgatory {
        &self.purgatory
    }

    fn sessions(&self) -> &fetch::Sessions {
        &self.sessions
    }

    fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }
}

/// Who asks, and in which version.
struct Context {
    version: i16,
    client_id: Option<bytes::Bytes>,
    /// Bytes of the request's frame.
    frame_bytes: usize,
    /// The other end of the connection.
    peer: Peer,
    /// Told whose partitions the request is about.
    traffic: Traffic,
    /// The right to work on it, if it needs one: who waits for others than itself gives it back.
    right: Cell<Option<Right>>,
}

impl Context {
    /// Whether the client calls itself as Kafka's own brokers do when they write internal topics
    /// (`AdminUtils.ADMIN_CLIENT_ID`).
    fn is_admin_client(&self) -> bool {
        self.client_id.as_deref() == Some(b"__admin_client")
    }
}

/// What a handler comes to.
enum Answer<R> {
    /// A response, and the record bytes its external runs stand for.
    Body {
        /// The response.
        body: R,
        /// One list of slices for each external run, by its index.
        slices: Vec<Vec<ringmain_storage::segment::Slice>>,
    },
    /// Nothing is sent.
    Nothing,
    /// The connection ends; the text says why.
    Close(String),
}

impl<R> From<R> for Answer<R> {
    fn from(body: R) -> Self {
        Self::Body { body, slices: Vec::new() }
    }
}
