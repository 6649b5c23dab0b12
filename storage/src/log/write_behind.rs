//! Bytes on their way from the journal into segments: whole blocks, once each, in large writes; the last block
//! only when a segment is sealed or the store stops.
//!
//! Only durable bytes are written, so a crash never finds bytes in a segment that the journal did not have. Any
//! error here takes the log offline (a failed sync may have dropped pages: nothing can be retried).

use std::cmp::Ordering;
use std::rc::Rc;

use futures::channel::oneshot;

use super::log::{Log, State};
use super::producer_snapshot;
use crate::error::{StorageFailed, StoreError};
use crate::io::{AlignedBuffer, Io, IoError};
use crate::journal::journal::LogPoint;
use crate::segment::segment::{Segment, block_floor, to_u64, to_usize};
use crate::space::{Room, is_no_space};
use crate::types::Offset;

/// Bytes of one write: the disk's full speed with two or more in flight, and little to wait behind. All that a log
/// gathers before it is written ([`StoreConfig::write_behind_bytes`](crate::config::StoreConfig::write_behind_bytes)).
const CHUNK_BYTES: u64 = 2 << 20;

impl<I: Io> Log<I> {
    /// Writes all whole blocks that are durable, and seals segments that were rolled. With `to_end` the active
    /// segment's last block is written as well, and it gets its true length: only a clean stop does so.
    /// On a full device as much is written as has blocks; with `to_end` that is an error. Any other takes the log offline.
    /// With `to_end` the transaction indexes are all written as well.
    pub(crate) async fn write_out(&self, to_end: bool) -> Result<Room, StoreError> {
        let _writer = self.writer.lock().await;
        self.due.set(false);
        if self.deleted.get() {
            return Ok(Room::Ample);
        }
        self.check_online()?;
        let written = match self.write_locked(to_end).await {
            Ok(Room::Ample) if to_end => self.write_txn_indexes().await.map(|()| Room::Ample),
            written => written,
        };
        match written {
            Err(error) if to_end && is_no_space(&error) => Err(error.into()),
            Err(error) => Err(self.fail(&error).into()),
            Ok(room) => Ok(room),
        }
    }

    /// The same with the writer lock held.
    pub(super) async fn write_locked(&self, to_end: bool) -> Result<Room, IoError> {
        loop {
            let next = {
                let state = self.state.borrow();
                let index = state.segments.iter().position(|segment| !segment.sealed.get());
                index.map(|index| {
                    (Rc::clone(&state.segments[index]), state.segments.get(index + 1).map(Rc::clone))
                })
            };
            let Some((segment, successor)) = next else { return Ok(Room::Ample) };
            let active = successor.is_none();
            if active && segment.is_untouched() {
                return Ok(Room::Ample);
            }
            let durable = self.durable.get();
            let limit = match segment.base_offset.cmp(&durable.segment_base) {
                Ordering::Less => segment.size.get(),
                Ordering::Equal => durable.position.min(segment.size.get()),
                Ordering::Greater => return Ok(Room::Ample),
            };
            let whole = limit == segment.size.get();
            let needed = if whole && (!active || to_end) { limit } else { block_floor(limit) };
            if segment.allocated.get() < needed {
                self.allocate(&segment).await?;
            }
            self.write_blocks(&segment, block_floor(limit).min(segment.allocated.get())).await?;
            if segment.allocated.get() < needed {
                return if to_end { Err(segment.no_space()) } else { Ok(Room::Short) };
            }
            if !whole || active && !to_end {
                return Ok(Room::Ample);
            }
            self.seal(&segment).await?;
            let Some(successor) = successor else { return Ok(Room::Ample) };
            self.write_snapshot(&successor).await?;
        }
    }

    /// Makes every segment's `.txnindex` say what is known, durably.
    pub(super) async fn write_txn_indexes(&self) -> Result<(), IoError> {
        let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
        for segment in segments {
            self.write_txn_index(&segment).await?;
        }
        Ok(())
    }

    async fn write_blocks(&self, segment: &Segment<I>, to: u64) -> Result<(), IoError> {
        // What is pending stands in the journal: where that is small, so are the writes.
        let chunk_bytes = CHUNK_BYTES.min(block_floor(self.shared.config.journal_file_bytes));
        while segment.written.get() < to {
            let from = segment.written.get();
            let end = to.min(from + chunk_bytes);
            let spare = self.shared.chunks.borrow_mut().pop();
            let mut buffer = spare.unwrap_or_else(|| AlignedBuffer::zeroed(to_usize(chunk_bytes)));
            buffer.set_len(to_usize(end - from));
            copy_pending(&self.state.borrow(), segment, from, &mut buffer);
            self.shared.config.counters.segment_copied_bytes.add_len(buffer.len());
            let buffer = segment.write(buffer, end - from).await?;
            self.shared.chunks.borrow_mut().push(buffer);
            self.shared.dirty_removed(end - from);
        }
        Ok(())
    }

