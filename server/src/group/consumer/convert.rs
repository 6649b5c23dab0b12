//! A live group goes over from one protocol to the other (`group.consumer.migration.policy`). Up, when the first member that
//! speaks the new one joins; down, when the last one leaves. Members that speak the classic protocol stay members on both
//! ways.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::TopicId;

use super::super::classic::{ClassicGroup, Member as ClassicMember, State as ClassicState};
use super::super::cluster::Cluster;
use super::super::coordinator::Coordinator;
use super::super::embedded;
use super::super::record::Record;
use super::super::turn::Turn;
use super::group::ConsumerGroup;
use super::member::{Assignment, ClassicFacts, Current, Facts, Member, Owned};
use super::record::{ConsumerRecord, GroupEpoch, TargetEpoch};

impl Coordinator {
    /// The group that a member of the new protocol asks for: `None` if it is there, else one that is yet to be written, with
    /// what has to be written before it. Only who joins makes one.
    pub(super) fn start_consumer_group(
        &self,
        id: &Arc<str>,
        may_make: bool,
        turn: &Turn<'_>,
    ) -> Result<(Option<ConsumerGroup>, Vec<Record>), ErrorCode> {
        if self.consumers.contains_key(id) {
            return Ok((None, Vec::new()));
        }
        if !may_make {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let Some(classic) = self.groups.get(id) else {
            return Ok((Some(ConsumerGroup::new(Arc::clone(id))), Vec::new()));
        };
        let mut records: Vec<Record> =
            classic.persisted.iter().map(|_| Record::Group(Arc::clone(id), None)).collect();
        if classic.state() == ClassicState::Empty {
            return Ok((Some(ConsumerGroup::new(Arc::clone(id))), records));
        }
        let settings = &turn.settings.consumer;
        let fits = classic.has_consumers() && classic.len() <= settings.members_max;
        if !settings.upgrades || !fits {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let group = upgraded(classic, turn).ok_or(ErrorCode::GroupIdNotFound)?;
        tracing::info!(group = %id, members = classic.len(), "a group goes over to the new protocol");
        let of_group = |record| Record::Consumer(Arc::clone(id), record);
        records.extend(group.records().into_iter().map(of_group));
        Ok((Some(group), records))
    }

    /// Whoever waits for a generation of a classic group is told to join again.
    pub(super) fn release_classic(&mut self, id: &Arc<str>) {
        if let Some(group) = self.groups.get_mut(id) {
            group.answer_all(ErrorCode::RebalanceInProgress);
        }
    }

    /// Whether a group goes back to the classic protocol when these members go, and one comes that speaks it or none: nobody
    /// else speaks the new one.
    pub(super) fn downgrades_without(
        &self,
        id: &str,
        gone: &BTreeSet<Arc<str>>,
        comes: bool,
        turn: &Turn<'_>,
    ) -> bool {
        let Some(group) = self.consumers.get(id) else { return false };
        let mut left = group.members().values().filter(|member| !gone.contains(&member.id));
        let count = group.members().len() - gone.len() + usize::from(comes);
        turn.settings.consumer.downgrades
            && (1..=turn.settings.members_max).contains(&count)
            && left.all(|member| member.facts.classic.is_some())
    }

    /// Makes a classic group of one whose members all speak that protocol, but for those that go. `coming` joins in the place
    /// of one of them. False if a classic group, which is one record, is more than the log takes: then the group stays what
    /// it is, as one that may not go back does.
    ///
    /// Its record says what members have, not what they are meant to have: if the group goes over again before the next
    /// generation begins, that is what others must not be given. That this generation has yet to begin is in the record too
    /// (nobody leads), since a broker that starts from it would take everyone for settled otherwise; Apache's does.
    pub(super) fn downgrade(
        &mut self,
        id: &Arc<str>,
        gone: &BTreeSet<Arc<str>>,
        coming: Option<&Coming<'_>>,
        turn: &mut Turn<'_>,
    ) -> Result<bool, ErrorCode> {
        let Some(group) = self.consumers.get(id) else { return Ok(true) };
        let staying = group.members().values().filter(|member| !gone.contains(&member.id));
        let staying = staying.map(|member| (member, member.current.held_assignment()));
        let is_settled = coming.is_some_and(|coming| coming.is_settled);
        let coming = coming.map(|coming| (coming.member, coming.member.current.held_assignment()));
        let mut classic = downgraded(group, staying.chain(coming), turn);
        if !is_settled {
            classic.expect_rebalance();
        }
        let value = classic.persisted.clone();
        let tombstones = group.tombstones().into_iter();
        let mut records: Vec<Record> =
            tombstones.map(|record| Record::Consumer(Arc::clone(id), record)).collect();
        records.push(Record::Group(Arc::clone(id), value));
        match self.write(records, turn) {
            Err(ErrorCode::UnknownServerError) => return Ok(false),
            written => written?,
        }
        tracing::info!(group = %id, members = classic.len(), "a group goes back to the classic protocol");
        // The record knows one protocol of each member, the members know more.
        let members: Vec<Arc<str>> = classic.members().map(|member| Arc::clone(&member.id)).collect();
        self.put_group(classic);
        self.step(id, turn, |step| {
            members.iter().for_each(|member| step.renew_session(member));
            if !is_settled {
                step.begin_rebalance();
            }
        });
        Ok(true)
    }
}

/// A static member that speaks the classic protocol and comes in the place of one that does not, or did not.
pub(super) struct Coming<'a> {
    /// The member.
    pub(super) member: &'a Member,
    /// Whether everyone has what it is meant to have, so that nobody has to be told.
    pub(super) is_settled: bool,
}

/// A classic group's members in a group of the new protocol: each has what it was given last, and what it said it had when it
/// joined last, since it may have to give that up yet (KIP-429). `None` if what they say cannot be read.
fn upgraded(classic: &ClassicGroup, turn: &Turn<'_>) -> Option<ConsumerGroup> {
    let mut group = ConsumerGroup::new(Arc::clone(classic.id()));
    let epoch = classic.generation_id();
    group.apply(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash: 0 })));
    group.apply(ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch, timestamp: turn.wall_clock.0 })));
    let mut taken = BTreeSet::new();
    let mut known = Vec::with_capacity(classic.len());
    for member in classic.members() {
        let name = classic.protocol_name();
        let said = name.and_then(|name| member.metadata(name));
        let said = said.or_else(|| member.protocols.first().map(|protocol| &protocol.metadata))?;
        let subscription = embedded::subscription(said.clone())?;
        let given = if member.assignment.is_empty() {
            Vec::new()
        } else {
            embedded::assignment(member.assignment.clone())?
        };
        let mut assigned = Owned::new();
        for (topic, partition) in numbered(&given, turn.cluster) {
            // A leader may give one partition to two: the second one loses it.
            if taken.insert((topic, partition)) {
                assigned.entry(topic).or_default().insert(partition, epoch);
            }
        }
        known.push((member, subscription, assigned));
    }
    for (member, subscription, mut assigned) in known {
        for (topic, partition) in numbered(&subscription.owned, turn.cluster) {
            if taken.insert((topic, partition)) {
                assigned.entry(topic).or_default().insert(partition, epoch);
            }
        }
        let facts = Facts {
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id,
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            topics: subscription.topics,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            classic: Some(ClassicFacts {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
            ..Facts::default()
        };
        let current = Current { epoch, previous_epoch: epoch, assigned, ..Current::default() };
        let id = || Arc::clone(&member.id);
        group.apply(ConsumerRecord::Member(id(), Some(facts)));
        group.apply(ConsumerRecord::Target(id(), Some(current.assignment())));
        group.apply(ConsumerRecord::Current(id(), Some(current)));
    }
    Some(group)
}

/// A classic group with these members, each with what it is given; it stands as if everyone had been told.
fn downgraded<'a>(
    group: &ConsumerGroup,
    members: impl Iterator<Item = (&'a Member, Assignment)>,
    turn: &Turn<'_>,
) -> ClassicGroup {
    let of = |(member, target): (&Member, Assignment)| {
        let classic = member.facts.classic.as_ref()?;
        let said = classic.protocols.first().and_then(|first| embedded::subscription(first.metadata.clone()));
        let version = said.map_or(0, |said| said.version);
        let mut known = ClassicMember::default();
        known.id = Arc::clone(&member.id);
        known.instance_id.clone_from(&member.facts.instance_id);
        known.client_id = Arc::clone(&member.facts.client_id);
        known.client_host = Arc::clone(&member.facts.client_host);
        known.rebalance_timeout_ms = member.facts.rebalance_timeout_ms;
        known.session_timeout_ms = classic.session_timeout_ms;
        known.protocols.clone_from(&classic.protocols);
        known.assignment = embedded::assignment_bytes(version, &named(&target, turn.cluster));
        Some(known)
    };
    ClassicGroup::stable(Arc::clone(group.id()), group.epoch(), members.filter_map(of), turn.wall_clock)
}

/// Partitions by their topics' ids; those that are not there are left out, whatever a leader says.
pub(super) fn numbered(named: &embedded::Named, cluster: &dyn Cluster) -> Vec<(TopicId, i32)> {
    let topics = named.iter().filter_map(|(name, partitions)| Some((cluster.topic(name)?, partitions)));
    topics
        .flat_map(|(topic, partitions)| {
            let there = partitions.iter().filter(move |partition| (0..topic.partitions).contains(*partition));
            there.map(move |partition| (topic.id, *partition))
        })
        .collect()
}

/// Partitions by their topics' names; those of topics that are not there are left out.
pub(super) fn named(target: &Assignment, cluster: &dyn Cluster) -> embedded::Named {
    let name = |(topic, partitions): (&TopicId, &BTreeSet<i32>)| {
        Some((cluster.topic_by_id(*topic)?.name, partitions.iter().copied().collect()))
    };
    target.iter().filter_map(name).collect()
}
