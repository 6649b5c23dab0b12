//! A member of a group of KIP-848 is there (`GroupMetadataManager.consumerGroupHeartbeat`): it joins, goes on or leaves.
//!
//! Order of checks: what it says fits together → the assignor → the group → there is room → who it is → its epoch → its
//! expression.

use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;

use super::super::classic::duration_ms;
use super::super::coordinator::Coordinator;
use super::super::record::Record;
use super::super::timers::TimerKey;
use super::super::turn::Turn;
use super::asks::{Beat, Beaten};
use super::assignor::Assignor;
use super::group::{ConsumerGroup, Seen};
use super::member::{Assignment, Current, LEAVING_FOR_A_WHILE, Member, Owned};
use super::plan::Plan;
use super::record::ConsumerRecord;

/// What a beat comes to, before it is written.
struct Outcome {
    records: Vec<ConsumerRecord>,
    seen: Seen,
    before: Current,
    after: Member,
}

impl Coordinator {
    /// A member is there.
    pub fn beat(&mut self, beat: &Beat, turn: &mut Turn<'_>) -> Result<Beaten, ErrorCode> {
        check(beat, turn)?;
        if beat.leaves() {
            return self.leave_by_beat(beat, turn);
        }
        let id = match &*beat.member_id {
            "" => Arc::from((turn.random_uuid)()),
            _ => Arc::clone(&beat.member_id),
        };
        let (made, mut records) = self.start_consumer_group(&beat.group_id, beat.joins(), turn)?;
        let group = made.as_ref().or_else(|| self.consumers.get(&beat.group_id));
        let group = group.ok_or(ErrorCode::GroupIdNotFound)?;
        let outcome = next(group, beat, &id, turn)?;
        if made.is_some() {
            self.release_classic(&beat.group_id);
        }
        let of_group = |record| Record::Consumer(Arc::clone(&beat.group_id), record);
        records.extend(outcome.records.into_iter().map(of_group));
        self.write(records, turn)?;
        if made.is_some() {
            self.watch_members(&beat.group_id, turn);
        }
        let (group_id, before, after) = (&beat.group_id, outcome.before, outcome.after);
        if let Some(group) = self.consumers.get_mut(group_id) {
            group.seen = outcome.seen;
        }
        let timeout = turn.settings.consumer.session_timeout(turn.cluster, group_id);
        self.timers.set(TimerKey::Session(Arc::clone(group_id), Arc::clone(&after.id)), turn.now + timeout);
        if before != after.current {
            self.watch_revoking(group_id, &after, turn);
        }
        let is_told = beat.is_full() || is_other(&before.assigned, &after.current.assigned);
        Ok(Beaten {
            member_id: Arc::clone(&after.id),
            member_epoch: after.current.epoch,
            heartbeat_interval_ms: turn.settings.consumer.heartbeat_interval_ms(turn.cluster, group_id),
            assignment: is_told.then(|| after.current.assignment()),
        })
    }

    /// Sees to it that a member gives up in time what it has to, or is given up.
    pub(in crate::group) fn watch_revoking(&mut self, group_id: &Arc<str>, member: &Member, turn: &Turn<'_>) {
        let key = TimerKey::Revoke(Arc::clone(group_id), Arc::clone(&member.id));
        if member.is_revoking() {
            self.timers.set(key, turn.now + duration_ms(member.facts.rebalance_timeout_ms));
        } else {
            self.timers.cancel(&key);
        }
    }

    /// Members have to be heard of from now on.
    pub(in crate::group) fn watch_members(&mut self, group_id: &Arc<str>, turn: &Turn<'_>) {
        let Some(group) = self.consumers.get(group_id) else { return };
        let members: Vec<Member> = group.members().values().cloned().collect();
        for member in members {
            let timeout = session_timeout(&member, group_id, turn);
            let key = TimerKey::Session(Arc::clone(group_id), Arc::clone(&member.id));
            self.timers.set(key, turn.now + timeout);
            self.watch_revoking(group_id, &member, turn);
        }
    }
}

/// How long a member may be silent.
pub(in crate::group) fn session_timeout(member: &Member, group_id: &str, turn: &Turn<'_>) -> Duration {
    match &member.facts.classic {
        Some(classic) => duration_ms(classic.session_timeout_ms),
        None => turn.settings.consumer.session_timeout(turn.cluster, group_id),
    }
}

