//! The five offsets of a log and the one order they keep.

use crate::types::Offset;

/// `log_start ≤ last_stable ≤ high_watermark ≤ durable_offset ≤ log_end`, asserted at every change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogOffsets {
    /// First offset that may be read.
    pub log_start_offset: Offset,
    /// First offset of an open transaction, else the high watermark.
    pub last_stable_offset: Offset,
    /// Consumers see records below it.
    pub high_watermark: Offset,
    /// End of what is on stable media.
    pub durable_offset: Offset,
    /// The offset the next record gets.
    pub log_end_offset: Offset,
}

impl LogOffsets {
    /// All at `offset`: an empty log that starts there.
    pub fn all_at(offset: Offset) -> Self {
        Self {
            log_start_offset: offset,
            last_stable_offset: offset,
            high_watermark: offset,
            durable_offset: offset,
            log_end_offset: offset,
        }
    }

    /// Asserts the order.
    pub fn check(&self) {
        assert!(
            self.log_start_offset <= self.last_stable_offset
                && self.last_stable_offset <= self.high_watermark
                && self.high_watermark <= self.durable_offset
                && self.durable_offset <= self.log_end_offset,
            "offsets in order: {self:?}"
        );
    }
}
