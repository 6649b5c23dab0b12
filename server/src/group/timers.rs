//! The timeouts of one coordinator: what is due when. Pure: whoever runs it asks when to come again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What a timeout is for. There is at most one of each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum TimerKey {
    /// A member of a group was not heard of for its session timeout.
    Session(Arc<str>, Arc<str>),
    /// A group waits no longer for members to join.
    Join(Arc<str>),
    /// A group waits no longer for members to ask for their assignment.
    Sync(Arc<str>),
    /// A member of a group of KIP-848 has to give partitions up.
    Revoke(Arc<str>, Arc<str>),
    /// A member that speaks the classic protocol in such a group has to join again.
    ClassicJoin(Arc<str>, Arc<str>),
    /// A member that speaks the classic protocol in such a group has to ask what it is given.
    ClassicSync(Arc<str>, Arc<str>),
    /// Offsets and groups that nobody needs any more are looked for.
    Expiry,
}

/// Deadlines, each once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_key: BTreeMap<TimerKey, Duration>,
    in_order: BTreeSet<(Duration, TimerKey)>,
}

impl Timers {
    /// Sets a deadline in the place of the one before.
    pub(super) fn set(&mut self, key: TimerKey, deadline: Duration) {
        if let Some(before) = self.by_key.insert(key.clone(), deadline) {
            self.in_order.remove(&(before, key.clone()));
        }
        self.in_order.insert((deadline, key));
    }

    /// Sets a deadline unless there is one.
    pub(super) fn set_if_absent(&mut self, key: TimerKey, deadline: Duration) {
        if !self.by_key.contains_key(&key) {
            self.set(key, deadline);
        }
    }

    /// Takes a deadline back.
    pub(super) fn cancel(&mut self, key: &TimerKey) {
        if let Some((key, deadline)) = self.by_key.remove_entry(key) {
            self.in_order.remove(&(deadline, key));
        }
    }

    /// When the next one is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.in_order.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one out that is due.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<TimerKey> {
        if self.next_deadline()? > now {
            return None;
        }
        let (_, key) = self.in_order.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
impl Timers {
    /// What there are deadlines for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &TimerKey> {
        self.by_key.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, TimerKey, Timers};

    fn join(group: &str) -> TimerKey {
        TimerKey::Join(group.into())
    }

    #[test]
    fn a_deadline_is_set_anew_and_taken_back() {
        let mut timers = Timers::default();
        let at = Duration::from_secs;
        timers.set(join("a"), at(5));
        timers.set(join("b"), at(3));
        timers.set(join("a"), at(2));
        assert_eq!(timers.next_deadline(), Some(at(2)));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(9)), Some(join("a")));
        timers.cancel(&join("b"));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.next_deadline(), None);
    }
}
