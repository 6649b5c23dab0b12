//! Reads what journals a crash left behind. It follows the chain of predecessors within one epoch and says
//! how it ended: torn behind the last acknowledged frame, or damaged inside acknowledged data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::frame::{self, Descriptor, EntryKind, Frame, Look};
use crate::error::OpenError;
use crate::io::{BLOCK_BYTES, Io, IoFile, OpenHow};
use crate::record::batch::{self, BatchHeader};
use crate::segment::segment::{to_u64, to_usize};
use crate::types::PartitionKey;

/// Files read at a time, each by one read: the disk is never idle.
const READS: usize = 4;
/// So much of a file is read to see whether any of it is needed: several groups of the usual size.
const PROBE_BYTES: u64 = 4 << 20;
const _: () = assert!(PROBE_BYTES.is_multiple_of(BLOCK_BYTES as u64));
/// A block that was never written to.
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
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
    /// What of it was acknowledged and cannot be read.
    pub damage: Vec<JournalDamage>,
}

/// Acknowledged entries that cannot be read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalDamage {
    /// Whose they are; `None` if that stood in what cannot be read: any partition of this journal's may have some.
    pub key: Option<PartitionKey>,
    /// The start that wrote them.
    pub epoch: u64,
    /// The file.
    pub path: PathBuf,
    /// Where, and what is wrong.
    pub what: String,
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
    /// Absent if its first frame cannot be read: then others of it may say that it was durable.
    first: Option<Frame>,
}

/// A frame of the chain, valid but for those of its payload runs that are marked bad.
struct Link<'a> {
    file: &'a Loaded,
    position: usize,
    frame: Frame,
    bad: Vec<usize>,
}

/// Makes what stands in a journal's files durable. What a killed process wrote is visible before it is: a start that builds
/// on it, and then loses it to a power cut, would leave a gap.
pub async fn make_durable<I: Io>(io: &I, directory: &Path) -> Result<(), OpenError> {
    for name in io.list_directory(directory).await? {
        if epoch_of(&name).is_some() {
            io.open(&directory.join(&name), OpenHow::Read).await?.sync().await?;
        }
    }
    Ok(())
}

/// Replays everything in `directory` from `from` on; older epochs are skipped.
pub async fn replay<I: Io>(io: &I, directory: &Path, from: ReplayFrom) -> Result<Replayed, OpenError> {
    let mut replayed = Replayed::default();
    let mut epochs: BTreeMap<u64, Vec<Loaded>> = BTreeMap::new();
    let mut salts = BTreeMap::new();
    let names = io.list_directory(directory).await?;
    let files = names.iter().filter_map(|name| Some((directory.join(name), epoch_of(name)?)));
    let loading = files.filter(|(_, epoch)| *epoch >= from.epoch).map(|(path, epoch)| async move {
        let sequence = if epoch == from.epoch { from.sequence } else { 1 };
        let loaded = load(io, path, ReplayFrom { epoch, sequence }).await?;
        Ok::<_, OpenError>((epoch, loaded))
    });
    let mut loading = stream::iter(loading).buffered(READS);
    while let Some((epoch, (salt, loaded))) = loading.try_next().await? {
        if let Some(salt) = salt {
            salts.entry(epoch).or_insert(salt);
        }
        epochs.entry(epoch).or_default().extend(loaded);
    }
    for (number, files) in epochs {
        let first = if number == from.epoch { from.sequence } else { 1 };
        follow(&files, Epoch { number, salt: salts.get(&number).copied() }, first, &mut replayed);
    }
    Ok(replayed)
}

/// The epoch in a journal file's name.
pub(crate) fn epoch_of(name: &str) -> Option<u64> {
    name.strip_suffix(".journal")?.split_once('-')?.0.parse().ok()
}

