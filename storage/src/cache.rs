//! The tail cache's budget: recent batches of all logs stay in memory until it is spent, the oldest first.
//! The bytes themselves stand in the logs; a batch that no segment holds yet is never evicted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

/// A log that can give up its oldest cached batch.
pub trait Evict {
    /// Drops the oldest cached batch and says so; false if its segment does not hold it durably yet: checkpoints
    /// and carried remainders still need it.
    fn evict_oldest(&self) -> bool;
}

/// One shard's budget.
pub struct TailCache {
    bytes_max: usize,
    bytes: Cell<usize>,
    order: RefCell<VecDeque<(Weak<dyn Evict>, usize)>>,
}

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
        Self { bytes_max, bytes: Cell::new(0), order: RefCell::default() }
    }

    /// Counts a batch that `log` has put at the end of its cached ones.
    pub fn added(&self, log: Weak<dyn Evict>, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.order.borrow_mut().push_back((log, bytes));
        self.trim();
    }

    /// Evicts until the budget holds or the oldest batch is not written yet.
    pub fn trim(&self) {
        while self.bytes.get() > self.bytes_max {
            let Some((log, bytes)) = self.order.borrow_mut().pop_front() else { return };
            if log.upgrade().is_some_and(|log| !log.evict_oldest()) {
                self.order.borrow_mut().push_front((log, bytes));
                return;
            }
            self.bytes.set(self.bytes.get() - bytes);
        }
    }

    /// Bytes counted now.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }
}
