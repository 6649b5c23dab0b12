//! `Io` and `IoFile` of a simulated world. An operation is given to the disk when its future is first polled
//! and goes on if the future is dropped.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;

use super::World;
use super::disk::{Disk, NodeId};
use super::random::Random;
use crate::io::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow, blocking};
use crate::types::TimestampMs;

/// What the system says of a file that may not be written: `EACCES` and `EROFS`. It says so when it is opened.
const REFUSALS: [i32; 2] = [13, 30];

/// Files, tasks and time of a simulated machine.
#[derive(Clone)]
pub struct SimIo {
    world: Rc<World>,
}

impl SimIo {
    /// Handles of `world`.
    pub(super) fn new(world: Rc<World>) -> Self {
        Self { world }
    }

    /// One operation that changes the disk or makes changes certain: `begin` when it is given to the disk,
    /// `finish` when it is done, which hears whether it is to fail.
    async fn operate<S: 'static, R: 'static>(
        &self,
        (operation, path): (&'static str, &Path),
        begin: impl FnOnce(&mut Disk) -> io::Result<S>,
        finish: impl FnOnce(&mut Disk, S, bool) -> R + 'static,
    ) -> Result<R, IoError> {
        if self.world.executor.halted() {
            return std::future::pending().await;
        }
        let fault = self.world.step(|| format!("{operation} {}", path.display()));
        let fault = fault.or_else(|| self.world.failing(path));
        let begun = begin(&mut self.world.disk.borrow_mut());
        let (done, result) = oneshot::channel();
        let world = Rc::clone(&self.world);
        let path = path.to_path_buf();
        self.world.executor.after(self.world.latency(), move || {
            let failed = |source| IoError { operation, path: path.clone(), source };
            let result = begun.map(|state| finish(&mut world.disk.borrow_mut(), state, fault.is_some()));
            world.step(|| format!("{operation} {} done", path.display()));
            let result = match (result, fault) {
                (Err(error), _) => Err(failed(error)),
                (Ok(_), Some(errno)) => Err(failed(io::Error::from_raw_os_error(errno))),
                (Ok(value), None) => Ok(value),
            };
            if !world.executor.halted() {
                drop(done.send(result));
            }
        });
        match result.await {
            Ok(result) => result,
            Err(oneshot::Canceled) => std::future::pending().await,
        }
    }

    /// One operation that only looks.
    async fn look<R>(
        &self,
        (operation, path): (&'static str, &Path),
        look: impl FnOnce(&Disk) -> io::Result<R>,
    ) -> Result<R, IoError> {
        self.sleep(self.world.latency()).await;
        look(&self.world.disk.borrow()).map_err(|source| IoError {
            operation,
            path: path.to_path_buf(),
            source,
        })
    }

    /// The steps of a replacement, as the real one takes them.
    async fn replace_in_steps(&self, path: &Path, content: Vec<u8>) -> Result<(), IoError> {
        let invalid = |source| IoError { operation: "replace", path: path.to_path_buf(), source };
        let temporary = blocking::temporary_name(path).map_err(invalid)?;
        let node = self
            .operate(
                ("create", &temporary),
                |disk| match disk.resolve_file(&temporary) {
                    Ok(node) => {
                        let number = disk.next_change();
                        disk.content_mut(node)?.truncate(number, 0);
                        Ok(node)
                    }
                    Err(_) => disk.create_file(&temporary),
                },
                |_, node, _| node,
            )
            .await?;
        self.write(node, &temporary, (content, 0, false)).await?;
        self.sync_file(node, &temporary).await?;
        self.rename(&temporary, path).await?;
        self.sync_directory(&blocking::parent_of(path)).await
    }

    async fn write(
        &self,
        node: NodeId,
        path: &Path,
        (bytes, position, durable): (Vec<u8>, usize, bool),
    ) -> Result<(), IoError> {
        let operation = if durable { "write durably" } else { "write" };
        let now = self.wall_clock();
        self.operate(
            (operation, path),
            |disk| {
                disk.allocate(node, position + bytes.len())?;
                let number = disk.next_change();
                let content = disk.content_mut(node)?;
                content.modified = now;
                content.begin_write(number, position, bytes);
                Ok(number)
            },
            move |disk, number, fails| match disk.content_mut(node) {
                Ok(content) if fails => content.doom(&[number]),
                Ok(content) => content.complete_write(number, durable),
                Err(_) => {}
            },
        )
        .await
    }

    async fn sync_file(&self, node: NodeId, path: &Path) -> Result<(), IoError> {
        self.operate(
            ("sync", path),
            |disk| Ok(disk.content(node)?.complete()),
            move |disk, covered, fails| match disk.content_mut(node) {
                Ok(content) if fails => content.doom(&covered),
                Ok(content) => content.make_certain(&covered),
                Err(_) => {}
            },
        )
        .await
    }
}

impl Io for SimIo {
    type File = SimFile;

    async fn open(&self, path: &Path, how: OpenHow) -> Result<SimFile, IoError> {
        let node = match how {
            OpenHow::Read => self.look(("open", path), |disk| disk.resolve_file(path)).await?,
            OpenHow::ReadWrite => {
                let refused = self.world.failing(path).filter(|errno| REFUSALS.contains(errno));
                self.look(("open", path), |disk| match refused {
                    Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                    None => disk.resolve_file(path),
                })
                .await?
            }
            OpenHow::Create => {
                self.operate(("create", path), |disk| disk.create_file(path), |_, node, _| node).await?
            }
        };
        Ok(SimFile { io: self.clone(), node, path: Rc::new(path.to_path_buf()), how })
    }

    async fn create_directory(&self, path: &Path) -> Result<(), IoError> {
        self.operate(
            ("create directory", path),
            |disk| {
                disk.create_directories(path)?;
                Ok(disk.links_of(path))
            },
            |disk, links, fails| {
                if !fails {
                    disk.make_certain(&links);
                }
            },
        )
        .await
    }

    async fn list_directory(&self, path: &Path) -> Result<Vec<String>, IoError> {
        self.look(("list directory", path), |disk| disk.list(path)).await
    }

    async fn list_files(&self, path: &Path) -> Result<Vec<(String, u64)>, IoError> {
        self.look(("list files", path), |disk| disk.list_files(path)).await
    }

    async fn sync_directory(&self, path: &Path) -> Result<(), IoError> {
        self.operate(
            ("sync directory", path),
            |disk| disk.begin_sync_directory(path),
            |disk, (directory, covered), fails| {
                if !fails {
                    disk.complete_sync_directory(directory, &covered);
                }
            },
        )
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.operate(("rename", from), |disk| disk.rename(from, to), |_, (), _| ()).await
    }

    async fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        self.operate(("remove", path), |disk| disk.remove_file(path), |_, (), _| ()).await
    }

    async fn remove_directory(&self, path: &Path) -> Result<(), IoError> {
        self.operate(("remove directory", path), |disk| disk.remove_directory(path), |_, (), _| ()).await
    }

    async fn read_file(&self, path: &Path, size_max: usize) -> Result<Vec<u8>, IoError> {
        self.look(("read", path), |disk| {
            let bytes = disk.content(disk.resolve_file(path)?)?.live();
            if bytes.len() > size_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(bytes.to_vec())
        })
        .await
    }

    async fn replace_file(&self, path: &Path, content: Vec<u8>) -> Result<(), IoError> {
        let (done, result) = oneshot::channel();
        let (io, path) = (self.clone(), path.to_path_buf());
        // As on a helper thread: it goes on if nobody waits.
        self.spawn(async move {
            drop(done.send(io.replace_in_steps(&path, content).await));
        });
        match result.await {
            Ok(result) => result,
            Err(oneshot::Canceled) => std::future::pending().await,
        }
    }

    async fn compute<R: Send + 'static>(&self, computation: impl FnOnce() -> R + Send + 'static) -> R {
        // Others run before it is done.
        self.sleep(Duration::from_millis(1)).await;
        computation()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world.executor.spawn(task);
    }

