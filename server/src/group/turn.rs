//! What one step of a coordinator is given from outside: time, randomness, and the log.

use std::time::Duration;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::{Offset, TimestampMs};

use super::cluster::Cluster;
use super::record::Record;
use super::settings::GroupSettings;
use crate::counters::GroupCounters;

/// Where records go. An append is refused as a whole or takes its place in the log now; it is durable later, and whoever
/// runs the coordinator lets no answer out before.
pub trait RecordSink {
    /// Appends records in their order; the offset of the first.
    fn append(&mut self, records: &[Record], wall_clock: TimestampMs) -> Result<Offset, ErrorCode>;
}

/// One step's surroundings.
pub struct Turn<'a> {
    /// Monotonic time, for timeouts.
    pub now: Duration,
    /// Wall-clock time, for what is recorded.
    pub wall_clock: TimestampMs,
    /// 122 random bits and six fixed ones, as text: `UUID.randomUUID`.
    pub random_uuid: &'a mut dyn FnMut() -> String,
    /// Where records go.
    pub log: &'a mut dyn RecordSink,
    /// Topics, and what is configured for groups.
    pub cluster: &'a dyn Cluster,
    /// What the configuration says.
    pub settings: &'a GroupSettings,
    /// Memory that may still be taken.
    pub bytes_left: usize,
    /// Where what happens is counted; nothing is read from it.
    pub counters: &'a GroupCounters,
}

impl Turn<'_> {
    /// Appends records.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<Offset, ErrorCode> {
        self.log.append(records, self.wall_clock)
    }
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("now", &self.now)
            .field("wall_clock", &self.wall_clock)
            .finish_non_exhaustive()
    }
}
