//! Opening one log: its segment files, what the journal holds of it, and the check of what lies behind its
//! recovery point. A torn tail is cut at the last whole batch; a gap below what was acknowledged is damage.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use futures::lock::Mutex;

use super::LogOffsets;
use super::changes::Changes;
use super::epoch_cache::EpochCache;
use super::expected::damaged;
use super::failing::Fault;
use super::known::{Counts, Known};
use super::log::{Log, State};
use super::producer_snapshot;
use super::producer_state::ProducerState;
use super::tails::last_indexed;
use super::truncating::{Truncated, cut_files};
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::io::{Io, IoFile};
use crate::journal::frame::EntryKind;
use crate::journal::journal::LogPoint;
use crate::segment::segment::{Segment, base_offset_of, base_offset_of_stem, file_name, to_u64, to_usize};
use crate::segment::txn_index;
use crate::shared::Shared;
use crate::space::Room;
use crate::types::Offset;

/// What the journal holds of a log.
struct Sorted {
    /// Bytes by segment, with their positions.
    runs: BTreeMap<Offset, Vec<(u64, Bytes)>>,
    /// Batches, with their segment.
    appended: Vec<(Offset, Bytes)>,
    log_start: Offset,
    truncated: Option<Truncated>,
}

fn sorted(known: &mut Known<'_>, counts: &mut Counts) -> Result<Sorted, OpenError> {
    let mut sorted = Sorted {
        runs: BTreeMap::new(),
        appended: Vec::new(),
        log_start: known.log_start_offset,
        truncated: None,
    };
    for (descriptor, bytes) in std::mem::take(&mut known.entries) {
        match descriptor.kind {
            EntryKind::Batch | EntryKind::Carry => {
                if descriptor.kind == EntryKind::Batch {
                    sorted.appended.push((descriptor.segment_base, bytes.clone()));
                }
                counts.replayed_bytes += to_u64(bytes.len());
                sorted.runs.entry(descriptor.segment_base).or_default().push((descriptor.position, bytes));
            }
            EntryKind::LogStart => {
                sorted.log_start = sorted.log_start.max(descriptor.offset);
                if let Some(truncated) = &mut sorted.truncated {
                    truncated.unfinished = None;
                }
            }
            EntryKind::Truncate => {
                // Segments have all below it, and it says what is known there.
                let truncated = Truncated::read(descriptor, &bytes, &known.directory)?;
                sorted.truncated = Some(truncated);
                sorted.runs.clear();
                sorted.appended.clear();
            }
            EntryKind::Create | EntryKind::Delete => {}
        }
    }
    Ok(sorted)
}

/// A segment that files or the journal name.
#[derive(Clone, Copy)]
struct Found {
    base: Offset,
    /// The length of its file, if it has one.
    file_bytes: Option<u64>,
    /// The segment behind it; the active one has none.
    next: Option<Offset>,
    /// Whether it has a `.txnindex`.
    has_txn_index: bool,
    /// Whether its batches say something of producers that no snapshot does.
    tells_producers: bool,
}

/// What the journal holds of a segment above the recovery point. Below it the segment is synced, and carried
/// bytes that outlived the frames behind them neither reach its end nor are whole.
fn unsettled(known: &Known<'_>, base: Offset, runs: Vec<(u64, Bytes)>) -> Vec<(u64, Bytes)> {
    let settled = match known.checkpoint {
        Some(checkpoint) if base < checkpoint.recovery_point.segment_base => u64::MAX,
        Some(checkpoint) if base == checkpoint.recovery_point.segment_base => {
            checkpoint.recovery_point.position
        }
        _ => 0,
    };
    let above =
        runs.into_iter().filter(|(position, bytes)| position.saturating_add(to_u64(bytes.len())) > settled);
    above
        .map(|(position, bytes)| {
            let below = settled.saturating_sub(position);
            (position + below, bytes.slice(to_usize(below)..))
        })
        .collect()
}

impl<I: Io> Log<I> {
    /// An empty log whose folder was just made.
    pub(crate) fn new(shared: &Rc<Shared<I>>, known: &Known<'_>, config: LogConfig) -> Rc<Self> {
        let start = known.log_start_offset;
        Rc::new_cyclic(|myself| Self {
            myself: myself.clone(),
            shared: Rc::clone(shared),
            key: known.key,
            topic: known.topic.clone(),
            directory: known.directory.clone(),
            incarnation: known.incarnation,
            config: RefCell::new(config),
            state: RefCell::new(State {
                segments: VecDeque::new(),
                cached: VecDeque::new(),
                producers: ProducerState::new(),
                epochs: EpochCache::new(),
            }),
            offsets: Cell::new(LogOffsets::all_at(start)),
            durable: Cell::new(LogPoint { segment_base: start, position: 0 }),
            synced_end: Cell::new(start),
            changed: Changes::default(),
            closed: Cell::new(false),
            leftovers_removed: Cell::new(false),
            deleted: Cell::new(false),
            replayed_below: Cell::new(Offset(0)),
            scanned_end: Cell::new(Offset(0)),
            start_asked: Cell::new(start),
            bounds: Mutex::new(()),
            truncating: Cell::new(false),
            uncut: RefCell::default(),
            writer: Mutex::new(()),
            index_writer: Mutex::new(()),
            due: Cell::new(false),
            carry_laps: Cell::new(0),
            wanting: Cell::new(false),
            short_of_space: Cell::new(false),
            hint: Cell::new(None),
            fault: Fault::default(),
        })
    }