    async fn sleep(&self, duration: Duration) {
        let (done, slept) = oneshot::channel();
        self.world.executor.after(duration, move || {
            let _gone = done.send(());
        });
        if slept.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn now(&self) -> Duration {
        self.world.executor.now()
    }

    /// Another one at each step, and none of what the rest of the run is drawn from.
    fn random(&self) -> u64 {
        Random::new(self.world.steps.get() + 1).number() | 1
    }

    fn wall_clock(&self) -> TimestampMs {
        let uptime = i64::try_from(self.now().as_millis()).unwrap_or(i64::MAX);
        TimestampMs(self.world.epoch_ms.saturating_add(uptime))
    }
}

/// An open file of a simulated machine.
#[derive(Clone)]
pub struct SimFile {
    io: SimIo,
    node: NodeId,
    path: Rc<PathBuf>,
    how: OpenHow,
}

impl SimFile {
    fn failed(&self, operation: &'static str, kind: io::ErrorKind) -> IoError {
        IoError { operation, path: self.path.to_path_buf(), source: kind.into() }
    }

    async fn write_aligned(
        &self,
        buffer: AlignedBuffer,
        position: u64,
        durable: bool,
    ) -> Result<AlignedBuffer, IoError> {
        if self.how == OpenHow::Read {
            return Err(self.failed("write", io::ErrorKind::PermissionDenied));
        }
        let position = self.aligned("write", position, buffer.len())?;
        self.io.write(self.node, &self.path, (buffer.to_vec(), position, durable)).await?;
        Ok(buffer)
    }

