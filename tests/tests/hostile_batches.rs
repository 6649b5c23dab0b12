//! Batches that cost more than they look: a decompression bomb, and more producers than anybody has. Memory stays
//! bounded, and a neighbour is served throughout.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ringmain_tests::batch::{self, HEADER_BYTES, position};
use ringmain_tests::client::{Client, PRODUCE};
use ringmain_tests::neighbourhood::Neighbourhood;

const MIB: usize = 1 << 20;
/// Where the producer's id, epoch and first sequence number stand in a batch.
const PRODUCER_ID: usize = 43;

/// A batch of one record that claims to have `value_bytes` of zeroes, compressed with gzip.
fn bomb(value_bytes: usize) -> Vec<u8> {
    // The start of a record: its length, attributes, deltas, no key, the value's length; then zeroes.
    let whole = batch::build(&[vec![0; value_bytes]]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&whole[HEADER_BYTES..]).unwrap();
    let mut packed = whole[..HEADER_BYTES].to_vec();
    packed.extend(encoder.finish().unwrap());
    let length = i32::try_from(packed.len() - 12).unwrap();
    packed[position::BATCH_LENGTH..position::BATCH_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    packed[position::ATTRIBUTES..position::ATTRIBUTES + 2].copy_from_slice(&1_i16.to_be_bytes());
    batch::seal(&mut packed);
    packed
}

#[test]
fn a_decompression_bomb_is_passed_through_unopened() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(64 * MIB as u64);
    let bomb = bomb(200 * MIB);
    assert!(bomb.len() < MIB, "{} bytes", bomb.len());
    assert_eq!(place.connect().produce("target", 0, &bomb).unwrap().error_code, 0);
    place.neighbour_is_served();
    place.end();
}

#[test]
fn a_bomb_that_has_to_be_opened_is_refused_with_bounded_memory() {
    let mut place = Neighbourhood::with(&["compression.type=lz4"]);
    // A shard opens one batch at a time, up to 64 MiB, in a buffer that doubles.
    place.grow_at_most(320 * MIB as u64);
    let bomb = bomb(200 * MIB);
    let answer = place.connect().produce("target", 0, &bomb).unwrap();
    assert_ne!(answer.error_code, 0, "200 MiB in a record are more than anybody may bring");
    place.memory_is_bounded();
    place.neighbour_is_served();
    // What the neighbour reads back is compressed here, which the tests' reader does not open.
    assert!(place.broker.stop().success());
}

#[test]
fn producers_without_number_are_forgotten_before_memory_is_short() {
    let mut place = Neighbourhood::new();
    place.grow_at_most(128 * MIB as u64);
    let plain = batch::build(&[b"v".to_vec()]);
    let mut client = place.connect();
    // A million would be no different: what is kept of them has a limit well below this.
    for round in 0..200_i64 {
        let mut frames = Vec::new();
        for number in 0..100 {
            let mut batch = plain.clone();
            batch[PRODUCER_ID..PRODUCER_ID + 8]
                .copy_from_slice(&(1_000 + round * 100 + number).to_be_bytes());
            batch[PRODUCER_ID + 8..PRODUCER_ID + 14].fill(0);
            batch::seal(&mut batch);
            let body = Client::produce_body("target", &[(0, &batch)]);
            frames.extend(Client::frame(PRODUCE, 3, 1, &body));
        }
        client.stream().write_all(&frames).unwrap();
        for _ in 0..100 {
            let answer = client.receive().unwrap();
            assert_eq!(Client::produce_answer(&answer[4..])[0].1.error_code, 0);
        }
    }
    place.memory_is_bounded();
    place.end();
}
