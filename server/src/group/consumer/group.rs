//! A group of KIP-848: its members, what each is meant to have, and who has what. It is changed by records alone
//! ([`ConsumerGroup::apply`]); what it remembers beside them is lost at a restart and found out anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmain_storage::types::TopicId;

use super::member::{Assignment, Current, Member};
use super::record::{ConsumerRecord, GroupEpoch, Resolved, TargetEpoch};

/// The epoch of a group, and of its targets, before anything happened: 0 is a member's that joins.
const FIRST_EPOCH: i32 = 1;
/// What a group takes in memory beside its members, about.
const GROUP_BYTES: usize = 1024;
/// What one topic of an expression takes, beside its name.
const TOPIC_BYTES: usize = 64;
/// What a partition of a target takes.
const TARGET_BYTES: usize = 32;

/// Where a group stands (`ConsumerGroupState`); a dead one is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum State {
    /// It has no members, but maybe offsets.
    Empty,
    /// Nobody has shared partitions out yet for its epoch.
    Assigning,
    /// Members give up and take over.
    Reconciling,
    /// Everyone has what it is meant to have.
    Stable,
}

impl State {
    /// Its name, as clients are told.
    pub(in crate::group) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::group) struct ConsumerGroup {
    id: Arc<str>,
    epoch: Option<GroupEpoch>,
    target_epoch: Option<TargetEpoch>,
    members: BTreeMap<Arc<str>, Member>,
    /// Static members' ids by their own names for themselves.
    by_instance: BTreeMap<Arc<str>, Arc<str>>,
    targets: BTreeMap<Arc<str>, Assignment>,
    /// Who holds a partition, and so keeps others from it.
    owners: BTreeMap<(TopicId, i32), Arc<str>>,
    regexes: BTreeMap<Arc<str>, Resolved>,
    /// Whether an older broker's record of the topics stands in the log.
    pub(super) has_partition_metadata: bool,
    bytes: usize,
    /// How many members have all that they are meant to have.
    reconciled: usize,
    /// What is known of the cluster, and since when; not part of the log.
    pub(super) seen: Seen,
}

/// What a group looked at in the cluster. All are equal: it is not part of what a group is.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The cluster whose topics the group's hash was compared with.
    pub(super) cluster: Option<i64>,
    /// The cluster whose topics its expressions were held against, and when.
    pub(super) resolved: Option<(i64, Duration)>,
}

impl PartialEq for Seen {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl ConsumerGroup {
    /// A group that nobody knew.
    pub(in crate::group) fn new(id: Arc<str>) -> Self {
        Self { id, ..Self::default() }
    }

    /// Its id.
    pub(in crate::group) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its epoch.
    pub(in crate::group) fn epoch(&self) -> i32 {
        self.epoch.map_or(FIRST_EPOCH, |known| known.epoch)
    }

    /// Whether it was ever written, in an epoch that a member can be in.
    pub(super) fn has_begun(&self) -> bool {
        self.epoch.is_some_and(|known| known.epoch >= FIRST_EPOCH)
    }

    /// The hash of the topics that are subscribed to, as they were at the group's epoch.
    pub(super) fn metadata_hash(&self) -> i64 {
        self.epoch.map_or(0, |known| known.metadata_hash)
    }

    /// The epoch that partitions were last shared out for.
    pub(in crate::group) fn target_epoch(&self) -> i32 {
        self.target_epoch.map_or(FIRST_EPOCH, |known| known.epoch)
    }

    /// Where it stands.
    pub(in crate::group) fn state(&self) -> State {
        let epoch = self.target_epoch();
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch() > epoch {
            State::Assigning
        } else if self.reconciled == self.members.len() {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Its members by their ids.
    pub(in crate::group) fn members(&self) -> &BTreeMap<Arc<str>, Member> {
        &self.members
    }

    /// A member.
    pub(in crate::group) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// A static member by its own name for itself.
    pub(in crate::group) fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(self.by_instance.get(instance_id)?)
    }

    /// What all members are meant to have.
    pub(super) fn targets(&self) -> &BTreeMap<Arc<str>, Assignment> {
        &self.targets
    }

    /// What a member is meant to have. A static one is known by its name for itself.
    pub(in crate::group) fn target(&self, id: &str, instance_id: Option<&str>) -> Assignment {
        let known = instance_id.and_then(|name| self.by_instance.get(name));
        self.targets.get(known.map_or(id, |known| known)).cloned().unwrap_or_default()
    }

    /// Whether anybody holds a partition.
    pub(super) fn is_held(&self, topic: TopicId, partition: i32) -> bool {
        self.owners.contains_key(&(topic, partition))
    }

    /// The topics that its expressions stand for.
    pub(super) fn regexes(&self) -> &BTreeMap<Arc<str>, Resolved> {
        &self.regexes
    }

    /// Whether a topic is read by anybody.
    pub(in crate::group) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.regexes.values().any(|resolved| resolved.topics.contains(topic))
            || self.members.values().any(|member| member.facts.topics.contains(topic))
    }

