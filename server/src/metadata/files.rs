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
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_dir)
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

/// A file that only grows. One owner; closed when dropped.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    bytes: u64,
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
        Ok(Self { file, bytes })
    }

    /// Appends; durable on return. After an error the file's end is unknown and nothing more may be appended.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.file.sync_data()?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}
