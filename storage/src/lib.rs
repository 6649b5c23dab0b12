//! One shard's logs on disk: a journal that makes records durable, segments that hold exactly
//! the bytes that go over the wire, and the recovery that brings both together after a crash.
//! No network and no API versions are known here.

pub mod config;
pub mod error;
pub mod io;
pub mod log;
pub mod manager;
pub mod record;
pub mod segment;
pub mod types;