    /// The assignor that most members want, of those that say so; the first by name if it is even.
    pub(in crate::group) fn preferred_assignor<'a>(
        members: impl Iterator<Item = &'a Member>,
    ) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        members.filter_map(|member| member.facts.assignor.as_ref()).for_each(|name| {
            *votes.entry(name).or_default() += 1;
        });
        votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| Arc::clone(name))
    }

    /// What it takes in memory, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        GROUP_BYTES + 2 * self.id.len() + self.bytes
    }

    /// What it takes in memory more, about, if it takes these records over.
    pub(super) fn growth(&self, records: &[ConsumerRecord]) -> usize {
        let (mut before, mut after) = (0, 0);
        for record in records {
            let (had, has) = match record {
                ConsumerRecord::Member(id, facts) => (
                    self.members.get(id).map_or(0, |known| known.facts.bytes(id)),
                    facts.as_ref().map_or(0, |facts| facts.bytes(id)),
                ),
                ConsumerRecord::Current(id, current) => (
                    self.members.get(id).map_or(0, |known| known.current.bytes()),
                    current.as_ref().map_or(0, Current::bytes),
                ),
                ConsumerRecord::Target(id, target) => {
                    (self.targets.get(id).map_or(0, target_bytes), target.as_ref().map_or(0, target_bytes))
                }
                ConsumerRecord::Regex(regex, resolved) => (
                    self.regexes.get(regex).map_or(0, resolved_bytes),
                    resolved.as_ref().map_or(0, resolved_bytes),
                ),
                _ => (0, 0),
            };
            (before, after) = (before + had, after + has);
        }
        after.saturating_sub(before)
    }

    /// All records that say what it is.
    pub(in crate::group) fn records(&self) -> Vec<ConsumerRecord> {
        let members = self.members.iter();
        let mut records: Vec<ConsumerRecord> = members
            .map(|(id, member)| ConsumerRecord::Member(Arc::clone(id), Some(member.facts.clone())))
            .collect();
        let regexes = self.regexes.iter();
        records.extend(regexes.map(|(regex, to)| ConsumerRecord::Regex(Arc::clone(regex), Some(to.clone()))));
        records.push(ConsumerRecord::Epoch(Some(GroupEpoch {
            epoch: self.epoch(),
            metadata_hash: self.metadata_hash(),
        })));
        let targets = self.targets.iter();
        records
            .extend(targets.map(|(id, target)| ConsumerRecord::Target(Arc::clone(id), Some(target.clone()))));
        records.extend(self.target_epoch.map(|target| ConsumerRecord::TargetEpoch(Some(target))));
        let members = self.members.iter();
        records.extend(
            members.map(|(id, member)| ConsumerRecord::Current(Arc::clone(id), Some(member.current.clone()))),
        );
        records
    }

    /// How many those are.
    pub(in crate::group) fn record_count(&self) -> usize {
        2 * self.members.len() + self.targets.len() + self.regexes.len() + 2
    }

    /// The records that take it away, in Kafka's order.
    pub(in crate::group) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let ids = || self.members.keys().cloned();
        let mut records: Vec<ConsumerRecord> = ids().map(|id| ConsumerRecord::Current(id, None)).collect();
        records.extend(self.targets.keys().cloned().map(|id| ConsumerRecord::Target(id, None)));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(ids().map(|id| ConsumerRecord::Member(id, None)));
        records.extend(self.has_partition_metadata.then_some(ConsumerRecord::PartitionMetadata(None)));
        records.extend(self.regexes.keys().cloned().map(|regex| ConsumerRecord::Regex(regex, None)));
        records.push(ConsumerRecord::Epoch(None));
        records
    }

    /// Takes a record over. The one that takes the group away is not for it.
    pub(in crate::group) fn apply(&mut self, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(epoch) => self.epoch = epoch,
            ConsumerRecord::PartitionMetadata(known) => self.has_partition_metadata = known.is_some(),
            ConsumerRecord::TargetEpoch(target) => {
                self.target_epoch = target;
                self.reconciled = self.count_reconciled();
            }
            ConsumerRecord::Member(id, Some(facts)) => self.edit(&id, |member| member.facts = facts),
            ConsumerRecord::Member(id, None) => self.remove(&id),
            ConsumerRecord::Current(id, Some(current)) => self.edit(&id, |member| member.current = current),
            ConsumerRecord::Current(id, None) => {
                if self.members.contains_key(&id) {
                    self.edit(&id, |member| member.current = Current::gone());
                }
            }
            ConsumerRecord::Target(id, target) => {
                self.bytes += target.as_ref().map_or(0, target_bytes);
                let before = match target {
                    Some(target) => self.targets.insert(id, target),
                    None => self.targets.remove(&id),
                };
                self.bytes -= before.as_ref().map_or(0, target_bytes);
            }
            ConsumerRecord::Regex(regex, resolved) => {
                self.bytes += resolved.as_ref().map_or(0, resolved_bytes);
                let before = match resolved {
                    Some(resolved) => self.regexes.insert(regex, resolved),
                    None => self.regexes.remove(&regex),
                };
                self.bytes -= before.as_ref().map_or(0, resolved_bytes);
            }
        }
    }

    fn count_reconciled(&self) -> usize {
        let epoch = self.target_epoch();
        self.members.values().filter(|member| member.current.is_reconciled_to(epoch)).count()
    }

    /// Changes a member, who is made if there is none, and what depends on it.
    fn edit(&mut self, id: &Arc<str>, change: impl FnOnce(&mut Member)) {
        let before = self.members.get(id).cloned();
        self.remove(id);
        let mut member = before.unwrap_or_else(|| Member::new(Arc::clone(id)));
        change(&mut member);
        self.bytes += member.bytes();
        self.reconciled += usize::from(member.current.is_reconciled_to(self.target_epoch()));
        if let Some(instance_id) = &member.facts.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(id));
        }
        for held in member.current.held() {
            self.owners.insert(held, Arc::clone(id));
        }
        self.members.insert(Arc::clone(id), member);
    }

    /// Takes a member out. What it held may be another's already, if the log was compacted in between.
    fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.bytes -= member.bytes();
        self.reconciled -= usize::from(member.current.is_reconciled_to(self.target_epoch()));
        if let Some(instance_id) = &member.facts.instance_id
            && self.by_instance.get(instance_id).is_some_and(|known| **known == *id)
        {
            self.by_instance.remove(instance_id);
        }
        for held in member.current.held() {
            if self.owners.get(&held).is_some_and(|owner| **owner == *id) {
                self.owners.remove(&held);
            }
        }
    }

    /// The topics that members read together, as their subscriptions say with these expressions.
    pub(super) fn subscribed<'a>(
        members: impl Iterator<Item = &'a Member>,
        regexes: &BTreeMap<Arc<str>, Resolved>,
    ) -> BTreeSet<Arc<str>> {
        let mut all = BTreeSet::new();
        for member in members {
            all.extend(member.facts.topics.iter().cloned());
            all.extend(
                regexes.get(&member.facts.regex).iter().flat_map(|resolved| resolved.topics.iter().cloned()),
            );
        }
        all
    }
}

