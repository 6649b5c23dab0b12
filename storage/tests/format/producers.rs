//! Idempotent producers: what is appended, what is a duplicate, what is out of order.

use std::time::Duration;

use ringmain_storage::log::producer_snapshot::{SnapshotError, read_snapshot, write_snapshot};
use ringmain_storage::log::producer_state::{
    BatchMetadata, PRODUCERS_MAX, ProducerState, RestoredProducer, Verdict, sequence_minus, sequence_plus,
};
use ringmain_storage::record::batch::{Attributes, BatchHeader, HeaderFields};
use ringmain_storage::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_000_000);

fn batch(epoch: i16, base_sequence: i32, record_count: i32) -> BatchHeader {
    header(Attributes::default(), epoch, base_sequence, record_count, 0)
}

fn header(
    attributes: Attributes,
    epoch: i16,
    base_sequence: i32,
    record_count: i32,
    offset: i64,
) -> BatchHeader {
    BatchHeader::new(&HeaderFields {
        base_offset: Offset(offset),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        attributes,
        last_offset_delta: record_count - 1,
        base_timestamp: TimestampMs(10),
        max_timestamp: TimestampMs(20),
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        record_count,
    })
}

/// Appends if the state says so, at the next offset.
#[derive(Default)]
struct Partition {
    state: ProducerState,
    next: i64,
}

impl Partition {
    #[track_caller]
    fn append(&mut self, epoch: i16, base_sequence: i32, record_count: i32) {
        assert_eq!(self.state.check(&batch(epoch, base_sequence, record_count)), Verdict::Append);
        self.state.update(&header(Attributes::default(), epoch, base_sequence, record_count, self.next), NOW);
        self.next += i64::from(record_count);
    }

