//! Joining a classic group (`GroupMetadataManager.classicGroupJoinToClassicGroup` and what it calls).
//!
//! Order of checks: there is room → (a new member) its protocols are known to all → (a member with an id) the same, then
//! who it is. A member without an id gets one; a dynamic one may have to come again with it (KIP-394), which keeps made-up
//! members out of rebalances. A static one takes the place of the one of its name.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use ringmain_protocol::ErrorCode;

use super::asks::{JoinAnswer, JoinRequest, Protocol, duration_ms};
use super::group::{ClassicGroup, State};
use super::member::Member;
use super::rebalance::Step;

/// How long a new member may wait for its first generation: nobody sees whether it is still there
/// (`group.new.member.join.timeout.ms`, which Kafka does not let anyone set).
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_mins(5);

/// Where the answer goes.
pub(in crate::group) type JoinWaiter = oneshot::Sender<JoinAnswer>;

/// Answers at once. Whoever asked may have gone.
pub(in crate::group) fn refuse_join(waits: JoinWaiter, member_id: &Arc<str>, code: ErrorCode) {
    drop(waits.send(JoinAnswer { member_id: Arc::clone(member_id), result: Err(code) }));
}

impl Step<'_, '_> {
    /// A member joins. The answer comes at once or when its generation begins.
    pub(in crate::group) fn join(&mut self, request: &JoinRequest, waits: JoinWaiter) {
        let nobody: Arc<str> = Arc::default();
        if !has_room(self.group, &request.member_id, self.turn.settings.members_max) {
            self.remove_member(&request.member_id);
            refuse_join(waits, &nobody, ErrorCode::GroupMaxSizeReached);
            self.complete_if_all_joined();
        } else if !self.group.supports(&request.protocol_type, &request.protocols) {
            refuse_join(waits, &request.member_id, ErrorCode::InconsistentGroupProtocol);
        } else if request.member_id.is_empty() {
            self.join_new(request, waits);
        } else if self.group.pending_join.contains(&request.member_id) {
            if request.instance_id.is_some() {
                // An id that is only given to dynamic members.
                refuse_join(waits, &request.member_id, ErrorCode::UnknownServerError);
            } else if self.turn.bytes_left < request.bytes() {
                refuse_join(waits, &request.member_id, ErrorCode::GroupMaxSizeReached);
            } else {
                self.add_member(&request.member_id, request, waits);
            }
        } else if let Err(code) = self.group.check_member(&request.member_id, request.instance_id.as_deref())
        {
            refuse_join(waits, &request.member_id, code);
        } else if self.turn.bytes_left < growth(self.group, request) {
            refuse_join(waits, &request.member_id, ErrorCode::GroupMaxSizeReached);
        } else {
            self.join_again(request, waits);
        }
    }

    fn join_new(&mut self, request: &JoinRequest, waits: JoinWaiter) {
        if self.turn.bytes_left < request.bytes() {
            refuse_join(waits, &request.member_id, ErrorCode::GroupMaxSizeReached);
            return;
        }
        let prefix = request.instance_id.as_ref().unwrap_or(&request.client_id);
        let id: Arc<str> = Arc::from(format!("{prefix}-{}", (self.turn.random_uuid)()));
        let known = request.instance_id.as_deref().and_then(|name| self.group.static_member(name)).cloned();
        if let Some(known) = known {
            self.replace_static_member(&known, &id, request, waits);
        } else if request.instance_id.is_none() && request.needs_known_id {
            self.group.pending_join.insert(Arc::clone(&id));
            self.set_session(&id, duration_ms(request.session_timeout_ms));
            refuse_join(waits, &id, ErrorCode::MemberIdRequired);
        } else {
            self.add_member(&id, request, waits);
        }
    }

