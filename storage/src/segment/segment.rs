//! One segment: a file with Kafka's bytes, how far it is written and synced, and its sparse index.
//!
//! Order, asserted: `synced ≤ written ≤ size`. While it is active, `written` is a multiple of the block, since a
//! block is written once, whole. Bytes from `written` on stand in memory: in the log's cached batches, or
//! in `head` after a start.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use futures::lock::Mutex;

use super::open_files::OpenFiles;
use super::sparse_index::SparseIndex;
use super::txn_index::AbortedTransaction;
use super::windows::Windows;
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow};
use crate::types::{Offset, TimestampMs};

/// The grain as a position.
pub(crate) const BLOCK: u64 = 4096;
const _: () = assert!(BLOCK_BYTES == 4096);
/// Kafka's mark of a file that goes away.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";
/// Bytes of one cold read at most, unless a batch is larger: the disk's full speed, what a fetch wants by default, and
/// little enough that one peer does not hold the shard.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// Name of a segment's file: its base offset in twenty digits.
pub fn file_name(base_offset: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base_offset.0)
}

/// Base offset of a segment from its `.log` file's name.
pub fn base_offset_of(name: &str) -> Option<Offset> {
    base_offset_of_stem(name.strip_suffix(".log")?)
}

/// The same from a name without its suffix.
pub(crate) fn base_offset_of_stem(digits: &str) -> Option<Offset> {
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    digits.parse().ok().map(Offset)
}

/// A position rounded down to a block.
pub(crate) fn block_floor(position: u64) -> u64 {
    position / BLOCK * BLOCK
}

/// A byte count as a position. The targets are 64-bit: nothing is cut.
pub(crate) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A position as a byte count of memory.
pub(crate) fn to_usize(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The end of the active segment as a start saw and checked it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Batches that begin there, ascending: the first one, and the first of those that are in memory alone.
    pub(crate) starts: Vec<(Offset, u64)>,
    /// The offset behind its last batch.
    pub(crate) end: Offset,
}

/// A segment of a log. Lives on its shard's thread.
pub struct Segment<I: Io> {
    io: I,
    directory: PathBuf,
    /// Offset of its first record.
    pub base_offset: Offset,
    file: Mutex<Option<I::File>>,
    /// Bytes it has, pending ones included.
    pub size: Cell<u64>,
    /// Bytes the file holds.
    pub written: Cell<u64>,
    /// Bytes on stable media.
    pub synced: Cell<u64>,
    /// Whether its last block is written, its length set and both synced.
    pub sealed: Cell<bool>,
    /// Whether its files were renamed, to be removed (`log::retention`).
    pub(crate) set_aside: Cell<bool>,
    /// Up to where its blocks are allocated.
    pub(crate) allocated: Cell<u64>,
    entry_synced: Cell<bool>,
    /// Whether its file is there. If it is not, a file of its name is somebody else's.
    is_made: Cell<bool>,
    /// Bytes from a block's start to the end as they were at a start: journalled again before they are rewritten.
    pub head: RefCell<Option<(u64, Bytes)>>,
    /// Pieces of the file that were read before it was opened, while a start looks at it.
    lent: RefCell<Vec<(u64, Bytes)>>,
    /// Whether `head` was queued to the journal in this epoch.
    pub head_journalled: Cell<bool>,
    /// Start of the batch that lies across `written` after a start: recovery checks from there.
    pub checked_from: Cell<u64>,
    /// Index of batches from `index_from` on.
    pub index: RefCell<SparseIndex>,
    /// What a start saw of its end, for reads before the index is whole.
    pub(crate) seen: RefCell<Seen>,
    /// Position from which the index knows the batches; 0 when it is whole.
    pub index_from: Cell<u64>,
    /// Timestamp of its first batch, for rolling by time.
    pub first_timestamp: Cell<Option<TimestampMs>>,
    /// When its last batch was appended, by the wall clock; `None` if that was before the start.
    pub(crate) last_append: Cell<Option<TimestampMs>>,
    /// The producers' snapshot as of its base offset, until the segment before it is sealed: then it is written.
    pub snapshot: RefCell<Option<Vec<u8>>>,
    /// Largest timestamp once it is sealed and its index was there: it outlives the index.
    pub largest: Cell<Option<(TimestampMs, Offset)>>,
    /// The last offset that the index files of a sealed segment name: it has to have it.
    pub(crate) named_last: Cell<Option<Offset>>,
    /// Whether its index was made from its batches alone, and not from files.
    pub(crate) is_index_made: Cell<bool>,
    /// Transactions whose abort markers it has; `None` while only its `.txnindex` knows them.
    pub(crate) aborted: RefCell<Option<Vec<AbortedTransaction>>>,
    /// Whether it has a `.txnindex`.
    pub(crate) has_txn_index: Cell<bool>,
    /// Whether that says something else than `aborted`.
    pub(crate) is_txn_index_due: Cell<bool>,
    myself: Weak<Self>,
    open_files: Rc<OpenFiles<I>>,
    /// What `open_files` counts for its index.
    index_charge: Cell<usize>,
    /// Whether it stands in `open_files`.
    holding: Cell<bool>,
    /// Whether it was used since `open_files` last looked.
    used: Cell<bool>,
    /// What was read past the page cache, and what was checked of it.
    pub(crate) windows: Windows,
}

