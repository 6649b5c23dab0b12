//! Reads that miss the tail cache, answered with a range of the segment's file that `sendfile` moves. Only the headers at
//! both ends are read here, from the page cache.
//!
//! Segments are written past the page cache, so at first it holds nothing of them. A range's first reader gets it
//! read past the page cache, too, by [`super::read`]: the cheapest way for one reader. When somebody reads it
//! again, it is brought into the page cache and checked, on a helper thread ([`super::verifying`]) so that sending does not
//! wait for the disk, and sent from there to all who follow. Figures: `server/docs/adr/0004-cold-reads.md`.
//!
//! A range is handed out only if all of it is in the page cache and was checked there. Where damage is known
//! [`super::read`] takes over, which serves what is good around it.
//!
//! Where there is no descriptor (the simulated disk), and for bytes no file holds yet, memory is all there is.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::log::Log;
use super::verifying::all_good;
use crate::error::ReadError;
use crate::io::page_cache::{is_resident, read_resident};
use crate::io::{Io, IoFile};
use crate::record::batch::{BatchHeader, HEADER_BYTES};
use crate::segment::segment::{Segment, WINDOW_BYTES, to_u64, to_usize};
use crate::segment::{Fetched, ReadLimits, Slice};
use crate::types::{Offset, Position};

/// Slices up to this are copied from the page cache: one vectored send with the answer's header is cheaper than a
/// `sendfile` of its own.
const COPY_BYTES_MAX: u64 = 16 << 10;
/// Bytes read for a look at headers: small batches have several there.
const HEADERS_BYTES: usize = 4096;
/// Warming is tried this often before the bytes are read past the page cache: it must be under pressure.
const ATTEMPTS_MAX: usize = 3;

/// What can be sent of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// Whole batches, if they are there and good.
    Send(Planned),
    /// These positions have to be in the page cache first.
    Cold(u64, u64),
    /// There are batches, but the limits allow none.
    Full,
    /// Not from the file: its end is not written yet, or it is not what it should be.
    Memory,
}

/// Positions of whole batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Planned {
    /// Where the walk began that found them.
    walked_from: u64,
    /// The lowest base offset of the batch there.
    next: Offset,
    /// Its last offset, if the index told it.
    last: Option<Offset>,
    /// First byte to send.
    from: u64,
    /// Where the last batch ends.
    to: u64,
    /// No record has this offset or a higher one.
    end: Offset,
}

/// What a read is about.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Where the batch begins that holds the offset, if that is known.
    pub(super) position: Option<u64>,
    /// The offset to begin with.
    pub(super) from: Offset,
    /// How much, and up to where.
    pub(super) limits: ReadLimits,
    /// End of the segment's offsets: the next one's base, or the log's end.
    pub(super) segment_end: Offset,
}

/// Answers from a file: see [`Log::read_file_slices`].
pub(super) enum FromFile {
    /// An answer as [`Log::read`] gives it; `None` if the segment has nothing at or after the offset.
    Answer(Option<Fetched>),
    /// Read into memory instead.
    UseMemory,
}

impl<I: Io> Log<I> {
    /// Batches of one segment as a range of its file.
    pub(super) async fn read_file_slices(
        &self,
        segment: &Rc<Segment<I>>,
        wanted: Wanted,
    ) -> Result<FromFile, ReadError> {
        if segment.written.get() == 0 {
            return Ok(FromFile::UseMemory);
        }
        let file = segment.file().await?;
        let Some(descriptor) = file.send_descriptor().await? else { return Ok(FromFile::UseMemory) };
        let failed = Self::read_failed(segment);
        for _ in 0..ATTEMPTS_MAX {
            self.complete_index(segment).await?;
            let (from, to, is_planned) = match plan(segment, &descriptor, wanted).map_err(&failed)? {
                Plan::Send(planned) => {
                    if segment.windows.has_damage(planned.walked_from, planned.to) {
                        return Ok(FromFile::UseMemory);
                    }
                    if let Some(slice) = self.slice_of(segment, &descriptor, planned).map_err(&failed)? {
                        self.look_ahead(segment, (&file, &descriptor), planned.to).map_err(&failed)?;
                        let bytes = slice.len();
                        return Ok(FromFile::Answer(Some(Fetched {
                            bytes,
                            slices: vec![slice],
                            end: planned.end,
                        })));
                    }
                    (planned.walked_from, planned.to, true)
                }
                Plan::Cold(from, to) => (from, to, false),
                Plan::Full => return Ok(FromFile::Answer(Some(Fetched::default()))),
                Plan::Memory => return Ok(FromFile::UseMemory),
            };
            if !is_resident(&descriptor, from, to).map_err(&failed)? {
                if !segment.windows.was_read_directly(from) {
                    return Ok(FromFile::UseMemory);
                }
                segment.windows.forget(from, to);
            }
            let is_good = self.verify(segment, &file, (from, to)).await?;
            if is_planned && !is_good {
                return Ok(FromFile::UseMemory);
            }
        }
        Ok(FromFile::UseMemory)
    }

