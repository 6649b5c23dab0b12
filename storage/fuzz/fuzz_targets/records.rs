//! Any bytes as a produced batch, a stored batch, a run of batches, an index, a snapshot or a checkpoint: an
//! answer within bounds, never a panic. Half of the inputs get a right checksum, so that lies reach the
//! deeper checks. What validation accepts uncompressed must also be readable to its last record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain_storage::log::epoch_cache::EpochCache;
use ringmain_storage::log::producer_snapshot::read_snapshot;
use ringmain_storage::record::batch::{BatchHeader, batches, seal};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::record::validate::{ProduceLimits, validate_produced, validate_stored};
use ringmain_storage::segment::offset_index::OffsetIndex;
use ringmain_storage::segment::time_index::TimeIndex;
use ringmain_storage::types::{Offset, TimestampMs};

/// Decompressed bytes allowed per batch.
const SIZE_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let mut bytes = rest.to_vec();
    if mode & 1 == 1 {
        seal(&mut bytes);
    }
    let limits =
        ProduceLimits { compacted: mode & 2 == 2, decompressed_bytes_max: SIZE_MAX, ..ProduceLimits::default() };
    if let Ok(summary) = validate_produced(&bytes, &limits)
        && summary.codec == Codec::None
    {
        let opened = BatchRecords::open(&bytes, SIZE_MAX).expect("validated");
        let count = opened.iter().map(|record| record.expect("validated").headers.count()).count();
        assert_eq!(i32::try_from(count).ok(), BatchHeader::read(&bytes).map(BatchHeader::record_count));
    }
    let _ = validate_stored(&bytes);
    for (_, batch) in batches(&bytes) {
        if let Ok(opened) = BatchRecords::open(batch, SIZE_MAX) {
            let _ = opened.iter().flatten().map(|record| record.headers.count()).sum::<usize>();
        }
    }
    let _ = read_snapshot(&bytes, TimestampMs(0));
    let _ = EpochCache::read(&bytes);
    let _ = OffsetIndex::read(Offset(0), &bytes, 1 << 31);
    let _ = TimeIndex::read(Offset(0), &bytes);
});
