//! A log whose files the disk fails: it takes no more appends until a restart, and nobody else suffers. What it was
//! acknowledged and its segments do not hold synced is written into a journal of its own (`journal::kept`), so that the
//! shard's may be given back; reads go on, from memory where the file is not known to be good.
//!
//! Nothing is tried again: a failed sync may have dropped what it was to make durable. If the kept journal cannot be
//! written either, the store goes offline.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future::select;

use super::log::Log;
use super::write_behind::copy_pending;
use crate::checkpoint::Checkpoint;
use crate::error::{StorageFailed, StoreError};
use crate::io::{Io, IoError};
use crate::journal::directories;
use crate::journal::kept::KeptJournal;
use crate::segment::segment::{to_u64, to_usize};
use crate::space::{RETRY_INTERVAL, is_no_space};

/// Bytes of one entry of a kept journal: large writes, and little memory.
const CHUNK_BYTES: u64 = 1 << 20;

/// Whether a log's own files failed, and what became of it.
#[derive(Default)]
pub(crate) struct Fault {
    reason: RefCell<Option<StorageFailed>>,
    /// Whether its kept journal is on stable media.
    kept: Cell<bool>,
}

impl Fault {
    /// The reason, once there is one.
    pub(crate) fn get(&self) -> Option<StorageFailed> {
        self.reason.borrow().clone()
    }
}

impl<I: Io> Log<I> {
    /// Takes the log offline; the first reason stays. Call it with the writer lock held, and no borrow of the state.
    pub(crate) fn fail(&self, error: &IoError) -> StorageFailed {
        if let Some(known) = self.fault.get() {
            return known;
        }
        let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
        let failing = segments.iter().find(|segment| segment.path(".log") == error.path);
        let place =
            failing.map_or(String::new(), |segment| format!(" from byte {} on", segment.synced.get()));
        let reason = format!("{}-{}: {error}{place}", self.topic, self.key.partition);
        tracing::error!(
            "{reason}: the partition is offline; what it acknowledged is kept and can be read; mend the disk or the \
             file, and start again"
        );
        let failed = StorageFailed { reason: reason.into() };
        *self.fault.reason.borrow_mut() = Some(failed.clone());
        self.shared.config.counters.logs_offline.add(1);
        self.shared.config.counters.logs_failing.add(1);
        let pending = self.unwritten();
        for segment in &segments {
            segment.forget_unsynced();
        }
        self.shared.dirty_removed(pending);
        self.changed.notify(usize::MAX);
        if let Some(log) = self.myself.upgrade() {
            self.shared.io.spawn(async move { log.keep().await });
        }
        failed
    }

    /// As [`fail`](Self::fail), for who does not hold the writer lock.
    pub(crate) async fn fail_unlocked(&self, error: &IoError) -> StorageFailed {
        let _writer = self.writer.lock().await;
        self.fail(error)
    }

    /// Whether its own files failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.fault.reason.borrow().is_some()
    }

    /// Whether all that the journal has of it stands in a journal of its own.
    pub(crate) fn is_kept(&self) -> bool {
        self.fault.kept.get()
    }

    /// An error if nothing can be appended or changed any more.
    pub(crate) fn check_online(&self) -> Result<(), StorageFailed> {
        self.failure().map_or(Ok(()), Err)
    }

    /// For a log that failed: completes when the shard's journal is no longer needed for it.
    pub(crate) async fn until_kept(&self) -> Result<(), StoreError> {
        loop {
            let changed = self.changed.listen();
            let (failed, stop) = (self.shared.failure.listen(), self.shared.stop_event.listen());
            if !self.has_failed() || self.is_kept() || self.deleted.get() {
                return Ok(());
            }
            self.shared.failure.check()?;
            if self.shared.stopping.get() {
                return Err(StoreError::Closed);
            }
            select(changed, select(failed, stop)).await;
        }
    }

    /// Writes the kept journal. A store that stops needs none: its own journal stays then.
    async fn keep(&self) {
        // All that was appended is durable then, and nothing is appended any more.
        if self.shared.journal.barrier().await.is_err() {
            return;
        }
        loop {
            let stop = self.shared.stop_event.listen();
            if self.shared.stopping.get() {
                return;
            }
            match self.write_kept().await {
                Ok(()) => return self.changed.notify(usize::MAX),
                Err(error) if is_no_space(&error) => {
                    select(std::pin::pin!(self.shared.io.sleep(RETRY_INTERVAL)), stop).await;
                }
                Err(error) => return self.shared.failure.set(&error),
            }
        }
    }

    async fn write_kept(&self) -> Result<(), IoError> {
        let shared = &self.shared;
        let _writer = self.writer.lock().await;
        if self.deleted.get() {
            return Ok(());
        }
        let epoch = shared.journal.epoch() + 1;
        let place = directories::kept_place(&shared.config.log_dir, shared.config.slot, epoch, self.key);
        let written = async {
            let mut kept = KeptJournal::create(shared.io.clone(), place.clone(), epoch).await?;
            let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
            let uncut = self.uncut.borrow().clone();
            if let Some((entry, payload)) = uncut {
                kept.write(entry, &payload).await?;
            }
            for segment in segments {
                let mut from = segment.synced.get();
                while from < segment.size.get() {
                    let mut bytes = vec![0; to_usize(CHUNK_BYTES.min(segment.size.get() - from))];
                    copy_pending(&self.state.borrow(), &segment, from, &mut bytes);
                    kept.write(self.carry_descriptor(segment.base_offset, from, &bytes), &bytes).await?;
                    from += to_u64(bytes.len());
                }
            }
            let checkpoint =
                Checkpoint { from: kept.begin(), logs: vec![self.checkpoint()], offline: Vec::new() };
            kept.finish(&checkpoint).await
        };
        if let Err(error) = written.await {
            // It would only take room: the shard's journal has all of it.
            drop(shared.io.remove_directory(&place).await);
            return Err(error);
        }
        self.fault.kept.set(true);
        Ok(())
    }

    /// Removes its kept journal, durably: the log is deleted.
    pub(crate) async fn forget_kept(&self) -> Result<(), IoError> {
        if !self.has_failed() {
            return Ok(());
        }
        let shared = &self.shared;
        shared.config.counters.logs_failing.sub(1);
        if !self.is_kept() {
            return Ok(());
        }
        let epoch = shared.journal.epoch() + 1;
        let place = directories::kept_place(&shared.config.log_dir, shared.config.slot, epoch, self.key);
        shared.io.remove_directory(&place).await?;
        shared.io.sync_directory(&directories::root(&shared.config.log_dir)).await
    }
}
