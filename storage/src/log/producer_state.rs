//! What a partition knows of its idempotent producers: epoch, the last five batches, an open
//! transaction. Pure: the log asks before it appends and tells what it appended.
//!
//! Behaviour follows Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry`
//! (KIP-98, KIP-360, KIP-890). A producer nobody remembers may begin with any sequence, as in Kafka
//! since 2.5: `UNKNOWN_PRODUCER_ID` is not answered. A batch older than the five remembered ones is out
//! of order, not a duplicate: Kafka's `DUPLICATE_SEQUENCE_NUMBER` is no broker's answer any more.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::record::batch::BatchHeader;
use crate::record::marker::Marker;
use crate::segment::txn_index::AbortedTransaction;
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Batches remembered per producer: as many as a producer may have in flight (KIP-98).
pub const BATCHES_MAX: usize = 5;
/// Producers remembered per partition; beyond it those that were silent longest are forgotten, as if they had expired.
/// Forgetting does harm only to a producer that still repeats a batch, which it does for two minutes by default
/// (`delivery.timeout.ms`): so many distinct producers do not write to one partition in that time. They take one MiB.
pub const PRODUCERS_MAX: usize = 4096;
/// Forgotten at once, so that looking for the oldest is not done for each newcomer.
const PRODUCERS_FORGOTTEN: usize = PRODUCERS_MAX / 8;
/// No sequence.
const NO_SEQUENCE: i32 = -1;

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus base offset.
    pub offset_delta: i32,
    /// Its max timestamp, as stored.
    pub timestamp: TimestampMs,
}

impl BatchMetadata {
    /// Sequence of its first record.
    pub fn first_sequence(&self) -> i32 {
        sequence_minus(self.last_sequence, self.offset_delta)
    }

    /// Offset of its first record.
    pub fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0.saturating_sub(self.offset_delta.into()))
    }
}

/// What is remembered of one producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    /// Its newest epoch; −1 if only a damaged or foreign history is known.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator that wrote its last transaction marker; −1 for none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker, as stored.
    pub last_timestamp: TimestampMs,
    /// Where its open transaction began.
    pub transaction_first_offset: Option<Offset>,
    /// When this broker last heard of it; loading counts. Expiry goes by this and not by record timestamps,
    /// which a producer of old data may set to long ago.
    pub seen_at: TimestampMs,
    batches: Batches,
}

impl Producer {
    fn new(seen_at: TimestampMs) -> Self {
        Self {
            epoch: ProducerEpoch(-1),
            coordinator_epoch: -1,
            last_timestamp: TimestampMs(-1),
            transaction_first_offset: None,
            seen_at,
            batches: Batches::default(),
        }
    }

    /// The remembered batches of its epoch, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        self.batches.as_slice()
    }

    fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn bump_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches = Batches::default();
            self.epoch = epoch;
        }
    }
}

/// At most [`BATCHES_MAX`] batches, oldest first, inline: a producer costs one map entry and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Batches {
    kept: [BatchMetadata; BATCHES_MAX],
    count: usize,
}

impl Batches {
    fn as_slice(&self) -> &[BatchMetadata] {
        self.kept.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, batch: BatchMetadata) {
        if self.count == BATCHES_MAX {
            self.kept.rotate_left(1);
            self.count = BATCHES_MAX.saturating_sub(1);
        }
        if let Some(slot) = self.kept.get_mut(self.count) {
            *slot = batch;
            self.count = self.count.saturating_add(1);
        }
    }
}

/// What is to be done with a batch of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is next (or has no producer id): append it, then [`ProducerState::update`].
    Append,
    /// It was appended already: answer with these offsets once they are durable.
    Duplicate(BatchMetadata),
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    OutOfOrder {
        /// Its first sequence.
        base_sequence: i32,
        /// The last sequence appended; −1 for none in this epoch.
        last_sequence: i32,
    },
    /// `INVALID_PRODUCER_EPOCH`: a newer incarnation has written.
    InvalidEpoch {
        /// The newest epoch seen.
        newest: ProducerEpoch,
    },
    /// `INVALID_TXN_STATE`: not transactional while its transaction is open.
    InvalidTransactionState,
}

/// The producers of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, Producer>,
    /// Transactions that ended with a marker which readers may not see yet: first offset and marker. As many as markers
    /// wait to become durable.
    ended: VecDeque<(Offset, Offset)>,
}

impl ProducerState {
    /// Nobody known.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many producers are remembered.
    pub fn count(&self) -> usize {
        self.producers.len()
    }

