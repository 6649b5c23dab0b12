//! Reading a log: recent batches from memory, older ones as a range of their segment's file
//! ([`super::send`]), or by direct I/O where that cannot be. What is returned are whole batches, and what comes from a disk is
//! checked before ([`super::checking`]); nothing on the way looks into a record.
//!
//! A read ends before a damaged batch, one that begins with it fails, and those behind it succeed.

use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::checking::{Expected, Look};
use super::damage::Damage;
use super::log::Log;
use super::send::{FromFile, Wanted};
use super::write_behind::copy_pending;
use crate::error::ReadError;
use crate::io::{Io, IoError};
use crate::journal::journal::LogPoint;
use crate::record::batch::{self, BatchHeader, HEADER_BYTES};
use crate::segment::segment::{Segment, WINDOW_BYTES, to_u64, to_usize};
use crate::segment::{Fetched, ReadLimits, Slice};
use crate::types::{Offset, Position};

/// Added to a window, so that the batch across its end is whole in most cases.
const MARGIN_BYTES: usize = 64 << 10;

/// What a read past the page cache came to.
enum Direct {
    /// An answer; `None` if the segment has nothing at or after the offset.
    Read(Option<Fetched>),
    /// Where the index says that a batch begins there is no good one. Either of the two may be wrong.
    IndexMisleads,
}

/// What an answer may be made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sources {
    /// Memory, and ranges of files.
    All,
    /// Memory alone.
    Memory,
}

impl<I: Io> Log<I> {
    /// Batches from the one that holds `from` on.
    pub async fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched, ReadError> {
        self.read_from(from, limits, Sources::All).await
    }

    /// The same, never as a range of a file: for whoever looks into the records here.
    pub async fn read_into_memory(&self, from: Offset, limits: ReadLimits) -> Result<Fetched, ReadError> {
        self.read_from(from, limits, Sources::Memory).await
    }

    async fn read_from(
        &self,
        from: Offset,
        limits: ReadLimits,
        sources: Sources,
    ) -> Result<Fetched, ReadError> {
        if self.closed.get() {
            return Err(ReadError::Closed);
        }
        self.in_range(from)?;
        if from >= limits.end {
            return Ok(Fetched::default());
        }
        if let Some(fetched) = self.read_cached(from, limits) {
            return Ok(fetched);
        }
        let result = self.read_cold(from, limits, sources).await;
        if let Err(error) = &result {
            // Retention may have removed the segment meanwhile, or the log may be gone.
            if self.closed.get() {
                return Err(ReadError::Closed);
            }
            self.in_range(from)?;
            if matches!(error, ReadError::Io(_)) {
                self.shared.config.counters.read_errors.add(1);
            }
        }
        result
    }

