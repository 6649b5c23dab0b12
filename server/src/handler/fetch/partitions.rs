//! The partitions of one fetch, or of one session: what changes, what shards are asked, and the answer made of it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringmain_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};
use ringmain_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ringmain_protocol::wire::{Records, Str, Uuid};
use ringmain_storage::io::Io;
use ringmain_storage::segment::Slice;

use super::super::Broker;
use super::super::turns::Turns;
use super::Asking;
use super::gather::{Gathering, gather};
use super::reading::Refusal;
use super::slots::{Slots, TopicAt, TopicName};
use crate::partition::watch::{Got, WatchChanges};

/// Partitions that cannot be read of which a fetch that waits, or a session, keeps no more than so many. Those that can
/// be read are no more than there are; a client that names so many others will ask for metadata first.
const UNREADABLE_MAX: usize = 1000;

/// Partitions of a shard's fetches and sessions together beyond which none of them is kept that has more than
/// [`FEW`]. A partition takes some 360 bytes, with its watch.
const KEPT_MAX: usize = 1_000_000;
/// A fetch or session of so many partitions is kept whatever the others have.
const FEW: usize = 1000;

/// How many partitions a shard's fetches and sessions have together.
pub(super) type Kept = Rc<Cell<usize>>;

/// The partitions of one fetch, or of one session.
pub(super) struct Partitions {
    slots: Slots,
    /// Slots that could not be read: they are looked up again at every fetch.
    unresolved: BTreeSet<u32>,
    /// Slots with a new wish.
    changed: Vec<u32>,
    /// What shards shall forget, by shard.
    forgotten: Vec<Vec<u32>>,
    /// How many partitions each shard has.
    owned: Vec<usize>,
    /// The slot whose turn it is when there is more than may be given.
    first: u32,
    kept: Kept,
    /// How many of them are these.
    counted: usize,
}

impl Drop for Partitions {
    fn drop(&mut self) {
        self.kept.set(self.kept.get() - self.counted);
    }
}

