//! Log lines about peers that misbehave, few enough that a flood of them does not become ours.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

/// Lines a window; the rest is counted and told at the window's end.
const LINES_MAX: u32 = 20;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// One shard's limit for such lines.
#[derive(Debug, Default)]
pub(super) struct ThrottledLog {
    window_start: Cell<Duration>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
}

impl ThrottledLog {
    /// Says that a connection is closed, and why.
    pub(super) fn connection_closed(&self, now: Duration, peer: SocketAddr, why: &str) {
        if self.admit(now) {
            tracing::warn!(%peer, "connection closed: {why}");
        }
    }

    /// Whether a line may be written now.
    fn admit(&self, now: Duration) -> bool {
        if now.saturating_sub(self.window_start.get()) >= WINDOW {
            self.window_start.set(now);
            self.lines.set(0);
            let left_out = self.left_out.replace(0);
            if left_out > 0 {
                tracing::warn!(left_out, "more connections were closed for such reasons than the log tells");
            }
        }
        if self.lines.get() >= LINES_MAX {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return false;
        }
        self.lines.set(self.lines.get() + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_window_speaks_again() {
        let log = ThrottledLog::default();
        let written = (0..100).filter(|_| log.admit(Duration::from_secs(1))).count();
        assert_eq!(written, 20);
        assert_eq!(log.left_out.get(), 80);
        assert!(log.admit(Duration::from_secs(12)));
        assert_eq!(log.left_out.get(), 0);
    }
}