    fn in_range(&self, offset: Offset) -> Result<(), ReadError> {
        let offsets = self.offsets.get();
        if offset < offsets.log_start_offset || offset > offsets.log_end_offset {
            let (log_start_offset, log_end_offset) = (offsets.log_start_offset, offsets.log_end_offset);
            return Err(ReadError::OutOfRange { offset, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// `None` if the cached batches begin after `from`.
    fn read_cached(&self, from: Offset, limits: ReadLimits) -> Option<Fetched> {
        let state = self.state.borrow();
        if state.cached.front()?.base_offset > from {
            return None;
        }
        let begin = state.cached.partition_point(|cached| cached.last_offset < from);
        let mut fetched = Fetched::default();
        for cached in state.cached.iter().skip(begin) {
            let first = fetched.slices.is_empty() && limits.at_least_one;
            if cached.last_offset >= limits.end
                || !first && fetched.bytes + cached.bytes.len() > limits.bytes_max
            {
                break;
            }
            fetched.bytes += cached.bytes.len();
            fetched.end = Offset(cached.last_offset.0.saturating_add(1));
            fetched.slices.push(Slice::Memory(cached.bytes.clone()));
        }
        Some(fetched)
    }

    async fn read_cold(
        &self,
        from: Offset,
        limits: ReadLimits,
        sources: Sources,
    ) -> Result<Fetched, ReadError> {
        let mut search = from;
        loop {
            let (segment, next_base) = {
                let state = self.state.borrow();
                let above = state.segments.partition_point(|segment| segment.base_offset <= search);
                let Some(segment) = above.checked_sub(1).and_then(|index| state.segments.get(index)) else {
                    return Ok(Fetched::default());
                };
                (Rc::clone(segment), state.segments.get(above).map(|segment| segment.base_offset))
            };
            let segment_end = next_base.unwrap_or(self.offsets.get().log_end_offset);
            let position = self.hinted(&segment, from);
            let wanted = Wanted { position, from, limits, segment_end };
            let from_file = match sources {
                Sources::All if segment.seen_before(from).is_none() => {
                    self.read_file_slices(&segment, wanted).await?
                }
                Sources::All | Sources::Memory => FromFile::UseMemory,
            };
            let found = match from_file {
                FromFile::Answer(fetched) => fetched,
                FromFile::UseMemory => self.read_directly(&segment, wanted).await?,
            };
            if let Some(fetched) = found {
                return Ok(fetched);
            }
            match next_base {
                Some(base) if base < limits.end => search = base,
                _ => return Ok(Fetched::default()),
            }
        }
    }

    /// Where the batch with this offset begins, if the last cold read ended there.
    fn hinted(&self, segment: &Segment<I>, from: Offset) -> Option<u64> {
        let (offset, point) = self.hint.get()?;
        (offset == from && point.segment_base == segment.base_offset).then_some(point.position)
    }

    /// Whole batches of one segment; `None` if it has none at or after the offset.
    async fn read_directly(
        &self,
        segment: &Rc<Segment<I>>,
        wanted: Wanted,
    ) -> Result<Option<Fetched>, ReadError> {
        if segment.seen_before(wanted.from).is_none() {
            self.complete_index(segment).await?;
        }
        if let Direct::Read(found) = self.read_segment(segment, wanted, segment.sealed.get()).await? {
            return Ok(found);
        }
        // At most once while it is kept: from then on it is as good as the batches.
        self.rebuild_index(segment).await?;
        match self.read_segment(segment, wanted, false).await? {
            Direct::Read(found) => Ok(found),
            Direct::IndexMisleads => Ok(None),
        }
    }

    /// The same by an index that may be wrong: one of a file.
    async fn read_segment(
        &self,
        segment: &Rc<Segment<I>>,
        wanted: Wanted,
        mut may_mislead: bool,
    ) -> Result<Direct, ReadError> {
        let Wanted { from, limits, .. } = wanted;
        let (mut position, mut expected) = self.begin(segment, from);
        may_mislead &= expected.last.is_some() && !segment.is_index_made.get();
        let mut window = limits.bytes_max.clamp(HEADER_BYTES, to_usize(WINDOW_BYTES)) + MARGIN_BYTES;
        // Up to a batch's start, if the index knows one there: nothing is read in vain.
        let mut known = segment
            .index
            .borrow()
            .offsets()
            .boundary(Position(position + to_u64(limits.bytes_max).min(WINDOW_BYTES)), limits.end)
            .map(|(_, known)| known.0);
        while position < segment.size.get() {
            let size = segment.size.get();
            self.refresh(segment, &mut expected);
            let end = known.take().filter(|known| *known > position);
            let end = end.unwrap_or(size.min(position + to_u64(window)));
            let bytes = self.read_range(segment, position, end).await?;
            let room = to_usize(size - position);
            let Taken { run, at, stop } = take(&bytes, room, &mut expected, (from, limits));
            if !run.is_empty() {
                let next = position + to_u64(run.end);
                let point = LogPoint { segment_base: segment.base_offset, position: next };
                self.hint.set(Some((expected.next, point)));
                segment.windows.note_direct_read(position + to_u64(run.start), next);
                let slice = bytes.slice(run);
                return Ok(Direct::Read(Some(Fetched {
                    bytes: slice.len(),
                    slices: vec![Slice::Memory(slice)],
                    end: expected.next,
                })));
            }
            position += to_u64(at);
            let what = match stop {
                Stop::Full => return Ok(Direct::Read(Some(Fetched::default()))),
                // Nothing yet: go on after what was skipped, with room for the batch that was cut.
                Stop::Needs(needs) if position + to_u64(bytes.len() - at) == end => {
                    window = window.max(needs);
                    continue;
                }
                Stop::Needs(_) => "the file is too short",
                Stop::Bad(what) => what,
            };
            if may_mislead
                && expected.last.is_some()
                && !segment.windows.knows_damage(position)
                && !self.is_damaged_at(segment, position).await?
            {
                return Ok(Direct::IndexMisleads);
            }
            (position, expected) = self.step_over(segment, (position, what), expected, from).await?;
        }
        self.check_end(segment, &expected)?;
        Ok(Direct::Read(None))
    }

    /// Where to begin to look for the batch that holds an offset, and what stands there.
    fn begin(&self, segment: &Segment<I>, from: Offset) -> (u64, Expected) {
        if let Some(position) = self.hinted(segment, from) {
            return (position, self.expected(segment, from, None));
        }
        let (offset, Position(position)) = segment.index.borrow().offsets().lookup(from);
        if let Some((seen, at)) = segment.seen_before(from).filter(|(_, at)| *at >= position) {
            return (at, self.expected(segment, seen, None));
        }
        // Position 0 is no entry's: the segment itself says what begins there.
        let last = (position > 0).then_some(offset);
        (position, self.expected(segment, segment.base_offset, last))
    }

    /// Goes on behind damage; an error if the offset that is wanted lies in it.
    async fn step_over(
        &self,
        segment: &Segment<I>,
        (position, what): (u64, &'static str),
        expected: Expected,
        from: Offset,
    ) -> Result<(u64, Expected), ReadError> {
        let offset = expected.last.unwrap_or(expected.next);
        let error = self.note_damage(segment, Damage { position, offset, what });
        if expected.last.is_none() && from <= expected.next {
            return Err(error);
        }
        let (behind, next) = self.behind_damage(segment, position, &expected).await?;
        if from < next {
            return Err(error);
        }
        Ok((behind, Expected { next, last: None, ..expected }))
    }

    /// A segment that ends before the next one begins has lost its end, unless compaction removed it.
    fn check_end(&self, segment: &Segment<I>, expected: &Expected) -> Result<(), ReadError> {
        let Some(offset) = self.lost_end(segment, expected.next) else { return Ok(()) };
        let (position, what) = (segment.size.get(), "the segment is too short, its last batches are missing");
        Err(self.note_damage(segment, Damage { position, offset, what }))
    }

    /// Bytes `[from, to)` of a segment, from the file as far as it is written, else from memory.
    pub(crate) async fn read_range(
        &self,
        segment: &Segment<I>,
        from: u64,
        to: u64,
    ) -> Result<Bytes, IoError> {
        let mut whole = BytesMut::new();
        let mut position = from;
        while position < to {
            let written = segment.written.get();
            let piece = if position < written {
                segment.read_file(position, to.min(written)).await?
            } else if let Some(piece) = segment.of_head(position, to) {
                piece
            } else {
                let mut piece = vec![0; to_usize(to - position)];
                copy_pending(&self.state.borrow(), segment, position, &mut piece);
                piece.into()
            };
            if piece.is_empty() {
                break;
            }
            position += to_u64(piece.len());
            if position == to && whole.is_empty() {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Calls `each` with every batch header of `[from, to)`, and its position. Stops at what is no batch, and
    /// returns where.
    pub(crate) async fn scan(
        &self,
        segment: &Segment<I>,
        from: u64,
        to: u64,
        mut each: impl FnMut(&BatchHeader, u64, &[u8]),
    ) -> Result<u64, IoError> {
        let mut position = from;
        let mut window = to_usize(WINDOW_BYTES);
        while position < to {
            let bytes = self.read_range(segment, position, to.min(position + to_u64(window))).await?;
            let mut at = 0;
            let mut batches = batch::batches(&bytes);
            for (header, batch) in batches.by_ref() {
                each(header, position + to_u64(at), batch);
                at += batch.len();
            }
            let needed =
                BatchHeader::read(batches.rest()).map_or(Some(HEADER_BYTES), BatchHeader::batch_bytes);
            position += to_u64(at);
            match needed {
                Some(needed) if position + to_u64(needed) <= to => {
                    if at == 0 && needed <= bytes.len() {
                        break;
                    }
                    window = to_usize(WINDOW_BYTES).max(needed);
                }
                _ => break,
            }
        }
        Ok(position)
    }
}

/// Why [`take`] ended.
enum Stop {
    /// The limits allow no more.
    Full,
    /// So many bytes from there on are needed.
    Needs(usize),
    /// There is no good batch; what is wrong.
    Bad(&'static str),
}

/// What was found in bytes that were read.
struct Taken {
    /// Good batches to return.
    run: Range<usize>,
    /// Where it ended.
    at: usize,
    /// Why.
    stop: Stop,
}

/// Looks for whole batches that hold `from` and what follows, and checks them, and those before. `expected` goes on with
/// them; if there is a run, to its end.
fn take(bytes: &[u8], room: usize, expected: &mut Expected, (from, limits): (Offset, ReadLimits)) -> Taken {
    let (mut run, mut at) = (0..0, 0);
    let stop = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let header = BatchHeader::read(rest);
        // What does not fit is not checked: the next read does.
        let fits = |header: &BatchHeader| {
            header.batch_bytes().is_some_and(|size| run.len() + size <= limits.bytes_max)
        };
        if !run.is_empty() && !header.is_some_and(fits) {
            break Stop::Full;
        }
        if at >= room {
            // The segment ends here.
            break Stop::Needs(0);
        }
        let (size, header) = match (expected.look(rest, room.saturating_sub(at)), header) {
            (Look::Good(size), Some(header)) => (size, header),
            (Look::Needs(needs), _) => break Stop::Needs(needs),
            (Look::Bad(what), _) => break Stop::Bad(what),
            (Look::Good(_), None) => break Stop::Needs(HEADER_BYTES),
        };
        if header.last_offset() >= from {
            let first = run.is_empty() && limits.at_least_one;
            if header.last_offset() >= limits.end || !first && size > limits.bytes_max {
                break Stop::Full;
            }
            run = if run.is_empty() { at..at + size } else { run.start..at + size };
        }
        expected.follow(header);
        at += size;
    };
    Taken { run, at, stop }
}
