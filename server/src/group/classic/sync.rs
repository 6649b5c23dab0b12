//! What each member is given: the leader says it, everyone asks for it (`classicGroupSyncToClassicGroup`), and who is
//! heard of stays a member.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use ringmain_protocol::ErrorCode;

use super::super::timers::TimerKey;
use super::asks::{MemberRef, SyncAnswer, SyncRequest};
use super::group::State;
use super::rebalance::Step;

/// Where the answer goes.
pub(in crate::group) type SyncWaiter = oneshot::Sender<SyncAnswer>;

impl Step<'_, '_> {
    /// A member asks for what it is given. The answer comes when the leader has said it.
    pub(in crate::group) fn sync(&mut self, request: &SyncRequest, waits: SyncWaiter) {
        let id = &request.member.member_id;
        let refused = self.check_sync(request).err().or(match self.group.state() {
            State::Empty => Some(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => Some(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => None,
        });
        if let Some(code) = refused {
            drop(waits.send(Err(code)));
            return;
        }
        self.group.pending_sync.remove(id);
        if self.group.pending_sync.is_empty() {
            self.timers.cancel(&TimerKey::Sync(Arc::clone(self.group.id())));
        }
        if self.group.state() == State::Stable {
            drop(waits.send(Ok(self.synced(id))));
            return;
        }
        self.group.edit(id, |member| member.awaiting_sync = Some(waits));
        if self.group.is_leader(id) {
            self.assign(request);
        }
    }

    /// The leader has spoken: everyone is told, those it forgot that they are given nothing.
    fn assign(&mut self, request: &SyncRequest) {
        let given: BTreeMap<_, _> =
            request.assignments.iter().map(|given| (&given.member_id, &given.bytes)).collect();
        let of = |id: &Arc<str>| given.get(id).copied().cloned().unwrap_or_default();
        let bytes = self.group.members().map(|member| of(&member.id).len()).sum::<usize>();
        let before = self.group.members().map(|member| member.assignment.len()).sum::<usize>();
        let has_room = self.turn.bytes_left >= bytes.saturating_sub(before);
        let recorded = if has_room {
            self.persist(|member| of(&member.id))
        } else {
            Err(ErrorCode::GroupMaxSizeReached)
        };
        if let Err(code) = recorded {
            tracing::warn!(group = %self.group.id(), ?code, "an assignment cannot be recorded");
            self.take_assignments_back(code);
            self.begin_rebalance();
            return;
        }
        self.group.move_to(State::Stable, self.turn.wall_clock);
        for id in self.group.member_ids() {
            self.group.edit(&id, |member| member.assignment = of(&id));
            let synced = self.synced(&id);
            self.tell_assignment(&id, Ok(synced));
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        let MemberRef { member_id, instance_id, generation_id, .. } = &request.member;
        self.group.check_member(member_id, instance_id.as_deref())?;
        let differ = |said: &Option<Arc<str>>, known: Option<&Arc<str>>| {
            said.as_ref().is_some_and(|said| known.is_some_and(|known| known != said))
        };
        if *generation_id != self.group.generation_id() {
            Err(ErrorCode::IllegalGeneration)
        } else if differ(&request.protocol_type, self.group.protocol_type.as_ref())
            || differ(&request.protocol_name, self.group.protocol_name())
        {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else {
            Ok(())
        }
    }

    /// A member says that it is there, and is told whether it has to join again.
    pub(in crate::group) fn heartbeat(&mut self, member: &MemberRef) -> Result<(), ErrorCode> {
        self.group.check_member(&member.member_id, member.instance_id.as_deref())?;
        if member.generation_id != self.group.generation_id() {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.group.state() {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => {
                self.renew_session(&member.member_id);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.renew_session(&member.member_id);
                Ok(())
            }
        }
    }
}
