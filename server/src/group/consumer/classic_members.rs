//! Members that speak the classic protocol in a group of the new one (`classicGroupJoinToConsumerGroup` and what belongs to
//! it). Joining is what a heartbeat is to others, the generation is the member's epoch, and nobody leads: each is told what
//! it is given when it asks.
//!
//! A member that has to join again is told so by its heartbeat, and has its rebalance timeout for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmain_protocol::ErrorCode;

use super::super::classic::{
    JoinAnswer, JoinRequest, Joined, LeaveRequest, Left, MemberRef, SyncRequest, Synced, duration_ms,
};
use super::super::coordinator::Coordinator;
use super::super::embedded;
use super::super::record::Record;
use super::super::timers::TimerKey;
use super::super::turn::Turn;
use super::convert::{Coming, named, numbered};
use super::group::{ConsumerGroup, Seen};
use super::member::{Assignment, ClassicFacts, Current, Member, MemberState};
use super::plan::Plan;
use super::record::ConsumerRecord;

/// The type of groups whose members are consumers.
const CONSUMER: &str = "consumer";

/// What joining comes to, before it is written.
struct Outcome {
    records: Vec<ConsumerRecord>,
    seen: Seen,
    after: Member,
    /// Whether everyone has what it is meant to have, if the group goes back to the classic protocol with it.
    is_settled: bool,
}

impl Coordinator {
    /// Joins a group of the new protocol.
    pub(in crate::group) fn join_consumers(
        &mut self,
        request: &JoinRequest,
        turn: &mut Turn<'_>,
    ) -> JoinAnswer {
        let id = match &*request.member_id {
            "" => Arc::from((turn.random_uuid)()),
            _ => Arc::clone(&request.member_id),
        };
        match self.try_join(request, &id, turn) {
            Ok(joined) => JoinAnswer { member_id: id, result: Ok(joined) },
            Err(code) => {
                let is_told = code == ErrorCode::MemberIdRequired;
                JoinAnswer {
                    member_id: if is_told { id } else { Arc::clone(&request.member_id) },
                    result: Err(code),
                }
            }
        }
    }