    /// What is remembered of one.
    pub fn get(&self, producer_id: ProducerId) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    /// Judges a verified batch as a client sent it, before it is stamped. Changes nothing.
    pub fn check(&self, batch: &BatchHeader) -> Verdict {
        if batch.producer_id().0 < 0 {
            return Verdict::Append;
        }
        let Some(producer) = self.producers.get(&batch.producer_id()) else { return Verdict::Append };
        if batch.attributes().is_control() {
            // Its coordinator's word: only the epoch is judged.
            let is_stale = batch.producer_epoch() < producer.epoch;
            return if is_stale { Verdict::InvalidEpoch { newest: producer.epoch } } else { Verdict::Append };
        }
        let base_sequence = batch.base_sequence();
        let last_sequence = last_sequence_of(batch);
        let same_epoch = batch.producer_epoch() == producer.epoch;
        let same_batch = |known: &&BatchMetadata| {
            known.first_sequence() == base_sequence && known.last_sequence == last_sequence
        };
        if same_epoch && let Some(known) = producer.batches().iter().find(same_batch) {
            return Verdict::Duplicate(*known);
        }
        if batch.producer_epoch() < producer.epoch {
            return Verdict::InvalidEpoch { newest: producer.epoch };
        }
        let in_order = if producer.epoch.0 < 0 {
            true
        } else if same_epoch {
            follows(producer.last_sequence(), base_sequence)
        } else {
            base_sequence == 0
        };
        if !in_order {
            let last_sequence = if same_epoch { producer.last_sequence() } else { NO_SEQUENCE };
            return Verdict::OutOfOrder { base_sequence, last_sequence };
        }
        if producer.transaction_first_offset.is_some() && !batch.attributes().is_transactional() {
            return Verdict::InvalidTransactionState;
        }
        Verdict::Append
    }

    /// Remembers a batch that was appended, replayed or replicated: `batch` is stamped with its offsets and, where
    /// the log does so, with its time. Nothing is judged; a control batch ends its producer's transaction
    /// ([`end_transaction`](Self::end_transaction) also takes the coordinator's epoch).
    pub fn update(&mut self, batch: &BatchHeader, now: TimestampMs) {
        if batch.producer_id().0 < 0 {
            return;
        }
        let producer = self.producers.entry(batch.producer_id()).or_insert_with(|| Producer::new(now));
        producer.seen_at = now;
        producer.bump_epoch(batch.producer_epoch());
        producer.last_timestamp = batch.max_timestamp();
        if batch.attributes().is_control() {
            producer.transaction_first_offset = None;
            return;
        }
        producer.batches.push(BatchMetadata {
            last_sequence: last_sequence_of(batch),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta(),
            timestamp: batch.max_timestamp(),
        });
        if batch.attributes().is_transactional() && producer.transaction_first_offset.is_none() {
            producer.transaction_first_offset = Some(batch.base_offset());
        }
        if self.producers.len() > PRODUCERS_MAX {
            self.forget_oldest(batch.producer_id());
        }
    }

    /// As [`update`](Self::update), for a whole batch: a marker ends its producer's transaction. If it was aborted, that
    /// is returned: an entry of the transaction index.
    pub fn take(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        now: TimestampMs,
    ) -> Option<AbortedTransaction> {
        if !header.attributes().is_control() {
            self.update(header, now);
            return None;
        }
        // One without its record was compacted, and its transaction's records before it.
        let marker = Marker::read(batch)?;
        let first_offset = self.end_transaction(header, marker.coordinator_epoch, now)?;
        let last_offset = header.last_offset();
        self.ended.push_back((first_offset, last_offset));
        let open = self.producers.values().filter_map(|producer| producer.transaction_first_offset).min();
        marker.is_abort.then(|| AbortedTransaction {
            producer_id: header.producer_id(),
            first_offset,
            last_offset,
            last_stable_offset: open.unwrap_or(header.next_offset()),
        })
    }

    /// Readers see everything below `high_watermark` now, markers too.
    pub fn set_visible(&mut self, high_watermark: Offset) {
        while self.ended.pop_front_if(|(_, marker)| *marker < high_watermark).is_some() {}
    }

