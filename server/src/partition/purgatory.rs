//! Where fetches wait for data. Kafka's purgatory keeps lists of waiting requests per partition; here each
//! waiting request is a future that its partitions wake (see [`super::watch`]): nothing polls, and a dropped request
//! (a closed connection) leaves nothing behind. What is left to do is to count them and to end them all.
//!
//! Lives on one shard's thread. How many may wait is bounded by the connections and by how many requests a
//! connection may have in flight; nothing is queued here.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;

use event_listener::Event;
use futures::future::select;

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

    /// The end of a wait: `deadline`, or the broker stops.
    pub async fn end_of_wait(&self, deadline: impl Future<Output = ()>) {
        let stop = self.stop.listen();
        if self.stopping.get() {
            return;
        }
        let _waiting = Waiting::new(&self.waiting);
        select(stop, pin!(deadline)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Purgatory, pin};
    use futures::FutureExt;
    use futures::future::{pending, ready};

    #[test]
    fn the_deadline_ends_a_wait() {
        let purgatory = Purgatory::default();
        assert_eq!(purgatory.end_of_wait(ready(())).now_or_never(), Some(()));
        assert_eq!(purgatory.end_of_wait(pending()).now_or_never(), None);
    }

    #[test]
    fn stopping_ends_waits_that_run_and_that_come() {
        let purgatory = Purgatory::default();
        {
            let mut wait = pin!(purgatory.end_of_wait(pending()));
            assert_eq!(wait.as_mut().now_or_never(), None);
            assert_eq!(purgatory.waiting(), 1);
            purgatory.stop();
            assert_eq!(wait.now_or_never(), Some(()));
        }
        assert_eq!(purgatory.end_of_wait(pending()).now_or_never(), Some(()));
    }

    #[test]
    fn a_dropped_wait_is_not_counted() {
        let purgatory = Purgatory::default();
        {
            let mut wait = pin!(purgatory.end_of_wait(pending()));
            assert_eq!(wait.as_mut().now_or_never(), None);
        }
        assert_eq!(purgatory.waiting(), 0);
    }
}
