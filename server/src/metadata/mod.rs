//! The cluster's metadata: `KRaft` records, the image they make, and the embedded controller that
//! writes them (decision 0002).
//!
//! Request → [`controller`] (pure) → records → [`log`] (durable) → [`delta`] (replay) → [`image`] →
//! shards → answer. An answer leaves only when its records are on stable media and the shards have
//! acted on them. Nothing here knows the network, requests' versions or a partition's log.

pub mod batch;
pub mod bootstrap;
pub mod carried;
pub mod chunk_map;
pub mod control_record;
pub mod controller;
pub mod delta;
pub mod directory;
pub mod error;
pub mod files;
pub mod image;
pub mod image_records;
pub mod loader;
pub mod log;
#[cfg(test)]
mod log_tests;
pub mod record_version;
pub mod request;
pub mod snapshot;
pub mod store;
