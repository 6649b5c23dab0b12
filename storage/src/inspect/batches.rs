//! Batches one after the other, as they stand in a segment: in its file, and where the journal holds what the file
//! does not yet, in what it holds. What is no batch is told, and reading goes on behind it where that is possible.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::io::IoError;
use crate::io::read_only::ReadOnlyFile;
use crate::record::batch::{BatchHeader, HEADER_BYTES};
use crate::record::validate::validate_stored;
use crate::segment::segment::{to_u64, to_usize};

/// Read at a time: large enough for the disk's full speed, small enough to stay in a CPU's cache until its CRC is done.
const WINDOW_BYTES: usize = 1 << 20;
/// Asked of the kernel ahead of what is read: keeps the disk busy while CRCs are computed, and in large requests.
const AHEAD_BYTES: usize = 8 << 20;

/// The bytes of a segment.
#[derive(Debug)]
pub(super) struct Content {
    file: Option<ReadOnlyFile>,
    /// Length of the file.
    pub(super) file_bytes: u64,
    tail_from: u64,
    tail: Vec<u8>,
    end: u64,
}

impl Content {
    /// A file as it is; empty if there is none.
    pub(super) fn of_file(path: &Path) -> Result<Self, IoError> {
        let file = match ReadOnlyFile::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file_bytes = file.as_ref().map_or(Ok(0), ReadOnlyFile::bytes)?;
        Ok(Self { file, file_bytes, tail_from: file_bytes, tail: Vec::new(), end: file_bytes })
    }

    /// Lays what the journal holds over the file, as a start does: its runs, from the first of them on, are what the
    /// segment ends with. An error names the position at which nothing is.
    pub(super) fn lay_over(&mut self, mut runs: Vec<(u64, Bytes)>) -> Result<(), (u64, String)> {
        runs.sort_by_key(|(position, _)| *position);
        let Some((begin, _)) = runs.first() else { return Ok(()) };
        self.tail_from = *begin;
        if self.file_bytes < self.tail_from {
            let what =
                format!("{} bytes long, but the journal goes on at {}", self.file_bytes, self.tail_from);
            return Err((self.file_bytes, what));
        }
        for (position, bytes) in runs {
            let at = to_usize(position - self.tail_from);
            if at > self.tail.len() {
                let end = self.tail_from + to_u64(self.tail.len());
                return Err((end, format!("the journal has nothing between {end} and {position}")));
            }
            if at + bytes.len() > self.tail.len() {
                self.tail.truncate(at);
                self.tail.extend_from_slice(&bytes);
            }
        }
        self.end = self.tail_from + to_u64(self.tail.len());
        Ok(())
    }

    /// Where the segment ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The first position at which the file has other bytes than the journal.
    pub(super) fn first_difference(&self) -> Result<Option<u64>, IoError> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut window = vec![0; WINDOW_BYTES.min(self.tail.len())];
        for (index, tail) in self.tail.chunks(WINDOW_BYTES).enumerate() {
            let at = self.tail_from + to_u64(index * WINDOW_BYTES);
            let buffer = window.get_mut(..tail.len()).unwrap_or_default();
            let count = file.read(at, buffer)?;
            let read = buffer.get(..count).unwrap_or_default();
            if let Some(differs) = read.iter().zip(tail).position(|(one, other)| one != other) {
                return Ok(Some(at + to_u64(differs)));
            }
        }
        Ok(None)
    }

    /// Asks for what comes behind `position`, up to where the next window begins: half of the range at a time, since
    /// asking for what is there costs, too.
    fn read_ahead(&self, position: u64) {
        let half = to_u64(AHEAD_BYTES / 2);
        let before = position.checked_sub(to_u64(WINDOW_BYTES)).filter(|before| *before > 0);
        let (from, size) = match before {
            None => (0, AHEAD_BYTES),
            Some(before) if position / half != before / half => {
                (position / half * half + half, AHEAD_BYTES / 2)
            }
            Some(_) => return,
        };
        if let Some(file) = self.file.as_ref().filter(|_| from < self.tail_from) {
            file.read_ahead(from, size);
        }
    }

    fn read(&self, position: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        if position >= self.tail_from {
            let tail = self.tail.get(to_usize(position - self.tail_from)..).unwrap_or_default();
            let count = tail.len().min(buffer.len());
            buffer[..count].copy_from_slice(&tail[..count]);
            return Ok(count);
        }
        let in_file = to_usize(self.tail_from - position).min(buffer.len());
        let (file_part, tail_part) = buffer.split_at_mut(in_file);
        let count = self.file.as_ref().map_or(Ok(0), |file| file.read(position, file_part))?;
        if count < in_file || tail_part.is_empty() {
            return Ok(count);
        }
        Ok(count + self.read(self.tail_from, tail_part)?)
    }
}

