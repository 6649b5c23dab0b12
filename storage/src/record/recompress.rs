//! A batch in the codec its topic asks for (`compression.type` other than `producer`). Pure, one batch in, one
//! batch out: producer id, epoch, sequence, offsets, timestamps and flags stay; codec, length and CRC change.
//!
//! It takes what the codec takes: a small batch may hold very many bytes, so whoever must not stall runs it elsewhere. A
//! producer that compresses in the topic's codec itself costs nothing.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use bytes::BytesMut;

use super::batch::{BatchHeader, HEADER_BYTES, HeaderFields, LOG_OVERHEAD_BYTES, seal};
use super::compression::{Compression, compress, decompress};
use super::record::RecordError;
use super::validate::{BatchError, ProduceLimits, check_uncompressed};

/// The batch under another codec, its records checked as those of an uncompressed one and its max timestamp theirs; `None`
/// if it is that already. `batch` has passed [`validate_produced`](super::validate::validate_produced) with the same
/// `limits`; the result may be larger than they allow, which is the caller's to check, as in Kafka.
pub fn recompress(
    batch: &[u8],
    to: impl Into<Compression>,
    limits: &ProduceLimits,
) -> Result<Option<BytesMut>, BatchError> {
    let to = to.into();
    let Some(header) = BatchHeader::read(batch) else {
        return Err(BatchError::Truncated { need: HEADER_BYTES, have: batch.len() });
    };
    let attributes = header.attributes();
    let from = attributes.codec().ok_or(BatchError::UnknownCodec(attributes.codec_id()))?;
    if from == to.codec {
        return Ok(None);
    }
    let stored = batch.get(HEADER_BYTES..).unwrap_or_default();
    let records = decompress(from, stored, limits.decompressed_bytes_max).map_err(RecordError::from)?;
    let max_timestamp = check_uncompressed(header, &records, limits)?;
    let compressed = compress(to, &records).map_err(RecordError::from)?;
    let bytes = HEADER_BYTES.saturating_add(compressed.len());
    let batch_length = i32::try_from(bytes.saturating_sub(LOG_OVERHEAD_BYTES))
        .map_err(|_| BatchError::TooLarge { bytes, bytes_max: limits.batch_bytes_max })?;
    let fields = HeaderFields {
        batch_length,
        attributes: attributes.with_codec(to.codec),
        max_timestamp,
        ..header.fields()
    };
    let mut batch = BytesMut::with_capacity(bytes);
    batch.extend_from_slice(BatchHeader::new(&fields).to_bytes());
    batch.extend_from_slice(&compressed);
    seal(&mut batch);
    Ok(Some(batch))
}
