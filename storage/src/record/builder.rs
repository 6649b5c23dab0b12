//! Builds one record batch: for the command line's producer, the metadata log, and tests.

use bytes::Bytes;

use super::batch::{Attributes, BatchHeader, HEADER_BYTES, HeaderFields, LOG_OVERHEAD_BYTES, seal};
use super::compression::{Codec, CompressionError, compress};
use super::validate::ProducerBatch;
use super::varint::{varlong_bytes, write_varint, write_varlong};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// A record to be written.
#[derive(Clone, Copy, Default)]
pub struct NewRecord<'a> {
    /// `CreateTime`; −1 for none.
    pub timestamp: TimestampMs,
    /// Key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// Value, `None` for null.
    pub value: Option<&'a [u8]>,
    /// Headers, in order: name and value, `None` for null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl std::fmt::Debug for NewRecord<'_> {
    /// Sizes only: what records hold is nobody's business in a log file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRecord")
            .field("timestamp", &self.timestamp)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers.len())
            .finish()
    }
}

/// Why a batch could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A batch has at least one record.
    #[error("a batch needs at least one record")]
    Empty,
    /// More than a batch's 32-bit lengths and counts can say.
    #[error("{what} does not fit a batch")]
    TooLarge {
        /// What is too large.
        what: &'static str,
    },
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Collects records into one batch. Base offset is 0 and leader epoch −1 unless set, as producers send it.
pub struct BatchBuilder {
    attributes: Attributes,
    codec: Codec,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer: Option<ProducerBatch>,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    record_count: i32,
    records: Vec<u8>,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("codec", &self.codec)
            .field("record_count", &self.record_count)
            .field("uncompressed_bytes", &self.records.len())
            .finish_non_exhaustive()
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(codec: Codec) -> Self {
        Self {
            attributes: Attributes::default().with_codec(codec),
            codec,
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(-1),
            producer: None,
            base_timestamp: TimestampMs(-1),
            max_timestamp: TimestampMs(-1),
            record_count: 0,
            records: Vec::new(),
        }
    }

    /// Sets offset and leader epoch, where the writer is the leader (the metadata log).
    #[must_use]
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        (self.base_offset, self.leader_epoch) = (base_offset, leader_epoch);
        self
    }

    /// Sets producer id, epoch and sequence.
    #[must_use]
    pub fn with_producer(mut self, producer: ProducerBatch) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Marks the batch transactional.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes = self.attributes.transactional();
        self
    }

    /// Marks the batch as control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.control();
        self
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Size of the batch if it were built uncompressed now.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Adds a record with the next offset delta.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        if self.record_count == 0 {
            self.base_timestamp = record.timestamp;
        }
        let timestamp_delta = record.timestamp.0.wrapping_sub(self.base_timestamp.0);
        let next_count =
            self.record_count.checked_add(1).ok_or(BuildError::TooLarge { what: "the record count" })?;
        let body_bytes = record_bytes(record, timestamp_delta, self.record_count)?;
        write_varint(&mut self.records, length_of(body_bytes, "a record")?);
        self.records.push(0);
        write_varlong(&mut self.records, timestamp_delta);
        write_varint(&mut self.records, self.record_count);
        write_nullable(&mut self.records, record.key)?;
        write_nullable(&mut self.records, record.value)?;
        write_varint(&mut self.records, length_of(record.headers.len(), "the header count")?);
        for (name, value) in record.headers {
            write_nullable(&mut self.records, Some(name.as_bytes()))?;
            write_nullable(&mut self.records, *value)?;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.record_count = next_count;
        Ok(())
    }

    /// The batch, compressed and with its CRC.
    pub fn build(self) -> Result<Bytes, BuildError> {
        if self.record_count == 0 {
            return Err(BuildError::Empty);
        }
        let records = compress(self.codec, &self.records)?;
        let batch_length = length_of(HEADER_BYTES - LOG_OVERHEAD_BYTES + records.len(), "the batch")?;
        let none = ProducerBatch {
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
        };
        let producer = self.producer.unwrap_or(none);
        let header = BatchHeader::new(&HeaderFields {
            base_offset: self.base_offset,
            batch_length,
            partition_leader_epoch: self.leader_epoch,
            attributes: self.attributes,
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            base_sequence: producer.base_sequence,
            record_count: self.record_count,
        });
        let mut batch = Vec::with_capacity(HEADER_BYTES + records.len());
        batch.extend_from_slice(header.to_bytes());
        batch.extend_from_slice(&records);
        seal(&mut batch);
        Ok(batch.into())
    }
}

fn length_of(size: usize, what: &'static str) -> Result<i32, BuildError> {
    i32::try_from(size).map_err(|_| BuildError::TooLarge { what })
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BuildError> {
    match bytes {
        None => write_varint(out, -1),
        Some(bytes) => {
            write_varint(out, length_of(bytes.len(), "a key, value or header")?);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// Bytes of a record after its length field.
fn record_bytes(
    record: &NewRecord<'_>,
    timestamp_delta: i64,
    offset_delta: i32,
) -> Result<usize, BuildError> {
    let mut bytes = 1 + varlong_bytes(timestamp_delta) + varlong_bytes(offset_delta.into());
    bytes += nullable_bytes(record.key)? + nullable_bytes(record.value)?;
    bytes += varlong_bytes(length_of(record.headers.len(), "the header count")?.into());
    for (name, value) in record.headers {
        bytes += nullable_bytes(Some(name.as_bytes()))? + nullable_bytes(*value)?;
    }
    Ok(bytes)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> Result<usize, BuildError> {
    let Some(bytes) = bytes else { return Ok(1) };
    Ok(varlong_bytes(length_of(bytes.len(), "a key, value or header")?.into()) + bytes.len())
}
