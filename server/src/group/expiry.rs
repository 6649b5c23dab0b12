//! What nobody needs any more: offsets that are old, groups without members and offsets, and groups that are deleted.

use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::TimestampMs;

use super::classic::{ClassicGroup, State};
use super::coordinator::Coordinator;
use super::offsets::Committed;
use super::record::{OffsetKey, Record};
use super::turn::Turn;

impl Coordinator {
    /// Takes away what is old (`GroupCoordinatorShard.cleanupGroupMetadata`).
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            if let Err(code) = self.expire_group(&id, turn) {
                // The next time they are older still.
                tracing::warn!(group = %id, ?code, "old offsets cannot be taken away");
                return;
            }
        }
    }

    fn expire_group(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let Some(group) = self.groups.get(id) else { return Ok(()) };
        let (mut records, mut is_bare) = (Vec::new(), !self.offsets.has_pending_of(id));
        for (topic, partition, committed) in self.offsets.of_group(id) {
            let goes = is_old(group, topic, committed, (turn.wall_clock, turn.settings.retention))
                && !self.offsets.is_pending(id, topic, partition);
            if goes {
                let key = OffsetKey { group: Arc::clone(id), topic: Arc::clone(topic), partition };
                records.push(Record::Offset(key, None));
            } else {
                is_bare = false;
            }
        }
        if is_bare && group.state() == State::Empty {
            records.push(Record::Group(Arc::clone(id), None));
        }
        self.write_pieces(records, turn)
    }

    /// Takes a group away with its offsets, if nobody is in it.
    pub fn delete_group(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state() != State::Empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let keys = self.offsets.keys_of(id).into_iter().map(|key| Record::Offset(key, None));
        let records = keys.chain([Record::Group(Arc::clone(id), None)]).collect();
        self.write_pieces(records, turn)
    }
}

/// Whether an offset is kept no longer (`ClassicGroup.offsetExpirationCondition`): never while members read the topic; else
/// a time after the commit, or, in a group that had members, after the last of them was gone.
fn is_old(
    group: &ClassicGroup,
    topic: &str,
    committed: &Committed,
    (now, retention): (TimestampMs, Duration),
) -> bool {
    let since = match group.state() {
        _ if group.protocol_type.is_none() => committed.commit_timestamp,
        State::Empty => group.state_since().map_or(committed.commit_timestamp, |since| since.0),
        State::Stable if group.has_consumers() && group.knows_subscription() => committed.commit_timestamp,
        _ => return false,
    };
    if group.is_subscribed_to(topic) {
        return false;
    }
    match committed.expire_timestamp {
        Some(expires) => now.0 >= expires,
        None => {
            i128::from(now.0) - i128::from(since)
                >= i128::from(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX))
        }
    }
}
