//! A partition's log: appends in order, offsets, and the bytes that are recent. Writing them behind into
//! segments is [`super::write_behind`]'s, reading them [`super::read`]'s.
//!
//! An append is synchronous and promises only an order; [`Log::wait_durable`] promises that the bytes are
//! on stable media. Dropping that future loses nothing but the answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use event_listener::EventListener;
use futures::future::select;
use futures::lock::Mutex;

use super::LogOffsets;
use super::changes::{Changes, Watcher};
use super::epoch_cache::EpochCache;
use super::failing::Fault;
use super::producer_state::{ProducerState, Verdict};
use crate::cache::{Evict, Evicted};
use crate::checkpoint::LogCheckpoint;
use crate::config::LogConfig;
use crate::error::{AppendError, StorageFailed};
use crate::io::Io;
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::journal::{Done, Journaled, LogPoint};
use crate::record::batch::{self, BatchHeader, TimestampType};
use crate::segment::segment::{Segment, to_u64};
use crate::shared::Shared;
use crate::types::{LeaderEpoch, Offset, PartitionKey, Position, TimestampMs};

/// Bytes of one entry that repeats what stands in memory alone: more of it comes only where a full device had no blocks.
const CARRY_BYTES: usize = 1 << 20;

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's time if the log stamps it, else −1.
    pub log_append_time: TimestampMs,
    /// First offset that may be read.
    pub log_start_offset: Offset,
    /// The batch was there already; the offsets are the original's, which may not be durable yet.
    pub duplicate: bool,
}

impl Appended {
    /// Up to here the log has to be durable before the producer is answered; for a duplicate, too, whose original may
    /// still be on its way to the disk.
    pub fn answered_at(&self) -> Offset {
        Offset(self.last_offset.0 + 1)
    }
}

/// A recent batch in memory.
pub(crate) struct Cached {
    pub(crate) point: LogPoint,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) bytes: Bytes,
}

/// What changes in a log, behind one borrow that is never held over a wait.
pub(crate) struct State<I: Io> {
    /// Ascending; the last one is active.
    pub(crate) segments: VecDeque<Rc<Segment<I>>>,
    /// The newest batches, without gaps up to the log's end.
    pub(crate) cached: VecDeque<Cached>,
    pub(crate) producers: ProducerState,
    pub(crate) epochs: EpochCache,
}

/// One partition's log. Lives on its shard's thread, behind `Rc`.
pub struct Log<I: Io> {
    pub(crate) myself: Weak<Self>,
    pub(crate) shared: Rc<Shared<I>>,
    pub(crate) key: PartitionKey,
    pub(crate) topic: String,
    pub(crate) directory: PathBuf,
    pub(crate) incarnation: u64,
    pub(crate) config: RefCell<LogConfig>,
    pub(crate) state: RefCell<State<I>>,
    pub(crate) offsets: Cell<LogOffsets>,
    /// Where the bytes end that are on stable media.
    pub(crate) durable: Cell<LogPoint>,
    /// End of the records that are: under relaxed durability others are acknowledged before.
    pub(crate) synced_end: Cell<Offset>,
    pub(crate) changed: Changes,
    /// No more appends.
    pub(crate) closed: Cell<bool>,
    /// Whether what is left of removed segments was looked for (`retention`).
    pub(crate) leftovers_removed: Cell<bool>,
    /// Its folder is gone or going: nothing is written any more.
    pub(crate) deleted: Cell<bool>,
    /// Producers were restored as of this offset: batches below it are not counted again.
    pub(crate) replayed_below: Cell<Offset>,
    /// End offset that the check at the start found.
    pub(crate) scanned_end: Cell<Offset>,
    /// Where the log was last asked to start. The journal's checkpoint says so before the log does: by the time that hears that
    /// the entry is durable, the entry's file may be given back.
    pub(crate) start_asked: Cell<Offset>,
    /// Held by whoever moves the log's start, or its end back; before `writer`.
    pub(crate) bounds: Mutex<()>,
    /// Its end is being moved back: nothing is appended.
    pub(crate) truncating: Cell<bool>,
    /// The journal's entry of a truncation that its files do not show yet.
    pub(crate) uncut: RefCell<Option<(Descriptor, Bytes)>>,
    /// Held by whoever writes segments of this log.
    pub(crate) writer: Mutex<()>,
    /// Held by whoever writes index files: a reader that rebuilt an index may do so while the segment is sealed.
    pub(crate) index_writer: Mutex<()>,
    /// Whether it waits in the store's list of due logs.
    pub(crate) due: Cell<bool>,
    /// Laps its small remainder was carried without being written.
    pub(crate) carry_laps: Cell<u32>,
    /// Whether it waits in the store's list of logs that want blocks.
    pub(crate) wanting: Cell<bool>,
    /// Whether its last allocation found the device full.
    pub(crate) short_of_space: Cell<bool>,
    /// Where the last cold read ended: the next one need not search.
    pub(crate) hint: Cell<Option<(Offset, LogPoint)>>,
    /// Whether its own files failed.
    pub(crate) fault: Fault,
}

