//! Records that their topic's settings refuse, though their batch is sound: without a key where records are compacted, or
//! with a timestamp out of bounds. All of a batch are told, as in Kafka (KIP-467), so that a producer can send the others.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::batch::TimestampType;
use super::validate::ProduceLimits;

/// So many records of a batch are told apart, far more than clients put into one; the rest is refused with them.
const TOLD_MAX: usize = 10_000;

/// Why a record is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// A timestamp outside of what the topic allows.
    #[error("timestamp {timestamp} is not within {min} and {max}")]
    Timestamp {
        /// The offender.
        timestamp: i64,
        /// Earliest allowed.
        min: i64,
        /// Latest allowed.
        max: i64,
    },
    /// A record without key in a compacted topic.
    #[error("no key, which a compacted topic needs")]
    MissingKey,
}

/// The records of one batch that are refused, at least one.
#[derive(Debug, thiserror::Error)]
#[error("{count} of its records are refused, the first, record {}: {}", self.first.0, self.first.1)]
pub struct Rejections {
    first: (usize, Rejection),
    /// Those after it.
    more: Vec<(usize, Rejection)>,
    count: usize,
    has_timestamps: bool,
}

impl Rejections {
    /// Each record, counted from 0, and why it is refused, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Rejection)> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    /// Whether one of them is refused for its timestamp.
    pub const fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    /// Adds one to what was found so far.
    pub(super) fn add(found: &mut Option<Self>, index: usize, why: Rejection) {
        let is_timestamp = matches!(why, Rejection::Timestamp { .. });
        match found {
            None => {
                let (first, more) = ((index, why), Vec::new());
                *found = Some(Self { first, more, count: 1, has_timestamps: is_timestamp });
            }
            Some(found) => {
                found.count = found.count.saturating_add(1);
                found.has_timestamps |= is_timestamp;
                if found.count <= TOLD_MAX {
                    found.more.push((index, why));
                }
            }
        }
    }
}

/// The bounds of a `CreateTime` topic; under `LogAppendTime` everything passes.
pub(super) struct TimestampBounds {
    min: i64,
    max: i64,
}

impl TimestampBounds {
    /// Those of a topic.
    pub(super) fn of(limits: &ProduceLimits) -> Self {
        match limits.timestamp_type {
            TimestampType::CreateTime => Self { min: limits.timestamp_min.0, max: limits.timestamp_max.0 },
            TimestampType::LogAppendTime => Self { min: i64::MIN, max: i64::MAX },
        }
    }

    /// Whether a timestamp is within them.
    #[inline]
    pub(super) fn check(&self, timestamp: i64) -> Result<(), Rejection> {
        let (min, max) = (self.min, self.max);
        let passes = timestamp == NO_TIMESTAMP || (min..=max).contains(&timestamp);
        if passes { Ok(()) } else { Err(Rejection::Timestamp { timestamp, min, max }) }
    }
}

/// A record without timestamp.
pub(super) const NO_TIMESTAMP: i64 = -1;
