//! Cutting the end of a log off, as a follower does whose leader's log goes another way (Kafka's `UnifiedLog.truncateTo`).
//!
//! In this order: all that stays is on stable media in segments; the journal's entry is, which says where the log ends now and
//! what is known of it there; memory forgets what lies behind; the files lose it, durably; an entry that says where the log
//! starts tells that they have. Nothing is appended meanwhile, so nothing is ever written over the range before the segments
//! have lost it.
//!
//! So the entry stands for all that was journalled of the log before it: a start that finds it goes by it, by the segments
//! below the cut and by what follows it, and looks at nothing older. If no log start follows, it cuts the files again.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use futures::channel::oneshot;

use super::expected::damaged;
use super::log::Log;
use super::producer_snapshot;
use super::producer_state::ProducerState;
use super::retention::SUFFIXES;
use super::write_behind::copy_pending;
use crate::checkpoint::{Checkpoint, LogCheckpoint};
use crate::error::{OpenError, ReadError, StoreError};
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::journal::{LogPoint, closed};
use crate::journal::replay::ReplayFrom;
use crate::segment::segment::{
    BLOCK, Segment, base_offset_of, base_offset_of_stem, block_floor, file_name, to_u64, to_usize,
};
use crate::segment::txn_index::AbortedTransaction;
use crate::segment::{offset_index, time_index};
use crate::space::{Room, is_no_space};
use crate::types::{LeaderEpoch, Offset};

/// Where a log is cut, always between batches.
struct Cut<I: Io> {
    segment: Rc<Segment<I>>,
    position: u64,
    end: Offset,
    /// The begin of a batch at or before the block that holds the end.
    checked_from: u64,
}

/// What memory keeps of a log that is cut.
struct Kept {
    /// What the segment's last block keeps.
    head: Bytes,
    /// The segment's aborted transactions.
    aborted: Vec<AbortedTransaction>,
    /// What the journal's entry says of the log.
    checkpoint: LogCheckpoint,
}

