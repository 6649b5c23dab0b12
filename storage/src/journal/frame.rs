//! The journal's frame: what stands in one durable write. Pure functions over bytes.
//!
//! A frame is valid if and only if
//! 1. it begins at a multiple of 4,096 bytes in a journal file and lies within that file,
//! 2. its magic and version are ours,
//! 3. its checksum is the CRC32C of header (checksum field zero) and descriptors,
//! 4. its counts and lengths fit: 64 + 72 × descriptors + payload bytes, and the descriptors' lengths add up
//!    to the payload,
//! 5. its epoch and its salt are the chain's, its sequence is its predecessor's plus one, and its predecessor field
//!    is that frame's checksum (the chain's first frame begins its file and is exempt from the last),
//! 6. each payload run matches its descriptor: for a batch its CRC, base offset, length and leader epoch;
//!    for other bytes their CRC32C.
//!
//! Layout, little-endian. Header: magic u32, version u16, 2 zero bytes, epoch u64, sequence u64, durable
//! sequence u64 (this frame and all before it were durable when the frame was built), predecessor u32,
//! descriptors u32, payload bytes u32, checksum u32, salt u64, 8 zero bytes. Then the descriptors, then the payload
//! runs in their order, then zeros to the next multiple of 4,096.
//!
//! The salt is a number that each start draws at random and that is not 0: a record's bytes cannot foresee it, so that they
//! cannot pose as a frame. Version 1 had none: zeros stand in its place.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]

use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::io::BLOCK_BYTES;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TopicId};

/// First bytes of a frame: `RMJF`.
const MAGIC: u32 = u32::from_le_bytes(*b"RMJF");
/// Format written.
pub const VERSION: u16 = 2;
/// The first format, without a salt; read, too.
const VERSION_UNSALTED: u16 = 1;
/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of one descriptor.
pub const DESCRIPTOR_BYTES: usize = 72;
const CHECKSUM_AT: usize = 44;
/// Most payload a frame may claim: bounds what replay allocates for it. Twice the largest batch a
/// configuration may allow (1 GiB) never occurs, since a frame fits its file.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: U32,
    version: U16,
    reserved: U16,
    epoch: U64,
    sequence: U64,
    durable_sequence: U64,
    predecessor: U32,
    descriptor_count: U32,
    payload_bytes: U32,
    checksum: U32,
    salt: U64,
    padding: [u8; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDescriptor {
    kind: u8,
    reserved: [u8; 3],
    partition: I32,
    topic_id: [u8; 16],
    incarnation: U64,
    segment_base: I64,
    position: U64,
    offset: I64,
    leader_epoch: I32,
    len: U32,
    crc: U32,
    ownership_epoch: U32,
}

const _: () = {
    assert!(size_of::<RawHeader>() == HEADER_BYTES);
    assert!(size_of::<RawDescriptor>() == DESCRIPTOR_BYTES);
    assert!(std::mem::offset_of!(RawHeader, checksum) == CHECKSUM_AT);
};

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// One batch, at a position of a segment. A segment base not seen before is a roll.
    Batch,
    /// Bytes of a segment that are journalled again: they begin and end anywhere in batches.
    Carry,
    /// The log exists in this incarnation. No payload.
    Create,
    /// The log is deleted. No payload.
    Delete,
    /// The log starts at `offset`. No payload.
    LogStart,
    /// The log ends at `offset`, at this position. The payload is a checkpoint of it.
    Truncate,
}

impl EntryKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Carry => 2,
            Self::Create => 3,
            Self::Delete => 4,
            Self::LogStart => 5,
            Self::Truncate => 6,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Batch,
            2 => Self::Carry,
            3 => Self::Create,
            4 => Self::Delete,
            5 => Self::LogStart,
            6 => Self::Truncate,
            _ => return None,
        })
    }
}

/// One entry without its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// What it says.
    pub kind: EntryKind,
    /// Whose it is.
    pub key: PartitionKey,
    /// Which life of the log.
    pub incarnation: u64,
    /// The segment's base offset.
    pub segment_base: Offset,
    /// Where in the segment the payload belongs.
    pub position: u64,
    /// A batch's base offset; a carry's is unused (0).
    pub offset: Offset,
    /// A batch's leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Payload bytes.
    pub len: u32,
    /// A batch's own CRC, else CRC32C of the payload.
    pub crc: u32,
}

