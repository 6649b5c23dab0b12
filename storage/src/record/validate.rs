//! What makes a batch acceptable. A produced batch is taken if and only if:
//!
//! 1. there are bytes, they hold a header, magic is 2, and the batch is whole;
//! 2. it is not larger than the topic's `max.message.bytes`;
//! 3. the stored CRC32C is that of the bytes it covers, and nothing follows the batch;
//! 4. base offset is 0, record count is positive and last offset delta + 1;
//! 5. it is not a control batch, and with a producer id it has an epoch and a sequence;
//! 6. the codec exists, and the request's version may carry it;
//! 7. the timestamp type is `CreateTime`, and under a `CreateTime` topic every timestamp that is visible without
//!    decompressing lies within the bounds;
//! 8. if uncompressed (or compacted: keys have to be looked at), its records are framed as
//!    [`record`](super::record) says, one per count, with offset deltas 0, 1, 2…, and keys where the topic is
//!    compacted.
//!
//! The order is Kafka's (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`,
//! `LogValidator`), so that a batch with two faults earns the same error.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::batch::{Attributes, BatchHeader, CRC_COVERS_FROM, HEADER_BYTES, MAGIC, TimestampType};
use super::compression::{Codec, CompressionError, decompress};
use super::record::{RecordError, read_frame, read_header, read_header_count};
use super::rejection::{NO_TIMESTAMP, Rejection, Rejections, TimestampBounds};
use super::varint::{Cursor, Malformed};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Where the length of a batch stands; it does not count what is before it nor itself.
const LENGTH_AT: usize = 8;
/// Where the magic byte stands.
const MAGIC_AT: usize = 16;
/// The least length of the oldest format.
const OLD_LENGTH_MIN: usize = 14;

/// What a topic and a request allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceLimits {
    /// `max.message.bytes`: the whole batch, as sent.
    pub batch_bytes_max: usize,
    /// Whether this version of Produce may carry zstd (from 7).
    pub zstd_allowed: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// Earliest `CreateTime` taken: now − `message.timestamp.before.max.ms`.
    pub timestamp_min: TimestampMs,
    /// Latest `CreateTime` taken: now + `message.timestamp.after.max.ms`.
    pub timestamp_max: TimestampMs,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compacted: bool,
    /// Bound on decompressed records, where they must be looked at.
    pub decompressed_bytes_max: usize,
}

impl Default for ProduceLimits {
    /// Kafka's defaults, without timestamp bounds.
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            zstd_allowed: true,
            timestamp_type: TimestampType::CreateTime,
            timestamp_min: TimestampMs(i64::MIN),
            timestamp_max: TimestampMs(i64::MAX),
            compacted: false,
            decompressed_bytes_max: 128 * 1024 * 1024,
        }
    }
}

/// What is known of a batch once it has been verified. Its bytes did not change since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifiedBatch {
    /// Bytes of the whole batch.
    pub batch_bytes: usize,
    /// Offset of the first record as written: 0 in a produced batch.
    pub base_offset: Offset,
    /// How many records, at least 1 in a produced batch.
    pub record_count: i32,
    /// Last offset minus base offset, at least 0.
    pub last_offset_delta: i32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The codec.
    pub codec: Codec,
    /// Timestamp the deltas count from.
    pub base_timestamp: TimestampMs,
    /// Largest timestamp: the records', where they were looked at, else what the header says.
    pub max_timestamp: TimestampMs,
    /// Whether the header says another largest timestamp than the records have. Kafka then corrects the header:
    /// [`set_max_timestamp`](super::batch::set_max_timestamp).
    pub max_timestamp_is_wrong: bool,
    /// Who produced it, if idempotent or transactional.
    pub producer: Option<ProducerBatch>,
    /// The CRC, computed and equal to the stored one. It changes if the timestamp type or max timestamp is set.
    pub crc: u32,
}

/// The producer's part of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBatch {
    /// The producer, ≥ 0.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record; −1 in control batches.
    pub base_sequence: i32,
}

