//! What the journal holds of a log at a start, on its way into segments: put together in memory, checked there by
//! [`super::recovery`], then written as far as it is much, and synced together with other logs'.

use std::rc::Rc;

use bytes::Bytes;

use super::expected::damaged;
use super::log::Log;
use crate::error::OpenError;
use crate::io::{AlignedBuffer, Io, IoError, IoFile};
use crate::segment::segment::{BLOCK, Segment, block_floor, to_u64, to_usize};
use crate::space::{Room, is_no_space};

/// Bytes of one write: the disk's full speed with several in flight.
const CHUNK_BYTES: u64 = 1 << 20;

impl<I: Io> Log<I> {
    /// Puts what the journal holds of a segment together as its head. Nothing is written before it is checked. Returns
    /// where it ends.
    pub(super) async fn place(
        &self,
        segment: &Segment<I>,
        file_bytes: Option<u64>,
        mut runs: Vec<(u64, Bytes)>,
    ) -> Result<u64, OpenError> {
        let file_size = file_bytes.unwrap_or(0);
        // All runs repeat the same bytes where they overlap: the log is never written twice at one position.
        runs.sort_by_key(|(position, _)| *position);
        let begin = runs.first().map_or(0, |(position, _)| *position);
        let from = block_floor(begin);
        let damaged = |what: String| damaged(&segment.path(".log"), what);
        if file_size < begin && from != begin {
            return Err(damaged(format!("{file_size} bytes long, but the journal goes on at {begin}")));
        }
        if file_size < from {
            return Err(damaged(format!("{file_size} bytes long, but the journal goes on at {begin}")));
        }
        let before = segment.read_file(from, begin).await?;
        let sum: usize = runs.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut content = Vec::with_capacity(before.len() + sum);
        content.extend_from_slice(&before);
        for (position, bytes) in runs {
            let at = to_usize(position - from);
            if at > content.len() {
                let end = from + to_u64(content.len());
                return Err(damaged(format!("the journal has nothing between {end} and {position}")));
            }
            let end = at + bytes.len();
            if end > content.len() {
                content.truncate(at);
                content.extend_from_slice(&bytes);
            }
        }
        let end = from + to_u64(content.len());
        segment.size.set(end);
        segment.written.set(from);
        segment.synced.set(from);
        if file_size > end {
            segment.file().await?.truncate(end).await?;
            segment.allocated.set(segment.allocated.get().min(end.next_multiple_of(BLOCK)));
        }
        *segment.head.borrow_mut() = (!content.is_empty()).then(|| (from, content.into()));
        Ok(end)
    }

    /// Writes whole blocks of what the journal holds of a segment into its file. Little is not written, but journalled again
    /// as a whole: one write for all logs, in place of a write and a sync for each.
    pub(super) async fn write_recovered(&self, segment: &Segment<I>, is_last: bool) -> Result<(), IoError> {
        let Some((begin, content)) = segment.head.borrow().clone() else { return Ok(()) };
        let kept = to_u64(content.len());
        let config = &self.shared.config;
        let is_little =
            kept <= config.carry_bytes_max && self.shared.dirty.get() + kept <= config.journal_file_bytes / 2;
        if is_last && is_little {
            return Ok(());
        }
        let placed = block_floor(begin + kept);
        while segment.written.get() < placed {
            let at = segment.written.get();
            let bytes = (placed - at).min(CHUNK_BYTES);
            let spare = self.shared.chunks.borrow_mut().pop();
            let spare = spare.filter(|buffer| to_u64(buffer.capacity()) >= bytes);
            let mut buffer = spare.unwrap_or_else(|| AlignedBuffer::zeroed(to_usize(bytes)));
            buffer.set_len(to_usize(bytes));
            buffer.copy_from_slice(&content[to_usize(at - begin)..to_usize(at + bytes - begin)]);
            let Some(buffer) = self.write_if_room(segment, buffer, bytes).await? else { break };
            self.shared.chunks.borrow_mut().push(buffer);
        }
        Ok(())
    }

    /// Makes durable what opening wrote, and keeps in memory what is left. Called when many logs are written: the first
    /// sync then does most of the work of all.
    pub(crate) async fn sync_recovered(&self) -> Result<(), IoError> {
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let unsealed = state.segments.iter().rev().take_while(|segment| !segment.sealed.get());
            unsealed.map(Rc::clone).collect()
        };
        for segment in segments {
            segment.sync().await?;
            segment.trim_head();
        }
        Ok(())
    }

    /// Writes to a segment. On a full device nothing is written: what is pending stays in memory, is journalled again, and
    /// nothing is appended before it has its blocks.
    async fn write_if_room(
        &self,
        segment: &Segment<I>,
        buffer: AlignedBuffer,
        bytes: u64,
    ) -> Result<Option<AlignedBuffer>, IoError> {
        match segment.write(buffer, bytes).await {
            Ok(buffer) => Ok(Some(buffer)),
            Err(error) if is_no_space(&error) => {
                self.short_of_space.set(true);
                if !self.wanting.replace(true) {
                    self.shared.space.want(self.myself.clone());
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A segment that was rolled before the crash, but not sealed yet or not known to be. On a full device it is sealed
    /// when there is room.
    pub(super) async fn seal_recovered(&self, segment: &Segment<I>) -> Result<Room, IoError> {
        self.write_txn_index_if_room(segment).await?;
        if let Some(bytes) = segment.of_head(segment.written.get(), segment.size.get())
            && !bytes.is_empty()
        {
            let mut buffer = AlignedBuffer::zeroed(bytes.len().next_multiple_of(crate::io::BLOCK_BYTES));
            buffer[..bytes.len()].copy_from_slice(&bytes);
            if self.write_if_room(segment, buffer, to_u64(bytes.len())).await?.is_none() {
                return Ok(Room::Short);
            }
        }
        segment.finish().await?;
        segment.sealed.set(true);
        Ok(Room::Ample)
    }
}