    /// Opens the log of an existing folder.
    pub(crate) async fn open(
        shared: &Rc<Shared<I>>,
        mut known: Known<'_>,
        counts: &mut Counts,
    ) -> Result<Rc<Self>, OpenError> {
        let Sorted { mut runs, appended, mut log_start, truncated } = sorted(&mut known, counts)?;
        if let Some(checkpoint) = known.checkpoint {
            log_start = log_start.max(checkpoint.log_start_offset);
        }
        if let Some(Truncated { checkpoint, unfinished }) = &truncated {
            if let Some(cut) = unfinished {
                cut_files(&shared.io, &known.directory, cut).await?;
                known.looked = None;
            }
            log_start = log_start.max(checkpoint.log_start_offset);
        }
        let cut = truncated.as_ref().map(|truncated| &truncated.checkpoint);
        let mut known = Known { checkpoint: cut.or(known.checkpoint), ..known };
        let mut looked = known.look(&shared.io).await?;
        let listed = &looked.files;
        let names: Vec<String> = listed.iter().map(|(name, _)| name.clone()).collect();
        let files: BTreeMap<Offset, u64> =
            listed.iter().filter_map(|(name, size)| Some((base_offset_of(name)?, *size))).collect();
        let mut bases: BTreeSet<Offset> = files.keys().chain(runs.keys()).copied().collect();
        if let Some(checkpoint) = known.checkpoint {
            let base = checkpoint.recovery_point.segment_base;
            if bases.last().is_none_or(|last| *last < base) {
                bases.insert(base);
            }
        }
        // Segments below the log start may be what is left of an interrupted retention.
        while bases.iter().nth(1).is_some_and(|second| *second <= log_start) {
            let Some(first) = bases.pop_first() else { break };
            runs.remove(&first);
        }
        known.check_segments(&bases, log_start, &names)?;
        known.log_start_offset = log_start.max(bases.first().copied().unwrap_or(log_start));
        let log = Self::new(shared, &known, LogConfig::default());
        known.ends = looked.ends.take();
        known.last_index = log.load_state(&known, &names, &looked).await?;
        let removed = |(base, _): &&(Offset, Bytes)| bases.first().is_some_and(|first| base < first);
        log.remember_removed(appended.iter().filter(removed).map(|(_, batch)| batch));
        let by_snapshots = known.checkpoint.is_none()
            && !known.is_journalled_whole
            && names.iter().any(|name| name.ends_with(producer_snapshot::SUFFIX));
        let txn_indexes: BTreeSet<Offset> = names
            .iter()
            .filter_map(|name| name.strip_suffix(txn_index::SUFFIX))
            .filter_map(base_offset_of_stem)
            .collect();
        for base in &bases {
            let next = bases.range(Offset(base.0.saturating_add(1))..).next().copied();
            let file_bytes = files.get(base).copied();
            let run = runs.remove(base).unwrap_or_default();
            // What follows a truncation begins with the block that it cut, which may have been written again since.
            let run = if cut.is_some() { run } else { unsettled(&known, *base, run) };
            let found = Found {
                base: *base,
                file_bytes,
                next,
                has_txn_index: txn_indexes.contains(base),
                tells_producers: by_snapshots && next > Some(log.replayed_below.get()),
            };
            log.open_segment(&known, found, run, counts).await?;
        }
        let last = log.state.borrow().segments.back().map(Rc::clone);
        if let Some(last) = last {
            if !last.sealed.get() && last.aborted.borrow().is_none() {
                log.rebuild_txn_index(&last).await?;
            }
            last.lend(Vec::new());
        }
        log.finish_open(&known)?;
        Ok(log)
    }

