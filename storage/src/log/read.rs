//! Reading a log: recent batches from memory, older ones as a range of their segment's file
//! ([`super::send`]), or by direct I/O where that cannot be. What is returned are whole batches; nothing on the
//! way looks into a record.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

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

impl<I: Io> Log<I> {
    /// Batches from the one that holds `from` on.
    pub async fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched, ReadError> {
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
        let result = self.read_cold(from, limits).await;
        if result.is_err() {
            // Retention may have removed the segment meanwhile, or the log may be gone.
            if self.closed.get() {
                return Err(ReadError::Closed);
            }
            self.in_range(from)?;
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
            fetched.slices.push(Slice::Memory(cached.bytes.clone()));
        }
        Some(fetched)
    }

    async fn read_cold(&self, from: Offset, limits: ReadLimits) -> Result<Fetched, ReadError> {
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
            let found = match self.read_file_slices(&segment, wanted).await? {
                FromFile::Answer(fetched) => fetched,
                FromFile::UseMemory => {
                    self.complete_index(&segment).await?;
                    match self.read_segment(&segment, from, limits).await {
                        Err(ReadError::Damaged { .. }) if segment.sealed.get() => {
                            self.rebuild_index(&segment).await?;
                            self.read_segment(&segment, from, limits).await?
                        }
                        read => read?,
                    }
                }
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

    /// Whole batches of one segment; `None` if it has none at or after `from`.
    async fn read_segment(
        &self,
        segment: &Rc<Segment<I>>,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Option<Fetched>, ReadError> {
        let indexed = || segment.index.borrow().offsets().lookup(from).1.0;
        let mut position = self.hinted(segment, from).unwrap_or_else(indexed);
        let mut retried = false;
        let mut window = limits.bytes_max.clamp(HEADER_BYTES, to_usize(WINDOW_BYTES)) + MARGIN_BYTES;
        loop {
            // Up to a batch's start, if the index knows one there: nothing is read in vain.
            let known = segment
                .index
                .borrow()
                .offsets()
                .boundary(Position(position + to_u64(limits.bytes_max).min(WINDOW_BYTES)), limits.end);
            let end = match known {
                Some(Position(known)) if known > position && !retried => known,
                _ => segment.size.get().min(position + to_u64(window)),
            };
            retried = true;
            if position >= end {
                return Ok(None);
            }
            let bytes = self.read_range(segment, position, end).await?;
            let mut batches = batch::batches(&bytes);
            let mut at = 0;
            let mut run = None;
            let mut taken = 0;
            let mut next_offset = from;
            let mut full = false;
            for (header, batch) in batches.by_ref() {
                let begin = at;
                at += batch.len();
                if header.last_offset() < from {
                    continue;
                }
                let first = run.is_none() && limits.at_least_one;
                if header.last_offset() >= limits.end || !first && taken + batch.len() > limits.bytes_max {
                    full = true;
                    break;
                }
                run = Some(run.map_or((begin, at), |(start, _)| (start, at)));
                taken += batch.len();
                next_offset = header.next_offset();
            }
            if let Some((start, stop)) = run {
                let next = LogPoint { segment_base: segment.base_offset, position: position + to_u64(stop) };
                self.hint.set(Some((next_offset, next)));
                segment.note_direct_read(position + to_u64(start), next.position);
                let slice = bytes.slice(start..stop);
                return Ok(Some(Fetched { bytes: slice.len(), slices: vec![Slice::Memory(slice)] }));
            }
            if full {
                return Ok(Some(Fetched::default()));
            }
            // Nothing yet: go on after what was skipped, with room for the batch that was cut.
            let rest = batches.rest();
            position += to_u64(at);
            if at == 0 || !rest.is_empty() {
                let whole = BatchHeader::read(rest).and_then(BatchHeader::batch_bytes);
                let fits = |whole: &usize| position + to_u64(*whole) <= segment.size.get();
                match whole.filter(fits) {
                    Some(whole) if whole > rest.len() => window = window.max(whole),
                    None if rest.len() < HEADER_BYTES
                        && position + to_u64(HEADER_BYTES) <= segment.size.get() => {}
                    _ => return Err(ReadError::Damaged { path: segment.path(".log"), position }),
                }
            }
        }
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
