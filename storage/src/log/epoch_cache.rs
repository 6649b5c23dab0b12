//! Which leader epoch began at which offset (KIP-101, KIP-279), and Kafka's `leader-epoch-checkpoint`
//! that keeps it. Behaviour follows Kafka's `LeaderEpochFileCache`. Pure: the log writes the file.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::fmt::Display;

use super::checkpoint_file::{CheckpointFileError, read_lines, write_lines};
use crate::types::{LeaderEpoch, Offset};

/// Name of the file in a partition's directory.
pub const FILE_NAME: &str = "leader-epoch-checkpoint";

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch, ≥ 0.
    pub epoch: LeaderEpoch,
    /// Where it began, ≥ 0.
    pub start_offset: Offset,
}

impl Display for EpochEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.epoch, self.start_offset)
    }
}

/// The epochs of one partition, ascending in epoch and in offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// None known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a `leader-epoch-checkpoint`.
    pub fn read(file: &[u8]) -> Result<Self, CheckpointFileError> {
        let mut cache = Self::new();
        for (index, words) in read_lines(file)?.into_iter().enumerate() {
            let malformed = CheckpointFileError::Malformed { line: index.saturating_add(3) };
            let [epoch, offset] = words.as_slice() else { return Err(malformed) };
            match (epoch.parse::<i32>(), offset.parse::<i64>()) {
                (Ok(epoch), Ok(offset)) if epoch >= 0 && offset >= 0 => {
                    cache.assign(LeaderEpoch(epoch), Offset(offset));
                }
                _ => return Err(malformed),
            }
        }
        Ok(cache)
    }

    /// The file's text.
    pub fn write(&self) -> String {
        write_lines(&self.entries)
    }

    /// All entries, ascending.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch that has records.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Says that `epoch` begins at `start_offset`; an epoch that is known to begin there or earlier stays as it is.
    /// Entries that contradict the new one are dropped. Negative numbers are ignored. Returns whether the file has
    /// to be written again.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known =
            self.entries.last().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset);
        if known || epoch.0 < 0 || start_offset.0 < 0 {
            return false;
        }
        while self.entries.pop_if(|last| last.epoch >= epoch || last.start_offset >= start_offset).is_some() {
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Where `epoch` ended: the largest known epoch that is not above it, with the start of the next one, or the
    /// log's end for the newest. `None` is Kafka's undefined: nothing above `epoch` is known.
    pub fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        // Kafka's "undefined"; any other negative epoch is before all.
        if epoch.0 == -1 {
            return None;
        }
        if self.latest_epoch() == Some(epoch) {
            return Some((epoch, log_end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let next = self.entries.get(above)?;
        let floor = above.checked_sub(1).and_then(|index| self.entries.get(index));
        Some((floor.map_or(epoch, |entry| entry.epoch), next.start_offset))
    }

    /// The epoch a record at `offset` was written in.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|entry| entry.start_offset <= offset);
        above.checked_sub(1).and_then(|index| self.entries.get(index)).map(|entry| entry.epoch)
    }

    /// Forgets epochs that begin at `end_offset` or later: the log now ends there. Returns whether any did.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() < before
    }

    /// The log now starts at `start_offset`: epochs before the one it lies in are forgotten, and that one begins
    /// there. Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let above = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(index) = above.checked_sub(1) else { return false };
        let changed =
            index > 0 || self.entries.first().is_some_and(|entry| entry.start_offset < start_offset);
        self.entries.drain(..index);
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = start_offset;
        }
        changed
    }
}