impl<I: Io> Log<I> {
    /// Removes every batch that has an offset at or above `offset`, but none that begins before the log start; durable on
    /// return. Returns where the log ends. Appends are refused meanwhile. It goes on to its end if the future is dropped.
    pub async fn truncate(&self, offset: Offset) -> Result<Offset, StoreError> {
        self.check_online()?;
        let Some(log) = self.myself.upgrade().filter(|log| !log.closed.get()) else {
            return Err(StoreError::Closed);
        };
        if self.truncating.replace(true) {
            return Err(StoreError::Closed);
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.io.spawn(async move {
            let truncated = log.truncate_to(offset).await;
            log.truncating.set(false);
            log.changed.notify(usize::MAX);
            drop(sender.send(truncated));
        });
        receiver.await.unwrap_or_else(|_| Err(StoreError::Failed(closed())))
    }

    async fn truncate_to(&self, offset: Offset) -> Result<Offset, StoreError> {
        let _bounds = self.bounds.lock().await;
        self.shared.journal.barrier().await?;
        // Whoever asked for it may have gone away before it was durable.
        self.start_at(self.start_asked.get());
        // Until the files are cut, so that the journal's entry stays as long: giving its file back takes this lock.
        let _writer = self.writer.lock().await;
        if self.deleted.get() {
            return Err(StoreError::Closed);
        }
        self.check_online()?;
        if offset.max(self.offsets().log_start_offset) >= self.offsets().log_end_offset {
            return Ok(self.offsets().log_end_offset);
        }
        self.write_all().await.map_err(|error| self.fail_unless_full(error))?;
        let Some(cut) = self.cut_at(offset).await? else { return Ok(self.offsets().log_end_offset) };
        self.write_up_to(&cut).await.map_err(|error| self.fail_unless_full(error))?;
        let kept = self.kept_below(&cut).await.map_err(unreadable)?;
        let (entry, payload) = self.truncation(&cut, kept.checkpoint.clone());
        if payload.len() > self.shared.journal.entry_bytes_max() {
            let reason = "what is known of its producers is more than the journal takes".into();
            return Err(StoreError::Offline { reason });
        }
        self.shared.journal.write_through(entry, payload.clone()).await?;
        self.uncut.replace(Some((entry, payload)));
        let dropped = self.forget_behind(&cut, kept);
        self.finish_cut(&cut, &entry, dropped).await.map_err(|error| self.fail(&error))?;
        self.uncut.replace(None);
        // From now on there may be files behind the cut again.
        let started = self.log_start_entry(self.offsets().log_start_offset);
        self.shared.journal.write_through(started, Bytes::new()).await?;
        Ok(cut.end)
    }

    /// A full device costs the truncation; any other error of a log's files the log.
    fn fail_unless_full(&self, error: IoError) -> StoreError {
        if is_no_space(&error) { error.into() } else { self.fail(&error).into() }
    }

    /// Writes all whole blocks, seals all segments but the last one, and writes all transaction indexes.
    async fn write_all(&self) -> Result<(), IoError> {
        if self.write_locked(false).await? == Room::Short {
            let active = self.state.borrow().segments.back().map(|segment| segment.no_space());
            return active.map_or(Ok(()), Err);
        }
        self.write_txn_indexes().await
    }

    /// The cut that removes all at or above `offset`; `None` if there is nothing.
    async fn cut_at(&self, offset: Offset) -> Result<Option<Cut<I>>, StoreError> {
        let offsets = self.offsets();
        let offset = offset.max(offsets.log_start_offset);
        let segment = {
            let state = self.state.borrow();
            state.segments.iter().rfind(|segment| segment.base_offset <= offset).map(Rc::clone)
        };
        let Some(segment) = segment else { return Ok(None) };
        self.complete_index(&segment).await.map_err(unreadable)?;
        let before = Offset(offset.0.saturating_sub(1));
        let from = segment.index.borrow().offsets().lookup(before).1.0;
        let (mut position, mut end, mut is_found) = (from, segment.base_offset, false);
        let scanned = self.scan(&segment, from, segment.size.get(), |header, at, bytes| {
            is_found |= header.last_offset() >= offset && header.base_offset() >= offsets.log_start_offset;
            if !is_found {
                (position, end) = (at + to_u64(bytes.len()), header.next_offset());
            }
        });
        let scanned = scanned.await.map_err(StoreError::Io)?;
        if !is_found && scanned < segment.size.get() {
            let what = format!("{} is damaged at {scanned}", segment.path(".log").display());
            return Err(StoreError::Offline { reason: what.into() });
        }
        let floor = block_floor(position);
        let indexed =
            segment.index.borrow().offsets().iter().map(|(_, at)| at.0).take_while(|at| *at <= floor).last();
        let (end, checked_from) = (end.max(offsets.log_start_offset), indexed.unwrap_or(0));
        Ok(Some(Cut { segment, position, end, checked_from }))
    }

    /// Makes durable what the segment keeps. Its last block is written as it is now, and written again later: until then the
    /// journal has it, and after that it is journalled again before.
    async fn write_up_to(&self, cut: &Cut<I>) -> Result<(), IoError> {
        let segment = &cut.segment;
        let from = segment.written.get();
        if !segment.sealed.get() && !segment.is_untouched() && from < cut.position {
            // An index file may name what goes: it is there until the files are cut.
            let to = cut.position.next_multiple_of(BLOCK).min(segment.size.get());
            let bytes = to_usize(to - from);
            let mut buffer = AlignedBuffer::zeroed(bytes.next_multiple_of(BLOCK_BYTES));
            copy_pending(&self.state.borrow(), segment, from, &mut buffer[..bytes]);
            self.shared.config.counters.segment_copied_bytes.add_len(bytes);
            segment.file().await?.write_at(buffer, from).await?;
        }
        segment.make().await?;
        segment.file().await?.sync().await
    }

    /// What is known of the log as it is without what lies behind the cut.
    async fn kept_below(&self, cut: &Cut<I>) -> Result<Kept, ReadError> {
        let Cut { segment, position, end, .. } = cut;
        let head = self.read_range(segment, block_floor(*position), *position).await?;
        self.load_aborted(segment).await?;
        let mut aborted = segment.aborted.borrow().clone().unwrap_or_default();
        aborted.retain(|one| one.last_offset < *end);
        let producers = self.producers_at(cut).await?;
        let mut epochs = self.state.borrow().epochs.clone();
        epochs.truncate_from_end(*end);
        let offsets = self.offsets();
        let checkpoint = LogCheckpoint {
            key: self.key,
            incarnation: self.incarnation,
            log_start_offset: offsets.log_start_offset,
            high_watermark: offsets.high_watermark.min(*end),
            recovery_point: cut.point(),
            recovery_offset: *end,
            state_offset: *end,
            epochs,
            producers,
            // They stand in the segments' files.
            aborted: None,
        };
        Ok(Kept { head, aborted, checkpoint })
    }

    /// Producers as of the newest snapshot up to the cut, and the batches between the two.
    async fn producers_at(&self, cut: &Cut<I>) -> Result<ProducerState, IoError> {
        let (mut producers, from) = self.producers_before(cut.end).await?;
        let segments: Vec<_> = self.state.borrow().segments.iter().map(Rc::clone).collect();
        let begin = segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        let upto = |segment: &&Rc<Segment<I>>| segment.base_offset <= cut.segment.base_offset;
        let now = self.shared.io.wall_clock();
        for segment in segments.iter().skip(begin).take_while(upto) {
            let is_cut = segment.base_offset == cut.segment.base_offset;
            let to = if is_cut { cut.position } else { segment.size.get() };
            self.scan(segment, 0, to, |header, _, batch| {
                if header.base_offset() >= from {
                    let _ = producers.take(header, batch, now);
                }
            })
            .await?;
        }
        Ok(producers)
    }

    /// The entry that says that the log ends there, and what is known of it.
    fn truncation(&self, cut: &Cut<I>, checkpoint: LogCheckpoint) -> (Descriptor, Bytes) {
        let of_log = Checkpoint { from: ReplayFrom::default(), logs: vec![checkpoint], offline: Vec::new() };
        let payload: Bytes = of_log.write().into();
        let descriptor = Descriptor {
            kind: EntryKind::Truncate,
            key: self.key,
            incarnation: self.incarnation,
            segment_base: cut.segment.base_offset,
            position: cut.position,
            offset: cut.end,
            leader_epoch: LeaderEpoch(-1),
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            crc: crc32c::crc32c(&payload),
        };
        (descriptor, payload)
    }

    /// Memory as it is without what lies behind the cut; the segments that went.
    fn forget_behind(&self, cut: &Cut<I>, kept: Kept) -> Vec<Rc<Segment<I>>> {
        let Kept { head, aborted, checkpoint } = kept;
        let pending = self.unwritten();
        let segment = self.shortened(cut, (head, aborted));
        let mut dropped = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            while state.segments.back().is_some_and(|last| last.base_offset >= segment.base_offset) {
                dropped.extend(state.segments.pop_back());
            }
            state.segments.push_back(segment);
            // What is left of them is all in files.
            state.cached.clear();
            state.epochs = checkpoint.epochs;
            state.producers = checkpoint.producers;
            state.producers.set_visible(checkpoint.high_watermark);
        }
        self.shared.cache.forget(&self.myself);
        let mut offsets = self.offsets();
        offsets.log_end_offset = cut.end;
        offsets.durable_offset = cut.end;
        offsets.high_watermark = checkpoint.high_watermark;
        offsets.last_stable_offset = self.stable_below(offsets.high_watermark).max(offsets.log_start_offset);
        offsets.check();
        self.offsets.set(offsets);
        self.durable.set(cut.point());
        self.synced_end.set(self.synced_end.get().min(cut.end));
        self.hint.set(None);
        let left = self.unwritten();
        self.shared.dirty_added(left.saturating_sub(pending));
        self.shared.dirty_removed(pending.saturating_sub(left));
        dropped
    }

