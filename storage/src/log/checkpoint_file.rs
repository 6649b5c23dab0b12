//! Kafka's checkpoint files: a version, a count, and a line per entry, as text. `leader-epoch-checkpoint`
//! of a partition, and a log directory's `recovery-point-offset-checkpoint`,
//! `log-start-offset-checkpoint` and `replication-offset-checkpoint` share the form.
//!
//! ```text
//! 0
//! 2
//! 0 0
//! 3 1200
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::fmt::{Display, Write};

use crate::types::{Offset, PartitionIndex};

/// The version of all of them.
const VERSION: &str = "0";

/// Why a checkpoint file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointFileError {
    /// Not text.
    #[error("the checkpoint file is not text")]
    NotText,
    /// A version this build does not know.
    #[error("checkpoint file version {0} is not known")]
    UnknownVersion(i32),
    /// A line says nothing.
    #[error("checkpoint file line {line} is malformed")]
    Malformed {
        /// Which, from 1.
        line: usize,
    },
    /// Lines are missing or too many.
    #[error("checkpoint file with {found} entries instead of {expected}")]
    Count {
        /// What the second line says.
        expected: usize,
        /// Lines that follow.
        found: usize,
    },
}

/// One entry per line of a file, for the offset checkpoints of a log directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionOffset {
    /// The topic's name.
    pub topic: String,
    /// Which partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: Offset,
}

impl Display for PartitionOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.topic, self.partition, self.offset)
    }
}

/// The text of a file, one entry a line.
pub fn write_lines<T: Display>(entries: &[T]) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    text
}

/// The words of every entry's line. An empty file, and one with a version only, have no entries, as in Kafka.
pub fn read_lines(file: &[u8]) -> Result<Vec<Vec<&str>>, CheckpointFileError> {
    let text = std::str::from_utf8(file).map_err(|_| CheckpointFileError::NotText)?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    let number: i32 = version.parse().map_err(|_| CheckpointFileError::Malformed { line: 1 })?;
    if number != 0 {
        return Err(CheckpointFileError::UnknownVersion(number));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let expected: usize = count.parse().map_err(|_| CheckpointFileError::Malformed { line: 2 })?;
    let entries: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let found = entries.len();
    if found == expected { Ok(entries) } else { Err(CheckpointFileError::Count { expected, found }) }
}

/// Reads an offset checkpoint of a log directory.
pub fn read_partition_offsets(file: &[u8]) -> Result<Vec<PartitionOffset>, CheckpointFileError> {
    let parse = |(index, words): (usize, Vec<&str>)| {
        let malformed = CheckpointFileError::Malformed { line: index.saturating_add(3) };
        let [topic, partition, offset] = words.as_slice() else { return Err(malformed) };
        match (partition.parse(), offset.parse()) {
            (Ok(partition), Ok(offset)) => Ok(PartitionOffset {
                topic: (*topic).to_owned(),
                partition: PartitionIndex(partition),
                offset: Offset(offset),
            }),
            _ => Err(malformed),
        }
    };
    read_lines(file)?.into_iter().enumerate().map(parse).collect()
}
