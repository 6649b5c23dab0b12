//! Decompression bombs: batches below the limit for batches that claim to be far more. A broker that need not open
//! them passes them through; one that must refuses them, with bounded memory and a neighbour that is served.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ringmain_tests::batch::{self, HEADER_BYTES, position};
use ringmain_tests::client::{Client, PRODUCE};
use ringmain_tests::neighbourhood::Neighbourhood;

const MIB: usize = 1 << 20;
/// What the one record of a bomb holds: zeroes.
const VALUE_BYTES: usize = 200 * MIB;
/// Bytes of the record before them, and some of them.
const HEAD_BYTES: usize = 32;
/// First version of Produce that may carry zstd; to this one nothing else of a request changed since 3.
const PRODUCE_ZSTD: i16 = 7;

/// The same records, compressed: the number of the codec, and its bytes.
type Packed = (i16, Vec<u8>);

fn gzip(records: &[u8]) -> Packed {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(records).unwrap();
    (1, encoder.finish().unwrap())
}

/// In snappy-java's framing one block that only says that it is so large: real ones cannot be.
fn snappy(records: &[u8]) -> Packed {
    let mut packed = [&[0x82][..], b"SNAPPY\0", &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    let mut block = Vec::new();
    let mut length = records.len();
    while length >= 0x80 {
        block.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    block.push(u8::try_from(length).unwrap());
    // A literal of the first bytes, then copies of 64 bytes from one byte before.
    block.push(u8::try_from((HEAD_BYTES - 1) << 2).unwrap());
    block.extend(&records[..HEAD_BYTES]);
    block.extend([0xfe, 1, 0].repeat(300_000));
    packed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
    packed.extend(block);
    (2, packed)
}

/// One frame, in blocks of 4 MiB, each a literal and one match that repeats its last byte.
fn lz4(records: &[u8]) -> Packed {
    let mut packed = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    for piece in records.chunks(4 * MIB).filter(|piece| piece.len() > 2 * HEAD_BYTES) {
        let matched = piece.len() - HEAD_BYTES - 5;
        let mut block = vec![0xff, u8::try_from(HEAD_BYTES - 15).unwrap()];
        block.extend(&piece[..HEAD_BYTES]);
        block.extend([1, 0]);
        let more = matched - 4 - 15;
        block.extend(vec![0xff; more / 255]);
        block.push(u8::try_from(more % 255).unwrap());
        block.extend([0x50, 0, 0, 0, 0, 0]);
        packed.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        packed.extend(block);
    }
    packed.extend([0; 4]);
    (3, packed)
}

/// One frame with the largest window that is taken, whose blocks say "a byte, 128 KiB times".
fn zstd(records: &[u8]) -> Packed {
    const BLOCK_BYTES: usize = 128 << 10;
    let window = (27 - 10) << 3;
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let block = |kind: usize, bytes: usize| u32::try_from(bytes << 3 | kind << 1).unwrap().to_le_bytes();
    packed.extend(&block(0, HEAD_BYTES)[..3]);
    packed.extend(&records[..HEAD_BYTES]);
    for _ in 0..records.len() / BLOCK_BYTES {
        packed.extend(&block(1, BLOCK_BYTES)[..3]);
        packed.push(0);
    }
    // The last block: nothing.
    packed.extend([1, 0, 0]);
    (4, packed)
}

/// A batch of one record for each codec, below the default limit for batches.
fn bombs() -> Vec<Vec<u8>> {
    let whole = batch::build(&[vec![0; VALUE_BYTES]]);
    let packers = [gzip, snappy, lz4, zstd];
    let bombs = packers.map(|pack| {
        let (codec, packed) = pack(&whole[HEADER_BYTES..]);
        let mut bomb = [&whole[..HEADER_BYTES], &packed].concat();
        let length = i32::try_from(bomb.len() - 12).unwrap();
        bomb[position::BATCH_LENGTH..position::BATCH_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        bomb[position::ATTRIBUTES..position::ATTRIBUTES + 2].copy_from_slice(&codec.to_be_bytes());
        batch::seal(&mut bomb);
        assert!(bomb.len() < MIB, "codec {codec}: {} bytes", bomb.len());
        bomb
    });
    bombs.into()
}

/// The error code of a Produce of this batch to `target`.
fn produce(place: &Neighbourhood, batch: &[u8]) -> i16 {
    let body = Client::produce_body("target", &[(0, batch)]);
    let answer = place.connect().request(PRODUCE, PRODUCE_ZSTD, &body).unwrap();
    Client::produce_answer(&answer)[0].1.error_code
}

#[test]
fn bombs_are_passed_through_unopened() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(64 * MIB as u64);
    for bomb in bombs() {
        assert_eq!(produce(&place, &bomb), 0);
        place.neighbour_is_served();
    }
    place.end();
}

#[test]
fn bombs_that_have_to_be_opened_are_refused_with_bounded_memory() {
    let mut place = Neighbourhood::with(&["compression.type=uncompressed"]);
    // A shard opens one batch at a time, up to 64 MiB, beside zstd's window (128 MiB). What the one before took the
    // allocator keeps for a while.
    place.grow_at_most(2 * (64 + 128) * MIB as u64);
    for bomb in bombs() {
        place.throughout(|place| assert_ne!(produce(place, &bomb), 0, "more than anybody may bring"));
    }
    place.end();
}
