//! The five codecs of Kafka's record batches and their framings: gzip members, snappy in snappy-java's
//! (xerial) framing, lz4 frames, zstd frames. Output is bounded by the caller: a small batch cannot make
//! a large allocation. The codec always wraps all records of a batch, never a single one.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;
use std::io::{Read, Write};

use super::varint::Cursor;

/// Start of a snappy-java stream.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Version and lowest compatible version that follow the magic, both 1.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes in one block we write: snappy-java's default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Largest window a zstd frame may ask for: 128 MiB, zstd's own default, which every level a client can set fits.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// First allocation when decompressing, so that tiny batches stay tiny: the buffer then grows as bytes come.
const OUTPUT_BYTES_FIRST: usize = 16 * 1024;

/// Up to here the buffer doubles.
const OUTPUT_BYTES_DOUBLED: usize = 4 << 20;

/// A codec, numbered as in the batch attributes (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Codec {
    /// Records as they are.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy in snappy-java's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames (KIP-110; Produce from version 7).
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number.
    #[inline]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in the batch attributes.
    #[inline]
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name as configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why bytes could not be (de)compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// They are not what the codec writes.
    #[error("the {codec} data is damaged: {source}", codec = codec.name())]
    Damaged {
        /// The codec of the batch.
        codec: Codec,
        /// What its decoder said.
        source: std::io::Error,
    },
    /// They would become larger than the caller allows.
    #[error("the {codec} data is larger than {size_max} bytes when decompressed", codec = codec.name())]
    TooLarge {
        /// The codec of the batch.
        codec: Codec,
        /// The bound.
        size_max: usize,
    },
    /// The encoder failed: memory is short, or the input is larger than the format can frame.
    #[error("cannot compress with {codec}: {source}", codec = codec.name())]
    Encoder {
        /// The codec asked for.
        codec: Codec,
        /// What its encoder said.
        source: std::io::Error,
    },
}

/// Decompresses the records of a batch to at most `size_max` bytes; what is not compressed is borrowed.
pub fn decompress(codec: Codec, input: &[u8], size_max: usize) -> Result<Cow<'_, [u8]>, CompressionError> {
    match codec {
        Codec::None if input.len() <= size_max => Ok(Cow::Borrowed(input)),
        Codec::None => Err(CompressionError::TooLarge { codec, size_max }),
        Codec::Gzip => {
            read_bounded(codec, flate2::read::MultiGzDecoder::new(input), size_max).map(Cow::Owned)
        }
        Codec::Snappy => decompress_snappy(input, size_max).map(Cow::Owned),
        Codec::Lz4 => {
            read_bounded(codec, lz4_flex::frame::FrameDecoder::new(input), size_max).map(Cow::Owned)
        }
        Codec::Zstd => {
            let damaged = |source| CompressionError::Damaged { codec, source };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
            read_bounded(codec, decoder, size_max).map(Cow::Owned)
        }
    }
}

/// What records are compressed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// How hard gzip (1 to 9) and zstd (-131072 to 22) try; `None` is the codec's default. The others have one level.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

/// Compresses the records of a batch.
pub fn compress(with: impl Into<Compression>, input: &[u8]) -> Result<Cow<'_, [u8]>, CompressionError> {
    let Compression { codec, level } = with.into();
    let failed = |source| CompressionError::Encoder { codec, source };
    match codec {
        Codec::None => Ok(Cow::Borrowed(input)),
        Codec::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).map(|level| level.min(9));
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(input).map_err(failed)?;
            encoder.finish().map(Cow::Owned).map_err(failed)
        }
        Codec::Snappy => compress_snappy(input).map(Cow::Owned),
        Codec::Lz4 => {
            // Kafka's reader takes only independent blocks.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(input).map_err(failed)?;
            encoder.finish().map(Cow::Owned).map_err(|error| failed(error.into()))
        }
        Codec::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            zstd::stream::encode_all(input, level).map(Cow::Owned).map_err(failed)
        }
    }
}

