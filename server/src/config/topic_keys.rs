//! A topic's keys, each with the broker's key that gives its default (Kafka's `LogConfig` and
//! `ServerTopicConfigSynonyms`). Values are kept as given; what has no effect yet says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table::{Key, Kind, Unit};

const INT_MAX: i64 = i32::MAX as i64;
const COMPRESSION: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// Every key of a topic, by name.
pub const KEYS: &[Key] = &[
    Key::new(
        "cleanup.policy",
        Kind::ListOf(&["compact", "delete"]),
        Some("delete"),
        "What happens to old segments. Compaction is not built yet.",
    )
    .dynamic()
    .synonym("log.cleanup.policy"),
    Key::new(
        "compression.gzip.level",
        Kind::IntExcept(-1, 9, 0),
        Some("-1"),
        "Level of gzip if compression.type is gzip.",
    )
    .dynamic()
    .synonym("compression.gzip.level"),
    Key::new("compression.lz4.level", Kind::Int(1, 17), Some("9"), "Without effect: lz4 has one level here.")
        .dynamic()
        .synonym("compression.lz4.level"),
    Key::new(
        "compression.type",
        Kind::Choice(COMPRESSION),
        Some("producer"),
        "The codec records are kept in; `producer` keeps what the producer sent.",
    )
    .dynamic()
    .synonym("compression.type"),
    Key::new(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        Some("3"),
        "Level of zstd if compression.type is zstd.",
    )
    .dynamic()
    .synonym("compression.zstd.level"),
    Key::new(
        "delete.retention.ms",
        Kind::Long(0, i64::MAX),
        Some("86400000"),
        "How long a compacted log keeps the marker of a deletion.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.cleaner.delete.retention.ms"),
    Key::new(
        "file.delete.delay.ms",
        Kind::Long(0, i64::MAX),
        Some("60000"),
        "How long a removed segment's files stay, under names that end in .deleted.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.segment.delete.delay.ms"),
    Key::new(
        "flush.messages",
        Kind::Long(1, i64::MAX),
        Some("9223372036854775807"),
        "With ringmain.durability=relaxed: records that a power cut may take back; an acknowledgement beyond waits until they \
         are on stable media. Without effect if it is strict.",
    )
    .dynamic()
    .synonym("log.flush.interval.messages"),
    Key::new(
        "flush.ms",
        Kind::Long(0, i64::MAX),
        Some("9223372036854775807"),
        "With ringmain.durability=relaxed: after how long a record is on stable media, if that is less than the usual 100 ms. \
         Without effect if it is strict.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.flush.interval.ms"),
    Key::new(
        "follower.replication.throttled.replicas",
        Kind::List,
        Some(""),
        "Kept for Kafka's tools; one node replicates nothing.",
    )
    .dynamic(),
    Key::new(
        "index.interval.bytes",
        Kind::Int(0, INT_MAX),
        Some("4096"),
        "An index entry is written after so many bytes of log.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("log.index.interval.bytes"),
    Key::new(
        "leader.replication.throttled.replicas",
        Kind::List,
        Some(""),
        "Kept for Kafka's tools; one node replicates nothing.",
    )
    .dynamic(),
    Key::new(
        "local.retention.bytes",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("log.local.retention.bytes"),
    Key::new(
        "local.retention.ms",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.local.retention.ms"),
    Key::new(
        "max.compaction.lag.ms",
        Kind::Long(1, i64::MAX),
        Some("9223372036854775807"),
        "Oldest age at which a record must have been looked at by compaction.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.cleaner.max.compaction.lag.ms"),
    Key::new(
        "max.message.bytes",
        Kind::Int(0, INT_MAX),
        Some("1048588"),
        "The largest record batch that is accepted.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("message.max.bytes"),
    Key::new(
        "message.timestamp.after.max.ms",
        Kind::Long(0, i64::MAX),
        Some("3600000"),
        "How far in the future a record's timestamp may lie.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.message.timestamp.after.max.ms"),
    Key::new(
        "message.timestamp.before.max.ms",
        Kind::Long(0, i64::MAX),
        Some("9223372036854775807"),
        "How far in the past a record's timestamp may lie.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.message.timestamp.before.max.ms"),
    Key::new(
        "message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "Whose clock stamps a record: the producer's or the broker's.",
    )
    .dynamic()
    .synonym("log.message.timestamp.type"),
    Key::new(
        "min.cleanable.dirty.ratio",
        Kind::Double(0.0, 1.0),
        Some("0.5"),
        "Share of a log that must be dirty before it is compacted.",
    )
    .dynamic()
    .synonym("log.cleaner.min.cleanable.ratio"),
    Key::new(
        "min.compaction.lag.ms",
        Kind::Long(0, i64::MAX),
        Some("0"),
        "Youngest age at which a record may be compacted away.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.cleaner.min.compaction.lag.ms"),
    Key::new(
        "min.insync.replicas",
        Kind::Int(1, INT_MAX),
        Some("1"),
        "Replicas that must hold a record before acks=all is answered.",
    )
    .dynamic()
    .synonym("min.insync.replicas"),
    Key::new(
        "preallocate",
        Kind::Bool,
        Some("false"),
        "Kept for Kafka's sake; blocks are always allocated ahead.",
    )
    .dynamic()
    .synonym("log.preallocate"),
    Key::new(
        "remote.log.copy.disable",
        Kind::Bool,
        Some("false"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .dynamic(),
    Key::new(
        "remote.log.delete.on.disable",
        Kind::Bool,
        Some("false"),
        "Kept for Kafka's sake; there is no tiered storage.",
    )
    .dynamic(),
    Key::new(
        "remote.storage.enable",
        Kind::Bool,
        Some("false"),
        "Tiered storage is not built: only false is taken.",
    )
    .dynamic(),
    Key::new(
        "retention.bytes",
        Kind::Long(-1, i64::MAX),
        Some("-1"),
        "Size of a partition above which its oldest segments are deleted; -1 is no limit.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("log.retention.bytes"),
    Key::new(
        "retention.ms",
        Kind::Long(-1, i64::MAX),
        Some("604800000"),
        "Age at which a segment is deleted; -1 never.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.retention.ms"),
    Key::new(
        "segment.bytes",
        Kind::Int(1_048_576, INT_MAX),
        Some("1073741824"),
        "Size at which a segment is closed.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("log.segment.bytes"),
    Key::new(
        "segment.index.bytes",
        Kind::Int(4, INT_MAX),
        Some("10485760"),
        "Size of a segment's index from which the segment is closed.",
    )
    .unit(Unit::Bytes)
    .dynamic()
    .synonym("log.index.size.max.bytes"),
    Key::new(
        "segment.jitter.ms",
        Kind::Long(0, i64::MAX),
        Some("0"),
        "Random part taken off segment.ms, so that segments do not close all at once.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("log.roll.jitter.ms"),
    Key::new("segment.ms", Kind::Long(1, i64::MAX), Some("604800000"), "Age at which a segment is closed.")
        .unit(Unit::Milliseconds)
        .dynamic()
        .synonym("log.roll.ms"),
    Key::new(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        "Let a replica lead that may miss acknowledged records.",
    )
    .dynamic()
    .synonym("unclean.leader.election.enable"),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Checks one setting of a topic and gives the value in its one spelling; the error is for the client.
pub fn check(name: &str, value: &str) -> Result<String, String> {
    let key = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    let value = key.check(value).map_err(|wrong| wrong.to_string())?;
    if name == "compression.gzip.level" && value == "0" {
        return Err(
            "compression.gzip.level cannot be 0: it takes 1 to 9, or -1 for gzip's own default".to_owned()
        );
    }
    if name == "remote.storage.enable" && value == "true" {
        return Err("remote.storage.enable cannot be true: there is no tiered storage".to_owned());
    }
    Ok(value)
}

/// Checks what only several settings of a topic together can be wrong about (`LogConfig.validateValues`).
pub fn check_together(set: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), String> {
    let value = |name: &str| {
        let text = set.get(name).map(|value| &**value).or_else(|| find(name)?.default);
        text.and_then(|text| text.parse::<i64>().ok())
    };
    let (least, most) = (value("min.compaction.lag.ms"), value("max.compaction.lag.ms"));
    if least > most {
        return Err("min.compaction.lag.ms cannot be above max.compaction.lag.ms".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_contradict_each_other_are_refused_together() {
        let set = |least: &str, most: &str| {
            let pairs = [("min.compaction.lag.ms", least), ("max.compaction.lag.ms", most)];
            check_together(&pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
        };
        assert_eq!(set("5", "5"), Ok(()));
        assert!(set("6", "5").is_err());
        assert_eq!(check_together(&BTreeMap::new()), Ok(()));
    }

    #[test]
    fn tiered_storage_cannot_be_switched_on() {
        assert_eq!(check("remote.storage.enable", "FALSE").as_deref(), Ok("false"));
        assert!(check("remote.storage.enable", "true").is_err());
    }
}
