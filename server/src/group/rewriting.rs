//! The log of a coordinator is written anew when most of it is dead: what is alive is appended once more, and once that
//! is durable the log starts there. It takes the place of the cleaner for this one topic.
//!
//! Between its batches the coordinator goes on: what it writes comes after the start as well, and in its order, since a
//! batch holds what is true when it is appended.

use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use ringmain_protocol::ErrorCode;
use ringmain_storage::io::Io;
use ringmain_storage::io::executor::give_way;

use super::coordinator::Coordinator;
use super::hosting::Hosted;
use super::record::{OffsetKey, Record, pieces};

/// Dead records for each live one at which the log is written anew.
const DEAD_PER_LIVE: i64 = 4;
/// Dead records up to which it is not worth it.
const DEAD_MIN: i64 = 1000;
/// Records after which others get a turn.
const RECORDS_A_TURN: usize = 500;

/// Writes the log anew if it is time to.
pub(super) fn look<I: Io>(hosted: &Rc<Hosted<I>>) {
    let offsets = hosted.partition.log().offsets();
    let records = offsets.log_end_offset.0 - offsets.log_start_offset.0;
    if records < hosted.looked_at.get() + DEAD_MIN || hosted.has_foreign || hosted.is_rewriting.get() {
        return;
    }
    hosted.looked_at.set(records);
    let live = hosted.look(Coordinator::live_records).and_then(|live| i64::try_from(live).ok());
    // A transaction under way would lose what it set aside.
    let Some(live) = live else { return };
    let dead = records.saturating_sub(live);
    if dead >= DEAD_MIN && dead > live.saturating_mul(DEAD_PER_LIVE) {
        hosted.is_rewriting.set(true);
        let task = Rc::clone(hosted);
        hosted.io.spawn(async move {
            if let Err(problem) = rewrite(&task).await {
                tracing::warn!("a log of groups could not be written anew: {problem}");
            }
            task.is_rewriting.set(false);
        });
    }
}

async fn rewrite<I: Io>(hosted: &Rc<Hosted<I>>) -> Result<(), String> {
    let log = hosted.partition.log();
    let start = log.offsets().log_end_offset;
    let mut after = None;
    loop {
        let told = |code: ErrorCode| format!("{code:?}");
        let next = hosted.step(|coordinator, turn| {
            let Some((group, records)) = coordinator.live_after(after.as_ref()) else { return Ok(None) };
            for piece in pieces(records) {
                turn.append(&piece)?;
            }
            Ok(Some(group))
        });
        match next.map_err(told)? {
            None => break,
            next => after = next,
        }
        give_way().await;
    }
    hosted.settled().await.map_err(|code| format!("{code:?}"))?;
    log.advance_log_start(start).await.map_err(|error| error.to_string())?;
    let offsets = log.offsets();
    hosted.looked_at.set(offsets.log_end_offset.0 - offsets.log_start_offset.0);
    hosted.count();
    hosted.counters().rewrites.add(1);
    Ok(())
}

impl Coordinator {
    /// How many records say all that is to be said; none while no record can.
    fn live_records(&self) -> Option<usize> {
        (!self.offsets.has_pending()).then(|| self.tally().live_records)
    }

    /// All that is to be said of some groups after `after`, and the last of them.
    fn live_after(&self, after: Option<&Arc<str>>) -> Option<(Arc<str>, Vec<Record>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut last, mut records) = (None, Vec::new());
        let range = (from, Bound::Unbounded);
        let mut classic = self.groups.range::<Arc<str>, _>(range).map(|(id, _)| id).peekable();
        let mut consumers = self.consumers.range::<Arc<str>, _>(range).map(|(id, _)| id).peekable();
        loop {
            let is_classic = match (classic.peek(), consumers.peek()) {
                (None, None) => break,
                (Some(one), Some(other)) => one < other,
                (one, _) => one.is_some(),
            };
            let next = if is_classic { classic.next() } else { consumers.next() };
            let Some(id) = next else { break };
            let metadata = self.group_records(id);
            let offsets = self.offsets.of_group(id).map(|(topic, partition, committed)| {
                let key = OffsetKey { group: Arc::clone(id), topic: Arc::clone(topic), partition };
                Record::Offset(key, Some(committed.clone()))
            });
            records.extend(metadata.into_iter().chain(offsets));
            last = Some(Arc::clone(id));
            if records.len() >= RECORDS_A_TURN {
                break;
            }
        }
        last.map(|last| (last, records))
    }

    /// All that is to be said of a group but for its offsets.
    fn group_records(&self, id: &Arc<str>) -> Vec<Record> {
        if let Some(group) = self.consumers.get(id) {
            return group
                .records()
                .into_iter()
                .map(|record| Record::Consumer(Arc::clone(id), record))
                .collect();
        }
        let value = self.groups.get(id).and_then(|group| group.persisted.clone());
        value.map(|value| Record::Group(Arc::clone(id), Some(value))).into_iter().collect()
    }
}
