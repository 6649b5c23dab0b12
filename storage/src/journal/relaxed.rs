//! Relaxed durability: a group is told that it is written when it is, without a flush of the device, and that it is durable
//! with the next sync. Bytes go into segments, files are recycled and frames vouched for only behind a sync, so that a power
//! cut takes back the end of what was written and nothing else.

use std::time::Duration;

use super::journal::{Done, Journal, Queued};
use crate::io::{Io, IoError, IoFile};

/// What is written to the current file and not synced.
#[derive(Default)]
pub(super) struct Unsynced {
    /// Who hears of the sync.
    pub(super) told: Vec<Queued>,
    /// Its last frame.
    sequence: u64,
    /// Its bytes.
    bytes: u64,
    /// By when it has to be synced; `None` if there is nothing.
    pub(super) due: Option<Duration>,
}

impl<I: Io> Journal<I> {
    /// Takes a group that is written: whoever waits for a log is told, all others hear of it when it is synced.
    pub(super) fn note_written(&self, group: Vec<Queued>, sequence: u64, bytes: u64) {
        let now = self.io.now();
        let mut due = now + self.config.vouch_after;
        for queued in &group {
            let patience = match &queued.done {
                Done::Log(log, end) => log.written(*end),
                Done::Sender(_) => Duration::ZERO,
                Done::Nobody => continue,
            };
            due = due.min(now.saturating_add(patience));
        }
        let mut unsynced = self.unsynced.borrow_mut();
        unsynced.bytes += bytes;
        if unsynced.bytes >= self.config.unsynced_bytes_max {
            due = now;
        }
        unsynced.due = Some(unsynced.due.map_or(due, |known| known.min(due)));
        unsynced.sequence = sequence;
        unsynced.told.extend(group);
    }

    /// Whether what is written has to be synced now.
    pub(super) fn sync_is_due(&self) -> bool {
        let is_last = self.stopping.get() && self.in_flight.get() == 0 && !self.begins();
        self.unsynced.borrow().due.is_some_and(|due| is_last || due <= self.io.now())
    }

    /// How long what is written may stay without a sync; `None` if there is nothing.
    pub(super) fn until_sync(&self) -> Option<Duration> {
        self.unsynced.borrow().due.map(|due| due.saturating_sub(self.io.now()))
    }

    /// Makes durable what is written, and tells everyone. Nothing is told of written groups meanwhile.
    pub(super) async fn sync_written(&self) -> Result<(), IoError> {
        let file = {
            let (unsynced, ring) = (self.unsynced.borrow(), self.ring.borrow());
            ring.current.as_ref().filter(|_| unsynced.due.is_some()).map(|current| current.file.clone())
        };
        let Some(file) = file else { return Ok(()) };
        let began = self.io.now();
        file.sync().await?;
        self.config.counters.sync_micros.record_micros(self.io.now().saturating_sub(began));
        let Unsynced { told, sequence, .. } = self.unsynced.take();
        self.durable_sequence.set(sequence);
        Self::tell(told);
        Ok(())
    }
}
