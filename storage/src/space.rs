//! Room on the device. Blocks of segments are allocated ahead, so that a write to a segment never lacks them; a
//! log whose next blocks cannot be had takes no more appends until they can, and nothing else suffers: reads
//! go on, what was acknowledged stays in the journal until its blocks are there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

use event_listener::{Event, EventListener};

use crate::io::{Io, IoError};
use crate::log::Log;

/// Between two attempts to get room that was not there.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What an allocation achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// The blocks are there, and some for what comes next.
    Ample,
    /// The device is full: at most what is pending has its blocks.
    Short,
}

/// The logs of one store that want blocks. Lives on its shard's thread.
pub(crate) struct Space<I: Io> {
    /// Each at most once.
    wanting: RefCell<VecDeque<Weak<Log<I>>>>,
    event: Event,
    /// Whether any log found no room at its last attempt. It stays in the queue, so every round finds it again.
    short: Rc<Cell<bool>>,
}

impl<I: Io> Space<I> {
    /// Of a store whose journal is told in `short` that there is no room.
    pub(crate) fn new(short: &Rc<Cell<bool>>) -> Self {
        Self { wanting: RefCell::default(), event: Event::new(), short: Rc::clone(short) }
    }

    /// Queues a log that is not in the queue.
    pub(crate) fn want(&self, log: Weak<Log<I>>) {
        self.wanting.borrow_mut().push_back(log);
        self.event.notify(1);
    }

    /// All logs that wait now.
    pub(crate) fn take(&self) -> VecDeque<Weak<Log<I>>> {
        self.wanting.take()
    }

    /// Wakes whoever waits for a log, so that a failure is seen.
    pub(crate) fn wake(&self) {
        self.event.notify(usize::MAX);
    }

    /// Fires when a log is queued. Take it before looking.
    pub(crate) fn listen(&self) -> EventListener {
        self.event.listen()
    }

    /// Whether the last round left a log without room.
    pub(crate) fn is_short(&self) -> bool {
        self.short.get()
    }

    /// Ends a round of attempts. The operator is told when room is lost and when it is found again.
    pub(crate) fn set_short(&self, short: bool, log_dir: &Path) {
        if self.short.replace(short) != short {
            let log_dir = log_dir.display();
            if short {
                tracing::error!("no space left in {log_dir}: appends are refused until there is");
            } else {
                tracing::info!("space in {log_dir} again: appends go on");
            }
        }
    }
}

/// Whether an error says that the device, or the quota, is full.
pub(crate) fn is_no_space(error: &IoError) -> bool {
    matches!(error.source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
