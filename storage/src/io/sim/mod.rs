//! A simulated world: disk, tasks and time that one seed determines, for tests of what no real machine shows
//! on demand.
//!
//! - The disk loses, at a power cut, writes, lengths, creations, renames and removals that no sync has made
//!   certain, in any combination; it tears writes at 512 bytes.
//! - Each change and each sync counts twice: when it is given to the disk and when it is done. The power can
//!   be cut at any of these counts; nothing runs after that, and [`SimWorld::crash`] gives the disk as it
//!   could be found, once for each seed.
//! - A counted operation can be made to fail, or all on some files; bits can be made to rot; the device can be full.
//! - Which of the ready tasks runs next and how long the disk takes is drawn from the seed; the trace is a
//!   line for each counted operation, and the same seed gives the same trace.
//!
//! Not simulated: reads that fail, a disk that lies about syncs, two processes on one directory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

pub use executor::Stopped;
pub use files::{SimFile, SimIo};
pub use random::Random;

mod content;
mod disk;
mod executor;
mod files;
mod random;

/// Wall-clock milliseconds at which the first world begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// One machine from power-on to power cut.
pub struct SimWorld {
    inner: Rc<World>,
}

impl SimWorld {
    /// A machine with an empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with_disk(seed, disk::Disk::new(), EPOCH_MS)
    }

    /// Files, tasks and time of this machine.
    pub fn io(&self) -> SimIo {
        SimIo::new(Rc::clone(&self.inner))
    }

    /// Runs until the future is done, together with all tasks spawned meanwhile, also before.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        self.inner.executor.run(future)
    }

    /// Counted steps so far: two for each change and each sync, one at its start and one at its end.
    pub fn steps(&self) -> u64 {
        self.inner.steps.get()
    }

    /// Cuts the power at that step: an operation that starts there is in flight, one that ends there is done
    /// but nobody hears of it. Nothing runs any more.
    pub fn cut_at_step(&self, step: u64) {
        self.inner.cut_at.set(Some(step));
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.inner.executor.halt();
    }

    /// Makes the operation that starts at `step` fail with the error number `errno`. A write that fails may
    /// have landed in part; what a failed sync covered is never certain any more.
    pub fn fail_at_step(&self, step: u64, errno: i32) {
        self.inner.faults.borrow_mut().insert(step, errno);
    }

    /// From now on everything that changes a file or folder below `path`, or makes it durable, fails with `errno`;
    /// where that says that files may not be written, they are not opened for it either.
    pub fn fail_below(&self, path: &Path, errno: i32) {
        self.inner.failing.borrow_mut().push((path.to_path_buf(), errno));
    }

    /// Takes back what [`fail_below`](Self::fail_below) did to that path.
    pub fn mend_below(&self, path: &Path) {
        self.inner.failing.borrow_mut().retain(|(below, _)| below != path);
    }

    /// Fills the device up, or makes room: while it is full, files cannot be made, and those there are get no blocks
    /// beyond what was written or allocated. A power cut makes room.
    pub fn set_full(&self, full: bool) {
        self.inner.disk.borrow_mut().set_full(full);
    }

    /// Changes one bit of a file, now and for ever.
    pub fn flip_bit(&self, path: &Path, position: usize) -> std::io::Result<()> {
        let mut disk = self.inner.disk.borrow_mut();
        let node = disk.resolve_file(path)?;
        disk.content_mut(node)?.flip_bit(position);
        Ok(())
    }

    /// A line for each counted step.
    pub fn trace(&self) -> Vec<String> {
        self.inner.trace.borrow().clone()
    }

    /// A new machine with this one's disk as a power cut at this moment may leave it; `seed` draws which.
    /// Can be called often, for as many pasts of that future.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = self.inner.disk.borrow().crashed(&mut random);
        self.after(&mut random, disk)
    }

    /// A new process on this machine after this one was killed: all that was written is visible to it, but
    /// what no sync made certain is still uncertain, and a power cut later may take it back.
    #[must_use]
    pub fn kill(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = self.inner.disk.borrow().abandoned(&mut random);
        self.after(&mut random, disk)
    }

    fn after(&self, random: &mut Random, disk: disk::Disk) -> Self {
        let uptime = i64::try_from(self.inner.executor.now().as_millis()).unwrap_or(0);
        Self::with_disk(random.number(), disk, self.inner.epoch_ms + uptime + 1000)
    }

    fn with_disk(seed: u64, disk: disk::Disk, epoch_ms: i64) -> Self {
        Self {
            inner: Rc::new(World {
                executor: executor::Executor::new(Random::new(seed)),
                disk: RefCell::new(disk),
                epoch_ms,
                steps: Cell::new(0),
                cut_at: Cell::new(None),
                faults: RefCell::default(),
                failing: RefCell::default(),
                trace: RefCell::default(),
            }),
        }
    }
}

impl Drop for SimWorld {
    fn drop(&mut self) {
        // Tasks hold the world and the world holds tasks.
        self.inner.executor.clear();
    }
}

impl std::fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimWorld").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

/// What a world's handles share.
struct World {
    executor: executor::Executor,
    disk: RefCell<disk::Disk>,
    epoch_ms: i64,
    steps: Cell<u64>,
    cut_at: Cell<Option<u64>>,
    faults: RefCell<BTreeMap<u64, i32>>,
    failing: RefCell<Vec<(PathBuf, i32)>>,
    trace: RefCell<Vec<String>>,
}

impl World {
    /// Counts one step; the error it is to fail with.
    fn step(&self, what: impl FnOnce() -> String) -> Option<i32> {
        let step = self.steps.get();
        self.steps.set(step + 1);
        self.trace.borrow_mut().push(format!("{step} {:?} {}", self.executor.now(), what()));
        if self.cut_at.get() == Some(step) {
            self.executor.halt();
        }
        self.faults.borrow_mut().remove(&step)
    }

    /// The error that everything below a path fails with.
    fn failing(&self, path: &Path) -> Option<i32> {
        let failing = self.failing.borrow();
        failing.iter().find(|(below, _)| path.starts_with(below)).map(|(_, errno)| *errno)
    }

    /// How long the disk takes this time: mostly tens of microseconds, sometimes milliseconds.
    fn latency(&self) -> Duration {
        let mut random = self.executor.random();
        let micros = 20 + random.below(180);
        Duration::from_micros(if random.one_in(16) { micros * 50 } else { micros })
    }
}

#[cfg(test)]
mod tests;
