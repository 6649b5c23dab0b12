//! Reads what journals a crash left behind. It follows the chain of predecessors within one epoch and says
//! how it ended: torn behind the last acknowledged frame, or damaged inside acknowledged data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::frame::{self, Descriptor, EntryKind, Frame, Look};
use crate::error::OpenError;
use crate::io::{BLOCK_BYTES, Io, IoFile, OpenHow};
use crate::record::batch::{self, BatchHeader};

/// Read in steps of this size: large enough for the disk's full speed.
const READ_BYTES: usize = 1 << 20;
/// A journal file is at most this long; a longer one is not ours.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// From where a checkpoint needs the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ReplayFrom {
    /// The start that wrote it; older ones are dead.
    pub epoch: u64,
    /// First sequence of that epoch that is needed.
    pub sequence: u64,
}

/// An entry as it was journalled.
pub struct ReplayedEntry {
    /// The start that wrote it.
    pub epoch: u64,
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub payload: Bytes,
}

/// What replay found.
#[derive(Default)]
pub struct Replayed {
    /// Entries in the order they were acknowledged.
    pub entries: Vec<ReplayedEntry>,
    /// Frames followed.
    pub frames: u64,
}

impl std::fmt::Debug for ReplayedEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplayedEntry({:?} of epoch {})", self.descriptor, self.epoch)
    }
}

impl std::fmt::Debug for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replayed({} frames, {} entries)", self.frames, self.entries.len())
    }
}

struct Loaded {
    path: PathBuf,
    bytes: Bytes,
    first: Frame,
}

/// Replays everything in `directory` from `from` on; older epochs are skipped.
pub async fn replay<I: Io>(io: &I, directory: &Path, from: ReplayFrom) -> Result<Replayed, OpenError> {
    let mut replayed = Replayed::default();
    let mut epochs: BTreeMap<u64, Vec<Loaded>> = BTreeMap::new();
    for name in io.list_directory(directory).await? {
        let Some(epoch) = epoch_of(&name) else { continue };
        if epoch < from.epoch {
            continue;
        }
        if let Some(loaded) = load(io, directory.join(&name), epoch).await? {
            epochs.entry(epoch).or_default().push(loaded);
        }
    }
    for (epoch, files) in epochs {
        let first = if epoch == from.epoch { from.sequence } else { 1 };
        follow(&files, epoch, first, &mut replayed)?;
    }
    Ok(replayed)
}

/// The epoch in a journal file's name.
pub(crate) fn epoch_of(name: &str) -> Option<u64> {
    name.strip_suffix(".journal")?.split_once('-')?.0.parse().ok()
}

/// A file's bytes, if a frame of its epoch begins it.
async fn load<I: Io>(io: &I, path: PathBuf, epoch: u64) -> Result<Option<Loaded>, OpenError> {
    let file = io.open(&path, OpenHow::Read).await?;
    let size = file.size().await?;
    if size > FILE_BYTES_MAX {
        return Err(OpenError::Damaged { path, what: format!("{size} bytes long") });
    }
    let mut bytes = BytesMut::new();
    let mut position = 0;
    while position < size {
        let read = file.read_at(position, READ_BYTES).await?;
        if read.is_empty() {
            break;
        }
        if position == 0 && matches!(frame::look(&read), Look::Absent) {
            return Ok(None);
        }
        bytes.extend_from_slice(&read);
        position += u64::try_from(read.len()).unwrap_or(u64::MAX);
        if !read.len().is_multiple_of(BLOCK_BYTES) {
            break;
        }
    }
    match frame::look(&bytes) {
        Look::Frame(first) if first.header.epoch == epoch => {
            Ok(Some(Loaded { path, bytes: bytes.freeze(), first }))
        }
        Look::UnknownVersion(version) => Err(OpenError::UnknownVersion { path, version: u32::from(version) }),
        _ => Ok(None),
    }
}

