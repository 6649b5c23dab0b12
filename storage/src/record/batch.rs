//! The header of a record batch, read and changed in place. It says nothing about whether the batch
//! is sound: that is [`validate`](super::validate)'s.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | base offset |
//! | 8 | 4 | batch length: bytes after this field |
//! | 12 | 4 | partition leader epoch |
//! | 16 | 1 | magic (2) |
//! | 17 | 4 | CRC32C of everything after this field |
//! | 21 | 2 | attributes: bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon |
//! | 23 | 4 | last offset delta |
//! | 27 | 8 | base timestamp (the delete horizon if bit 6 is set) |
//! | 35 | 8 | max timestamp |
//! | 43 | 8 | producer id |
//! | 51 | 2 | producer epoch |
//! | 53 | 4 | base sequence |
//! | 57 | 4 | record count |
//!
//! All big-endian. Base offset, batch length and leader epoch lie outside the CRC, so a broker stamps
//! them without touching the rest.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::mem::offset_of;

use zerocopy::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::compression::Codec;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Bytes of a batch header: the records follow.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what the batch length counts (base offset and the length itself).
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the bytes under the CRC begin.
pub const CRC_COVERS_FROM: usize = 21;
/// The only format accepted.
pub const MAGIC: i8 = 2;

/// The 61 bytes before the records.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    base_offset: I64,
    batch_length: I32,
    partition_leader_epoch: I32,
    magic: i8,
    crc: U32,
    attributes: I16,
    last_offset_delta: I32,
    base_timestamp: I64,
    max_timestamp: I64,
    producer_id: I64,
    producer_epoch: I16,
    base_sequence: I32,
    record_count: I32,
}

const _: () = {
    assert!(size_of::<BatchHeader>() == HEADER_BYTES);
    assert!(offset_of!(BatchHeader, partition_leader_epoch) == LOG_OVERHEAD_BYTES);
    assert!(offset_of!(BatchHeader, magic) == 16);
    assert!(offset_of!(BatchHeader, attributes) == CRC_COVERS_FROM);
    assert!(offset_of!(BatchHeader, producer_id) == 43);
    assert!(offset_of!(BatchHeader, record_count) == 57);
};

/// The plain values of a header, to make one from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderFields {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that assigned the offsets.
    pub partition_leader_epoch: LeaderEpoch,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset minus base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas add to.
    pub base_timestamp: TimestampMs,
    /// Largest timestamp in the batch.
    pub max_timestamp: TimestampMs,
    /// Producer id, −1 for none.
    pub producer_id: ProducerId,
    /// Producer epoch, −1 for none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, −1 for none.
    pub base_sequence: i32,
    /// How many records follow.
    pub record_count: i32,
}

impl std::fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchHeader")
            .field("magic", &self.magic)
            .field("crc", &self.crc())
            .field("fields", &self.fields())
            .finish_non_exhaustive()
    }
}

impl BatchHeader {
    /// The header at the start of `bytes`; `None` if they are fewer than [`HEADER_BYTES`]. Nothing is checked.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<&Self> {
        Self::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// The same, to change it in place.
    #[inline]
    pub fn read_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        Self::mut_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// A header with these values, magic 2 and a zero CRC: [`seal`] computes it.
    pub fn new(fields: &HeaderFields) -> Self {
        Self {
            base_offset: fields.base_offset.0.into(),
            batch_length: fields.batch_length.into(),
            partition_leader_epoch: fields.partition_leader_epoch.0.into(),
            magic: MAGIC,
            crc: 0.into(),
            attributes: fields.attributes.0.into(),
            last_offset_delta: fields.last_offset_delta.into(),
            base_timestamp: fields.base_timestamp.0.into(),
            max_timestamp: fields.max_timestamp.0.into(),
            producer_id: fields.producer_id.0.into(),
            producer_epoch: fields.producer_epoch.0.into(),
            base_sequence: fields.base_sequence.into(),
            record_count: fields.record_count.into(),
        }
    }

    /// Its 61 bytes.
    pub fn to_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// All plain values.
    pub fn fields(&self) -> HeaderFields {
        HeaderFields {
            base_offset: self.base_offset(),
            batch_length: self.batch_length(),
            partition_leader_epoch: self.partition_leader_epoch(),
            attributes: self.attributes(),
            last_offset_delta: self.last_offset_delta(),
            base_timestamp: self.base_timestamp(),
            max_timestamp: self.max_timestamp(),
            producer_id: self.producer_id(),
            producer_epoch: self.producer_epoch(),
            base_sequence: self.base_sequence(),
            record_count: self.record_count(),
        }
    }

    /// Offset of the first record.
    #[inline]
    pub fn base_offset(&self) -> Offset {
        Offset(self.base_offset.get())
    }