    /// The segment that is cut, as it is after a start.
    fn shortened(&self, cut: &Cut<I>, (head, aborted): (Bytes, Vec<AbortedTransaction>)) -> Rc<Segment<I>> {
        let former = &cut.segment;
        let segment = self.new_segment(former.base_offset, self.config.borrow().index_interval_bytes);
        segment.set_existing(cut.position, false);
        segment.reopen(head);
        segment.checked_from.set(cut.checked_from);
        segment.snapshot.replace(former.snapshot.take());
        segment.last_append.set(former.last_append.get());
        segment.first_timestamp.set(former.first_timestamp.get().filter(|_| cut.position > 0));
        segment.has_txn_index.set(former.has_txn_index.get());
        segment.is_txn_index_due.set(former.has_txn_index.get() || !aborted.is_empty());
        segment.aborted.replace(Some(aborted));
        segment
    }

    async fn finish_cut(
        &self,
        cut: &Cut<I>,
        entry: &Descriptor,
        dropped: Vec<Rc<Segment<I>>>,
    ) -> Result<(), IoError> {
        for segment in &dropped {
            segment.close().await;
        }
        cut.segment.close().await;
        cut_files(&self.shared.io, &self.directory, entry).await
    }
}

impl<I: Io> Cut<I> {
    fn point(&self) -> LogPoint {
        LogPoint { segment_base: self.segment.base_offset, position: self.position }
    }
}

