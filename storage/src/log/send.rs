//! Reads that miss the tail cache, answered with a range of the segment's file: `sendfile` moves the bytes, and
//! nobody looks into them. Only the headers at both ends are read, from the page cache.
//!
//! Segments are written past the page cache, so at first it holds nothing of them. A range's first reader gets it
//! read past the page cache, too, by [`super::read`]: the cheapest way for one reader. When somebody reads it
//! again, it is brought into the page cache, on a helper thread so that sending does not wait for the disk, and
//! sent from there to all who follow. Figures: `server/docs/adr/0004-cold-reads.md`.
//!
//! Where there is no descriptor (the simulated disk), and for bytes no file holds yet, memory is all there is.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::log::Log;
use crate::error::ReadError;
use crate::io::page_cache::{is_resident, read_resident};
use crate::io::{Io, IoError, IoFile};
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
    /// These positions: whole batches.
    Send(u64, u64),
    /// These positions have to be in the page cache first.
    Cold(u64, u64),
    /// There are batches, but the limits allow none.
    Full,
    /// The segment has none at or after the offset.
    Nothing,
    /// Not from the file: its end is not written yet, or it is not what it should be.
    Memory,
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
        let failed = |source| IoError { operation: "read", path: segment.path(".log"), source };
        for _ in 0..ATTEMPTS_MAX {
            self.complete_index(segment).await?;
            match plan(segment, &descriptor, wanted).map_err(failed)? {
                Plan::Send(from, to) => {
                    let slice = slice_of(&descriptor, from, to).map_err(failed)?;
                    let next = (to, segment.written.get().min(to + WINDOW_BYTES));
                    if segment.was_read_directly(to)
                        && !is_resident(&descriptor, next.0, next.0 + 1).map_err(failed)?
                    {
                        self.warm_ahead(file, next);
                    }
                    return Ok(FromFile::Answer(Some(Fetched { bytes: slice.len(), slices: vec![slice] })));
                }
                Plan::Cold(from, _) if !segment.was_read_directly(from) => return Ok(FromFile::UseMemory),
                Plan::Cold(from, to) => {
                    let ahead_end = segment.written.get().min(to + WINDOW_BYTES);
                    file.warm((from, to), ahead_end).await?;
                }
                Plan::Full => return Ok(FromFile::Answer(Some(Fetched::default()))),
                Plan::Nothing => return Ok(FromFile::Answer(None)),
                Plan::Memory => return Ok(FromFile::UseMemory),
            }
        }
        Ok(FromFile::UseMemory)
    }

    /// Warms the window behind the one that is being sent: a reader that goes on finds it there.
    fn warm_ahead(&self, file: I::File, range: (u64, u64)) {
        self.shared.io.spawn(async move {
            if let Err(error) = file.warm(range, range.1).await {
                // Whoever reads there meets the error itself.
                tracing::debug!("{error}");
            }
        });
    }
}

/// A range as a slice. Small ones are copied if the page cache still has them.
fn slice_of(descriptor: &Arc<OwnedFd>, from: u64, to: u64) -> io::Result<Slice> {
    let len = to_usize(to - from);
    if to - from <= COPY_BYTES_MAX {
        let mut bytes = vec![0; len];
        if read_resident(descriptor, from, &mut bytes)? == len {
            return Ok(Slice::Memory(Bytes::from(bytes)));
        }
    }
    Ok(Slice::File { descriptor: Arc::clone(descriptor), position: from, len })
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

    let (mut start, next) = if let Some(position) = position {
        (position, None)
    } else {
        let index = segment.index.borrow();
        (index.offsets().lookup(from).1.0, index.offsets().after(from).map(|(_, position)| position.0))
    };
    // Readers mostly go on where an entry stands: the last slice ended there.
    if let Some(next) = next.filter(|next| next + to_u64(HEADER_BYTES) <= written) {
        match headers.at(next)? {
            None => return Ok(cold(start)),
            Some(header) if header.base_offset() <= from => start = next,
            Some(_) => {}
        }
    }
    let first = loop {
        if start == segment.size.get() {
            return Ok(Plan::Nothing);
        }
        if start + to_u64(HEADER_BYTES) > written {
            return Ok(Plan::Memory);
        }
        let Some(header) = headers.at(start)? else { return Ok(cold(start)) };
        let Some(bytes) = header.batch_bytes() else { return Ok(Plan::Memory) };
        if header.last_offset() >= from {
            break header;
        }
        start += to_u64(bytes);
    };
    let first_bytes = to_u64(first.batch_bytes().unwrap_or(0));
    if first.last_offset() >= limits.end || first_bytes > to_u64(limits.bytes_max) && !limits.at_least_one {
        return Ok(Plan::Full);
    }
    let mut end = start + first_bytes;
    if end > written {
        return Ok(Plan::Memory);
    }
    let limit = written.min(start + bytes_max);
    if whole && written <= limit && segment_end <= limits.end {
        end = written.max(end);
    } else if let Some(Position(at)) =
        segment.index.borrow().offsets().boundary(Position(limit), limits.end).filter(|at| at.0 > end)
    {
        end = at;
    } else {
        // The last batches in front of a limit, which no entry names.
        while end + to_u64(HEADER_BYTES) <= limit {
            let Some(header) = headers.at(end)? else { return Ok(cold(start)) };
            let bytes = header.batch_bytes().map_or(u64::MAX, to_u64);
            if header.last_offset() >= limits.end || bytes > limit - end {
                break;
            }
            end += bytes;
        }
    }
    Ok(if is_resident(descriptor, start, end)? { Plan::Send(start, end) } else { Plan::Cold(start, end) })
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
