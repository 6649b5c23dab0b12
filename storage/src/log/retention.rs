//! Removing old segments by time and size (`retention.ms`, `retention.bytes`), as Kafka's
//! `UnifiedLog.deleteOldSegments`: whole sealed segments below the high watermark, the oldest first.

use super::log::Log;
use crate::error::StoreError;
use crate::io::Io;
use crate::journal::frame::{Descriptor, EntryKind};
use crate::log::producer_snapshot;
use crate::segment::{offset_index, time_index};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

impl<I: Io> Log<I> {
    /// Removes what the settings allow as of `now`; returns how many segments went.
    pub async fn enforce_retention(&self, now: TimestampMs) -> Result<usize, StoreError> {
        let config = self.config();
        if !config.cleanup_delete || self.closed.get() {
            return Ok(0);
        }
        let segments: Vec<_> = self.state.borrow().segments.iter().map(std::rc::Rc::clone).collect();
        let high_watermark = self.offsets().high_watermark;
        let mut excess = i64::try_from(self.size_bytes()).unwrap_or(i64::MAX) - config.retention_bytes;
        let mut start = None;
        for pair in segments.windows(2) {
            let [segment, next] = pair else { break };
            if !segment.sealed.get() || next.base_offset > high_watermark {
                break;
            }
            let size = i64::try_from(segment.size.get()).unwrap_or(i64::MAX);
            let too_large = config.retention_bytes >= 0 && excess - size >= 0;
            let too_old = config.retention_ms >= 0 && {
                let Ok(largest) = self.largest(segment).await else { break };
                now.0.saturating_sub(largest.map_or(0, |(timestamp, _)| timestamp.0)) > config.retention_ms
            };
            if !too_large && !too_old {
                break;
            }
            excess -= size;
            start = Some(next.base_offset);
        }
        match start {
            Some(start) => self.advance_log_start(start).await,
            None => Ok(0),
        }
    }

    /// Moves the log start forward to `offset`, at most to the high watermark, durable before any file goes.
    /// Returns how many segments went.
    pub async fn advance_log_start(&self, offset: Offset) -> Result<usize, StoreError> {
        let mut offsets = self.offsets();
        let offset = offset.min(offsets.high_watermark);
        if offset > offsets.log_start_offset {
            let descriptor = Descriptor {
                kind: EntryKind::LogStart,
                key: self.key,
                incarnation: self.incarnation,
                segment_base: Offset(0),
                position: 0,
                offset,
                leader_epoch: LeaderEpoch(-1),
                len: 0,
                crc: 0,
            };
            self.shared.journal.write_through(descriptor).await?;
            offsets = self.offsets();
            offsets.log_start_offset = offset.max(offsets.log_start_offset);
            offsets.last_stable_offset = offsets.last_stable_offset.max(offsets.log_start_offset);
            offsets.check();
            self.offsets.set(offsets);
            self.state.borrow_mut().epochs.truncate_from_start(offset);
            self.changed.notify(usize::MAX);
        }
        let _writer = self.writer.lock().await;
        if self.deleted.get() {
            return Ok(0);
        }
        let dropped = self.segments_below(offsets.log_start_offset);
        for segment in &dropped {
            let io = &self.shared.io;
            for suffix in [".log", offset_index::SUFFIX, time_index::SUFFIX, producer_snapshot::SUFFIX] {
                match io.remove_file(&segment.path(suffix)).await {
                    Ok(()) => {}
                    Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !dropped.is_empty() {
            self.shared.io.sync_directory(&self.directory).await?;
        }
        Ok(dropped.len())
    }
}