fn unreadable(error: ReadError) -> StoreError {
    match error {
        ReadError::Io(error) => StoreError::Io(error),
        ReadError::Failed(failed) => StoreError::Failed(failed),
        error => StoreError::Offline { reason: error.to_string().into() },
    }
}

/// Removes from a log's files what lies behind a truncation; durable on return. Done twice it does nothing. The segment keeps
/// its transaction index, which may say more than its batches until it is sealed.
pub(super) async fn cut_files<I: Io>(io: &I, directory: &Path, cut: &Descriptor) -> Result<(), IoError> {
    let own_log = file_name(cut.segment_base, ".log");
    let listed = io.list_files(directory).await?;
    // An index is never there for what a segment does not have: it goes first.
    for goes in [beside_logs_behind, logs_behind] {
        for (name, _) in listed.iter().filter(|(name, _)| goes(name, cut)) {
            io.remove_file(&directory.join(name)).await?;
        }
        io.sync_directory(directory).await?;
    }
    if let Some((name, size)) = listed.iter().find(|(name, _)| *name == own_log) {
        let file = io.open(&directory.join(name), OpenHow::ReadWrite).await?;
        if *size > cut.position {
            file.truncate(cut.position).await?;
        }
        // A process that was killed may have cut it, and nothing made that durable.
        file.sync().await?;
    }
    Ok(())
}

/// Whether a file beside a segment says something of what lies behind the cut.
fn beside_logs_behind(name: &str, cut: &Descriptor) -> bool {
    if let Some(offset) = name.strip_suffix(producer_snapshot::SUFFIX).and_then(base_offset_of_stem) {
        return offset > cut.offset;
    }
    let of_segment = SUFFIXES.iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, *suffix)));
    let of_segment = of_segment.and_then(|(stem, suffix)| Some((base_offset_of_stem(stem)?, suffix)));
    of_segment.is_some_and(|(base, suffix)| {
        base > cut.segment_base && suffix != ".log"
            || base == cut.segment_base && [offset_index::SUFFIX, time_index::SUFFIX].contains(&suffix)
    })
}

/// Whether a file is a segment behind the cut.
fn logs_behind(name: &str, cut: &Descriptor) -> bool {
    base_offset_of(name).is_some_and(|base| base > cut.segment_base)
}

/// The last truncation that a journal has of a log.
pub(crate) struct Truncated {
    /// What was known of the log then: it takes the place of the journal's checkpoint.
    pub(crate) checkpoint: LogCheckpoint,
    /// The entry, unless a log start follows: then the files were cut.
    pub(super) unfinished: Option<Descriptor>,
}

impl Truncated {
    /// Reads an entry.
    pub(crate) fn read(entry: Descriptor, payload: &[u8], directory: &Path) -> Result<Self, OpenError> {
        let point = LogPoint { segment_base: entry.segment_base, position: entry.position };
        let read = Checkpoint::read(payload).ok().and_then(|mut of_log| of_log.logs.pop());
        let is_own = |log: &LogCheckpoint| log.recovery_point == point && log.recovery_offset == entry.offset;
        let checkpoint = read.filter(is_own).ok_or_else(|| {
            damaged(directory, format!("the journal's entry that cut it to {} cannot be read", entry.offset))
        })?;
        let checkpoint = LogCheckpoint { aborted: None, ..checkpoint };
        Ok(Self { checkpoint, unfinished: Some(entry) })
    }
}
