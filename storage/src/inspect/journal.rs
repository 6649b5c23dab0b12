//! The journal of one folder: its frames as they stand, and where a chain breaks that should not. The rules are those of
//! [`crate::journal::replay`], which says whether a store opens; this says where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::io::BLOCK_BYTES;
use crate::io::IoError;
use crate::io::read_only::{list_directory, read_file};
use crate::journal::frame::{self, Descriptor, Frame, Look};
use crate::journal::replay::{ReplayFrom, epoch_of, payload_matches};
use crate::segment::segment::{to_u64, to_usize};

/// A journal file is read whole, as a start does; a longer one is not ours.
pub(super) const FILE_BYTES_MAX: usize = 4 << 30;

/// A frame of a file, valid in itself.
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) frame: Frame,
    /// Where the first payload run lies that is not what its descriptor says, and which that is.
    pub(super) bad_run: Option<(u64, Descriptor)>,
}

/// What stands in a journal file.
pub(super) enum Standing {
    /// A frame.
    Frame(Placed),
    /// The begin of a frame that is not valid.
    Damaged,
    /// A frame of a version that this build does not know.
    UnknownVersion(u16),
}

/// The salt in a file's first frame: those of the same start have it, too, and no record's bytes.
fn salt_of(bytes: &[u8], epoch: u64) -> Option<u64> {
    let Look::Frame(Frame { header, .. }) = frame::look(bytes) else { return None };
    (header.epoch == epoch).then_some(header.salt)
}

/// Gives everything that looks like a frame of `epoch` to `each`, with its position.
pub(super) fn walk(bytes: &[u8], epoch: u64, mut each: impl FnMut(u64, Standing)) {
    let salt = salt_of(bytes, epoch);
    let is_ours =
        |frame: &Frame| frame.header.epoch == epoch && salt.is_none_or(|salt| salt == frame.header.salt);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let mut step = BLOCK_BYTES;
        match frame::look(rest) {
            Look::Frame(frame) if is_ours(&frame) => {
                // Records may contain anything, also what looks like a frame.
                step = frame.bytes;
                let bad_run = bad_run(rest, &frame).map(|(run, descriptor)| (to_u64(at + run), descriptor));
                each(to_u64(at), Standing::Frame(Placed { position: to_u64(at), frame, bad_run }));
            }
            Look::Frame(_) | Look::Absent => {}
            Look::Damaged | Look::Short(_) => each(to_u64(at), Standing::Damaged),
            Look::UnknownVersion(version) => each(to_u64(at), Standing::UnknownVersion(version)),
        }
        at += step;
    }
}

/// The first run that does not match, by its place from the frame's begin.
fn bad_run(bytes: &[u8], frame: &Frame) -> Option<(usize, Descriptor)> {
    let mut at = frame.payload_at;
    for descriptor in &frame.descriptors {
        let len = to_usize(descriptor.len.into());
        let run = bytes.get(at..at.saturating_add(len));
        if !run.is_some_and(|run| payload_matches(descriptor, run)) {
            return Some((at, *descriptor));
        }
        at += len;
    }
    None
}

/// One epoch's files.
#[derive(Default)]
struct Epoch {
    files: Vec<PathBuf>,
    /// The salt of the files' first frames.
    salt: Option<u64>,
    /// Frames by sequence: the number of their file and where they stand.
    frames: BTreeMap<u64, (usize, Placed)>,
    /// Places where a frame begins that is not valid.
    damaged: Vec<(usize, u64)>,
}

/// Checks the chains of one journal folder from where its checkpoint needs them. `name` says whose an entry is.
pub(super) fn check(
    folder: &Path,
    from: ReplayFrom,
    name: &dyn Fn(&Descriptor) -> String,
) -> Result<Vec<Finding>, IoError> {
    let mut findings = Vec::new();
    let mut epochs: BTreeMap<u64, (Epoch, Vec<(usize, Placed)>)> = BTreeMap::new();
    for file in list_directory(folder)? {
        let Some(number) = epoch_of(&file).filter(|epoch| *epoch >= from.epoch) else { continue };
        let path = folder.join(file);
        let bytes = read_file(&path, FILE_BYTES_MAX)?;
        let (epoch, frames) = epochs.entry(number).or_default();
        let index = epoch.files.len();
        epoch.salt = epoch.salt.or(salt_of(&bytes, number));
        walk(&bytes, number, |position, standing| match standing {
            Standing::Frame(placed) => frames.push((index, placed)),
            Standing::Damaged => epoch.damaged.push((index, position)),
            Standing::UnknownVersion(version) => {
                let what = format!("a frame of format version {version}, which this build does not know");
                findings.push(Finding::damage(&path, position, what));
            }
        });
        epoch.files.push(path);
    }
    for (number, (mut epoch, frames)) in epochs {
        let is_ours = |placed: &Placed| epoch.salt.is_none_or(|salt| salt == placed.frame.header.salt);
        let ours = frames.into_iter().filter(|(_, placed)| is_ours(placed));
        epoch.frames = ours.map(|(file, placed)| (placed.frame.header.sequence, (file, placed))).collect();
        let first = if number == from.epoch { from.sequence } else { 1 };
        findings.extend(epoch.broken(number, first, name));
    }
    Ok(findings)
}

impl Epoch {
    /// Where the chain ends before it should.
    fn broken(&self, epoch: u64, first: u64, name: &dyn Fn(&Descriptor) -> String) -> Option<Finding> {
        let mut expected = first;
        let mut before: Option<(usize, &Placed)> = None;
        while let Some((file, placed)) = self.frames.get(&expected) {
            let chained =
                before.is_none_or(|(_, before)| placed.frame.header.predecessor == before.frame.checksum);
            if !chained || placed.bad_run.is_some() {
                break;
            }
            before = Some((*file, placed));
            expected += 1;
        }
        let vouched = self.frames.values().map(|(_, placed)| placed.frame.header.durable_sequence).max();
        let durable = vouched.is_some_and(|vouched| vouched >= expected);
        let what = format!("frame {expected} of epoch {epoch} cannot be read");
        let path = |file: usize| self.files.get(file).map_or(Path::new(""), PathBuf::as_path);
        let found = |file: usize, position: u64, why: &str| {
            Some(if durable {
                Finding::damage(path(file), position, format!("{what}, and it was durable: {why}"))
            } else {
                Finding::note(path(file), position, format!("{what}, and nobody was told of it: {why}"))
            })
        };
        if let Some((file, placed)) = self.frames.get(&expected) {
            return match &placed.bad_run {
                Some((position, descriptor)) => {
                    found(*file, *position, "an entry's bytes are not those that were written")
                        .map(|finding| finding.of(&name(descriptor)))
                }
                None => found(*file, placed.position, "it does not name its predecessor's checksum"),
            };
        }
        let next = before.map(|(file, placed)| (file, placed.position + to_u64(placed.frame.bytes)));
        let here = |place: &&(usize, u64)| {
            Some(**place) == next || (place.1 == 0 && next.is_none_or(|next| next.0 != place.0))
        };
        if let Some((file, position)) = self.damaged.iter().find(here) {
            return found(*file, *position, "its header or descriptors are not those that were written");
        }
        let (file, position) = next.unwrap_or((0, 0));
        durable.then(|| found(file, position, "it is not there")).flatten()
    }
}