    #[track_caller]
    fn duplicate(&self, epoch: i16, base_sequence: i32, record_count: i32, base_offset: i64) {
        match self.state.check(&batch(epoch, base_sequence, record_count)) {
            Verdict::Duplicate(known) => {
                assert_eq!(known.base_offset(), Offset(base_offset));
                assert_eq!(known.last_offset, Offset(base_offset + i64::from(record_count) - 1));
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn out_of_order(&self, epoch: i16, base_sequence: i32, record_count: i32) {
        let verdict = self.state.check(&batch(epoch, base_sequence, record_count));
        assert!(matches!(verdict, Verdict::OutOfOrder { .. }), "{verdict:?}");
    }
}

#[test]
fn the_last_five_batches_are_duplicates_and_older_ones_out_of_order() {
    let mut partition = Partition { next: 100, ..Partition::default() };
    for number in 0..6 {
        partition.append(0, number * 3, 3);
    }
    partition.out_of_order(0, 0, 3);
    for number in 1..6 {
        partition.duplicate(0, number * 3, 3, 100 + i64::from(number) * 3);
    }
    // Same start, other length: not the same batch.
    partition.out_of_order(0, 15, 2);
    partition.out_of_order(0, 19, 1);
    partition.append(0, 18, 1);
}

#[test]
fn sequences_wrap_after_the_largest() {
    assert_eq!(sequence_plus(i32::MAX, 1), 0);
    assert_eq!(sequence_plus(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_minus(0, 1), i32::MAX);
    assert_eq!(sequence_minus(1, 3), i32::MAX - 1);
    let mut partition = Partition::default();
    partition.append(0, i32::MAX - 1, 2);
    partition.append(0, 0, 1);
    partition.append(0, 1, 5);
    let mut crossing = Partition::default();
    crossing.append(0, i32::MAX - 1, 4);
    crossing.duplicate(0, i32::MAX - 1, 4, 0);
    crossing.out_of_order(0, 1, 1);
    crossing.append(0, 2, 1);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut partition = Partition::default();
    partition.append(3, 0, 2);
    partition.out_of_order(4, 2, 1);
    partition.append(4, 0, 2);
    let old = partition.state.check(&batch(3, 2, 1));
    assert_eq!(old, Verdict::InvalidEpoch { newest: ProducerEpoch(4) });
    // Not even the old epoch's own batches are duplicates now.
    assert!(matches!(partition.state.check(&batch(3, 0, 2)), Verdict::InvalidEpoch { .. }));
    partition.duplicate(4, 0, 2, 2);
}

#[test]
fn an_unknown_producer_may_begin_anywhere_as_in_kafka() {
    let mut partition = Partition::default();
    partition.append(7, 1234, 5);
    partition.append(7, 1239, 1);
    partition.out_of_order(7, 1234 - 1, 1);
}

#[test]
fn batches_without_a_producer_are_not_remembered() {
    let mut state = ProducerState::new();
    let mut fields = batch(0, 0, 1).fields();
    fields.producer_id = ProducerId(-1);
    let anonymous = BatchHeader::new(&fields);
    assert_eq!(state.check(&anonymous), Verdict::Append);
    state.update(&anonymous, NOW);
    assert_eq!(state.count(), 0);
}

#[test]
fn silence_expires_a_producer_but_not_its_open_transaction() {
    let mut state = ProducerState::new();
    state.update(&batch(0, 0, 1), NOW);
    let day = Duration::from_hours(24);
    let later = |ms: i64| TimestampMs(NOW.0 + ms);
    // The batch's own timestamp is 20: long ago, and of no consequence.
    assert_eq!(state.expire(later(86_399_999), day), 0);
    assert_eq!(state.expire(later(86_400_000), day), 1);
    state.update(&header(Attributes::default().transactional(), 0, 0, 1, 40), NOW);
    assert_eq!(state.expire(later(i64::MAX / 2), day), 0);
    assert_eq!(state.first_unstable_offset(), Some(Offset(40)));
    assert_eq!(state.check(&batch(0, 1, 1)), Verdict::InvalidTransactionState);
    let marker = header(Attributes::default().transactional().control(), 0, -1, 1, 50);
    assert_eq!(state.end_transaction(&marker, 6, NOW), Some(Offset(40)));
    assert_eq!(state.first_unstable_offset(), None);
    assert_eq!(state.get(ProducerId(1)).unwrap().coordinator_epoch, 6);
    assert_eq!(state.check(&batch(0, 1, 1)), Verdict::Append);
}

#[test]
fn a_snapshot_keeps_the_newest_batch() {
    let mut partition = Partition::default();
    for number in 0..4 {
        partition.append(2, number * 10, 10);
    }
    let file = write_snapshot(&partition.state);
    assert_eq!(file.len(), 10 + 46);
    let restored = Partition { state: read_snapshot(&file, NOW).unwrap(), next: 40 };
    restored.duplicate(2, 30, 10, 30);
    restored.out_of_order(2, 20, 10);
    assert_eq!(write_snapshot(&restored.state), file);
    let mut damaged = file.clone();
    damaged[20] ^= 1;
    assert!(matches!(read_snapshot(&damaged, NOW), Err(SnapshotError::Crc { .. })));
    let mut future = file.clone();
    future[1] = 2;
    assert_eq!(read_snapshot(&future, NOW), Err(SnapshotError::UnknownVersion(2)));
    assert!(read_snapshot(&file[..5], NOW).is_err());
}

#[test]
fn a_checkpoint_restores_all_five() {
    let mut partition = Partition::default();
    for number in 0..5 {
        partition.append(2, number, 1);
    }
    let known = partition.state.get(ProducerId(1)).unwrap();
    let batches: Vec<BatchMetadata> = known.batches().to_vec();
    let mut state = ProducerState::new();
    state.restore(
        ProducerId(1),
        &RestoredProducer {
            epoch: known.epoch,
            coordinator_epoch: known.coordinator_epoch,
            last_timestamp: known.last_timestamp,
            transaction_first_offset: None,
            seen_at: NOW,
            batches: &batches,
        },
    );
    assert_eq!(state, partition.state);
}

#[test]
fn a_flood_of_producers_makes_the_longest_silent_ones_forgotten() {
    let mut state = ProducerState::new();
    let appended = |state: &mut ProducerState, id: i64, attributes: Attributes| {
        let fields = header(attributes, 0, 0, 1, id).fields();
        let fields = HeaderFields { producer_id: ProducerId(id), ..fields };
        state.update(&BatchHeader::new(&fields), TimestampMs(1000 + id));
    };
    appended(&mut state, 0, Attributes::default().transactional());
    for id in 1..100_000 {
        appended(&mut state, id, Attributes::default());
        assert!(state.count() <= PRODUCERS_MAX, "{} at {id}", state.count());
        assert!(state.get(ProducerId(id)).is_some());
    }
    assert!(state.get(ProducerId(0)).is_some(), "an open transaction is not forgotten");
    let newest = (100_000 - i64::try_from(PRODUCERS_MAX / 2).unwrap())..100_000;
    assert!(newest.into_iter().all(|id| state.get(ProducerId(id)).is_some()));
    assert!(state.get(ProducerId(1)).is_none());
}
