//! Every rule of a produced batch has a batch that breaks only it, and Kafka's error for it.

use ringmain_storage::record::batch::{TimestampType, seal, set_log_append_time, set_max_timestamp, stamp};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::record::rejection::Rejection;
use ringmain_storage::record::validate::{
    BatchError, BatchErrorKind, ProduceLimits, ProducerBatch, validate_produced, validate_stored,
};
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

fn batch_of(builder: BatchBuilder, keys: &[Option<&[u8]>]) -> Vec<u8> {
    let mut builder = builder;
    for key in keys {
        let record = NewRecord { timestamp: TimestampMs(1000), key: *key, value: Some(b"v"), headers: &[] };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap().to_vec()
}

fn two_records(codec: Codec) -> Vec<u8> {
    batch_of(BatchBuilder::new(codec), &[Some(b"k"), None])
}

/// Overwrites bytes and makes the CRC right again.
fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    assert!(seal(&mut batch));
    batch
}

#[track_caller]
fn refused(batch: &[u8], limits: &ProduceLimits, kind: BatchErrorKind) -> BatchError {
    let error = validate_produced(batch, limits).expect_err("it passed");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

#[test]
fn each_rule_refuses_with_kafkas_error() {
    let limits = ProduceLimits::default();
    let good = two_records(Codec::None);
    validate_produced(&good, &limits).unwrap();
    let invalid = |batch: &[u8]| refused(batch, &limits, BatchErrorKind::InvalidRecord);
    let corrupt = |batch: &[u8]| refused(batch, &limits, BatchErrorKind::Corrupt);
    assert!(matches!(invalid(&[]), BatchError::Empty));
    assert!(matches!(invalid(&[good.clone(), good.clone()].concat()), BatchError::MoreThanOne));
    for magic in [0, 1] {
        assert!(matches!(invalid(&with(good.clone(), 16, &[magic])), BatchError::Magic(_)));
    }
    for magic in [3, 0xff] {
        assert!(matches!(corrupt(&with(good.clone(), 16, &[magic])), BatchError::Magic(_)));
    }
    for cut in [1, good.len() - 61, good.len() - 16, good.len() - 11] {
        assert!(matches!(invalid(&good[..good.len() - cut]), BatchError::Truncated { .. }), "{cut}");
    }
    assert!(matches!(corrupt(&with(good.clone(), 8, &[0xff; 4])), BatchError::Length(-1)));
    assert!(matches!(corrupt(&with(good.clone(), 8, &48_i32.to_be_bytes())), BatchError::Length(48)));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(corrupt(&flipped), BatchError::Crc { .. }));
    assert!(matches!(invalid(&with(good.clone(), 7, &[1])), BatchError::BaseOffset(1)));
    for (count, delta) in [(0, -1), (0, 0), (-1, -2), (2, 0), (3, 1), (i32::MIN, i32::MAX)] {
        let lying = with(with(good.clone(), 23, &i32::to_be_bytes(delta)), 57, &i32::to_be_bytes(count));
        assert!(matches!(invalid(&lying), BatchError::Count { .. }));
    }
    let control = batch_of(BatchBuilder::new(Codec::None).control(), &[None]);
    assert!(matches!(invalid(&control), BatchError::Control));
    for id in [5, 6, 7] {
        let error = refused(&with(good.clone(), 22, &[id]), &limits, BatchErrorKind::UnsupportedCompression);
        assert!(matches!(error, BatchError::UnknownCodec(_)));
    }
    let old = ProduceLimits { zstd_allowed: false, ..limits };
    refused(&two_records(Codec::Zstd), &old, BatchErrorKind::UnsupportedCompression);
    let small = ProduceLimits { batch_bytes_max: good.len() - 1, ..limits };
    refused(&good, &small, BatchErrorKind::TooLarge);
    validate_produced(&good, &ProduceLimits { batch_bytes_max: good.len(), ..limits }).unwrap();
}

#[test]
fn a_producer_id_needs_an_epoch_and_a_sequence() {
    let limits = ProduceLimits::default();
    let producer = |epoch: i16, base_sequence: i32| ProducerBatch {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
    };
    let batch = |epoch, sequence| {
        batch_of(BatchBuilder::new(Codec::None).with_producer(producer(epoch, sequence)), &[None])
    };
    assert_eq!(validate_produced(&batch(0, 0), &limits).unwrap().producer, Some(producer(0, 0)));
    refused(&batch(0, -1), &limits, BatchErrorKind::InvalidRecord);
    refused(&batch(-1, 0), &limits, BatchErrorKind::InvalidRecord);
}

