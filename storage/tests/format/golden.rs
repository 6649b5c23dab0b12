//! Files that Apache Kafka 4.3's own classes wrote are read, and where the format leaves no choice (all but
//! compressed bytes) written again to the same bytes. `storage/tests/golden` keeps a few for ever;
//! `tests/interop/records/run` makes fresh ones, names them in the environment, and lets Apache read ours.
#![expect(clippy::disallowed_methods, reason = "a test reads and writes its own files")]

use std::path::PathBuf;

use ringmain_storage::log::epoch_cache::EpochCache;
use ringmain_storage::log::producer_snapshot::{read_snapshot, write_snapshot};
use ringmain_storage::record::batch::BatchHeader;
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::{ProduceLimits, validate_produced};
use ringmain_storage::segment::offset_index::OffsetIndex;
use ringmain_storage::segment::sparse_index::SparseIndex;
use ringmain_storage::segment::time_index::TimeIndex;
use ringmain_storage::segment::txn_index::{self, AbortedTransaction};
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::corpus::{build, read, records};
use crate::indexes::segment;

/// A file of Apache's.
fn apache(name: &str) -> Vec<u8> {
    let golden = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let directory = std::env::var_os("RINGMAIN_INTEROP_READ").map_or_else(golden, PathBuf::from);
    std::fs::read(directory.join(name)).unwrap()
}

fn seeds() -> u64 {
    std::env::var("RINGMAIN_INTEROP_SEEDS").map_or(3, |seeds| seeds.parse().unwrap())
}

#[test]
fn golden_batches_hold_the_records_that_went_in() {
    for codec in Codec::ALL {
        for seed in 0..seeds() {
            let name = format!("{}-{seed}.batch", codec.name());
            let batch = apache(&name);
            let summary = validate_produced(&batch, &ProduceLimits::default()).unwrap();
            let compacted = ProduceLimits { compacted: true, ..ProduceLimits::default() };
            let keyless = records(seed).iter().any(|record| record.key.is_none());
            assert_eq!(validate_produced(&batch, &compacted).is_err(), keyless, "{name}");
            assert_eq!(summary.codec, codec);
            assert!(read(&batch) == records(seed), "{name} differs");
            let ours = build(codec, &records(seed));
            let (header, our_header) =
                (BatchHeader::read(&batch).unwrap(), BatchHeader::read(&ours).unwrap());
            assert_eq!(header.max_timestamp(), our_header.max_timestamp(), "{name}");
            if codec == Codec::None {
                assert!(ours == batch, "{name}: other bytes than Apache's");
            }
            if let Some(directory) = std::env::var_os("RINGMAIN_INTEROP_WRITE") {
                std::fs::write(PathBuf::from(directory).join(&name), &ours).unwrap();
            }
        }
    }
}

#[test]
fn golden_indexes_are_ours_byte_for_byte() {
    let mut index = SparseIndex::new(Offset(1000), 4096);
    let mut bytes = 0;
    for (batch, _, position) in segment(1000, 200) {
        index.push(BatchHeader::read(&batch).unwrap(), position).unwrap();
        bytes = position.0 + u64::try_from(batch.len()).unwrap();
    }
    index.seal().unwrap();
    let (offsets, times) = (apache("segment.index"), apache("segment.timeindex"));
    assert!(index.offsets().write() == offsets);
    assert!(index.times().write() == times);
    assert_eq!(&OffsetIndex::read(Offset(1000), &offsets, bytes).unwrap(), index.offsets());
    assert_eq!(&TimeIndex::read(Offset(1000), &times).unwrap(), index.times());
}

#[test]
fn golden_producer_snapshot_is_ours_byte_for_byte() {
    let file = apache("producers.snapshot");
    let state = read_snapshot(&file, TimestampMs(0)).unwrap();
    assert_eq!(write_snapshot(&state), file);
    let first = state.get(ProducerId(1)).unwrap();
    assert_eq!((first.epoch, first.batches()[0].last_offset), (ProducerEpoch(0), Offset(109)));
    assert_eq!(first.batches()[0].first_sequence(), 0);
    let silent = state.get(ProducerId(7)).unwrap();
    assert_eq!((silent.coordinator_epoch, silent.batches().len()), (5, 0));
    let open = state.get(ProducerId(i64::MAX - 1)).unwrap();
    assert_eq!(open.transaction_first_offset, Some(Offset(50)));
    assert_eq!(open.batches()[0].first_sequence(), i32::MAX - 10);
    assert_eq!(state.count(), 3);
}

#[test]
fn golden_epoch_checkpoint_is_ours_byte_for_byte() {
    let file = apache("leader-epoch-checkpoint");
    let epochs = EpochCache::read(&file).unwrap();
    assert_eq!(epochs.write().as_bytes(), file);
    assert_eq!(epochs.latest_epoch(), Some(LeaderEpoch(9)));
    assert_eq!(epochs.end_offset_for(LeaderEpoch(3), Offset(0)), Some((LeaderEpoch(3), Offset(1 << 40))));
}

#[test]
fn golden_transaction_index_is_ours_byte_for_byte() {
    // Written by a broker of Apache Kafka 4.3 for two producers whose transactions overlapped.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/aborted.txnindex");
    let file = std::fs::read(path).unwrap();
    let entries = txn_index::read(Offset(605), &file).unwrap();
    let entry = |producer: i64, first: i64, last: i64, stable: i64| AbortedTransaction {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    };
    assert_eq!(entries, [entry(6, 405, 605, 456), entry(7, 456, 606, 607)]);
    assert_eq!(txn_index::write(&entries), file);
    assert!(txn_index::read(Offset(606), &file).is_err(), "a marker below its segment");
    for len in 0..file.len() {
        assert_eq!(txn_index::read(Offset(605), &file[..len]).is_ok(), len % txn_index::ENTRY_BYTES == 0);
    }
    for bit in 0..file.len() * 8 {
        let mut spoilt = file.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        if let Ok(entries) = txn_index::read(Offset(605), &spoilt) {
            assert_eq!(txn_index::write(&entries), spoilt);
        }
    }
}
