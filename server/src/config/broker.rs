//! The configuration as the broker uses it: typed, checked across keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringmain_storage::config::{Durability, StoreConfig};

use super::layers::Layers;
use super::listeners::Listeners;
use super::resolve::{ConfigError, Resolved};
use super::{groups, node};
use crate::group::GroupSettings;
use crate::handler::{InternalTopic, InternalTopics};
use crate::net::NetLimits;
use crate::partition::TopicSettings;

/// All that a start needs.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `broker.rack`: where it stands.
    pub rack: Option<String>,
    /// `ringmain.cluster.id`.
    pub cluster_id: Option<String>,
    /// Where to listen, and what clients are told.
    pub listeners: Listeners,
    /// Where metrics and health are served, and whether somebody asked for that (`ringmain.admin.listener`).
    pub admin: Option<(SocketAddr, bool)>,
    /// `socket.listen.backlog.size`.
    pub listen_backlog: i32,
    /// The data directories (`log.dirs`), at least one, none twice.
    pub log_dirs: Vec<PathBuf>,
    /// `ringmain.shards`; `None` leaves one CPU of those the process may use to others.
    pub shards: Option<usize>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub metadata_snapshot_log_bytes: u64,
    /// What topics have if nothing is set on them.
    pub topic_defaults: TopicSettings,
    /// Limits of connections.
    pub net: NetLimits,
    /// What groups are bound to, all shards together.
    pub groups: GroupSettings,
    /// How the topics that belong to the brokers are made.
    pub internal_topics: InternalTopics,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `max.request.partition.size.limit`.
    pub request_partitions_max: usize,
    /// `ringmain.recordless.request.max.bytes`: the largest request of any kind but Produce.
    pub recordless_request_bytes_max: usize,
    /// The engine's limits.
    pub store: StoreConfig,
    /// `ringmain.log.filter`.
    pub log_filter: String,
    /// What a person should know of the configuration, one line each.
    pub notes: Vec<String>,
    /// Every key somebody set, for `DescribeConfigs`.
    pub set_at_start: BTreeMap<String, String>,
}

impl BrokerConfig {
    /// Makes it from values that passed one by one. `memory_bytes` is what the machine has.
    pub fn new(resolved: &Resolved, memory_bytes: u64) -> Result<Self, ConfigError> {
        node::check(resolved)?;
        check_overrides(resolved)?;
        let listeners = Listeners::new(resolved)?;
        let mut notes = resolved.notes();
        notes.extend(listeners.notes.iter().cloned());
        let log_dirs = log_dirs(resolved)?;
        let mut store = StoreConfig::new(&log_dirs[0]);
        let quarter = usize::try_from((memory_bytes / 4).clamp(16 << 20, 1 << 30)).unwrap_or(1 << 30);
        store.tail_cache_bytes = match resolved.integer("ringmain.tail.cache.bytes") {
            None => quarter,
            set => count(set),
        };
        if resolved.text("ringmain.durability") == Some("relaxed") {
            store.durability = Durability::Relaxed;
        }
        store.retention_check_interval =
            Duration::from_millis(count_u64(resolved.integer("log.retention.check.interval.ms")));
        let set_at_start = resolved.set_at_start();
        let topic_defaults =
            TopicSettings::of_broker(&Layers { own: None, all: None, at_start: &set_at_start });
        store.journal_file_bytes = journal_file_bytes(resolved, topic_defaults.log.max_message_bytes as u64)?;
        Ok(Self {
            node_id: i32::try_from(resolved.integer("node.id").unwrap_or(1)).unwrap_or(1),
            rack: resolved.text("broker.rack").map(str::to_owned),
            cluster_id: resolved.text("ringmain.cluster.id").map(str::to_owned),
            listeners,
            listen_backlog: i32::try_from(resolved.integer("socket.listen.backlog.size").unwrap_or(0))
                .unwrap_or(i32::MAX),
            admin: admin(resolved)?,
            notes,
            log_dirs,
            shards: resolved.integer("ringmain.shards").and_then(|shards| usize::try_from(shards).ok()),
            auto_create_topics: resolved.bool("auto.create.topics.enable"),
            delete_topics: resolved.bool("delete.topic.enable"),
            num_partitions: i32::try_from(resolved.integer("num.partitions").unwrap_or(1)).unwrap_or(1),
            default_replication_factor: i16::try_from(
                resolved.integer("default.replication.factor").unwrap_or(1),
            )
            .unwrap_or(1),
            metadata_snapshot_log_bytes: count_u64(
                resolved.integer("metadata.log.max.record.bytes.between.snapshots"),
            ),
            topic_defaults,
            net: net_limits(resolved, memory_bytes),
            groups: groups::settings(resolved, memory_bytes)?,
            internal_topics: internal_topics(resolved),
            fetch_max_bytes: count(resolved.integer("fetch.max.bytes")),
            fetch_sessions_max: count(resolved.integer("max.incremental.fetch.session.cache.slots")),
            request_partitions_max: count(resolved.integer("max.request.partition.size.limit")),
            recordless_request_bytes_max: count(resolved.integer("ringmain.recordless.request.max.bytes")),
            store,
            log_filter: resolved.text("ringmain.log.filter").unwrap_or("info").to_owned(),
            set_at_start,
        })
    }
}

