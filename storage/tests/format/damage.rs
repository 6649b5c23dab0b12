//! Damaged and invented bytes are refused, never obeyed: no panic, no unbounded output.

use ringmain_storage::log::epoch_cache::EpochCache;
use ringmain_storage::log::producer_snapshot::read_snapshot;
use ringmain_storage::record::batch::{BatchHeader, HEADER_BYTES, batches, seal, set_log_append_time};
use ringmain_storage::record::compression::{Codec, compress, decompress};
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::record::validate::{ProduceLimits, validate_produced, validate_stored};
use ringmain_storage::segment::offset_index::OffsetIndex;
use ringmain_storage::segment::time_index::TimeIndex;
use ringmain_storage::types::{Offset, TimestampMs};

use crate::corpus::{Random, build, read, records};

/// Everything that reads foreign bytes, on these bytes.
fn read_everything(bytes: &[u8]) {
    let compacted =
        ProduceLimits { compacted: true, decompressed_bytes_max: 1 << 16, ..ProduceLimits::default() };
    let _ = validate_produced(bytes, &ProduceLimits::default());
    let _ = validate_produced(bytes, &compacted);
    let _ = validate_stored(bytes);
    let _ = batches(bytes).count();
    if let Ok(opened) = BatchRecords::open(bytes, 1 << 16) {
        for record in opened.iter().flatten() {
            let _ = record.headers.count();
        }
    }
    let _ = read_snapshot(bytes, TimestampMs(0));
    let _ = EpochCache::read(bytes);
    let _ = OffsetIndex::read(Offset(5), bytes, 1 << 30).map(|index| index.lookup(Offset(1 << 40)));
    let _ = TimeIndex::read(Offset(5), bytes).map(|index| index.lookup(TimestampMs(i64::MAX)));
    let mut changed = bytes.to_vec();
    let _ = set_log_append_time(&mut changed, TimestampMs(i64::MIN));
}

#[test]
fn every_flipped_bit_of_a_batch_is_noticed() {
    let batch = build(Codec::None, &records(1)[..1]);
    for bit in 0..batch.len() * 8 {
        // The leader epoch (bytes 12 to 15) belongs to the broker and is under no checksum.
        if (12..16).contains(&(bit / 8)) {
            continue;
        }
        let mut damaged = batch.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(validate_produced(&damaged, &ProduceLimits::default()).is_err(), "bit {bit} passed");
    }
}

#[test]
fn every_shorter_batch_is_refused() {
    for codec in Codec::ALL {
        let batch = build(codec, &records(2));
        for size in (0..batch.len()).rev().take(300).chain(0..70) {
            assert!(
                validate_produced(&batch[..size], &ProduceLimits::default()).is_err(),
                "{size} bytes passed"
            );
            read_everything(&batch[..size]);
        }
    }
}

#[test]
fn no_bytes_make_a_reader_panic() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let codec = Codec::ALL[random.index(5)];
        let mut bytes = build(codec, &records(seed % 50)).to_vec();
        for _ in 0..=random.index(8) {
            let at =
                if random.below(2) == 0 { random.index(HEADER_BYTES) } else { random.index(bytes.len()) };
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        if random.below(3) == 0 {
            bytes.truncate(random.index(bytes.len()));
        }
        // With a right checksum the lies reach the deeper checks.
        let _ = seal(&mut bytes);
        read_everything(&bytes);
        let noise: Vec<u8> =
            (0..random.index(200)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        read_everything(&noise);
    }
}

#[test]
fn a_sealed_lie_in_uncompressed_records_is_refused_or_harmless() {
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let mut bytes = build(Codec::None, &records(seed % 20)).to_vec();
        let at = HEADER_BYTES + random.index(bytes.len() - HEADER_BYTES);
        bytes[at] ^= 1 << random.index(8);
        assert!(seal(&mut bytes));
        if validate_produced(&bytes, &ProduceLimits::default()).is_ok() {
            let opened = BatchRecords::open(&bytes, 1 << 20).unwrap();
            let count = usize::try_from(BatchHeader::read(&bytes).unwrap().record_count()).unwrap();
            assert_eq!(opened.iter().flatten().count(), count, "seed {seed}");
        }
    }
}

#[test]
fn output_of_a_bomb_is_bounded() {
    let zeros = vec![0_u8; 32 << 20];
    for codec in Codec::ALL {
        let small = compress(codec, &zeros).unwrap();
        assert!(decompress(codec, &small, 1 << 16).is_err(), "{} grew", codec.name());
        assert_eq!(decompress(codec, &small, zeros.len()).unwrap().len(), zeros.len());
        assert!(decompress(codec, &small, zeros.len() - 1).is_err());
    }
}

#[test]
fn a_snappy_block_that_lies_about_its_size_allocates_nothing() {
    // Claims 2 GiB in five bytes.
    let block = [0xff, 0xff, 0xff, 0xff, 0x07];
    assert!(decompress(Codec::Snappy, &block, usize::MAX).is_err());
}

#[test]
fn random_records_survive_every_codec() {
    for seed in 0..60 {
        let expected = records(seed);
        for codec in Codec::ALL {
            let batch = build(codec, &expected);
            validate_produced(&batch, &ProduceLimits::default()).unwrap();
            assert!(read(&batch) == expected, "seed {seed}, {}", codec.name());
        }
    }
}