impl<I: Io> std::fmt::Debug for Segment<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("base_offset", &self.base_offset)
            .field("size", &self.size)
            .field("written", &self.written)
            .field("synced", &self.synced)
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

impl<I: Io> Segment<I> {
    /// A segment without a file yet; the first write makes it.
    pub(crate) fn new(
        (io, open_files): (I, Rc<OpenFiles<I>>),
        directory: PathBuf,
        base_offset: Offset,
        index_interval_bytes: u64,
    ) -> Rc<Self> {
        Rc::new_cyclic(|myself| Self {
            myself: Weak::clone(myself),
            open_files,
            snapshot: RefCell::default(),
            largest: Cell::new(None),
            aborted: RefCell::new(Some(Vec::new())),
            has_txn_index: Cell::new(false),
            is_txn_index_due: Cell::new(false),
            named_last: Cell::new(None),
            is_index_made: Cell::new(false),
            index_charge: Cell::new(0),
            holding: Cell::new(false),
            used: Cell::new(false),
            io,
            directory,
            base_offset,
            file: Mutex::new(None),
            size: Cell::new(0),
            written: Cell::new(0),
            synced: Cell::new(0),
            sealed: Cell::new(false),
            set_aside: Cell::new(false),
            allocated: Cell::new(0),
            entry_synced: Cell::new(false),
            is_made: Cell::new(false),
            head: RefCell::new(None),
            lent: RefCell::default(),
            head_journalled: Cell::new(false),
            checked_from: Cell::new(0),
            index: RefCell::new(SparseIndex::new(base_offset, index_interval_bytes)),
            seen: RefCell::default(),
            index_from: Cell::new(0),
            first_timestamp: Cell::new(None),
            last_append: Cell::new(None),
            windows: Windows::default(),
        })
    }

    /// Says that it is in use: it keeps what it holds for now.
    pub(crate) fn touch(&self) {
        self.used.set(true);
    }

    /// Says that it begins to hold something that others may need the room of.
    pub(crate) fn hold(&self) {
        self.touch();
        if !self.holding.replace(true) {
            self.open_files.enter(Weak::clone(&self.myself));
        }
        self.charge_index();
        self.open_files.trim(&self.myself);
    }

    /// Tells the budget what the index of a sealed segment takes.
    fn charge_index(&self) {
        let counts = self.sealed.get() && self.index_from.get() == 0;
        let bytes = if counts { self.index.borrow().memory_bytes() } else { 0 };
        self.open_files.index_changed(self.index_charge.replace(bytes), bytes);
    }

    /// Gives up its file and, if it is sealed, its index; both come back on use. False if it is in use.
    pub(super) fn let_go(&self) -> bool {
        if self.used.replace(false) {
            return false;
        }
        let Some(mut file) = self.file.try_lock() else { return false };
        *file = None;
        self.holding.set(false);
        if self.sealed.get() && self.index_from.get() == 0 {
            self.forget_index();
        }
        if self.sealed.get() && self.has_txn_index.get() && !self.is_txn_index_due.get() {
            *self.aborted.borrow_mut() = None;
        }
        true
    }

    /// Adds a transaction whose abort marker was appended to it.
    pub(crate) fn note_aborted(&self, aborted: AbortedTransaction) {
        self.aborted.borrow_mut().get_or_insert_default().push(aborted);
        self.is_txn_index_due.set(true);
    }

