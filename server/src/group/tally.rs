//! What groups come to: each says what it adds, and sums of that are kept as groups change, so that nobody ever goes over
//! all of them. The bound on memory is held against it, and the metrics show it.

use super::{classic, consumer};
use crate::counters::GroupCounters;

/// Of groups: all there is now, of one of them, of a coordinator, or of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Groups of the classic protocol by state, in the order of [`GroupCounters::CLASSIC_STATES`].
    pub classic: [usize; 4],
    /// Groups of KIP-848 by state, in the order of [`GroupCounters::CONSUMER_STATES`].
    pub consumer: [usize; 4],
    /// Members of groups of the one kind.
    pub classic_members: usize,
    /// Members of groups of the other.
    pub consumer_members: usize,
    /// Committed offsets.
    pub offsets: usize,
    /// Records that say all that is to be said.
    pub live_records: usize,
    /// Records in the logs.
    pub log_records: usize,
    /// What it takes in memory, about.
    pub bytes: usize,
}

impl Tally {
    /// Of a classic group.
    pub(super) fn of_classic(group: &classic::ClassicGroup) -> Self {
        let mut tally = Self {
            classic_members: group.len(),
            live_records: usize::from(group.persisted.is_some()),
            bytes: group.bytes(),
            ..Self::default()
        };
        let [empty, preparing, completing, stable] = &mut tally.classic;
        let place = match group.state() {
            classic::State::Empty => empty,
            classic::State::PreparingRebalance { .. } => preparing,
            classic::State::CompletingRebalance => completing,
            classic::State::Stable => stable,
        };
        *place = 1;
        tally
    }

    /// Of a group of KIP-848.
    pub(super) fn of_consumers(group: &consumer::ConsumerGroup) -> Self {
        let mut tally = Self {
            consumer_members: group.members().len(),
            live_records: group.record_count(),
            bytes: group.bytes(),
            ..Self::default()
        };
        let [empty, assigning, reconciling, stable] = &mut tally.consumer;
        let place = match group.state() {
            consumer::State::Empty => empty,
            consumer::State::Assigning => assigning,
            consumer::State::Reconciling => reconciling,
            consumer::State::Stable => stable,
        };
        *place = 1;
        tally
    }

    /// All numbers, one after the other.
    fn numbers(&mut self) -> impl Iterator<Item = &mut usize> {
        let Self {
            classic,
            consumer,
            classic_members,
            consumer_members,
            offsets,
            live_records,
            log_records,
            bytes,
        } = self;
        let single = [classic_members, consumer_members, offsets, live_records, log_records, bytes];
        classic.iter_mut().chain(consumer).chain(single)
    }

    /// What was `before` is `after` now.
    pub(super) fn exchange(&mut self, mut before: Self, mut after: Self) {
        for ((sum, before), after) in self.numbers().zip(before.numbers()).zip(after.numbers()) {
            *sum = *sum + *after - *before;
        }
    }

    /// Shows it, as a shard's.
    pub(super) fn show(&self, counters: &GroupCounters) {
        let by_state = counters.classic.iter().zip(&self.classic);
        by_state
            .chain(counters.consumer.iter().zip(&self.consumer))
            .for_each(|(to, count)| to.set_len(*count));
        counters.classic_members.set_len(self.classic_members);
        counters.consumer_members.set_len(self.consumer_members);
        counters.offsets.set_len(self.offsets);
        counters.live_records.set_len(self.live_records);
        counters.log_records.set_len(self.log_records);
        counters.bytes.set_len(self.bytes);
    }
}
