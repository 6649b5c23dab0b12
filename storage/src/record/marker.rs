//! Transaction markers: the one record of a control batch that a coordinator writes to end a producer's transaction in a
//! partition (KIP-98; Kafka's `ControlRecordType`, `EndTransactionMarker`).
//!
//! Big-endian. Key: version `i16`, type `i16` (0 abort, 1 commit; others are no marker). Value: version `i16`, coordinator
//! epoch `i32`; newer versions append fields, which are not read.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::record::BatchRecords;
use super::varint::Cursor;

/// A marker has a few bytes, and control batches are not compressed.
const BYTES_MAX: usize = 64 << 10;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// What a marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The transaction's records count as if they had not been written.
    pub is_abort: bool,
    /// Epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The marker in a control batch; `None` if it has none: compaction removes old ones, and there are control records
    /// of other types.
    pub fn read(batch: &[u8]) -> Option<Self> {
        let records = BatchRecords::open(batch, BYTES_MAX).ok()?;
        let record = records.iter().next()?.ok()?;
        let mut key = Cursor::new(record.key?);
        let _version: [u8; 2] = key.array("version").ok()?;
        let is_abort = match i16::from_be_bytes(key.array("type").ok()?) {
            ABORT => true,
            COMMIT => false,
            _ => return None,
        };
        let mut value = Cursor::new(record.value?);
        let _version: [u8; 2] = value.array("version").ok()?;
        let coordinator_epoch = i32::from_be_bytes(value.array("coordinator epoch").ok()?);
        Some(Self { is_abort, coordinator_epoch })
    }

    /// The key and the value of its record.
    pub fn write(&self) -> (Vec<u8>, Vec<u8>) {
        let kind = if self.is_abort { ABORT } else { COMMIT };
        let key = [0_i16.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&0_i16.to_be_bytes()[..], &self.coordinator_epoch.to_be_bytes()].concat();
        (key, value)
    }
}
