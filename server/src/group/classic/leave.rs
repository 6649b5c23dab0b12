//! Leaving a classic group (`classicGroupLeaveToClassicGroup`): by itself, or made to by an administrator, who knows
//! static members by their names.

use std::sync::Arc;

use ringmain_protocol::ErrorCode;

use super::asks::{LeaveRequest, Left};
use super::group::State;
use super::rebalance::Step;

impl Step<'_, '_> {
    /// Members leave; what became of each.
    pub(in crate::group) fn leave(&mut self, request: &LeaveRequest) -> Left {
        let left: Left = request
            .members
            .iter()
            .map(|(id, instance_id)| self.leave_one(id, instance_id.as_deref()))
            .collect();
        if left.iter().any(Result::is_ok) {
            match self.group.state() {
                State::Stable | State::CompletingRebalance => self.begin_rebalance(),
                State::PreparingRebalance { .. } => self.complete_if_all_joined(),
                State::Empty => {}
            }
        }
        left
    }

    fn leave_one(&mut self, id: &Arc<str>, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if id.is_empty() {
            let known = instance_id.and_then(|name| self.group.static_member(name)).cloned();
            let known = known.ok_or(ErrorCode::UnknownMemberId)?;
            self.remove_member(&known);
        } else if self.group.pending_join.contains(id) {
            self.group.remove(id);
            self.forget_session(id);
        } else {
            self.group.check_member(id, instance_id)?;
            self.remove_member(id);
        }
        Ok(())
    }
}
