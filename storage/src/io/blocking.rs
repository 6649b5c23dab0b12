//! File-system calls that block: run only on the executor's helper threads, never on a shard.
//! Each returns what the kernel said; the caller names operation and path.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the module that owns blocking file access"
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, open, posix_fadvise};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

use super::{AlignedBuffer, LookFor, Looked, OpenHow};

/// New files are readable by the group, writable by the owner.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o640);

/// Opens for direct I/O; through the page cache where the file system has none.
pub(super) fn open_direct(path: &Path, how: OpenHow) -> io::Result<OwnedFd> {
    let access = match how {
        OpenHow::Read => OFlag::O_RDONLY,
        OpenHow::ReadWrite => OFlag::O_RDWR,
        OpenHow::Create => OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL,
    };
    match open(path, access | OFlag::O_DIRECT | OFlag::O_CLOEXEC, FILE_MODE) {
        // The file was made all the same, and was not there before.
        Err(Errno::EINVAL) => Ok(open(path, (access - OFlag::O_EXCL) | OFlag::O_CLOEXEC, FILE_MODE)?),
        opened => Ok(opened?),
    }
}

/// A second, buffered, read-only descriptor of an open file, whatever its name is by now. The kernel reads nothing ahead
/// through it: what comes into the page cache unasked would be there unchecked.
pub(super) fn reopen_buffered(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    let name = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let buffered = open(name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    posix_fadvise(buffered.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)?;
    Ok(buffered)
}

/// Most small files fit into this: they are read without asking for their length first.
const SMALL_FILE_BYTES: usize = 512;

/// Makes a directory and those of its parents that are missing, each durable in its own parent.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    if !parent.is_dir() {
        create_directory(&parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        _ => {}
    }
    sync_directory(&parent)
}

/// Names in a directory, sorted. A name that is not UTF-8 is no name of ours and is left out.
pub(super) fn list_directory(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Files of a directory, sorted by name, and the lengths of those whose names end in one of `suffixes`, else 0.
pub(super) fn list_files(path: &Path, suffixes: &[&str]) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            // A look at each file takes most of the time where there are many.
            if !suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                if entry.file_type()?.is_file() {
                    files.push((name, 0));
                }
                continue;
            }
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((name, metadata.len()));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Looks into a folder: see [`super::look`].
pub(super) fn look_into(folder: &Path, look_for: &LookFor) -> io::Result<Looked> {
    let files = list_files(folder, look_for.sized)?;
    let mut looked = Looked::default();
    for name in look_for.small(&files) {
        if let Ok(content) = read_file(&folder.join(name), look_for.small_bytes_max) {
            looked.read.push((name.to_owned(), content));
        }
    }
    if let Some((name, ranges)) = look_for.ranges(&files)
        && let Ok(file) = open_direct(&folder.join(name), OpenHow::ReadWrite)
    {
        let piece = |(from, size): (u64, usize)| {
            let mut buffer = AlignedBuffer::zeroed(size);
            let count = pread(&file, &mut buffer, i64::try_from(from).ok()?).ok()?;
            buffer.set_len(count);
            Some((from, Bytes::from_owner(buffer)))
        };
        looked.ends = Some((name.to_owned(), ranges.into_iter().filter_map(piece).collect()));
    }
    looked.files = files;
    Ok(looked)
}

/// `fsync` of a directory.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// `rename`.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// `unlink`.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Removes a directory and all in it.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// A whole file of at most `size_max` bytes; a larger one is `FileTooLarge`.
pub(super) fn read_file(path: &Path, size_max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let limit = u64::try_from(size_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::with_capacity(SMALL_FILE_BYTES.min(size_max));
    file.take(limit).read_to_end(&mut content)?;
    if content.len() > size_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// Writes `content` beside `path`, syncs it, renames it over `path`, syncs the directory.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let mut file = File::from(open(&temporary, flags, FILE_MODE)?);
    file.write_all(content)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_directory(&parent_of(path))
}

/// Sets the length.
pub(super) fn truncate(descriptor: &OwnedFd, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(nix::unistd::ftruncate(descriptor.as_fd(), size)?)
}

/// The length; answered from the inode in memory, so it does not block.
pub(super) fn size(descriptor: &OwnedFd) -> io::Result<u64> {
    let status = nix::sys::stat::fstat(descriptor.as_fd())?;
    u64::try_from(status.st_size).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// When it was last written, in milliseconds since 1970; from the inode in memory, too.
pub(super) fn modified(descriptor: &OwnedFd) -> io::Result<i64> {
    let status = nix::sys::stat::fstat(descriptor.as_fd())?;
    Ok(status.st_mtime.saturating_mul(1000).saturating_add(status.st_mtime_nsec / 1_000_000))
}

/// The name under which [`replace_file`] writes: the file's own with `.tmp` after it.
pub(super) fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

/// The directory an entry stands in; `.` for a bare name.
pub(super) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        Some(_) => PathBuf::from("."),
        None => path.to_path_buf(),
    }
}
