//! What nobody needs any more: offsets that are old, groups without members and offsets, and groups that are deleted.

use std::sync::Arc;
use std::time::Duration;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::TimestampMs;

use super::classic::{ClassicGroup, State};
use super::consumer::ConsumerGroup;
use super::coordinator::Coordinator;
use super::offsets::Committed;
use super::record::{OffsetKey, Record};
use super::turn::Turn;

impl Coordinator {
    /// Takes away what is old (`GroupCoordinatorShard.cleanupGroupMetadata`).
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Arc<str>> = self.groups.keys().chain(self.consumers.keys()).cloned().collect();
        for id in ids {
            if let Err(code) = self.expire_group(&id, turn) {
                // The next time they are older still.
                tracing::warn!(group = %id, ?code, "old offsets cannot be taken away");
                return;
            }
        }
    }

    fn any_group(&self, id: &str) -> Option<AnyGroup<'_>> {
        let classic = || self.groups.get(id).map(|group| AnyGroup::Classic(group));
        self.consumers.get(id).map(AnyGroup::Consumer).or_else(classic)
    }

    fn expire_group(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let Some(group) = self.any_group(id) else { return Ok(()) };
        let (mut records, mut is_bare) = (Vec::new(), !self.offsets.has_pending_of(id));
        for (topic, partition, committed) in self.offsets.of_group(id) {
            let goes = group.lets_go(topic, committed, (turn.wall_clock, turn.settings.retention))
                && !self.offsets.is_pending(id, topic, partition);
            if goes {
                let key = OffsetKey { group: Arc::clone(id), topic: Arc::clone(topic), partition };
                records.push(Record::Offset(key, None));
            } else {
                is_bare = false;
            }
        }
        let expired = records.len();
        if is_bare && group.is_empty() {
            records.extend(group.tombstones(id));
        }
        self.write_pieces(records, turn)?;
        turn.counters.expired.add_len(expired);
        Ok(())
    }

    /// Takes a group away with its offsets, if nobody is in it.
    pub fn delete_group(&mut self, id: &Arc<str>, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let group = self.any_group(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let keys = self.offsets.keys_of(id).into_iter().map(|key| Record::Offset(key, None));
        let records = keys.chain(group.tombstones(id)).collect();
        self.write_pieces(records, turn)
    }
}

/// A group of either protocol.
#[derive(Clone, Copy)]
enum AnyGroup<'a> {
    Classic(&'a ClassicGroup),
    Consumer(&'a ConsumerGroup),
}

impl AnyGroup<'_> {
    fn is_empty(self) -> bool {
        match self {
            Self::Classic(group) => group.state() == State::Empty,
            Self::Consumer(group) => group.members().is_empty(),
        }
    }

    /// The records that take it away.
    fn tombstones(self, id: &Arc<str>) -> Vec<Record> {
        match self {
            Self::Classic(_) => vec![Record::Group(Arc::clone(id), None)],
            Self::Consumer(group) => {
                let records = group.tombstones().into_iter();
                records.map(|record| Record::Consumer(Arc::clone(id), record)).collect()
            }
        }
    }

    /// Whether an offset is kept no longer.
    fn lets_go(self, topic: &str, committed: &Committed, times: (TimestampMs, Duration)) -> bool {
        match self {
            Self::Classic(group) => is_old(group, topic, committed, times),
            Self::Consumer(group) => {
                !group.is_subscribed_to(topic) && is_past(committed, committed.commit_timestamp, times)
            }
        }
    }
}

/// Whether an offset is kept no longer (`ClassicGroup.offsetExpirationCondition`): never while members read the topic; else
/// a time after the commit, or, in a group that had members, after the last of them was gone.
fn is_old(group: &ClassicGroup, topic: &str, committed: &Committed, times: (TimestampMs, Duration)) -> bool {
    let since = match group.state() {
        _ if group.protocol_type.is_none() => committed.commit_timestamp,
        State::Empty => group.state_since().map_or(committed.commit_timestamp, |since| since.0),
        State::Stable if group.has_consumers() && group.knows_subscription() => committed.commit_timestamp,
        _ => return false,
    };
    !group.is_subscribed_to(topic) && is_past(committed, since, times)
}

/// Whether an offset's time is over that began at `since`, unless the commit said when.
fn is_past(committed: &Committed, since: i64, (now, retention): (TimestampMs, Duration)) -> bool {
    match committed.expire_timestamp {
        Some(expires) => now.0 >= expires,
        None => {
            i128::from(now.0) - i128::from(since)
                >= i128::from(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX))
        }
    }
}
