//! Where fetches wait for data. Kafka's purgatory keeps lists of waiting requests per partition; here each
//! waiting request is a future that listens to its logs, so a wait costs one listener a partition, nothing
//! polls, and a dropped request (a closed connection) leaves nothing behind.
//!
//! Lives on one shard's thread. How many may wait is bounded by the connections and by how many requests a
//! connection may have in flight; nothing is queued here.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;

use event_listener::{Event, EventListener};
use futures::future::{Either, select, select_all};

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A log moved.
    Changed,
    /// The time was up.
    TimedOut,
    /// The broker stops: answer with what there is.
    Stopping,
}

/// The waiting room of one shard.
#[derive(Debug, Default)]
pub struct Purgatory {
    stop: Event,
    stopping: Cell<bool>,
    waiting: Cell<usize>,
}

/// Counts one waiting request for as long as it waits, also if its future is dropped.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Purgatory {
    /// How many requests wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Whether waits end at once.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Ends all waits, now and later: the broker stops.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.stop.notify(usize::MAX);
    }

    /// Waits until one of `changed` fires, `deadline` completes or the broker stops. The caller makes the
    /// listeners before it looks at the state they stand for, else it would miss a change in between.
    pub async fn wait(&self, changed: Vec<EventListener>, deadline: impl Future<Output = ()>) -> Woken {
        let stop = self.stop.listen();
        if self.stopping.get() {
            return Woken::Stopping;
        }
        let _waiting = Waiting::new(&self.waiting);
        let deadline = pin!(deadline);
        let ended = select(stop, deadline);
        if changed.is_empty() {
            return match ended.await {
                Either::Left(_) => Woken::Stopping,
                Either::Right(_) => Woken::TimedOut,
            };
        }
        match select(select_all(changed), ended).await {
            Either::Left(_) => Woken::Changed,
            Either::Right((Either::Left(_), _)) => Woken::Stopping,
            Either::Right((Either::Right(_), _)) => Woken::TimedOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Purgatory, Woken, pin};
    use futures::FutureExt;
    use futures::future::{pending, ready};

    #[test]
    fn a_change_ends_the_wait() {
        let purgatory = Purgatory::default();
        let log = Event::new();
        let mut wait = pin!(purgatory.wait(vec![log.listen()], pending()));
        assert_eq!(wait.as_mut().now_or_never(), None);
        assert_eq!(purgatory.waiting(), 1);
        log.notify(usize::MAX);
        assert_eq!(wait.now_or_never().unwrap(), Woken::Changed);
        assert_eq!(purgatory.waiting(), 0);
    }

    #[test]
    fn time_ends_the_wait_with_and_without_logs() {
        let purgatory = Purgatory::default();
        let log = Event::new();
        assert_eq!(purgatory.wait(vec![log.listen()], ready(())).now_or_never().unwrap(), Woken::TimedOut);
        assert_eq!(purgatory.wait(Vec::new(), ready(())).now_or_never().unwrap(), Woken::TimedOut);
    }

    #[test]
    fn stopping_ends_waits_that_run_and_that_come() {
        let purgatory = Purgatory::default();
        {
            let mut wait = pin!(purgatory.wait(Vec::new(), pending()));
            assert_eq!(wait.as_mut().now_or_never(), None);
            purgatory.stop();
            assert_eq!(wait.now_or_never().unwrap(), Woken::Stopping);
        }
        assert_eq!(purgatory.wait(Vec::new(), pending()).now_or_never().unwrap(), Woken::Stopping);
    }

    #[test]
    fn a_dropped_wait_is_not_counted() {
        let purgatory = Purgatory::default();
        {
            let mut wait = pin!(purgatory.wait(Vec::new(), pending()));
            assert_eq!(wait.as_mut().now_or_never(), None);
        }
        assert_eq!(purgatory.waiting(), 0);
    }
}