impl Partitions {
    /// None yet, of a broker with so many shards.
    pub(super) fn new(shard_count: usize, kept: &Kept) -> Self {
        Self {
            slots: Slots::default(),
            unresolved: BTreeSet::new(),
            changed: Vec::new(),
            forgotten: vec![Vec::new(); shard_count],
            owned: vec![0; shard_count],
            first: 0,
            kept: Rc::clone(kept),
            counted: 0,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a fetch may wait with them, and a session have them: they take no more memory than partitions that can be
    /// read need, and there is room for them.
    pub(super) fn are_worth_keeping(&self) -> bool {
        self.unresolved.len() <= UNREADABLE_MAX
            && self.slots.vacant() <= self.slots.len() + UNREADABLE_MAX
            && (self.slots.len() <= FEW || self.kept.get() <= KEPT_MAX)
    }

    /// Takes in what a request names and drops what it forgets.
    pub(super) async fn update(
        &mut self,
        asking: &Asking,
        topics: Vec<FetchTopic>,
        forgotten: Vec<ForgottenTopic>,
    ) {
        if self.is_empty() {
            // At once: what grows leaves behind what it was before, and a request may name a million.
            let count = topics.iter().map(|topic| topic.partitions.len()).sum();
            self.slots.reserve(count);
            self.changed.reserve_exact(count);
        }
        let mut turns = Turns::default();
        for topic in topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            let at = self.slots.topic(&name(asking, topic.topic, topic.topic_id));
            for partition in topic.partitions {
                turns.entry_done().await;
                let slot = self.slots.set(at, partition.into());
                self.changed.push(slot);
            }
        }
        for topic in forgotten {
            let Some(at) = self.slots.find_topic(&name(asking, topic.topic, topic.topic_id)) else {
                continue;
            };
            for partition in topic.partitions {
                turns.entry_done().await;
                self.forget(at, partition);
            }
        }
        let counted = std::mem::replace(&mut self.counted, self.slots.len());
        self.kept.set(self.kept.get() + self.counted - counted);
    }

    fn forget(&mut self, topic: TopicAt, partition: i32) {
        let Some(slot) = self.slots.find(topic, partition) else { return };
        self.set_owner(slot, None);
        self.unresolved.remove(&slot);
        // It may stay among the changed ones, where a slot without an entry is passed over.
        self.slots.free(slot);
    }

    /// Moves a slot to a shard, or to none.
    fn set_owner(&mut self, slot: u32, owner: Option<usize>) {
        let Some(entry) = self.slots.entry(slot) else { return };
        let before = entry.move_to(owner);
        if before == owner {
            return;
        }
        if let Some(before) = before {
            self.owned[before] -= 1;
            self.forgotten[before].push(slot);
        }
        if let Some(owner) = owner {
            // If the shard still has to forget what the slot was before, it does so before it sets it.
            self.owned[owner] += 1;
        }
    }

    /// Fetches. With `full` every partition is in the answer, else only those that have something to tell.
    pub(super) async fn fetch<I: Io>(
        &mut self,
        broker: &Broker<I>,
        asking: &Asking,
        (number, full): (Option<i32>, bool),
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let (mut changes, refused) = self.look_up(broker, asking).await;
        let owners: Vec<usize> = (0..changes.len()).filter(|shard| self.owned[*shard] > 0).collect();
        for owner in &owners {
            // A shard that is not asked is told when it is: it must not answer for slots that others have by then.
            changes[*owner].forgotten = std::mem::take(&mut self.forgotten[*owner]);
        }
        let may_wait = self.are_worth_keeping();
        let (limits, wait_max) = (asking.limits, if may_wait { asking.wait_max } else { Duration::ZERO });
        if may_wait {
            drop(asking.right.take());
        }
        let gathering = Gathering { watch: number, changes, owners, limits, wait_max, first: self.first };
        let got;
        (got, self.first) = gather(broker, gathering).await;
        self.respond(broker, (asking, full), (refused, got)).await
    }

    /// Finds the slots that changed, and those that could not be read before: what their shards are told, and which
    /// cannot be read, in the order of slots.
    async fn look_up<I: Io>(
        &mut self,
        broker: &Broker<I>,
        asking: &Asking,
    ) -> (Vec<WatchChanges>, Vec<(u32, Refusal)>) {
        let mut refused = Vec::new();
        let mut changes: Vec<WatchChanges> = self.owned.iter().map(|_| WatchChanges::default()).collect();
        let image = broker.image();
        let mut looked_at = std::mem::take(&mut self.changed);
        looked_at.extend(self.unresolved.iter().copied());
        let mut turns = Turns::default();
        for slot in looked_at {
            turns.entry_done().await;
            let Some(named) = self.slots.named(slot) else { continue };
            match named.want(asking, &image) {
                Ok(want) => {
                    let owner = broker.owner(want.key);
                    changes[owner].set.push((slot, want));
                    self.unresolved.remove(&slot);
                    self.set_owner(slot, Some(owner));
                }
                Err(refusal) => {
                    refused.push((slot, refusal));
                    self.unresolved.insert(slot);
                    self.set_owner(slot, None);
                    self.tell(slot, None);
                }
            }
        }
        refused.sort_unstable_by_key(|(slot, _)| *slot);
        refused.dedup_by_key(|(slot, _)| *slot);
        (changes, refused)
    }

    fn tell(&mut self, slot: u32, told: Option<(i64, i64)>) {
        if let Some(entry) = self.slots.entry(slot) {
            entry.tell(told);
        }
    }

    /// The answer, partitions in the order of slots.
    async fn respond<I: Io>(
        &mut self,
        broker: &Broker<I>,
        (asking, full): (&Asking, bool),
        (refused, got): (Vec<(u32, Refusal)>, BTreeMap<u32, Got>),
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let image = broker.image();
        let mut composed = Composed::default();
        let mut refused = &refused[..];
        let mut turns = Turns::default();
        for (slot, got) in got {
            turns.entry_done().await;
            let (before, after) = refused.split_at(refused.partition_point(|(refused, _)| *refused < slot));
            self.refuse(asking, before, &mut composed).await;
            refused = after;
            let Some(named) = self.slots.named(slot) else { continue };
            let is_gone = got.offsets.is_none();
            let (data, slices) = named.answer(asking, &image, got);
            let told = (data.high_watermark, data.log_start_offset);
            let Some(entry) = self.slots.entry(slot) else { continue };
            let tells = !slices.is_empty()
                || data.error_code != 0
                || data.diverging_epoch.end_offset >= 0
                || !entry.was_told(told);
            entry.tell((data.error_code == 0).then_some(told));
            let topic = entry.topic;
            if is_gone {
                self.set_owner(slot, None);
                self.unresolved.insert(slot);
            }
            if (full || tells)
                && let Some(topic) = self.slots.topic_name(topic)
            {
                composed.add(topic, data, slices);
            }
        }
        self.refuse(asking, refused, &mut composed).await;
        (composed.response, composed.slices)
    }

    /// The part of the answer for slots that cannot be read.
    async fn refuse(&self, asking: &Asking, refused: &[(u32, Refusal)], composed: &mut Composed) {
        let mut turns = Turns::default();
        let topic_of = |(slot, _): &(u32, Refusal)| self.slots.topic_of(*slot);
        for run in refused.chunk_by(|one, next| topic_of(one) == topic_of(next)) {
            let topic = run.first().and_then(topic_of).and_then(|at| self.slots.topic_name(at));
            let Some(topic) = topic else { continue };
            let partitions = composed.partitions(topic, run.len());
            for (slot, refusal) in run {
                turns.entry_done().await;
                let Some(named) = self.slots.named(*slot) else { continue };
                partitions.push(refusal.data(asking, named.wish.partition));
            }
        }
    }
}

/// How a request names a topic.
fn name(asking: &Asking, name: Str, id: Uuid) -> TopicName {
    if asking.by_id() { TopicName::Id(id) } else { TopicName::Name(name) }
}

/// An answer that comes to be.
#[derive(Default)]
struct Composed {
    response: FetchResponse,
    slices: Vec<Vec<Slice>>,
}

impl Composed {
    /// Puts a partition to its topic, and its record bytes into their place.
    fn add(&mut self, topic: &TopicName, mut data: PartitionData, slices: Vec<Slice>) {
        let bytes: usize = slices.iter().map(Slice::len).sum();
        if let (Ok(index), Ok(len), false) =
            (u32::try_from(self.slices.len()), u32::try_from(bytes), slices.is_empty())
        {
            data.records = Records::External { index, len };
            self.slices.push(slices);
        }
        self.partitions(topic, 1).push(data);
    }

    /// Where the next partitions go if they are of this topic, with room for so many.
    fn partitions(&mut self, topic: &TopicName, more: usize) -> &mut Vec<PartitionData> {
        let responses = &mut self.response.responses;
        if !responses.last().is_some_and(|last| topic.is(&last.topic, last.topic_id)) {
            let (topic, topic_id) = topic.on_the_wire();
            responses.push(FetchableTopicResponse { topic, topic_id, partitions: Vec::new() });
        }
        let last = responses.len() - 1;
        let partitions = &mut responses[last].partitions;
        if partitions.is_empty() {
            partitions.reserve_exact(more);
        } else {
            partitions.reserve(more);
        }
        partitions
    }
}
