//! Leader epochs and checkpoint files behave as Kafka's.

use ringmain_storage::log::checkpoint_file::{
    CheckpointFileError, PartitionOffset, read_partition_offsets, write_lines,
};
use ringmain_storage::log::epoch_cache::EpochCache;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex};

fn cache(entries: &[(i32, i64)]) -> EpochCache {
    let mut cache = EpochCache::new();
    for (epoch, offset) in entries {
        assert!(cache.assign(LeaderEpoch(*epoch), Offset(*offset)));
    }
    cache
}

#[test]
fn an_epoch_ends_where_the_next_begins() {
    let cache = cache(&[(2, 10), (4, 20), (7, 35)]);
    let end =
        |epoch| cache.end_offset_for(LeaderEpoch(epoch), Offset(50)).map(|(epoch, end)| (epoch.0, end.0));
    assert_eq!(end(-1), None);
    assert_eq!(end(1), Some((1, 10)));
    assert_eq!(end(2), Some((2, 20)));
    assert_eq!(end(3), Some((2, 20)));
    assert_eq!(end(6), Some((4, 35)));
    assert_eq!(end(7), Some((7, 50)));
    assert_eq!(end(8), None);
    assert_eq!(EpochCache::new().end_offset_for(LeaderEpoch(0), Offset(0)), None);
}

#[test]
fn assigning_keeps_epochs_and_offsets_ascending() {
    let mut epochs = cache(&[(2, 10), (4, 20), (7, 35)]);
    assert!(!epochs.assign(LeaderEpoch(7), Offset(40)));
    assert!(!epochs.assign(LeaderEpoch(-1), Offset(40)));
    assert!(epochs.assign(LeaderEpoch(8), Offset(20)));
    assert_eq!(epochs.write(), "0\n2\n2 10\n8 20\n");
    assert!(epochs.assign(LeaderEpoch(3), Offset(30)));
    assert_eq!(epochs.write(), "0\n2\n2 10\n3 30\n");
}

#[test]
fn truncation_moves_the_first_epoch_and_drops_the_last_ones() {
    let mut epochs = cache(&[(2, 10), (4, 20), (7, 35)]);
    assert!(!epochs.truncate_from_end(Offset(36)));
    assert!(epochs.truncate_from_end(Offset(35)));
    assert!(!epochs.truncate_from_start(Offset(9)));
    assert!(!epochs.truncate_from_start(Offset(10)));
    assert!(epochs.truncate_from_start(Offset(25)));
    assert_eq!(epochs.write(), "0\n1\n4 25\n");
    assert_eq!(epochs.epoch_for_offset(Offset(24)), None);
    assert_eq!(epochs.epoch_for_offset(Offset(25)), Some(LeaderEpoch(4)));
    assert!(epochs.truncate_from_end(Offset(0)));
    assert_eq!(epochs.write(), "0\n0\n");
}

#[test]
fn checkpoint_files_survive_and_damage_is_named() {
    let epochs = cache(&[(0, 0), (5, 1 << 40)]);
    assert_eq!(EpochCache::read(epochs.write().as_bytes()).unwrap(), epochs);
    assert_eq!(EpochCache::read(b"").unwrap(), EpochCache::new());
    assert_eq!(EpochCache::read(b"1\n0\n"), Err(CheckpointFileError::UnknownVersion(1)));
    assert_eq!(EpochCache::read(b"0\n2\n0 0\n"), Err(CheckpointFileError::Count { expected: 2, found: 1 }));
    assert_eq!(EpochCache::read(b"0\n1\n0 x\n"), Err(CheckpointFileError::Malformed { line: 3 }));
    assert_eq!(EpochCache::read(b"0\n1\n0 0 0\n"), Err(CheckpointFileError::Malformed { line: 3 }));
    assert_eq!(EpochCache::read(&[0xff]), Err(CheckpointFileError::NotText));
    let offsets = [("a", 0, 5), ("b.c-d", 11, i64::MAX)].map(|(topic, partition, offset)| PartitionOffset {
        topic: topic.to_owned(),
        partition: PartitionIndex(partition),
        offset: Offset(offset),
    });
    let file = write_lines(&offsets);
    assert_eq!(file, "0\n2\na 0 5\nb.c-d 11 9223372036854775807\n");
    assert_eq!(read_partition_offsets(file.as_bytes()).unwrap(), offsets);
}