    /// Has the window behind the one that is being sent made ready: a reader that goes on finds it there.
    fn look_ahead(
        &self,
        segment: &Rc<Segment<I>>,
        (file, descriptor): (&I::File, &OwnedFd),
        from: u64,
    ) -> io::Result<()> {
        let windows = &segment.windows;
        let to = segment.written.get().min(from + WINDOW_BYTES);
        if from >= to || !windows.was_read_directly(from) {
            return Ok(());
        }
        if !is_resident(descriptor, from, from + 1)? {
            windows.forget(from, to);
        }
        let (Some(unchecked), Some(log)) =
            (windows.unchecked(from, to, self.shared.io.now()), self.myself.upgrade())
        else {
            return Ok(());
        };
        if !windows.is_busy(unchecked) {
            let (segment, file) = (Rc::clone(segment), file.clone());
            self.shared.io.spawn(async move {
                if let Err(error) = log.verify(&segment, &file, (from, to)).await {
                    // Whoever reads there meets the error itself.
                    tracing::debug!("{error}");
                }
            });
        }
        Ok(())
    }

    /// A range as a slice, if it is there and good. Small ones are copied, and checked as they are.
    fn slice_of(
        &self,
        segment: &Segment<I>,
        descriptor: &Arc<OwnedFd>,
        Planned { walked_from, next, last, from, to, .. }: Planned,
    ) -> io::Result<Option<Slice>> {
        if to - walked_from <= COPY_BYTES_MAX {
            let end = to_usize(to - walked_from);
            // With the header behind it, which may be needed.
            let mut bytes = vec![0; end + HEADER_BYTES];
            let there = read_resident(descriptor, walked_from, &mut bytes)?;
            bytes.truncate(there);
            let room = to_usize(segment.size.get() - walked_from);
            let good = there >= end && all_good(&bytes, end, room, self.expected(segment, next, last));
            return Ok(
                good.then(|| Slice::Memory(Bytes::from(bytes).slice(to_usize(from - walked_from)..end)))
            );
        }
        if !is_resident(descriptor, walked_from, to)?
            || segment.windows.unchecked(walked_from, to, self.shared.io.now()).is_some()
        {
            return Ok(None);
        }
        let len = to_usize(to - from);
        Ok(Some(Slice::File { descriptor: Arc::clone(descriptor), position: from, len }))
    }
}

