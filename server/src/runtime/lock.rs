//! One process a data directory: a lock on `.lock`, the file Apache Kafka locks too, held until the process
//! ends. The kernel gives it back however the process ends.
//!
//! The lock is of the kind that Java's file locks collide with (`fcntl`, on the open file), so that Apache's
//! broker and this one keep each other out: both would write the metadata log.

#[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::room::is_no_space;

/// The held lock.
#[derive(Debug)]
pub struct DirectoryLock {
    #[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
    _file: File,
}

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it. The file of an Apache broker does not say who.
    #[error("{directory} is in use by process {holder}: one broker a directory. Stop it, or set log.dirs to another directory", directory = directory.display())]
    Held {
        /// The directory.
        directory: PathBuf,
        /// What stands in the lock file.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("{directory} cannot be used for data: {source}. It must be a directory this user may write", directory = directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the directory if it is not there, and locks it.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "before any executor runs; this module owns the lock file"
)]
pub fn lock(directory: &Path) -> Result<DirectoryLock, LockError> {
    let unusable = |source| LockError::Unusable { directory: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let path = directory.join(".lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(unusable)?;
    match lock_as(&file, libc::F_WRLCK) {
        Ok(()) => {
            match write_holder(&mut file) {
                // Who holds it is only told to others.
                Err(error) if !is_no_space(&error) => Err(unusable(error)),
                _ => Ok(DirectoryLock { _file: file }),
            }
        }
        Err(Errno::EAGAIN | Errno::EACCES) => {
            Err(LockError::Held { directory: directory.to_owned(), holder: holder(&mut file) })
        }
        Err(errno) => Err(unusable(errno.into())),
    }
}

/// Says who holds the lock, in the block that said it before.
#[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
fn write_holder(file: &mut File) -> io::Result<()> {
    let text = std::process::id().to_string();
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Keeps brokers, and nobody else, out of a directory that is only read: writes nothing, and makes no lock file. `None`
/// if there is none, since no broker ever used the directory.
#[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
pub fn lock_for_reading(directory: &Path) -> Result<Option<DirectoryLock>, LockError> {
    let unusable = |source| LockError::Unusable { directory: directory.to_owned(), source };
    let mut file = match File::open(directory.join(".lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    match lock_as(&file, libc::F_RDLCK) {
        Ok(()) => Ok(Some(DirectoryLock { _file: file })),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            Err(LockError::Held { directory: directory.to_owned(), holder: holder(&mut file) })
        }
        Err(errno) => Err(unusable(errno.into())),
    }
}

/// What the process that has the lock wrote.
#[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    if read.is_err() || holder.is_empty() {
        "unknown".clone_into(&mut holder);
    }
    holder
}

/// Locks a file from its first byte to wherever it may grow, for as long as it is open.
#[expect(clippy::disallowed_types, reason = "this module owns the lock file")]
fn lock_as(file: &File, kind: libc::c_int) -> nix::Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "two constants below 8, which the kernel takes as i16"
    )]
    let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
    let whole = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        let text = lock(directory.path()).unwrap_err().to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(held);
        lock(directory.path()).unwrap();
    }

    #[test]
    fn readers_share_a_directory_and_keep_a_broker_out() {
        let directory = tempfile::tempdir().unwrap();
        assert!(lock_for_reading(directory.path()).unwrap().is_none());
        drop(lock(directory.path()).unwrap());
        let readers =
            [lock_for_reading(directory.path()).unwrap(), lock_for_reading(directory.path()).unwrap()];
        lock(directory.path()).unwrap_err();
        drop(readers);
        let _broker = lock(directory.path()).unwrap();
        lock_for_reading(directory.path()).unwrap_err();
    }
}