/// Follows one epoch's chain from the file that `first` begins.
fn follow(files: &[Loaded], epoch: u64, first: u64, replayed: &mut Replayed) -> Result<(), OpenError> {
    let mut expected = first;
    let mut predecessor = None;
    let mut at: Option<(&Loaded, usize)> = None;
    let begins = |sequence| files.iter().find(|file| file.first.header.sequence == sequence);
    loop {
        let here = at.and_then(|(file, position)| {
            valid(file, position, epoch, expected, predecessor).map(|frame| (file, position, frame))
        });
        let next = here.or_else(|| {
            let file = begins(expected)?;
            valid(file, 0, epoch, expected, predecessor).map(|frame| (file, 0, frame))
        });
        let Some((file, position, frame)) = next else { break };
        take(file, position, &frame, replayed);
        replayed.frames += 1;
        expected += 1;
        predecessor = Some(frame.checksum);
        at = Some((file, position + frame.bytes));
    }
    // The chain ended. A frame with a later sequence was only built when all before it were durable.
    for file in files {
        let mut position = 0;
        while position < file.bytes.len() {
            if let Look::Frame(frame) = frame::look(file.bytes.get(position..).unwrap_or_default()) {
                if frame.header.epoch == epoch && frame.header.durable_sequence >= expected {
                    return Err(OpenError::JournalDamaged {
                        path: file.path.clone(),
                        what: format!(
                            "frame {expected} of epoch {epoch} cannot be read, but frame {} at {position} says it was durable",
                            frame.header.sequence
                        ),
                    });
                }
                // Skips a valid frame's payload: records may contain anything, also what looks like a frame.
                if frame.header.epoch == epoch {
                    position += frame.bytes;
                    continue;
                }
            }
            position += BLOCK_BYTES;
        }
    }
    Ok(())
}

/// The frame at `position`, if it is valid by all rules of [`frame`] for this place in the chain.
fn valid(
    file: &Loaded,
    position: usize,
    epoch: u64,
    sequence: u64,
    predecessor: Option<u32>,
) -> Option<Frame> {
    let bytes = file.bytes.get(position..)?;
    let Look::Frame(frame) = frame::look(bytes) else { return None };
    let chained = predecessor.is_none_or(|checksum| frame.header.predecessor == checksum);
    if frame.header.epoch != epoch || frame.header.sequence != sequence || !chained {
        return None;
    }
    let mut run_at = frame.payload_at;
    for descriptor in &frame.descriptors {
        let len = usize::try_from(descriptor.len).ok()?;
        let run = bytes.get(run_at..run_at.checked_add(len)?)?;
        if !payload_matches(descriptor, run) {
            return None;
        }
        run_at += len;
    }
    Some(frame)
}

/// Whether a frame's payload run is what its descriptor says.
pub(crate) fn payload_matches(descriptor: &Descriptor, run: &[u8]) -> bool {
    if descriptor.kind != EntryKind::Batch {
        return crc32c::crc32c(run) == descriptor.crc;
    }
    BatchHeader::read(run).is_some_and(|header| {
        header.base_offset() == descriptor.offset
            && header.partition_leader_epoch() == descriptor.leader_epoch
            && header.batch_bytes() == Some(run.len())
            && header.magic() == batch::MAGIC
            && header.crc() == descriptor.crc
            && batch::compute_crc(run) == Some(descriptor.crc)
    })
}

fn take(file: &Loaded, position: usize, frame: &Frame, replayed: &mut Replayed) {
    let mut run_at = position + frame.payload_at;
    for descriptor in &frame.descriptors {
        let end = run_at + usize::try_from(descriptor.len).unwrap_or(0);
        let payload = file.bytes.slice(run_at..end);
        let epoch = frame.header.epoch;
        replayed.entries.push(ReplayedEntry { epoch, descriptor: *descriptor, payload });
        run_at = end;
    }
}
