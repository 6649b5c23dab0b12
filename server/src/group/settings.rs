//! What the configuration says of groups.

use std::time::Duration;

use super::consumer::ConsumerSettings;

/// The `group.*` and `offsets.*` keys that a coordinator acts on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`, both allowed.
    pub session_timeout: (Duration, Duration),
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of one group.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`: characters of the text beside a committed offset.
    pub metadata_chars_max: usize,
    /// `offsets.retention.minutes`.
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub expiry_interval: Duration,
    /// Groups of KIP-848.
    pub consumer: ConsumerSettings,
    /// `ringmain.groups.max.bytes`, or one shard's part of it: what its groups may take in memory.
    pub bytes_max: usize,
}

impl GroupSettings {
    /// One shard's part of what all may take together.
    #[must_use]
    pub fn of_shard(&self, shard_count: usize) -> Self {
        Self { bytes_max: self.bytes_max / shard_count.max(1), ..self.clone() }
    }
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout: (Duration::from_secs(6), Duration::from_mins(30)),
            initial_rebalance_delay: Duration::from_secs(3),
            members_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            metadata_chars_max: 4096,
            retention: Duration::from_hours(168),
            expiry_interval: Duration::from_mins(10),
            consumer: ConsumerSettings::default(),
            bytes_max: usize::MAX,
        }
    }
}
