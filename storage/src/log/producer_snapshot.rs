//! Kafka's `<offset>.snapshot` files: what a partition knew of its producers below that offset.
//!
//! Big-endian: version `i16` = 1, CRC32C `u32` of all that follows it, entry count `i32`, then per
//! producer 46 bytes: producer id `i64`, epoch `i16`, last sequence `i32`, last offset `i64`, offset delta
//! `i32`, timestamp `i64`, coordinator epoch `i32`, first offset of the open transaction `i64` (−1 none).
//! Only the newest batch of a producer is kept there (last offset −1: none), as in Kafka.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::producer_state::{BatchMetadata, ProducerState, RestoredProducer};
use crate::record::varint::{Cursor, Malformed};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Extension of the files; the name is the offset with twenty digits.
pub const SUFFIX: &str = ".snapshot";
const VERSION: i16 = 1;
const ENTRY_BYTES: usize = 46;
/// Bytes before what the CRC covers.
const CRC_COVERS_FROM: usize = 6;

/// Why a snapshot cannot be used. It is only a summary of the log: the remedy is to read the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A version this build does not know.
    #[error("producer snapshot version {0} is not known")]
    UnknownVersion(i16),
    /// The bytes are not those that were written.
    #[error("producer snapshot CRC mismatch: stored {stored:08x}, computed {computed:08x}")]
    Crc {
        /// In the file.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// It is cut off.
    #[error("producer snapshot: {0}")]
    Malformed(#[from] Malformed),
    /// The entry count is not that of the bytes.
    #[error("producer snapshot with {count} entries in {bytes} bytes")]
    Count {
        /// As written.
        count: i32,
        /// Bytes of the entries.
        bytes: usize,
    },
}

/// The file's bytes, producers by ascending id.
pub fn write_snapshot(state: &ProducerState) -> Vec<u8> {
    let mut entries = Vec::with_capacity(state.count().saturating_mul(ENTRY_BYTES).saturating_add(4));
    entries.extend_from_slice(&i32::try_from(state.count()).unwrap_or(i32::MAX).to_be_bytes());
    for (producer_id, producer) in state.iter() {
        let none = BatchMetadata { last_sequence: -1, last_offset: Offset(-1), ..BatchMetadata::default() };
        let last = producer.batches().last().unwrap_or(&none);
        entries.extend_from_slice(&producer_id.0.to_be_bytes());
        entries.extend_from_slice(&producer.epoch.0.to_be_bytes());
        entries.extend_from_slice(&last.last_sequence.to_be_bytes());
        entries.extend_from_slice(&last.last_offset.0.to_be_bytes());
        entries.extend_from_slice(&last.offset_delta.to_be_bytes());
        entries.extend_from_slice(&producer.last_timestamp.0.to_be_bytes());
        entries.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        entries.extend_from_slice(
            &producer.transaction_first_offset.map_or(-1, |offset| offset.0).to_be_bytes(),
        );
    }
    let mut file = Vec::with_capacity(entries.len().saturating_add(CRC_COVERS_FROM));
    file.extend_from_slice(&VERSION.to_be_bytes());
    file.extend_from_slice(&crc32c::crc32c(&entries).to_be_bytes());
    file.extend_from_slice(&entries);
    file
}

/// Reads a file. `now` counts as when its producers were last heard of.
pub fn read_snapshot(file: &[u8], now: TimestampMs) -> Result<ProducerState, SnapshotError> {
    let mut cursor = Cursor::new(file);
    let version = i16::from_be_bytes(cursor.array("version")?);
    if version != VERSION {
        return Err(SnapshotError::UnknownVersion(version));
    }
    let stored = u32::from_be_bytes(cursor.array("crc")?);
    let computed = crc32c::crc32c(cursor.rest());
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    let count = i32::from_be_bytes(cursor.array("entry count")?);
    let bytes = cursor.rest().len();
    if usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_BYTES)) != Some(bytes) {
        return Err(SnapshotError::Count { count, bytes });
    }
    let mut state = ProducerState::new();
    for _ in 0..count {
        let producer_id = ProducerId(i64::from_be_bytes(cursor.array("producer id")?));
        let epoch = ProducerEpoch(i16::from_be_bytes(cursor.array("epoch")?));
        let last_sequence = i32::from_be_bytes(cursor.array("last sequence")?);
        let last_offset = Offset(i64::from_be_bytes(cursor.array("last offset")?));
        let offset_delta = i32::from_be_bytes(cursor.array("offset delta")?);
        let timestamp = TimestampMs(i64::from_be_bytes(cursor.array("timestamp")?));
        let coordinator_epoch = i32::from_be_bytes(cursor.array("coordinator epoch")?);
        let transaction = Offset(i64::from_be_bytes(cursor.array("transaction first offset")?));
        let batch = [BatchMetadata { last_sequence, last_offset, offset_delta, timestamp }];
        let restored = RestoredProducer {
            epoch,
            coordinator_epoch,
            last_timestamp: timestamp,
            transaction_first_offset: (transaction.0 >= 0).then_some(transaction),
            seen_at: now,
            batches: if last_offset.0 >= 0 { &batch } else { &[] },
        };
        state.restore(producer_id, &restored);
    }
    Ok(state)
}