    /// Writes the last block padded, cuts the file to its length, syncs, and writes the indexes.
    async fn seal(&self, segment: &Rc<Segment<I>>) -> Result<(), IoError> {
        let from = segment.written.get();
        let rest = segment.size.get() - from;
        if rest > 0 {
            let mut buffer = AlignedBuffer::zeroed(to_usize(rest).next_multiple_of(crate::io::BLOCK_BYTES));
            let bytes = to_usize(rest);
            copy_pending(&self.state.borrow(), segment, from, &mut buffer[..bytes]);
            self.shared.config.counters.segment_copied_bytes.add_len(bytes);
            segment.write(buffer, rest).await?;
            self.shared.dirty_removed(rest);
        }
        self.write_txn_index_if_room(segment).await?;
        segment.finish().await?;
        segment.sealed.set(true);
        self.shared.cache.trim();
        self.write_indexes(segment).await
    }

    async fn write_indexes(&self, segment: &Rc<Segment<I>>) -> Result<(), IoError> {
        if self.complete_index(segment).await.is_err() {
            // They are rebuilt on first use; nothing of the records depends on them.
            tracing::warn!("no index written for {}", segment.path(".log").display());
            return Ok(());
        }
        let files = {
            let mut index = segment.index.borrow_mut();
            let _ = index.seal();
            segment.largest.set(index.largest());
            index.files()
        };
        segment.hold();
        match self.write_index_files(segment, files).await {
            Err(error) if is_no_space(&error) => {
                tracing::warn!("it is rebuilt when needed: {error}");
                Ok(())
            }
            written => written,
        }
    }

    /// Writes what was known of producers at the segment's base offset. All of it is durable: what is before the segment
    /// is sealed.
    async fn write_snapshot(&self, segment: &Segment<I>) -> Result<(), IoError> {
        let Some(snapshot) = segment.snapshot.take() else { return Ok(()) };
        match self.shared.io.replace_file(&segment.path(producer_snapshot::SUFFIX), snapshot).await {
            Err(error) if is_no_space(&error) => {
                // Only somebody who takes the directory over would use it, and reads the log instead.
                tracing::warn!("{error}");
                Ok(())
            }
            written => written,
        }
    }

