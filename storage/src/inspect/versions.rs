//! Whether a newer build wrote the journals of a log directory: asked before a start writes anything there.

use std::path::Path;

use futures::executor::block_on;

use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::error::OpenError;
use crate::io::BLOCK_BYTES;
use crate::io::read_only::{ReadOnlyFile, ReadOnlyIo, list_directory, read_file};
use crate::journal::directories::{self, JournalPlace, survey};
use crate::journal::frame::{self, Look};
use crate::journal::replay::epoch_of;

/// Names the first file whose format this build does not know. What else may be wrong with them the start itself says.
pub fn check(log_dir: &Path) -> Result<(), OpenError> {
    if !directories::root(log_dir).is_dir() {
        return Ok(());
    }
    match block_on(survey(&ReadOnlyIo, log_dir)) {
        Ok(found) => found.places.iter().try_for_each(|place| check_place(place, found.settled)),
        Err(error) => only_unknown(error),
    }
}

fn check_place(place: &JournalPlace, settled: u64) -> Result<(), OpenError> {
    if place.epoch < settled {
        return Ok(());
    }
    let path = place.path.join(checkpoint::FILE_NAME);
    if let Ok(file) = read_file(&path, checkpoint::BYTES_MAX)
        && let Err(CheckpointError::UnknownVersion(version)) = Checkpoint::read(&file)
    {
        return Err(OpenError::UnknownVersion { path, version });
    }
    for name in list_directory(&place.path).unwrap_or_default() {
        if epoch_of(&name).is_none_or(|epoch| epoch < settled) {
            continue;
        }
        let path = place.path.join(name);
        let mut begin = [0; BLOCK_BYTES];
        let read = ReadOnlyFile::open(&path).and_then(|file| file.read(0, &mut begin));
        if let Ok(bytes) = read
            && let Look::UnknownVersion(version) = frame::look(begin.get(..bytes).unwrap_or_default())
        {
            return Err(OpenError::UnknownVersion { path, version: version.into() });
        }
    }
    Ok(())
}

fn only_unknown(error: OpenError) -> Result<(), OpenError> {
    match error {
        OpenError::UnknownVersion { .. } => Err(error),
        _ => Ok(()),
    }
}
