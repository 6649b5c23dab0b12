//! The real world: direct I/O on files through a private ring ([`super::ring`]), tasks and timers of the
//! thread's executor ([`super::executor`]), and blocking file-system calls on its helper threads.
//!
//! Lives on one shard's thread; must be made on it, inside the executor.

use std::cell::OnceCell;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::helper::Helper;
use super::ring::{Completion, Durability, Ring};
use super::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, LookFor, Looked, OpenHow, blocking, executor};
use crate::types::TimestampMs;

/// Files, tasks and time of one shard.
#[derive(Clone, Debug)]
pub struct RealIo {
    ring: Ring,
    helper: Rc<Helper>,
    started_at: Instant,
}

impl RealIo {
    /// For the executor this is called on; fails where `io_uring` is forbidden or memory may not be locked.
    pub fn new() -> Result<Self, IoError> {
        let ring = Ring::new().map_err(|source| IoError {
            operation: "io_uring_setup",
            path: PathBuf::new(),
            source,
        })?;
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let started_at = Instant::now();
        Ok(Self { ring, helper: Rc::default(), started_at })
    }
}

/// Runs a blocking call on a helper thread of this executor. It runs to its end even if this is dropped.
async fn off_thread<R: Send + 'static>(
    operation: &'static str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<R> + Send + 'static,
) -> Result<R, IoError> {
    let owned = path.to_path_buf();
    let called = tokio::task::spawn_blocking(move || call(&owned)).await;
    // It has panicked, or the executor ends.
    let result = called.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|source| IoError { operation, path: path.to_path_buf(), source })
}

impl Io for RealIo {
    type File = RealFile;

    async fn open(&self, path: &Path, how: OpenHow) -> Result<RealFile, IoError> {
        let descriptor = off_thread("open", path, move |path| blocking::open_direct(path, how)).await?;
        Ok(RealFile {
            ring: self.ring.clone(),
            inner: Rc::new(FileInner {
                path: path.to_path_buf(),
                descriptor: Arc::new(descriptor),
                send_descriptor: OnceCell::new(),
            }),
        })
    }

    async fn create_directory(&self, path: &Path) -> Result<(), IoError> {
        off_thread("create directory", path, blocking::create_directory).await
    }

    async fn list_directory(&self, path: &Path) -> Result<Vec<String>, IoError> {
        off_thread("list directory", path, blocking::list_directory).await
    }

    async fn list_files(&self, path: &Path) -> Result<Vec<(String, u64)>, IoError> {
        off_thread("list files", path, |path| blocking::list_files(path, &[""])).await
    }

