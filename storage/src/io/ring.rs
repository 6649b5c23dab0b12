//! A private `io_uring` for file I/O, with `RWF_DSYNC`. Reads, writes, syncs and allocations are submitted at once;
//! their completions are collected by a task that waits on the ring's descriptor, and by whoever submits next.
//!
//! What an operation uses (its buffer and its descriptor) is kept in `in_flight` until the kernel is done
//! with it, whether or not anyone still waits. Dropping the ring waits for all of it.
//! Lives on one shard's thread. Knows no paths and no error texts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use futures::channel::oneshot;
use io_uring::{IoUring, opcode, squeue, types};
use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{AlignedBuffer, executor};

/// Submissions that fit before the kernel must take some; completions may be twice as many, and the kernel
/// keeps what overflows. A shard has one journal group, a few segment writes and a few cold reads in flight.
const RING_ENTRIES: u32 = 128;

/// One read asks for no more, as the kernel gives no more: who wants more asks again.
const READ_BYTES_MAX: usize = 1 << 30;

/// The completion of the wake-up that ends the collecting task; no operation has this number.
const WAKE_UP: u64 = u64::MAX;

/// When a write counts as complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// When the device has it.
    Volatile,
    /// When it is on stable media (`RWF_DSYNC`).
    Durable,
}

/// What the kernel answered: a count of bytes or an error, and the buffer if there was one.
#[derive(Debug)]
pub(super) struct Completion {
    /// Bytes read or written; 0 for a sync or an allocation.
    pub(super) result: io::Result<usize>,
    /// The operation's buffer.
    pub(super) buffer: Option<AlignedBuffer>,
}

/// The ring of one shard. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    shared: Rc<Shared>,
}

