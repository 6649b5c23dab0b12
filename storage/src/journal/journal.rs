//! The journal's writer: a ring of pre-written files, one group in flight, acknowledged in order.
//!
//! Contract: [`Journal::push`] queues; entries become durable in the order they were queued (carried ones
//! may overtake, since they repeat bytes that are durable already). After a failed write nothing is
//! acknowledged any more. Which file may be used again is decided elsewhere ([`Journal::oldest_full`],
//! [`Journal::recycle`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use event_listener::{Event, EventListener};
use futures::channel::oneshot;
use futures::future::{Either, select};

use super::frame::{self, Descriptor, EntryKind, FrameHeader};
use crate::config::StoreConfig;
use crate::error::StorageFailed;
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow};
use crate::space::{RETRY_INTERVAL, is_no_space};
use crate::types::{Offset, PartitionKey};

/// Zeroes are written to a new file in steps of this size, so that it hinders others little.
const PREWRITE_BYTES: usize = 1 << 20;

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

    /// Fires when the store goes offline. Take it before looking.
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

struct Queued {
    descriptor: Option<Descriptor>,
    payload: Bytes,
    done: Done,
}

/// One file of the ring and what its current lap holds.
struct RingFile<F> {
    file: F,
    first_sequence: u64,
    ends: BTreeMap<PartitionKey, LogPoint>,
}

struct Ring<F> {
    current: Option<RingFile<F>>,
    position: u64,
    free: VecDeque<F>,
    full: VecDeque<RingFile<F>>,
    sequence: u64,
    predecessor: u32,
    files: u64,
    next_number: u64,
}

/// The journal of one start. Lives on its shard's thread.
pub struct Journal<I: Io> {
    io: I,
    directory: PathBuf,
    config: StoreConfig,
    epoch: u64,
    failure: Rc<Failure>,
    queue: RefCell<VecDeque<Queued>>,
    carried: RefCell<VecDeque<Queued>>,
    work: Event,
    /// Fires when a file becomes full, free, or made.
    ring_moved: Event,
    ring: RefCell<Ring<I::File>>,
    vouched: Cell<bool>,
    /// Calls that wait for an entry.
    waiters: Cell<usize>,
    stopping: Cell<bool>,
    stopped: Cell<bool>,
    /// Whether the ring's first files are still being made.
    making: Cell<bool>,
    /// A file is needed, none is free, and the device is full.
    lacks_space: Cell<bool>,
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
    /// Makes the first file of a new epoch in `directory`, which exists; more follow in the background once
    /// [`start`](Self::start) ran.
    pub async fn create(
        io: I,
        directory: PathBuf,
        config: StoreConfig,
        epoch: u64,
        failure: Rc<Failure>,
    ) -> Result<Rc<Self>, IoError> {
        let journal = Rc::new(Self {
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
            waiters: Cell::new(0),
            stopping: Cell::new(false),
            stopped: Cell::new(false),
            making: Cell::new(false),
            lacks_space: Cell::new(false),
        });
        let file = journal.make_file().await?;
        journal.ring.borrow_mut().current = Some(RingFile { file, first_sequence: 1, ends: BTreeMap::new() });
        Ok(journal)
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
        self.lacks_space.get()
    }

    /// The epoch of this start.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Largest payload one entry may have.
    pub fn entry_bytes_max(&self) -> usize {
        usize::try_from(self.config.journal_file_bytes)
            .unwrap_or(usize::MAX)
            .saturating_sub(frame::frame_bytes(1, 0))
    }

    /// Queues an entry; durable when `done` hears of it.
    pub fn push(&self, descriptor: Descriptor, payload: Bytes, done: Done) {
        self.queue.borrow_mut().push_back(Queued { descriptor: Some(descriptor), payload, done });
        self.work.notify(1);
    }

    /// Queues bytes that are journalled again, ahead of what waits; durable when the future completes.
    pub fn push_carried(&self, descriptor: Descriptor, payload: Bytes) -> oneshot::Receiver<()> {
        debug_assert_eq!(descriptor.kind, EntryKind::Carry);
        let (sender, receiver) = oneshot::channel();
        let done = Done::Sender(sender);
        self.carried.borrow_mut().push_back(Queued { descriptor: Some(descriptor), payload, done });
        self.work.notify(1);
        self.ring_moved.notify(usize::MAX);
        receiver
    }

