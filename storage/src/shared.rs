//! What all logs of one store share: the I/O seam, the journal, limits, and who waits for their room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use event_listener::Event;
use futures::future::select;

use crate::cache::TailCache;
use crate::config::StoreConfig;
use crate::error::StorageFailed;
use crate::io::{AlignedBuffer, Io};
use crate::journal::journal::{Failure, Journal};
use crate::log::Log;
use crate::segment::open_files::OpenFiles;
use crate::space::Space;

/// Lives on its shard's thread, behind `Rc`.
pub(crate) struct Shared<I: Io> {
    pub(crate) io: I,
    pub(crate) config: StoreConfig,
    pub(crate) journal: Rc<Journal<I>>,
    pub(crate) failure: Rc<Failure>,
    pub(crate) cache: TailCache,
    /// Bytes that no segment file holds yet, over all logs.
    pub(crate) dirty: Cell<u64>,
    /// Fires when `dirty` falls.
    pub(crate) room: Event,
    /// Logs with enough gathered to be written, each at most once.
    pub(crate) due: RefCell<VecDeque<Weak<Log<I>>>>,
    pub(crate) due_event: Event,
    /// What segments hold open.
    pub(crate) open_files: Rc<OpenFiles<I>>,
    /// Room for the segments.
    pub(crate) space: Space<I>,
    /// Buffers of segment writes that ended; as many as there were at once, which the writers bound.
    pub(crate) chunks: RefCell<Vec<AlignedBuffer>>,
    /// Set by the clean stop and by dropping the store: background tasks end.
    pub(crate) stopping: Cell<bool>,
    pub(crate) stop_event: Event,
}

impl<I: Io> Shared<I> {
    /// Waits until fewer bytes than the limit wait for their segments.
    pub(crate) async fn room(&self) -> Result<(), StorageFailed> {
        let dirty_max = u64::try_from(self.config.dirty_bytes_max()).unwrap_or(u64::MAX);
        loop {
            let freed = self.room.listen();
            let failed = self.failure.listen();
            self.failure.check()?;
            if self.dirty.get() < dirty_max {
                return Ok(());
            }
            select(freed, failed).await;
        }
    }

    /// Counts bytes that no segment holds yet.
    pub(crate) fn dirty_added(&self, bytes: u64) {
        self.dirty.set(self.dirty.get() + bytes);
    }

    /// Counts bytes that a segment holds now, and lets appends go on that waited for room.
    pub(crate) fn dirty_removed(&self, bytes: u64) {
        self.dirty.set(self.dirty.get().saturating_sub(bytes));
        self.room.notify(usize::MAX);
        self.cache.trim();
    }
}
