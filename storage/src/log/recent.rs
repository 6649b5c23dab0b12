//! The newest batches that a start has in memory stay there: who produced or consumed before the stop goes on right behind
//! them, and need not wait for the disk. Only what is known to be as it was acknowledged does, since what comes from memory
//! is not looked at again.

use std::rc::{Rc, Weak};

use bytes::Bytes;

use super::epoch_cache::EpochCache;
use super::log::{Cached, Log};
use super::recovery::Known;
use crate::cache::Evict;
use crate::io::Io;
use crate::journal::journal::LogPoint;
use crate::record::batch::BatchHeader;
use crate::segment::segment::{BLOCK, Segment, block_floor, to_u64, to_usize};
use crate::types::{LeaderEpoch, Offset};

/// A batch that the check of a segment has found whole.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Where it begins.
    pub(super) position: u64,
    len: usize,
    base_offset: Offset,
    next_offset: Offset,
    epoch: LeaderEpoch,
}

impl Seen {
    /// A batch of `len` bytes that begins at `position`.
    pub(super) fn new(header: &BatchHeader, position: u64, len: usize) -> Self {
        Self {
            position,
            len,
            base_offset: header.base_offset(),
            next_offset: header.next_offset(),
            epoch: header.partition_leader_epoch(),
        }
    }
}

/// From where on batches that were read back from a cleanly closed segment may be kept: within the last two blocks, if
/// offsets and epochs, which no CRC covers, are those that `known` and `told` say.
pub(super) fn recent_from(known: &Known<'_>, seen: &[Seen], told: &EpochCache) -> Option<u64> {
    let ends = known.checkpoint.map(|checkpoint| checkpoint.state_offset).or(known.clean_end)?;
    let floor = block_floor(seen.last()?.position).saturating_sub(BLOCK);
    let mut next = ends;
    let fits = |seen: &&Seen| {
        let is_next = seen.next_offset == std::mem::replace(&mut next, seen.base_offset);
        is_next && seen.position >= floor && told.epoch_for_offset(seen.base_offset) == Some(seen.epoch)
    };
    seen.iter().rev().take_while(fits).last().map(|seen| seen.position)
}

impl<I: Io> Log<I> {
    /// Keeps the batches among `seen` that `bytes`, which begin at a position of the last segment, have whole.
    pub(super) fn keep_recent(&self, segment: &Segment<I>, seen: &[Seen], (begin, bytes): (u64, &Bytes)) {
        let mut state = self.state.borrow_mut();
        for batch in seen.iter().filter(|batch| batch.position >= begin) {
            let at = to_usize(batch.position - begin);
            if at + batch.len <= bytes.len() {
                state.cached.push_back(Cached {
                    point: LogPoint { segment_base: segment.base_offset, position: batch.position },
                    base_offset: batch.base_offset,
                    last_offset: Offset(batch.next_offset.0.saturating_sub(1)),
                    bytes: bytes.slice(at..at + batch.len),
                });
            }
        }
    }

    /// Has the cache count what is kept, now that the log's end is known.
    pub(super) fn count_recent(&self, end: Offset) {
        let sizes: Vec<usize> = {
            let cached = &mut self.state.borrow_mut().cached;
            if cached.back().is_some_and(|last| last.last_offset.0.saturating_add(1) != end.0) {
                cached.clear();
            }
            cached.iter().map(|cached| cached.bytes.len()).collect()
        };
        for bytes in sizes {
            let weak = self.myself.clone();
            self.shared.cache.added(weak as Weak<dyn Evict>, bytes);
        }
    }
}

/// Whether all of a segment up to `end` is in its file, or in its head.
pub(super) fn is_held<I: Io>(segment: &Rc<Segment<I>>, end: u64) -> bool {
    let in_head = |(begin, head): &(u64, Bytes)| end <= begin + to_u64(head.len());
    segment.synced.get() >= end || segment.head.borrow().as_ref().is_some_and(in_head)
}