/// The buffer doubles while it is small. From then on it has room for all that is allowed: what is not written takes no
/// memory, and to double a large one would take half as much again.
fn read_bounded(codec: Codec, mut decoder: impl Read, size_max: usize) -> Result<Vec<u8>, CompressionError> {
    let one_too_many = size_max.saturating_add(1);
    let mut output = Vec::with_capacity(OUTPUT_BYTES_FIRST.min(one_too_many));
    loop {
        let room = output.capacity().saturating_sub(output.len());
        let read = decoder
            .by_ref()
            .take(u64::try_from(room).unwrap_or(u64::MAX))
            .read_to_end(&mut output)
            .map_err(|source| CompressionError::Damaged { codec, source })?;
        if output.len() > size_max {
            return Err(CompressionError::TooLarge { codec, size_max });
        }
        if read < room {
            return Ok(output);
        }
        let more = if output.len() < OUTPUT_BYTES_DOUBLED { output.capacity() } else { usize::MAX };
        output.reserve_exact(more.min(one_too_many.saturating_sub(output.len())));
    }
}

/// snappy-java's framing: magic, two versions, then blocks of `length: i32 big-endian, raw snappy`. Like
/// snappy-java's reader, takes a bare snappy block too (some clients send one).
fn decompress_snappy(input: &[u8], size_max: usize) -> Result<Vec<u8>, CompressionError> {
    let mut cursor = Cursor::new(input);
    let mut output = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        append_snappy_block(input, &mut output, size_max)?;
        return Ok(output);
    }
    let damaged = |what: super::varint::Malformed| snappy_damaged(&what.to_string());
    cursor.take(XERIAL_MAGIC.len(), "snappy magic").map_err(damaged)?;
    cursor.take(XERIAL_VERSIONS.len(), "snappy versions").map_err(damaged)?;
    while !cursor.is_empty() {
        // Streams may be joined: a header where a block would start is skipped, as snappy-java does.
        if cursor.rest().starts_with(&XERIAL_MAGIC) {
            cursor.take(XERIAL_MAGIC.len(), "snappy magic").map_err(damaged)?;
            cursor.take(XERIAL_VERSIONS.len(), "snappy versions").map_err(damaged)?;
            continue;
        }
        let length = u32::from_be_bytes(cursor.array("snappy block length").map_err(damaged)?);
        let length = usize::try_from(length).map_err(|_| snappy_damaged("block length"))?;
        let block = cursor.take(length, "snappy block").map_err(damaged)?;
        append_snappy_block(block, &mut output, size_max)?;
    }
    Ok(output)
}

fn append_snappy_block(block: &[u8], output: &mut Vec<u8>, size_max: usize) -> Result<(), CompressionError> {
    let codec = Codec::Snappy;
    let damaged = |error: snap::Error| CompressionError::Damaged { codec, source: error.into() };
    let size = snap::raw::decompress_len(block).map_err(damaged)?;
    let start = output.len();
    let end = start.checked_add(size).filter(|end| *end <= size_max);
    let end = end.ok_or(CompressionError::TooLarge { codec, size_max })?;
    // Snappy copies at most 64 bytes per three bytes of input: a length beyond that is a lie, not worth allocating.
    if size > block.len().saturating_mul(32) {
        return Err(snappy_damaged("the block claims more bytes than its input can hold"));
    }
    output.resize(end, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(damaged)?;
    output.truncate(start.saturating_add(written));
    Ok(())
}

fn snappy_damaged(what: &str) -> CompressionError {
    CompressionError::Damaged { codec: Codec::Snappy, source: std::io::Error::other(what.to_owned()) }
}

fn compress_snappy(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let failed =
        |error: snap::Error| CompressionError::Encoder { codec: Codec::Snappy, source: error.into() };
    let mut output = Vec::with_capacity(input.len() / 2);
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&XERIAL_VERSIONS);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(failed)?;
        let length = u32::try_from(compressed.len()).unwrap_or(u32::MAX);
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&compressed);
    }
    Ok(output)
}