    /// Queues an entry without payload and waits until it, and all queued before it, is durable.
    pub async fn write_through(&self, descriptor: Descriptor) -> Result<(), StorageFailed> {
        self.wait(Some(descriptor)).await
    }

    /// Waits until everything queued before the call is durable.
    pub async fn barrier(&self) -> Result<(), StorageFailed> {
        self.wait(None).await
    }

    async fn wait(&self, descriptor: Option<Descriptor>) -> Result<(), StorageFailed> {
        self.failure.check()?;
        if self.stopping.get() {
            return Err(closed());
        }
        let (sender, receiver) = oneshot::channel();
        let done = Done::Sender(sender);
        self.queue.borrow_mut().push_back(Queued { descriptor, payload: Bytes::new(), done });
        self.work.notify(1);
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
    pub async fn oldest_full(&self) -> Option<BTreeMap<PartitionKey, LogPoint>> {
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
        self.work.notify(usize::MAX);
        loop {
            let moved = self.ring_moved.listen();
            if self.stopped.get() && !self.making.get() {
                return self.failure.check();
            }
            moved.await;
        }
    }

    fn fail(&self, error: &dyn std::fmt::Display) {
        self.failure.set(error);
        for queue in [&self.queue, &self.carried] {
            queue.borrow_mut().clear();
        }
        self.work.notify(usize::MAX);
        self.ring_moved.notify(usize::MAX);
    }

    async fn run(&self) -> Result<(), IoError> {
        let mut buffer = AlignedBuffer::zeroed(self.config.group_bytes_max + BLOCK_BYTES);
        let mut group = Vec::new();
        loop {
            if self.failure.get().is_some() {
                self.fail(&"a write failed");
                return Ok(());
            }
            let work = self.work.listen();
            self.gather(&mut group);
            if group.is_empty() {
                if self.stopping.get() {
                    return Ok(());
                }
                if self.vouched.get() {
                    work.await;
                    continue;
                }
                let idle = std::pin::pin!(self.io.sleep(self.config.vouch_after));
                if let Either::Left(_) = select(work, idle).await {
                    continue;
                }
            }
            buffer = self.write_group(buffer, &group).await?;
            // An empty frame needs no voucher of its own.
            self.vouched.set(group.is_empty());
            let mut ended = group.drain(..);
            for queued in &mut ended {
                match queued.done {
                    Done::Log(log, end) => {
                        if let Some(descriptor) = queued.descriptor {
                            log.journaled(point_after(&descriptor), end);
                        }
                    }
                    Done::Sender(sender) => drop(sender.send(())),
                    Done::Nobody => {}
                }
            }
        }
    }

    /// Moves what waits into `group`, up to the group's limit; carried entries first.
    fn gather(&self, group: &mut Vec<Queued>) {
        let mut bytes = 0;
        for queue in [&self.carried, &self.queue] {
            let mut queue = queue.borrow_mut();
            while let Some(next) = queue.front() {
                let more = next.payload.len() + frame::DESCRIPTOR_BYTES;
                if !group.is_empty() && bytes + more > self.config.group_bytes_max {
                    return;
                }
                bytes += more;
                group.extend(queue.pop_front());
            }
        }
    }

    async fn write_group(
        &self,
        mut buffer: AlignedBuffer,
        group: &[Queued],
    ) -> Result<AlignedBuffer, IoError> {
        let entries =
            || group.iter().filter_map(|queued| Some((queued.descriptor?, queued.payload.as_ref())));
        let count = entries().count();
        let payload: usize = entries().map(|(_, bytes)| bytes.len()).sum();
        let size = frame::frame_bytes(count, payload);
        if buffer.capacity() < size {
            buffer = AlignedBuffer::zeroed(size);
        }
        buffer.set_len(size);
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        if self.ring.borrow().position + size > self.config.journal_file_bytes {
            self.rotate().await?;
        }
        let (file, position, checksum) = {
            let mut ring = self.ring.borrow_mut();
            let header = FrameHeader {
                epoch: self.epoch,
                sequence: ring.sequence,
                durable_sequence: ring.sequence - 1,
                predecessor: ring.predecessor,
            };
            let position = ring.position;
            let entries: Vec<_> = entries().collect();
            let checksum = frame::encode(&mut buffer, header, entries.into_iter());
            let Some(current) = ring.current.as_mut() else { return Ok(buffer) };
            for queued in group {
                let Some(descriptor) = queued.descriptor else { continue };
                if matches!(descriptor.kind, EntryKind::Batch | EntryKind::Carry) {
                    let point = point_after(&descriptor);
                    let end = current.ends.entry(descriptor.key).or_insert(point);
                    *end = point.max(*end);
                }
            }
            (current.file.clone(), position, checksum)
        };
        let buffer = file.write_durable_at(buffer, position).await?;
        let mut ring = self.ring.borrow_mut();
        ring.position += size;
        ring.sequence += 1;
        ring.predecessor = checksum;
        Ok(buffer)
    }

    /// Goes on to the next file: a free one, or a new one if the ring may grow. Carried entries may always
    /// grow it, since it is they that free the others.
    async fn rotate(&self) -> Result<(), IoError> {
        {
            let mut ring = self.ring.borrow_mut();
            if let Some(current) = ring.current.take() {
                ring.full.push_back(current);
            }
        }
        self.ring_moved.notify(usize::MAX);
        let file = loop {
            let moved = self.ring_moved.listen();
            let (free, files) = {
                let mut ring = self.ring.borrow_mut();
                (ring.free.pop_front(), ring.files)
            };
            if let Some(file) = free {
                break file;
            }
            let max = u64::try_from(self.config.journal_files_max).unwrap_or(u64::MAX);
            let urgent = self.waiters.get() > 0 || !self.carried.borrow().is_empty();
            if files < max || urgent || self.failure.get().is_some() {
                match self.make_file().await {
                    Err(error) if is_no_space(&error) && !self.stopping.get() => {
                        self.lacks_space.set(true);
                        let retry = std::pin::pin!(self.io.sleep(RETRY_INTERVAL));
                        select(moved, retry).await;
                        continue;
                    }
                    made => break made?,
                }
            }
            moved.await;
        };
        self.lacks_space.set(false);
        let mut ring = self.ring.borrow_mut();
        let first_sequence = ring.sequence;
        ring.current = Some(RingFile { file, first_sequence, ends: BTreeMap::new() });
        ring.position = 0;
        Ok(())
    }

    /// Makes a file whose blocks are all written, so that later writes change no metadata.
    async fn make_file(&self) -> Result<I::File, IoError> {
        let number = {
            let mut ring = self.ring.borrow_mut();
            ring.files += 1;
            ring.next_number += 1;
            ring.next_number
        };
        let path = self.directory.join(file_name(self.epoch, number));
        let made = self.fill_file(&path).await;
        if made.is_err() {
            self.ring.borrow_mut().files -= 1;
            // What there is of it would only take room; a start removes it, too.
            drop(self.io.remove_file(&path).await);
        }
        made
    }

    async fn fill_file(&self, path: &Path) -> Result<I::File, IoError> {
        let file = self.io.open(path, OpenHow::Create).await?;
        file.allocate(0, self.config.journal_file_bytes).await?;
        let mut buffer = AlignedBuffer::zeroed(PREWRITE_BYTES);
        let mut position = 0;
        while position < self.config.journal_file_bytes {
            let left = usize::try_from(self.config.journal_file_bytes - position).unwrap_or(PREWRITE_BYTES);
            buffer.set_len(left.min(PREWRITE_BYTES));
            buffer = file.write_at(buffer, position).await?;
            position += u64::try_from(PREWRITE_BYTES).unwrap_or(u64::MAX);
        }
        file.sync().await?;
        self.io.sync_directory(&self.directory).await?;
        Ok(file)
    }

    /// Where the files stand.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn point_after(descriptor: &Descriptor) -> LogPoint {
    LogPoint {
        segment_base: descriptor.segment_base,
        position: descriptor.position + u64::from(descriptor.len),
    }
}

/// What is said of a store that was closed.
pub fn closed() -> StorageFailed {
    StorageFailed { reason: "the store is closed".into() }
}
