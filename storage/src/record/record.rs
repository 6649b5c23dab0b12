//! The records of a batch, read one by one without copies (decompressed once as a whole, bounded).
//!
//! A record is: length (varint, of what follows), attributes (1 byte, unused), timestamp delta
//! (varlong), offset delta (varint), key (varint length, −1 null), value (likewise), header count
//! (varint), then per header a name (varint length, UTF-8) and a value (varint length, −1 null).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;

use super::batch::{BatchHeader, HEADER_BYTES, TimestampType};
use super::compression::{CompressionError, decompress};
use super::varint::{Cursor, Malformed};
use crate::types::{Offset, TimestampMs};

/// Why a batch's records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than a header, or than the header's length says.
    #[error("the batch is cut off")]
    Truncated,
    /// The attributes name a codec that does not exist.
    #[error("unknown compression codec {0}")]
    UnknownCodec(u8),
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A field of a record does not fit.
    #[error("record {index}: {malformed}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: usize,
        /// Which field.
        malformed: Malformed,
    },
    /// Bytes remain after a record's last field, or after the last record.
    #[error("record {index}: {bytes} bytes too many")]
    Surplus {
        /// Which record of the batch, from 0; the record count if they follow the last one.
        index: usize,
        /// How many.
        bytes: usize,
    },
}

/// One record; keys and values are borrowed from the batch (or from its decompressed form).
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Offset minus base offset, as written.
    pub offset_delta: i32,
    /// Its timestamp: under `LogAppendTime` the batch's max timestamp. A delta of a batch without timestamps is −1.
    pub timestamp: TimestampMs,
    /// Key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is null, a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: Headers<'a>,
}

impl std::fmt::Debug for Record<'_> {
    /// Sizes only: what records hold is nobody's business in a log file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers.count)
            .finish()
    }
}

/// The headers of a record: an iterator of name and value, checked when the record was read. A name that is not
/// UTF-8 comes with replacement characters, as Java's clients see it: it must not keep anyone from the records.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    count: usize,
    cursor: Cursor<'a>,
}

impl Headers<'_> {
    /// How many are left.
    pub fn count_left(&self) -> usize {
        self.count
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({})", self.count)
    }
}

#[expect(
    clippy::copy_iterator,
    reason = "two words; a record is read through a reference, its headers anew each time"
)]
impl<'a> Iterator for Headers<'a> {
    type Item = (Cow<'a, str>, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let (name, value) = read_header(&mut self.cursor).ok()?;
        Some((String::from_utf8_lossy(name), value))
    }
}

/// Reads a header: its name, which is never null, and its value.
#[inline]
pub(crate) fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
    let name = cursor.nullable_bytes("header name")?.ok_or(Malformed { field: "header name" })?;
    Ok((name, cursor.nullable_bytes("header value")?))
}

/// A batch whose records can be read: decompressed if it had to be.
pub struct BatchRecords<'a> {
    header: &'a BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl std::fmt::Debug for BatchRecords<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchRecords").field("header", self.header).field("bytes", &self.bytes.len()).finish()
    }
}

impl<'a> BatchRecords<'a> {
    /// Opens one batch; its records take at most `size_max` bytes decompressed. Neither CRC nor magic are looked
    /// at: see [`validate`](super::validate).
    pub fn open(batch: &'a [u8], size_max: usize) -> Result<Self, RecordError> {
        let header = BatchHeader::read(batch).ok_or(RecordError::Truncated)?;
        let size = header.batch_bytes().ok_or(RecordError::Truncated)?;
        let records = batch.get(HEADER_BYTES..size).ok_or(RecordError::Truncated)?;
        let attributes = header.attributes();
        let codec = attributes.codec().ok_or(RecordError::UnknownCodec(attributes.codec_id()))?;
        Ok(Self { header, bytes: decompress(codec, records, size_max)? })
    }

    /// The batch's header.
    pub fn header(&self) -> &'a BatchHeader {
        self.header
    }

    /// The records as bytes, uncompressed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order. It ends after the header's record count, or with the first error; bytes that remain
    /// after the last record are an error too.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(self.header, &self.bytes)
    }
}

impl<'a> IntoIterator for &'a BatchRecords<'_> {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over uncompressed records, see [`BatchRecords::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    index: usize,
    count: usize,
    finished: bool,
    base_offset: i64,
    base_timestamp: i64,
    log_append_time: Option<TimestampMs>,
}

impl<'a> RecordIter<'a> {
    /// Over the uncompressed records that belong to this header.
    pub fn new(header: &BatchHeader, records: &'a [u8]) -> Self {
        let log_append_time = header.attributes().timestamp_type() == TimestampType::LogAppendTime;
        Self {
            cursor: Cursor::new(records),
            index: 0,
            count: usize::try_from(header.record_count()).unwrap_or(0),
            finished: false,
            base_offset: header.base_offset().0,
            base_timestamp: header.base_timestamp().0,
            log_append_time: log_append_time.then(|| header.max_timestamp()),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let index = self.index;
        let malformed = |malformed| RecordError::Malformed { index, malformed };
        let frame = read_frame(&mut self.cursor).map_err(malformed)?;
        let mut cursor = Cursor::new(frame.body);
        let key = cursor.nullable_bytes("key").map_err(malformed)?;
        let value = cursor.nullable_bytes("value").map_err(malformed)?;
        let header_count = read_header_count(&mut cursor).map_err(malformed)?;
        let headers = Headers { count: header_count, cursor };
        for _ in 0..header_count {
            read_header(&mut cursor).map_err(malformed)?;
        }
        if !cursor.is_empty() {
            return Err(RecordError::Surplus { index, bytes: cursor.rest().len() });
        }
        let created = TimestampMs(self.base_timestamp.wrapping_add(frame.timestamp_delta));
        Ok(Record {
            offset: Offset(self.base_offset.saturating_add(frame.offset_delta.into())),
            offset_delta: frame.offset_delta,
            timestamp: self.log_append_time.unwrap_or(created),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        if self.index == self.count {
            self.finished = true;
            let bytes = self.cursor.rest().len();
            return (bytes > 0).then_some(Err(RecordError::Surplus { index: self.count, bytes }));
        }
        let record = self.read();
        self.finished = record.is_err();
        self.index = self.index.saturating_add(1);
        Some(record)
    }
}

/// A record's first fields, with the bytes from the key on.
pub(crate) struct Frame<'a> {
    /// Timestamp minus base timestamp.
    pub(crate) timestamp_delta: i64,
    /// Offset minus base offset.
    pub(crate) offset_delta: i32,
    /// Key, value and headers.
    pub(crate) body: &'a [u8],
}

/// Reads one record up to its key.
#[inline]
pub(crate) fn read_frame<'a>(cursor: &mut Cursor<'a>) -> Result<Frame<'a>, Malformed> {
    let length = cursor.varint("record length")?;
    let length = usize::try_from(length).map_err(|_| Malformed { field: "record length" })?;
    let mut record = Cursor::new(cursor.take(length, "record length")?);
    record.byte("record attributes")?;
    let timestamp_delta = record.varlong("timestamp delta")?;
    let offset_delta = record.varint("offset delta")?;
    Ok(Frame { timestamp_delta, offset_delta, body: record.rest() })
}

/// Reads a header count that the remaining bytes can hold: a header is at least two bytes.
#[inline]
pub(crate) fn read_header_count(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    let malformed = Malformed { field: "header count" };
    let count = usize::try_from(cursor.varint("header count")?).map_err(|_| malformed)?;
    if count > cursor.rest().len() / 2 { Err(malformed) } else { Ok(count) }
}
