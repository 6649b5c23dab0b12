//! Removing old segments by time and size (`retention.ms`, `retention.bytes`), as Kafka's
//! `UnifiedLog.deleteOldSegments`: whole segments below the high watermark, the oldest first, the active one too if it
//! has records.
//!
//! The log start moves first, durably; then files are renamed to `.deleted`, which needs no sync, since a file below the
//! log start is not opened again. They go away after `file.delete.delay.ms`: whoever reads one meanwhile reads on.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};

use super::log::Log;
use super::producer_snapshot;
use crate::config::LogConfig;
use crate::error::{ReadError, StoreError};
use crate::io::{Io, IoError, IoFile};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::segment::segment::{DELETED_SUFFIX, Segment, base_offset_of_stem};
use crate::segment::{offset_index, time_index, txn_index};
use crate::space::is_no_space;
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// All files that a segment may have.
pub(super) const SUFFIXES: [&str; 5] =
    [".log", offset_index::SUFFIX, time_index::SUFFIX, producer_snapshot::SUFFIX, txn_index::SUFFIX];

impl<I: Io> Log<I> {
    /// Removes what the settings allow as of `now`; returns how many segments went.
    pub async fn enforce_retention(&self, now: TimestampMs) -> Result<usize, StoreError> {
        if self.closed.get() || self.has_failed() {
            return Ok(0);
        }
        self.remove_leftovers().await?;
        let config = self.config();
        if !config.cleanup_delete {
            return self.remove_below_start().await;
        }
        match self.first_to_keep(&config, now).await {
            Some(start) => {
                let start = self.make_ready(start).await?;
                self.advance_log_start(start).await
            }
            None => self.remove_below_start().await,
        }
    }

