//! What segments hold that can be had again: open files, and indexes of sealed segments. Past a budget of segments or
//! of index bytes the one that was not used for longest gives up both (second chance: a use since the last look
//! keeps it for a round).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

use super::segment::Segment;
use crate::io::Io;

/// The segments of one store that hold something. Lives on its shard's thread.
pub(crate) struct OpenFiles<I: Io> {
    segments_max: usize,
    index_bytes_max: usize,
    /// Memory of the sealed segments' indexes.
    index_bytes: Cell<usize>,
    holding: RefCell<VecDeque<Weak<Segment<I>>>>,
    evicted: Cell<u64>,
}

impl<I: Io> OpenFiles<I> {
    /// None yet, at most `segments_max`, and at most `index_bytes_max` for indexes beside the newest's.
    pub(crate) fn new(segments_max: usize, index_bytes_max: usize) -> Self {
        Self {
            segments_max,
            index_bytes_max,
            index_bytes: Cell::new(0),
            holding: RefCell::default(),
            evicted: Cell::new(0),
        }
    }

    /// Takes in a segment that begins to hold something.
    pub(super) fn enter(&self, segment: Weak<Segment<I>>) {
        self.holding.borrow_mut().push_back(segment);
    }

    /// Counts an index that was `before` bytes large and is now `after`.
    pub(super) fn index_changed(&self, before: usize, after: usize) {
        self.index_bytes.set((self.index_bytes.get() + after).saturating_sub(before));
    }

    /// Lets segments go until the budgets hold, but for the one that is being used.
    pub(super) fn trim(&self, using: &Weak<Segment<I>>) {
        // Each is looked at twice at most: the first look takes the mark of its last use.
        let looks = 2 * self.holding.borrow().len();
        for _ in 0..looks {
            let count = self.holding.borrow().len();
            let fits = count <= self.segments_max && self.index_bytes.get() <= self.index_bytes_max;
            if fits || count <= 1 {
                return;
            }
            let Some(oldest) = self.holding.borrow_mut().pop_front() else { return };
            let Some(segment) = oldest.upgrade() else { continue };
            if !oldest.ptr_eq(using) && segment.let_go() {
                self.evicted.set(self.evicted.get() + 1);
            } else {
                self.holding.borrow_mut().push_back(oldest);
            }
        }
    }
}

impl<I: Io> std::fmt::Debug for OpenFiles<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFiles")
            .field("segments_max", &self.segments_max)
            .field("index_bytes_max", &self.index_bytes_max)
            .field("index_bytes", &self.index_bytes)
            .field("holding", &self.holding.borrow().len())
            .field("evicted", &self.evicted)
            .finish()
    }
}