    fn try_join(
        &mut self,
        request: &JoinRequest,
        id: &Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<Joined, ErrorCode> {
        let group_id = &request.group_id;
        let group = self.consumers.get(group_id).ok_or(ErrorCode::UnknownMemberId)?;
        check_join(group, request, id, turn)?;
        let replaced = request.instance_id.as_deref().and_then(|name| group.static_member(name));
        let replaced = replaced.filter(|_| request.member_id.is_empty()).map(|known| Arc::clone(&known.id));
        if let Some(replaced) = replaced {
            let gone = BTreeSet::from([replaced]);
            if self.downgrades_without(group_id, &gone, true, turn) {
                let (generation_id, outcome) = (group.epoch(), next(group, request, (id, true), turn)?);
                let coming = Coming { member: &outcome.after, is_settled: outcome.is_settled };
                if self.downgrade(group_id, &gone, Some(&coming), turn)? {
                    return Ok(joined(request, generation_id));
                }
            }
        }
        let group = self.consumers.get(group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let outcome = next(group, request, (id, false), turn)?;
        let of_group = |record| Record::Consumer(Arc::clone(group_id), record);
        self.write(outcome.records.into_iter().map(of_group).collect(), turn)?;
        if let Some(group) = self.consumers.get_mut(group_id) {
            group.seen = outcome.seen;
        }
        self.watch_classic(group_id, request, id, turn);
        Ok(joined(request, outcome.after.current.epoch))
    }

    fn watch_classic(&mut self, group_id: &Arc<str>, request: &JoinRequest, id: &Arc<str>, turn: &Turn<'_>) {
        let (group, member) = (|| Arc::clone(group_id), || Arc::clone(id));
        self.timers.cancel(&TimerKey::ClassicJoin(group(), member()));
        self.timers.cancel(&TimerKey::Revoke(group(), member()));
        let session = turn.now + duration_ms(request.session_timeout_ms);
        self.timers.set(TimerKey::Session(group(), member()), session);
        let sync = turn.now + duration_ms(request.rebalance_timeout_ms);
        self.timers.set(TimerKey::ClassicSync(group(), member()), sync);
    }

    /// Tells a member what it is given.
    pub(in crate::group) fn sync_consumers(
        &mut self,
        request: &SyncRequest,
        turn: &mut Turn<'_>,
    ) -> Result<Synced, ErrorCode> {
        let member_ref = &request.member;
        let group = self.consumers.get(&member_ref.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let (member, classic) = classic_member(group, member_ref)?;
        let first = classic.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let differs =
            |said: &Option<Arc<str>>, known: &str| said.as_ref().is_some_and(|said| **said != *known);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol_name, &first.name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let version = embedded::subscription(first.metadata.clone()).map_or(0, |said| said.version);
        let given = named(&member.current.assignment(), turn.cluster);
        let session = duration_ms(classic.session_timeout_ms);
        let rejoin = duration_ms(member.facts.rebalance_timeout_ms);
        let is_behind =
            group.epoch() > member.current.epoch && member.current.state != MemberState::Unrevoked;
        if is_behind {
            self.expect_join(member_ref, rejoin, turn);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let (group, member) = (|| Arc::clone(&member_ref.group_id), || Arc::clone(&member_ref.member_id));
        self.timers.cancel(&TimerKey::ClassicSync(group(), member()));
        self.timers.set(TimerKey::Session(group(), member()), turn.now + session);
        Ok(Synced {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: embedded::assignment_bytes(version, &given),
        })
    }

    /// A member says that it is there, and is told whether it has to join again.
    pub(in crate::group) fn heartbeat_consumers(
        &mut self,
        member_ref: &MemberRef,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let group = self.consumers.get(&member_ref.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let (member, classic) = classic_member(group, member_ref)?;
        let has_to_join = member.current.epoch < group.epoch()
            || member.current.state == MemberState::Unrevoked
            || (member.current.state == MemberState::Unreleased && !waits(group, member));
        let session = duration_ms(classic.session_timeout_ms);
        let rejoin = duration_ms(member.facts.rebalance_timeout_ms);
        let key = TimerKey::Session(Arc::clone(&member_ref.group_id), Arc::clone(&member_ref.member_id));
        self.timers.set(key, turn.now + session);
        if has_to_join {
            self.expect_join(member_ref, rejoin, turn);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn expect_join(&mut self, member: &MemberRef, within: std::time::Duration, turn: &Turn<'_>) {
        let key = TimerKey::ClassicJoin(Arc::clone(&member.group_id), Arc::clone(&member.member_id));
        self.timers.set_if_absent(key, turn.now + within);
    }

    /// Members leave, or are made to, whatever they speak; what became of each.
    pub(in crate::group) fn leave_consumers(
        &mut self,
        request: &LeaveRequest,
        turn: &mut Turn<'_>,
    ) -> Result<Left, ErrorCode> {
        let group = self.consumers.get(&request.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let mut gone = BTreeSet::new();
        let leave = |(id, name): &(Arc<str>, Option<Arc<str>>)| {
            let member = match name {
                None => group.member(id),
                Some(name) => group.static_member(name),
            };
            let member = member.ok_or(ErrorCode::UnknownMemberId)?;
            if !id.is_empty() && member.id != *id {
                return Err(ErrorCode::FencedInstanceId);
            }
            gone.insert(Arc::clone(&member.id));
            Ok(())
        };
        let left: Left = request.members.iter().map(leave).collect();
        if !gone.is_empty() {
            self.fence(&request.group_id, &gone, turn)?;
        }
        Ok(left)
    }
}

/// What a member is told that joined: nobody leads.
fn joined(request: &JoinRequest, generation_id: i32) -> Joined {
    Joined {
        generation_id,
        protocol_type: Some(Arc::from(CONSUMER)),
        protocol_name: request.protocols.first().map(|first| Arc::clone(&first.name)),
        leader: Arc::default(),
        skip_assignment: false,
        members: Vec::new(),
    }
}

/// What joining comes to, in a group that stays what it is or `goes_back` to the classic protocol.
fn next(
    group: &ConsumerGroup,
    request: &JoinRequest,
    (id, goes_back): (&Arc<str>, bool),
    turn: &Turn<'_>,
) -> Result<Outcome, ErrorCode> {
    let first = request.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
    let said = embedded::subscription(first.metadata.clone()).ok_or(ErrorCode::UnknownServerError)?;
    let mut plan = Plan::new(group, turn);
    let before = joining_member(&mut plan, group, request, id)?;
    let mut after = before.clone();
    let facts = &mut after.facts;
    facts.instance_id = request.instance_id.clone().or(facts.instance_id.take());
    facts.rack_id = said.rack_id.clone().or(facts.rack_id.take());
    facts.rebalance_timeout_ms = request.rebalance_timeout_ms;
    facts.topics.clone_from(&said.topics);
    facts.regex = Arc::default();
    facts.client_id = Arc::clone(&request.client_id);
    facts.client_host = Arc::clone(&request.client_host);
    facts.classic = Some(ClassicFacts {
        session_timeout_ms: request.session_timeout_ms,
        protocols: request.protocols.clone(),
    });
    let has_changed = plan.resubscribe(&before, &after)?;
    let mut owned = Assignment::new();
    for (topic, partition) in numbered(&said.owned, turn.cluster) {
        owned.entry(topic).or_default().insert(partition);
    }
    let is_settled = plan.is_settled_without(&after);
    let (epoch, target) = if goes_back {
        // The group's last sharing stays; who leads shares out anew if it has to.
        (group.target_epoch(), group.target(id, request.instance_id.as_deref()))
    } else {
        plan.retarget(&after)
    };
    if !goes_back || is_settled {
        after.current = plan.reconcile(&after, (epoch, &target), has_changed, Some(&owned))?;
    } else {
        // It has nothing yet, whatever the one in whose place it comes had.
        after.current = Current::default();
    }
    let Plan { records, seen, .. } = plan;
    if before.facts != after.facts && turn.bytes_left < group.growth(&records) {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    Ok(Outcome { records, seen, after, is_settled })
}

fn joining_member(
    plan: &mut Plan<'_, '_>,
    group: &ConsumerGroup,
    request: &JoinRequest,
    id: &Arc<str>,
) -> Result<Member, ErrorCode> {
    let known = || group.member(id).cloned().unwrap_or_else(|| Member::new(Arc::clone(id)));
    let Some(name) = &request.instance_id else { return Ok(known()) };
    match group.static_member(name) {
        None if request.member_id.is_empty() => Ok(known()),
        None => Err(ErrorCode::UnknownMemberId),
        Some(member) if request.member_id.is_empty() => {
            let current = Current { epoch: 0, previous_epoch: 0, ..member.current.clone() };
            let back = Member { id: Arc::clone(id), facts: member.facts.clone(), current };
            plan.replace(member, &back);
            Ok(back)
        }
        Some(member) if member.id == *id => Ok(member.clone()),
        Some(_) => Err(ErrorCode::FencedInstanceId),
    }
}

fn check_join(
    group: &ConsumerGroup,
    request: &JoinRequest,
    id: &Arc<str>,
    turn: &Turn<'_>,
) -> Result<(), ErrorCode> {
    let is_member = group.member(id).is_some();
    if !is_member && group.members().len() >= turn.settings.consumer.members_max {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    let classic = || group.members().values().filter_map(|member| member.facts.classic.as_ref());
    let is_common =
        |name: &Arc<str>| classic().all(|it| it.protocols.iter().any(|known| known.name == *name));
    if *request.protocol_type != *CONSUMER || !request.protocols.iter().any(|known| is_common(&known.name)) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if request.member_id.is_empty() && request.instance_id.is_none() && request.needs_known_id {
        return Err(ErrorCode::MemberIdRequired);
    }
    if !is_member && turn.bytes_left < request.bytes() {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    Ok(())
}

/// A member that speaks the classic protocol, in the epoch it says.
fn classic_member<'a>(
    group: &'a ConsumerGroup,
    asked: &MemberRef,
) -> Result<(&'a Member, &'a ClassicFacts), ErrorCode> {
    let member = match &asked.instance_id {
        None => group.member(&asked.member_id).ok_or(ErrorCode::UnknownMemberId)?,
        Some(name) => {
            let member = group.static_member(name).ok_or(ErrorCode::UnknownMemberId)?;
            if member.id != asked.member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
            member
        }
    };
    let classic = member.facts.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
    if member.current.epoch != asked.generation_id {
        return Err(ErrorCode::IllegalGeneration);
    }
    Ok((member, classic))
}

/// Whether others still hold something that a member is meant to have: joining again would not help it.
fn waits(group: &ConsumerGroup, member: &Member) -> bool {
    let target = group.target(&member.id, None);
    target.iter().any(|(topic, partitions)| {
        let own = member.current.assigned.get(topic);
        partitions.iter().any(|partition| {
            !own.is_some_and(|own| own.contains_key(partition)) && group.is_held(*topic, *partition)
        })
    })
}
