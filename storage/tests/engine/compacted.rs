//! Segments that Apache Kafka compacted, whatever `cleanup.policy` says by now: batches are missing within them and at their
//! ends, others lost some or all of their records and kept their offsets, one segment has nothing left. None of that is
//! damage, and damage among it is found all the same.
#![expect(clippy::disallowed_methods, reason = "the test does what Apache Kafka does")]

use std::fs;
use std::path::{Path, PathBuf};

use ringmain_storage::record::batch::{self, BatchHeader, HEADER_BYTES};
use ringmain_storage::segment::ReadLimits;
use ringmain_storage::segment::segment::base_offset_of;
use ringmain_storage::segment::sparse_index::SparseIndex;
use ringmain_storage::types::{Offset, Position, TimestampMs};

use super::cold_reads::{bytes_of, produced};
use super::rotten_reads::{Rotting, check, consume, directory, fill_with, open};
use super::run;

/// What becomes of a segment's index files.
#[derive(Clone, Copy, Debug)]
enum Indexes {
    /// Written anew with the segment.
    Written,
    /// Lost: they are rebuilt.
    Lost,
}

fn segments(dir: &Path) -> Vec<(PathBuf, Offset)> {
    let listed = fs::read_dir(dir.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = listed
        .filter_map(|path| base_offset_of(path.file_name()?.to_str()?).map(|base| (path.clone(), base)))
        .collect();
    segments.sort();
    segments
}

/// A batch whose records went, all or all but the first one, and whose offsets stayed.
fn thinned(batch: &[u8], is_emptied: bool) -> Vec<u8> {
    let header = BatchHeader::read(batch).unwrap();
    let mut thinned = produced(header.base_offset().0, 1, 20);
    if is_emptied {
        thinned.truncate(HEADER_BYTES);
        thinned[8..12].copy_from_slice(&i32::try_from(HEADER_BYTES - 12).unwrap().to_be_bytes());
        thinned[57..61].copy_from_slice(&0_i32.to_be_bytes());
    }
    thinned[23..27].copy_from_slice(&header.last_offset_delta().to_be_bytes());
    batch::stamp(&mut thinned, header.base_offset(), header.partition_leader_epoch());
    batch::seal(&mut thinned);
    thinned.to_vec()
}

/// What compaction leaves of a segment's batches; of the second segment nothing.
fn compact(number: usize, batches: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let last = batches.len() - 1;
    let left = batches.iter().enumerate().filter_map(|(index, batch)| match index % 5 {
        _ if number == 1 || index + 2 > last => None,
        0 if number > 0 => None,
        1 | 2 => Some(batch.clone()),
        3 => Some(thinned(batch, index % 2 == 0)),
        _ => (index % 3 == 0).then(|| batch.clone()),
    });
    left.collect()
}

fn write(path: &Path, base: Offset, batches: &[Vec<u8>], indexes: Indexes) {
    fs::write(path, batches.concat()).unwrap();
    let mut index = SparseIndex::new(base, 4096);
    let mut position = 0;
    for batch in batches {
        index.push(BatchHeader::read(batch).unwrap(), Position(position)).unwrap();
        position += u64::try_from(batch.len()).unwrap();
    }
    index.seal().unwrap();
    for (suffix, file) in ["index", "timeindex"].into_iter().zip(index.files()) {
        match indexes {
            Indexes::Written => fs::write(path.with_extension(suffix), file).unwrap(),
            Indexes::Lost => fs::remove_file(path.with_extension(suffix)).unwrap(),
        }
    }
}

/// Compacts all segments but the last one. Returns what is left of the log.
fn compact_all(dir: &Path, indexes: Indexes) -> Vec<Vec<u8>> {
    let segments = segments(dir);
    let mut all = Vec::new();
    for (number, (path, base)) in segments.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let mut batches: Vec<_> = batch::batches(&bytes).map(|(_, batch)| batch.to_vec()).collect();
        if number + 1 < segments.len() {
            batches = compact(number, &batches);
            write(path, *base, &batches, indexes);
        }
        all.extend(batches);
    }
    all
}

