//! The commands' clock: the one place under `cli/` that reads the time.

use std::time::{Instant, SystemTime};

use ringmain_storage::types::TimestampMs;

/// Wall-clock time for `CreateTime`.
#[expect(clippy::disallowed_methods, reason = "this module owns the commands' clock")]
pub(crate) fn now_ms() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Monotonic time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this module owns the commands' clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Waits before a request is tried again.
#[expect(clippy::disallowed_methods, reason = "a command blocks nobody but itself")]
pub(crate) fn pause(duration: std::time::Duration) {
    std::thread::sleep(duration);
}
