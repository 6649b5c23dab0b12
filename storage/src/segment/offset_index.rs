//! Kafka's `.index`: from an offset to a place in the segment at or before its batch.
//!
//! Entries of 8 bytes, big-endian: offset relative to the segment's base (`u32`, at most `i32::MAX`),
//! position in the file (`u32`, at most `i32::MAX`). The offset is the last one of the batch that begins
//! at the position. Both ascend. Apache preallocates the file of an active segment with zeros and trims
//! it when it is sealed; zeros after the entries are therefore accepted.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use crate::record::varint::{Cursor, Malformed};
use crate::types::{Offset, Position};

/// Extension of the files; the name is the base offset with twenty digits.
pub const SUFFIX: &str = ".index";
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 8;

/// Why an index cannot be used. It can be rebuilt from its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IndexError {
    /// The size is no multiple of an entry's.
    #[error("index of {bytes} bytes, no multiple of {entry_bytes}")]
    Size {
        /// Bytes there are.
        bytes: usize,
        /// Bytes of an entry.
        entry_bytes: usize,
    },
    /// An entry does not come after the one before it, is negative, or lies outside the segment.
    #[error("index entry {index} is out of order or out of range")]
    Entry {
        /// Which, from 0.
        index: usize,
    },
    /// An offset or position that the format cannot hold.
    #[error("offset {offset} or position {position} does not fit an index entry")]
    Unrepresentable {
        /// The offset.
        offset: i64,
        /// The position.
        position: u64,
    },
}

impl From<Malformed> for IndexError {
    /// Never happens: whole entries are read.
    fn from(_: Malformed) -> Self {
        Self::Size { bytes: 0, entry_bytes: ENTRY_BYTES }
    }
}

/// One entry as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stored {
    relative_offset: i32,
    position: i32,
}

/// The offset index of one segment, in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<Stored>,
}

impl OffsetIndex {
    /// An empty one for the segment with this base offset.
    pub const fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Vec::new() }
    }

    /// Reads a file; entries have to ascend and to lie below `segment_bytes`.
    pub fn read(base_offset: Offset, file: &[u8], segment_bytes: u64) -> Result<Self, IndexError> {
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
                relative_offset: i32::from_be_bytes(cursor.array("relative offset")?),
                position: i32::from_be_bytes(cursor.array("position")?),
            };
            let ascends = entries.last().is_none_or(|last| {
                last.relative_offset < entry.relative_offset && last.position < entry.position
            });
            let inside = u64::try_from(entry.position).is_ok_and(|position| position < segment_bytes);
            if !ascends || !inside || entry.relative_offset < 0 {
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
            file.extend_from_slice(&entry.relative_offset.to_be_bytes());
            file.extend_from_slice(&entry.position.to_be_bytes());
        }
        file
    }

    /// Base offset of the segment.
    pub const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The last entry.
    pub fn last(&self) -> Option<(Offset, Position)> {
        self.entries.last().map(|entry| self.plain(*entry))
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, Position)> {
        self.entries.iter().map(|entry| self.plain(*entry))
    }

    /// Adds the batch that ends with `last_offset` and begins at `position`; both beyond the last entry's.
    pub fn append(&mut self, last_offset: Offset, position: Position) -> Result<(), IndexError> {
        let unrepresentable = IndexError::Unrepresentable { offset: last_offset.0, position: position.0 };
        let relative = last_offset.0.checked_sub(self.base_offset.0).ok_or(unrepresentable)?;
        let (Ok(relative_offset), Ok(stored)) = (i32::try_from(relative), i32::try_from(position.0)) else {
            return Err(unrepresentable);
        };
        let ascends = self.last().is_none_or(|(offset, at)| offset < last_offset && at < position);
        if !ascends || relative_offset < 0 {
            return Err(IndexError::Entry { index: self.entries.len() });
        }
        self.entries.push(Stored { relative_offset, position: stored });
        Ok(())
    }

    /// Where to start reading for `offset`: the newest entry not after it, else the segment's start.
    pub fn lookup(&self, offset: Offset) -> (Offset, Position) {
        let above = self.entries.partition_point(|entry| self.plain(*entry).0 <= offset);
        let entry = above.checked_sub(1).and_then(|index| self.entries.get(index));
        entry.map_or((self.base_offset, Position(0)), |entry| self.plain(*entry))
    }

    /// The first entry beyond `offset`: its batch may hold it, and none before the entry of
    /// [`lookup`](Self::lookup) does.
    pub fn after(&self, offset: Offset) -> Option<(Offset, Position)> {
        let index = self.entries.partition_point(|entry| self.plain(*entry).0 <= offset);
        self.entries.get(index).map(|entry| self.plain(*entry))
    }

    /// The last batch known to begin at or before `position` with every batch before it below the offset `end`: its last
    /// offset, and where it begins.
    pub fn boundary(&self, position: Position, end: Offset) -> Option<(Offset, Position)> {
        let inside = self.entries.partition_point(|entry| {
            let (offset, at) = self.plain(*entry);
            at <= position && offset <= end
        });
        let index = inside.checked_sub(1)?;
        self.entries.get(index).map(|entry| self.plain(*entry))
    }

    /// The last entry whose batch begins at or before `position`.
    pub fn floor(&self, position: Position) -> Option<(Offset, Position)> {
        let above = self.entries.partition_point(|entry| self.plain(*entry).1 <= position);
        above.checked_sub(1).and_then(|index| self.entries.get(index)).map(|entry| self.plain(*entry))
    }

    /// The first entry whose batch begins behind `position`.
    pub fn above(&self, position: Position) -> Option<(Offset, Position)> {
        let index = self.entries.partition_point(|entry| self.plain(*entry).1 <= position);
        self.entries.get(index).map(|entry| self.plain(*entry))
    }

    /// Drops entries of `offset` and beyond: the log now ends there.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.entries.partition_point(|entry| self.plain(*entry).0 < offset);
        self.entries.truncate(keep);
    }

    /// Drops entries whose batches would begin at `position` or beyond.
    pub fn cut_at(&mut self, position: Position) {
        let keep = self.entries.partition_point(|entry| self.plain(*entry).1 < position);
        self.entries.truncate(keep);
    }

    fn plain(&self, entry: Stored) -> (Offset, Position) {
        let offset = self.base_offset.0.saturating_add(entry.relative_offset.into());
        (Offset(offset), Position(u64::try_from(entry.position).unwrap_or(0)))
    }
}
