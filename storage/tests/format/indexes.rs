//! The sparse indexes: built by Apache's rule, found by binary search, rebuilt to the same bytes.

use ringmain_storage::record::batch::{BatchHeader, stamp};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::segment::offset_index::{IndexError, OffsetIndex};
use ringmain_storage::segment::sparse_index::SparseIndex;
use ringmain_storage::segment::time_index::TimeIndex;
use ringmain_storage::types::{LeaderEpoch, Offset, Position, TimestampMs};

use crate::corpus::{build, records};

/// A segment of stamped batches with the offset and position of each.
pub(crate) fn segment(base_offset: i64, batch_count: u64) -> Vec<(Vec<u8>, Offset, Position)> {
    let (mut next, mut position) = (Offset(base_offset), 0_u64);
    let mut segment = Vec::new();
    for seed in 0..batch_count {
        let mut batch = build(Codec::None, &records(seed)).to_vec();
        assert!(stamp(&mut batch, next, LeaderEpoch(0)));
        let header = BatchHeader::read(&batch).unwrap();
        let after = header.next_offset();
        let bytes = u64::try_from(batch.len()).unwrap();
        segment.push((batch, next, Position(position)));
        (next, position) = (after, position + bytes);
    }
    segment
}

#[test]
fn a_lookup_never_lands_behind_the_batch_it_is_for() {
    let segment = segment(1000, 200);
    let mut index = SparseIndex::new(Offset(1000), 4096);
    for (batch, _, position) in &segment {
        index.push(BatchHeader::read(batch).unwrap(), *position).unwrap();
    }
    index.seal().unwrap();
    assert!(index.offsets().count() > 10 && index.offsets().count() < 200);
    for (batch, base_offset, position) in &segment {
        let header = BatchHeader::read(batch).unwrap();
        for offset in [*base_offset, header.last_offset()] {
            let (found, at) = index.offsets().lookup(offset);
            assert!(at <= *position && found <= offset);
        }
        // Whatever stands before the time index's answer is older than what was asked.
        let asked = header.max_timestamp();
        let start = index.times().lookup(TimestampMs(asked.0 - 1)).map_or(Offset(0), |(_, offset)| offset);
        let passed = segment.iter().filter(|(_, base, _)| *base < start);
        for (earlier, _, _) in passed {
            let header = BatchHeader::read(earlier).unwrap();
            assert!(header.last_offset() > start || header.max_timestamp() < asked);
        }
    }
    let largest = segment.iter().map(|(batch, _, _)| BatchHeader::read(batch).unwrap().max_timestamp()).max();
    assert_eq!(index.times().last().map(|(timestamp, _)| timestamp), largest);
    let bytes = segment.iter().map(|(batch, _, _)| batch.len()).sum::<usize>();
    let bytes = u64::try_from(bytes).unwrap();
    let offsets = OffsetIndex::read(Offset(1000), &index.offsets().write(), bytes).unwrap();
    assert_eq!(&offsets, index.offsets());
    assert_eq!(&TimeIndex::read(Offset(1000), &index.times().write()).unwrap(), index.times());
}

#[test]
fn offset_index_answers_as_kafkas() {
    let mut index = OffsetIndex::new(Offset(50));
    assert_eq!(index.lookup(Offset(60)), (Offset(50), Position(0)));
    for (offset, position) in [(51, 10), (53, 20), (54, 30)] {
        index.append(Offset(offset), Position(position)).unwrap();
    }
    assert_eq!(index.lookup(Offset(50)), (Offset(50), Position(0)));
    assert_eq!(index.lookup(Offset(52)), (Offset(51), Position(10)));
    assert_eq!(index.lookup(Offset(53)), (Offset(53), Position(20)));
    assert_eq!(index.lookup(Offset(99)), (Offset(54), Position(30)));
    assert_eq!(index.after(Offset(52)), Some((Offset(53), Position(20))));
    assert_eq!(index.after(Offset(1000)), None);
    assert_eq!(index.boundary(Position(25), Offset(1000)), Some((Offset(53), Position(20))));
    assert_eq!(index.boundary(Position(1000), Offset(52)), index.boundary(Position(19), Offset(1000)));
    assert_eq!(index.append(Offset(54), Position(40)), Err(IndexError::Entry { index: 3 }));
    let far = Offset(50 + i64::from(i32::MAX) + 1);
    assert!(matches!(index.append(far, Position(40)), Err(IndexError::Unrepresentable { .. })));
    assert_eq!(index.write(), [0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 3, 0, 0, 0, 20, 0, 0, 0, 4, 0, 0, 0, 30]);
    index.truncate_to(Offset(53));
    assert_eq!(index.iter().collect::<Vec<_>>(), [(Offset(51), Position(10))]);
}

#[test]
fn time_index_answers_as_kafkas() {
    let mut index = TimeIndex::new(Offset(50));
    assert_eq!(index.lookup(TimestampMs(5)), None);
    for (timestamp, offset) in [(-1, 50), (100, 51), (100, 52), (90, 53), (110, 54)] {
        index.append_if_larger(TimestampMs(timestamp), Offset(offset)).unwrap();
    }
    let entries = [(TimestampMs(100), Offset(51)), (TimestampMs(110), Offset(54))];
    assert_eq!(index.iter().collect::<Vec<_>>(), entries);
    assert_eq!(index.lookup(TimestampMs(99)), None);
    assert_eq!(index.lookup(TimestampMs(109)), Some(entries[0]));
    assert_eq!(index.lookup(TimestampMs(i64::MAX)), Some(entries[1]));
    index.truncate_to(Offset(54));
    assert_eq!(index.write(), [0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 1]);
}

#[test]
fn preallocated_zeros_are_no_entries_and_damage_is_refused() {
    let mut index = OffsetIndex::new(Offset(0));
    index.append(Offset(7), Position(4097)).unwrap();
    let mut file = index.write();
    file.extend_from_slice(&[0; 64]);
    assert_eq!(OffsetIndex::read(Offset(0), &file, 5000).unwrap(), index);
    assert_eq!(OffsetIndex::read(Offset(0), &file, 4097), Err(IndexError::Entry { index: 0 }));
    assert!(matches!(OffsetIndex::read(Offset(0), &file[..9], 5000), Err(IndexError::Size { bytes: 9, .. })));
    let twice = [index.write(), index.write()].concat();
    assert_eq!(OffsetIndex::read(Offset(0), &twice, 5000), Err(IndexError::Entry { index: 1 }));
    assert!(OffsetIndex::read(Offset(0), &[0xff; 8], u64::MAX).is_err());
    assert!(TimeIndex::read(Offset(0), &[0xff; 12]).is_err());
    assert!(matches!(TimeIndex::read(Offset(0), &[0; 13]), Err(IndexError::Size { bytes: 13, .. })));
}
