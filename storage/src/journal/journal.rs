//! The journal: a ring of pre-written files, and what waits to be written to them by [`super::writer`].
//!
//! Contract: [`Journal::push`] queues; entries become durable in the order they were queued (carried ones
//! may overtake, since they repeat bytes that are durable already). After a failed write nothing is
//! acknowledged any more. Which file may be used again is decided elsewhere ([`Journal::oldest_full`],
//! [`Journal::recycle`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use event_listener::{Event, EventListener};
use futures::channel::oneshot;

use super::frame::{self, Descriptor, EntryKind};
use super::relaxed::Unsynced;
use crate::config::StoreConfig;
use crate::error::StorageFailed;
use crate::io::{Io, IoError};
use crate::manager::reserve;
use crate::space::is_no_space;
use crate::types::{Offset, PartitionKey};

/// The first failure of a store: set once, never cleared.
#[derive(Debug, Default)]
pub struct Failure {
    reason: RefCell<Option<StorageFailed>>,
    event: Event,
}

impl Failure {
    /// Puts the store offline; the first reason stays.
    pub fn set(&self, error: &dyn std::fmt::Display) {
        if self.reason.borrow().is_none() {
            tracing::error!("storage goes offline: {error}");
            *self.reason.borrow_mut() = Some(StorageFailed { reason: error.to_string().into() });
        }
        self.event.notify(usize::MAX);
    }

    /// The reason, once there is one.
    pub fn get(&self) -> Option<StorageFailed> {
        self.reason.borrow().clone()
    }

    /// Wakes whoever listens, to look at something else.
    pub(crate) fn wake(&self) {
        self.event.notify(usize::MAX);
    }

    /// Fires when the store goes offline, or there is something to look at. Take it before looking.
    pub fn listen(&self) -> EventListener {
        self.event.listen()
    }

    /// `Err` once the store is offline.
    pub fn check(&self) -> Result<(), StorageFailed> {
        self.get().map_or(Ok(()), Err)
    }
}

/// Where a log's bytes end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LogPoint {
    /// Base offset of the segment.
    pub segment_base: Offset,
    /// Position in it.
    pub position: u64,
}

/// Who is told that a batch is durable.
pub trait Journaled {
    /// The log's bytes up to `point`, records below `end`, are on stable media.
    fn journaled(&self, point: LogPoint, end: Offset);
    /// Under relaxed durability: records below `end` are written. After how long they have to be on stable media.
    fn written(&self, end: Offset) -> Duration;
}

/// Who hears of an entry's durability.
pub enum Done {
    /// A log, for a batch whose records end before the offset.
    Log(Rc<dyn Journaled>, Offset),
    /// Whoever holds the receiver.
    Sender(oneshot::Sender<()>),
    /// Nobody.
    Nobody,
}

/// An entry that waits, or nothing but somebody who waits for those before.
pub(super) struct Queued {
    pub(super) descriptor: Option<Descriptor>,
    pub(super) payload: Bytes,
    pub(super) done: Done,
}

impl Queued {
    /// What it takes of a group.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + frame::DESCRIPTOR_BYTES
    }
}

/// Where the bytes end that a lap holds, by log and incarnation: a log may be deleted and made anew within a lap.
pub type LapEnds = BTreeMap<(PartitionKey, u64), LogPoint>;

/// One file of the ring and what its current lap holds.
pub(super) struct RingFile<F> {
    pub(super) file: F,
    pub(super) first_sequence: u64,
    pub(super) ends: LapEnds,
}

/// The files: one is written, others are full or free.
pub(super) struct Ring<F> {
    pub(super) current: Option<RingFile<F>>,
    pub(super) position: u64,
    pub(super) free: VecDeque<F>,
    pub(super) full: VecDeque<RingFile<F>>,
    pub(super) sequence: u64,
    pub(super) predecessor: u32,
    pub(super) files: u64,
    pub(super) next_number: u64,
}