    /// Adds what a start found in its batches that was not known.
    pub(crate) fn note_found_aborted(&self, found: Vec<AbortedTransaction>) {
        // Without what is before them they are not all: they are looked for again.
        let mut known = self.aborted.borrow_mut();
        let Some(known) = known.as_mut() else { return };
        let last = known.last().map(|one| one.last_offset);
        let before = known.len();
        known.extend(found.into_iter().filter(|one| Some(one.last_offset) > last));
        self.is_txn_index_due.set(self.is_txn_index_due.get() || known.len() > before);
    }

    /// Aborted transactions that no synced file of it has: the journal's checkpoint keeps them.
    pub(crate) fn unwritten_aborted(&self) -> Vec<AbortedTransaction> {
        let is_written = !self.is_txn_index_due.get();
        if is_written && self.sealed.get() {
            return Vec::new();
        }
        self.aborted.borrow().clone().unwrap_or_default()
    }

    /// Closes its file: it was removed, and its blocks are free when nobody has it open.
    pub(crate) async fn close(&self) {
        *self.file.lock().await = None;
    }

    /// The batch nearest before an offset, by base offset and position, that a start saw: only as long as the index is
    /// not whole, and for what was there at the start.
    pub(crate) fn seen_before(&self, from: Offset) -> Option<(Offset, u64)> {
        let seen = self.seen.borrow();
        if self.index_from.get() == 0 || from >= seen.end {
            return None;
        }
        seen.starts.iter().rfind(|(offset, _)| *offset <= from).copied()
    }

    /// The index has to be completed again.
    pub(crate) fn forget_index(&self) {
        *self.seen.borrow_mut() = Seen::default();
        let empty = self.index.borrow().emptied();
        *self.index.borrow_mut() = empty;
        self.index_from.set(self.size.get());
        self.is_index_made.set(false);
        self.charge_index();
    }

    /// Says that a file of `size` bytes exists, all of it synced: opened at a start.
    pub fn set_existing(&self, size: u64, sealed: bool) {
        self.entry_synced.set(true);
        self.is_made.set(true);
        self.size.set(size);
        self.written.set(size);
        self.synced.set(size);
        self.sealed.set(sealed);
        self.index_from.set(size);
        self.allocated.set(size.next_multiple_of(BLOCK));
    }

    /// Path of the segment's file, or of one beside it.
    pub fn path(&self, suffix: &str) -> PathBuf {
        self.directory.join(file_name(self.base_offset, suffix))
    }

    /// Where it stands.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file, opened or made on first use.
    pub async fn file(&self) -> Result<I::File, IoError> {
        self.touch();
        let mut slot = self.file.lock().await;
        if let Some(file) = &*slot {
            return Ok(file.clone());
        }
        let path = self.path(".log");
        let how = match (self.is_made.get(), self.sealed.get()) {
            (false, _) => OpenHow::Create,
            (true, false) => OpenHow::ReadWrite,
            (true, true) => OpenHow::Read,
        };
        let file = match self.io.open(&path, how).await {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound && self.set_aside.get() => {
                self.io.open(&self.path(&format!(".log{DELETED_SUFFIX}")), how).await?
            }
            opened => opened?,
        };
        self.is_made.set(true);
        *slot = Some(file.clone());
        drop(slot);
        self.hold();
        Ok(file)
    }

    /// Makes its file, empty, if there is none yet; durable on return.
    pub(crate) async fn make(&self) -> Result<(), IoError> {
        self.file().await?;
        if !self.entry_synced.get() {
            self.io.sync_directory(&self.directory).await?;
            self.entry_synced.set(true);
        }
        Ok(())
    }

    /// Writes blocks at `written`; `buffer` holds `bytes` of the segment and zeros up to a whole block.
    /// Only the sealing write may end inside a block.
    pub async fn write(&self, buffer: AlignedBuffer, bytes: u64) -> Result<AlignedBuffer, IoError> {
        let at = self.written.get();
        let file = self.file().await?;
        let buffer = file.write_at(buffer, at).await?;
        self.written.set(at + bytes);
        assert!(self.written.get() <= self.size.get(), "written within size: {self:?}");
        Ok(buffer)
    }

    /// Notes up to where all is on stable media. Until then what stood in memory alone stays there.
    fn set_synced(&self, position: u64) {
        self.synced.set(position.max(self.synced.get()));
        let held = |(from, head): &(u64, Bytes)| from + to_u64(head.len()) <= self.synced.get();
        self.head.borrow_mut().take_if(|head| held(head));
    }

