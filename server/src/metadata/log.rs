//! Where metadata records become durable: the trait, and the local log with one voter.
//!
//! The local log is Apache's directory `__cluster_metadata-0`: segments named by their first offset, snapshots,
//! `leader-epoch-checkpoint`. Each append is one batch, written and synced before the next, so that a crash
//! leaves at most one batch that is not whole, at the very end. Therefore, when the log is read:
//! - what follows the last valid batch of the last segment and holds no valid batch is a **torn tail**: cut off;
//! - anything else that is not valid is **damage**: the start is refused, nothing is changed.
//!
//! Two snapshots are kept, and the log from the older one on: should the newer be damaged, nothing is lost.

use super::batch::{self, NewBatch, ReadError, Stamp, WriteError};
use super::delta::ReplayError;
use super::files::{self, AppendFile};
use super::loader::Loader;
use super::snapshot::{self, SnapshotContent, SnapshotId};
use std::io;
use std::path::{Path, PathBuf};

/// A log that makes metadata records durable, in order.
pub trait MetadataLog: Send + std::fmt::Debug {
    /// Offset of the next record.
    fn end_offset(&self) -> i64;
    /// Epoch of this leader.
    fn epoch(&self) -> i32;
    /// Appends records as one batch and returns the offset of the first. Durable on return. After an error but
    /// [`LogError::NoSpace`] nothing more can be appended: what is on the disk is known only after a restart.
    fn append(&mut self, batch: NewBatch<'_>, now_ms: i64) -> Result<i64, LogError>;
    /// Whether the log has grown enough since the last snapshot for the next one.
    fn wants_snapshot(&self) -> bool;
    /// Writes a snapshot that ends at the log's end, and lets go of what it makes needless.
    fn write_snapshot(&mut self, content: SnapshotContent<'_>) -> Result<(), LogError>;
}

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Bytes that were acknowledged are not there or not what was written.
    #[error("{path} is damaged at byte {position}: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// Valid records that this version does not understand.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Records that contradict each other.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Records that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The device has no room for a record; there may be some later.
    #[error("no space left for {path}: topics and configuration stay as they are until there is", path = path.display())]
    NoSpace {
        /// Which file.
        path: PathBuf,
    },
    /// An append failed before.
    #[error("the metadata log failed before and takes no more records until a restart")]
    Failed,
}

/// Snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;
/// Files that Apache keeps beside a segment.
const SEGMENT_FILE_KINDS: [&str; 4] = ["log", "index", "timeindex", "snapshot"];

/// The metadata log of a quorum with one voter, on a local disk. Owned by the control thread; blocks.
#[derive(Debug)]
pub struct LocalLog {
    directory: PathBuf,
    active: AppendFile,
    active_path: PathBuf,
    /// First offset of each segment, ascending; the last is active.
    segments: Vec<i64>,
    snapshots: Vec<SnapshotId>,
    /// First offset of each epoch, as in `leader-epoch-checkpoint`.
    epochs: Vec<(i32, i64)>,
    end_offset: i64,
    epoch: i32,
    log_bytes_since_snapshot: u64,
    snapshot_bytes: u64,
    snapshot_log_bytes: u64,
    failed: bool,
    torn_bytes: u64,
}

impl LocalLog {
    /// Opens the log, reads the newest whole snapshot and what follows it into `loader`, and cuts off a torn
    /// tail. A snapshot is wanted every `snapshot_log_bytes`.
    pub fn open(directory: &Path, loader: &mut Loader, snapshot_log_bytes: u64) -> Result<Self, LogError> {
        let names = at(directory, files::list(directory))?;
        let mut snapshots: Vec<SnapshotId> =
            names.iter().filter_map(|name| SnapshotId::parse(name)).collect();
        snapshots.sort_unstable();
        let mut segments: Vec<i64> = names.iter().filter_map(|name| segment_offset(name)).collect();
        segments.sort_unstable();

        let (start, snapshot_bytes) = load_snapshot(directory, &mut snapshots, loader)?;
        if segments.is_empty() {
            segments.push(start.end_offset);
        }
        let mut found = Tail { end_offset: start.end_offset, epoch: start.epoch, ..Tail::default() };
        read_segments(directory, &segments, start, loader, &mut found)?;
        if found.end_offset < start.end_offset {
            // The snapshot came from another leader and covers all of this log.
            for base in segments.drain(..) {
                remove_segment(directory, base)?;
            }
            segments.push(start.end_offset);
            found = Tail { end_offset: start.end_offset, epoch: start.epoch, ..found };
        }
        let active_path = directory.join(segment_name(*segments.last().unwrap_or(&0)));
        let active = at(&active_path, AppendFile::open(&active_path, found.valid_bytes))?;
        Ok(Self {
            directory: directory.to_path_buf(),
            active,
            active_path,
            segments,
            snapshots,
            epochs: found.epochs,
            end_offset: found.end_offset,
            epoch: found.epoch,
            log_bytes_since_snapshot: found.bytes_after_snapshot,
            snapshot_bytes,
            snapshot_log_bytes,
            failed: false,
            torn_bytes: found.torn_bytes,
        })
    }

