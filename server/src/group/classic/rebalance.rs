//! From one generation to the next: waiting for members, giving those up that do not come, and beginning.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

use super::super::record::Record;
use super::super::timers::{TimerKey, Timers};
use super::super::turn::Turn;
use super::asks::{SyncAnswer, Synced, duration_ms};
use super::group::{ClassicGroup, State};

/// A group in one step, with what the step may use.
pub(in crate::group) struct Step<'a, 't> {
    /// The group.
    pub(in crate::group) group: &'a mut ClassicGroup,
    /// The timeouts of all groups.
    pub(in crate::group) timers: &'a mut Timers,
    /// Time, randomness, log.
    pub(in crate::group) turn: &'a mut Turn<'t>,
}

impl Step<'_, '_> {
    /// Begins a rebalance if the group can, else sees whether the one under way is done.
    pub(super) fn rebalance_or_complete(&mut self) {
        if let State::PreparingRebalance { .. } = self.group.state() {
            self.complete_if_all_joined();
        } else {
            self.begin_rebalance();
        }
    }

    /// Waits for the members of the next generation.
    pub(in crate::group) fn begin_rebalance(&mut self) {
        if self.group.state() == State::CompletingRebalance {
            self.take_assignments_back(ErrorCode::RebalanceInProgress);
        }
        self.group.pending_sync.clear();
        self.timers.cancel(&TimerKey::Sync(Arc::clone(self.group.id())));
        let is_initial = self.group.state() == State::Empty;
        self.group.move_to(State::PreparingRebalance { is_initial }, self.turn.wall_clock);
        tracing::debug!(group = %self.group.id(), generation = self.group.generation_id(), "a rebalance begins");
        if is_initial {
            // Nobody knows who else will come: wait a little for the others.
            let delay = self.turn.settings.initial_rebalance_delay;
            self.group.initial_wait_left =
                duration_ms(self.group.rebalance_timeout_ms()).saturating_sub(delay);
            self.group.initial_wait = delay;
            self.wait_for_joins(delay);
        } else if self.group.has_all_joined() {
            self.complete_join();
        } else {
            self.wait_for_joins(duration_ms(self.group.rebalance_timeout_ms()));
        }
    }

    /// Ends the wait for members if there is nobody left to wait for. The first generation always waits to the end.
    pub(super) fn complete_if_all_joined(&mut self) {
        if self.group.state() == (State::PreparingRebalance { is_initial: false })
            && self.group.has_all_joined()
        {
            self.complete_join();
        }
    }

    /// The wait for members is over.
    pub(in crate::group) fn on_join_timeout(&mut self) {
        let State::PreparingRebalance { is_initial } = self.group.state() else { return };
        let left = self.group.initial_wait_left;
        if is_initial && self.group.has_grown && !left.is_zero() {
            // Somebody came: there may be more.
            self.group.has_grown = false;
            let delay = self.turn.settings.initial_rebalance_delay.min(left);
            self.group.initial_wait_left = left.saturating_sub(self.group.initial_wait);
            self.group.initial_wait = delay;
            self.wait_for_joins(delay);
        } else {
            self.complete_join();
        }
    }

    /// Begins the next generation with those who joined. Static members that did not stay members.
    pub(super) fn complete_join(&mut self) {
        self.timers.cancel(&TimerKey::Join(Arc::clone(self.group.id())));
        let gone: Vec<Arc<str>> = self
            .group
            .members()
            .filter(|member| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|member| Arc::clone(&member.id))
            .collect();
        for id in gone {
            self.group.remove(&id);
            self.forget_session(&id);
        }
        if !self.group.elect_leader() && self.group.len() > 0 {
            // Static members only, and none of them is back: wait on, until their sessions end.
            self.wait_for_joins(duration_ms(self.group.rebalance_timeout_ms()));
            return;
        }
        self.group.next_generation(self.turn.wall_clock);
        self.turn.counters.classic_rebalances.add(1);
        let (group, generation) = (self.group.id(), self.group.generation_id());
        tracing::debug!(%group, generation, members = self.group.len(), "a generation begins");
        if self.group.state() == State::Empty {
            if let Err(code) = self.persist(|_| Bytes::new()) {
                // The log says that the generation before is there still, whose members will not be heard of.
                tracing::warn!(group = %self.group.id(), ?code, "the end of a group's members is not recorded");
            }
            return;
        }
        for id in self.group.member_ids() {
            let joined = self.group.joined(&id);
            self.group.answer_join(&id, Ok(joined));
            self.group.edit(&id, |member| member.is_new = false);
            self.renew_session(&id);
            self.group.pending_sync.insert(id);
        }
        let wait = duration_ms(self.group.rebalance_timeout_ms());
        self.timers.set(TimerKey::Sync(Arc::clone(self.group.id())), self.turn.now + wait);
    }