impl Descriptor {
    fn to_raw(self) -> RawDescriptor {
        RawDescriptor {
            kind: self.kind.to_byte(),
            reserved: [0; 3],
            partition: self.key.partition.0.into(),
            topic_id: self.key.topic_id.0,
            incarnation: self.incarnation.into(),
            segment_base: self.segment_base.0.into(),
            position: self.position.into(),
            offset: self.offset.0.into(),
            leader_epoch: self.leader_epoch.0.into(),
            len: self.len.into(),
            crc: self.crc.into(),
            ownership_epoch: 0.into(),
        }
    }

    fn from_raw(raw: &RawDescriptor) -> Option<Self> {
        Some(Self {
            kind: EntryKind::from_byte(raw.kind)?,
            key: PartitionKey {
                topic_id: TopicId(raw.topic_id),
                partition: PartitionIndex(raw.partition.get()),
            },
            incarnation: raw.incarnation.get(),
            segment_base: Offset(raw.segment_base.get()),
            position: raw.position.get(),
            offset: Offset(raw.offset.get()),
            leader_epoch: LeaderEpoch(raw.leader_epoch.get()),
            len: raw.len.get(),
            crc: raw.crc.get(),
        })
    }
}

/// What a frame says of itself, apart from entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The start of the store that wrote it.
    pub epoch: u64,
    /// What that start drew at random; 0 in version 1, which had none.
    pub salt: u64,
    /// Its number within the epoch, from 1.
    pub sequence: u64,
    /// Every frame up to this number was durable when it was built.
    pub durable_sequence: u64,
    /// Checksum of the frame before it, 0 for the first.
    pub predecessor: u32,
}

/// Bytes a frame takes on disk.
pub fn frame_bytes(descriptor_count: usize, payload_bytes: usize) -> usize {
    (HEADER_BYTES + DESCRIPTOR_BYTES * descriptor_count + payload_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Writes a frame into `out`, whose length must be [`frame_bytes`] of it, and returns its checksum.
/// Panics if a count passes 32 bits or `out` is too short: the writer bounds groups far below.
pub fn encode<'a>(
    out: &mut [u8],
    header: FrameHeader,
    entries: impl ExactSizeIterator<Item = (Descriptor, &'a [u8])> + Clone,
) -> u32 {
    let count = entries.len();
    let (head, rest) = out.split_at_mut(HEADER_BYTES);
    let (descriptors, payload) = rest.split_at_mut(DESCRIPTOR_BYTES * count);
    let mut payload_bytes = 0;
    let mut unwritten = payload;
    for ((descriptor, bytes), slot) in entries.zip(descriptors.chunks_exact_mut(DESCRIPTOR_BYTES)) {
        slot.copy_from_slice(descriptor.to_raw().as_bytes());
        let (run, rest) = unwritten.split_at_mut(bytes.len());
        run.copy_from_slice(bytes);
        unwritten = rest;
        payload_bytes += bytes.len();
    }
    unwritten.fill(0);
    let mut raw = RawHeader {
        magic: MAGIC.into(),
        version: if header.salt == 0 { VERSION_UNSALTED } else { VERSION }.into(),
        reserved: 0.into(),
        epoch: header.epoch.into(),
        sequence: header.sequence.into(),
        durable_sequence: header.durable_sequence.into(),
        predecessor: header.predecessor.into(),
        descriptor_count: u32::try_from(count).unwrap_or(u32::MAX).into(),
        payload_bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX).into(),
        checksum: 0.into(),
        salt: header.salt.into(),
        padding: [0; 8],
    };
    let checksum = crc32c::crc32c_append(crc32c::crc32c(raw.as_bytes()), descriptors);
    raw.checksum = checksum.into();
    head.copy_from_slice(raw.as_bytes());
    checksum
}

/// What stands at a place where a frame may begin.
#[derive(Debug)]
pub enum Look {
    /// No frame's magic.
    Absent,
    /// A frame that a newer build wrote.
    UnknownVersion(u16),
    /// The magic is there, but the rest does not hold (rules 3 and 4).
    Damaged,
    /// The bytes end before the frame does; it needs this many in all.
    Short(usize),
    /// A frame that is valid in itself; chain and payload are not checked yet.
    Frame(Frame),
}

/// A frame valid in itself (rules 1 to 4).
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    /// Its checksum: what its successor names.
    pub checksum: u32,
    /// Its entries.
    pub descriptors: Vec<Descriptor>,
    /// Where in the frame the payload begins.
    pub payload_at: usize,
    /// Bytes on disk.
    pub bytes: usize,
}

/// The checksum, if it is that of header and descriptors; `rest` begins with them.
fn checked(raw: &RawHeader, rest: &[u8]) -> Option<u32> {
    let count = usize::try_from(raw.descriptor_count.get()).ok()?;
    let descriptors = rest.get(..count.checked_mul(DESCRIPTOR_BYTES)?)?;
    let unsummed = RawHeader { checksum: 0.into(), ..*raw };
    let checksum = crc32c::crc32c_append(crc32c::crc32c(unsummed.as_bytes()), descriptors);
    (checksum == raw.checksum.get()).then_some(checksum)
}