/// Length of a journal file: as set, else the default or what the largest batch needs.
fn journal_file_bytes(resolved: &Resolved, batch_bytes_max: u64) -> Result<u64, ConfigError> {
    const KEY: &str = "ringmain.journal.file.bytes";
    const LARGEST: u64 = 1 << 30;
    let file_bytes = count_u64(resolved.integer(KEY)) / 4096 * 4096;
    let needed = (batch_bytes_max + 65_536).next_multiple_of(1 << 20);
    match needed {
        _ if needed <= file_bytes => Ok(file_bytes),
        _ if needed <= LARGEST && !resolved.is_set(KEY) => Ok(needed),
        _ => {
            let problem = format!(
                "a batch must fit into a journal file: {KEY} has to be {needed} at least, {LARGEST} at most"
            );
            Err(resolved.refuse("message.max.bytes", problem))
        }
    }
}

/// Limits of all connections together, of which [`NetLimits::of_shard`] makes each shard's part.
fn net_limits(resolved: &Resolved, memory_bytes: u64) -> NetLimits {
    let ms = |name| Duration::from_millis(count_u64(resolved.integer(name)));
    let eighth = usize::try_from(memory_bytes / 8).unwrap_or(usize::MAX).max(64 << 20);
    let bytes = |name| match resolved.integer(name) {
        None | Some(-1) => eighth,
        set => count(set),
    };
    NetLimits {
        request_bytes_max: count(resolved.integer("socket.request.max.bytes")),
        requests_in_flight_max: count(resolved.integer("ringmain.requests.in.flight.max")),
        lingering_bytes: Arc::default(),
        shard_count: 1,
        admissions: Arc::default(),
        // −1, which is no duration, stands for never.
        idle_max: Some(ms("connections.max.idle.ms")).filter(|idle| !idle.is_zero()).unwrap_or(Duration::MAX),
        first_request_max: ms("ringmain.first.request.timeout.ms"),
        received_bytes_max: bytes("queued.max.request.bytes"),
        unsent_bytes_max: bytes("ringmain.unsent.response.max.bytes"),
    }
}

/// How the topics that belong to the brokers are made.
fn internal_topics(resolved: &Resolved) -> InternalTopics {
    let int = |name: &'static str| i32::try_from(resolved.integer(name).unwrap_or(0)).unwrap_or(i32::MAX);
    let set = |name| resolved.is_set(name).then(|| i16::try_from(int(name)).unwrap_or(i16::MAX));
    InternalTopics {
        offsets: InternalTopic {
            partition_count: int("offsets.topic.num.partitions"),
            replication_factor: set("offsets.topic.replication.factor"),
            segment_bytes: int("offsets.topic.segment.bytes"),
        },
        transactions: InternalTopic {
            partition_count: int("transaction.state.log.num.partitions"),
            replication_factor: set("transaction.state.log.replication.factor"),
            segment_bytes: int("transaction.state.log.segment.bytes"),
        },
        transactions_isr_min: set("transaction.state.log.min.isr"),
    }
}

/// Refuses an override of `max.connections.per.ip` that would never hold.
fn check_overrides(resolved: &Resolved) -> Result<(), ConfigError> {
    const KEY: &str = "max.connections.per.ip.overrides";
    for pair in resolved.list(KEY) {
        let (host, count) = pair.rsplit_once(':').unwrap_or((pair, ""));
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() || count.trim().parse::<u32>().is_err() {
            return Err(resolved.refuse(KEY, format!("{pair:?} is not of the form ADDRESS:COUNT")));
        }
    }
    Ok(())
}

/// Where the admin listener is, and whether it was set.
fn admin(resolved: &Resolved) -> Result<Option<(SocketAddr, bool)>, ConfigError> {
    const KEY: &str = "ringmain.admin.listener";
    let text = resolved.text(KEY).unwrap_or("off");
    if text == "off" {
        return Ok(None);
    }
    let address = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let address =
        address.ok_or_else(|| resolved.refuse(KEY, "it is not of the form HOST:PORT, nor `off`"))?;
    Ok(Some((address, resolved.is_set(KEY))))
}