/// The journal of one start. Lives on its shard's thread.
pub struct Journal<I: Io> {
    pub(super) io: I,
    pub(super) directory: PathBuf,
    pub(super) config: StoreConfig,
    pub(super) epoch: u64,
    /// Stands in every frame ([`frame`]).
    pub(super) salt: u64,
    pub(super) failure: Rc<Failure>,
    pub(super) queue: RefCell<VecDeque<Queued>>,
    pub(super) carried: RefCell<VecDeque<Queued>>,
    pub(super) work: Event,
    /// Fires when a file becomes full, free, or made.
    pub(super) ring_moved: Event,
    pub(super) ring: RefCell<Ring<I::File>>,
    pub(super) vouched: Cell<bool>,
    /// Up to which frame everything is on stable media.
    pub(super) durable_sequence: Cell<u64>,
    /// What is written and not synced, under relaxed durability.
    pub(super) unsynced: RefCell<Unsynced>,
    /// Bytes of what waits in both queues, descriptors included.
    pub(super) queued_bytes: Cell<usize>,
    /// Groups that are being written.
    pub(super) in_flight: Cell<usize>,
    /// Whether a group that is no longer queued waits for its place.
    pub(super) in_hand: Cell<bool>,
    /// Calls that wait for an entry.
    pub(super) waiters: Cell<usize>,
    pub(super) stopping: Cell<bool>,
    pub(super) stopped: Cell<bool>,
    /// Whether the ring's first files are still being made.
    pub(super) making: Cell<bool>,
    /// Whether segments found no blocks on the device ([`crate::space`]).
    pub(crate) device_is_short: Rc<Cell<bool>>,
    /// The device is full, and what is left of the ring is for entries that free room.
    pub(super) lacks_space: Cell<bool>,
    /// Whether a durable checkpoint says what its entries build on: before that nothing is appended.
    has_begun: Cell<bool>,
}

impl<I: Io> std::fmt::Debug for Journal<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("directory", &self.directory)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log(..) => "Log",
            Self::Sender(_) => "Sender",
            Self::Nobody => "Nobody",
        })
    }
}

/// Name of a journal file: the epoch that made it and its number.
pub fn file_name(epoch: u64, number: u64) -> String {
    format!("{epoch:020}-{number:04}.journal")
}

impl<I: Io> Journal<I> {
    /// The journal of a new epoch in `directory`; nothing is there yet.
    pub fn new(io: I, directory: PathBuf, config: StoreConfig, epoch: u64, failure: Rc<Failure>) -> Rc<Self> {
        Rc::new(Self {
            salt: io.random(),
            io,
            directory,
            config,
            epoch,
            failure,
            queue: RefCell::default(),
            carried: RefCell::default(),
            work: Event::new(),
            ring_moved: Event::new(),
            ring: RefCell::new(Ring {
                current: None,
                position: 0,
                free: VecDeque::new(),
                full: VecDeque::new(),
                sequence: 1,
                predecessor: 0,
                files: 0,
                next_number: 0,
            }),
            vouched: Cell::new(true),
            durable_sequence: Cell::new(0),
            unsynced: RefCell::default(),
            queued_bytes: Cell::new(0),
            in_flight: Cell::new(0),
            in_hand: Cell::new(false),
            waiters: Cell::new(0),
            stopping: Cell::new(false),
            stopped: Cell::new(false),
            making: Cell::new(false),
            device_is_short: Rc::default(),
            lacks_space: Cell::new(false),
            has_begun: Cell::new(false),
        })
    }