impl Ring {
    /// A new ring, its completions collected by a task on the executor this is called on.
    pub(super) fn new() -> io::Result<Self> {
        // Completions may wait until this thread enters the kernel: it does so all the time, or sleeps there.
        let uring = IoUring::builder().setup_coop_taskrun().setup_single_issuer().build(RING_ENTRIES)?;
        #[expect(unsafe_code, reason = "the ring's descriptor is borrowed for the length of one call")]
        // SAFETY: the descriptor is open as long as `uring` lives, which outlasts the clone below.
        let descriptor = unsafe { BorrowedFd::borrow_raw(uring.as_raw_fd()) }.try_clone_to_owned()?;
        #[expect(unsafe_code, reason = "any type might be asked for its descriptor")]
        // SAFETY: an `OwnedFd` is one open descriptor, always the same, until it is dropped.
        let readiness = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        let shared = Rc::new(Shared {
            uring: RefCell::new(uring),
            in_flight: RefCell::new(BTreeMap::new()),
            next_number: Cell::new(0),
        });
        executor::spawn(collect(readiness, Rc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Reads into `buffer` from `buffer_start` to its capacity.
    pub(super) async fn read(
        &self,
        file: &Arc<OwnedFd>,
        buffer: AlignedBuffer,
        buffer_start: usize,
        position: u64,
    ) -> Completion {
        self.perform(file, Some(buffer), |descriptor, buffer| {
            let room = buffer.as_mut().and_then(|buffer| buffer.room_from(buffer_start));
            let (start, size) = room.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            let size = u32::try_from(size.min(READ_BYTES_MAX)).unwrap_or(0);
            Ok(opcode::Read::new(descriptor, start, size).offset(position).build())
        })
        .await
    }

    /// Writes `buffer` from `buffer_start` to its length.
    pub(super) async fn write(
        &self,
        file: &Arc<OwnedFd>,
        buffer: AlignedBuffer,
        buffer_start: usize,
        (position, durability): (u64, Durability),
    ) -> Completion {
        let flags = match durability {
            Durability::Volatile => 0,
            Durability::Durable => libc::RWF_DSYNC,
        };
        self.perform(file, Some(buffer), |descriptor, buffer| {
            let (start, size) = span(buffer, buffer_start)?;
            Ok(opcode::Write::new(descriptor, start.cast_const(), size)
                .offset(position)
                .rw_flags(flags)
                .build())
        })
        .await
    }

    /// `fdatasync`.
    pub(super) async fn sync(&self, file: &Arc<OwnedFd>) -> io::Result<()> {
        self.perform(file, None, |descriptor, _| {
            Ok(opcode::Fsync::new(descriptor).flags(types::FsyncFlags::DATASYNC).build())
        })
        .await
        .result
        .map(drop)
    }

    /// `fallocate` that leaves the length as it is.
    pub(super) async fn allocate(&self, file: &Arc<OwnedFd>, position: u64, size: u64) -> io::Result<()> {
        self.perform(file, None, |descriptor, _| {
            Ok(opcode::Fallocate::new(descriptor, size)
                .offset(position)
                .mode(libc::FALLOC_FL_KEEP_SIZE)
                .build())
        })
        .await
        .result
        .map(drop)
    }

    async fn perform(
        &self,
        file: &Arc<OwnedFd>,
        mut buffer: Option<AlignedBuffer>,
        entry: impl FnOnce(types::Fd, &mut Option<AlignedBuffer>) -> io::Result<squeue::Entry>,
    ) -> Completion {
        let entry = match entry(types::Fd(file.as_fd().as_raw_fd()), &mut buffer) {
            Ok(entry) => entry,
            Err(error) => return Completion { result: Err(error), buffer },
        };
        let (done, completion) = oneshot::channel();
        let operation = InFlight { buffer, _file: Arc::clone(file), done };
        if let Err(error) = self.shared.submit(entry, operation) {
            return Completion { result: Err(error), buffer: None };
        }
        completion.await.unwrap_or_else(|oneshot::Canceled| Completion {
            result: Err(io::Error::other("the ring is closed")),
            buffer: None,
        })
    }
}

/// Address and size of a buffer from `start` to its length.
fn span(buffer: &mut Option<AlignedBuffer>, start: usize) -> io::Result<(*mut u8, u32)> {
    let bytes = buffer
        .as_mut()
        .and_then(|buffer| buffer.get_mut(start..))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let size = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok((bytes.as_mut_ptr(), size))
}

/// Hands completions to their waiters until the ring is gone.
async fn collect(readiness: AsyncFd<OwnedFd>, ring: Weak<Shared>) {
    loop {
        let ready = readiness.readable().await;
        let Some(shared) = ring.upgrade() else { return };
        match ready {
            // Before looking: what completes from here on makes it ready again.
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => {
                // Without this task no completion would ever be seen; what waits is told so. The kernel may still use
                // the buffers: they stay.
                tracing::error!(%error, "waiting for file I/O completions failed");
                for operation in shared.in_flight.borrow_mut().values_mut() {
                    operation.done = oneshot::channel().0;
                }
                return;
            }
        }
        shared.collect_completions();
    }
}

struct InFlight {
    buffer: Option<AlignedBuffer>,
    _file: Arc<OwnedFd>,
    done: oneshot::Sender<Completion>,
}

struct Shared {
    uring: RefCell<IoUring>,
    in_flight: RefCell<BTreeMap<u64, InFlight>>,
    next_number: Cell<u64>,
}

impl Shared {
    fn submit(&self, entry: squeue::Entry, operation: InFlight) -> io::Result<()> {
        self.collect_completions();
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let entry = entry.user_data(number);
        self.in_flight.borrow_mut().insert(number, operation);
        loop {
            let mut uring = self.uring.borrow_mut();
            #[expect(unsafe_code, reason = "the kernel reads and writes memory that the entry points at")]
            // SAFETY: the buffer and the descriptor the entry names stand in `in_flight` until its completion.
            let pushed = unsafe { uring.submission().push(&entry) };
            if pushed.is_ok() {
                break;
            }
            drop(uring);
            if let Err(error) = self.enter() {
                self.in_flight.borrow_mut().remove(&number);
                return Err(error);
            }
        }
        // From here the entry is in the queue: an error now leaves it there, and its buffer is kept for it.
        self.enter()
    }

    /// Gives the kernel what is queued; where it is short of room, what is complete is collected first.
    fn enter(&self) -> io::Result<()> {
        loop {
            let result = self.uring.borrow().submit();
            match result {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    self.collect_completions();
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn collect_completions(&self) {
        loop {
            let completed = self.uring.borrow_mut().completion().next();
            let Some(entry) = completed else { break };
            let operation = self.in_flight.borrow_mut().remove(&entry.user_data());
            let Some(InFlight { buffer, done, .. }) = operation else { continue };
            let result = match usize::try_from(entry.result()) {
                Ok(size) => Ok(size),
                Err(_) => Err(io::Error::from_raw_os_error(entry.result().saturating_neg())),
            };
            // A waiter that has gone away wants no answer; the buffer is freed here.
            drop(done.send(Completion { result, buffer }));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.collect_completions();
        while !self.in_flight.borrow().is_empty() {
            let waited = self.uring.borrow().submit_and_wait(1);
            self.collect_completions();
            if waited.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
                // The kernel may still use this memory: better never freed than freed too early.
                Box::leak(Box::new(self.in_flight.take()));
            }
        }
        let wake_up = opcode::Nop::new().build().user_data(WAKE_UP);
        let uring = self.uring.get_mut();
        #[expect(unsafe_code, reason = "an entry without memory")]
        // SAFETY: a no-op names neither buffer nor descriptor.
        let pushed = unsafe { uring.submission().push(&wake_up) };
        if pushed.is_ok() {
            // If it fails, the collecting task stays until its executor ends: harmless.
            drop(uring.submit());
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("in_flight", &self.in_flight.borrow().len()).finish_non_exhaustive()
    }
}
