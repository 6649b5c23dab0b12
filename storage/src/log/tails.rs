//! The end of a log's last segment at a start: from where it is checked, what whole batches there are, and what is done
//! about a torn one behind them.

use super::expected::damaged;
use super::known::Known;
use super::log::Log;
use super::remembered::take_epoch;
use crate::error::OpenError;
use crate::io::{Io, IoError, IoFile};
use crate::journal::journal::LogPoint;
use crate::record::batch;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::segment::{Seen, Segment, block_floor, to_u64, to_usize};
use crate::types::{Offset, Position};

/// What the check of the last segment found.
pub(super) struct Checked {
    /// Where the last whole batch ends.
    pub(super) end: u64,
    /// The offset behind it, if there is one.
    pub(super) next_offset: Option<Offset>,
    /// The batches.
    pub(super) batches: Vec<Found>,
    tail: Tail,
}

/// A batch that was checked.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// Where it begins.
    pub(super) at: u64,
    /// Its base offset.
    base: Offset,
    /// The offset behind it.
    next: Offset,
}

impl Checked {
    /// Those of the batches whose base offset, which no CRC covers, is confirmed: by a neighbour without a gap between, or
    /// by who tells where the segment begins, where the check began, or where the log ends.
    fn confirmed<'a>(&'a self, segment_base: Offset, known: &'a Known<'_>) -> impl Iterator<Item = Found> {
        let batches = &self.batches;
        let begin =
            known.checkpoint.map(|checkpoint| (checkpoint.recovery_point, checkpoint.recovery_offset));
        let is_told = move |batch: &Found| {
            let at = LogPoint { segment_base, position: batch.at };
            // Where the check began at an index entry the segment's own base offset is told.
            batch.base > segment_base && begin == Some((at, batch.base))
                || (batch.at, batch.base) == (0, segment_base)
                || known.clean_end == Some(batch.next)
        };
        let is_confirmed = move |(index, batch): &(usize, &Found)| {
            let before = index.checked_sub(1).and_then(|before| batches.get(before));
            let behind = batches.get(index + 1);
            is_told(batch)
                || before.is_some_and(|before| before.next == batch.base)
                || behind.is_some_and(|behind| behind.base == batch.next)
        };
        batches.iter().enumerate().filter(is_confirmed).map(|(_, batch)| *batch)
    }

    /// Nothing yet, of what begins there.
    fn from(from: u64) -> Self {
        Self { end: from, next_offset: None, batches: Vec::new(), tail: Tail { from, bytes: Vec::new() } }
    }
}

/// The bytes of the block that holds the end of what was checked, as far as they were.
struct Tail {
    from: u64,
    bytes: Vec<u8>,
}

impl Tail {
    /// Adds the batch that follows.
    fn push(&mut self, at: u64, batch: &[u8]) {
        let floor = block_floor(at + to_u64(batch.len()));
        let mut rest = batch;
        if at <= floor {
            self.from = floor;
            self.bytes.clear();
            rest = &batch[to_usize(floor - at)..];
        }
        self.bytes.extend_from_slice(rest);
    }
}

/// A batch's start near the end of a cleanly closed segment, from its index: 0 if that is missing or wrong.
pub(super) fn last_indexed<I: Io>(segment: &Segment<I>, index: Option<&[u8]>) -> u64 {
    let size = segment.size.get();
    let index = index.and_then(|file| OffsetIndex::read(segment.base_offset, file, size).ok());
    let floor = block_floor(size);
    index.and_then(|index| index.iter().map(|(_, at)| at.0).filter(|at| *at <= floor).last()).unwrap_or(0)
}

