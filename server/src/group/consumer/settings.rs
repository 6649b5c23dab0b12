//! What the configuration says of groups of KIP-848: for all of them, and for a group by itself.

use std::time::Duration;

use super::super::cluster::Cluster;
use super::assignor::Assignor;

/// A group's own session timeout.
pub const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// How often a group's members are to be heard of.
pub const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";

/// A time that a group may have for itself within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounded {
    /// What holds for groups that have none.
    pub default: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// The `group.consumer.*` keys that a coordinator acts on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms` and its bounds.
    pub session_timeout: Bounded,
    /// `group.consumer.heartbeat.interval.ms` and its bounds.
    pub heartbeat_interval: Bounded,
    /// `group.consumer.max.size`: members of one group.
    pub members_max: usize,
    /// `group.consumer.assignors`, the first is the default.
    pub assignors: Vec<Assignor>,
    /// Whether a classic group goes over when a member of the new protocol joins (`group.consumer.migration.policy`).
    pub upgrades: bool,
    /// Whether a group goes back when its last member of the new protocol leaves.
    pub downgrades: bool,
}

impl ConsumerSettings {
    /// How long members of a group may be silent.
    #[must_use]
    pub fn session_timeout(&self, cluster: &dyn Cluster, group_id: &str) -> Duration {
        own(cluster, group_id, SESSION_TIMEOUT, self.session_timeout)
    }

    /// How often members of a group are to be heard of.
    #[must_use]
    pub fn heartbeat_interval_ms(&self, cluster: &dyn Cluster, group_id: &str) -> i32 {
        let interval = own(cluster, group_id, HEARTBEAT_INTERVAL, self.heartbeat_interval);
        i32::try_from(interval.as_millis()).unwrap_or(i32::MAX)
    }

    /// How partitions are shared out if no member says how.
    #[must_use]
    pub fn default_assignor(&self) -> Assignor {
        self.assignors.first().copied().unwrap_or(Assignor::Uniform)
    }
}

fn own(cluster: &dyn Cluster, group_id: &str, key: &str, bounds: Bounded) -> Duration {
    let set = cluster.group_config(group_id, key).and_then(|value| value.trim().parse().ok());
    // Bounds may have been moved since it was set.
    set.map_or(bounds.default, |ms| Duration::from_millis(ms).clamp(bounds.min, bounds.max.max(bounds.min)))
}

impl Default for ConsumerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        let bounded = |default, min, max| Bounded {
            default: Duration::from_secs(default),
            min: Duration::from_secs(min),
            max: Duration::from_secs(max),
        };
        Self {
            session_timeout: bounded(45, 45, 60),
            heartbeat_interval: bounded(5, 5, 15),
            members_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            assignors: Assignor::ALL.to_vec(),
            upgrades: true,
            downgrades: true,
        }
    }
}