    fn aligned(&self, operation: &'static str, position: u64, size: usize) -> Result<usize, IoError> {
        match usize::try_from(position) {
            Ok(position) if position.is_multiple_of(BLOCK_BYTES) && size.is_multiple_of(BLOCK_BYTES) => {
                Ok(position)
            }
            _ => Err(self.failed(operation, io::ErrorKind::InvalidInput)),
        }
    }
}

impl IoFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    async fn read_at(&self, position: u64, size: usize) -> Result<AlignedBuffer, IoError> {
        let position = self.aligned("read", position, size)?;
        self.io
            .look(("read", &self.path), |disk| {
                let bytes = disk.content(self.node)?.live();
                let start = position.min(bytes.len());
                let end = (position + size).min(bytes.len());
                let mut buffer = AlignedBuffer::zeroed(end - start);
                buffer.copy_from_slice(&bytes[start..end]);
                Ok(buffer)
            })
            .await
    }

    async fn write_at(&self, buffer: AlignedBuffer, position: u64) -> Result<AlignedBuffer, IoError> {
        self.write_aligned(buffer, position, false).await
    }

    async fn write_durable_at(&self, buffer: AlignedBuffer, position: u64) -> Result<AlignedBuffer, IoError> {
        self.write_aligned(buffer, position, true).await
    }

    async fn sync(&self) -> Result<(), IoError> {
        self.io.sync_file(self.node, &self.path).await
    }

    async fn truncate(&self, size: u64) -> Result<(), IoError> {
        let node = self.node;
        let size = usize::try_from(size).map_err(|_| self.failed("truncate", io::ErrorKind::InvalidInput))?;
        self.io
            .operate(
                ("truncate", &self.path),
                |disk| {
                    let number = disk.next_change();
                    disk.content_mut(node)?.truncate(number, size);
                    Ok(())
                },
                |_, (), _| (),
            )
            .await
    }

    async fn allocate(&self, position: u64, size: u64) -> Result<(), IoError> {
        let end = usize::try_from(position + size);
        let end = end.map_err(|_| self.failed("allocate", io::ErrorKind::InvalidInput))?;
        let node = self.node;
        self.io.operate(("allocate", &self.path), |disk| disk.allocate(node, end), |_, (), _| ()).await
    }

    async fn size(&self) -> Result<u64, IoError> {
        self.io
            .look(("stat", &self.path), |disk| {
                let size = disk.content(self.node)?.live().len();
                u64::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
            })
            .await
    }

    async fn modified(&self) -> Result<TimestampMs, IoError> {
        self.io.look(("stat", &self.path), |disk| Ok(disk.content(self.node)?.modified)).await
    }

    async fn send_descriptor(&self) -> Result<Option<Arc<OwnedFd>>, IoError> {
        Ok(None)
    }
}

impl std::fmt::Debug for SimIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimIo").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).field("how", &self.how).finish_non_exhaustive()
    }
}
