//! Record batches of magic 2, uncompressed, as a producer sends them and a consumer finds them.

use crate::wire::{Reader, Writer};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;

/// Where fields of the header lie, for tests that lie about them.
pub mod position {
    /// Bytes after this field (int32).
    pub const BATCH_LENGTH: usize = 8;
    /// The format version (int8).
    pub const MAGIC: usize = 16;
    /// CRC32C from the attributes to the end (uint32).
    pub const CRC: usize = 17;
    /// Codec, timestamp type, transactional, control (int16).
    pub const ATTRIBUTES: usize = 21;
    /// Offset of the last record from the first (int32).
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// Number of records (int32).
    pub const RECORD_COUNT: usize = 57;
}

/// A batch with one record per value, without keys.
pub fn build(values: &[Vec<u8>]) -> Vec<u8> {
    let count = i32::try_from(values.len()).unwrap();
    let mut records = Writer::default();
    for (delta, value) in (0_i64..).zip(values) {
        let size = i64::try_from(value.len()).unwrap();
        let body =
            Writer::default().i8(0).varint(0).varint(delta).varint(-1).varint(size).raw(value).varint(0);
        records = records.varint(i64::try_from(body.0.len()).unwrap()).raw(&body.0);
    }
    let after_length = i32::try_from(HEADER_BYTES - 12 + records.0.len()).unwrap();
    let header = Writer::default().i64(0).i32(after_length).i32(-1).i8(2).i32(0).i16(0).i32(count - 1);
    // A timestamp of now would do no better: these tests set no retention by time that matters.
    let header = header.i64(-1).i64(-1).i64(-1).i16(-1).i32(-1).i32(count);
    let mut batch = header.raw(&records.0).0;
    seal(&mut batch);
    batch
}

/// Writes the CRC that the batch's bytes ask for.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[position::ATTRIBUTES..]);
    batch[position::CRC..position::CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The offsets and values of the records in the whole batches at the start of `bytes`; a batch
/// that is cut off at the end is left out. Panics on bytes that are no batch.
pub fn records(bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while rest.len() > HEADER_BYTES {
        let mut header = Reader(rest);
        let base_offset = header.i64();
        let length = 12 + header.count();
        if length > rest.len() {
            break;
        }
        let (batch, tail) = rest.split_at(length);
        rest = tail;
        assert_eq!(batch[position::MAGIC], 2, "magic at offset {base_offset}");
        let crc = u32::from_be_bytes(batch[position::CRC..position::CRC + 4].try_into().unwrap());
        assert_eq!(crc, crc32c::crc32c(&batch[position::ATTRIBUTES..]), "CRC at offset {base_offset}");
        let count = Reader(&batch[position::RECORD_COUNT..]).i32();
        let mut body = Reader(&batch[HEADER_BYTES..]);
        for _ in 0..count {
            body.varint();
            body.i8();
            body.varint();
            let offset = base_offset + body.varint();
            let key = body.varint();
            body.raw(usize::try_from(key).unwrap_or(0));
            let size = body.varint();
            let value = body.raw(usize::try_from(size).unwrap_or(0)).to_vec();
            assert_eq!(body.varint(), 0, "no headers were written");
            found.push((offset, value));
        }
        assert!(body.0.is_empty(), "bytes after the last record at offset {base_offset}");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_batch_reads_back() {
        let values = vec![b"one".to_vec(), Vec::new(), vec![7; 5000]];
        let found = records(&build(&values));
        assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
    }
}