    /// What is not synced is not in the file: a write or a sync failed.
    pub(crate) fn forget_unsynced(&self) {
        self.written.set(self.synced.get());
    }

    /// Makes what is written durable, the file's name included.
    pub async fn sync(&self) -> Result<(), IoError> {
        let written = self.written.get();
        if self.synced.get() < written {
            self.file().await?.sync().await?;
        }
        if written > 0 && !self.entry_synced.get() {
            self.io.sync_directory(&self.directory).await?;
            self.entry_synced.set(true);
        }
        self.set_synced(written);
        Ok(())
    }

    /// Gives the file its true length, now that its last block is written, and syncs.
    pub async fn finish(&self) -> Result<(), IoError> {
        assert_eq!(self.written.get(), self.size.get(), "finished when whole");
        let file = self.file().await?;
        file.truncate(self.size.get()).await?;
        file.sync().await?;
        self.make().await?;
        self.set_synced(self.size.get());
        Ok(())
    }

    /// Puts back `written` to the block that holds the end, whose bytes are `head`: it will be rewritten whole.
    pub fn reopen(&self, head: Bytes) {
        let from = block_floor(self.size.get());
        assert_eq!(from + to_u64(head.len()), self.size.get(), "head reaches the end");
        self.written.set(from);
        self.synced.set(from);
        self.sealed.set(false);
        *self.head.borrow_mut() = (!head.is_empty()).then_some((from, head));
    }

    /// Whether nothing was appended since the start, or since it was cut: the file has all of `head`.
    pub(crate) fn is_untouched(&self) -> bool {
        self.head.borrow().is_some() && !self.head_journalled.get()
    }

    /// Bytes `[from, to)`, if `head` has all of them.
    pub(crate) fn of_head(&self, from: u64, to: u64) -> Option<Bytes> {
        let head = self.head.borrow();
        let (begin, bytes) = head.as_ref()?;
        let (from, to) = (from.checked_sub(*begin)?, to.checked_sub(*begin)?);
        (from <= to && to <= to_u64(bytes.len())).then(|| bytes.slice(to_usize(from)..to_usize(to)))
    }

    /// Lets go of what of `head` the file has on stable media.
    pub(crate) fn trim_head(&self) {
        let mut head = self.head.borrow_mut();
        let Some((begin, bytes)) = &*head else { return };
        let held = self.synced.get().clamp(*begin, begin + to_u64(bytes.len()));
        if held > *begin {
            let rest = bytes.get(to_usize(held - begin)..).unwrap_or_default();
            // A copy: the rest would keep all of it in memory.
            *head = (!rest.is_empty()).then(|| (held, Bytes::copy_from_slice(rest)));
        }
    }

    /// Has reads look into these pieces of the file first. The next call takes them back.
    pub(crate) fn lend(&self, pieces: Vec<(u64, Bytes)>) {
        *self.lent.borrow_mut() = pieces;
    }

    /// Bytes `[from, to)`, if a lent piece has all of them.
    fn of_lent(&self, from: u64, to: u64) -> Option<Bytes> {
        self.lent.borrow().iter().find_map(|(begin, bytes)| {
            let (from, to) = (from.checked_sub(*begin)?, to.checked_sub(*begin)?);
            (to <= to_u64(bytes.len())).then(|| bytes.slice(to_usize(from)..to_usize(to)))
        })
    }

    /// Bytes `[from, to)` of the file, `to ≤ written`; what stands before `from` in its block is cut off without a copy.
    pub async fn read_file(&self, from: u64, to: u64) -> Result<Bytes, IoError> {
        if from >= to {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.of_lent(from, to) {
            return Ok(bytes);
        }
        let file = self.file().await?;
        let at = block_floor(from);
        let size = to_usize((to - at).next_multiple_of(BLOCK));
        let buffer = file.read_at(at, size).await?;
        let bytes = Bytes::from_owner(buffer);
        let end = bytes.len().min(to_usize(to - at));
        Ok(bytes.slice(to_usize(from - at).min(end)..end))
    }
}

impl<I: Io> Drop for Segment<I> {
    fn drop(&mut self) {
        self.open_files.index_changed(self.index_charge.get(), 0);
    }
}
