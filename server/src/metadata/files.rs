//! The files of the control plane: blocking, on its own thread, where nobody else waits for the disk.
//! Whatever these functions report as written is on stable media.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the control thread owns its files and may block on them"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

/// The bytes of a file; `None` if there is none.
pub fn read_optional(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file as a whole: after a crash it holds the old bytes or the new ones.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // Apache passes over names that end so when it looks for snapshots, and deletes what is left of them.
    name.push(".part");
    let beside = path.with_file_name(name);
    remove(&beside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // On a full device it would take room that others need.
        drop(remove(&beside));
        return Err(error);
    }
    drop(file);
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// The same, for what only repeats what the metadata log says: on a full device the old bytes stay, and a later start
/// writes it.
pub fn write_whole_if_room(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match write_whole(path, bytes, mode) {
        Err(error) if is_no_space(&error) => {
            tracing::warn!("no space left for {}: it stays as it was", path.display());
            Ok(())
        }
        written => written,
    }
}

/// Whether an error says that the device, or the quota, is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory and what is missing above it.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    path.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), sync_dir)
}

/// Names of the files in a directory, sorted.
pub fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Removes a file if it is there. Not durable until the directory is synced.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Blocks are allocated so far ahead of what is written: on a full device topics can still be deleted.
const AHEAD_BYTES: u64 = 1 << 20;

/// A file that only grows. One owner; closed when dropped.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    bytes: u64,
    /// Up to where it has blocks.
    allocated: u64,
}

impl AppendFile {
    /// Opens or makes the file, cuts it to `bytes` and makes that durable.
    pub fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        if file.metadata()?.len() != bytes {
            file.set_len(bytes)?;
        }
        file.sync_all()?;
        path.parent().map_or(Ok(()), sync_dir)?;
        let mut opened = Self { file, bytes, allocated: bytes };
        opened.allocate(0)?;
        Ok(opened)
    }

    /// Appends; durable on return. After [`is_no_space`] the file is as it was; after any other error its end is unknown
    /// and nothing more may be appended.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.allocate(count)?;
        if let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            // Where blocks cannot be had ahead, this is where it shows.
            if is_no_space(&error) {
                let cut = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all());
                cut.map_err(io::Error::other)?;
            }
            return Err(error);
        }
        self.file.sync_data()?;
        self.bytes += count;
        Ok(())
    }

    /// Sees to blocks for `count` bytes more, and some ahead if there are any.
    fn allocate(&mut self, count: u64) -> io::Result<()> {
        let end = self.bytes + count;
        if end + AHEAD_BYTES / 2 <= self.allocated {
            return Ok(());
        }
        match self.allocate_to(end + AHEAD_BYTES) {
            // What the last start allocated may do.
            Err(error) if is_no_space(&error) && end > self.allocated => self.allocate_to(end),
            // What is allocated will do, or this file system allocates when it writes.
            _ => Ok(()),
        }
    }

    fn allocate_to(&mut self, end: u64) -> io::Result<()> {
        let length = i64::try_from(end - self.bytes).unwrap_or(i64::MAX);
        let from = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length)?;
        self.allocated = end.max(self.allocated);
        Ok(())
    }
}
