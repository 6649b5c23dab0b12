//! The seam for tools that look at a stopped store: what reads blocks the calling thread, what would change anything is
//! an error. It lets [`crate::inspect`] use the decoders that a start uses, and cannot write even by mistake.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{OFlag, PosixFadviseAdvice, open, posix_fadvise};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

use super::{AlignedBuffer, Io, IoError, IoFile, OpenHow, blocking};
use crate::types::TimestampMs;

/// Files of a stopped store, read only. Futures are ready when they are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnlyIo;

/// A file that is open for reading, by any number of threads.
#[derive(Clone, Debug)]
pub struct ReadOnlyFile {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
}

fn refused<T>(operation: &'static str, path: &Path) -> Result<T, IoError> {
    let source = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "nothing is written here");
    Err(IoError { operation, path: path.to_owned(), source })
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IoError {
    let path = path.to_owned();
    move |source| IoError { operation, path, source }
}

impl ReadOnlyFile {
    /// Opens a file through the page cache.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let descriptor = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed("open", path)(errno.into()))?;
        Ok(Self { path: path.to_owned(), descriptor: Arc::new(descriptor) })
    }

    /// Its length.
    pub fn bytes(&self) -> Result<u64, IoError> {
        blocking::size(&self.descriptor).map_err(failed("stat", &self.path))
    }

    /// Reads at `position` until `buffer` is full or the file ends; the count is what was read.
    pub fn read(&self, position: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = position.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            match pread(&self.descriptor, rest, at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(failed("read", &self.path)(errno.into())),
            }
        }
        Ok(filled)
    }

    /// Lets the kernel begin to read a part of the file that will be asked for. It is a wish: nothing says if it fails.
    pub fn read_ahead(&self, position: u64, size: usize) {
        let (Ok(position), Ok(size)) = (i64::try_from(position), i64::try_from(size)) else { return };
        let _ = posix_fadvise(&self.descriptor, position, size, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

/// Names in a directory, sorted.
pub fn list_directory(path: &Path) -> Result<Vec<String>, IoError> {
    blocking::list_directory(path).map_err(failed("list", path))
}

/// Names of a directory's files, sorted, with their lengths.
pub fn list_files(path: &Path) -> Result<Vec<(String, u64)>, IoError> {
    blocking::list_files(path, &[""]).map_err(failed("list", path))
}

/// The whole of a small file.
pub fn read_file(path: &Path, size_max: usize) -> Result<Vec<u8>, IoError> {
    blocking::read_file(path, size_max).map_err(failed("read", path))
}

impl Io for ReadOnlyIo {
    type File = ReadOnlyFile;

    async fn open(&self, path: &Path, how: OpenHow) -> Result<ReadOnlyFile, IoError> {
        if how == OpenHow::Read { ReadOnlyFile::open(path) } else { refused("open for writing", path) }
    }

    /// One that is there is as good as one made.
    async fn create_directory(&self, path: &Path) -> Result<(), IoError> {
        if path.is_dir() { Ok(()) } else { refused("create directory", path) }
    }

    async fn list_directory(&self, path: &Path) -> Result<Vec<String>, IoError> {
        list_directory(path)
    }

    async fn list_files(&self, path: &Path) -> Result<Vec<(String, u64)>, IoError> {
        list_files(path)
    }

    async fn sync_directory(&self, path: &Path) -> Result<(), IoError> {
        refused("sync", path)
    }

    async fn rename(&self, from: &Path, _to: &Path) -> Result<(), IoError> {
        refused("rename", from)
    }

    async fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        refused("remove", path)
    }

    async fn remove_directory(&self, path: &Path) -> Result<(), IoError> {
        refused("remove", path)
    }

    async fn read_file(&self, path: &Path, size_max: usize) -> Result<Vec<u8>, IoError> {
        read_file(path, size_max)
    }

    async fn replace_file(&self, path: &Path, _content: Vec<u8>) -> Result<(), IoError> {
        refused("replace", path)
    }

    async fn compute<R: Send + 'static>(&self, computation: impl FnOnce() -> R + Send + 'static) -> R {
        computation()
    }

    /// Nothing that only reads has tasks: it never runs.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(task);
    }

    async fn sleep(&self, _duration: Duration) {}

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self) -> u64 {
        1
    }

    fn wall_clock(&self) -> TimestampMs {
        TimestampMs(0)
    }
}

impl IoFile for ReadOnlyFile {
    fn path(&self) -> &Path {
        &self.path
    }

    async fn read_at(&self, position: u64, size: usize) -> Result<AlignedBuffer, IoError> {
        let left = usize::try_from(self.bytes()?.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buffer = AlignedBuffer::zeroed(size.min(left));
        let count = self.read(position, &mut buffer)?;
        buffer.set_len(count);
        Ok(buffer)
    }

    async fn write_at(&self, _buffer: AlignedBuffer, _position: u64) -> Result<AlignedBuffer, IoError> {
        refused("write", &self.path)
    }

    async fn write_durable_at(
        &self,
        _buffer: AlignedBuffer,
        _position: u64,
    ) -> Result<AlignedBuffer, IoError> {
        refused("write", &self.path)
    }

    async fn sync(&self) -> Result<(), IoError> {
        refused("sync", &self.path)
    }

    async fn truncate(&self, _size: u64) -> Result<(), IoError> {
        refused("truncate", &self.path)
    }

    async fn allocate(&self, _position: u64, _size: u64) -> Result<(), IoError> {
        refused("allocate", &self.path)
    }

    async fn size(&self) -> Result<u64, IoError> {
        self.bytes()
    }

    async fn modified(&self) -> Result<TimestampMs, IoError> {
        blocking::modified(&self.descriptor).map(TimestampMs).map_err(failed("stat", &self.path))
    }

    async fn send_descriptor(&self) -> Result<Option<Arc<OwnedFd>>, IoError> {
        Ok(None)
    }
}