impl<I: Io> std::fmt::Debug for Log<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("topic", &self.topic)
            .field("partition", &self.key.partition)
            .field("offsets", &self.offsets.get())
            .finish_non_exhaustive()
    }
}

impl<I: Io> Log<I> {
    /// The partition it is.
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// The topic's name, as its folder says.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Appends one batch that `record::validate` accepted: checks the producer's sequence, assigns offsets,
    /// queues the bytes to the journal. Synchronous: appends of one log happen in the order of calls.
    /// Nothing is durable before [`wait_durable`](Self::wait_durable) says so.
    pub fn append(
        &self,
        mut batch: BytesMut,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        if self.closed.get() || self.truncating.get() {
            return Err(AppendError::Closed);
        }
        let Some(myself) = self.myself.upgrade() else { return Err(AppendError::Closed) };
        let header = *BatchHeader::read(&batch).ok_or(AppendError::BadBatch)?;
        if header.batch_bytes() != Some(batch.len()) || header.last_offset_delta() < 0 {
            return Err(AppendError::BadBatch);
        }
        let config = self.config.borrow().clone();
        let size_max = self
            .shared
            .journal
            .entry_bytes_max()
            .min(usize::try_from(config.segment_bytes).unwrap_or(usize::MAX));
        if batch.len() > size_max {
            return Err(AppendError::TooLarge { size: batch.len(), size_max });
        }
        let mut offsets = self.offsets.get();
        let mut appended = Appended {
            base_offset: offsets.log_end_offset,
            last_offset: offsets.log_end_offset,
            log_append_time: TimestampMs(-1),
            log_start_offset: offsets.log_start_offset,
            duplicate: false,
        };
        match self.state.borrow().producers.check(&header) {
            Verdict::Append => {}
            Verdict::Duplicate(known) => {
                appended.base_offset = known.base_offset();
                appended.last_offset = known.last_offset;
                appended.duplicate = true;
                // As Kafka: the original's time, whoever's clock it is of.
                appended.log_append_time = known.timestamp;
                return Ok(appended);
            }
            Verdict::OutOfOrder { base_sequence, last_sequence } => {
                return Err(AppendError::OutOfOrderSequence(format!(
                    "producer {} sent sequence {base_sequence} after {last_sequence}",
                    header.producer_id()
                )));
            }
            Verdict::InvalidEpoch { .. } => return Err(AppendError::InvalidProducerEpoch),
            Verdict::InvalidTransactionState => return Err(AppendError::InvalidTransactionState),
        }
        let base_offset = offsets.log_end_offset;
        let last_offset = base_offset.0.checked_add(i64::from(header.last_offset_delta()));
        let end = last_offset.and_then(|last| last.checked_add(1)).ok_or(AppendError::BadBatch)?;
        if config.timestamp_type == TimestampType::LogAppendTime {
            batch::set_log_append_time(&mut batch, now);
            appended.log_append_time = now;
        }
        batch::stamp(&mut batch, base_offset, leader_epoch);
        let header = *BatchHeader::read(&batch).ok_or(AppendError::BadBatch)?;
        let len = u32::try_from(batch.len()).map_err(|_| AppendError::BadBatch)?;
        appended.last_offset = Offset(end - 1);
        offsets.log_end_offset = Offset(end);

        let segment = self.segment_for(&header, &config);
        let position = segment.size.get();
        if self.lacks_space(&segment, position + u64::from(len)) {
            return Err(AppendError::NoSpace);
        }
        if segment.index.borrow_mut().push(&header, Position(position)).is_err() {
            return Err(AppendError::BadBatch);
        }
        segment.first_timestamp.set(segment.first_timestamp.get().or(Some(header.max_timestamp())));
        segment.last_append.set(Some(now));
        segment.size.set(position + u64::from(len));
        self.carry_head(&segment);
        let bytes = batch.freeze();
        let point = LogPoint { segment_base: segment.base_offset, position };
        {
            let mut state = self.state.borrow_mut();
            if let Some(aborted) = state.producers.take(&header, &bytes, now) {
                segment.note_aborted(aborted);
            }
            state.epochs.assign(leader_epoch, base_offset);
            let last_offset = appended.last_offset;
            state.cached.push_back(Cached { point, base_offset, last_offset, bytes: bytes.clone() });
        }
        self.offsets.set(offsets);
        self.shared.dirty_added(u64::from(len));
        let descriptor = Descriptor {
            kind: EntryKind::Batch,
            key: self.key,
            incarnation: self.incarnation,
            segment_base: segment.base_offset,
            position,
            offset: base_offset,
            leader_epoch,
            len,
            crc: header.crc(),
        };
        let weak: Weak<Self> = Rc::downgrade(&myself);
        self.shared.cache.added(weak, bytes.len());
        self.shared.config.counters.appended_bytes.add_len(bytes.len());
        self.shared.journal.push(descriptor, bytes, Done::Log(myself, offsets.log_end_offset));
        Ok(appended)
    }