/// The directories of `log.dirs`, at least one, none twice.
fn log_dirs(resolved: &Resolved) -> Result<Vec<PathBuf>, ConfigError> {
    let mut directories: Vec<PathBuf> = Vec::new();
    for directory in resolved.list("log.dirs").into_iter().map(PathBuf::from) {
        if directories.contains(&directory) {
            return Err(resolved.refuse("log.dirs", format!("{} stands there twice", directory.display())));
        }
        directories.push(directory);
    }
    if directories.is_empty() {
        return Err(resolved.refuse("log.dirs", "at least one directory is needed"));
    }
    Ok(directories)
}

/// A number that is not negative; 0 if it is not set.
pub(super) fn count(value: Option<i64>) -> usize {
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
}

/// The same with 64 bits.
pub(super) fn count_u64(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::Sources;

    fn config(set: &[&str]) -> Result<BrokerConfig, ConfigError> {
        let sources =
            Sources { set: set.iter().map(|&entry| entry.to_owned()).collect(), ..Sources::default() };
        BrokerConfig::new(&Resolved::new(&sources).unwrap(), 8 << 30)
    }

    #[test]
    fn no_configuration_is_a_working_one() {
        let config = config(&[]).unwrap();
        assert!(config.notes.is_empty(), "{:?}", config.notes);
        assert_eq!(config.topic_defaults, TopicSettings::default());
        assert!(config.auto_create_topics);
        assert_eq!(config.store.tail_cache_bytes, 1 << 30);
        assert_eq!(config.net.idle_max, Duration::from_mins(10));
    }

    #[test]
    fn durability_is_strict_unless_somebody_relaxes_it() {
        assert_eq!(config(&[]).unwrap().store.durability, Durability::Strict);
        assert_eq!(config(&["ringmain.durability=relaxed"]).unwrap().store.durability, Durability::Relaxed);
        let settings = ["log.flush.interval.messages=7", "log.flush.interval.ms=8"];
        let log = config(&settings).unwrap().topic_defaults.log;
        assert_eq!((log.flush_messages, log.flush_ms), (7, 8));
    }

    #[test]
    fn connections_may_be_idle_for_ever_as_in_kafka() {
        assert_eq!(config(&["connections.max.idle.ms=-1"]).unwrap().net.idle_max, Duration::MAX);
    }

    #[test]
    fn the_admin_listener_may_be_moved_or_switched_off() {
        assert_eq!(config(&[]).unwrap().admin, Some((SocketAddr::from(([127, 0, 0, 1], 9644)), false)));
        let moved = config(&["ringmain.admin.listener=0.0.0.0:1"]).unwrap().admin;
        assert_eq!(moved, Some((SocketAddr::from(([0, 0, 0, 0], 1)), true)));
        assert_eq!(config(&["ringmain.admin.listener=off"]).unwrap().admin, None);
        assert!(config(&["ringmain.admin.listener=9644"]).is_err());
        assert!(config(&["max.connections.per.ip.overrides=127.0.0.1:5,[::1]:7"]).is_ok());
        assert!(config(&["max.connections.per.ip.overrides=some.host:5"]).is_err());
    }

    #[test]
    fn journal_files_are_as_large_as_the_largest_batch_needs() {
        let bytes = |set: &[&str]| config(set).map(|config| config.store.journal_file_bytes);
        assert_eq!(bytes(&[]).unwrap(), 32 << 20);
        assert_eq!(bytes(&["message.max.bytes=104857600"]).unwrap(), 101 << 20);
        assert!(bytes(&["message.max.bytes=2000000000"]).is_err());
        let both = ["message.max.bytes=104857600", "ringmain.journal.file.bytes=33554432"];
        assert!(bytes(&both).unwrap_err().to_string().contains("ringmain.journal.file.bytes"));
    }

    #[test]
    fn several_directories_are_taken_and_the_same_one_twice_is_not() {
        assert_eq!(
            config(&["log.dirs=/a, /b"]).unwrap().log_dirs,
            [PathBuf::from("/a"), PathBuf::from("/b")]
        );
        assert!(config(&["log.dirs=/a,/b/c,/a/"]).unwrap_err().to_string().contains("twice"));
        assert!(config(&["log.dirs=,"]).is_err());
    }

    #[test]
    fn retention_falls_back_from_ms_to_minutes_to_hours() {
        let retention = |set: &[&str]| config(set).unwrap().topic_defaults.log.retention_ms;
        assert_eq!(retention(&["log.retention.hours=1"]), 3_600_000);
        assert_eq!(retention(&["log.retention.hours=1", "log.retention.minutes=2"]), 120_000);
        assert_eq!(retention(&["log.retention.minutes=2", "log.retention.ms=-1"]), -1);
    }
}
