//! The cluster's metadata: KRaft records, the image they make, and the embedded controller that
//! writes them (decision 0002).
//!
//! Request → [`controller`] (pure) → records → [`log`] (durable) → [`delta`] (replay) → [`image`] →
//! shards → answer. An answer leaves only when its records are on stable media and the shards have
//! acted on them. Nothing here knows the network, requests' versions or a partition's log.

pub mod chunk_map;
pub mod error;
pub mod image;
pub mod request;
pub mod store;
