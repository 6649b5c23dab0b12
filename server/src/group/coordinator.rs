//! All groups of one partition of `__consumer_offsets`, as a state machine: requests, timeouts and records go in, records
//! and answers come out. The same steps in the same order with the same time and randomness give the same records and
//! answers; replaying the records gives the same groups (`GroupCoordinatorShard`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::{Offset, ProducerId};

use super::classic::{
    ClassicGroup, JoinRequest, JoinWaiter, LeaveRequest, Left, MemberRef, State, Step, SyncRequest,
    SyncWaiter, refuse_join,
};
use super::consumer::{ConsumerGroup, ConsumerRecord};
use super::offsets::{CommitRequest, Committed, Deletion, Offsets};
use super::record::{OffsetKey, Record, pieces};
use super::tally::Tally;
use super::timers::{TimerKey, Timers};
use super::turn::Turn;

/// The groups of one partition.
#[derive(Debug, Default)]
pub struct Coordinator {
    pub(super) groups: BTreeMap<Arc<str>, Box<ClassicGroup>>,
    /// Those of KIP-848; no id is in both.
    pub(super) consumers: BTreeMap<Arc<str>, ConsumerGroup>,
    /// What they come to, without their offsets.
    groups_tally: Tally,
    pub(super) offsets: Offsets,
    pub(super) timers: Timers,
}

impl Coordinator {
    // What the log says.

    /// Takes a record over that stands in the log at `offset`; one of an open transaction names its producer.
    pub fn replay(&mut self, record: Record, offset: Offset, transaction: Option<ProducerId>) {
        match record {
            Record::Group(id, Some(value)) => {
                self.take_consumers(&id);
                self.put_group(ClassicGroup::from_record(id, value));
            }
            Record::Group(id, None) => self.take_group(&id),
            Record::Consumer(id, record) => self.replay_consumer(&id, record),
            Record::Offset(key, None) => self.offsets.remove(&key),
            Record::Offset(key, Some(committed)) => {
                // Nobody needs to be a member to commit.
                if !self.groups.contains_key(&key.group) && !self.consumers.contains_key(&key.group) {
                    self.put_group(ClassicGroup::new(Arc::clone(&key.group)));
                }
                match transaction {
                    None => self.offsets.put(&key, committed, offset),
                    Some(producer) => self.offsets.put_pending(producer, &key, committed, offset),
                }
            }
        }
    }

    fn replay_consumer(&mut self, id: &Arc<str>, record: ConsumerRecord) {
        if record == ConsumerRecord::Epoch(None) {
            return self.take_consumers(id);
        }
        if !self.consumers.contains_key(id) {
            if record.is_tombstone() {
                return;
            }
            // A group that was made for offsets alone gives way.
            self.take_group(id);
            let group = ConsumerGroup::new(Arc::clone(id));
            self.groups_tally.exchange(Tally::default(), Tally::of_consumers(&group));
            self.consumers.insert(Arc::clone(id), group);
        }
        match &record {
            ConsumerRecord::Member(member, None) => self.forget_member(id, member),
            ConsumerRecord::Member(member, Some(facts)) if facts.classic.is_none() => {
                self.forget_classic(id, member);
            }
            _ => {}
        }
        let Some(group) = self.consumers.get_mut(id) else { return };
        let before = Tally::of_consumers(group);
        group.apply(record);
        self.groups_tally.exchange(before, Tally::of_consumers(group));
    }

    fn take_consumers(&mut self, id: &Arc<str>) {
        let Some(group) = self.consumers.remove(id) else { return };
        self.groups_tally.exchange(Tally::of_consumers(&group), Tally::default());
        group.members().keys().for_each(|member| self.forget_member(id, member));
    }

    /// Takes a group in, in the place of one of its name.
    pub(super) fn put_group(&mut self, group: ClassicGroup) {
        self.take_group(&Arc::clone(group.id()));
        self.groups_tally.exchange(Tally::default(), Tally::of_classic(&group));
        self.groups.insert(Arc::clone(group.id()), Box::new(group));
    }

