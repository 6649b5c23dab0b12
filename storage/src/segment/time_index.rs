//! Kafka's `.timeindex`: from a timestamp to an offset at or before the first record that has it or more.
//!
//! Entries of 12 bytes, big-endian: timestamp `i64`, offset relative to the segment's base `u32` (at most
//! `i32::MAX`). An entry says: the largest timestamp up to this offset is this one, and the batch that
//! ends with this offset has it. Timestamps ascend. Zeros after the entries are accepted, as in
//! [`offset_index`](super::offset_index).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::offset_index::IndexError;
use crate::record::varint::Cursor;
use crate::types::{Offset, TimestampMs};

/// Extension of the files; the name is the base offset with twenty digits.
pub const SUFFIX: &str = ".timeindex";
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 12;

/// One entry as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stored {
    timestamp: TimestampMs,
    relative_offset: i32,
}

/// The time index of one segment, in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: Vec<Stored>,
}

impl TimeIndex {
    /// An empty one for the segment with this base offset.
    pub const fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Vec::new() }
    }

    /// Reads a file; timestamps have to ascend, offsets must not descend.
    pub fn read(base_offset: Offset, file: &[u8]) -> Result<Self, IndexError> {
        let (chunks, rest) = file.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexError::Size { bytes: file.len(), entry_bytes: ENTRY_BYTES });
        }
        let used = chunks
            .iter()
            .rposition(|chunk| *chunk != [0; ENTRY_BYTES])
            .map_or(0, |last| last.saturating_add(1));
        let mut entries: Vec<Stored> = Vec::with_capacity(used);
        for (index, chunk) in chunks.iter().take(used).enumerate() {
            let mut cursor = Cursor::new(chunk);
            let entry = Stored {
                timestamp: TimestampMs(i64::from_be_bytes(cursor.array("timestamp")?)),
                relative_offset: i32::from_be_bytes(cursor.array("relative offset")?),
            };
            let ascends = entries.last().is_none_or(|last| {
                last.timestamp < entry.timestamp && last.relative_offset <= entry.relative_offset
            });
            if !ascends || entry.relative_offset < 0 {
                return Err(IndexError::Entry { index });
            }
            entries.push(entry);
        }
        Ok(Self { base_offset, entries })
    }

    /// The file's bytes, as of a sealed segment.
    pub fn write(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.entries.len().saturating_mul(ENTRY_BYTES));
        for entry in &self.entries {
            file.extend_from_slice(&entry.timestamp.0.to_be_bytes());
            file.extend_from_slice(&entry.relative_offset.to_be_bytes());
        }
        file
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The last entry: the largest timestamp, and where.
    pub fn last(&self) -> Option<(TimestampMs, Offset)> {
        self.entries.last().map(|entry| self.plain(*entry))
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (TimestampMs, Offset)> {
        self.entries.iter().map(|entry| self.plain(*entry))
    }

    /// Notes that up to `offset` the largest timestamp is `timestamp`; nothing happens unless it is larger than the
    /// last entry's (and than −1, no timestamp).
    pub fn append_if_larger(&mut self, timestamp: TimestampMs, offset: Offset) -> Result<(), IndexError> {
        let last = self.last();
        if timestamp <= last.map_or(TimestampMs(-1), |(largest, _)| largest) {
            return Ok(());
        }
        let relative =
            offset.0.checked_sub(self.base_offset.0).and_then(|relative| i32::try_from(relative).ok());
        let relative_offset =
            relative.ok_or(IndexError::Unrepresentable { offset: offset.0, position: 0 })?;
        if relative_offset < 0 || last.is_some_and(|(_, at)| offset < at) {
            return Err(IndexError::Entry { index: self.entries.len() });
        }
        self.entries.push(Stored { timestamp, relative_offset });
        Ok(())
    }

    /// Where to start looking for the first record with `timestamp` or later: the newest entry whose timestamp is not
    /// above it; `None` is the segment's start.
    pub fn lookup(&self, timestamp: TimestampMs) -> Option<(TimestampMs, Offset)> {
        let above = self.entries.partition_point(|entry| entry.timestamp <= timestamp);
        above.checked_sub(1).and_then(|index| self.entries.get(index)).map(|entry| self.plain(*entry))
    }

    /// Drops entries of `offset` and beyond: the log now ends there.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.entries.partition_point(|entry| self.plain(*entry).1 < offset);
        self.entries.truncate(keep);
    }

    fn plain(&self, entry: Stored) -> (TimestampMs, Offset) {
        (entry.timestamp, Offset(self.base_offset.0.saturating_add(entry.relative_offset.into())))
    }
}