    /// Members that did not ask what they are given are taken out.
    pub(in crate::group) fn on_sync_timeout(&mut self) {
        if self.group.pending_sync.is_empty()
            || !matches!(self.group.state(), State::CompletingRebalance | State::Stable)
        {
            return;
        }
        for id in std::mem::take(&mut self.group.pending_sync) {
            self.group.remove(&id);
            self.forget_session(&id);
        }
        self.begin_rebalance();
    }

    /// A member was silent for too long, or an id that was given out was not used.
    pub(in crate::group) fn on_session_timeout(&mut self, id: &str) {
        if self.group.pending_join.contains(id) {
            self.group.remove(id);
            self.complete_after_removal();
        } else if self.group.member(id).is_some_and(|member| !member.is_excused()) {
            tracing::debug!(group = %self.group.id(), member = id, "a member was not heard of in time");
            self.remove_member(id);
            if matches!(self.group.state(), State::Stable | State::CompletingRebalance) {
                self.begin_rebalance();
            } else {
                self.complete_after_removal();
            }
        }
    }

    /// Takes a member out; if it waits to join it is told that nobody knows it.
    pub(super) fn remove_member(&mut self, id: &str) {
        self.group.answer_join(id, Err(ErrorCode::UnknownMemberId));
        self.group.remove(id);
        self.forget_session(id);
    }

    /// Even the first generation begins when its last member that did not join is gone.
    fn complete_after_removal(&mut self) {
        if matches!(self.group.state(), State::PreparingRebalance { .. }) && self.group.has_all_joined() {
            self.complete_join();
        }
    }

    /// Nobody is given anything; who asked is told why.
    pub(super) fn take_assignments_back(&mut self, code: ErrorCode) {
        for id in self.group.member_ids() {
            self.group.edit(&id, |member| member.assignment = Bytes::new());
            self.tell_assignment(&id, Err(code));
        }
    }

    /// Tells a member that asked. It was excused so far: its session begins anew.
    pub(super) fn tell_assignment(&mut self, id: &str, answer: SyncAnswer) {
        if self.group.answer_sync(id, answer) {
            self.renew_session(id);
        }
    }

    /// What a member is given, as it is told.
    pub(super) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol_name().cloned(),
            assignment: self.group.member(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Writes the group as it is, with what each member is given.
    pub(super) fn persist(
        &mut self,
        assignment: impl Fn(&super::member::Member) -> Bytes,
    ) -> Result<(), ErrorCode> {
        let value = self.group.to_record(self.turn.wall_clock, assignment);
        self.turn.append(&[Record::Group(Arc::clone(self.group.id()), Some(value.clone()))])?;
        self.group.persisted = Some(value);
        Ok(())
    }

    /// A member's session begins anew.
    pub(in crate::group) fn renew_session(&mut self, id: &str) {
        if let Some(member) = self.group.member(id) {
            let timeout = duration_ms(member.session_timeout_ms);
            self.set_session(id, timeout);
        }
    }

    /// A member, or an id that was given out, is taken for gone after `timeout`.
    pub(super) fn set_session(&mut self, id: &str, timeout: Duration) {
        let key = TimerKey::Session(Arc::clone(self.group.id()), Arc::from(id));
        self.timers.set(key, self.turn.now + timeout);
    }

    /// Nobody waits for a sign of life any more.
    pub(super) fn forget_session(&mut self, id: &str) {
        self.timers.cancel(&TimerKey::Session(Arc::clone(self.group.id()), Arc::from(id)));
    }

    fn wait_for_joins(&mut self, wait: Duration) {
        self.timers.set(TimerKey::Join(Arc::clone(self.group.id())), self.turn.now + wait);
    }
}
