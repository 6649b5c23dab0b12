//! The broker's keys about topics that belong to the brokers and are made when they are first needed.

use super::table::{Key, Kind, Unit};

const INT_MAX: i64 = i32::MAX as i64;

/// Every such key, in the order of the reference document.
pub const KEYS: &[Key] = &[
    Key::new(
        "offsets.topic.num.partitions",
        Kind::Int(1, 100_000),
        Some("50"),
        "Partitions of __consumer_offsets, when it is made; each is a coordinator of its own.",
    ),
    Key::new(
        "offsets.topic.replication.factor",
        Kind::Short(1, 32767),
        Some("3"),
        "Replicas of __consumer_offsets, when it is made. Not set: as many as there are brokers, three at most.",
    ),
    Key::new(
        "offsets.topic.segment.bytes",
        Kind::Int(1_048_576, INT_MAX),
        Some("104857600"),
        "The largest segment of __consumer_offsets, when it is made.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "transaction.state.log.num.partitions",
        Kind::Int(1, 100_000),
        Some("50"),
        "Partitions of __transaction_state, when it is made.",
    ),
    Key::new(
        "transaction.state.log.replication.factor",
        Kind::Short(1, 32767),
        Some("3"),
        "Replicas of __transaction_state, when it is made. Not set: as many as there are brokers, three at most.",
    ),
    Key::new(
        "transaction.state.log.min.isr",
        Kind::Int(1, INT_MAX),
        Some("2"),
        "In-sync replicas that __transaction_state needs, when it is made. Not set: two, or one if it has one replica.",
    ),
    Key::new(
        "transaction.state.log.segment.bytes",
        Kind::Int(1_048_576, INT_MAX),
        Some("104857600"),
        "The largest segment of __transaction_state, when it is made.",
    )
    .unit(Unit::Bytes),
];
