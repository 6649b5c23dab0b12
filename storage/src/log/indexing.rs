//! A segment's index on first use: from its files if they fit the log, from the log itself if not. Sealed
//! segments give their index up again when others need the room.

use std::ops::ControlFlow;
use std::rc::Rc;

use super::checking::Expected;
use super::log::Log;
use crate::error::ReadError;
use crate::io::{Io, IoError};
use crate::record::batch::{BatchHeader, HEADER_BYTES};
use crate::segment::offset_index::{self, OffsetIndex};
use crate::segment::segment::{Segment, to_u64};
use crate::segment::sparse_index::SparseIndex;
use crate::segment::time_index::{self, TimeIndex};
use crate::types::{Offset, Position, TimestampMs};

/// Index files are refused above this: 12 bytes for each 64 bytes of the largest segment.
const INDEX_BYTES_MAX: usize = 512 << 20;

impl<I: Io> Log<I> {
    /// Makes a segment's index whole. If it is, this does not wait: what was looked up before may have been given up
    /// since, so it is called right before each look.
    pub(crate) async fn complete_index(&self, segment: &Rc<Segment<I>>) -> Result<(), ReadError> {
        segment.touch();
        if segment.index_from.get() == 0 {
            return Ok(());
        }
        let interval = self.config.borrow().index_interval_bytes;
        let loaded = self.load_index(segment, interval).await;
        let loaded_count = loaded.as_ref().map(|(index, _)| index.offsets().count());
        let is_made = loaded.is_none();
        let (mut index, mut position) =
            loaded.unwrap_or_else(|| (SparseIndex::new(segment.base_offset, interval), 0));
        let mut first = None;
        let last = index.offsets().last().map(|(offset, _)| offset);
        let mut expected = self.expected(segment, segment.base_offset, last);
        while position < segment.size.get() {
            let end = segment.size.get();
            let damage = self
                .walk(segment, (position, end), &mut expected, |header, at, _| {
                    if at == 0 {
                        first = Some(header.max_timestamp());
                    }
                    // A batch the index cannot hold is found from the entry before it.
                    let _ = index.push(header, Position(at));
                    ControlFlow::Continue(())
                })
                .await?;
            position = end;
            if let Some(damage) = damage {
                // Only good batches are in an index: what lies behind is found from it all the same.
                let _ = self.note_damage(segment, damage);
                let (behind, next) = self.behind_damage(segment, damage.position, &expected).await?;
                position = behind;
                expected = Expected { next, last: None, ..expected };
            }
        }
        if segment.sealed.get() {
            let _ = index.seal();
            // Files that name more than there is say so at the next start, too.
            if loaded_count != Some(index.offsets().count())
                && self.lost_end(segment, expected.next).is_none()
                && let Err(error) = self.write_index_files(segment, index.files()).await
            {
                tracing::warn!("the next start rebuilds it again: {error}");
            }
            segment.largest.set(index.largest());
        }
        // No wait since the last look at the size of a segment that may grow: nothing was appended that this lacks.
        *segment.index.borrow_mut() = index;
        segment.index_from.set(0);
        segment.is_index_made.set(is_made);
        if segment.sealed.get() {
            segment.hold();
        }
        segment.first_timestamp.set(segment.first_timestamp.get().or(first));
        Ok(())
    }

    /// The segment's largest timestamp, and the last offset of the first batch that has it.
    pub(crate) async fn largest(
        &self,
        segment: &Rc<Segment<I>>,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        if let Some(largest) = segment.largest.get() {
            return Ok(Some(largest));
        }
        self.complete_index(segment).await?;
        Ok(segment.index.borrow().largest())
    }

    /// Forgets an index that was loaded, and takes it from the log. For one that led to what is no batch.
    pub(crate) async fn rebuild_index(&self, segment: &Rc<Segment<I>>) -> Result<(), ReadError> {
        tracing::warn!("the index of {} is wrong and is rebuilt", segment.path(".log").display());
        for suffix in [offset_index::SUFFIX, time_index::SUFFIX] {
            // One that is not there is as good as one removed.
            let _ = self.shared.io.remove_file(&segment.path(suffix)).await;
        }
        segment.forget_index();
        self.complete_index(segment).await
    }

    /// Writes the index files of a sealed segment.
    pub(super) async fn write_index_files(
        &self,
        segment: &Segment<I>,
        [offsets, times]: [Vec<u8>; 2],
    ) -> Result<(), IoError> {
        let _writer = self.index_writer.lock().await;
        let io = &self.shared.io;
        io.replace_file(&segment.path(offset_index::SUFFIX), offsets).await?;
        io.replace_file(&segment.path(time_index::SUFFIX), times).await
    }

    /// The offset that is missing at the end of a segment whose good batches end with the one before `end`: one that the
    /// index files name. Without that what is missing there was compacted.
    pub(super) fn lost_end(&self, segment: &Segment<I>, end: Offset) -> Option<Offset> {
        let next = self.next_base(segment)?;
        segment.named_last.get().filter(|last| *last >= end && *last < next).map(|_| end)
    }

    /// The index up to its last entry, and where that entry's batch begins: what follows is read from the log.
    /// `None` if a file is missing or does not fit.
    async fn load_index(&self, segment: &Segment<I>, interval: u64) -> Option<(SparseIndex, u64)> {
        let io = &self.shared.io;
        let offsets = io.read_file(&segment.path(offset_index::SUFFIX), INDEX_BYTES_MAX).await.ok()?;
        let times = io.read_file(&segment.path(time_index::SUFFIX), INDEX_BYTES_MAX).await.ok()?;
        let is_sealed = segment.sealed.get();
        // Of a sealed segment that lost its end what lies before it is indexed as before.
        let bytes_max = if is_sealed { u64::MAX } else { segment.size.get() };
        let mut offsets = OffsetIndex::read(segment.base_offset, &offsets, bytes_max).ok()?;
        let times = TimeIndex::read(segment.base_offset, &times).ok()?;
        let last = |last: Option<(Offset, Position)>| last.map(|(offset, _)| offset);
        let named_last = last(offsets.last()).max(times.last().map(|(_, offset)| offset));
        offsets.cut_at(Position(segment.size.get()));
        segment.named_last.set(named_last.filter(|_| is_sealed));
        let Some((last_offset, Position(at))) = offsets.last() else {
            return Some((SparseIndex::new(segment.base_offset, interval), 0));
        };
        if times.last().is_none() && self.header_at(segment, 0).await.ok()??.max_timestamp() == TimestampMs(0)
        {
            // The entry of a first record from 1970 is all zeroes, as room for entries that never came is.
            return None;
        }
        let header = self.header_at(segment, at).await.ok()??;
        let fits = header.last_offset() == last_offset
            && header.batch_bytes().is_some_and(|bytes| at + to_u64(bytes) <= segment.size.get());
        fits.then(|| (SparseIndex::resume(offsets, times, interval), at))
    }

    /// The batch header at a position of a segment; `None` if the segment ends before its end.
    pub(super) async fn header_at(
        &self,
        segment: &Segment<I>,
        position: u64,
    ) -> Result<Option<BatchHeader>, IoError> {
        let end = segment.size.get().min(position + to_u64(HEADER_BYTES));
        let bytes = self.read_range(segment, position, end).await?;
        Ok(BatchHeader::read(&bytes).copied())
    }
}
