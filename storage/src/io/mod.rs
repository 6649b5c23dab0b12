//! The one seam between the engine and the world: files, tasks, time. Everything above it is
//! generic over [`Io`], so that one seed gives one trace under the simulated disk.
//! All of it lives on one shard's thread; nothing here is `Send`.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::types::TimestampMs;

/// Grain of direct I/O here: positions, sizes and addresses are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// Why an I/O call failed. `operation` and `path` make the message complete for an operator.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {source}", path = path.display())]
pub struct IoError {
    /// The operation, as a verb: `write`, `sync`, `open`.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel (or the simulated disk) said.
    pub source: std::io::Error,
}

/// How a file is opened for direct I/O.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenHow {
    /// It exists; read only.
    Read,
    /// It exists; read and write.
    ReadWrite,
    /// It must not exist; made, read and write. Its directory entry is durable only after `sync_directory`.
    Create,
}

/// Files, tasks and time of one shard. Cheap to clone.
pub trait Io: Clone + 'static {
    /// An open file.
    type File: IoFile;

    /// Opens `path` for direct I/O.
    fn open(&self, path: &Path, how: OpenHow) -> impl Future<Output = Result<Self::File, IoError>>;
    /// Makes a directory and its parents; the entries are durable on return.
    fn create_directory(&self, path: &Path) -> impl Future<Output = Result<(), IoError>>;
    /// Names (not paths) in a directory, sorted. `NotFound` if there is none.
    fn list_directory(&self, path: &Path) -> impl Future<Output = Result<Vec<String>, IoError>>;
    /// Names of the files in a directory, sorted, with their lengths. Opens none of them.
    fn list_files(&self, path: &Path) -> impl Future<Output = Result<Vec<(String, u64)>, IoError>>;
    /// The same, but lengths only of names that end in one of `suffixes`, else 0: for folders of many files.
    fn list_sizes_of(
        &self,
        path: &Path,
        suffixes: &'static [&'static str],
    ) -> impl Future<Output = Result<Vec<(String, u64)>, IoError>> {
        let _ = suffixes;
        self.list_files(path)
    }
    /// Makes creations, renames and removals in `path` durable.
    fn sync_directory(&self, path: &Path) -> impl Future<Output = Result<(), IoError>>;
    /// Renames a file or directory; durable after both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = Result<(), IoError>>;
    /// Removes a file; durable after its directory is synced.
    fn remove_file(&self, path: &Path) -> impl Future<Output = Result<(), IoError>>;
    /// Removes a directory and all in it; durable after its parent is synced.
    fn remove_directory(&self, path: &Path) -> impl Future<Output = Result<(), IoError>>;
    /// The whole of a small file (checkpoints, indexes), at most `size_max` bytes, else an error.
    fn read_file(&self, path: &Path, size_max: usize) -> impl Future<Output = Result<Vec<u8>, IoError>>;
    /// Several small files by [`read_file`](Self::read_file), each whatever becomes of the others.
    fn read_files(
        &self,
        files: Vec<(PathBuf, usize)>,
    ) -> impl Future<Output = Vec<Result<Vec<u8>, IoError>>> {
        async move {
            let mut read = Vec::with_capacity(files.len());
            for (path, size_max) in files {
                read.push(self.read_file(&path, size_max).await);
            }
            read
        }
    }
    /// Looks into several folders; `None` for one that cannot be listed. See [`look`].
    fn look_into(&self, folders: Vec<(PathBuf, LookFor)>) -> impl Future<Output = Vec<Option<Looked>>> {
        look::step_by_step(self, folders)
    }
    /// Replaces a small file atomically: temporary file, sync, rename, directory sync. Durable on return.
    fn replace_file(&self, path: &Path, content: Vec<u8>) -> impl Future<Output = Result<(), IoError>>;

    /// Runs a computation that takes long on a helper thread: this one serves others meanwhile. It goes on to its end
    /// even if the future is dropped.
    fn compute<R: Send + 'static>(
        &self,
        computation: impl FnOnce() -> R + Send + 'static,
    ) -> impl Future<Output = R>;
    /// Runs a task on this shard, detached.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// Monotonic time since some fixed moment.
    fn now(&self) -> Duration;
    /// A number that nobody can foresee, and that is not 0.
    fn random(&self) -> u64;
    /// Wall-clock time.
    fn wall_clock(&self) -> TimestampMs;
}

/// An open file. Clones share the descriptor, which closes with the last of them.
/// A write whose future is dropped may still land: the buffer is kept until it has.
pub trait IoFile: Clone + 'static {
    /// Where it was opened.
    fn path(&self) -> &Path;
    /// Reads up to `size` bytes at `position`, both multiples of [`BLOCK_BYTES`]; shorter at the end of the file.
    fn read_at(&self, position: u64, size: usize) -> impl Future<Output = Result<AlignedBuffer, IoError>>;
    /// Writes the whole buffer (`len` a multiple of [`BLOCK_BYTES`]) at an aligned position. Not durable until
    /// `sync`. The buffer comes back for reuse.
    fn write_at(
        &self,
        buffer: AlignedBuffer,
        position: u64,
    ) -> impl Future<Output = Result<AlignedBuffer, IoError>>;
    /// Writes like `write_at`; on return the bytes are on stable media (`RWF_DSYNC`).
    fn write_durable_at(
        &self,
        buffer: AlignedBuffer,
        position: u64,
    ) -> impl Future<Output = Result<AlignedBuffer, IoError>>;
    /// Makes every completed write, and the size needed to read it, durable (`fdatasync`).
    fn sync(&self) -> impl Future<Output = Result<(), IoError>>;
    /// Sets the length; durable after `sync`.
    fn truncate(&self, size: u64) -> impl Future<Output = Result<(), IoError>>;
    /// Allocates blocks for `[position, position + size)` without changing the length (`FALLOC_FL_KEEP_SIZE`).
    fn allocate(&self, position: u64, size: u64) -> impl Future<Output = Result<(), IoError>>;
    /// The file's length now.
    fn size(&self) -> impl Future<Output = Result<u64, IoError>>;
    /// When it was last written, by the wall clock.
    fn modified(&self) -> impl Future<Output = Result<TimestampMs, IoError>>;
    /// A second, buffered (not `O_DIRECT`), read-only descriptor of the same file for `sendfile`; opened once and
    /// shared. The simulated disk has none.
    fn send_descriptor(&self) -> impl Future<Output = Result<Option<Arc<OwnedFd>>, IoError>>;
    /// Runs `examine` with that descriptor on a helper thread, where it may wait for the disk. It runs to its end even if
    /// the future is dropped. `Unsupported` where there is no descriptor.
    fn examine<R: Send + 'static>(
        &self,
        examine: impl FnOnce(&OwnedFd) -> std::io::Result<R> + Send + 'static,
    ) -> impl Future<Output = Result<R, IoError>> {
        drop(examine);
        let (operation, path) = ("read", self.path().to_path_buf());
        std::future::ready(Err(IoError { operation, path, source: std::io::ErrorKind::Unsupported.into() }))
    }
}

pub use buffer::AlignedBuffer;
pub use look::{LookFor, Looked};

/// Whether this process may make an `io_uring` at all; the error is the kernel's.
pub fn ring_available() -> std::io::Result<()> {
    io_uring::IoUring::new(2).map(drop)
}

mod blocking;
mod buffer;
#[cfg(test)]
mod contract_tests;
pub mod executor;
mod helper;
mod look;
pub mod page_cache;
pub mod read_only;
pub mod real;
mod ring;
pub mod sim;
