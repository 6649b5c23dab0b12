//! One shard's logs on disk: a journal that makes records durable, segments that hold exactly
//! the bytes that go over the wire, and the recovery that brings both together after a crash.
//! No network and no API versions are known here.

mod background;
pub mod cache;
pub mod checkpoint;
pub mod config;
pub mod counters;
pub mod error;
pub mod inspect;
pub mod io;
pub mod journal;
pub mod log;
pub mod manager;
mod partition_folder;
pub mod record;
pub mod segment;
mod shared;
mod space;
pub mod types;
