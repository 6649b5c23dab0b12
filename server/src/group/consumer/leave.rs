//! Members of a group of KIP-848 go: by themselves, for a while if they are static, or because they were not heard of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;

use super::super::coordinator::Coordinator;
use super::super::record::Record;
use super::super::timers::TimerKey;
use super::super::turn::Turn;
use super::asks::{Beat, Beaten};
use super::member::{Current, LEAVING_FOR_A_WHILE, Owned};
use super::plan::Plan;
use super::record::ConsumerRecord;

/// How long until somebody who could not be taken out is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Coordinator {
    /// A member says that it goes.
    pub(super) fn leave_by_beat(&mut self, beat: &Beat, turn: &mut Turn<'_>) -> Result<Beaten, ErrorCode> {
        let group = self.consumers.get(&beat.group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        let member = match &beat.instance_id {
            None => group.member(&beat.member_id).ok_or(ErrorCode::UnknownMemberId)?,
            Some(name) => {
                let member = group.static_member(name).ok_or(ErrorCode::UnknownMemberId)?;
                if member.id != beat.member_id {
                    return Err(ErrorCode::FencedInstanceId);
                }
                member
            }
        };
        let id = Arc::clone(&member.id);
        if beat.member_epoch == LEAVING_FOR_A_WHILE {
            // What it has waits for it, until its session ends.
            let (epoch, revoking) = (LEAVING_FOR_A_WHILE, Owned::new());
            let away = Current { epoch, revoking, ..member.current.clone() };
            let record = ConsumerRecord::Current(Arc::clone(&id), Some(away));
            self.write(vec![Record::Consumer(Arc::clone(&beat.group_id), record)], turn)?;
            self.timers.cancel(&TimerKey::Revoke(Arc::clone(&beat.group_id), Arc::clone(&id)));
        } else {
            self.fence(&beat.group_id, &BTreeSet::from([Arc::clone(&id)]), turn)?;
        }
        Ok(Beaten {
            member_id: id,
            member_epoch: beat.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        })
    }

    /// Takes members out.
    pub(in crate::group) fn fence(
        &mut self,
        group_id: &Arc<str>,
        ids: &BTreeSet<Arc<str>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        if self.downgrades_without(group_id, ids, false, turn) && self.downgrade(group_id, ids, None, turn)? {
            return Ok(());
        }
        let Some(group) = self.consumers.get(group_id) else { return Ok(()) };
        let mut plan = Plan::new(group, turn);
        plan.remove_all(ids);
        let records = plan.records.into_iter();
        let records = records.map(|record| Record::Consumer(Arc::clone(group_id), record)).collect();
        self.write(records, turn)
    }

    /// A member was not heard of in time, or did not do in time what it had to.
    pub(in crate::group) fn on_member_timeout(
        &mut self,
        key: TimerKey,
        (group_id, id): (&Arc<str>, &Arc<str>),
        turn: &mut Turn<'_>,
    ) {
        if self.consumers.get(group_id).is_none_or(|group| group.member(id).is_none()) {
            return;
        }
        tracing::debug!(group = %group_id, member = %id, "a member did not answer in time");
        if let Err(code) = self.fence(group_id, &BTreeSet::from([Arc::clone(id)]), turn) {
            tracing::warn!(group = %group_id, ?code, "a member that is gone cannot be taken out");
            self.timers.set(key, turn.now + RETRY);
        }
    }

    /// Nobody waits for anything of a member any more.
    pub(in crate::group) fn forget_member(&mut self, group_id: &Arc<str>, id: &Arc<str>) {
        let (group, member) = (|| Arc::clone(group_id), || Arc::clone(id));
        self.timers.cancel(&TimerKey::Session(group(), member()));
        self.timers.cancel(&TimerKey::Revoke(group(), member()));
        self.forget_classic(group_id, id);
    }

    /// Nobody waits for what only those do that speak the classic protocol.
    pub(in crate::group) fn forget_classic(&mut self, group_id: &Arc<str>, id: &Arc<str>) {
        let (group, member) = (|| Arc::clone(group_id), || Arc::clone(id));
        self.timers.cancel(&TimerKey::ClassicJoin(group(), member()));
        self.timers.cancel(&TimerKey::ClassicSync(group(), member()));
    }
}
