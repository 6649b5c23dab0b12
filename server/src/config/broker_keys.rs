//! The broker's keys. Names, meanings and defaults are Apache Kafka 4.x's where Kafka has the key;
//! a default that differs says so in its description.

use super::table::{Key, Kind, Unit};
use super::{group_keys, internal_topic_keys};

const INT_MAX: i64 = i32::MAX as i64;
const COMPRESSION: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// Every key of the broker that is not about groups.
const KEYS: &[Key] = &[
    Key::new("node.id", Kind::Int(0, INT_MAX), Some("1"), "This broker's id in its cluster."),
    Key::new(
        "log.dirs",
        Kind::List,
        Some("./data"),
        "The directories that hold the logs, comma-separated, each on a drive of its own.",
    ),
    Key::new(
        "ringmain.shards",
        Kind::Int(1, 1024),
        None,
        "Shards, each a thread pinned to a CPU with partitions, a journal and connections of its own (`--shards`). \
         Not set: one less than the CPUs that the process may use, at least one.",
    ),
    Key::new(
        "listeners",
        Kind::List,
        Some("PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092"),
        "Where the broker listens: NAME://HOST:PORT, comma-separated. Without a host it listens on every address.",
    ),
    Key::new(
        "advertised.listeners",
        Kind::List,
        None,
        "What clients of each listener are told to connect to. Not set, or without a listener's name: that of \
         listeners, with this host's name for a wildcard.",
    ),
    Key::new(
        "listener.security.protocol.map",
        Kind::List,
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
        "The protocol of each listener's name. Only PLAINTEXT is served; another one refuses the start.",
    ),
    Key::new(
        "controller.listener.names",
        Kind::List,
        None,
        "Listeners of the controller. They are not opened: the controller is reached inside the process.",
    ),
    Key::new(
        "inter.broker.listener.name",
        Kind::Text,
        None,
        "The listener that brokers use among themselves. There is one broker; the name must be one of listeners.",
    ),
    Key::new(
        "security.inter.broker.protocol",
        Kind::Text,
        Some("PLAINTEXT"),
        "The protocol between brokers. Only PLAINTEXT is taken.",
    ),
    Key::new(
        "process.roles",
        Kind::ListOf(&["broker", "controller"]),
        Some("broker,controller"),
        "What this process is. Only both in one is built.",
    ),
    Key::new(
        "controller.quorum.voters",
        Kind::List,
        None,
        "The controllers, ID@HOST:PORT. Only this node alone is taken.",
    ),
    Key::new(
        "controller.quorum.bootstrap.servers",
        Kind::List,
        None,
        "Where the controllers are. Only one entry, for this node, is taken.",
    ),
    Key::new(
        "metadata.log.dir",
        Kind::Text,
        None,
        "Where the metadata log lives: in the first of log.dirs, nothing else is taken.",
    ),
    Key::new(
        "authorizer.class.name",
        Kind::Text,
        None,
        "Who may do what. Authorization is not built, so a class refuses the start.",
    ),
    Key::new(
        "broker.rack",
        Kind::Text,
        None,
        "Where this broker stands; clients are told.",
    ),
    Key::new(
        "socket.listen.backlog.size",
        Kind::Int(1, INT_MAX),
        Some("4096"),
        "Connections that the kernel keeps until they are accepted (Kafka: 50, too few for a restart of many \
         clients); net.core.somaxconn bounds it.",
    ),
    Key::new(
        "ringmain.cluster.id",
        Kind::Text,
        None,
        "The cluster's id, used when the directory is formatted. Not set: a random one.",
    ),
    Key::new("auto.create.topics.enable", Kind::Bool, Some("true"), "Create a topic when it is first used."),
    Key::new("delete.topic.enable", Kind::Bool, Some("true"), "Whether topics may be deleted."),
    Key::new("num.partitions", Kind::Int(1, 100_000), Some("1"), "Partitions of a topic created without a number."),
    Key::new(
        "default.replication.factor",
        Kind::Int(1, 32767),
        Some("1"),
        "Replicas of a topic created without a number.",
    ),
    Key::new(
        "min.insync.replicas",
        Kind::Int(1, INT_MAX),
        Some("1"),
        "Replicas that must hold a record before acks=all is answered.",
    )
    .dynamic(),
    Key::new(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        "Let a replica lead that may miss acknowledged records.",
    )
    .dynamic(),
    Key::new(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long(1, i64::MAX),
        Some("20971520"),
        "Bytes of metadata log after which a snapshot takes their place; more if the snapshot itself is large.",
    )
    .unit(Unit::Bytes),
    // Network.
    Key::new(
        "socket.request.max.bytes",
        Kind::Int(1, INT_MAX),
        Some("104857600"),
        "The largest request that is read; a larger one closes its connection.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "ringmain.recordless.request.max.bytes",
        Kind::Int(1_048_576, INT_MAX),
        Some("4194304"),
        "The largest request of any kind but Produce; a larger one closes its connection. What it is read into, with \
         its answer, takes up to seventy times as much memory; a shard works on one of 256 KiB or more at a time, and on \
         1 MiB of smaller ones. 4 MiB name a hundred thousand partitions.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "max.connections",
        Kind::Int(0, INT_MAX),
        Some("10000"),
        "Connections open at one time (Kafka has no limit by default); `ulimit -n` bounds them too.",
    )
    .dynamic(),
    Key::new(
        "max.connections.per.ip",
        Kind::Int(0, INT_MAX),
        Some("2147483647"),
        "Connections open at one time from one address. No limit by default, as in Kafka: many clients may stand \
         behind one address.",
    )
    .dynamic(),
    Key::new(
        "max.connections.per.ip.overrides",
        Kind::List,
        Some(""),
        "ADDRESS:COUNT, comma-separated: addresses with a limit of their own.",
    )
    .dynamic(),
    Key::new(
        "queued.max.request.bytes",
        Kind::Long(-1, i64::MAX),
        Some("-1"),
        "The most bytes received and not yet handled, over all connections; beyond it sockets are not read, so that \
         no flood of requests takes the memory. Each shard has an equal part, at least one request of \
         socket.request.max.bytes. -1: an eighth of the memory (Kafka: no limit).",
    )
    .unit(Unit::Bytes),
    Key::new(
        "ringmain.unsent.response.max.bytes",
        Kind::Long(1_048_576, i64::MAX),
        None,
        "The most bytes of answers in memory that no client has taken yet, over all connections; beyond it no \
         request is started, and from half of it clients that do not read are closed. Records count when the tail \
         cache would have let go of them. Each shard has an equal part. Not set: an eighth of the memory.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "ringmain.first.request.timeout.ms",
        Kind::Long(100, i64::MAX),
        Some("60000"),
        "A connection that sends no whole request for so long after it was opened is closed: clients ask at once, \
         and who does not only holds a place of max.connections.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "connections.max.idle.ms",
        Kind::Long(-1, i64::MAX),
        Some("600000"),
        "A connection on which no byte moved for this long is closed; -1 never.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "ringmain.requests.in.flight.max",
        Kind::Int(1, 10_000),
        Some("64"),
        "Requests of one connection that are worked on at one time; beyond it its socket is not read.",
    ),
    Key::new(
        "fetch.max.bytes",
        Kind::Int(1024, INT_MAX),
        Some("57671680"),
        "The most bytes one fetch is answered with, whatever the client asks; the first batch always goes whole.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int(0, INT_MAX),
        Some("1000"),
        "Fetch sessions kept at one time, over all shards; beyond it fetches name all their partitions.",
    ),
    Key::new(
        "max.request.partition.size.limit",
        Kind::Int(1, INT_MAX),
        Some("2000"),
        "The most partitions one DescribeTopicPartitions is answered with; the client asks on from there.",
    ),
    // Logs.
    Key::new(
        "message.max.bytes",
        Kind::Int(0, INT_MAX),
        Some("1048588"),
        "The largest record batch that is accepted.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    Key::new(
        "compression.type",
        Kind::Choice(COMPRESSION),
        Some("producer"),
        "The codec records are kept in; `producer` keeps what the producer sent.",
    )
    .dynamic(),
    Key::new("compression.gzip.level", Kind::IntExcept(-1, 9, 0), Some("-1"), "Level of gzip if compression.type is gzip.")
        .dynamic(),
    Key::new("compression.lz4.level", Kind::Int(1, 17), Some("9"), "Without effect: lz4 has one level here.")
        .dynamic(),
    Key::new("compression.zstd.level", Kind::Int(-131_072, 22), Some("3"), "Level of zstd if compression.type is zstd.")
        .dynamic(),
    Key::new("log.segment.bytes", Kind::Int(1_048_576, INT_MAX), Some("1073741824"), "Size at which a segment is closed.")
        .unit(Unit::Bytes)
        .dynamic(),
    Key::new("log.roll.hours", Kind::Int(1, 2_562_047), Some("168"), "Age at which a segment is closed.").unit(Unit::Hours),
    Key::new("log.roll.ms", Kind::Long(1, i64::MAX), None, "The same in milliseconds; wins over log.roll.hours.")
        .unit(Unit::Milliseconds)
        .dynamic(),
    Key::new(
        "log.roll.jitter.hours",
        Kind::Int(0, INT_MAX),
        Some("0"),
        "Random part taken off that age, so that segments do not close all at once.",
    )
    .unit(Unit::Hours),
    Key::new(
        "log.roll.jitter.ms",
        Kind::Long(0, i64::MAX),
        None,
        "The same in milliseconds; wins over log.roll.jitter.hours.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.index.interval.bytes",
        Kind::Int(0, INT_MAX),
        Some("4096"),
        "An index entry is written after so many bytes of log.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    Key::new("log.index.size.max.bytes", Kind::Int(4, INT_MAX), Some("10485760"), "Size of a segment's index from which the segment is closed.")
        .unit(Unit::Bytes)
        .dynamic(),
    Key::new("log.retention.hours", Kind::Int(-1, INT_MAX), Some("168"), "Age at which a segment is deleted; -1 never.")
        .unit(Unit::Hours),
    Key::new(
        "log.retention.minutes",
        Kind::Int(-1, INT_MAX),
        None,
        "The same in minutes; wins over log.retention.hours.",
    )
    .unit(Unit::Minutes),
    Key::new(
        "log.retention.ms",
        Kind::Long(-1, i64::MAX),
        None,
        "The same in milliseconds; wins over log.retention.minutes.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.retention.bytes",
        Kind::Long(-1, i64::MAX),
        Some("-1"),
        "Size of a partition above which its oldest segments are deleted; -1 is no limit.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    Key::new(
        "log.local.retention.bytes",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    Key::new(
        "log.local.retention.ms",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.retention.check.interval.ms",
        Kind::Long(1, i64::MAX),
        Some("300000"),
        "How often retention is looked at.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "log.segment.delete.delay.ms",
        Kind::Long(0, i64::MAX),
        Some("60000"),
        "How long a removed segment's files stay, under names that end in .deleted.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.cleanup.policy",
        Kind::ListOf(&["compact", "delete"]),
        Some("delete"),
        "What happens to old segments. Compaction is not built yet.",
    )
    .dynamic(),
    Key::new(
        "log.message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "Whose clock stamps a record: the producer's or the broker's.",
    )
    .dynamic(),
    Key::new(
        "log.message.timestamp.before.max.ms",
        Kind::Long(0, i64::MAX),
        Some("9223372036854775807"),
        "How far in the past a record's timestamp may lie.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.message.timestamp.after.max.ms",
        Kind::Long(0, i64::MAX),
        Some("3600000"),
        "How far in the future a record's timestamp may lie.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new("log.preallocate", Kind::Bool, Some("false"), "Kept for Kafka's sake; blocks are always allocated ahead.")
        .dynamic(),
    Key::new(
        "ringmain.durability",
        Kind::Choice(&["strict", "relaxed"]),
        Some("strict"),
        "When acks=1 and acks=all are answered, and consumers see a record: `strict`, when it is on stable media; `relaxed`, \
         as in Kafka, when it is written: kill -9 takes nothing back then, and a power cut up to 100 ms or 8 MiB of \
         acknowledged records, the last ones.",
    ),
    Key::new(
        "log.flush.interval.messages",
        Kind::Long(1, i64::MAX),
        Some("9223372036854775807"),
        "With ringmain.durability=relaxed: records of a partition that a power cut may take back; an acknowledgement \
         beyond waits until they are on stable media. Without effect if it is strict.",
    )
    .dynamic(),
    Key::new(
        "log.flush.interval.ms",
        Kind::Long(0, i64::MAX),
        None,
        "With ringmain.durability=relaxed: after how long a record is on stable media, if that is less than the usual \
         100 ms. Without effect if it is strict.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.cleaner.delete.retention.ms",
        Kind::Long(0, i64::MAX),
        Some("86400000"),
        "How long a compacted log keeps the marker of a deletion.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double(0.0, 1.0),
        Some("0.5"),
        "Share of a log that must be dirty before it is compacted.",
    )
    .dynamic(),
    Key::new(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long(0, i64::MAX),
        Some("0"),
        "Youngest age at which a record may be compacted away.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long(1, i64::MAX),
        Some("9223372036854775807"),
        "Oldest age at which a record must have been looked at by compaction.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    Key::new(
        "producer.id.expiration.ms",
        Kind::Int(1, INT_MAX),
        Some("86400000"),
        "How long the sequence state of an idempotent producer outlives its last record.",
    )
    .unit(Unit::Milliseconds)
    .dynamic(),
    // Ours.
    Key::new(
        "ringmain.journal.file.bytes",
        Kind::Long(8_388_608, 1_073_741_824),
        Some("33554432"),
        "Length of one file of the journal. The largest batch must fit into one: if nobody sets it, it is as large as \
         message.max.bytes needs at the start.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "ringmain.tail.cache.bytes",
        Kind::Long(16_777_216, 1_099_511_627_776),
        None,
        "Memory for the newest records, which consumers near the end are served from. Not set: a quarter \
         of the machine's, at most 1 GiB.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "ringmain.admin.listener",
        Kind::Text,
        Some("127.0.0.1:9644"),
        "HOST:PORT of metrics, health and log level over HTTP, or `off`. There is no authentication, so the default is \
         this host alone. If nobody set it and the port is taken, the broker starts without it.",
    ),
    Key::new(
        "ringmain.log.filter",
        Kind::Text,
        Some("info"),
        "What is logged to stderr: error, warn, info, debug, trace, or a filter such as `info,ringmain::net=debug`.",
    ),
];

/// Older or other spellings of a key, which many files still have.
pub const ALIASES: &[(&str, &str)] = &[("log.dir", "log.dirs"), ("broker.id", "node.id")];

/// Every key of the broker, in the order of the reference document.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(group_keys::KEYS).chain(internal_topic_keys::KEYS)
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}