/// What stands at a position.
pub(super) enum Piece<'a> {
    /// A batch that is whole and has its CRC.
    Batch(&'a BatchHeader, &'a [u8]),
    /// What is wrong.
    Bad(String),
}

/// A part of the content in memory.
struct Window<'a> {
    content: &'a Content,
    read_bytes: &'a AtomicU64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes at `position`: at least `need`, if the content has them.
    fn at(&mut self, position: u64, need: usize) -> Result<&[u8], IoError> {
        let left = to_usize(self.content.end().saturating_sub(position));
        let need = need.min(left);
        let known = position.checked_sub(self.start).map(to_usize).filter(|at| *at <= self.bytes.len());
        let at = match known {
            Some(at) if self.bytes.len() - at >= need => at,
            known => {
                match known {
                    Some(at) => drop(self.bytes.drain(..at)),
                    None => self.bytes.clear(),
                }
                self.start = position;
                let have = self.bytes.len();
                let size = need.max(WINDOW_BYTES).min(left);
                self.bytes.reserve_exact(size - have);
                self.bytes.resize(size, 0);
                self.content.read_ahead(position + to_u64(size));
                let count = self.content.read(position + to_u64(have), &mut self.bytes[have..])?;
                self.bytes.truncate(have + count);
                self.read_bytes.fetch_add(to_u64(count), Ordering::Relaxed);
                0
            }
        };
        Ok(&self.bytes[at..])
    }

    /// The batch at `position`, or what is wrong there, and where the next one begins if that can be told.
    fn piece(&mut self, position: u64) -> Result<(Piece<'_>, Option<u64>), IoError> {
        let left = self.content.end() - position;
        let bytes = self.at(position, HEADER_BYTES)?;
        let Some(header) = BatchHeader::read(bytes) else {
            return Ok((Piece::Bad(format!("{left} bytes, too few for a batch")), None));
        };
        let Some(size) = header.batch_bytes() else {
            let what = if bytes.iter().all(|byte| *byte == 0) {
                "zeros where a batch should be".to_owned()
            } else {
                format!("no batch: its length is {}", header.batch_length())
            };
            return Ok((Piece::Bad(what), None));
        };
        if to_u64(size) > left {
            let what = format!("a batch of {size} bytes, but {left} are left");
            return Ok((Piece::Bad(what), None));
        }
        let bytes = self.at(position, size)?;
        let next = Some(position + to_u64(size));
        let Some(batch) = bytes.get(..size) else {
            return Ok((Piece::Bad("the file became shorter".to_owned()), None));
        };
        let piece = match (validate_stored(batch), BatchHeader::read(batch)) {
            (Ok(_), Some(header)) => Piece::Batch(header, batch),
            (Err(error), _) => Piece::Bad(error.to_string()),
            (Ok(_), None) => Piece::Bad("no batch".to_owned()),
        };
        Ok((piece, next))
    }
}

/// Gives every batch to `each` with its position, and what is none. Behind something bad it goes on where a batch
/// begins, or else at the next of `restarts`, which ascend; otherwise it ends, as it does when `each` says so.
/// `read_bytes` grows as it goes.
pub(super) fn scan(
    content: &Content,
    restarts: &[u64],
    read_bytes: &AtomicU64,
    mut each: impl FnMut(u64, Piece<'_>) -> ControlFlow<()>,
) -> Result<(), IoError> {
    let mut window = Window { content, read_bytes, start: 0, bytes: Vec::new() };
    let mut position = 0;
    while position < content.end() {
        let (piece, next) = window.piece(position)?;
        let good = matches!(piece, Piece::Batch(..));
        if each(position, piece).is_break() {
            break;
        }
        if let Some(next) = next
            && (good || next == content.end() || matches!(window.piece(next)?, (Piece::Batch(..), _)))
        {
            position = next;
            continue;
        }
        let above = restarts.partition_point(|restart| *restart <= position);
        let Some(restart) = restarts.get(above).filter(|restart| **restart < content.end()) else { break };
        position = *restart;
    }
    Ok(())
}