/// Which whole batches to send. Looks only at what the page cache holds; `Cold` says what it lacks.
fn plan<I: Io>(segment: &Segment<I>, descriptor: &OwnedFd, wanted: Wanted) -> io::Result<Plan> {
    let Wanted { position, from, limits, segment_end } = wanted;
    let written = segment.written.get();
    let whole = written == segment.size.get();
    let bytes_max = to_u64(limits.bytes_max).min(WINDOW_BYTES);
    let cold =
        |position: u64| Plan::Cold(position, written.min(position + WINDOW_BYTES.min(bytes_max.max(65_536))));
    let mut headers = Headers { descriptor, buffer: vec![0; HEADERS_BYTES], begin: 0, len: 0 };

    let Some(Begin { mut start, next, last }) = begin(segment, (position, from), &mut headers)? else {
        return Ok(cold(segment.index.borrow().offsets().lookup(from).1.0));
    };
    let walked_from = start;
    let first = loop {
        if start + to_u64(HEADER_BYTES) > written {
            return Ok(Plan::Memory);
        }
        let Some(header) = headers.at(start)? else { return Ok(cold(start)) };
        let Some(bytes) = header.batch_bytes() else { return Ok(Plan::Memory) };
        if start == walked_from && last.is_some_and(|last| header.last_offset() != last) {
            return Ok(Plan::Memory);
        }
        if header.last_offset() >= from {
            break header;
        }
        start += to_u64(bytes);
    };
    let first_bytes = to_u64(first.batch_bytes().unwrap_or(0));
    if first.last_offset() >= limits.end {
        return Ok(Plan::Memory);
    }
    if first_bytes > to_u64(limits.bytes_max) && !limits.at_least_one {
        return Ok(Plan::Full);
    }
    let mut end = start + first_bytes;
    if end > written {
        return Ok(Plan::Memory);
    }
    let limit = written.min(start + bytes_max);
    let mut end_offset = first.next_offset();
    if whole && written <= limit && segment_end <= limits.end {
        end = written.max(end);
        end_offset = segment_end;
    } else if let Some((last, Position(at))) =
        segment.index.borrow().offsets().boundary(Position(limit), limits.end).filter(|(_, at)| at.0 > end)
    {
        end = at;
        end_offset = last;
    } else {
        // The last batches in front of a limit, which no entry names.
        while end + to_u64(HEADER_BYTES) <= limit {
            let Some(header) = headers.at(end)? else { return Ok(cold(start)) };
            let bytes = header.batch_bytes().map_or(u64::MAX, to_u64);
            if header.last_offset() >= limits.end || bytes > limit - end {
                break;
            }
            end += bytes;
            end_offset = header.next_offset();
        }
    }
    Ok(Plan::Send(Planned { walked_from, next, last, from: start, to: end, end: end_offset }))
}

/// Where a walk begins, and what is known of the batch there.
struct Begin {
    start: u64,
    next: Offset,
    last: Option<Offset>,
}

/// Where to begin to look for the batch that holds `from`; `None` if the page cache lacks what would tell.
fn begin<I: Io>(
    segment: &Segment<I>,
    (position, from): (Option<u64>, Offset),
    headers: &mut Headers<'_>,
) -> io::Result<Option<Begin>> {
    if let Some(start) = position {
        return Ok(Some(Begin { start, next: from, last: None }));
    }
    let next = segment.base_offset;
    let index = segment.index.borrow();
    let (last, Position(start)) = index.offsets().lookup(from);
    // Readers mostly go on where an entry stands: the last slice ended there.
    if let Some((last, Position(after))) = index.offsets().after(from)
        && after + to_u64(HEADER_BYTES) <= segment.written.get()
    {
        match headers.at(after)? {
            None => return Ok(None),
            Some(header) if header.base_offset() <= from => {
                return Ok(Some(Begin { start: after, next, last: Some(last) }));
            }
            Some(_) => {}
        }
    }
    // Position 0 is no entry's.
    Ok(Some(Begin { start, next, last: (start > 0).then_some(last) }))
}

/// Batch headers of a file as far as the page cache has them.
struct Headers<'a> {
    descriptor: &'a OwnedFd,
    buffer: Vec<u8>,
    /// Position of the buffer's first byte.
    begin: u64,
    len: usize,
}

impl Headers<'_> {
    /// The header at `position`; `None` if it is not in the page cache.
    fn at(&mut self, position: u64) -> io::Result<Option<BatchHeader>> {
        let inside =
            position >= self.begin && position + to_u64(HEADER_BYTES) <= self.begin + to_u64(self.len);
        if !inside {
            self.len = read_resident(self.descriptor, position, &mut self.buffer)?;
            self.begin = position;
        }
        let skip = to_usize(position - self.begin);
        Ok(self.buffer.get(skip..self.len).and_then(BatchHeader::read).copied())
    }
}