/// Why a batch is refused; [`BatchError::kind`] sorts them as Kafka's errors do.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// No bytes at all.
    #[error("there is no record batch")]
    Empty,
    /// Fewer bytes than a header or than the batch length says.
    #[error("the batch is cut off: {have} bytes of {need}")]
    Truncated {
        /// Bytes that would be needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// The length field cannot be.
    #[error("impossible batch length {0}")]
    Length(i32),
    /// More bytes than one batch.
    #[error("there is more than one record batch")]
    MoreThanOne,
    /// Not format 2.
    #[error("record format {0} is not supported, only 2")]
    Magic(i8),
    /// Larger than the topic allows.
    #[error("the batch has {bytes} bytes, more than max.message.bytes = {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are not those the producer summed.
    #[error("CRC mismatch: stored {stored:08x}, computed {computed:08x}")]
    Crc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A produced batch counts its offsets from 0.
    #[error("base offset {0} instead of 0")]
    BaseOffset(i64),
    /// Record count and offsets contradict each other or are not positive.
    #[error("record count {record_count} does not fit last offset delta {last_offset_delta}")]
    Count {
        /// As written.
        record_count: i32,
        /// As written.
        last_offset_delta: i32,
    },
    /// Clients may not write control records.
    #[error("clients may not write control records")]
    Control,
    /// A producer id without a usable epoch or sequence.
    #[error("producer id with epoch {producer_epoch} and base sequence {base_sequence}")]
    Sequence {
        /// As written.
        producer_epoch: i16,
        /// As written.
        base_sequence: i32,
    },
    /// A codec number nobody assigned.
    #[error("unknown compression codec {0}")]
    UnknownCodec(u8),
    /// zstd in a request version that older consumers share.
    #[error("zstd needs Produce version 7")]
    ZstdNotAllowed,
    /// Only brokers write `LogAppendTime`.
    #[error("producers may not set the timestamp type LogAppendTime")]
    TimestampType,
    /// The header's timestamps are outside of what the topic allows; the records were not looked at.
    #[error(transparent)]
    Header(Rejection),
    /// Some records are not what the topic allows.
    #[error(transparent)]
    Rejected(Box<Rejections>),
    /// Offset deltas do not count up from 0.
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record, from 0.
        index: usize,
        /// As written.
        offset_delta: i32,
    },
    /// The records are not framed as they should be, or do not decompress.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// Which of Kafka's errors a [`BatchError`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BatchErrorKind {
    /// `CORRUPT_MESSAGE`.
    Corrupt,
    /// `INVALID_RECORD`.
    InvalidRecord,
    /// `MESSAGE_TOO_LARGE`.
    TooLarge,
    /// `INVALID_TIMESTAMP`.
    InvalidTimestamp,
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    UnsupportedCompression,
}