/// A file's bytes, unless nothing in it is needed; and the salt in its first frame, if that can be read: there no record's
/// bytes ever stand.
async fn load<I: Io>(
    io: &I,
    path: PathBuf,
    needed: ReplayFrom,
) -> Result<(Option<u64>, Option<Loaded>), OpenError> {
    let file = io.open(&path, OpenHow::Read).await?;
    let size = file.size().await?;
    if size > FILE_BYTES_MAX {
        return Err(OpenError::Damaged { path, what: format!("{size} bytes long") });
    }
    let upto = |end: u64| to_usize(end).next_multiple_of(BLOCK_BYTES);
    let mut bytes = file.read_at(0, upto(size.min(PROBE_BYTES))).await?;
    let first = frame::look(&bytes);
    let is_blank = is_blank(&bytes);
    if !is_blank && has_only_older(&bytes, needed) {
        let salt = if let Look::Frame(first) = first { Some(first.header.salt) } else { None };
        return Ok((salt, None));
    }
    if to_u64(bytes.len()) < size {
        // From its begin again: all of it lies in one piece, which the entries are slices of.
        bytes = file.read_at(0, upto(size)).await?;
    }
    if is_blank && self::is_blank(&bytes) {
        return Ok((None, None));
    }
    let first = match frame::look(&bytes) {
        Look::Frame(first) => Some(first).filter(|first| first.header.epoch == needed.epoch),
        Look::UnknownVersion(version) => {
            return Err(OpenError::UnknownVersion { path, version: u32::from(version) });
        }
        Look::Absent | Look::Damaged | Look::Short(_) => None,
    };
    let salt = first.as_ref().map(|first| first.header.salt);
    Ok((salt, Some(Loaded { path, bytes: Bytes::from_owner(bytes), first })))
}

/// Whether nothing was ever written: a file whose begin was lost has something behind it.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK_BYTES).all(|block| ZEROS.starts_with(block))
}

/// Whether the begin of a file says that it was not written to since what it holds was needed. If its first frames are
/// lost or damaged others of them say otherwise.
fn has_only_older(probe: &[u8], needed: ReplayFrom) -> bool {
    let is_old = |at: usize| match frame::look(probe.get(at..).unwrap_or_default()) {
        Look::Frame(Frame { header, .. }) => {
            Some(header.epoch == needed.epoch && header.sequence < needed.sequence)
        }
        Look::Absent => None,
        Look::UnknownVersion(_) | Look::Damaged | Look::Short(_) => Some(false),
    };
    is_old(0) == Some(true) && (0..probe.len()).step_by(BLOCK_BYTES).all(|at| is_old(at).unwrap_or(true))
}

/// What all frames of one start have in common.
#[derive(Clone, Copy)]
struct Epoch {
    number: u64,
    /// Not known if no file's first frame can be read: then nothing is followed, and any frame vouches.
    salt: Option<u64>,
}

impl Epoch {
    fn has(self, frame: &Frame) -> bool {
        frame.header.epoch == self.number && self.salt.is_none_or(|salt| salt == frame.header.salt)
    }
}

/// Follows one epoch's chain from the file that `first` begins, and says what of it is lost.
fn follow(files: &[Loaded], epoch: Epoch, first: u64, replayed: &mut Replayed) {
    let chain = chain(files, epoch, first);
    let expected = first + u64::try_from(chain.len()).unwrap_or(0);
    // A frame says up to where all was durable when it was built.
    let durable = durable(files, epoch);
    let Epoch { number, .. } = epoch;
    for link in chain {
        let sequence = link.frame.header.sequence;
        if !link.bad.is_empty() && durable.as_ref().is_none_or(|(known, ..)| *known < sequence) {
            // Torn, and all behind it with it: nothing was acknowledged behind a frame that was not durable.
            return;
        }
        take(&link, number, replayed);
        replayed.frames += 1;
    }
    if let Some((_, path, position)) = durable.filter(|(known, ..)| *known >= expected) {
        let what = format!(
            "frame {expected} of epoch {number} cannot be read, but the frame at {position} of {} says it was durable",
            path.display()
        );
        let end = files.iter().find(|file| file.first.is_none()).map_or(path, |file| file.path.clone());
        replayed.damage.push(JournalDamage { key: None, epoch: number, path: end, what });
    }
}

/// The frames that follow each other from `first` on, by all rules but the last.
fn chain(files: &[Loaded], epoch: Epoch, first: u64) -> Vec<Link<'_>> {
    let mut chain: Vec<Link<'_>> = Vec::new();
    let mut expected = first;
    let begins = |sequence| {
        let begins = |first: &Frame| first.header.sequence == sequence;
        files.iter().find(|file| file.first.as_ref().is_some_and(begins))
    };
    loop {
        let last = chain.last();
        let wanted = Wanted { epoch, sequence: expected, predecessor: last.map(|link| link.frame.checksum) };
        let here = last.and_then(|link| wanted.at(link.file, link.position + link.frame.bytes));
        let Some(link) = here.or_else(|| wanted.at(begins(expected)?, 0)) else { return chain };
        chain.push(link);
        expected += 1;
    }
}