/// Looks at `bytes`, which begin where a frame may begin.
pub fn look(bytes: &[u8]) -> Look {
    let Ok((raw, rest)) = RawHeader::read_from_prefix(bytes) else { return Look::Absent };
    if raw.magic.get() != MAGIC {
        return Look::Absent;
    }
    if ![VERSION, VERSION_UNSALTED].contains(&raw.version.get()) {
        // A frame of ours whose version is damaged is no newer one.
        let ours = |version: u16| RawHeader { version: version.into(), ..raw };
        let is_whole = |version| checked(&ours(version), rest).is_some();
        let is_ours = is_whole(VERSION) || is_whole(VERSION_UNSALTED);
        return if is_ours { Look::Damaged } else { Look::UnknownVersion(raw.version.get()) };
    }
    if (raw.version.get() == VERSION_UNSALTED) != (raw.salt.get() == 0) {
        return Look::Damaged;
    }
    let (Ok(count), Ok(payload_bytes)) =
        (usize::try_from(raw.descriptor_count.get()), usize::try_from(raw.payload_bytes.get()))
    else {
        return Look::Damaged;
    };
    if payload_bytes > PAYLOAD_BYTES_MAX || count > PAYLOAD_BYTES_MAX / DESCRIPTOR_BYTES {
        return Look::Damaged;
    }
    let descriptors_bytes = count * DESCRIPTOR_BYTES;
    let Some(descriptors) = rest.get(..descriptors_bytes) else {
        return Look::Short(HEADER_BYTES + descriptors_bytes);
    };
    let Some(checksum) = checked(&raw, descriptors) else { return Look::Damaged };
    let mut parsed = Vec::with_capacity(count);
    let mut sum = 0_usize;
    for chunk in descriptors.chunks_exact(DESCRIPTOR_BYTES) {
        let Some(descriptor) = RawDescriptor::ref_from_bytes(chunk).ok().and_then(Descriptor::from_raw)
        else {
            return Look::Damaged;
        };
        sum = sum.saturating_add(usize::try_from(descriptor.len).unwrap_or(usize::MAX));
        parsed.push(descriptor);
    }
    if sum != payload_bytes {
        return Look::Damaged;
    }
    Look::Frame(Frame {
        header: FrameHeader {
            epoch: raw.epoch.get(),
            salt: raw.salt.get(),
            sequence: raw.sequence.get(),
            durable_sequence: raw.durable_sequence.get(),
            predecessor: raw.predecessor.get(),
        },
        checksum,
        descriptors: parsed,
        payload_at: HEADER_BYTES + descriptors_bytes,
        bytes: frame_bytes(count, payload_bytes),
    })
}

#[cfg(test)]
#[allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::{Descriptor, EntryKind, FrameHeader, Look, encode, frame_bytes, look};
    use crate::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey, TopicId};

    fn descriptor(payload: &[u8]) -> Descriptor {
        Descriptor {
            kind: EntryKind::Carry,
            key: PartitionKey { topic_id: TopicId([7; 16]), partition: PartitionIndex(3) },
            incarnation: 9,
            segment_base: Offset(100),
            position: 4096,
            offset: Offset(0),
            leader_epoch: LeaderEpoch(2),
            len: u32::try_from(payload.len()).unwrap(),
            crc: crc32c::crc32c(payload),
        }
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written_and_no_flipped_bit_of_its_head_passes() {
        for salt in [0, 0x5eed] {
            reads_back(FrameHeader { epoch: 3, salt, sequence: 8, durable_sequence: 7, predecessor: 0xabcd });
        }
    }

    fn reads_back(header: FrameHeader) {
        let payload = [5_u8; 100];
        let mut out = vec![0xff; frame_bytes(1, payload.len())];
        let checksum = encode(&mut out, header, [(descriptor(&payload), &payload[..])].into_iter());
        let Look::Frame(frame) = look(&out) else { panic!("a frame") };
        assert_eq!((frame.header, frame.checksum), (header, checksum));
        assert_eq!(frame.descriptors, [descriptor(&payload)]);
        assert_eq!(&out[frame.payload_at..frame.payload_at + 100], &payload);
        assert!(out[frame.payload_at + 100..].iter().all(|byte| *byte == 0));
        for bit in 0..frame.payload_at * 8 {
            let mut damaged = out.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(look(&damaged), Look::Frame(_)), "bit {bit}");
        }
    }
}
