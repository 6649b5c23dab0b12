//! The broker as a library, so that its parts are public to each other and to fuzzers; the binary
//! only starts it. Order of the modules: from the wire inwards.

pub mod start;

pub mod listening;

pub mod config;
pub mod runtime;
pub mod shard;
pub mod shards;

pub mod net;

pub mod handler;

pub mod partition;

pub mod group;

pub mod control;
pub mod metadata;

pub mod admin;
pub mod counters;

pub mod cli;