#[test]
fn what_compaction_removed_is_no_damage() {
    for indexes in [Indexes::Written, Indexes::Lost] {
        let dir = directory();
        let path = dir.path().to_path_buf();
        run(async move || {
            let count = fill_with(&path, 150 << 10, 90).await.len();
            let stored = compact_all(&path, indexes);
            assert!(stored.len() < count - 20 && segments(&path).len() > 4);
            // A second start finds what the first one made of the indexes.
            for start in 0..2 {
                let (store, log, config) = open(&path).await;
                for (bytes_max, round) in [(1 << 20, 0), (1 << 20, 1), (12 << 10, 2), (12 << 10, 3)] {
                    let consumed = consume(&log, &stored, bytes_max).await;
                    check(&consumed, &stored, &[], &format!("{indexes:?}, start {start}, round {round}"));
                }
                // Every offset, removed or not, leads to the first batch that is left from there on.
                let end = log.offsets().log_end_offset;
                for offset in 0..end.0 {
                    let limits = ReadLimits { end, bytes_max: 100, at_least_one: true };
                    let bytes = bytes_of(&log.read(Offset(offset), limits).await.unwrap());
                    let first = stored
                        .iter()
                        .find(|batch| BatchHeader::read(batch).unwrap().last_offset() >= Offset(offset));
                    assert_eq!(Some(&bytes), first, "{offset}");
                    log.offset_for_timestamp(TimestampMs(offset), end).await.unwrap();
                }
                assert_eq!(config.counters.damaged_batches.get(), 0);
                store.close().await.unwrap();
            }
        });
    }
}

#[test]
fn damage_among_what_compaction_left_is_found() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        fill_with(&path, 150 << 10, 90).await;
        let stored = compact_all(&path, Indexes::Written);
        let (segment, _) = segments(&path).remove(0);
        let len = usize::try_from(fs::metadata(&segment).unwrap().len()).unwrap();
        let (mut at, mut places) = (0, Vec::new());
        for batch in
            stored.iter().take_while(|batch| BatchHeader::read(batch).unwrap().base_offset() < Offset(50))
        {
            if at + batch.len() > len {
                break;
            }
            let header = BatchHeader::read(batch).unwrap();
            places.push((header.base_offset().0, header.next_offset().0, at));
            at += batch.len();
        }
        let rotting = Rotting::open(&segment);
        for (index, place) in places.iter().enumerate() {
            for byte in [17, stored[index].len() - 1] {
                rotting.flip(place.2 + byte, 4);
                let (store, log, config) = open(&path).await;
                for round in 0..2 {
                    let consumed = consume(&log, &stored, 1 << 20).await;
                    assert!(
                        !consumed.batches.contains(&place.0),
                        "batch {index}, byte {byte}, round {round}"
                    );
                    assert_eq!(consumed.batches.len(), stored.len() - 1);
                    assert!(!consumed.damaged.is_empty() && config.counters.damaged_batches.get() == 1);
                }
                store.close().await.unwrap();
                rotting.flip(place.2 + byte, 4);
            }
        }
    });
}

#[test]
fn a_compacted_segment_that_lost_its_end_is_told_by_its_indexes() {
    let dir = directory();
    let path = dir.path().to_path_buf();
    run(async move || {
        fill_with(&path, 150 << 10, 90).await;
        let stored = compact_all(&path, Indexes::Written);
        let (segment, _) = segments(&path).remove(0);
        let bytes = fs::read(&segment).unwrap();
        let batches: Vec<_> =
            batch::batches(&bytes).map(|(header, batch)| (header.base_offset(), batch.len())).collect();
        let (lost, lost_bytes) = *batches.last().unwrap();
        fs::write(&segment, &bytes[..bytes.len() - lost_bytes]).unwrap();
        for _ in 0..2 {
            let (store, log, config) = open(&path).await;
            for _ in 0..2 {
                let consumed = consume(&log, &stored, 1 << 20).await;
                assert_eq!(consumed.batches.len(), stored.len() - 1);
                assert!(consumed.damaged.contains(&lost.0) && config.counters.damaged_batches.get() == 1);
            }
            store.close().await.unwrap();
        }
    });
}