impl BatchError {
    /// Which of Kafka's errors it is.
    pub fn kind(&self) -> BatchErrorKind {
        match self {
            Self::Length(_) | Self::Crc { .. } => BatchErrorKind::Corrupt,
            Self::Magic(magic) if !matches!(magic, 0..=2) => BatchErrorKind::Corrupt,
            Self::TooLarge { .. } => BatchErrorKind::TooLarge,
            Self::TimestampType | Self::Header(_) => BatchErrorKind::InvalidTimestamp,
            Self::Rejected(those) if those.has_timestamps() => BatchErrorKind::InvalidTimestamp,
            Self::UnknownCodec(_) | Self::ZstdNotAllowed => BatchErrorKind::UnsupportedCompression,
            Self::Empty
            | Self::Truncated { .. }
            | Self::MoreThanOne
            | Self::Magic(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Rejected(_)
            | Self::OffsetDelta { .. }
            | Self::Records(_) => BatchErrorKind::InvalidRecord,
        }
    }

    /// Whether the records, decompressed, were more than the limits allow.
    pub const fn has_outgrown(&self) -> bool {
        matches!(self, Self::Records(RecordError::Compression(CompressionError::TooLarge { .. })))
    }

    /// The records that are refused each for itself, if that is the reason.
    pub fn rejections(&self) -> Option<&Rejections> {
        match self {
            Self::Rejected(those) => Some(those),
            _ => None,
        }
    }
}

/// Checks what a client sent for one partition; the rules are in the file's header. Allocates only where a compacted
/// topic gets a compressed batch.
pub fn validate_produced(bytes: &[u8], limits: &ProduceLimits) -> Result<VerifiedBatch, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let (header, size) = framed(bytes)?;
    let attributes = header.attributes();
    if attributes.codec() == Some(Codec::Zstd) && !limits.zstd_allowed {
        return Err(BatchError::ZstdNotAllowed);
    }
    if header.base_offset() != Offset(0) {
        return Err(BatchError::BaseOffset(header.base_offset().0));
    }
    if size > limits.batch_bytes_max {
        return Err(BatchError::TooLarge { bytes: size, bytes_max: limits.batch_bytes_max });
    }
    let crc = verify_crc(header, bytes.get(..size).unwrap_or_default())?;
    if bytes.len() > size {
        return Err(BatchError::MoreThanOne);
    }
    let (record_count, last_offset_delta) = (header.record_count(), header.last_offset_delta());
    if record_count <= 0 || last_offset_delta < 0 || record_count.wrapping_sub(1) != last_offset_delta {
        return Err(BatchError::Count { record_count, last_offset_delta });
    }
    if attributes.is_control() {
        return Err(BatchError::Control);
    }
    let producer = producer_of(header);
    if let Some(producer) = producer
        && (producer.base_sequence < 0 || producer.producer_epoch.0 < 0)
    {
        let (producer_epoch, base_sequence) = (producer.producer_epoch.0, producer.base_sequence);
        return Err(BatchError::Sequence { producer_epoch, base_sequence });
    }
    let codec = attributes.codec().ok_or(BatchError::UnknownCodec(attributes.codec_id()))?;
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    let records = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let max_timestamp = check_records(header, records, codec, limits)?;
    let max_timestamp_is_wrong = max_timestamp != header.max_timestamp();
    Ok(VerifiedBatch { max_timestamp, max_timestamp_is_wrong, ..summary(header, size, codec, crc) })
}

/// Checks a batch that some broker has stored: as it came from disk, from a leader or from the metadata log. Exactly
/// one batch, magic 2, CRC, a known codec, offsets that do not run backwards. Offsets may be anything, control
/// batches pass, counts may be below the offsets' span (compaction leaves such). Never allocates.
pub fn validate_stored(bytes: &[u8]) -> Result<VerifiedBatch, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let (header, size) = framed(bytes)?;
    if bytes.len() > size {
        return Err(BatchError::MoreThanOne);
    }
    let crc = verify_crc(header, bytes)?;
    if header.base_offset().0 < 0 {
        return Err(BatchError::BaseOffset(header.base_offset().0));
    }
    let (record_count, last_offset_delta) = (header.record_count(), header.last_offset_delta());
    let span_fits =
        header.base_offset().0.checked_add(last_offset_delta.into()).is_some_and(|last| last < i64::MAX);
    if record_count < 0
        || last_offset_delta < 0
        || record_count.saturating_sub(1) > last_offset_delta
        || !span_fits
    {
        return Err(BatchError::Count { record_count, last_offset_delta });
    }
    let attributes = header.attributes();
    let codec = attributes.codec().ok_or(BatchError::UnknownCodec(attributes.codec_id()))?;
    Ok(summary(header, size, codec, crc))
}

/// The header of the batch at the start of `bytes`, whose length and magic can be, and the batch's size. The length
/// and the magic byte stand at the same place in every format, and are judged in Kafka's order
/// (`ByteBufferLogInputStream`).
fn framed(bytes: &[u8]) -> Result<(&BatchHeader, usize), BatchError> {
    let have = bytes.len();
    let cut_off = BatchError::Truncated { need: HEADER_BYTES, have };
    let Some(length) = bytes.get(LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(cut_off);
    };
    let length = i32::from_be_bytes(*length);
    let whole = usize::try_from(length).ok().filter(|length| *length >= OLD_LENGTH_MIN);
    let Some(need) = whole.and_then(|length| length.checked_add(LENGTH_AT + 4)) else {
        return Err(BatchError::Length(length));
    };
    let Some(magic) = bytes.get(MAGIC_AT) else { return Err(cut_off) };
    let magic = i8::from_be_bytes([*magic]);
    if magic != MAGIC {
        return Err(BatchError::Magic(magic));
    }
    if have < need {
        return Err(BatchError::Truncated { need, have });
    }
    let header = BatchHeader::read(bytes).filter(|header| header.batch_bytes() == Some(need));
    header.map(|header| (header, need)).ok_or(BatchError::Length(length))
}

