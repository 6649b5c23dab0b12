//! What a shard knows of a connection without being it: enough to see which ones misuse it, and to end them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use event_listener::{Event, EventListener};

use super::NetLimits;
use super::admission::Admission;
use super::socket::Socket;
use nix::sys::socket::Shutdown;

use crate::handler::Peer;

/// An open connection. Times are the shard's monotonic time.
pub(super) struct Open {
    /// Its number on this shard.
    pub(super) id: u64,
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    /// Bytes in memory, records and others, of the answers that are being sent.
    pub(super) unsent_bytes: Cell<usize>,
    opened: Duration,
    /// When a byte last moved.
    last_moved: Cell<Duration>,
    /// Bytes of a request that has not arrived whole.
    unfinished_bytes: Cell<usize>,
    /// When that request began.
    unfinished_since: Cell<Duration>,
    /// Whether a whole request has ever arrived.
    has_asked: Cell<bool>,
    /// Counted as long as it is open.
    pub(super) admission: Arc<Admission>,
    ending: Cell<bool>,
    end: Event,
}

impl Open {
    /// A connection that was opened now.
    pub(super) fn new(
        id: u64,
        (socket, admission): (Socket, Arc<Admission>),
        peer: Peer,
        now: Duration,
    ) -> Self {
        Self {
            id,
            socket,
            peer,
            unsent_bytes: Cell::new(0),
            opened: now,
            last_moved: Cell::new(now),
            unfinished_bytes: Cell::new(0),
            unfinished_since: Cell::new(now),
            has_asked: Cell::new(false),
            admission,
            ending: Cell::new(false),
            end: Event::new(),
        }
    }

    /// It asked before, on another shard.
    pub(super) fn asked_before(&self) {
        self.has_asked.set(true);
    }

    /// Bytes moved.
    pub(super) fn moved(&self, now: Duration) {
        self.last_moved.set(now);
    }

    /// When a byte last moved.
    pub(super) fn last_moved(&self) -> Duration {
        self.last_moved.get()
    }

    /// So much of a request is here and the rest is not; `ended` says whether one before it came to its end.
    pub(super) fn unfinished(&self, bytes: usize, ended: bool, now: Duration) {
        if ended {
            self.has_asked.set(true);
        }
        if ended || self.unfinished_bytes.get() == 0 {
            self.unfinished_since.set(now);
        }
        self.unfinished_bytes.set(bytes);
    }

    /// Bytes of an unfinished request, and when it began.
    pub(super) fn unfinished_request(&self) -> Option<(Duration, usize)> {
        match self.unfinished_bytes.get() {
            0 => None,
            bytes => Some((self.unfinished_since.get(), bytes)),
        }
    }

    /// How long no byte has moved.
    pub(super) fn still_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_moved.get())
    }

    /// Why the connection has to end by now, if it has.
    pub(super) fn overdue(&self, now: Duration, limits: &NetLimits) -> Option<&'static str> {
        if self.still_for(now) > limits.idle_max {
            return Some("no byte moved for connections.max.idle.ms");
        }
        let asks_late = !self.has_asked.get() && now.saturating_sub(self.opened) > limits.first_request_max;
        // Who has sent more than was read waits for us.
        if asks_late && !self.socket.has_unread() {
            return Some("it sent no whole request within ringmain.first.request.timeout.ms");
        }
        None
    }

    /// Whether it is being ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// Fires when it is ended; for a connection that does not look at its socket just then.
    pub(super) fn wait_for_end(&self) -> EventListener {
        self.end.listen()
    }

    /// Ends it for both sides.
    pub(super) fn end(&self) {
        self.ending.set(true);
        self.end.notify(usize::MAX);
        self.socket.shutdown(Shutdown::Both);
    }
}
