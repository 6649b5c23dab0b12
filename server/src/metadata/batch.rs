//! Batches of the metadata log: metadata records and control records, to bytes and back.
//!
//! A metadata record is the value of a record without key, framed as the codec says. A control record has the
//! key int16 version, int16 type.
//!
//! At a position of a log file stands a **valid batch** if and only if
//! 1. a whole header remains, and its length is possible and remains too;
//! 2. the magic is 2 and the CRC is right;
//! 3. its first offset is the end of what came before and its epoch is not lower.
//!
//! Whether its records can be understood is another question: a valid batch that cannot be is a fault, never
//! a torn tail.

use super::control_record::ControlRecord;
use super::record_version::record_version;
use bytes::Bytes;
use ringmain_protocol::EncodeError;
use ringmain_protocol::metadata::MetadataRecord;
use ringmain_storage::record::batch::{BatchHeader, HEADER_BYTES, MAGIC, compute_crc};
use ringmain_storage::record::builder::{BatchBuilder, BuildError, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::types::{LeaderEpoch, Offset, TimestampMs};

/// Bytes a batch's records may take when they are read: what Apache's writer would never reach.
const RECORDS_BYTES_MAX: usize = 1 << 30;

/// Records that become one batch: durable together or not at all.
#[derive(Clone, Copy, Debug)]
pub enum NewBatch<'a> {
    /// Metadata records, written in the versions of that `metadata.version`.
    Data(&'a [MetadataRecord], i16),
    /// Control records.
    Control(&'a [ControlRecord]),
}

/// Where and when a batch is written.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Epoch of the leader that writes it.
    pub epoch: i32,
    /// The time, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// A batch that was read.
#[derive(Debug)]
pub struct Batch {
    /// Where and when it was written.
    pub stamp: Stamp,
    /// Offset after its last record.
    pub end_offset: i64,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its records.
    pub records: BatchContent,
}

/// What a batch holds.
#[derive(Debug)]
pub enum BatchContent {
    /// Metadata records.
    Data(Vec<MetadataRecord>),
    /// Control records.
    Control(Vec<ControlRecord>),
}

/// Why a batch cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A record cannot be said in that version.
    #[error("a metadata record cannot be written: {0}")]
    Record(#[from] EncodeError),
    /// The batch is empty or larger than a batch can be.
    #[error("a metadata batch cannot be built: {0}")]
    Build(#[from] BuildError),
}

/// What stands at a position of a log file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No valid batch: a torn tail, or damage.
    #[error("no valid batch: {0}")]
    Invalid(&'static str),
    /// A valid batch that this version of ringmain does not understand.
    #[error("a record at offset {offset} cannot be understood: {reason}")]
    NotUnderstood {
        /// First offset of the batch.
        offset: i64,
        /// What about it.
        reason: String,
    },
}

/// The bytes of a batch.
pub fn write(batch: NewBatch<'_>, stamp: Stamp) -> Result<Bytes, WriteError> {
    let mut builder = BatchBuilder::new(Codec::None).at(Offset(stamp.base_offset), LeaderEpoch(stamp.epoch));
    let timestamp = TimestampMs(stamp.timestamp_ms);
    match batch {
        NewBatch::Data(records, metadata_version) => {
            for record in records {
                let value = record.write_framed(record_version(record, metadata_version))?;
                builder.push(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] })?;
            }
        }
        NewBatch::Control(records) => {
            builder = builder.control();
            for record in records {
                let key = record.key();
                builder.push(&NewRecord {
                    timestamp,
                    key: Some(&key),
                    value: Some(&record.value),
                    headers: &[],
                })?;
            }
        }
    }
    Ok(builder.build()?)
}

/// The size of the valid batch at the start of `bytes`, by its header, CRC and place in the log.
pub fn check(bytes: &[u8], expected_offset: i64, epoch_min: i32) -> Result<usize, ReadError> {
    let header = BatchHeader::read(bytes).ok_or(ReadError::Invalid("less than a header is left"))?;
    let size = header.batch_bytes().filter(|size| *size >= HEADER_BYTES);
    let size = size.ok_or(ReadError::Invalid("the length cannot be"))?;
    let batch = bytes.get(..size).ok_or(ReadError::Invalid("it is cut off"))?;
    if header.magic() != MAGIC {
        return Err(ReadError::Invalid("the magic is wrong"));
    }
    if compute_crc(batch) != Some(header.crc()) {
        return Err(ReadError::Invalid("the checksum is wrong"));
    }
    if header.base_offset().0 != expected_offset || header.last_offset_delta() < 0 {
        return Err(ReadError::Invalid("the offset is not the next one"));
    }
    if header.partition_leader_epoch().0 < epoch_min {
        return Err(ReadError::Invalid("the epoch went back"));
    }
    Ok(size)
}

/// Reads the valid batch at the start of `bytes`.
pub fn read(bytes: &[u8], expected_offset: i64, epoch_min: i32) -> Result<Batch, ReadError> {
    let size = check(bytes, expected_offset, epoch_min)?;
    let bytes = bytes.get(..size).ok_or(ReadError::Invalid("it is cut off"))?;
    let refuse = |reason: String| ReadError::NotUnderstood { offset: expected_offset, reason };
    let batch = BatchRecords::open(bytes, RECORDS_BYTES_MAX).map_err(|error| refuse(error.to_string()))?;
    let header = batch.header();
    let stamp = Stamp {
        base_offset: header.base_offset().0,
        epoch: header.partition_leader_epoch().0,
        timestamp_ms: header.max_timestamp().0,
    };
    let is_control = header.attributes().is_control();
    let (mut data, mut control) = (Vec::new(), Vec::new());
    for record in &batch {
        let record = record.map_err(|error| refuse(error.to_string()))?;
        let value = record.value.unwrap_or_default();
        if is_control {
            control.push(ControlRecord::read(record.key.unwrap_or_default(), value).map_err(refuse)?);
        } else {
            let value = Bytes::copy_from_slice(value);
            let (record, _) =
                MetadataRecord::read_framed(value).map_err(|error| refuse(error.to_string()))?;
            data.push(record);
        }
    }
    let records = if is_control { BatchContent::Control(control) } else { BatchContent::Data(data) };
    Ok(Batch { stamp, end_offset: header.next_offset().0, bytes: size, records })
}