    async fn list_sizes_of(
        &self,
        path: &Path,
        suffixes: &'static [&'static str],
    ) -> Result<Vec<(String, u64)>, IoError> {
        off_thread("list files", path, |path| blocking::list_files(path, suffixes)).await
    }

    async fn sync_directory(&self, path: &Path) -> Result<(), IoError> {
        off_thread("sync directory", path, blocking::sync_directory).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        let to = to.to_path_buf();
        off_thread("rename", from, move |from| blocking::rename(from, &to)).await
    }

    async fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        off_thread("remove", path, blocking::remove_file).await
    }

    async fn remove_directory(&self, path: &Path) -> Result<(), IoError> {
        off_thread("remove directory", path, blocking::remove_directory).await
    }

    async fn read_file(&self, path: &Path, size_max: usize) -> Result<Vec<u8>, IoError> {
        off_thread("read", path, move |path| blocking::read_file(path, size_max)).await
    }

    async fn read_files(&self, files: Vec<(PathBuf, usize)>) -> Vec<Result<Vec<u8>, IoError>> {
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let first = paths.first().cloned().unwrap_or_default();
        let read = off_thread("read", &first, move |_| {
            Ok(files.iter().map(|(path, size_max)| blocking::read_file(path, *size_max)).collect())
        });
        // It fails as a whole if its thread does.
        let failed = |error: IoError| {
            let again = |_| Err(io::Error::new(error.source.kind(), error.to_string()));
            paths.iter().map(again).collect::<Vec<io::Result<Vec<u8>>>>()
        };
        let read = read.await.unwrap_or_else(failed);
        let with_path = |(read, path): (io::Result<Vec<u8>>, PathBuf)| {
            read.map_err(|source| IoError { operation: "read", path, source })
        };
        read.into_iter().zip(paths.iter().cloned()).map(with_path).collect()
    }

    async fn look_into(&self, folders: Vec<(PathBuf, LookFor)>) -> Vec<Option<Looked>> {
        let (first, count) =
            (folders.first().map(|(path, _)| path.clone()).unwrap_or_default(), folders.len());
        let look = |(path, look_for): &(PathBuf, LookFor)| blocking::look_into(path, look_for).ok();
        let looked = off_thread("look into", &first, move |_| Ok(folders.iter().map(look).collect()));
        looked.await.unwrap_or_else(|_| (0..count).map(|_| None).collect())
    }

    async fn replace_file(&self, path: &Path, content: Vec<u8>) -> Result<(), IoError> {
        off_thread("replace", path, move |path| blocking::replace_file(path, &content)).await
    }

    async fn compute<R: Send + 'static>(&self, computation: impl FnOnce() -> R + Send + 'static) -> R {
        self.helper.compute(computation).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        executor::spawn(task);
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }

    fn random(&self) -> u64 {
        // Its keys are the system's random numbers.
        RandomState::new().hash_one(self.now()) | 1
    }

    fn wall_clock(&self) -> TimestampMs {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A file open for direct I/O on one shard. Operations in flight keep the descriptor and their buffers.
#[derive(Clone, Debug)]
pub struct RealFile {
    ring: Ring,
    inner: Rc<FileInner>,
}

#[derive(Debug)]
struct FileInner {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    send_descriptor: OnceCell<Arc<OwnedFd>>,
}

impl RealFile {
    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> IoError {
        let path = self.inner.path.clone();
        move |source| IoError { operation, path, source }
    }

    /// Writes all of the buffer, going on after a short write.
    async fn write_whole(
        &self,
        buffer: AlignedBuffer,
        position: u64,
        durability: Durability,
    ) -> io::Result<AlignedBuffer> {
        check_alignment(position, buffer.len())?;
        let mut buffer = buffer;
        let mut done: usize = 0;
        while done < buffer.len() {
            let at = position + widen(done);
            let Completion { result, buffer: back } =
                self.ring.write(&self.inner.descriptor, buffer, done, (at, durability)).await;
            let size = result?;
            buffer = back.ok_or_else(|| io::Error::other("the ring kept the buffer"))?;
            done += size;
            if size == 0 || (done < buffer.len() && !done.is_multiple_of(BLOCK_BYTES)) {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(buffer)
    }

    /// Reads until the buffer is full or the file ends.
    async fn read_whole(&self, position: u64, size: usize) -> io::Result<AlignedBuffer> {
        check_alignment(position, size)?;
        let mut buffer = AlignedBuffer::for_reading(size);
        let mut done: usize = 0;
        while done < size {
            let at = position + widen(done);
            let Completion { result, buffer: back } =
                self.ring.read(&self.inner.descriptor, buffer, done, at).await;
            let got = result?;
            buffer = back.ok_or_else(|| io::Error::other("the ring kept the buffer"))?;
            done += got;
            // Direct reads end off a block boundary only where the file does.
            if got == 0 || !done.is_multiple_of(BLOCK_BYTES) {
                break;
            }
        }
        #[expect(unsafe_code, reason = "the kernel filled the buffer")]
        // SAFETY: the reads above have put `done` bytes at its start.
        unsafe {
            buffer.filled(done);
        }
        Ok(buffer)
    }
}

fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn check_alignment(position: u64, size: usize) -> io::Result<()> {
    if position.is_multiple_of(widen(BLOCK_BYTES)) && size.is_multiple_of(BLOCK_BYTES) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("position {position} and size {size} must be multiples of {BLOCK_BYTES}"),
        ))
    }
}

impl IoFile for RealFile {
    fn path(&self) -> &Path {
        &self.inner.path
    }