    async fn open_segment(
        &self,
        known: &Known<'_>,
        found: Found,
        runs: Vec<(u64, Bytes)>,
        counts: &mut Counts,
    ) -> Result<(), OpenError> {
        let Found { base, file_bytes, next, .. } = found;
        let last = next.is_none();
        let interval = self.config.borrow().index_interval_bytes;
        let segment = self.new_segment(base, interval);
        self.state.borrow_mut().segments.push_back(Rc::clone(&segment));
        let mut size = file_bytes.unwrap_or(0);
        if file_bytes.is_some() {
            segment.set_existing(size, false);
        }
        if last && file_bytes.is_some() {
            match &known.ends {
                Some((name, pieces)) if *name == file_name(base, ".log") => segment.lend(pieces.clone()),
                // It will be written to: whoever started the broker learns now if it cannot be.
                _ if runs.is_empty() => drop(segment.file().await?),
                _ => {}
            }
        }
        segment.has_txn_index.set(found.has_txn_index);
        let kept = known.checkpoint.and_then(|checkpoint| checkpoint.aborted.as_deref());
        self.begin_aborted(&segment, kept, (next, runs.is_empty() && !last)).await?;
        if runs.is_empty() {
            size = self.cut_padding(&segment, known, next).await?;
        }
        let mut from = match known.checkpoint {
            Some(checkpoint) if checkpoint.recovery_point.segment_base == base => {
                checkpoint.recovery_point.position
            }
            None if known.clean && last => last_indexed(&segment, known.last_index.as_deref()),
            _ => 0,
        };
        let acknowledged = if runs.is_empty() {
            if size < from {
                let what = format!("only {size} bytes long, but synced up to {from}");
                return Err(damaged(&segment.path(".log"), what));
            }
            if !last {
                return self.take_sealed(&segment, known, found).await;
            }
            from
        } else {
            let end = self.place(&segment, file_bytes, runs).await?;
            segment.head_journalled.set(true);
            end
        };
        segment.index_from.set(from);
        let mut checked = self.check(&segment, known, from).await?;
        let journalled = segment.head_journalled.get();
        if known.clean && !journalled && checked.end == from && 0 < from && from < size {
            // It may be the index that is wrong.
            from = 0;
            segment.index_from.set(from);
            checked = self.check(&segment, known, from).await?;
        }
        let acknowledged =
            if known.is_settled() { acknowledged.max(segment.size.get()) } else { acknowledged };
        if checked.end < acknowledged {
            let what = format!("no whole batch at {}, but acknowledged up to {acknowledged}", checked.end);
            return Err(damaged(&segment.path(".log"), what));
        }
        if let Some(next) = checked.next_offset {
            self.scanned_end.set(next.max(self.scanned_end.get()));
        }
        if journalled {
            self.write_recovered(&segment, last).await?;
        }
        if !last && self.seal_recovered(&segment).await? == Room::Ample {
            return Ok(());
        }
        if !journalled {
            counts.cut_bytes += self.cut_torn(&segment, &checked, size).await?;
            if file_bytes.is_some() {
                self.reopen_checked(&segment, &checked).await?;
                segment.index_from.set(from);
            }
        }
        if segment.first_timestamp.get().is_none() {
            let first = self.header_at(&segment, 0).await?;
            segment.first_timestamp.set(first.map(|header| header.max_timestamp()));
        }
        let floor = segment.written.get();
        let starts = checked.batches.iter().map(|batch| batch.at);
        segment.checked_from.set(starts.rev().find(|start| *start <= floor).unwrap_or(0));
        Self::note_seen(&segment, known, &checked);
        Ok(())
    }

    /// Takes a segment over that another follows and that the journal has nothing of: it is not looked into.
    async fn take_sealed(
        &self,
        segment: &Segment<I>,
        known: &Known<'_>,
        found: Found,
    ) -> Result<(), OpenError> {
        if found.file_bytes.is_some() && !known.is_below(found.base) {
            // A kill may have come before the length it was cut to was synced.
            segment.file().await?.sync().await?;
        }
        segment.set_existing(segment.size.get(), true);
        if found.tells_producers {
            self.take_producers(segment).await?;
        }
        Ok(())
    }

    fn finish_open(&self, known: &Known<'_>) -> Result<(), OpenError> {
        let last = self.state.borrow().segments.back().map(Rc::clone);
        let mut end = self.scanned_end.get();
        if let Some(last) = &last {
            end = end.max(last.base_offset);
            self.durable.set(LogPoint { segment_base: last.base_offset, position: last.size.get() });
        }
        let mut high_watermark = end;
        if let Some(checkpoint) = known.checkpoint {
            let point = checkpoint.recovery_point;
            if last.as_ref().is_some_and(|last| last.base_offset == point.segment_base) {
                end = end.max(checkpoint.recovery_offset);
            }
            high_watermark = checkpoint.high_watermark;
        }
        known.check_end(end)?;
        {
            let epochs = &mut self.state.borrow_mut().epochs;
            // An emptied log keeps its newest epoch, at its end.
            epochs.truncate_from_end(Offset(end.0.saturating_add(1)));
            epochs.truncate_from_start(known.log_start_offset);
        }
        self.shared.dirty_added(self.unwritten());
        let start = known.log_start_offset;
        let high_watermark = high_watermark.min(end).max(start);
        self.state.borrow_mut().producers.set_visible(high_watermark);
        let offsets = LogOffsets {
            log_start_offset: start,
            last_stable_offset: self.stable_below(high_watermark).max(start),
            high_watermark,
            durable_offset: end,
            log_end_offset: end,
        };
        offsets.check();
        self.offsets.set(offsets);
        self.synced_end.set(end);
        Ok(())
    }
}