fn verify_crc(header: &BatchHeader, batch: &[u8]) -> Result<u32, BatchError> {
    let stored = header.crc();
    let computed = crc32c::crc32c(batch.get(CRC_COVERS_FROM..).unwrap_or_default());
    if stored == computed { Ok(computed) } else { Err(BatchError::Crc { stored, computed }) }
}

fn producer_of(header: &BatchHeader) -> Option<ProducerBatch> {
    (header.producer_id().0 >= 0).then(|| ProducerBatch {
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        base_sequence: header.base_sequence(),
    })
}

fn summary(header: &BatchHeader, batch_bytes: usize, codec: Codec, crc: u32) -> VerifiedBatch {
    VerifiedBatch {
        batch_bytes,
        base_offset: header.base_offset(),
        record_count: header.record_count(),
        last_offset_delta: header.last_offset_delta(),
        attributes: header.attributes(),
        codec,
        base_timestamp: header.base_timestamp(),
        max_timestamp: header.max_timestamp(),
        max_timestamp_is_wrong: false,
        producer: producer_of(header),
        crc,
    }
}

/// Rules 7 and 8: timestamps, framing, keys. Returns the largest timestamp.
fn check_records(
    header: &BatchHeader,
    records: &[u8],
    codec: Codec,
    limits: &ProduceLimits,
) -> Result<TimestampMs, BatchError> {
    let times = TimestampBounds::of(limits);
    if codec != Codec::None && !limits.compacted {
        times.check(header.base_timestamp().0).map_err(BatchError::Header)?;
        times.check(header.max_timestamp().0).map_err(BatchError::Header)?;
        return Ok(header.max_timestamp());
    }
    if codec == Codec::None {
        return check_uncompressed(header, records, limits);
    }
    let records = decompress(codec, records, limits.decompressed_bytes_max).map_err(RecordError::from)?;
    check_uncompressed(header, &records, limits)
}

/// The same of records that are not, or no longer, compressed.
pub(super) fn check_uncompressed(
    header: &BatchHeader,
    records: &[u8],
    limits: &ProduceLimits,
) -> Result<TimestampMs, BatchError> {
    let times = TimestampBounds::of(limits);
    let mut cursor = Cursor::new(records);
    let base_timestamp = header.base_timestamp().0;
    let mut expected_delta = 0_i32;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut rejected = None;
    for index in 0..usize::try_from(header.record_count()).unwrap_or(0) {
        let malformed = |malformed: Malformed| RecordError::Malformed { index, malformed };
        let frame = read_frame(&mut cursor).map_err(malformed)?;
        let mut body = Cursor::new(frame.body);
        let key = body.nullable_bytes("key").map_err(malformed)?;
        body.nullable_bytes("value").map_err(malformed)?;
        for _ in 0..read_header_count(&mut body).map_err(malformed)? {
            read_header(&mut body).map_err(malformed)?;
        }
        if !body.is_empty() {
            return Err(RecordError::Surplus { index, bytes: body.rest().len() }.into());
        }
        if frame.offset_delta != expected_delta {
            return Err(BatchError::OffsetDelta { index, offset_delta: frame.offset_delta });
        }
        expected_delta = expected_delta.wrapping_add(1);
        let timestamp = base_timestamp.wrapping_add(frame.timestamp_delta);
        if limits.compacted && key.is_none() {
            Rejections::add(&mut rejected, index, Rejection::MissingKey);
        } else if let Err(why) = times.check(timestamp) {
            Rejections::add(&mut rejected, index, why);
        }
        max_timestamp = max_timestamp.max(timestamp);
    }
    if !cursor.is_empty() {
        let index = usize::try_from(header.record_count()).unwrap_or(0);
        return Err(RecordError::Surplus { index, bytes: cursor.rest().len() }.into());
    }
    match rejected {
        Some(rejected) => Err(BatchError::Rejected(Box::new(rejected))),
        None => Ok(TimestampMs(max_timestamp)),
    }
}
