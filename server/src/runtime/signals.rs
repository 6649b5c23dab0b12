//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once.

use nix::sys::signal::{SigSet, Signal};

/// The stop signals, blocked in this thread and in every thread it starts from now on, so that they are
/// waited for instead of killing.
#[derive(Debug)]
pub struct StopSignals {
    set: SigSet,
}

impl StopSignals {
    /// Call it before any other thread is started.
    pub fn block() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Blocks until one comes.
    pub fn wait(&self) -> nix::Result<Signal> {
        self.set.wait()
    }
}