    fn take_group(&mut self, id: &Arc<str>) {
        let Some(group) = self.groups.remove(id) else { return };
        self.groups_tally.exchange(Tally::of_classic(&group), Tally::default());
        self.timers.cancel(&TimerKey::Join(Arc::clone(id)));
        self.timers.cancel(&TimerKey::Sync(Arc::clone(id)));
        for member in group.session_ids() {
            self.timers.cancel(&TimerKey::Session(Arc::clone(id), Arc::clone(member)));
        }
    }

    /// What all of it comes to.
    pub fn tally(&self) -> Tally {
        let mut tally = self.groups_tally;
        tally.offsets = self.offsets.len();
        tally.live_records += self.offsets.len();
        tally.bytes += self.offsets.bytes();
        tally
    }

    /// What all of it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.tally().bytes
    }

    /// A transaction ended.
    pub fn end_transaction(&mut self, producer: ProducerId, is_commit: bool) {
        self.offsets.end_transaction(producer, is_commit);
    }

    /// Everything is replayed: members have to be heard of from now on.
    pub fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        // The limit was lowered: the next generation has as many as it allows. Or the broker ended before a rebalance began.
        let members_max = turn.settings.members_max;
        let has_to_begin = |group: &ClassicGroup| group.len() > members_max || group.expects_rebalance();
        let unsettled: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|group| has_to_begin(group))
            .map(|group| Arc::clone(group.id()))
            .collect();
        for group in self.groups.values_mut() {
            let ids: Vec<Arc<str>> = group.members().map(|member| Arc::clone(&member.id)).collect();
            let mut step = Step { group, timers: &mut self.timers, turn };
            ids.iter().for_each(|id| step.renew_session(id));
        }
        for id in unsettled {
            self.step(&id, turn, |step| {
                step.begin_rebalance();
            });
        }
        let ids: Vec<Arc<str>> = self.consumers.keys().cloned().collect();
        ids.iter().for_each(|id| self.watch_members(id, turn));
        self.timers.set(TimerKey::Expiry, turn.now + turn.settings.expiry_interval);
    }

    // Time.

    /// When [`on_time`](Self::on_time) has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next_deadline()
    }

    /// Does what is due.
    pub fn on_time(&mut self, turn: &mut Turn<'_>) {
        // Those that are set meanwhile are due later, or in the next call.
        let mut due = Vec::new();
        while let Some(key) = self.timers.pop_due(turn.now) {
            due.push(key);
        }
        for key in due {
            match key {
                TimerKey::Session(ref group, ref member) if self.consumers.contains_key(group) => {
                    self.on_member_timeout(key.clone(), (group, member), turn);
                }
                TimerKey::Revoke(ref group, ref member)
                | TimerKey::ClassicJoin(ref group, ref member)
                | TimerKey::ClassicSync(ref group, ref member) => {
                    self.on_member_timeout(key.clone(), (group, member), turn);
                }
                TimerKey::Session(group, member) => {
                    self.step(&group, turn, |step| step.on_session_timeout(&member));
                }
                TimerKey::Join(group) => {
                    self.step(&group, turn, |step| {
                        step.on_join_timeout();
                    });
                }
                TimerKey::Sync(group) => {
                    self.step(&group, turn, |step| {
                        step.on_sync_timeout();
                    });
                }
                TimerKey::Expiry => {
                    self.expire(turn);
                    self.timers.set(TimerKey::Expiry, turn.now + turn.settings.expiry_interval);
                }
            }
        }
    }

    // Members.

    /// A member joins; the answer goes to `waits`, now or when its generation begins.
    pub fn join(&mut self, request: &JoinRequest, waits: JoinWaiter, turn: &mut Turn<'_>) {
        let timeout = u64::try_from(request.session_timeout_ms).ok().map(Duration::from_millis);
        let (least, most) = turn.settings.session_timeout;
        if timeout.is_none_or(|timeout| timeout < least || timeout > most) {
            return refuse_join(waits, &request.member_id, ErrorCode::InvalidSessionTimeout);
        }
        if self.has_consumers(&request.group_id) {
            drop(waits.send(self.join_consumers(request, turn)));
            return;
        }
        if !self.groups.contains_key(&request.group_id) {
            if !request.member_id.is_empty() {
                return refuse_join(waits, &request.member_id, ErrorCode::UnknownMemberId);
            }
            if turn.bytes_left < request.bytes() {
                return refuse_join(waits, &request.member_id, ErrorCode::GroupMaxSizeReached);
            }
            if let Err(code) = self.make_group(&request.group_id, turn) {
                return refuse_join(waits, &request.member_id, code);
            }
        }
        let id = Arc::clone(&request.group_id);
        self.step(&id, turn, |step| step.join(request, waits));
    }

    /// A member asks for what it is given; the answer goes to `waits`, now or when the leader has said it.
    pub fn sync(&mut self, request: &SyncRequest, waits: SyncWaiter, turn: &mut Turn<'_>) {
        if self.has_consumers(&request.member.group_id) {
            drop(waits.send(self.sync_consumers(request, turn)));
            return;
        }
        if !self.groups.contains_key(&request.member.group_id) {
            drop(waits.send(Err(ErrorCode::UnknownMemberId)));
            return;
        }
        self.step(&request.member.group_id, turn, |step| step.sync(request, waits));
    }

    /// A member is there.
    pub fn heartbeat(&mut self, member: &MemberRef, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        if self.has_consumers(&member.group_id) {
            return self.heartbeat_consumers(member, turn);
        }
        let beat = self.step(&member.group_id, turn, |step| step.heartbeat(member));
        beat.unwrap_or(Err(ErrorCode::UnknownMemberId))
    }

    /// Members leave; a group that is not there has none.
    pub fn leave(&mut self, request: &LeaveRequest, turn: &mut Turn<'_>) -> Result<Left, ErrorCode> {
        if self.consumers.contains_key(&request.group_id) {
            return self.leave_consumers(request, turn);
        }
        let left = self.step(&request.group_id, turn, |step| step.leave(request));
        Ok(left.unwrap_or_else(|| request.members.iter().map(|_| Err(ErrorCode::UnknownMemberId)).collect()))
    }

    // Offsets.

    /// Keeps offsets: what became of each partition, by topic.
    pub fn commit(
        &mut self,
        request: &CommitRequest,
        turn: &mut Turn<'_>,
    ) -> Result<Vec<Vec<Result<(), ErrorCode>>>, ErrorCode> {
        let group_id = &request.member.group_id;
        self.check_commit(request, turn)?;
        if matches!(
            self.groups.get(group_id).map(|group| group.state()),
            Some(State::Stable | State::PreparingRebalance { .. })
        ) {
            self.step(group_id, turn, |step| step.renew_session(&request.member.member_id));
        }
        let now = turn.wall_clock.0;
        let expire_timestamp = request.retention_ms.map(|retention| now.saturating_add(retention));
        let mut bytes_left = turn.bytes_left;
        let (mut records, mut results) = (Vec::new(), Vec::with_capacity(request.topics.len()));
        for topic in &request.topics {
            let commit = |partition: &super::PartitionCommit| {
                if is_longer(&partition.metadata, turn.settings.metadata_chars_max) {
                    return Err(ErrorCode::OffsetMetadataTooLarge);
                }
                let committed = Committed {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: Arc::clone(&partition.metadata),
                    commit_timestamp: now,
                    expire_timestamp,
                };
                let (group, topic) = (Arc::clone(group_id), Arc::clone(&topic.topic));
                let key = OffsetKey { group, topic, partition: partition.partition };
                let more = self.offsets.more_bytes(&key, &committed);
                bytes_left = bytes_left.checked_sub(more).ok_or(ErrorCode::InvalidCommitOffsetSize)?;
                records.push(Record::Offset(key, Some(committed)));
                Ok(())
            };
            results.push(topic.partitions.iter().map(commit).collect());
        }
        let count = records.len();
        self.write(records, turn)?;
        turn.counters.commits.add_len(count);
        Ok(results)
    }

    /// Whether somebody may commit (`ClassicGroup.validateOffsetCommit`).
    fn check_commit(&self, request: &CommitRequest, turn: &Turn<'_>) -> Result<(), ErrorCode> {
        let member = &request.member;
        if let Some(group) = self.consumers.get(&member.group_id) {
            return group.check_commit(request, turn.cluster);
        }
        let Some(group) = self.groups.get(&member.group_id) else {
            return match member.generation_id {
                ..0 => Ok(()),
                _ if request.knows_missing_groups => Err(ErrorCode::GroupIdNotFound),
                _ => Err(ErrorCode::IllegalGeneration),
            };
        };
        let is_empty = group.state() == State::Empty;
        if member.generation_id < 0 && is_empty {
            return Ok(());
        }
        if member.generation_id >= 0 || !member.member_id.is_empty() || member.instance_id.is_some() {
            group.check_member(&member.member_id, member.instance_id.as_deref())?;
            if member.generation_id != group.generation_id() {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !is_empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        if group.state() == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// A committed offset; an error while the end of a transaction may change it, if that matters to who asks.
    pub fn committed(
        &self,
        group: &str,
        (topic, partition): (&str, i32),
        is_stable: bool,
    ) -> Result<Option<&Committed>, ErrorCode> {
        if is_stable && self.offsets.is_pending(group, topic, partition) {
            return Err(ErrorCode::UnstableOffsetCommit);
        }
        Ok(self.offsets.get(group, topic, partition))
    }

    /// All partitions that a group has offsets of, by topic.
    pub fn committed_partitions(&self, group: &str) -> Vec<(Arc<str>, Vec<i32>)> {
        let mut topics: Vec<(Arc<str>, Vec<i32>)> = Vec::new();
        for (topic, partition, _) in self.offsets.of_group(group) {
            match topics.last_mut().filter(|(last, _)| last == topic) {
                Some((_, partitions)) => partitions.push(partition),
                None => topics.push((Arc::clone(topic), vec![partition])),
            }
        }
        topics
    }

    /// Takes offsets away that no member needs.
    pub fn delete_offsets(
        &mut self,
        group_id: &Arc<str>,
        topics: &[(Arc<str>, Vec<i32>)],
        turn: &mut Turn<'_>,
    ) -> Result<Deletion, ErrorCode> {
        let is_read: Box<dyn Fn(&str) -> bool> =
            match (self.consumers.get(group_id), self.groups.get(group_id)) {
                (Some(group), _) => Box::new(|topic| group.is_subscribed_to(topic)),
                (None, Some(group)) if group.state() != State::Empty && !group.has_consumers() => {
                    return Err(ErrorCode::NonEmptyGroup);
                }
                (None, Some(group)) => Box::new(|topic| group.is_subscribed_to(topic)),
                (None, None) => return Err(ErrorCode::GroupIdNotFound),
            };
        let (mut records, mut results) = (Vec::new(), Vec::with_capacity(topics.len()));
        for (topic, partitions) in topics {
            if is_read(topic) {
                let refuse = |partition: &i32| (*partition, Err(ErrorCode::GroupSubscribedToTopic));
                results.push(partitions.iter().map(refuse).collect());
                continue;
            }
            for partition in partitions {
                let is_there = self.offsets.get(group_id, topic, *partition).is_some()
                    || self.offsets.is_pending(group_id, topic, *partition);
                if is_there {
                    let (group, topic) = (Arc::clone(group_id), Arc::clone(topic));
                    records.push(Record::Offset(OffsetKey { group, topic, partition: *partition }, None));
                }
            }
            results.push(partitions.iter().map(|partition| (*partition, Ok(()))).collect());
        }
        drop(is_read);
        self.write(records, turn)?;
        Ok(results)
    }

    /// Topics are gone: so are all offsets in them.
    pub fn topics_deleted(
        &mut self,
        topics: &BTreeSet<Arc<str>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let records = self.offsets.keys_in(topics).into_iter().map(|key| Record::Offset(key, None)).collect();
        self.write_pieces(records, turn)
    }

    // Common to all.

    /// Appends records, and does what they say.
    pub(super) fn write(&mut self, records: Vec<Record>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        let first = turn.append(&records)?;
        for (offset, record) in (first.0..).zip(records) {
            self.replay(record, Offset(offset), None);
        }
        Ok(())
    }

    /// Appends records that need not stand in one batch, and does what they say.
    pub(super) fn write_pieces(
        &mut self,
        records: Vec<Record>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        for piece in pieces(records) {
            self.write(piece, turn)?;
        }
        Ok(())
    }

    /// Makes a group that nobody knew; it is there once its record is in the log.
    fn make_group(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let value = ClassicGroup::empty_record(turn.wall_clock);
        // One of KIP-848 that has no members gives way.
        let before = self.consumers.get(id).map(ConsumerGroup::tombstones).unwrap_or_default().into_iter();
        let mut records: Vec<Record> =
            before.map(|record| Record::Consumer(Arc::clone(id), record)).collect();
        records.push(Record::Group(Arc::clone(id), Some(value)));
        self.write(records, turn)
    }

    /// Whether a group of KIP-848 is there that has members.
    fn has_consumers(&self, id: &str) -> bool {
        self.consumers.get(id).is_some_and(|group| !group.members().is_empty())
    }

    /// Does something with a group, if it is there.
    pub(super) fn step<R>(
        &mut self,
        id: &Arc<str>,
        turn: &mut Turn<'_>,
        work: impl FnOnce(&mut Step<'_, '_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let before = Tally::of_classic(group);
        let result = work(&mut Step { group, timers: &mut self.timers, turn });
        self.groups_tally.exchange(before, Tally::of_classic(group));
        Some(result)
    }
}

#[cfg(test)]
impl Coordinator {
    /// Checks that its parts agree.
    pub(super) fn check(&self) {
        self.groups.values().for_each(|group| group.check());
        self.consumers.values().for_each(ConsumerGroup::check);
        let mut tally = Tally::default();
        let classic = self.groups.values().map(|group| Tally::of_classic(group));
        classic
            .chain(self.consumers.values().map(Tally::of_consumers))
            .for_each(|each| tally.exchange(Tally::default(), each));
        assert_eq!(self.groups_tally, tally);
        assert!(self.consumers.keys().all(|id| !self.groups.contains_key(id)));
        self.timers.keys().for_each(|key| assert!(self.is_of_use(key), "{key:?} is left over"));
    }

    /// Whether somebody is there whom a deadline is about.
    fn is_of_use(&self, key: &TimerKey) -> bool {
        use super::consumer::Member;
        let member = |group: &str, id: &str| self.consumers.get(group).and_then(|group| group.member(id));
        match key {
            TimerKey::Session(group, id) => {
                member(group, id).is_some()
                    || self.groups.get(group).is_some_and(|group| group.session_ids().any(|it| it == id))
            }
            TimerKey::Join(group) | TimerKey::Sync(group) => self.groups.contains_key(group),
            TimerKey::Revoke(group, id) => member(group, id).is_some_and(Member::is_revoking),
            TimerKey::ClassicJoin(group, id) | TimerKey::ClassicSync(group, id) => {
                member(group, id).is_some_and(|it| it.facts.classic.is_some())
            }
            TimerKey::Expiry => true,
        }
    }
}

/// Whether a text has more UTF-16 units, as Java counts, than `max`.
fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.encode_utf16().count() > max
}
