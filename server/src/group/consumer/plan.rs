//! What a member's word changes, as records: its subscription, the group's epoch, what everyone is meant to have, and
//! where the member stands (`GroupMetadataManager.consumerGroupHeartbeat`). The group stays as it is until they are
//! written.
//!
//! Expressions are held against the topics at once, where Apache does it a little later: one epoch less for everybody.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::TopicId;

use super::super::cluster::Cluster;
use super::super::turn::Turn;
use super::assignor::{Assignor, Candidate};
use super::group::{ConsumerGroup, Seen};
use super::member::{Assignment, Current, Member};
use super::pattern::Pattern;
use super::reconcile::{self, Aim};
use super::record::{ConsumerRecord, GroupEpoch, Resolved, TargetEpoch};

/// How long after expressions were held against topics it is done again because of others' topics
/// (`REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
const RESOLVE_INTERVAL: Duration = Duration::from_secs(10);

/// Different expressions of one group. All of them are held against all topics at once, and members of a group read the same
/// but for a while.
const REGEXES_MAX: usize = 64;

/// Records in the making.
pub(super) struct Plan<'a, 't> {
    group: &'a ConsumerGroup,
    turn: &'a Turn<'t>,
    regexes: Cow<'a, BTreeMap<Arc<str>, Resolved>>,
    epoch: i32,
    /// Those so far.
    pub(super) records: Vec<ConsumerRecord>,
    /// What was looked at; it holds once the records are written.
    pub(super) seen: Seen,
}

impl<'a, 't> Plan<'a, 't> {
    /// Nothing yet.
    pub(super) fn new(group: &'a ConsumerGroup, turn: &'a Turn<'t>) -> Self {
        let (regexes, seen) = (Cow::Borrowed(group.regexes()), group.seen.clone());
        Self { group, turn, regexes, epoch: group.epoch(), records: Vec::new(), seen }
    }

    /// A static member comes back under another id.
    pub(super) fn replace(&mut self, old: &Member, new: &Member) {
        self.remove(&old.id);
        let target = self.group.target(&old.id, None);
        self.records.push(ConsumerRecord::Member(Arc::clone(&new.id), Some(new.facts.clone())));
        self.records.push(ConsumerRecord::Target(Arc::clone(&new.id), Some(target)));
        self.records.push(ConsumerRecord::Current(Arc::clone(&new.id), Some(new.current.clone())));
    }

    fn remove(&mut self, id: &Arc<str>) {
        self.records.push(ConsumerRecord::Current(Arc::clone(id), None));
        self.records.push(ConsumerRecord::Target(Arc::clone(id), None));
        self.records.push(ConsumerRecord::Member(Arc::clone(id), None));
    }

    /// Members go: the others get what they had with the next word of any of them.
    pub(super) fn remove_all(&mut self, ids: &BTreeSet<Arc<str>>) {
        ids.iter().for_each(|id| self.remove(id));
        let left = || self.group.members().values().filter(|member| !ids.contains(&member.id));
        let unused: Vec<Arc<str>> = self
            .regexes
            .keys()
            .filter(|regex| !left().any(|member| member.facts.regex == **regex))
            .cloned()
            .collect();
        for regex in unused {
            self.regexes.to_mut().remove(&regex);
            self.records.push(ConsumerRecord::Regex(regex, None));
        }
        let names = ConsumerGroup::subscribed(left(), &self.regexes);
        let hash = metadata_hash(&names, self.turn.cluster);
        self.bump(hash);
    }

    /// A member says what it reads. True if that is something else than before.
    pub(super) fn resubscribe(&mut self, before: &Member, after: &Member) -> Result<bool, ErrorCode> {
        if before.facts != after.facts {
            self.records.push(ConsumerRecord::Member(Arc::clone(&after.id), Some(after.facts.clone())));
        }
        let has_new_names = before.facts.topics != after.facts.topics;
        let has_new_regex = before.facts.regex != after.facts.regex;
        if has_new_regex {
            self.change_regex(before, after)?;
        }
        let has_new_topics = self.resolve_again();
        let has_changed = has_new_names || has_new_regex;
        let version = self.turn.cluster.version();
        let mut bumps = !self.group.has_begun() || has_changed || has_new_topics;
        if bumps || self.seen.cluster != Some(version) {
            let names = ConsumerGroup::subscribed(self.everyone(after), &self.regexes);
            let hash = metadata_hash(&names, self.turn.cluster);
            bumps |= hash != self.group.metadata_hash();
            if bumps {
                self.bump(hash);
            }
            self.seen.cluster = Some(version);
        }
        Ok(has_changed)
    }

