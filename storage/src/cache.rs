//! The tail cache's budget: recent batches of all logs stay in memory until it is spent, the oldest first.
//! The bytes themselves stand in the logs; a batch that no segment holds yet is never evicted. A reader that still
//! sends an evicted batch keeps its memory: that is counted apart, so that whoever owns the readers can act.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

use bytes::Bytes;

/// What became of a log's oldest cached batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evicted {
    /// It is gone; it had so many bytes.
    Bytes(usize),
    /// The log has none.
    None,
    /// It stays: its segment does not hold it durably yet, checkpoints and carried remainders still need it.
    Needed,
}

/// A log that can give up its oldest cached batch.
pub trait Evict {
    /// Drops the oldest cached batch if it may go.
    fn evict_oldest(&self) -> Evicted;
}

/// One shard's budget.
pub struct TailCache {
    bytes_max: usize,
    bytes: Cell<usize>,
    order: RefCell<VecDeque<(Weak<dyn Evict>, usize)>>,
    /// Evicted batches that readers had at that time, and their bytes.
    lingering: RefCell<VecDeque<Bytes>>,
    lingering_bytes: Cell<usize>,
}

/// Batches that have to stay which one trim steps over: a few, since the next append trims again.
const NEEDED_A_TRIM: usize = 8;
/// Lingering batches looked at again whenever a further one is evicted: more than one, so that the list shrinks.
const LOOKED_AT_AGAIN: usize = 2;

impl std::fmt::Debug for TailCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TailCache")
            .field("bytes_max", &self.bytes_max)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl TailCache {
    /// An empty one for at most `bytes_max` bytes beside what is not written yet.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: Cell::new(0),
            order: RefCell::default(),
            lingering: RefCell::default(),
            lingering_bytes: Cell::new(0),
        }
    }

    /// Counts a batch that `log` has put at the end of its cached ones.
    pub fn added(&self, log: Weak<dyn Evict>, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.order.borrow_mut().push_back((log, bytes));
        self.trim();
    }

    /// Stops counting a log's batches: it let go of all of them.
    pub fn forget<L: Evict + 'static>(&self, log: &Weak<L>) {
        let mut bytes = 0;
        self.order.borrow_mut().retain(|(other, batch_bytes)| {
            let is_other = !std::ptr::addr_eq(other.as_ptr(), log.as_ptr());
            bytes += if is_other { 0 } else { *batch_bytes };
            is_other
        });
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }

    /// Evicts until the budget holds. A batch that has to stay goes to the end of the order, so that the last few
    /// bytes of a log that nobody writes to do not keep everything behind them in memory.
    pub fn trim(&self) {
        let mut needed = 0;
        while self.bytes.get() > self.bytes_max && needed < NEEDED_A_TRIM {
            let Some((log, bytes)) = self.order.borrow_mut().pop_front() else { return };
            match log.upgrade().map_or(Evicted::None, |log| log.evict_oldest()) {
                Evicted::Bytes(evicted) => self.bytes.set(self.bytes.get().saturating_sub(evicted)),
                Evicted::None => self.bytes.set(self.bytes.get().saturating_sub(bytes)),
                Evicted::Needed => {
                    needed += 1;
                    self.order.borrow_mut().push_back((log, bytes));
                }
            }
        }
    }

    /// Takes what a log has evicted.
    pub fn evicted(&self, batch: Bytes) {
        self.look_again(LOOKED_AT_AGAIN);
        if !batch.is_unique() {
            self.lingering_bytes.set(self.lingering_bytes.get() + batch.len());
            self.lingering.borrow_mut().push_back(batch);
        }
    }

    /// Bytes of evicted batches that readers keep in memory. It looks at each of them.
    pub fn lingering_bytes(&self) -> usize {
        let count = self.lingering.borrow().len();
        self.look_again(count);
        self.lingering_bytes.get()
    }

    /// Lets go of those among the `count` oldest that no reader has any more.
    fn look_again(&self, count: usize) {
        let mut lingering = self.lingering.borrow_mut();
        for _ in 0..count {
            let Some(batch) = lingering.pop_front() else { return };
            if batch.is_unique() {
                self.lingering_bytes.set(self.lingering_bytes.get() - batch.len());
            } else {
                lingering.push_back(batch);
            }
        }
    }

    /// Bytes counted now.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_batch_that_has_to_stay_does_not_keep_those_behind_it() {
        struct Written(Cell<bool>);
        impl Evict for Written {
            fn evict_oldest(&self) -> Evicted {
                if self.0.get() { Evicted::Bytes(40) } else { Evicted::Needed }
            }
        }
        let cache = TailCache::new(100);
        let (idle, busy) = (Rc::new(Written(Cell::new(false))), Rc::new(Written(Cell::new(true))));
        cache.added(Rc::downgrade(&idle) as Weak<dyn Evict>, 40);
        for _ in 0..5 {
            cache.added(Rc::downgrade(&busy) as Weak<dyn Evict>, 40);
            assert!(cache.bytes() <= 100);
        }
        idle.0.set(true);
        assert_eq!(cache.bytes(), 80);
    }

    #[test]
    fn an_evicted_batch_lingers_as_long_as_somebody_has_it() {
        let cache = TailCache::new(100);
        let batch = Bytes::from(vec![1; 50]);
        let reader = batch.slice(10..20);
        cache.evicted(batch);
        cache.evicted(Bytes::from(vec![2; 70]));
        assert_eq!(cache.lingering_bytes(), 50);
        drop(reader);
        assert_eq!(cache.lingering_bytes(), 0);
    }
}