    /// Offset of the last record; saturates where a lying header would overflow.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.get().saturating_add(self.last_offset_delta.get().into()))
    }

    /// First offset after the batch; saturates.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Bytes after the length field, as written: may be negative in foreign bytes.
    #[inline]
    pub fn batch_length(&self) -> i32 {
        self.batch_length.get()
    }

    /// Bytes of the whole batch, header included; `None` if the length cannot hold a header.
    #[inline]
    pub fn batch_bytes(&self) -> Option<usize> {
        let bytes = usize::try_from(self.batch_length.get()).ok()?.checked_add(LOG_OVERHEAD_BYTES)?;
        (bytes >= HEADER_BYTES).then_some(bytes)
    }

    /// Epoch of the leader that assigned the offsets.
    #[inline]
    pub fn partition_leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.partition_leader_epoch.get())
    }

    /// Format of the batch.
    #[inline]
    pub fn magic(&self) -> i8 {
        self.magic
    }

    /// CRC32C as written.
    #[inline]
    pub fn crc(&self) -> u32 {
        self.crc.get()
    }

    /// Codec and flags.
    #[inline]
    pub fn attributes(&self) -> Attributes {
        Attributes(self.attributes.get())
    }

    /// Last offset minus base offset.
    #[inline]
    pub fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta.get()
    }

    /// What the records' timestamp deltas add to.
    #[inline]
    pub fn base_timestamp(&self) -> TimestampMs {
        TimestampMs(self.base_timestamp.get())
    }

    /// Largest timestamp in the batch.
    #[inline]
    pub fn max_timestamp(&self) -> TimestampMs {
        TimestampMs(self.max_timestamp.get())
    }

    /// Producer id, −1 for none.
    #[inline]
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.producer_id.get())
    }

    /// Producer epoch, −1 for none.
    #[inline]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer_epoch.get())
    }

    /// Sequence of the first record, −1 for none.
    #[inline]
    pub fn base_sequence(&self) -> i32 {
        self.base_sequence.get()
    }

    /// How many records follow.
    #[inline]
    pub fn record_count(&self) -> i32 {
        self.record_count.get()
    }
}

/// The attributes field: codec and flags. Bits 7–15 are unused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec; `None` for the numbers 5–7, which no codec has.
    #[inline]
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id(self.codec_id())
    }

    /// The codec's number.
    #[inline]
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC).to_le_bytes()[0]
    }

    /// Who set the timestamps.
    #[inline]
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    #[inline]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether its records are control records (transaction markers, leader changes).
    #[inline]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon (set by the cleaner).
    #[inline]
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same with this codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | i16::from(codec.id()))
    }

    /// The same with this timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// The same, marked transactional.
    #[must_use]
    pub fn transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// The same, marked as control records.
    #[must_use]
    pub fn control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }
}

/// Who sets a record's timestamp (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker, at append.
    LogAppendTime,
}

/// Writes base offset and leader epoch into a batch; they lie outside the CRC. False (and nothing changed) if
/// there are not even a header's bytes.
#[inline]
pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) -> bool {
    let Some(header) = BatchHeader::read_mut(batch) else { return false };
    header.base_offset = base_offset.0.into();
    header.partition_leader_epoch = leader_epoch.0.into();
    true
}

/// Marks a batch as `LogAppendTime` with `timestamp` as its max timestamp, and recomputes the CRC, as Kafka's
/// `DefaultRecordBatch.setMaxTimestamp`. The base timestamp stays. `batch` is exactly one batch. False (and
/// nothing changed) if there are not even a header's bytes.
pub fn set_log_append_time(batch: &mut [u8], timestamp: TimestampMs) -> bool {
    let Some(header) = BatchHeader::read_mut(batch) else { return false };
    header.attributes = header.attributes().with_timestamp_type(TimestampType::LogAppendTime).0.into();
    header.max_timestamp = timestamp.0.into();
    seal(batch)
}

/// Corrects the max timestamp of a batch whose header lied, and recomputes the CRC. `batch` is exactly one batch.
/// False (and nothing changed) if there are not even a header's bytes.
pub fn set_max_timestamp(batch: &mut [u8], timestamp: TimestampMs) -> bool {
    let Some(header) = BatchHeader::read_mut(batch) else { return false };
    header.max_timestamp = timestamp.0.into();
    seal(batch)
}

/// Computes and writes the CRC. `batch` is exactly one batch. False if there are not even a header's bytes.
pub fn seal(batch: &mut [u8]) -> bool {
    let Some(crc) = compute_crc(batch) else { return false };
    let Some(header) = BatchHeader::read_mut(batch) else { return false };
    header.crc = crc.into();
    true
}

/// CRC32C over what the CRC covers of exactly one batch.
#[inline]
pub fn compute_crc(batch: &[u8]) -> Option<u32> {
    batch.get(CRC_COVERS_FROM..).map(crc32c::crc32c)
}

/// Splits bytes into batches by their lengths. It stops at the first that is not whole or whose length cannot be;
/// [`Batches::rest`] is what was not split. Nothing else is checked.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// Iterator over the batches in a run of bytes, see [`batches`].
#[derive(Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// The bytes from the first batch on that has not been returned.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl std::fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches({} bytes left)", self.rest.len())
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = (&'a BatchHeader, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = BatchHeader::read(self.rest)?;
        let (batch, rest) = self.rest.split_at_checked(header.batch_bytes()?)?;
        self.rest = rest;
        Some((header, batch))
    }
}
