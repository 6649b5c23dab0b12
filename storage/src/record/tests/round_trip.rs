//! What the builder writes, the validator takes and the iterator returns.

use crate::record::batch::{BatchHeader, set_log_append_time, stamp};
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::record::compression::Codec;
use crate::record::record::BatchRecords;
use crate::record::validate::{ProduceLimits, validate_produced, validate_stored};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

#[test]
fn records_survive_every_codec() {
    for codec in Codec::ALL {
        let value = vec![7_u8; 100_000];
        let headers: &[(&str, Option<&[u8]>)] = &[("a", Some(b"1")), ("b", None), ("", Some(b""))];
        let mut builder = BatchBuilder::new(codec);
        builder
            .push(&NewRecord { timestamp: TimestampMs(1000), key: None, value: Some(&value), headers })
            .unwrap();
        builder
            .push(&NewRecord { timestamp: TimestampMs(900), key: Some(b"k"), value: None, headers: &[] })
            .unwrap();
        let batch = builder.build().unwrap();
        let summary = validate_produced(&batch, &ProduceLimits::default()).unwrap();
        assert_eq!((summary.record_count, summary.codec), (2, codec));
        assert_eq!(summary.max_timestamp, TimestampMs(1000));
        let mut stamped = batch.to_vec();
        assert!(stamp(&mut stamped, Offset(41), LeaderEpoch(3)));
        validate_stored(&stamped).unwrap();
        assert_eq!(BatchHeader::read(&stamped).unwrap().next_offset(), Offset(43));
        let opened = BatchRecords::open(&stamped, 1 << 20).unwrap();
        let records: Vec<_> = opened.iter().map(Result::unwrap).collect();
        assert_eq!((records[0].offset, records[1].offset), (Offset(41), Offset(42)));
        assert_eq!((records[0].timestamp, records[1].timestamp), (TimestampMs(1000), TimestampMs(900)));
        assert_eq!((records[0].key, records[0].value), (None, Some(&value[..])));
        assert_eq!((records[1].key, records[1].value), (Some(&b"k"[..]), None));
        let read: Vec<_> = records[0].headers.collect();
        assert!(read.iter().map(|(name, value)| (&**name, *value)).eq(headers.iter().copied()));
        assert!(set_log_append_time(&mut stamped, TimestampMs(5000)));
        validate_stored(&stamped).unwrap();
        let opened = BatchRecords::open(&stamped, 1 << 20).unwrap();
        assert!(opened.iter().all(|record| record.unwrap().timestamp == TimestampMs(5000)));
    }
}

#[test]
fn the_bound_of_what_is_unpacked_is_none_of_what_is_not() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&[7; 1000]), ..NewRecord::default() }).unwrap();
    let batch = builder.build().unwrap();
    let limits = ProduceLimits { decompressed_bytes_max: 100, ..ProduceLimits::default() };
    validate_produced(&batch, &limits).unwrap();
}
