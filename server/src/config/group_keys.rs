//! The broker's keys that are about groups, as [`broker_keys`](super::broker_keys) has the others.

use super::table::{Key, Kind, Unit};
use crate::group::{ConsumerSettings, HEARTBEAT_INTERVAL, SESSION_TIMEOUT};

const INT_MAX: i64 = i32::MAX as i64;

/// Every key that a group may have for itself.
pub const OWN: &[Key] = &[
    Key::new(
        HEARTBEAT_INTERVAL,
        Kind::Int(1, INT_MAX),
        Some("5000"),
        "How often members of the new protocol (KIP-848) are told to be heard of.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("group.consumer.heartbeat.interval.ms"),
    Key::new(
        SESSION_TIMEOUT,
        Kind::Int(1, INT_MAX),
        Some("45000"),
        "How long a member of the new protocol (KIP-848) may be silent.",
    )
    .unit(Unit::Milliseconds)
    .dynamic()
    .synonym("group.consumer.session.timeout.ms"),
];

/// Checks one setting of a group and gives the value in its one spelling; the error is for the client.
pub fn check(name: &str, value: &str, settings: &ConsumerSettings) -> Result<String, String> {
    let key = OWN.iter().find(|key| key.name == name);
    let key = key.ok_or_else(|| format!("Unknown group config name: {name}"))?;
    let value = key.check(value).map_err(|wrong| wrong.to_string())?;
    let bounds = if name == SESSION_TIMEOUT { settings.session_timeout } else { settings.heartbeat_interval };
    let (min, max) = (bounds.min.as_millis(), bounds.max.as_millis());
    match value.parse::<u128>() {
        Ok(ms) if (min..=max).contains(&ms) => Ok(value),
        _ => Err(format!("{name} is {value}, and has to be from {min} to {max}")),
    }
}

/// Every key about groups, in the order of the reference document.
pub const KEYS: &[Key] = &[
    Key::new(
        "group.min.session.timeout.ms",
        Kind::Int(0, INT_MAX),
        Some("6000"),
        "The shortest session timeout that a member of a group may ask for.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.max.session.timeout.ms",
        Kind::Int(0, INT_MAX),
        Some("1800000"),
        "The longest session timeout that a member of a group may ask for.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.initial.rebalance.delay.ms",
        Kind::Int(0, INT_MAX),
        Some("3000"),
        "How long a group without members waits for more of them when the first one joins.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.max.size",
        Kind::Int(1, INT_MAX),
        Some("2147483647"),
        "Members of one group at most.",
    ),
    Key::new(
        "offset.metadata.max.bytes",
        Kind::Int(0, INT_MAX),
        Some("4096"),
        "The longest text beside a committed offset.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "offsets.retention.minutes",
        Kind::Int(1, INT_MAX),
        Some("10080"),
        "How long offsets are kept that no member reads on from: since the last member of the group left, or since \
         they were committed if it never had any.",
    )
    .unit(Unit::Minutes),
    Key::new(
        "offsets.retention.check.interval.ms",
        Kind::Long(1, i64::MAX),
        Some("600000"),
        "How often such offsets are looked for.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "ringmain.groups.max.bytes",
        Kind::Long(1_048_576, i64::MAX),
        None,
        "What groups, their members and their offsets may take in memory, about; beyond it no group, member or offset \
         is added, and those that are there go on. Each shard has an equal part. Not set: an eighth of the memory.",
    )
    .unit(Unit::Bytes),
    Key::new(
        "group.consumer.session.timeout.ms",
        Kind::Int(1, INT_MAX),
        Some("45000"),
        "How long a member of the new protocol (KIP-848) may be silent.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.min.session.timeout.ms",
        Kind::Int(1, INT_MAX),
        Some("45000"),
        "The shortest session timeout that a group of the new protocol may have for itself.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.max.session.timeout.ms",
        Kind::Int(1, INT_MAX),
        Some("60000"),
        "The longest session timeout that a group of the new protocol may have for itself.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int(1, INT_MAX),
        Some("5000"),
        "How often members of the new protocol are told to be heard of.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.min.heartbeat.interval.ms",
        Kind::Int(1, INT_MAX),
        Some("5000"),
        "The shortest heartbeat interval that a group of the new protocol may have for itself.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.max.heartbeat.interval.ms",
        Kind::Int(1, INT_MAX),
        Some("15000"),
        "The longest heartbeat interval that a group of the new protocol may have for itself.",
    )
    .unit(Unit::Milliseconds),
    Key::new(
        "group.consumer.max.size",
        Kind::Int(1, INT_MAX),
        Some("2147483647"),
        "Members of one group of the new protocol at most.",
    ),
    Key::new(
        "group.consumer.assignors",
        Kind::ListOf(&["uniform", "range"]),
        Some("uniform,range"),
        "How partitions are shared out in groups of the new protocol, as members may choose; the first one if they do \
         not.",
    ),
    Key::new(
        "group.consumer.migration.policy",
        Kind::Choice(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        Some("bidirectional"),
        "Whether a live group goes over to the new protocol when a member of it joins, and back when the last one \
         leaves.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_its_own_times_within_the_brokers_bounds() {
        let settings = ConsumerSettings::default();
        assert_eq!(check(SESSION_TIMEOUT, " 50000 ", &settings).as_deref(), Ok("50000"));
        assert_eq!(check(HEARTBEAT_INTERVAL, "5000", &settings).as_deref(), Ok("5000"));
        for (name, value) in [
            (SESSION_TIMEOUT, "44999"),
            (SESSION_TIMEOUT, "60001"),
            (HEARTBEAT_INTERVAL, "15001"),
            (HEARTBEAT_INTERVAL, "x"),
            ("retention.ms", "1"),
        ] {
            assert!(check(name, value, &settings).is_err(), "{name}={value}");
        }
    }
}
