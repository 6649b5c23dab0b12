//! Both indexes of a segment, filled by the rule of Kafka's `LogSegment.append` and `recover`: before a
//! batch is counted, an entry is made if more than `index.interval.bytes` lie since the last one. Feeding
//! the batches of a segment in order gives Apache's files byte for byte, whether live or when rebuilt.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::offset_index::{IndexError, OffsetIndex};
use super::time_index::TimeIndex;
use crate::record::batch::BatchHeader;
use crate::types::{Offset, Position, TimestampMs};

/// The indexes of one segment while it grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SparseIndex {
    offsets: OffsetIndex,
    times: TimeIndex,
    interval_bytes: u64,
    bytes_since_entry: u64,
    largest: Option<(TimestampMs, Offset)>,
}

impl SparseIndex {
    /// Of an empty segment. `interval_bytes` is `index.interval.bytes`.
    pub const fn new(base_offset: Offset, interval_bytes: u64) -> Self {
        Self {
            offsets: OffsetIndex::new(base_offset),
            times: TimeIndex::new(base_offset),
            interval_bytes,
            bytes_since_entry: 0,
            largest: None,
        }
    }

    /// An empty one for the same segment.
    #[must_use]
    pub const fn emptied(&self) -> Self {
        Self::new(self.offsets.base_offset(), self.interval_bytes)
    }

    /// Of a segment's files: as it was when the last offset entry was made, with that entry's batch to be counted next.
    pub fn resume(offsets: OffsetIndex, mut times: TimeIndex, interval_bytes: u64) -> Self {
        if let Some((last_offset, _)) = offsets.last() {
            // What sealing added belongs to batches that are counted again.
            times.truncate_to(Offset(last_offset.0.saturating_add(1)));
        }
        let largest = times.last();
        Self { offsets, times, interval_bytes, bytes_since_entry: 0, largest }
    }

    /// Counts the batch that begins at `position`; batches come in order, without gaps. An error says that the
    /// segment has to be rolled first: the batch does not fit the index's 32-bit fields.
    pub fn push(&mut self, batch: &BatchHeader, position: Position) -> Result<(), IndexError> {
        let last_offset = batch.last_offset();
        if batch.max_timestamp() > self.largest.map_or(TimestampMs(-1), |(timestamp, _)| timestamp) {
            self.largest = Some((batch.max_timestamp(), last_offset));
        }
        if self.bytes_since_entry > self.interval_bytes {
            self.offsets.append(last_offset, position)?;
            if let Some((timestamp, offset)) = self.largest {
                self.times.append_if_larger(timestamp, offset)?;
            }
            self.bytes_since_entry = 0;
        }
        let bytes = u64::try_from(batch.batch_bytes().unwrap_or(0)).unwrap_or(u64::MAX);
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(bytes);
        Ok(())
    }

    /// The segment is sealed: its largest timestamp becomes the time index's last entry. May be called again.
    pub fn seal(&mut self) -> Result<(), IndexError> {
        let Some((timestamp, offset)) = self.largest else { return Ok(()) };
        self.times.append_if_larger(timestamp, offset)
    }

    /// Contents of the `.index` and the `.timeindex` file.
    pub fn files(&self) -> [Vec<u8>; 2] {
        [self.offsets.write(), self.times.write()]
    }

    /// Bytes it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.offsets.count().saturating_mul(8).saturating_add(self.times.count().saturating_mul(16))
    }

    /// The offset index.
    pub fn offsets(&self) -> &OffsetIndex {
        &self.offsets
    }

    /// The time index.
    pub fn times(&self) -> &TimeIndex {
        &self.times
    }

    /// The largest timestamp of the segment, and the last offset of the first batch that has it.
    pub fn largest(&self) -> Option<(TimestampMs, Offset)> {
        self.largest
    }
}