/// What a beat of a member that does not leave comes to.
fn next(group: &ConsumerGroup, beat: &Beat, id: &Arc<str>, turn: &Turn<'_>) -> Result<Outcome, ErrorCode> {
    let is_member = group.member(id).is_some();
    if !is_member && group.members().len() >= turn.settings.consumer.members_max {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    if !is_member && beat.joins() && turn.bytes_left < beat.bytes() {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    let mut plan = Plan::new(group, turn);
    let before = match &beat.instance_id {
        None => dynamic_member(group, beat, id)?,
        Some(name) => static_member(&mut plan, group, beat, (id, name))?,
    };
    let after = updated(&before, beat);
    let has_changed = plan.resubscribe(&before, &after)?;
    let (epoch, target) = plan.retarget(&after);
    let current = plan.reconcile(&after, (epoch, &target), has_changed, beat.owned.as_ref())?;
    let Plan { records, seen, .. } = plan;
    // Who goes on as before is no reason that a group grows.
    if before.facts != after.facts && turn.bytes_left < group.growth(&records) {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    Ok(Outcome { records, seen, before: before.current, after: Member { current, ..after } })
}

fn dynamic_member(group: &ConsumerGroup, beat: &Beat, id: &Arc<str>) -> Result<Member, ErrorCode> {
    let member = match group.member(id) {
        Some(member) => member.clone(),
        None if beat.joins() => Member::new(Arc::clone(id)),
        None => return Err(ErrorCode::UnknownMemberId),
    };
    check_epoch(&member, beat)?;
    Ok(member)
}

fn static_member(
    plan: &mut Plan<'_, '_>,
    group: &ConsumerGroup,
    beat: &Beat,
    (id, name): (&Arc<str>, &Arc<str>),
) -> Result<Member, ErrorCode> {
    let known = group.static_member(name);
    if !beat.joins() {
        let known = known.ok_or(ErrorCode::UnknownMemberId)?;
        if known.id != *id {
            return Err(ErrorCode::FencedInstanceId);
        }
        check_epoch(known, beat)?;
        return Ok(known.clone());
    }
    let Some(known) = known else {
        return Ok(group.member(id).cloned().unwrap_or_else(|| Member::new(Arc::clone(id))));
    };
    if known.facts.classic.is_none() && known.current.epoch != LEAVING_FOR_A_WHILE {
        return Err(ErrorCode::UnreleasedInstanceId);
    }
    let current = Current { epoch: 0, previous_epoch: 0, ..known.current.clone() };
    let back = Member { id: Arc::clone(id), facts: known.facts.clone(), current };
    plan.replace(known, &back);
    Ok(back)
}

/// A member may be one epoch behind if the answer was lost that would have told it, and it has nothing that it should not.
fn check_epoch(member: &Member, beat: &Beat) -> Result<(), ErrorCode> {
    let current = &member.current;
    if beat.member_epoch == current.epoch {
        return Ok(());
    }
    let is_behind = beat.member_epoch < current.epoch && beat.member_epoch == current.previous_epoch;
    if is_behind && beat.owned.as_ref().is_some_and(|owned| is_within(owned, &current.assigned)) {
        return Ok(());
    }
    Err(ErrorCode::FencedMemberEpoch)
}

fn is_within(owned: &Assignment, assigned: &Owned) -> bool {
    owned.iter().all(|(topic, partitions)| {
        assigned.get(topic).is_some_and(|all| partitions.iter().all(|partition| all.contains_key(partition)))
    })
}

fn is_other(before: &Owned, after: &Owned) -> bool {
    before.len() != after.len()
        || before.iter().zip(after).any(|((topic, had), (other, has))| {
            topic != other || had.len() != has.len() || had.keys().ne(has.keys())
        })
}

/// The member as it says it is; what it does not say is as it was.
fn updated(before: &Member, beat: &Beat) -> Member {
    let mut after = before.clone();
    let facts = &mut after.facts;
    let said = |said: &Option<Arc<str>>, known: &Option<Arc<str>>| said.as_ref().or(known.as_ref()).cloned();
    facts.instance_id = said(&beat.instance_id, &facts.instance_id);
    facts.rack_id = said(&beat.rack_id, &facts.rack_id);
    facts.assignor = said(&beat.assignor, &facts.assignor);
    if let Some(timeout) = beat.rebalance_timeout_ms {
        facts.rebalance_timeout_ms = timeout;
    }
    if let Some(topics) = &beat.topics {
        facts.topics.clone_from(topics);
    }
    if let Some(regex) = &beat.regex {
        facts.regex = Arc::clone(regex);
    }
    facts.client_id = Arc::clone(&beat.client_id);
    facts.client_host = Arc::clone(&beat.client_host);
    facts.classic = None;
    after
}

/// Whether what a member says fits together (`throwIfConsumerGroupHeartbeatRequestIsInvalid`).
fn check(beat: &Beat, turn: &Turn<'_>) -> Result<(), ErrorCode> {
    let is_blank = |text: &Option<Arc<str>>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let has_no_id = beat.member_id.trim().is_empty();
    let is_wrong = beat.group_id.trim().is_empty()
        || is_blank(&beat.instance_id)
        || is_blank(&beat.rack_id)
        || (has_no_id && (beat.makes_own_id || !beat.joins()))
        || beat.member_epoch < LEAVING_FOR_A_WHILE
        || (beat.member_epoch == LEAVING_FOR_A_WHILE && beat.instance_id.is_none())
        || (beat.joins()
            && (beat.rebalance_timeout_ms.is_none()
                || beat.owned.as_ref().is_none_or(|owned| !owned.is_empty())
                || (beat.topics.is_none() && beat.regex.is_none())));
    if is_wrong {
        return Err(ErrorCode::InvalidRequest);
    }
    let known = |name: &Arc<str>| {
        Assignor::by_name(name).is_some_and(|assignor| turn.settings.consumer.assignors.contains(&assignor))
    };
    if beat.assignor.as_ref().is_some_and(|name| !known(name)) {
        return Err(ErrorCode::UnsupportedAssignor);
    }
    Ok(())
}
