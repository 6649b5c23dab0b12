//! Batches are checked before `sendfile` moves them: on a helper thread, through the page cache, a window at a time, once
//! for as long as the page cache keeps it ([`crate::segment::windows`]). What is sent later from there is what was checked.
//! Figures and what exactly is promised: `server/docs/adr/0012-checked-reads.md`.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::checking::{Expected, Look};
use super::log::Log;
use crate::error::ReadError;
use crate::io::page_cache::{begin_reading, is_resident, read};
use crate::io::{Io, IoError, IoFile};
use crate::record::batch::BatchHeader;
use crate::segment::segment::{Segment, WINDOW_BYTES, to_u64, to_usize};
use crate::types::{Offset, Position};

/// Read at a time: it stays in the CPU's cache until its CRC is computed.
const PIECE_BYTES: usize = 128 << 10;

/// Positions of one check.
#[derive(Clone, Copy)]
struct Part {
    /// Where it begins: a batch's start.
    start: u64,
    /// It goes on to the first batch's end here or later.
    until: u64,
    /// What the file holds.
    written: u64,
    /// What the segment has.
    size: u64,
    /// Up to where the disk is told to go on reading.
    ahead_end: u64,
}

impl<I: Io> Log<I> {
    /// Has `[from, to)` of the file checked, and what lies in the same windows; false if it is not good, or not there.
    /// It is in the page cache then, unless that is under pressure.
    pub(super) async fn verify(
        &self,
        segment: &Rc<Segment<I>>,
        file: &I::File,
        (from, to): (u64, u64),
    ) -> Result<bool, ReadError> {
        let windows = &segment.windows;
        let Some(descriptor) = file.send_descriptor().await? else { return Ok(false) };
        loop {
            self.complete_index(segment).await?;
            let now = self.shared.io.now();
            let Some(unchecked) = windows.unchecked(from, to, now) else { return Ok(true) };
            let _busy = match windows.begin_check(unchecked) {
                Ok(busy) => busy,
                Err(done) => {
                    done.await;
                    continue;
                }
            };
            let written = segment.written.get();
            let until = written.min(to.next_multiple_of(WINDOW_BYTES));
            let mut ahead_end = written.min(until + WINDOW_BYTES);
            if is_resident(&descriptor, until, ahead_end).map_err(Self::read_failed(segment))? {
                ahead_end = until;
            }
            // What is read ahead comes unchecked.
            windows.forget(until, ahead_end);
            let entry = segment.index.borrow().offsets().floor(Position(unchecked));
            let start = entry.map_or(0, |(_, position)| position.0);
            let expected = self.expected(segment, segment.base_offset, entry.map(|(offset, _)| offset));
            let part = Part { start, until, written, size: segment.size.get(), ahead_end };
            let good_end = file.examine(move |descriptor| check(descriptor, part, expected)).await?;
            if good_end > unchecked {
                windows.note_checked(unchecked, good_end.min(until), now);
            }
            return Ok(windows.unchecked(from, to, now).is_none());
        }
    }

    /// What the batch at a place of a segment may be, as the segment is now: more may be appended while somebody waits.
    pub(super) fn expected(&self, segment: &Segment<I>, next: Offset, last: Option<Offset>) -> Expected {
        Expected { next, last, end: self.segment_end(segment), epochs: self.state.borrow().epochs.clone() }
    }

    /// Takes in what was appended since.
    pub(super) fn refresh(&self, segment: &Segment<I>, expected: &mut Expected) {
        *expected = self.expected(segment, expected.next, expected.last);
    }

    /// End of a segment's offsets now.
    fn segment_end(&self, segment: &Segment<I>) -> Offset {
        self.next_base(segment).unwrap_or(self.offsets.get().log_end_offset)
    }

    /// Base offset of the segment behind this one; `None` if it is the last.
    pub(super) fn next_base(&self, segment: &Segment<I>) -> Option<Offset> {
        let state = self.state.borrow();
        let above = state.segments.partition_point(|other| other.base_offset <= segment.base_offset);
        state.segments.get(above).map(|next| next.base_offset)
    }
}

/// Checks a part of a file; returns where the last good batch ends before the first that is not. Blocks.
fn check(descriptor: &OwnedFd, part: Part, mut expected: Expected) -> io::Result<u64> {
    if !is_resident(descriptor, part.start, part.until)? {
        begin_reading(descriptor, part.start, part.ahead_end)?;
    }
    let mut buffer: Vec<u8> = Vec::new();
    let (mut begin, mut at) = (part.start, 0);
    loop {
        let position = begin + to_u64(at);
        let bytes = buffer.get(at..).unwrap_or_default();
        match expected.look(bytes, to_usize(part.size - position)) {
            Look::Good(size) => {
                at += size;
                if let Some(header) = BatchHeader::read(bytes) {
                    expected.follow(header);
                }
                if begin + to_u64(at) >= part.until {
                    return Ok(begin + to_u64(at));
                }
            }
            Look::Needs(needs) if position + to_u64(needs) <= part.written => {
                buffer.drain(..at);
                (begin, at) = (position, 0);
                let have = buffer.len();
                let size = needs.max(have + PIECE_BYTES).min(to_usize(part.written - begin));
                buffer.resize(size, 0);
                let count = read(descriptor, begin + to_u64(have), &mut buffer[have..])?;
                buffer.truncate(have + count);
                if buffer.len() < needs {
                    return Ok(begin);
                }
            }
            Look::Needs(_) | Look::Bad(_) => return Ok(position),
        }
    }
}

/// Whether batches follow one another in `bytes` up to `end`, all good. What is behind it may be looked at.
pub(super) fn all_good(bytes: &[u8], end: usize, room: usize, mut expected: Expected) -> bool {
    let mut at = 0;
    while at < end {
        let Some(rest) = bytes.get(at..) else { return false };
        let (Look::Good(size), Some(header)) = (expected.look(rest, room - at), BatchHeader::read(rest))
        else {
            return false;
        };
        expected.follow(header);
        at += size;
    }
    at == end
}

impl<I: Io> Log<I> {
    /// An error of the disk that `examine` and its like tell.
    pub(super) fn read_failed(segment: &Segment<I>) -> impl Fn(io::Error) -> IoError {
        let path = segment.path(".log");
        move |source| IoError { operation: "read", path: path.clone(), source }
    }
}
