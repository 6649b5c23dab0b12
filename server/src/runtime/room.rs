//! Room on the device for the first steps of a start, which write small files: on a full one what its directory keeps for that
//! is given up (`ringmain_storage::manager::reserve`, decision record 0007).

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use ringmain_storage::manager::reserve::RESERVE_FILE;

/// More than what a start writes before its journals.
const NEEDED_BYTES: i64 = 256 << 10;
/// The file that tries.
const PROBE_FILE: &str = ".ringmain-room";

/// Whether an error says that the device, or the quota, is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Gives up what the directory keeps if there is no room for small files. That there is none all the same is the business of
/// who needs it.
#[expect(clippy::disallowed_methods, reason = "before any executor runs")]
pub fn see_to_some(directory: &Path) {
    let tried = try_room(&directory.join(PROBE_FILE));
    if tried.is_err_and(|error| is_no_space(&error))
        && std::fs::remove_file(directory.join(RESERVE_FILE)).is_ok()
    {
        tracing::error!("no space left in {}: the start uses what was kept for it", directory.display());
    }
}

/// Allocates what is needed, and gives it back. A file system that allocates nothing ahead has room as far as one can tell.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "before any executor runs")]
fn try_room(probe: &Path) -> io::Result<()> {
    let file = std::fs::File::create(probe)?;
    let allocated = fallocate(&file, FallocateFlags::empty(), 0, NEEDED_BYTES);
    drop(file);
    std::fs::remove_file(probe)?;
    Ok(allocated?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_room_nothing_is_given_up_and_nothing_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(RESERVE_FILE), "").unwrap();
        see_to_some(directory.path());
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), [RESERVE_FILE]);
    }
}
