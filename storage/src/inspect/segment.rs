//! One segment checked: every batch, its offsets and epochs, every entry of both indexes.
#![deny(clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::Finding;
use super::batches::{Content, Piece, scan};
use super::files::SMALL_FILE_BYTES_MAX;
use crate::io::IoError;
use crate::io::read_only::read_file;
use crate::record::batch::BatchHeader;
use crate::record::marker::Marker;
use crate::segment::offset_index::{self, IndexError, OffsetIndex};
use crate::segment::segment::{file_name, to_u64};
use crate::segment::time_index::{self, TimeIndex};
use crate::segment::txn_index::{self, TxnIndexError};
use crate::types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

/// Findings of one segment that are told; a file of other bytes would have one for each of its entries.
const FINDINGS_MAX: usize = 100;

/// A segment to check.
#[derive(Debug)]
pub(super) struct SegmentToCheck {
    /// The partition's folder.
    pub(super) directory: PathBuf,
    /// Its base offset.
    pub(super) base: Offset,
    /// What the journal holds of it and a start would place.
    pub(super) runs: Vec<(u64, Bytes)>,
    /// Below it everything is whole, whatever happened; behind it a torn tail may stand.
    pub(super) whole_below: u64,
    /// No record of it has this offset or a higher one.
    pub(super) offsets_below: Offset,
}

/// Where an epoch begins in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EpochStart {
    pub(super) epoch: LeaderEpoch,
    pub(super) offset: Offset,
    pub(super) position: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct SegmentReport {
    pub(super) findings: Vec<Finding>,
    /// Batches that are whole.
    pub(super) batches: u64,
    /// Where the last of them begins.
    pub(super) last_position: u64,
    /// Where the last of them ends.
    pub(super) end: u64,
    /// The offset after them.
    pub(super) next_offset: Option<Offset>,
    /// Epochs, in the order of the batches.
    pub(super) epochs: Vec<EpochStart>,
}

/// An index's entries, sorted by what they are looked for by.
struct Entries<T> {
    path: PathBuf,
    /// Key, what is said of it, position in the index file.
    sorted: Vec<(i64, T, u64)>,
    next: usize,
    /// What is wrong with the file as a whole, for when no entry of it is found wrong.
    whole: Option<Finding>,
}

impl<T: Copy> Entries<T> {
    fn none(path: PathBuf) -> Self {
        Self { path, sorted: Vec::new(), next: 0, whole: None }
    }

    /// The next entry whose key is at most `last`.
    fn take(&mut self, last: i64) -> Option<(i64, T, u64)> {
        let entry = self.sorted.get(self.next).filter(|(key, ..)| *key <= last)?;
        self.next += 1;
        Some(*entry)
    }
}

/// A batch that is not counted yet: offsets are under no checksum, so the next one may say that its own is wrong.
#[derive(Clone, Copy)]
struct Held {
    position: u64,
    end: u64,
    base: Offset,
    last: Offset,
    max_timestamp: TimestampMs,
    epoch: LeaderEpoch,
    /// Whose transaction it aborts.
    aborts: Option<ProducerId>,
    /// The offset that comes next before it.
    expected: Offset,
}

/// State of the walk over a segment's batches.
struct Walk {
    report: SegmentReport,
    log: PathBuf,
    base: Offset,
    offsets_below: Offset,
    offsets: Entries<Offset>,
    times: Entries<TimestampMs>,
    aborted: Entries<ProducerId>,
    bad: Vec<(u64, String)>,
    /// Whether what is no batch stands right before: index entries that name something in it say nothing more.
    after_bad: bool,
    expected: Offset,
    held: Option<Held>,
}