impl<I: Io> Log<I> {
    /// Checks batches from `from` on by length, CRC and offset, and takes what they say into index, epochs and
    /// producers.
    pub(super) async fn check(
        &self,
        segment: &Segment<I>,
        known: &Known<'_>,
        from: u64,
    ) -> Result<Checked, IoError> {
        // No CRC covers a batch's epoch: those that were told of, by files or by a checkpoint, are not asked.
        let is_untold = self.state.borrow().epochs.entries().is_empty();
        let told_below = match known.checkpoint {
            Some(checkpoint) => checkpoint.state_offset,
            None if known.is_settled_by_files() => Offset(i64::MAX),
            None => Offset(0),
        };
        let mut checked = Checked::from(from);
        let mut aborted = Vec::new();
        let mut bad = false;
        let now = self.shared.io.wall_clock();
        let replayed_below = self.replayed_below.get();
        let mut state_producers = std::mem::take(&mut self.state.borrow_mut().producers);
        let mut state_epochs = std::mem::take(&mut self.state.borrow_mut().epochs);
        let scanned = self
            .scan(segment, from, segment.size.get(), |header, at, bytes| {
                let next = checked.next_offset.unwrap_or(segment.base_offset);
                if bad
                    || header.magic() != batch::MAGIC
                    || header.base_offset() < next
                    || header.last_offset_delta() < 0
                    || batch::compute_crc(bytes) != Some(header.crc())
                {
                    bad = true;
                    return;
                }
                checked.batches.push(Found { at, base: header.base_offset(), next: header.next_offset() });
                checked.tail.push(at, bytes);
                checked.end = at + to_u64(bytes.len());
                checked.next_offset = Some(header.next_offset());
                let _ = segment.index.borrow_mut().push(header, Position(at));
                if at == 0 {
                    segment.first_timestamp.set(Some(header.max_timestamp()));
                }
                if header.base_offset() >= replayed_below {
                    aborted.extend(state_producers.take(header, bytes, now));
                }
                if is_untold || header.base_offset() >= told_below {
                    take_epoch(&mut state_epochs, header);
                }
            })
            .await;
        let mut state = self.state.borrow_mut();
        state.producers = state_producers;
        state.epochs = state_epochs;
        segment.note_found_aborted(aborted);
        scanned.map(|_| checked)
    }

    /// Has reads begin where the check saw batches begin, as long as the index does not know the segment from its begin:
    /// the first readers after a start go on where the log ended, and need not wait until all of it is read.
    pub(super) fn note_seen(segment: &Segment<I>, known: &Known<'_>, checked: &Checked) {
        let in_memory = segment.head.borrow().as_ref().map_or(u64::MAX, |(from, _)| *from);
        let mut confirmed = checked.confirmed(segment.base_offset, known);
        let first = confirmed.next();
        let kept = first
            .filter(|first| first.at < in_memory)
            .and_then(|_| confirmed.find(|batch| batch.at >= in_memory));
        *segment.seen.borrow_mut() = Seen {
            starts: first.into_iter().chain(kept).map(|batch| (batch.base, batch.at)).collect(),
            end: checked.next_offset.unwrap_or(segment.base_offset),
        };
    }

    /// Cuts what is torn off the end of a segment that the journal has nothing of. How much that was.
    pub(super) async fn cut_torn(
        &self,
        segment: &Segment<I>,
        checked: &Checked,
        size: u64,
    ) -> Result<u64, OpenError> {
        let end = checked.end;
        if end >= size {
            return Ok(0);
        }
        let next = checked.next_offset.unwrap_or(segment.base_offset);
        if let Some(behind) = self.batch_behind(segment, (end, next)).await? {
            let way_out = format!("to go on without what is behind, cut the file to {end} bytes");
            let what = format!("no whole batch at {end}, but one at {behind}; {way_out}");
            return Err(damaged(&segment.path(".log"), what));
        }
        tracing::warn!("{}: torn tail cut from {size} to {end}", segment.path(".log").display());
        let file = segment.file().await?;
        file.truncate(end).await?;
        file.sync().await?;
        Ok(size - end)
    }

    /// Readies a segment that its file has all of, up to the end of what was checked, for appends: its last block is in
    /// memory, as it was when it was checked.
    pub(super) async fn reopen_checked(
        &self,
        segment: &Segment<I>,
        Checked { end, tail, .. }: &Checked,
    ) -> Result<(), OpenError> {
        segment.set_existing(*end, false);
        let floor = block_floor(*end);
        let mut head = Vec::new();
        if floor < tail.from {
            head.extend_from_slice(&segment.read_file(floor, tail.from).await?);
        }
        head.extend_from_slice(&tail.bytes);
        if floor + to_u64(head.len()) != *end {
            return Err(damaged(&segment.path(".log"), format!("cannot be read up to {end}")));
        }
        segment.reopen(head.into());
        Ok(())
    }
}
