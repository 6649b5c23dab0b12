//! A batch in another codec: the same records, producer and offsets, a right CRC; lies inside are refused.

use ringmain_storage::record::batch::{
    BatchHeader, TimestampType, seal, set_log_append_time, set_max_timestamp,
};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::{Codec, Compression};
use ringmain_storage::record::recompress::recompress;
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::record::validate::{
    BatchError, BatchErrorKind, ProduceLimits, ProducerBatch, validate_produced, validate_stored,
};
use ringmain_storage::types::{ProducerEpoch, ProducerId, TimestampMs};

fn produced(codec: Codec) -> Vec<u8> {
    let producer =
        ProducerBatch { producer_id: ProducerId(77), producer_epoch: ProducerEpoch(3), base_sequence: 12 };
    let mut builder = BatchBuilder::new(codec).with_producer(producer).transactional();
    for number in 0..50_i64 {
        let value = vec![b'a'; 100];
        let record = NewRecord {
            timestamp: TimestampMs(1000 + (number * 7) % 50),
            key: (number % 3 > 0).then_some(&b"key"[..]),
            value: (number % 5 > 0).then_some(&value),
            headers: &[("name", Some(b"value")), ("none", None)],
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap().to_vec()
}

fn records(batch: &[u8]) -> Vec<u8> {
    BatchRecords::open(batch, 1 << 20).unwrap().bytes().to_vec()
}

#[test]
fn every_codec_becomes_every_other_and_nothing_else_changes() {
    let limits = ProduceLimits::default();
    for from in Codec::ALL {
        let batch = produced(from);
        for to in Codec::ALL {
            let Some(recompressed) = recompress(&batch, to, &limits).unwrap() else {
                assert_eq!(from, to);
                continue;
            };
            assert_ne!(from, to);
            let verified = validate_produced(&recompressed, &limits).unwrap();
            assert_eq!(verified.codec, to);
            let (before, after) = (
                BatchHeader::read(&batch).unwrap().fields(),
                BatchHeader::read(&recompressed).unwrap().fields(),
            );
            assert_eq!(after.attributes, before.attributes.with_codec(to));
            let expected = ringmain_storage::record::batch::HeaderFields {
                batch_length: after.batch_length,
                attributes: after.attributes,
                ..before
            };
            assert_eq!(after, expected);
            assert_eq!(records(&recompressed), records(&batch));
        }
    }
}

#[test]
fn a_higher_level_makes_less_of_the_same_records() {
    let batch = produced(Codec::None);
    for (codec, levels) in [(Codec::Gzip, [1, 9]), (Codec::Zstd, [-50, 19])] {
        let [low, high] = levels.map(|level| {
            let to = Compression { codec, level: Some(level) };
            recompress(&batch, to, &ProduceLimits::default()).unwrap().unwrap()
        });
        assert!(high.len() < low.len(), "{codec:?}: {} and {}", high.len(), low.len());
        assert_eq!(records(&high), records(&low));
    }
}

#[test]
fn the_broker_may_still_stamp_its_time_and_the_largest_timestamp_is_the_records() {
    let mut batch = produced(Codec::Gzip);
    set_max_timestamp(&mut batch, TimestampMs(5));
    let mut recompressed = recompress(&batch, Codec::Zstd, &ProduceLimits::default()).unwrap().unwrap();
    assert_eq!(BatchHeader::read(&recompressed).unwrap().max_timestamp(), TimestampMs(1049));
    set_log_append_time(&mut recompressed, TimestampMs(9999));
    let verified = validate_stored(&recompressed).unwrap();
    assert_eq!(verified.max_timestamp, TimestampMs(9999));
    assert_eq!(verified.attributes.timestamp_type(), TimestampType::LogAppendTime);
}

#[test]
fn what_lies_inside_is_refused_and_no_bomb_goes_off() {
    let limits = ProduceLimits::default();
    let small = ProduceLimits { decompressed_bytes_max: 1000, ..limits };
    let refused = |batch: &[u8], limits: &ProduceLimits| recompress(batch, Codec::Lz4, limits).unwrap_err();
    assert!(matches!(refused(&produced(Codec::Gzip), &small), BatchError::Records(_)));
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        // Two records more than there are: the header passes, since nobody looks into compressed records.
        let mut batch = produced(codec);
        batch[23..27].copy_from_slice(&51_i32.to_be_bytes());
        batch[57..61].copy_from_slice(&52_i32.to_be_bytes());
        assert!(seal(&mut batch));
        validate_produced(&batch, &limits).unwrap();
        assert_eq!(refused(&batch, &limits).kind(), BatchErrorKind::InvalidRecord);
        let mut batch = produced(codec);
        let last = batch.len() - 9;
        batch.truncate(last);
        let length = i32::try_from(last - 12).unwrap();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(seal(&mut batch));
        assert_eq!(refused(&batch, &limits).kind(), BatchErrorKind::InvalidRecord);
    }
    assert!(recompress(&[0; 10], Codec::Lz4, &limits).is_err());
}
