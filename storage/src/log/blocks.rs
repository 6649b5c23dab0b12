//! Blocks for what a log is going to write: asked for when a batch is durable, allocated by a task of the store,
//! and what a log does when there are none.

use std::rc::Rc;

use super::log::Log;
use crate::error::StorageFailed;
use crate::io::{Io, IoError};
use crate::segment::segment::{Segment, to_u64};
use crate::space::Room;

impl<I: Io> Log<I> {
    /// Queues the log for blocks if the next step is due. A segment gets a file only once its first batch is
    /// durable: its name alone would be a roll after a crash.
    pub(crate) fn want_blocks(&self) {
        let due = {
            let state = self.state.borrow();
            let size_max = self.config.borrow().segment_bytes;
            state.segments.back().is_some_and(|segment| {
                segment.base_offset <= self.durable.get().segment_base && segment.wants_blocks(size_max)
            })
        };
        if due && !self.has_failed() && !self.wanting.replace(true) {
            self.shared.space.want(self.myself.clone());
        }
    }

    /// Whether an append up to `end` has to be refused: the log found no blocks for it, the journal cannot grow, or
    /// others wait for room with all the memory that may wait.
    pub(super) fn lacks_space(&self, segment: &Segment<I>, end: u64) -> bool {
        let dirty_max = to_u64(self.shared.config.dirty_bytes_max());
        self.short_of_space.get() && end > segment.allocated.get()
            || self.shared.journal.lacks_space()
            || self.shared.space.is_short() && self.shared.dirty.get() >= dirty_max
    }

    /// Allocates the next steps of its segments; if room was found for what waited, it is written. An error takes the log
    /// offline.
    pub(crate) async fn allocate_blocks(&self) -> Result<Room, StorageFailed> {
        let _writer = self.writer.lock().await;
        self.check_online()?;
        self.allocate_locked().await.map_err(|error| self.fail(&error))
    }

    async fn allocate_locked(&self) -> Result<Room, IoError> {
        let segments: Vec<Rc<Segment<I>>> = {
            let state = self.state.borrow();
            let durable = self.durable.get().segment_base;
            let open = state.segments.iter().rev().take_while(|segment| !segment.sealed.get());
            open.filter(|segment| segment.base_offset <= durable).map(Rc::clone).collect()
        };
        for segment in segments.into_iter().rev() {
            if self.deleted.get() {
                break;
            }
            if self.allocate(&segment).await? == Room::Short {
                return Ok(Room::Short);
            }
        }
        // Also with no segment to allocate for: a rolled one, still without a batch, is none.
        if self.short_of_space.replace(false) {
            self.make_due();
        }
        Ok(Room::Ample)
    }

    /// Allocates a segment's next step and remembers whether there was room. Held by whoever calls: the writer lock.
    pub(super) async fn allocate(&self, segment: &Segment<I>) -> Result<Room, IoError> {
        let size_max = self.config.borrow().segment_bytes;
        let room = segment.allocate_ahead(size_max).await?;
        if room == Room::Short {
            self.short_of_space.set(true);
            if !self.wanting.replace(true) {
                self.shared.space.want(self.myself.clone());
            }
        }
        Ok(room)
    }
}