    /// Before the first append after a start, the bytes of the last block are journalled again: the block will be
    /// rewritten.
    fn carry_head(&self, segment: &Segment<I>) {
        if segment.head_journalled.replace(true) {
            return;
        }
        let Some((mut position, mut bytes)) = segment.head.borrow().clone() else { return };
        let size_max = CARRY_BYTES.min(self.shared.journal.entry_bytes_max());
        while !bytes.is_empty() {
            let part = bytes.split_to(size_max.min(bytes.len()));
            let descriptor = self.carry_descriptor(segment.base_offset, position, &part);
            position += to_u64(part.len());
            self.shared.journal.push(descriptor, part, Done::Nobody);
        }
    }

    /// The entry under which pending bytes are journalled again.
    pub(crate) fn carry_descriptor(&self, segment_base: Offset, position: u64, bytes: &[u8]) -> Descriptor {
        Descriptor {
            kind: EntryKind::Carry,
            key: self.key,
            incarnation: self.incarnation,
            segment_base,
            position,
            offset: Offset(0),
            leader_epoch: LeaderEpoch(-1),
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            crc: crc32c::crc32c(bytes),
        }
    }

    /// After a crash: what stands in memory alone is journalled again in the new epoch.
    pub(crate) fn carry_recovered(&self) {
        let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
        for segment in segments.iter().filter(|segment| segment.head_journalled.replace(false)) {
            self.carry_head(segment);
        }
    }

    /// What the journal's checkpoint keeps of it.
    pub(crate) fn checkpoint(&self) -> LogCheckpoint {
        let (recovery_point, recovery_offset) = self.recovery_point();
        let offsets = self.offsets.get();
        let state = self.state.borrow();
        LogCheckpoint {
            key: self.key,
            incarnation: self.incarnation,
            log_start_offset: offsets.log_start_offset.max(self.start_asked.get()),
            high_watermark: offsets.high_watermark,
            recovery_point,
            recovery_offset,
            state_offset: offsets.log_end_offset,
            epochs: state.epochs.clone(),
            producers: state.producers.clone(),
            aborted: Some(state.segments.iter().flat_map(|segment| segment.unwritten_aborted()).collect()),
        }
    }

    /// Bytes no segment file holds.
    pub(crate) fn unwritten(&self) -> u64 {
        let state = self.state.borrow();
        let unsealed = state.segments.iter().rev().take_while(|segment| !segment.sealed.get());
        unsealed.map(|segment| segment.size.get() - segment.written.get()).sum()
    }

    /// Puts the log on the store's list of logs to be written.
    pub(crate) fn make_due(&self) {
        if !self.has_failed() && !self.due.replace(true) {
            self.shared.due.borrow_mut().push_back(self.myself.clone());
            self.shared.due_event.notify(1);
        }
    }

    /// Completes while the store takes more appends; before a large produce, await it.
    pub async fn room(&self) -> Result<(), StorageFailed> {
        self.shared.room().await
    }

    /// Completes when everything below `end` is on stable media, or fails when it never will be, or only once the full
    /// device has room again.
    pub async fn wait_durable(&self, end: Offset) -> Result<(), StorageFailed> {
        loop {
            let changed = self.changed.listen();
            let failed = self.shared.failure.listen();
            if self.offsets.get().durable_offset >= end {
                return Ok(());
            }
            self.check_online()?;
            if self.shared.journal.lacks_space() {
                return Err(StorageFailed { reason: "no space left for the journal".into() });
            }
            select(changed, failed).await;
        }
    }

    /// The offsets now.
    pub fn offsets(&self) -> LogOffsets {
        self.offsets.get()
    }

    /// Why the log is offline, if it is: its own files failed, or its store.
    pub fn failure(&self) -> Option<StorageFailed> {
        self.fault.get().or_else(|| self.store_failure())
    }

    /// Why its whole store is offline, if it is.
    pub fn store_failure(&self) -> Option<StorageFailed> {
        self.shared.failure.get()
    }