#[cfg(test)]
impl ConsumerGroup {
    /// Checks that its parts agree.
    pub(in crate::group) fn check(&self) {
        let members: usize = self.members.values().map(Member::bytes).sum();
        let targets: usize = self.targets.values().map(target_bytes).sum();
        let regexes: usize = self.regexes.values().map(resolved_bytes).sum();
        assert_eq!(self.bytes, members + targets + regexes);
        assert_eq!(self.reconciled, self.count_reconciled());
        let mut owners = BTreeMap::new();
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            for held in member.current.held() {
                let other = owners.insert(held, Arc::clone(id));
                assert_eq!(other, None, "{held:?} has two owners");
            }
            let epochs = member.current.assigned.values().flat_map(BTreeMap::values);
            assert!(epochs.into_iter().all(|epoch| *epoch <= self.epoch()));
        }
        assert_eq!(self.owners, owners);
        let mut targeted = BTreeSet::new();
        for (topic, partitions) in self.targets.values().flatten() {
            for partition in partitions {
                assert!(targeted.insert((*topic, *partition)), "{partition} is meant for two");
            }
        }
        assert!(self.target_epoch() <= self.epoch());
        assert!(self.members.values().all(|member| member.current.epoch <= self.epoch()));
        assert!(self.targets.keys().all(|id| self.members.contains_key(id)));
        let named = self
            .members
            .values()
            .filter_map(|member| Some((member.facts.instance_id.clone()?, Arc::clone(&member.id))));
        assert_eq!(self.by_instance, named.collect());
    }
}

fn target_bytes(target: &Assignment) -> usize {
    128 + target.values().map(|partitions| 64 + TARGET_BYTES * partitions.len()).sum::<usize>()
}

fn resolved_bytes(resolved: &Resolved) -> usize {
    256 + resolved.topics.iter().map(|topic| TOPIC_BYTES + topic.len()).sum::<usize>()
}
