//! A member on its way to what it is meant to have (`CurrentAssignmentBuilder`): it gives up first, is in the new epoch
//! when it has, and takes over what nobody else holds any more. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ringmain_storage::types::TopicId;

use super::group::ConsumerGroup;
use super::member::{Assignment, Current, Member, MemberState, Owned};

/// What a step depends on.
pub(super) struct Aim<'a> {
    /// The group; it says what others hold.
    pub(super) group: &'a ConsumerGroup,
    /// The epoch that targets were made for.
    pub(super) epoch: i32,
    /// What the member is meant to have.
    pub(super) target: &'a Assignment,
    /// The topics that it reads and that are there.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// Whether that changed just now.
    pub(super) has_new_subscription: bool,
    /// What the member says it has, if it says so.
    pub(super) owned: Option<&'a Assignment>,
}

/// Where a member stands next.
pub(super) fn next(member: &Member, aim: &Aim<'_>) -> Result<Current, Fenced> {
    let current = &member.current;
    if !aim.has_new_subscription && current.is_reconciled_to(aim.epoch) {
        return Ok(current.clone());
    }
    match current.state {
        MemberState::Stable if current.epoch == aim.epoch => Ok(drop_unsubscribed(current, aim)),
        MemberState::Unrevoked if still_owns(&current.revoking, aim) => {
            Ok(if aim.has_new_subscription { drop_unsubscribed(current, aim) } else { current.clone() })
        }
        MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => Ok(advance(current, aim)),
        MemberState::Unknown(_) if aim.owned.is_some_and(BTreeMap::is_empty) => {
            Ok(advance(&Current { epoch: aim.epoch, ..current.clone() }, aim))
        }
        // It begins again, with nothing.
        MemberState::Unknown(_) => Err(Fenced),
    }
}

/// The member has to give everything up and join again.
#[derive(Debug)]
pub(super) struct Fenced;

/// Whether a member may still read what it has to give up: only it can say that it does not.
fn still_owns(revoking: &Owned, aim: &Aim<'_>) -> bool {
    let Some(owned) = aim.owned else { return true };
    owned.iter().any(|(topic, partitions)| {
        revoking.get(topic).is_some_and(|revoking| partitions.iter().any(|it| revoking.contains_key(it)))
    })
}

/// Takes topics away that are not read any more, and nothing else.
fn drop_unsubscribed(current: &Current, aim: &Aim<'_>) -> Current {
    let (kept, dropped): (Owned, Owned) =
        current.assigned.clone().into_iter().partition(|(topic, _)| aim.subscribed.contains(topic));
    if dropped.is_empty() {
        return current.clone();
    }
    let mut revoking = current.revoking.clone();
    for (topic, partitions) in dropped {
        revoking.entry(topic).or_default().extend(partitions);
    }
    let (state, revoking) = if still_owns(&revoking, aim) {
        (MemberState::Unrevoked, revoking)
    } else {
        (current.state, current.revoking.clone())
    };
    Current { previous_epoch: current.epoch, state, assigned: kept, revoking, ..*current }
}

/// Goes towards the target as far as others let it.
fn advance(current: &Current, aim: &Aim<'_>) -> Current {
    let (mut assigned, mut revoking) = (Owned::new(), Owned::new());
    let mut is_waiting = false;
    let mut taken = Owned::new();
    let (nothing, none_owned) = (BTreeSet::new(), BTreeMap::new());
    let topics: BTreeSet<&TopicId> = aim.target.keys().chain(current.assigned.keys()).collect();
    for topic in topics {
        let target = aim.target.get(topic).filter(|_| aim.subscribed.contains(topic)).unwrap_or(&nothing);
        let owned = current.assigned.get(topic).unwrap_or(&none_owned);
        for (partition, epoch) in owned {
            let list = if target.contains(partition) { &mut assigned } else { &mut revoking };
            list.entry(*topic).or_default().insert(*partition, *epoch);
        }
        for partition in target.iter().filter(|partition| !owned.contains_key(partition)) {
            // What it gives up itself is free for it as soon as it has.
            let is_own = current.revoking.get(topic).is_some_and(|revoking| revoking.contains_key(partition));
            if aim.group.is_held(*topic, *partition) && !is_own {
                is_waiting = true;
            } else {
                taken.entry(*topic).or_default().insert(*partition, aim.epoch);
            }
        }
    }
    let previous_epoch = current.epoch;
    if !revoking.is_empty() && still_owns(&revoking, aim) {
        return Current {
            epoch: current.epoch,
            previous_epoch,
            state: MemberState::Unrevoked,
            assigned,
            revoking,
        };
    }
    for (topic, partitions) in taken {
        assigned.entry(topic).or_default().extend(partitions);
    }
    let state = if is_waiting { MemberState::Unreleased } else { MemberState::Stable };
    Current { epoch: aim.epoch, previous_epoch, state, assigned, revoking: Owned::new() }
}
