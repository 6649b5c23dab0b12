//! What groups are bound to, from the keys.

use std::time::Duration;

use super::broker::{count, count_u64};
use super::resolve::{ConfigError, Resolved};
use crate::group::{Assignor, Bounded, ConsumerSettings, GroupSettings};

/// What groups are bound to.
pub(super) fn settings(resolved: &Resolved, memory_bytes: u64) -> Result<GroupSettings, ConfigError> {
    const LEAST: &str = "group.min.session.timeout.ms";
    let session_timeout = (ms(resolved, LEAST), ms(resolved, "group.max.session.timeout.ms"));
    if session_timeout.0 > session_timeout.1 {
        return Err(resolved.refuse(LEAST, "it is more than group.max.session.timeout.ms"));
    }
    Ok(GroupSettings {
        session_timeout,
        initial_rebalance_delay: ms(resolved, "group.initial.rebalance.delay.ms"),
        members_max: count(resolved.integer("group.max.size")),
        metadata_chars_max: count(resolved.integer("offset.metadata.max.bytes")),
        retention: Duration::from_mins(count_u64(resolved.integer("offsets.retention.minutes"))),
        expiry_interval: ms(resolved, "offsets.retention.check.interval.ms"),
        consumer: consumer(resolved)?,
        bytes_max: match resolved.integer("ringmain.groups.max.bytes") {
            None => usize::try_from(memory_bytes / 8).unwrap_or(usize::MAX).max(16 << 20),
            set => count(set),
        },
    })
}

/// Those of KIP-848.
fn consumer(resolved: &Resolved) -> Result<ConsumerSettings, ConfigError> {
    const SESSION: [&str; 3] = [
        "group.consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ];
    const HEARTBEAT: [&str; 3] = [
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ];
    let session_timeout = bounded(resolved, SESSION)?;
    let heartbeat_interval = bounded(resolved, HEARTBEAT)?;
    if heartbeat_interval.default >= session_timeout.default {
        return Err(resolved.refuse(HEARTBEAT[0], "it has to be less than group.consumer.session.timeout.ms"));
    }
    let assignors = resolved.list("group.consumer.assignors").into_iter();
    let assignors: Vec<Assignor> = assignors.filter_map(|name| Assignor::by_name(name.trim())).collect();
    if assignors.is_empty() {
        return Err(resolved.refuse("group.consumer.assignors", "at least one is needed"));
    }
    let policy = resolved.text("group.consumer.migration.policy");
    Ok(ConsumerSettings {
        session_timeout,
        heartbeat_interval,
        members_max: count(resolved.integer("group.consumer.max.size")),
        assignors,
        upgrades: matches!(policy, Some("bidirectional" | "upgrade")),
        downgrades: matches!(policy, Some("bidirectional" | "downgrade")),
    })
}

/// A time and its bounds.
fn bounded(resolved: &Resolved, [default, min, max]: [&'static str; 3]) -> Result<Bounded, ConfigError> {
    let bounded = Bounded { default: ms(resolved, default), min: ms(resolved, min), max: ms(resolved, max) };
    if bounded.default < bounded.min || bounded.default > bounded.max {
        return Err(resolved.refuse(default, format!("it is not between {min} and {max}")));
    }
    Ok(bounded)
}

fn ms(resolved: &Resolved, name: &'static str) -> Duration {
    Duration::from_millis(count_u64(resolved.integer(name)))
}

#[cfg(test)]
mod tests {
    use super::super::resolve::Sources;
    use super::*;

    fn settings_of(set: &[&str]) -> Result<ConsumerSettings, ConfigError> {
        let sources =
            Sources { set: set.iter().map(|&entry| entry.to_owned()).collect(), ..Sources::default() };
        settings(&Resolved::new(&sources).unwrap(), 8 << 30).map(|settings| settings.consumer)
    }

    #[test]
    fn groups_of_the_new_protocol_are_as_the_keys_say() {
        assert_eq!(settings_of(&[]).unwrap(), ConsumerSettings::default());
        let set = ["group.consumer.migration.policy=upgrade", "group.consumer.assignors=range"];
        let changed = settings_of(&set).unwrap();
        assert_eq!((changed.upgrades, changed.downgrades), (true, false));
        assert_eq!(changed.default_assignor(), Assignor::Range);
    }

    #[test]
    fn times_that_do_not_fit_together_refuse_the_start() {
        for (set, key) in [
            ("group.consumer.session.timeout.ms=1000", "group.consumer.session.timeout.ms"),
            ("group.consumer.max.heartbeat.interval.ms=4000", "group.consumer.heartbeat.interval.ms"),
            ("group.min.session.timeout.ms=1900000", "group.min.session.timeout.ms"),
        ] {
            assert!(settings_of(&[set]).unwrap_err().to_string().contains(key), "{set}");
        }
        let both =
            ["group.consumer.heartbeat.interval.ms=45000", "group.consumer.max.heartbeat.interval.ms=45000"];
        assert!(settings_of(&both).unwrap_err().to_string().contains("less than"));
    }
}
