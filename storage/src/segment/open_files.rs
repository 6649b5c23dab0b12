//! How many segments hold what can be had again: open files, and indexes of sealed segments. Past the budget the one
//! that was not used for longest gives them up (second chance: a use since the last look keeps it for a round).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;

use super::segment::Segment;
use crate::io::Io;

/// The segments of one store that hold something. Lives on its shard's thread.
pub(crate) struct OpenFiles<I: Io> {
    segments_max: usize,
    holding: RefCell<VecDeque<Weak<Segment<I>>>>,
    evicted: Cell<u64>,
}

impl<I: Io> OpenFiles<I> {
    /// None yet, and at most `segments_max`.
    pub(crate) fn new(segments_max: usize) -> Self {
        Self { segments_max, holding: RefCell::default(), evicted: Cell::new(0) }
    }

    /// Takes in a segment that begins to hold something, and lets others go.
    pub(crate) fn enter(&self, segment: Weak<Segment<I>>) {
        self.holding.borrow_mut().push_back(segment);
        // Each is looked at twice at most: the first look takes the mark of its last use.
        for _ in 0..2 * self.segments_max {
            if self.holding.borrow().len() <= self.segments_max {
                return;
            }
            let Some(oldest) = self.holding.borrow_mut().pop_front() else { return };
            let Some(segment) = oldest.upgrade() else { continue };
            if segment.let_go() {
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
            .field("holding", &self.holding.borrow().len())
            .field("evicted", &self.evicted)
            .finish()
    }
}