    /// The group's next epoch.
    fn bump(&mut self, metadata_hash: i64) {
        // What a log says may be the last there is.
        self.epoch = self.epoch.saturating_add(1);
        let (id, epoch) = (self.group.id(), self.epoch);
        tracing::debug!(group = %id, epoch, "a group goes over into an epoch");
        self.records.push(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
        if self.group.has_partition_metadata {
            self.records.push(ConsumerRecord::PartitionMetadata(None));
        }
    }

    fn change_regex(&mut self, before: &Member, after: &Member) -> Result<(), ErrorCode> {
        let (old, new) = (&before.facts.regex, &after.facts.regex);
        let is_used = |regex: &Arc<str>| self.others(after).any(|member| member.facts.regex == *regex);
        if !old.is_empty() && !is_used(old) {
            self.regexes.to_mut().remove(old);
            self.records.push(ConsumerRecord::Regex(Arc::clone(old), None));
        }
        if !new.is_empty() && !self.regexes.contains_key(new) {
            if self.regexes.len() >= REGEXES_MAX {
                return Err(ErrorCode::GroupMaxSizeReached);
            }
            let pattern = Pattern::new(new).map_err(|_| ErrorCode::InvalidRegularExpression)?;
            self.resolve(new, &pattern);
        }
        Ok(())
    }

    fn resolve(&mut self, regex: &Arc<str>, pattern: &Pattern) {
        let resolved = Resolved {
            topics: pattern.topics(self.turn.cluster),
            version: self.turn.cluster.version(),
            timestamp: self.turn.wall_clock.0,
        };
        self.records.push(ConsumerRecord::Regex(Arc::clone(regex), Some(resolved.clone())));
        self.regexes.to_mut().insert(Arc::clone(regex), resolved);
    }

    /// Holds expressions against topics that came or went since. True if any stands for others now.
    fn resolve_again(&mut self) -> bool {
        let (version, now) = (self.turn.cluster.version(), self.turn.now);
        let is_due = match self.seen.resolved {
            None => true,
            Some((seen, at)) => seen != version && now >= at + RESOLVE_INTERVAL,
        };
        if !is_due || self.regexes.is_empty() {
            return false;
        }
        let mut has_changed = false;
        for (regex, before) in self.regexes.clone().iter() {
            // One that another broker took and that we cannot read stands for what it stood for.
            let Ok(pattern) = Pattern::new(regex) else { continue };
            if pattern.topics(self.turn.cluster) != before.topics {
                self.resolve(regex, &pattern);
                has_changed = true;
            }
        }
        self.seen.resolved = Some((version, now));
        has_changed
    }

    /// Shares partitions out anew if the group's epoch asks for it; the epoch that it was done for, and what the member is
    /// meant to have.
    pub(super) fn retarget(&mut self, after: &Member) -> (i32, Assignment) {
        let instance_id = after.facts.instance_id.as_deref();
        let before = self.group.target(&after.id, instance_id);
        if self.epoch <= self.group.target_epoch() {
            return (self.group.target_epoch(), before);
        }
        let preferred = ConsumerGroup::preferred_assignor(self.everyone(after));
        let preferred = preferred.and_then(|name| Assignor::by_name(&name));
        let assignor = preferred.unwrap_or_else(|| self.turn.settings.consumer.default_assignor());
        let subscribed: Vec<(&Member, BTreeSet<TopicId>)> =
            self.everyone(after).map(|member| (member, self.subscribed_ids(member))).collect();
        let mut topics = BTreeMap::new();
        for topic in subscribed.iter().flat_map(|(_, ids)| ids) {
            let facts = self.turn.cluster.topic_by_id(*topic);
            topics.insert(*topic, facts.map_or(0, |facts| facts.partitions));
        }
        let targets = self.group.targets();
        let candidates = subscribed.iter().map(|(member, subscribed)| {
            let known = if member.id == after.id { Some(&before) } else { targets.get(&member.id) };
            let instance_id = member.facts.instance_id.as_ref();
            (Arc::clone(&member.id), Candidate { instance_id, subscribed, before: known })
        });
        let shared = assignor.assign(&candidates.collect(), &topics);
        let mut own = Assignment::new();
        for (id, target) in shared {
            let is_own = id == after.id;
            let known = if is_own && instance_id.is_some_and(|name| self.group.static_member(name).is_some())
            {
                Some(&before)
            } else {
                targets.get(&id)
            };
            let is_new = known != Some(&target);
            if is_own {
                own.clone_from(&target);
            }
            if is_new {
                self.records.push(ConsumerRecord::Target(id, Some(target)));
            }
        }
        let target = TargetEpoch { epoch: self.epoch, timestamp: self.turn.wall_clock.0 };
        self.records.push(ConsumerRecord::TargetEpoch(Some(target)));
        self.turn.counters.consumer_rebalances.add(1);
        (self.epoch, own)
    }

    /// Whether all but this member have what they are meant to have, and nothing asks for another sharing.
    pub(super) fn is_settled_without(&self, after: &Member) -> bool {
        let epoch = self.group.target_epoch();
        self.epoch <= epoch && self.others(after).all(|member| member.current.is_reconciled_to(epoch))
    }

    /// Where the member stands next.
    pub(super) fn reconcile(
        &mut self,
        member: &Member,
        (epoch, target): (i32, &Assignment),
        has_new_subscription: bool,
        owned: Option<&Assignment>,
    ) -> Result<Current, ErrorCode> {
        if !has_new_subscription && member.current.is_reconciled_to(epoch) {
            return Ok(member.current.clone());
        }
        let subscribed = self.subscribed_ids(member);
        let aim =
            Aim { group: self.group, epoch, target, subscribed: &subscribed, has_new_subscription, owned };
        let current = reconcile::next(member, &aim).map_err(|_| ErrorCode::FencedMemberEpoch)?;
        if current != member.current {
            self.records.push(ConsumerRecord::Current(Arc::clone(&member.id), Some(current.clone())));
        }
        Ok(current)
    }

    /// All members but one, and but the one in whose place it comes.
    fn others(&self, after: &Member) -> impl Iterator<Item = &'a Member> + use<'a> {
        let (id, name) = (Arc::clone(&after.id), after.facts.instance_id.clone());
        self.group
            .members()
            .values()
            .filter(move |member| member.id != id && (name.is_none() || member.facts.instance_id != name))
    }

    fn everyone<'b>(&self, after: &'b Member) -> impl Iterator<Item = &'b Member> + use<'a, 'b>
    where
        'a: 'b,
    {
        self.others(after).chain(std::iter::once(after))
    }

    /// The topics that a member reads and that are there.
    fn subscribed_ids(&self, member: &Member) -> BTreeSet<TopicId> {
        let resolved = self.regexes.get(&member.facts.regex);
        let names = member.facts.topics.iter().chain(resolved.iter().flat_map(|resolved| &resolved.topics));
        names.filter_map(|name| Some(self.turn.cluster.topic(name)?.id)).collect()
    }
}

/// A number that is another one when topics are others, have others' names or more partitions: FNV-1a over name, id and
/// number of partitions of each. 0 is no topic.
pub(super) fn metadata_hash(names: &BTreeSet<Arc<str>>, cluster: &dyn Cluster) -> i64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = START;
    for topic in names.iter().filter_map(|name| cluster.topic(name)) {
        let count = topic.partitions.to_be_bytes();
        let bytes = topic.name.as_bytes().iter().chain(&[0]).chain(&topic.id.0).chain(&count);
        hash = bytes.fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    }
    if hash == START { 0 } else { hash.cast_signed() }
}