    /// Makes the first file; more follow in the background once [`start`](Self::start) ran. On a full device with what the
    /// directory keeps for a start, and if that does not do the writer tries again until there is room.
    pub async fn make(&self) -> Result<(), IoError> {
        let mut made = self.make_file().await;
        if made.as_ref().is_err_and(is_no_space) {
            reserve::give_up(&self.io, &self.config.log_dir).await?;
            made = self.make_file().await;
        }
        match made {
            Ok(file) => {
                let current = RingFile { file, first_sequence: 1, ends: LapEnds::new() };
                self.ring.borrow_mut().current = Some(current);
            }
            Err(error) if is_no_space(&error) => {
                tracing::error!("the journal has to wait, and appends are refused: {error}");
                self.space_lost();
                self.ring.borrow_mut().position = self.config.journal_file_bytes;
                // So that the writer begins though nobody may append.
                self.vouched.set(false);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Appends may begin: the checkpoint that they build on is durable.
    pub(crate) fn begin_appends(&self) {
        self.has_begun.set(true);
    }

    /// Starts writing, and making the other files of the ring.
    pub fn start(self: &Rc<Self>) {
        let journal = Rc::clone(self);
        self.io.spawn(async move {
            if let Err(error) = journal.run().await {
                journal.fail(&error);
            }
            journal.stopped.set(true);
            journal.ring_moved.notify(usize::MAX);
        });
        let journal = Rc::clone(self);
        self.making.set(true);
        self.io.spawn(async move {
            for _ in 1..journal.config.journal_files {
                if journal.stopping.get() {
                    break;
                }
                match journal.make_file().await {
                    Ok(file) => journal.ring.borrow_mut().free.push_back(file),
                    // It is made when it is needed.
                    Err(error) if is_no_space(&error) => break,
                    Err(error) => {
                        journal.fail(&error);
                        break;
                    }
                }
                journal.ring_moved.notify(usize::MAX);
            }
            journal.making.set(false);
            journal.ring_moved.notify(usize::MAX);
        });
    }

    /// Whether it waits for room on the device: what is queued now waits, too.
    pub(crate) fn lacks_space(&self) -> bool {
        self.lacks_space.get() || !self.has_begun.get()
    }

    /// An error while it has no room to begin.
    pub(crate) fn check_begun(&self) -> Result<(), IoError> {
        if self.has_begun.get() {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(IoError { operation: "journal in", path: self.directory.clone(), source })
    }

    /// Completes when it finds no room on the device.
    pub(crate) async fn until_space_lacks(&self) {
        loop {
            let moved = self.failure.listen();
            if self.lacks_space.get() {
                return;
            }
            moved.await;
        }
    }

    /// Appends are refused from now on, and who waits for one hears that it may take long. False if it was so before.
    pub(super) fn space_lost(&self) -> bool {
        let lost_now = !self.lacks_space.replace(true);
        if lost_now {
            self.failure.wake();
        }
        lost_now
    }

    /// Appends may go on if there is a free file again.
    pub(super) fn space_found(&self) {
        if !self.ring.borrow().free.is_empty() {
            self.lacks_space.set(false);
        }
    }

    /// The epoch of this start.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Largest payload one entry may have.
    pub fn entry_bytes_max(&self) -> usize {
        self.config.batch_bytes_max()
    }

    /// Queues an entry; durable when `done` hears of it.
    pub fn push(&self, descriptor: Descriptor, payload: Bytes, done: Done) {
        self.enqueue(&self.queue, Queued { descriptor: Some(descriptor), payload, done });
    }

    /// Queues bytes that are journalled again, ahead of what waits; durable when the future completes.
    pub fn push_carried(&self, descriptor: Descriptor, payload: Bytes) -> oneshot::Receiver<()> {
        debug_assert_eq!(descriptor.kind, EntryKind::Carry);
        let (sender, receiver) = oneshot::channel();
        let done = Done::Sender(sender);
        self.enqueue(&self.carried, Queued { descriptor: Some(descriptor), payload, done });
        self.ring_moved.notify(usize::MAX);
        receiver
    }

    /// Queues an entry and waits until it, and all queued before it, is durable.
    pub async fn write_through(&self, descriptor: Descriptor, payload: Bytes) -> Result<(), StorageFailed> {
        self.wait(Some(descriptor), payload).await
    }

    /// Waits until everything queued before the call is durable. Nothing is written if it is already: on a full device
    /// the journal's room is for what is tried again and again until there is some.
    pub async fn barrier(&self) -> Result<(), StorageFailed> {
        let queues_are_empty = self.queue.borrow().is_empty() && self.carried.borrow().is_empty();
        let is_synced = self.unsynced.borrow().due.is_none();
        if queues_are_empty && is_synced && !self.in_hand.get() && self.in_flight.get() == 0 {
            return self.failure.check();
        }
        self.wait(None, Bytes::new()).await
    }

    async fn wait(&self, descriptor: Option<Descriptor>, payload: Bytes) -> Result<(), StorageFailed> {
        self.failure.check()?;
        if self.stopping.get() {
            return Err(closed());
        }
        let (sender, receiver) = oneshot::channel();
        let done = Done::Sender(sender);
        self.enqueue(&self.queue, Queued { descriptor, payload, done });
        // A waiter may hold back what frees files: while there is one, the ring may grow.
        self.waiters.set(self.waiters.get() + 1);
        self.ring_moved.notify(usize::MAX);
        let durable = receiver.await;
        self.waiters.set(self.waiters.get() - 1);
        match durable {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure.get().unwrap_or_else(closed)),
        }
    }

    /// Waits for a full file, the oldest first: what its lap holds. `None` once the journal has stopped.
    pub async fn oldest_full(&self) -> Option<LapEnds> {
        loop {
            let moved = self.ring_moved.listen();
            if self.failure.get().is_some() || self.stopped.get() {
                return None;
            }
            if let Some(full) = self.ring.borrow().full.front() {
                return Some(full.ends.clone());
            }
            moved.await;
        }
    }

    /// First sequence that replay needs once the oldest full file is given back (`after_recycle`) or as of now.
    pub fn first_sequence(&self, after_recycle: bool) -> u64 {
        let ring = self.ring.borrow();
        let mut live = ring.full.iter().skip(usize::from(after_recycle)).chain(ring.current.iter());
        live.next().map_or(ring.sequence, |file| file.first_sequence)
    }

    /// Sequence of the next frame: once stopped, no frame has it.
    pub fn next_sequence(&self) -> u64 {
        self.ring.borrow().sequence
    }

    /// Gives the oldest full file back to the ring: the synced checkpoint no longer needs it.
    pub fn recycle(&self) {
        let mut ring = self.ring.borrow_mut();
        if let Some(full) = ring.full.pop_front() {
            ring.free.push_back(full.file);
        }
        drop(ring);
        self.space_found();
        self.ring_moved.notify(usize::MAX);
    }

    /// Wakes whoever waits, so that a failure is seen.
    pub(crate) fn wake(&self) {
        self.work.notify(usize::MAX);
        self.ring_moved.notify(usize::MAX);
    }

    /// Stops after everything queued is durable.
    pub async fn stop(&self) -> Result<(), StorageFailed> {
        self.stopping.set(true);
        self.wake();
        loop {
            let moved = self.ring_moved.listen();
            if self.stopped.get() && !self.making.get() {
                return self.failure.check();
            }
            moved.await;
        }
    }

    fn enqueue(&self, queue: &RefCell<VecDeque<Queued>>, queued: Queued) {
        self.queued_bytes.set(self.queued_bytes.get() + queued.bytes());
        queue.borrow_mut().push_back(queued);
        if self.begins() {
            self.work.notify(1);
        }
    }

    /// Puts the store offline and forgets what waits: nobody will be told any more.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) {
        self.failure.set(error);
        for queue in [&self.queue, &self.carried] {
            queue.borrow_mut().clear();
        }
        self.unsynced.borrow_mut().told.clear();
        self.queued_bytes.set(0);
        self.work.notify(usize::MAX);
        self.ring_moved.notify(usize::MAX);
    }

    /// Where the files stand.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// What is said of a store that was closed.
pub fn closed() -> StorageFailed {
    StorageFailed { reason: "the store is closed".into() }
}
