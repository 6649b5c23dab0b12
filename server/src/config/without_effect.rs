//! Kafka's keys that are accepted and have nothing to act on here, by the reason why. An ordinary
//! `server.properties` holds many of them: it starts the broker unchanged, with one note a reason.

/// Reasons and the keys they are for. `name.*` stands for every key that begins so, `*.name` for every key that ends so.
pub const REASONS: &[(&str, &[&str])] = &[
    (
        "shards do all network and disk work: ringmain.shards says how many",
        &["num.network.threads", "num.io.threads", "background.threads", "queued.max.requests"],
    ),
    (
        "recovery reads the journals, not the segments",
        &["num.recovery.threads.per.data.dir", "log.flush.offset.checkpoint.interval.ms"],
    ),
    (
        "what is acknowledged is synced at once, or after 100 ms (ringmain.durability)",
        &["log.flush.scheduler.interval.ms", "log.flush.start.offset.checkpoint.interval.ms"],
    ),
    ("the kernel sizes the buffers of sockets", &["socket.send.buffer.bytes", "socket.receive.buffer.bytes"]),
    ("connections are not slowed down, only counted", &["max.connection.creation.rate"]),
    ("nobody waits in a purgatory that has to be emptied", &["*.purgatory.purge.interval.requests"]),
    (
        "this process is the only controller, and nothing is elected",
        &[
            "controller.quorum.*",
            "controller.socket.timeout.ms",
            "socket.connection.setup.timeout.ms",
            "socket.connection.setup.timeout.max.ms",
            "controlled.shutdown.*",
            "auto.leader.rebalance.enable",
            "leader.imbalance.*",
            "initial.broker.registration.timeout.ms",
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "reserved.broker.max.id",
            "broker.id.generation.enable",
            "server.max.startup.time.ms",
            "metadata.log.*",
            "metadata.max.*",
            "early.start.listeners",
            "unstable.*",
        ],
    ),
    (
        "there is one broker, and nothing is replicated",
        &[
            "replica.*",
            "num.replica.*",
            "follower.*",
            "leader.replication.*",
            "alter.log.dirs.*",
            "inter.broker.protocol.version",
            "request.timeout.ms",
            "cordoned.log.dirs",
            "log.dir.failure.timeout.ms",
        ],
    ),
    (
        "the record format is version 2, as in Kafka 4",
        &["log.message.format.version", "log.message.downconversion.enable"],
    ),
    ("compaction is not built yet", &["log.cleaner.*"]),
    (
        "groups live in one log each and are loaded from it by their shard, which answers when they are durable",
        &[
            "offsets.commit.timeout.ms",
            "offsets.load.buffer.size",
            "offsets.topic.compression.codec",
            "group.coordinator.*",
            "group.consumer.assignment.*",
            "group.consumer.min.assignment.*",
            "group.consumer.max.assignment.*",
            "group.consumer.assignor.offload.enable",
            "group.consumer.regex.*",
        ],
    ),
    ("groups of consumers are all there are", &["group.share.*", "group.streams.*"]),
    (
        "transactions are not built yet",
        &[
            "transaction.*",
            "transactional.*",
            "add.partitions.to.txn.retry.backoff.ms",
            "add.partitions.to.txn.retry.backoff.max.ms",
        ],
    ),
    (
        "share groups are not built yet",
        &[
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.min.isr",
            "share.*",
        ],
    ),
    (
        "quotas are not built yet",
        &["quota.*", "controller.quota.*", "replication.quota.*", "client.quota.callback.class"],
    ),
    (
        "tiered storage is not built",
        &[
            "remote.log.*",
            "remote.log.storage.system.enable",
            "remote.fetch.max.wait.ms",
            "remote.list.offsets.request.timeout.ms",
        ],
    ),
    (
        "listeners are PLAINTEXT, and neither TLS nor SASL is spoken",
        &[
            "ssl.*",
            "sasl.*",
            "listener.name.*",
            "security.providers",
            "principal.builder.class",
            "connection.failed.authentication.delay.ms",
            "connections.max.reauth.ms",
            "delegation.token.*",
            "password.encoder.*",
        ],
    ),
    (
        "there is no authorization",
        &[
            "super.users",
            "allow.everyone.if.no.acl.found",
            "create.topic.policy.class.name",
            "alter.config.policy.class.name",
        ],
    ),
    (
        "metrics are served over HTTP: ringmain.admin.listener",
        &[
            "metric.*",
            "metrics.*",
            "kafka.metrics.*",
            "auto.include.jmx.reporter",
            "telemetry.*",
            "client.telemetry.*",
        ],
    ),
    ("there is no ZooKeeper", &["zookeeper.*"]),
    ("there is no JVM", &["compressed.records.*", "config.providers.*", "config.providers"]),
];

/// Those that a running broker may change.
const DYNAMIC: &[&str] = &[
    "background.threads",
    "group.consumer.assignment.interval.ms",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "metric.reporters",
    "transaction.partition.verification.enable",
    // What reassignments are throttled by.
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Whether a running broker may change the key.
pub fn is_dynamic(name: &str) -> bool {
    DYNAMIC.contains(&name)
}

/// Why a key has no effect; `None` if nothing is known of it.
pub fn reason(name: &str) -> Option<&'static str> {
    let matches = |pattern: &str| match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(prefix), _) => name.starts_with(prefix),
        (None, Some(suffix)) => name.ends_with(suffix),
        (None, None) => name == pattern,
    };
    REASONS.iter().find(|(_, keys)| keys.iter().any(|pattern| matches(pattern))).map(|(reason, _)| *reason)
}

/// Every listed key, without those that only say how a key begins or ends.
pub fn names() -> impl Iterator<Item = &'static str> {
    REASONS.iter().flat_map(|(_, keys)| keys.iter().copied()).filter(|name| !name.contains('*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{broker_keys, kafka_keys};

    #[test]
    fn no_key_with_an_effect_is_said_to_have_none() {
        for name in names() {
            assert!(broker_keys::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_key_of_kafka_is_known() {
        let keys = kafka_keys::all().map(|(name, _)| name);
        let is_known = |name: &str| {
            let is_alias = broker_keys::ALIASES.iter().any(|(alias, _)| *alias == name);
            is_alias || broker_keys::find(name).is_some() || reason(name).is_some()
        };
        let unknown: Vec<&str> = keys.filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn a_key_is_found_by_its_name_its_beginning_or_its_end() {
        assert!(reason("fetch.purgatory.purge.interval.requests").is_some());
        assert!(reason("num.io.threads").is_some_and(|reason| reason.contains("shards")));
        assert!(reason("ssl.keystore.location").is_some_and(|reason| reason.contains("TLS")));
        assert_eq!(reason("num.io.thread"), None);
    }
}