    /// Syncs every segment up to the one of `point`, then journals again what of `[.., point)` they do not hold.
    /// Everything older must be written. The receiver completes when that is durable.
    pub(crate) async fn settle(
        &self,
        point: LogPoint,
    ) -> Result<Option<oneshot::Receiver<()>>, StorageFailed> {
        // Nobody writes meanwhile, so that `written` is what was synced.
        let _writer = self.writer.lock().await;
        if self.deleted.get() {
            return Ok(None);
        }
        self.check_online()?;
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let upto = state.segments.iter().filter(|segment| segment.base_offset <= point.segment_base);
            upto.filter(|segment| segment.synced.get() < segment.written.get()).map(Rc::clone).collect()
        };
        for segment in segments {
            segment.sync().await.map_err(|error| self.fail(&error))?;
        }
        Ok(self.carry(point))
    }

    /// Whether what a journal file holds of this log up to `point` is so little that it is journalled again instead
    /// of written.
    pub(crate) fn carries_only(&self, point: LogPoint) -> bool {
        let small = {
            let state = self.state.borrow();
            let mut unsealed = state.segments.iter().filter(|segment| !segment.sealed.get());
            unsealed.all(|segment| {
                segment.base_offset == point.segment_base
                    && point.position.saturating_sub(segment.written.get())
                        < self.shared.config.carry_bytes_max
            })
        };
        if small && self.carry_laps.get() < self.shared.config.carry_laps_max {
            self.carry_laps.set(self.carry_laps.get() + 1);
            return true;
        }
        self.carry_laps.set(0);
        false
    }

    fn carry(&self, point: LogPoint) -> Option<oneshot::Receiver<()>> {
        // A truncation, and appends, may have come in between: what is carried ends with a batch all the same.
        let point = self.end_of_batch(point.min(self.durable.get()));
        let (segment_base, from, bytes) = {
            let state = self.state.borrow();
            let segment = state.segments.iter().find(|segment| segment.base_offset == point.segment_base)?;
            let (from, to) = (segment.written.get(), point.position.min(segment.size.get()));
            if segment.sealed.get() || segment.is_untouched() || from >= to {
                return None;
            }
            let mut bytes = vec![0; to_usize(to - from)];
            copy_pending(&state, segment, from, &mut bytes);
            (segment.base_offset, from, bytes)
        };
        let descriptor = self.carry_descriptor(segment_base, from, &bytes);
        Some(self.shared.journal.push_carried(descriptor, bytes.into()))
    }

    /// The end of the batch that a point lies within; the point itself between batches.
    fn end_of_batch(&self, point: LogPoint) -> LogPoint {
        let state = self.state.borrow();
        let above = state.cached.partition_point(|cached| cached.point < point);
        let Some(cached) = above.checked_sub(1).and_then(|index| state.cached.get(index)) else {
            return point;
        };
        let end = cached.point.position + to_u64(cached.bytes.len());
        let is_within = cached.point.segment_base == point.segment_base && end > point.position;
        if is_within { LogPoint { position: end, ..point } } else { point }
    }

    /// Up to where everything is on stable media in segments: recovery checks from here on. Always at a batch's
    /// start, since batches are looked for from there.
    pub(crate) fn recovery_point(&self) -> (LogPoint, Offset) {
        let state = self.state.borrow();
        let end = self.offsets.get().log_end_offset;
        let unsynced = state.segments.iter().find(|segment| segment.synced.get() < segment.size.get());
        // The last one with records: an empty one need not have a file yet.
        let full = state.segments.iter().rfind(|segment| segment.size.get() > 0);
        let Some(segment) = unsynced.or(full).or(state.segments.back()) else {
            return (LogPoint { segment_base: end, position: 0 }, end);
        };
        if segment.synced.get() == segment.size.get() {
            return (LogPoint { segment_base: segment.base_offset, position: segment.size.get() }, end);
        }
        let synced = segment.synced.get();
        let batch_at = |cached: &&super::log::Cached| {
            cached.point.segment_base == segment.base_offset
                && cached.point.position + to_u64(cached.bytes.len()) > synced
        };
        if let Some(cached) = state.cached.iter().find(batch_at)
            && cached.point.position <= synced
        {
            return (cached.point, cached.base_offset);
        }
        // The batch across the end of what is synced is not in memory (after a start): from the last index entry on.
        (
            LogPoint { segment_base: segment.base_offset, position: segment.checked_from.get() },
            segment.base_offset,
        )
    }

    /// Drops whole segments below `offset`, files last. Used by retention; the log start moved already.
    pub(crate) fn segments_below(&self, offset: Offset) -> Vec<Rc<Segment<I>>> {
        let mut state = self.state.borrow_mut();
        let mut dropped = Vec::new();
        while state.segments.len() > 1
            && state.segments[1].base_offset <= offset
            && state.segments[0].sealed.get()
        {
            dropped.extend(state.segments.pop_front());
        }
        dropped
    }
}

/// Fills `out` with the segment's bytes from `from` on; they are all in memory, in its head or in cached batches.
pub(super) fn copy_pending<I: Io>(state: &State<I>, segment: &Segment<I>, from: u64, out: &mut [u8]) {
    let to = from + to_u64(out.len());
    let mut copied = 0;
    let mut put = |at: u64, bytes: &[u8]| {
        let end = at + to_u64(bytes.len());
        let (first, last) = (at.max(from), end.min(to));
        if first < last {
            let run = &bytes[to_usize(first - at)..to_usize(last - at)];
            out[to_usize(first - from)..to_usize(last - from)].copy_from_slice(run);
            copied += run.len();
        }
    };
    if let Some((at, head)) = &*segment.head.borrow() {
        put(*at, head);
    }
    let begin = state.cached.partition_point(|cached| {
        let end = cached.point.position + to_u64(cached.bytes.len());
        cached.point.segment_base < segment.base_offset
            || cached.point.segment_base == segment.base_offset && end <= from
    });
    for cached in state.cached.iter().skip(begin) {
        if cached.point.segment_base != segment.base_offset || cached.point.position >= to {
            break;
        }
        put(cached.point.position, &cached.bytes);
    }
    assert_eq!(copied, out.len(), "pending bytes are in memory: {segment:?} from {from}");
}