#[test]
fn timestamps_outside_the_bounds_are_refused_unless_the_broker_sets_them() {
    let bounds = |min, max| ProduceLimits {
        timestamp_min: TimestampMs(min),
        timestamp_max: TimestampMs(max),
        ..ProduceLimits::default()
    };
    for codec in Codec::ALL {
        let batch = two_records(codec);
        validate_produced(&batch, &bounds(1000, 1000)).unwrap();
        refused(&batch, &bounds(1001, 2000), BatchErrorKind::InvalidTimestamp);
        refused(&batch, &bounds(0, 999), BatchErrorKind::InvalidTimestamp);
        let stamped = ProduceLimits { timestamp_type: TimestampType::LogAppendTime, ..bounds(0, 999) };
        validate_produced(&batch, &stamped).unwrap();
        let mut forged = batch;
        assert!(set_log_append_time(&mut forged, TimestampMs(1000)));
        refused(&forged, &bounds(0, 9999), BatchErrorKind::InvalidTimestamp);
    }
}

#[test]
fn compacted_topics_need_keys_in_every_codec() {
    let compacted = ProduceLimits { compacted: true, ..ProduceLimits::default() };
    for codec in Codec::ALL {
        let error = refused(&two_records(codec), &compacted, BatchErrorKind::InvalidRecord);
        let rejected: Vec<_> = error.rejections().unwrap().iter().collect();
        assert_eq!(rejected, [(1, Rejection::MissingKey)]);
        let keyed = batch_of(BatchBuilder::new(codec), &[Some(b"a"), Some(b"")]);
        validate_produced(&keyed, &compacted).unwrap();
    }
}

#[test]
fn all_records_that_are_refused_are_told_and_a_timestamp_among_them_names_the_error() {
    let compacted = ProduceLimits { compacted: true, ..ProduceLimits::default() };
    let batch = batch_of(BatchBuilder::new(Codec::None), &[None, Some(b"a"), None, Some(b"b"), None]);
    let told = |error: &BatchError| error.rejections().unwrap().iter().collect::<Vec<_>>();
    let error = refused(&batch, &compacted, BatchErrorKind::InvalidRecord);
    assert_eq!(told(&error), [0, 2, 4].map(|index| (index, Rejection::MissingKey)));
    let late = ProduceLimits { timestamp_max: TimestampMs(999), ..compacted };
    let error = refused(&batch, &late, BatchErrorKind::InvalidTimestamp);
    let indexes: Vec<usize> = told(&error).iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    assert_eq!(told(&error)[2].1, Rejection::MissingKey, "the key comes first");
    assert!(matches!(told(&error)[3].1, Rejection::Timestamp { timestamp: 1000, max: 999, .. }));
    // An answer has its bounds, however many there are.
    let keys = vec![None; 20_000];
    let batch = batch_of(BatchBuilder::new(Codec::Zstd), &keys);
    let error = refused(&batch, &compacted, BatchErrorKind::InvalidRecord);
    assert_eq!(told(&error).len(), 10_000);
    assert!(error.to_string().starts_with("20000 of its records are refused"), "{error}");
}

#[test]
fn what_is_stored_keeps_its_offsets_and_may_be_control_or_thinned_by_compaction() {
    let mut batch = batch_of(BatchBuilder::new(Codec::None).control(), &[None, None]);
    assert!(stamp(&mut batch, Offset(i64::from(u32::MAX)), LeaderEpoch(7)));
    assert_eq!(validate_stored(&batch).unwrap().base_offset, Offset(i64::from(u32::MAX)));
    let thinned = with(batch.clone(), 23, &9_i32.to_be_bytes());
    validate_stored(&thinned).unwrap();
    assert!(stamp(&mut batch, Offset(i64::MAX - 1), LeaderEpoch(7)));
    assert!(matches!(validate_stored(&batch), Err(BatchError::Count { .. })));
    assert!(stamp(&mut batch, Offset(-1), LeaderEpoch(7)));
    assert!(matches!(validate_stored(&batch), Err(BatchError::BaseOffset(-1))));
}

#[test]
fn a_wrong_max_timestamp_is_noticed_where_records_are_looked_at() {
    let lying = with(two_records(Codec::None), 35, &i64::MAX.to_be_bytes());
    let summary = validate_produced(&lying, &ProduceLimits::default()).unwrap();
    assert!(summary.max_timestamp_is_wrong);
    let mut corrected = lying;
    assert!(set_max_timestamp(&mut corrected, summary.max_timestamp));
    assert_eq!(corrected, two_records(Codec::None));
}

#[test]
fn a_header_name_that_is_no_text_keeps_nobody_from_the_record() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { headers: &[("n", Some(b"x"))], ..NewRecord::default() }).unwrap();
    let batch = builder.build().unwrap().to_vec();
    let at = batch.len() - 3;
    assert_eq!(batch[at], b'n');
    let batch = with(batch, at, &[0xff]);
    validate_produced(&batch, &ProduceLimits::default()).unwrap();
    let opened = BatchRecords::open(&batch, 1 << 20).unwrap();
    let record = opened.iter().next().unwrap().unwrap();
    let header = record.headers.into_iter().next().unwrap();
    assert_eq!(header, ("\u{fffd}".into(), Some(&b"x"[..])));
}