    /// Bytes that were cut off as a torn tail when the log was opened.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Epoch of the last record, or of this leader once it began.
    pub fn last_epoch(&self) -> i32 {
        self.epoch
    }

    /// Begins a leader's epoch, which is above all before. Its first batch has to be a `LeaderChange`.
    pub fn begin_epoch(&mut self, epoch: i32) -> Result<(), LogError> {
        self.epoch = epoch;
        self.epochs.retain(|(_, start)| *start < self.end_offset);
        self.epochs.push((epoch, self.end_offset));
        self.write_epochs()
    }

    fn write_epochs(&self) -> Result<(), LogError> {
        let mut text = format!("0\n{}\n", self.epochs.len());
        for (epoch, start) in &self.epochs {
            text.push_str(&epoch.to_string());
            text.push(' ');
            text.push_str(&start.to_string());
            text.push('\n');
        }
        let path = self.directory.join("leader-epoch-checkpoint");
        at(&path, files::write_whole_if_room(&path, text.as_bytes(), 0o644))
    }

    /// Starts a new segment at the log's end and deletes what the kept snapshots do not need.
    fn roll_and_clean(&mut self) -> Result<(), LogError> {
        if self.segments.last() != Some(&self.end_offset) {
            let path = self.directory.join(segment_name(self.end_offset));
            self.active = at(&path, AppendFile::open(&path, 0))?;
            self.active_path = path;
            self.segments.push(self.end_offset);
        }
        while self.snapshots.len() > SNAPSHOTS_KEPT {
            let path = self.directory.join(self.snapshots.remove(0).file_name());
            at(&path, files::remove(&path))?;
        }
        let log_start = self.snapshots.first().map_or(0, |oldest| oldest.end_offset);
        while self.segments.get(1).is_some_and(|next| *next <= log_start) {
            remove_segment(&self.directory, self.segments.remove(0))?;
        }
        let first = self.segments.first().copied().unwrap_or(0);
        let kept = self.epochs.iter().rposition(|(_, start)| *start <= first).unwrap_or(0);
        self.epochs.drain(..kept);
        if let Some((_, start)) = self.epochs.first_mut() {
            *start = first.max(*start);
        }
        self.write_epochs()?;
        at(&self.directory, files::sync_dir(&self.directory))
    }
}

impl MetadataLog for LocalLog {
    fn end_offset(&self) -> i64 {
        self.end_offset
    }

    fn epoch(&self) -> i32 {
        self.epoch
    }

    fn append(&mut self, batch: NewBatch<'_>, now_ms: i64) -> Result<i64, LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        let stamp = Stamp { base_offset: self.end_offset, epoch: self.epoch, timestamp_ms: now_ms };
        let bytes = batch::write(batch, stamp)?;
        if let Err(error) = self.active.append(&bytes) {
            let path = self.active_path.clone();
            if files::is_no_space(&error) {
                return Err(LogError::NoSpace { path });
            }
            self.failed = true;
            return Err(LogError::Io { path, error });
        }
        let count = match batch {
            NewBatch::Data(records, _) => records.len(),
            NewBatch::Control(records) => records.len(),
        };
        self.end_offset += i64::try_from(count).unwrap_or(i64::MAX);
        self.log_bytes_since_snapshot += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(stamp.base_offset)
    }

    fn wants_snapshot(&self) -> bool {
        // A large snapshot is worth a long log: what is written twice stays a constant share.
        self.log_bytes_since_snapshot >= self.snapshot_log_bytes.max(2 * self.snapshot_bytes)
    }