    /// Moves the high watermark forward, never above the durable offset and never back.
    pub fn set_high_watermark(&self, offset: Offset) {
        let mut offsets = self.offsets.get();
        let moved = offset.min(offsets.durable_offset);
        if moved > offsets.high_watermark {
            offsets.high_watermark = moved;
            self.state.borrow_mut().producers.set_visible(moved);
            offsets.last_stable_offset = self.stable_below(moved).max(offsets.last_stable_offset);
            offsets.check();
            self.offsets.set(offsets);
            self.changed.notify(usize::MAX);
        }
    }

    /// The last stable offset that goes with a high watermark.
    pub(crate) fn stable_below(&self, high_watermark: Offset) -> Offset {
        let unstable = self.state.borrow().producers.first_unstable_offset();
        unstable.map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Fires when the durable offset, the high watermark or the state moves. Take it before looking.
    pub fn changed(&self) -> EventListener {
        self.changed.listen()
    }

    /// Tells `watcher` whenever what [`changed`](Self::changed) fires for happens, for as long as it lives.
    pub fn watch(&self, watcher: &Rc<impl Watcher + 'static>) {
        self.changed.watch(watcher);
    }

    /// Where `epoch` ended: the largest epoch known that is not above it, and its end offset (KIP-320).
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.state.borrow().epochs.end_offset_for(epoch, self.offsets.get().log_end_offset)
    }

    /// The newest leader epoch any batch carries.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state.borrow().epochs.latest_epoch()
    }

    /// Looks at the producers the log remembers.
    pub fn producers<R>(&self, look: impl FnOnce(&ProducerState) -> R) -> R {
        look(&self.state.borrow().producers)
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub(crate) fn expire_producers(&self, now: TimestampMs) {
        let expiration = u64::try_from(self.config.borrow().producer_id_expiration_ms).unwrap_or(0);
        self.state.borrow_mut().producers.expire(now, Duration::from_millis(expiration));
    }

    /// The log directory it lies in.
    pub fn log_dir(&self) -> &Path {
        &self.shared.config.log_dir
    }

    /// Settings now.
    pub fn config(&self) -> LogConfig {
        self.config.borrow().clone()
    }

    /// Takes new settings from the next append on.
    pub fn set_config(&self, config: LogConfig) {
        *self.config.borrow_mut() = config;
    }

    /// Bytes of all segments, pending ones included (`DescribeLogDirs`).
    pub fn size_bytes(&self) -> u64 {
        self.state.borrow().segments.iter().map(|segment| segment.size.get()).sum()
    }
}

impl<I: Io> Log<I> {
    /// Acknowledges records below `end`.
    fn acknowledge(&self, end: Offset) {
        let mut offsets = self.offsets.get();
        offsets.durable_offset = end.max(offsets.durable_offset);
        offsets.check();
        self.offsets.set(offsets);
        self.changed.notify(usize::MAX);
    }
}

impl<I: Io> Journaled for Log<I> {
    fn written(&self, end: Offset) -> Duration {
        let (flush_messages, flush_ms) = {
            let config = self.config.borrow();
            (config.flush_messages, config.flush_ms)
        };
        if end.0.saturating_sub(self.synced_end.get().0) >= flush_messages {
            return Duration::ZERO;
        }
        self.acknowledge(end);
        Duration::from_millis(u64::try_from(flush_ms).unwrap_or(0))
    }

    fn journaled(&self, point: LogPoint, end: Offset) {
        self.synced_end.set(end.max(self.synced_end.get()));
        self.durable.set(point.max(self.durable.get()));
        self.acknowledge(end);
        // What may wait in all has to be able to shrink, however little each log has.
        let dirty_max = to_u64(self.shared.config.dirty_bytes_max());
        let enough = self.shared.config.write_behind_bytes.min(dirty_max / 2);
        if self.unwritten() >= enough || self.shared.dirty.get() >= dirty_max {
            self.make_due();
        }
        self.want_blocks();
    }
}

impl<I: Io> Evict for Log<I> {
    fn evict_oldest(&self) -> Evicted {
        let mut state = self.state.borrow_mut();
        let Some(oldest) = state.cached.front() else { return Evicted::None };
        let bytes = oldest.bytes.len();
        let end = oldest.point.position + to_u64(bytes);
        let held = state
            .segments
            .iter()
            .find(|segment| segment.base_offset == oldest.point.segment_base)
            .is_none_or(|segment| segment.synced.get() >= end);
        if held {
            let evicted = state.cached.pop_front();
            drop(state);
            if let Some(evicted) = evicted {
                self.shared.cache.evicted(evicted.bytes);
            }
            return Evicted::Bytes(bytes);
        }
        drop(state);
        if self.unwritten() > 0 {
            self.make_due();
        }
        Evicted::Needed
    }
}
