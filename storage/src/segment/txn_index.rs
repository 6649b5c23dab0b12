//! Kafka's `.txnindex`: the transactions whose abort markers stand in the segment.
//!
//! Entries of 34 bytes, big-endian: version `i16` = 0, producer id `i64`, first offset `i64` (where the transaction began
//! in this partition, maybe in an earlier segment), last offset `i64` (the marker's), last stable offset `i64` (once the
//! marker stood there: no transaction with a marker behind it begins below). Last offsets ascend. A segment without
//! such transactions has no file.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use crate::record::varint::{Cursor, Malformed};
use crate::types::{Offset, ProducerId};

/// Extension of the files; the name is the base offset with twenty digits.
pub const SUFFIX: &str = ".txnindex";
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// A transaction that was aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// The last stable offset once the marker stood there.
    pub last_stable_offset: Offset,
}

/// Why a file cannot be used. It follows from the log's batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TxnIndexError {
    /// The size is no multiple of an entry's.
    #[error("transaction index of {bytes} bytes, no multiple of {ENTRY_BYTES}")]
    Size {
        /// Bytes there are.
        bytes: usize,
    },
    /// A version this build does not know.
    #[error("version {version} of entry {index} is not known")]
    UnknownVersion {
        /// Which, from 0.
        index: usize,
        /// As written.
        version: i16,
    },
    /// An entry contradicts itself, or does not come after the one before it.
    #[error("entry {index} is out of order or out of range")]
    Entry {
        /// Which, from 0.
        index: usize,
    },
}

impl From<Malformed> for TxnIndexError {
    /// Never happens: whole entries are read.
    fn from(_: Malformed) -> Self {
        Self::Size { bytes: 0 }
    }
}

/// Reads the file of the segment with this base offset.
pub fn read(base_offset: Offset, file: &[u8]) -> Result<Vec<AbortedTransaction>, TxnIndexError> {
    let (chunks, rest) = file.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(TxnIndexError::Size { bytes: file.len() });
    }
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(chunks.len());
    for (index, chunk) in chunks.iter().enumerate() {
        let mut cursor = Cursor::new(chunk);
        let version = i16::from_be_bytes(cursor.array("version")?);
        if version != VERSION {
            return Err(TxnIndexError::UnknownVersion { index, version });
        }
        let entry = AbortedTransaction {
            producer_id: ProducerId(i64::from_be_bytes(cursor.array("producer id")?)),
            first_offset: Offset(i64::from_be_bytes(cursor.array("first offset")?)),
            last_offset: Offset(i64::from_be_bytes(cursor.array("last offset")?)),
            last_stable_offset: Offset(i64::from_be_bytes(cursor.array("last stable offset")?)),
        };
        let ascends = entries.last().is_none_or(|before| before.last_offset < entry.last_offset);
        let fits = entry.producer_id.0 >= 0
            && entry.first_offset.0 >= 0
            && entry.first_offset < entry.last_offset
            && entry.last_offset >= base_offset
            && (0..=entry.last_offset.0.saturating_add(1)).contains(&entry.last_stable_offset.0);
        if !ascends || !fits {
            return Err(TxnIndexError::Entry { index });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The file's bytes.
pub fn write(entries: &[AbortedTransaction]) -> Vec<u8> {
    let mut file = Vec::with_capacity(entries.len().saturating_mul(ENTRY_BYTES));
    for entry in entries {
        file.extend_from_slice(&VERSION.to_be_bytes());
        for number in
            [entry.producer_id.0, entry.first_offset.0, entry.last_offset.0, entry.last_stable_offset.0]
        {
            file.extend_from_slice(&number.to_be_bytes());
        }
    }
    file
}