/// Checks a segment. `read_bytes` grows as it goes.
pub(super) fn check(segment: SegmentToCheck, read_bytes: &AtomicU64) -> Result<SegmentReport, IoError> {
    let SegmentToCheck { directory, base, runs, whole_below, offsets_below } = segment;
    let log = directory.join(file_name(base, ".log"));
    let mut content = Content::of_file(&log)?;
    let mut report = SegmentReport::default();
    let journalled = !runs.is_empty();
    if let Err((position, what)) = content.lay_over(runs) {
        report.findings.push(Finding::damage(&log, position, what));
        return Ok(report);
    }
    if journalled && let Some(position) = content.first_difference()? {
        let what = "other bytes than in the journal: the next start writes them again";
        report.findings.push(Finding::note(&log, position, what));
    }
    let offsets = offset_entries(&directory, base, &mut report.findings)?;
    let times = time_entries(&directory, base, &mut report.findings)?;
    let aborted = aborted_entries(&directory, base, &mut report.findings)?;
    let restarts: Vec<u64> =
        offsets.sorted.iter().filter_map(|(position, ..)| u64::try_from(*position).ok()).collect();
    let mut walk = Walk {
        report,
        log,
        base,
        offsets_below,
        offsets,
        times,
        aborted,
        bad: Vec::new(),
        after_bad: false,
        expected: base,
        held: None,
    };
    scan(&content, &restarts, read_bytes, |position, piece| {
        match piece {
            Piece::Batch(header, bytes) => walk.batch(position, header, bytes),
            Piece::Bad(what) => {
                walk.settle();
                walk.bad.push((position, what));
                walk.after_bad = true;
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(walk.finish(whole_below))
}

impl Walk {
    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        }
    }

    /// Takes the next batch, once it is known whether the one before it is what it seems.
    fn batch(&mut self, position: u64, header: &BatchHeader, bytes: &[u8]) {
        let is_abort =
            header.attributes().is_control() && Marker::read(bytes).is_some_and(|marker| marker.is_abort);
        let mut here = Held {
            position,
            end: position + to_u64(bytes.len()),
            aborts: is_abort.then_some(header.producer_id()),
            base: header.base_offset(),
            last: header.last_offset(),
            max_timestamp: header.max_timestamp(),
            epoch: header.partition_leader_epoch(),
            expected: self.held.map_or(self.expected, |held| Offset(held.last.0.saturating_add(1))),
        };
        self.report.batches += 1;
        self.report.last_position = position;
        self.report.end = here.end;
        if here.base < here.expected
            && let Some(held) =
                self.held.take_if(|held| held.base > held.expected && here.base >= held.expected)
        {
            here.expected = held.expected;
            self.reject(&held);
        }
        let too_far = i32::try_from(here.last.0.saturating_sub(self.base.0)).is_err();
        self.settle();
        if here.base < here.expected || too_far || here.last >= self.offsets_below {
            self.reject(&here);
        } else {
            self.held = Some(here);
        }
    }

    /// A batch whose offset is wrong. What indexes say of it says nothing more.
    fn reject(&mut self, batch: &Held) {
        let what = format!("offset {}, where {} comes next", batch.base, batch.expected);
        let log = self.log.clone();
        self.find(Finding::damage(&log, batch.position, what));
        self.after_bad = true;
    }

    /// Counts the batch that was held back.
    fn settle(&mut self) {
        let Some(batch) = self.held.take() else { return };
        self.check_offset_index(&batch);
        self.check_time_index(&batch);
        self.check_txn_index(&batch);
        if self.report.epochs.last().is_none_or(|last| last.epoch != batch.epoch) {
            let Held { epoch, base: offset, position, .. } = batch;
            self.report.epochs.push(EpochStart { epoch, offset, position });
        }
        self.expected = Offset(batch.last.0.saturating_add(1));
        self.report.next_offset = Some(self.expected);
        self.after_bad = false;
    }

    fn check_offset_index(&mut self, batch: &Held) {
        let here = i64::try_from(batch.position).unwrap_or(i64::MAX);
        while let Some((at, offset, entry)) = self.offsets.take(here) {
            let what = if at != here && self.after_bad {
                continue;
            } else if at != here {
                format!("it names a batch at {at}, where none begins")
            } else if offset != batch.last {
                format!("offset {offset} at {at}, where a batch ends with {}", batch.last)
            } else {
                continue;
            };
            let path = self.offsets.path.clone();
            self.find(Finding::damage(&path, entry, what));
        }
    }

    fn check_time_index(&mut self, batch: &Held) {
        while let Some((offset, timestamp, entry)) = self.times.take(batch.last.0) {
            let what = if offset < batch.base.0 && self.after_bad {
                continue;
            } else if offset < batch.base.0 {
                format!("it names offset {offset}, which no batch has")
            } else if timestamp != batch.max_timestamp {
                let has = batch.max_timestamp;
                format!("timestamp {timestamp} of offset {offset}, whose batch has {has}")
            } else if offset != batch.last.0 {
                let what = format!("offset {offset} within a batch, as Kafka before 3.8 wrote it");
                let path = self.times.path.clone();
                self.find(Finding::note(&path, entry, what));
                continue;
            } else {
                continue;
            };
            let path = self.times.path.clone();
            self.find(Finding::damage(&path, entry, what));
        }
    }

    fn check_txn_index(&mut self, batch: &Held) {
        while let Some((offset, producer, entry)) = self.aborted.take(batch.last.0) {
            let names = offset == batch.last.0 && batch.aborts == Some(producer);
            if !(names || self.after_bad && offset < batch.base.0) {
                let what = format!("no transaction of producer {producer} is aborted at offset {offset}");
                let path = self.aborted.path.clone();
                self.find(Finding::damage(&path, entry, what));
            }
        }
    }

    fn finish(mut self, whole_below: u64) -> SegmentReport {
        self.settle();
        let end = self.report.end;
        // Whatever is wrong at the end, what an index says of it is no second finding.
        let torn = self.after_bad;
        for (position, what) in std::mem::take(&mut self.bad) {
            let finding = if position >= end && position >= whole_below {
                Finding::note(&self.log, position, format!("a torn tail, which the next start cuts: {what}"))
            } else {
                Finding::damage(&self.log, position, what)
            };
            self.find(finding);
        }
        while !torn && let Some((at, _, entry)) = self.offsets.take(i64::MAX) {
            let path = self.offsets.path.clone();
            self.find(Finding::damage(
                &path,
                entry,
                format!("it names a batch at {at}, behind the last one"),
            ));
        }
        while !torn && let Some((offset, _, entry)) = self.times.take(i64::MAX) {
            let path = self.times.path.clone();
            self.find(Finding::damage(
                &path,
                entry,
                format!("it names offset {offset}, behind the last one"),
            ));
        }
        while !torn && let Some((offset, _, entry)) = self.aborted.take(i64::MAX) {
            let path = self.aborted.path.clone();
            let what = format!("it names offset {offset}, behind the last one");
            self.find(Finding::damage(&path, entry, what));
        }
        for whole in [self.offsets.whole.take(), self.times.whole.take()].into_iter().flatten() {
            if self.report.findings.iter().all(|finding| finding.path != whole.path) {
                self.find(whole);
            }
        }
        self.report
    }
}

fn read_index(path: &Path) -> Result<Option<Vec<u8>>, IoError> {
    match read_file(path, SMALL_FILE_BYTES_MAX) {
        Ok(file) => Ok(Some(file)),
        // It is made again on first use.
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is wrong with an index as a whole, whose entries were each read by themselves.
fn whole_finding(path: &Path, error: IndexError, entry_bytes: usize) -> Finding {
    let position = match error {
        IndexError::Entry { index } => to_u64(index * entry_bytes),
        IndexError::Size { bytes, .. } => to_u64(bytes - bytes % entry_bytes),
        IndexError::Unrepresentable { .. } => 0,
    };
    Finding::damage(path, position, error.to_string())
}

fn offset_entries(
    directory: &Path,
    base: Offset,
    findings: &mut Vec<Finding>,
) -> Result<Entries<Offset>, IoError> {
    let mut entries = Entries::none(directory.join(file_name(base, offset_index::SUFFIX)));
    let Some(file) = read_index(&entries.path)? else { return Ok(entries) };
    for (index, chunk) in file.chunks_exact(offset_index::ENTRY_BYTES).enumerate() {
        let entry = to_u64(index * offset_index::ENTRY_BYTES);
        match OffsetIndex::read(base, chunk, u64::MAX) {
            Ok(one) => entries
                .sorted
                .extend(one.last().map(|(offset, position)| {
                    (i64::try_from(position.0).unwrap_or(i64::MAX), offset, entry)
                })),
            Err(_) if findings.len() >= FINDINGS_MAX => {}
            Err(_) => findings.push(Finding::damage(&entries.path, entry, "a negative offset or position")),
        }
    }
    entries.sorted.sort_unstable_by_key(|(position, ..)| *position);
    let whole = OffsetIndex::read(base, &file, u64::MAX);
    entries.whole = whole.err().map(|error| whole_finding(&entries.path, error, offset_index::ENTRY_BYTES));
    Ok(entries)
}

fn time_entries(
    directory: &Path,
    base: Offset,
    findings: &mut Vec<Finding>,
) -> Result<Entries<TimestampMs>, IoError> {
    let mut entries = Entries::none(directory.join(file_name(base, time_index::SUFFIX)));
    let Some(file) = read_index(&entries.path)? else { return Ok(entries) };
    for (index, chunk) in file.chunks_exact(time_index::ENTRY_BYTES).enumerate() {
        let entry = to_u64(index * time_index::ENTRY_BYTES);
        match TimeIndex::read(base, chunk) {
            Ok(one) => {
                entries.sorted.extend(one.last().map(|(timestamp, offset)| (offset.0, timestamp, entry)));
            }
            Err(_) if findings.len() >= FINDINGS_MAX => {}
            Err(_) => findings.push(Finding::damage(&entries.path, entry, "a negative offset")),
        }
    }
    entries.sorted.sort_unstable_by_key(|(offset, ..)| *offset);
    let whole = TimeIndex::read(base, &file);
    entries.whole = whole.err().map(|error| whole_finding(&entries.path, error, time_index::ENTRY_BYTES));
    Ok(entries)
}

fn aborted_entries(
    directory: &Path,
    base: Offset,
    findings: &mut Vec<Finding>,
) -> Result<Entries<ProducerId>, IoError> {
    let mut entries = Entries::none(directory.join(file_name(base, txn_index::SUFFIX)));
    let Some(file) = read_index(&entries.path)? else { return Ok(entries) };
    match txn_index::read(base, &file) {
        Ok(aborted) => {
            let placed = aborted.iter().enumerate().map(|(index, one)| {
                (one.last_offset.0, one.producer_id, to_u64(index * txn_index::ENTRY_BYTES))
            });
            entries.sorted = placed.collect();
        }
        Err(error) => {
            let position = match error {
                TxnIndexError::Size { bytes } => bytes - bytes % txn_index::ENTRY_BYTES,
                TxnIndexError::UnknownVersion { index, .. } | TxnIndexError::Entry { index } => {
                    index * txn_index::ENTRY_BYTES
                }
            };
            findings.push(Finding::damage(&entries.path, to_u64(position), error.to_string()));
        }
    }
    Ok(entries)
}