    fn add_member(&mut self, id: &Arc<str>, request: &JoinRequest, waits: JoinWaiter) {
        if self.group.state() == (State::PreparingRebalance { is_initial: true }) {
            self.group.has_grown = true;
        }
        if self.group.len() == 0 {
            self.group.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        let mut member = Member::new(Arc::clone(id), request);
        member.awaiting_join = Some(waits);
        self.group.insert(member);
        self.set_session(id, NEW_MEMBER_TIMEOUT);
        self.rebalance_or_complete();
    }

    /// A member joins that is one already.
    fn join_again(&mut self, request: &JoinRequest, waits: JoinWaiter) {
        let id = &request.member_id;
        let is_same = self.group.member(id).is_some_and(|member| member.protocols == request.protocols);
        let joins_next = match self.group.state() {
            State::Empty => {
                refuse_join(waits, id, ErrorCode::UnknownMemberId);
                return;
            }
            State::PreparingRebalance { .. } => true,
            // Its first answer was lost: it is told again.
            State::CompletingRebalance => !is_same,
            // The leader may know of something that changes what everyone is given.
            State::Stable => self.group.is_leader(id) || !is_same,
        };
        if joins_next {
            self.group.update(id, request, waits);
            self.rebalance_or_complete();
        } else {
            let joined = self.group.joined(id);
            drop(waits.send(JoinAnswer { member_id: Arc::clone(id), result: Ok(joined) }));
        }
    }

    /// A static member came back without its id: the old id is fenced.
    fn replace_static_member(&mut self, old: &str, id: &Arc<str>, request: &JoinRequest, waits: JoinWaiter) {
        let leader_before = self.group.leader().cloned().unwrap_or_default();
        self.group.replace_id(old, id);
        self.forget_session(old);
        self.renew_session(id);
        let before = self.group.member(id).map(|member| (member.protocols.clone(), timeouts(member)));
        self.group.update(id, request, waits);
        match self.group.state() {
            State::Stable if self.group.choose_protocol().as_ref() == self.group.protocol_name() => {
                // Nothing changes for anybody, so nobody has to rejoin.
                if let Err(code) = self.persist(|member| member.assignment.clone()) {
                    self.group.answer_join(id, Err(code));
                    self.group.replace_id(id, &Arc::from(old));
                    if let Some((protocols, timeouts)) = before {
                        self.group.set_protocols(old, protocols);
                        self.group.edit(old, |member| {
                            (member.session_timeout_ms, member.rebalance_timeout_ms) = timeouts;
                        });
                    }
                    self.forget_session(id);
                    self.renew_session(old);
                    return;
                }
                let mut joined = self.group.joined(id);
                if request.may_skip_assignment {
                    joined.skip_assignment = self.group.is_leader(id);
                } else {
                    // A client that cannot skip it takes itself for no leader, and asks what it is given.
                    joined.leader = leader_before;
                    joined.members.clear();
                }
                self.group.answer_join(id, Ok(joined));
            }
            State::Stable | State::CompletingRebalance => self.begin_rebalance(),
            State::PreparingRebalance { .. } | State::Empty => self.complete_if_all_joined(),
        }
    }
}

fn timeouts(member: &Member) -> (i32, i32) {
    (member.session_timeout_ms, member.rebalance_timeout_ms)
}

/// What a member takes in memory more, about, if it says this.
fn growth(group: &ClassicGroup, request: &JoinRequest) -> usize {
    let bytes = |all: &[Protocol]| all.iter().map(Protocol::bytes).sum::<usize>();
    let known = group.member(&request.member_id).map_or(0, |member| bytes(&member.protocols));
    bytes(&request.protocols).saturating_sub(known)
}

/// Whether a group takes this member. While members are waited for those count that wait already, so that a group that
/// is too large since the limit was lowered loses the last to come.
fn has_room(group: &ClassicGroup, id: &str, members_max: usize) -> bool {
    let member = group.member(id);
    match group.state() {
        State::Empty => true,
        State::PreparingRebalance { .. } => {
            member.is_some_and(|member| member.awaiting_join.is_some()) || group.awaiting_join() < members_max
        }
        State::CompletingRebalance | State::Stable => member.is_some() || group.len() < members_max,
    }
}