    async fn read_at(&self, position: u64, size: usize) -> Result<AlignedBuffer, IoError> {
        self.read_whole(position, size).await.map_err(self.failed("read"))
    }

    async fn write_at(&self, buffer: AlignedBuffer, position: u64) -> Result<AlignedBuffer, IoError> {
        self.write_whole(buffer, position, Durability::Volatile).await.map_err(self.failed("write"))
    }

    async fn write_durable_at(&self, buffer: AlignedBuffer, position: u64) -> Result<AlignedBuffer, IoError> {
        self.write_whole(buffer, position, Durability::Durable).await.map_err(self.failed("write durably"))
    }

    async fn sync(&self) -> Result<(), IoError> {
        self.ring.sync(&self.inner.descriptor).await.map_err(self.failed("sync"))
    }

    async fn truncate(&self, size: u64) -> Result<(), IoError> {
        let descriptor = Arc::clone(&self.inner.descriptor);
        off_thread("truncate", &self.inner.path, move |_| blocking::truncate(&descriptor, size)).await
    }

    async fn allocate(&self, position: u64, size: u64) -> Result<(), IoError> {
        match self.ring.allocate(&self.inner.descriptor, position, size).await {
            // Some file systems allocate only what is written.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            allocated => allocated.map_err(self.failed("allocate")),
        }
    }

    async fn size(&self) -> Result<u64, IoError> {
        blocking::size(&self.inner.descriptor).map_err(self.failed("stat"))
    }

    async fn modified(&self) -> Result<TimestampMs, IoError> {
        blocking::modified(&self.inner.descriptor).map(TimestampMs).map_err(self.failed("stat"))
    }

    async fn send_descriptor(&self) -> Result<Option<Arc<OwnedFd>>, IoError> {
        if let Some(descriptor) = self.inner.send_descriptor.get() {
            return Ok(Some(Arc::clone(descriptor)));
        }
        let direct = Arc::clone(&self.inner.descriptor);
        let opened =
            off_thread("open for sending", &self.inner.path, move |_| blocking::reopen_buffered(&direct))
                .await?;
        // Two first callers may have opened one each: the first that came back stays.
        let shared = self.inner.send_descriptor.get_or_init(|| Arc::new(opened));
        Ok(Some(Arc::clone(shared)))
    }

    async fn examine<R: Send + 'static>(
        &self,
        examine: impl FnOnce(&OwnedFd) -> io::Result<R> + Send + 'static,
    ) -> Result<R, IoError> {
        let Some(descriptor) = self.send_descriptor().await? else {
            return Err(self.failed("read")(io::ErrorKind::Unsupported.into()));
        };
        off_thread("read", &self.inner.path, move |_| examine(&descriptor)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::{AlignedBuffer, Io, IoFile, OpenHow, contract_tests, executor};
    use super::RealIo;

    #[test]
    fn the_real_disk_keeps_the_contract() {
        let root = tempfile::tempdir().unwrap();
        executor::block_on(None, contract_tests::holds(RealIo::new, root.path())).unwrap();
    }

    #[test]
    fn dropping_everything_waits_for_what_is_in_flight() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let run = executor::block_on(None, async {
            for how in [OpenHow::Create, OpenHow::ReadWrite] {
                let io = RealIo::new().unwrap();
                let file = io.open(&path, how).await.unwrap();
                for index in 0..32_u32 {
                    let mut buffer = AlignedBuffer::zeroed(256 << 10);
                    buffer.fill(7);
                    let write = Box::pin(file.write_durable_at(buffer, u64::from(index) << 18));
                    drop(futures::future::select(write, std::future::ready(())).await);
                }
            }
            let io = RealIo::new().unwrap();
            let file = io.open(&path, OpenHow::Read).await.unwrap();
            assert_eq!(file.size().await.unwrap(), 32 << 18, "all of it landed before the ring was gone");
            let bytes = file.read_at(0, 32 << 18).await.unwrap();
            assert!(bytes.iter().all(|byte| *byte == 7));
        });
        run.unwrap();
    }
}