/// Up to which frame some frame of the epoch says that all was durable, and where that frame is.
fn durable(files: &[Loaded], epoch: Epoch) -> Option<(u64, PathBuf, usize)> {
    let mut durable: Option<(u64, PathBuf, usize)> = None;
    for file in files {
        let mut position = 0;
        while position < file.bytes.len() {
            if let Look::Frame(frame) = frame::look(file.bytes.get(position..).unwrap_or_default())
                && epoch.has(&frame)
            {
                let known = frame.header.durable_sequence;
                if durable.as_ref().is_none_or(|(best, ..)| *best < known) {
                    durable = Some((known, file.path.clone(), position));
                }
                // Skips a valid frame's payload: records may contain anything, also what looks like a frame.
                position += frame.bytes;
            } else {
                position += BLOCK_BYTES;
            }
        }
    }
    durable
}

/// A place in the chain.
struct Wanted {
    epoch: Epoch,
    sequence: u64,
    predecessor: Option<u32>,
}

impl Wanted {
    /// The frame at `position`, if it is valid for this place by rules 1 to 5 of [`frame`].
    fn at<'a>(&self, file: &'a Loaded, position: usize) -> Option<Link<'a>> {
        let bytes = file.bytes.get(position..)?;
        let Look::Frame(frame) = frame::look(bytes) else { return None };
        let header = frame.header;
        let chained = self.predecessor.is_none_or(|checksum| header.predecessor == checksum);
        if !self.epoch.has(&frame) || header.sequence != self.sequence || !chained {
            return None;
        }
        let mut bad = Vec::new();
        let mut run_at = frame.payload_at;
        for (index, descriptor) in frame.descriptors.iter().enumerate() {
            let end = run_at.checked_add(usize::try_from(descriptor.len).ok()?)?;
            if !payload_matches(descriptor, bytes.get(run_at..end)?) {
                bad.push(index);
            }
            run_at = end;
        }
        Some(Link { file, position, frame, bad })
    }
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

fn take(link: &Link<'_>, epoch: u64, replayed: &mut Replayed) {
    let mut run_at = link.position + link.frame.payload_at;
    for (index, descriptor) in link.frame.descriptors.iter().enumerate() {
        let end = run_at + usize::try_from(descriptor.len).unwrap_or(0);
        if link.bad.contains(&index) {
            let what = format!("the entry at {run_at} does not have its checksum");
            let (key, path) = (Some(descriptor.key), link.file.path.clone());
            replayed.damage.push(JournalDamage { key, epoch, path, what });
        } else {
            let payload = link.file.bytes.slice(run_at..end);
            replayed.entries.push(ReplayedEntry { epoch, descriptor: *descriptor, payload });
        }
        run_at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{self, FrameHeader};
    use super::{BLOCK_BYTES, ReplayFrom, has_only_older, is_blank};

    /// Empty frames of these sequences, one a block.
    fn file(sequences: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; sequences.len() * BLOCK_BYTES];
        for (block, sequence) in bytes.chunks_exact_mut(BLOCK_BYTES).zip(sequences) {
            let header =
                FrameHeader { epoch: 3, salt: 5, sequence: *sequence, durable_sequence: 0, predecessor: 0 };
            frame::encode(block, header, std::iter::empty());
        }
        bytes
    }

    #[test]
    fn a_journal_file_is_read_through_unless_all_its_begin_is_older_than_what_is_needed() {
        let skips = |probe: &[u8]| has_only_older(probe, ReplayFrom { epoch: 3, sequence: 7 });
        assert!(!skips(&[0; 4 * BLOCK_BYTES]) && is_blank(&[0; 4 * BLOCK_BYTES]), "it may be lost");
        assert!(skips(&file(&[4, 5, 6])), "a lap that ended before");
        assert!(!skips(&file(&[7, 8])), "needed");
        assert!(!skips(&file(&[9, 5, 6])), "begun anew");
        assert!(!skips(&file(&[4, 9, 6])), "begun anew, and the first frame was lost on the way");
        for lost in [0, 1, 100] {
            let mut damaged = file(&[9, 5, 6]);
            damaged[lost] ^= 1;
            assert!(!skips(&damaged), "begun anew, and byte {lost} of the first frame is damaged");
        }
        let mut wiped = file(&[7, 8]);
        wiped[..BLOCK_BYTES].fill(0);
        assert!(!skips(&wiped), "the first block was lost");
        let other = |epoch| has_only_older(&file(&[4]), ReplayFrom { epoch, sequence: 7 });
        assert!(!other(2) && !other(4), "of another epoch than its name says");
    }
}