    /// Base offset of the first segment that stays, if any goes. If all of them go, an empty one is there by then.
    async fn first_to_keep(&self, config: &LogConfig, now: TimestampMs) -> Option<Offset> {
        let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
        let mut excess = i64::try_from(self.size_bytes()).unwrap_or(i64::MAX) - config.retention_bytes;
        let mut start = None;
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base_offset);
            let offsets = self.offsets();
            let end = next.unwrap_or(offsets.log_end_offset);
            if segment.size.get() == 0 || end > offsets.high_watermark {
                break;
            }
            let size = i64::try_from(segment.size.get()).unwrap_or(i64::MAX);
            let too_large = config.retention_bytes >= 0 && excess - size >= 0;
            let too_old = config.retention_ms >= 0 && {
                let Some(newest) = self.newest(segment).await else { break };
                now.0.saturating_sub(newest.0) > config.retention_ms
            };
            if !too_large && !too_old {
                break;
            }
            if next.is_none() && !self.roll_at(end) {
                // Something was appended meanwhile: it is younger.
                break;
            }
            excess -= size;
            start = Some(end);
        }
        start
    }

    /// The largest timestamp; where records carry none, when the last one came. `None` if it cannot be read.
    async fn newest(&self, segment: &Rc<Segment<I>>) -> Option<TimestampMs> {
        let read = async {
            Ok::<_, ReadError>(match self.largest(segment).await? {
                Some((timestamp, _)) if timestamp.0 >= 0 => timestamp,
                _ => match segment.last_append.get() {
                    Some(appended) => appended,
                    None => segment.file().await?.modified().await?,
                },
            })
        };
        match read.await {
            Ok(newest) => Some(newest),
            Err(error) => {
                tracing::warn!("retention leaves {} alone: {error}", segment.path(".log").display());
                None
            }
        }
    }

    /// Makes ready what is left when everything before `start` goes: an empty active segment gets its file, and those
    /// before it are written out. Returns from where segments stay: on a device without room for that file the last one
    /// with records does.
    async fn make_ready(&self, start: Offset) -> Result<Offset, StoreError> {
        let (active, before, unsealed) = {
            let segments = &self.state.borrow().segments;
            let below = |segment: &&Rc<Segment<I>>| segment.base_offset < start;
            let unsealed = segments.iter().filter(below).any(|segment| !segment.sealed.get());
            let before = segments.iter().rfind(below).map(|segment| segment.base_offset);
            (segments.back().map(Rc::clone), before, unsealed)
        };
        if unsealed {
            // Without room the sealed ones go, and those that could not be written once they are.
            self.write_out(false).await?;
        }
        match active {
            Some(active) if active.base_offset == start => match active.make().await {
                Err(error) if is_no_space(&error) => Ok(before.unwrap_or(start)),
                Err(error) => Err(self.fail_unlocked(&error).await.into()),
                Ok(()) => Ok(start),
            },
            _ => Ok(start),
        }
    }

    /// Moves the log start forward to `offset`, at most to the high watermark, durable before any file goes.
    /// Returns how many segments went.
    pub async fn advance_log_start(&self, offset: Offset) -> Result<usize, StoreError> {
        self.check_online()?;
        self.remove_leftovers().await?;
        let bounds = self.bounds.lock().await;
        let offsets = self.offsets();
        let offset = offset.min(offsets.high_watermark);
        if offset > offsets.log_start_offset {
            self.start_asked.set(offset.max(self.start_asked.get()));
            let descriptor = self.log_start_entry(offset);
            self.shared.journal.write_through(descriptor, Bytes::new()).await?;
            self.start_at(offset);
        }
        drop(bounds);
        self.remove_below_start().await
    }

    /// Takes a start over that is durable, if the log starts before.
    pub(super) fn start_at(&self, offset: Offset) {
        let mut offsets = self.offsets();
        if offset <= offsets.log_start_offset {
            return;
        }
        offsets.log_start_offset = offset;
        offsets.last_stable_offset = offsets.last_stable_offset.max(offset);
        offsets.check();
        self.offsets.set(offsets);
        self.state.borrow_mut().epochs.truncate_from_start(offset);
        self.changed.notify(usize::MAX);
    }

    /// The entry that says where the log starts.
    pub(super) fn log_start_entry(&self, offset: Offset) -> Descriptor {
        Descriptor {
            kind: EntryKind::LogStart,
            key: self.key,
            incarnation: self.incarnation,
            segment_base: Offset(0),
            position: 0,
            offset,
            leader_epoch: LeaderEpoch(-1),
            len: 0,
            crc: 0,
        }
    }

    /// Removes segments that end at or below the log start, once they are sealed; returns how many.
    async fn remove_below_start(&self) -> Result<usize, StoreError> {
        let removed = {
            let _writer = self.writer.lock().await;
            if self.deleted.get() {
                return Ok(0);
            }
            self.check_online()?;
            let removed = self.segments_below(self.offsets().log_start_offset);
            for segment in &removed {
                self.set_aside(segment).await.map_err(|error| self.fail(&error))?;
            }
            removed
        };
        let count = removed.len();
        if let Some(log) = self.myself.upgrade().filter(|_| count > 0) {
            let delay = Duration::from_millis(u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0));
            self.shared.io.spawn(async move { log.remove_later(removed, delay).await });
        }
        Ok(count)
    }

    /// Marks a segment's files as going away. Who opens it from now on finds it under its new name.
    async fn set_aside(&self, segment: &Segment<I>) -> Result<(), IoError> {
        segment.set_aside.set(true);
        for suffix in SUFFIXES {
            let path = segment.path(suffix);
            let renamed = self.shared.io.rename(&path, &deleted_name(&path)).await;
            self.removed_or_left(renamed)?;
        }
        Ok(())
    }

    /// What to make of the removal of a file below the log start: some need not be there, and on a full device they stay
    /// until the next start. Any other error takes the log offline, where Kafka takes its whole directory.
    fn removed_or_left(&self, done: Result<(), IoError>) -> Result<(), IoError> {
        match done {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) if is_no_space(&error) => {
                tracing::warn!("{}-{}: the next start tries again: {error}", self.topic, self.key.partition);
                Ok(())
            }
            done => done,
        }
    }

    /// Removes files that were set aside when their time has come; a broker that stops before leaves them to the next
    /// start.
    async fn remove_later(&self, segments: Vec<Rc<Segment<I>>>, delay: Duration) {
        let stop = self.shared.stop_event.listen();
        if self.shared.stopping.get() {
            return;
        }
        if let Either::Right(_) = select(std::pin::pin!(self.shared.io.sleep(delay)), stop).await {
            return;
        }
        for segment in segments {
            for suffix in SUFFIXES {
                let removed = self.shared.io.remove_file(&deleted_name(&segment.path(suffix))).await;
                if let Err(error) = self.removed_or_left(removed) {
                    self.fail_unlocked(&error).await;
                    return;
                }
            }
        }
    }

    /// Once after a start: removes what stops and crashes have left, files set aside and those below the first segment.
    async fn remove_leftovers(&self) -> Result<(), StoreError> {
        if self.leftovers_removed.replace(true) {
            return Ok(());
        }
        let io = &self.shared.io;
        let first = self.state.borrow().segments.front().map_or(Offset(0), |segment| segment.base_offset);
        for name in io.list_directory(&self.directory).await? {
            let of_segment = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            let below = of_segment.and_then(base_offset_of_stem).is_some_and(|base| base < first);
            if below || name.ends_with(DELETED_SUFFIX) {
                tracing::info!(
                    "{} is left of a segment that was removed",
                    self.directory.join(&name).display()
                );
                let removed = io.remove_file(&self.directory.join(&name)).await;
                if let Err(error) = self.removed_or_left(removed) {
                    return Err(self.fail_unlocked(&error).await.into());
                }
            }
        }
        Ok(())
    }
}

fn deleted_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DELETED_SUFFIX);
    name.into()
}