    /// Makes room for newcomers. Open transactions stay, whose number their coordinator bounds, and so does `newest`.
    fn forget_oldest(&mut self, newest: ProducerId) {
        let idle = self
            .producers
            .iter()
            .filter(|(id, producer)| producer.transaction_first_offset.is_none() && **id != newest);
        let mut ages: Vec<_> = idle.map(|(id, producer)| (producer.seen_at, *id)).collect();
        let excess = self.producers.len().saturating_sub(PRODUCERS_MAX).saturating_add(PRODUCERS_FORGOTTEN);
        if excess < ages.len() {
            ages.select_nth_unstable(excess);
            ages.truncate(excess);
        }
        for (_, id) in ages {
            self.producers.remove(&id);
        }
    }

    /// Remembers a transaction marker. Returns where the transaction began that it ends, if it had records here.
    pub fn end_transaction(
        &mut self,
        marker: &BatchHeader,
        coordinator_epoch: i32,
        now: TimestampMs,
    ) -> Option<Offset> {
        let first_offset =
            self.get(marker.producer_id()).and_then(|producer| producer.transaction_first_offset);
        self.update(marker, now);
        if let Some(producer) = self.producers.get_mut(&marker.producer_id()) {
            producer.coordinator_epoch = coordinator_epoch;
            producer.transaction_first_offset = None;
        }
        first_offset
    }

    /// Where the oldest transaction began that is open, or whose end nobody may see yet: the last stable offset stops
    /// there.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.producers.values().filter_map(|producer| producer.transaction_first_offset);
        open.chain(self.ended.iter().map(|(first, _)| *first)).min()
    }

    /// Puts back what was remembered elsewhere (a snapshot, the journal's checkpoint): batches oldest first, of
    /// which the newest [`BATCHES_MAX`] stay. What was known of the producer is replaced.
    pub fn restore(&mut self, producer_id: ProducerId, restored: &RestoredProducer<'_>) {
        let mut producer = Producer::new(restored.seen_at);
        producer.epoch = restored.epoch;
        producer.coordinator_epoch = restored.coordinator_epoch;
        producer.last_timestamp = restored.last_timestamp;
        producer.transaction_first_offset = restored.transaction_first_offset;
        for batch in restored.batches {
            producer.batches.push(*batch);
        }
        match self.producers.entry(producer_id) {
            Entry::Vacant(entry) => {
                entry.insert(producer);
            }
            Entry::Occupied(mut entry) => {
                entry.insert(producer);
            }
        }
    }

    /// Forgets producers without an open transaction that have been silent for `expiration`
    /// (`producer.id.expiration.ms`). Returns how many.
    pub fn expire(&mut self, now: TimestampMs, expiration: Duration) -> usize {
        let before = self.producers.len();
        let expiration = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
        self.producers.retain(|_, producer| {
            producer.transaction_first_offset.is_some()
                || now.0.saturating_sub(producer.seen_at.0) < expiration
        });
        before.saturating_sub(self.producers.len())
    }

    /// Forgets everybody.
    pub fn clear(&mut self) {
        self.producers.clear();
        self.ended.clear();
    }
}

/// What [`ProducerState::restore`] takes.
#[derive(Clone, Copy, Debug)]
pub struct RestoredProducer<'a> {
    /// Newest epoch.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator that wrote its last marker, −1 for none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: TimestampMs,
    /// Where its open transaction began.
    pub transaction_first_offset: Option<Offset>,
    /// When it counts as last heard of.
    pub seen_at: TimestampMs,
    /// Its batches, oldest first.
    pub batches: &'a [BatchMetadata],
}

/// A sequence plus an increment ≥ 0: after `i32::MAX` comes 0 (Kafka's `incrementSequence`).
pub fn sequence_plus(sequence: i32, increment: i32) -> i32 {
    // Adding in 32 bits and dropping the sign bit is the same as counting modulo 2^31.
    sequence.wrapping_add(increment) & i32::MAX
}

/// A sequence minus a decrement ≥ 0: before 0 comes `i32::MAX` (Kafka's `decrementSequence`).
pub fn sequence_minus(sequence: i32, decrement: i32) -> i32 {
    sequence.wrapping_sub(decrement) & i32::MAX
}

/// Sequence of a batch's last record; coordinators write batches with a producer id and no sequence.
fn last_sequence_of(batch: &BatchHeader) -> i32 {
    match batch.base_sequence() {
        NO_SEQUENCE => NO_SEQUENCE,
        base_sequence => sequence_plus(base_sequence, batch.last_offset_delta()),
    }
}

/// Whether `next` comes right after `last`, where −1 is before everything.
fn follows(last: i32, next: i32) -> bool {
    if last == NO_SEQUENCE { next == 0 } else { next == sequence_plus(last, 1) }
}
