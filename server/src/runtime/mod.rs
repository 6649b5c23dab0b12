//! What a process needs around the broker: the host's checks, the lock on the data, signals, logs.

pub mod directories;
pub mod host;
pub mod lock;
pub mod log_levels;
pub mod logging;
pub mod room;
pub mod router;
pub mod signals;
pub mod traffic;