    fn write_snapshot(&mut self, content: SnapshotContent<'_>) -> Result<(), LogError> {
        let id = SnapshotId { end_offset: self.end_offset, epoch: self.epoch };
        let bytes = snapshot::write(content, id.epoch)?;
        let path = self.directory.join(id.file_name());
        at(&path, files::write_whole(&path, &bytes, 0o444))?;
        self.snapshots.retain(|other| *other != id);
        self.snapshots.push(id);
        self.snapshot_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.log_bytes_since_snapshot = 0;
        self.roll_and_clean()
    }
}

/// What reading the segments found.
#[derive(Debug, Default)]
struct Tail {
    end_offset: i64,
    epoch: i32,
    epochs: Vec<(i32, i64)>,
    /// Bytes of the last segment that are valid.
    valid_bytes: u64,
    torn_bytes: u64,
    bytes_after_snapshot: u64,
}

/// Loads the newest whole snapshot; those that are damaged are taken off the list.
fn load_snapshot(
    directory: &Path,
    snapshots: &mut Vec<SnapshotId>,
    loader: &mut Loader,
) -> Result<(SnapshotId, u64), LogError> {
    while let Some(id) = snapshots.last().copied() {
        let path = directory.join(id.file_name());
        let bytes = at(&path, files::read_optional(&path))?.unwrap_or_default();
        match snapshot::read(&bytes) {
            Ok(batches) => {
                for batch in &batches {
                    loader.batch(batch)?;
                }
                loader.end_of_snapshot(id.end_offset, id.epoch);
                return Ok((id, u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
            }
            Err(ReadError::Invalid(reason)) => {
                tracing::error!(path = %path.display(), reason, "a metadata snapshot is damaged; using an older one");
                snapshots.pop();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((SnapshotId { end_offset: 0, epoch: 0 }, 0))
}

/// Reads the segments from the one that holds the snapshot's end on.
fn read_segments(
    directory: &Path,
    segments: &[i64],
    start: SnapshotId,
    loader: &mut Loader,
    tail: &mut Tail,
) -> Result<(), LogError> {
    let first = segments.partition_point(|base| *base <= start.end_offset).saturating_sub(1);
    let segments = segments.get(first..).unwrap_or_default();
    let base = segments.first().copied().unwrap_or(0);
    if base > start.end_offset {
        let path = directory.join(segment_name(base));
        let reason = format!("records {} to {base} are missing", start.end_offset);
        return Err(LogError::Damaged { path, position: 0, reason });
    }
    (tail.end_offset, tail.epoch) = (base, 0);
    for (index, base) in segments.iter().enumerate() {
        let path = directory.join(segment_name(*base));
        let bytes = at(&path, files::read_optional(&path))?.unwrap_or_default();
        if *base != tail.end_offset {
            let reason = format!("it should begin with record {}", tail.end_offset);
            return Err(LogError::Damaged { path, position: 0, reason });
        }
        let is_last = index + 1 == segments.len();
        read_segment(&bytes, start, loader, tail).and_then(|()| check_tail(&path, &bytes, is_last, tail))?;
    }
    Ok(())
}

/// Reads the valid batches of one segment.
fn read_segment(
    bytes: &[u8],
    start: SnapshotId,
    loader: &mut Loader,
    tail: &mut Tail,
) -> Result<(), LogError> {
    let mut position = 0;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let batch = match batch::read(rest, tail.end_offset, tail.epoch) {
            Ok(batch) => batch,
            Err(ReadError::Invalid(_)) => break,
            Err(error) => return Err(error.into()),
        };
        if tail.epochs.last().is_none_or(|(epoch, _)| *epoch < batch.stamp.epoch) {
            tail.epochs.push((batch.stamp.epoch, batch.stamp.base_offset));
        }
        if batch.stamp.base_offset >= start.end_offset {
            loader.batch(&batch)?;
            tail.bytes_after_snapshot += u64::try_from(batch.bytes).unwrap_or(u64::MAX);
        }
        (tail.end_offset, tail.epoch) = (batch.end_offset, batch.stamp.epoch);
        position += batch.bytes;
    }
    tail.valid_bytes = u64::try_from(position).unwrap_or(u64::MAX);
    Ok(())
}

/// Tells a torn tail from damage.
fn check_tail(path: &Path, bytes: &[u8], is_last: bool, tail: &mut Tail) -> Result<(), LogError> {
    let valid = usize::try_from(tail.valid_bytes).unwrap_or(usize::MAX);
    let rest = bytes.get(valid..).unwrap_or_default();
    let is_followed = || {
        (0..rest.len()).any(|at| {
            let Some(later) = rest.get(at..) else { return false };
            let offset = later.get(..8).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
            // Offsets far away are not worth a checksum.
            offset.is_some_and(|offset| {
                offset >= tail.end_offset
                    && offset - tail.end_offset < i64::from(u32::MAX)
                    && batch::check(later, offset, 0).is_ok()
            })
        })
    };
    if !rest.is_empty() && (!is_last || is_followed()) {
        let reason = "whole records follow it, so it was whole too when it was acknowledged".to_string();
        return Err(LogError::Damaged { path: path.to_path_buf(), position: tail.valid_bytes, reason });
    }
    tail.torn_bytes = u64::try_from(rest.len()).unwrap_or(u64::MAX);
    Ok(())
}

/// Removes a segment and what Apache keeps beside it.
fn remove_segment(directory: &Path, base: i64) -> Result<(), LogError> {
    for kind in SEGMENT_FILE_KINDS {
        let path = directory.join(format!("{base:020}.{kind}"));
        at(&path, files::remove(&path))?;
    }
    Ok(())
}

/// Name of the segment that begins with that offset.
fn segment_name(base: i64) -> String {
    format!("{base:020}.log")
}

/// First offset of the segment of that name, if it is one's.
fn segment_offset(name: &str) -> Option<i64> {
    name.strip_suffix(".log")?.parse().ok().filter(|base| segment_name(*base) == name)
}

/// Names the file an error is about.
fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, LogError> {
    result.map_err(|error| LogError::Io { path: path.to_path_buf(), error })
}
