//! The broker as a library, so that its parts are public to each other and to fuzzers; the binary
//! only starts it. Order of the modules: from the wire inwards.

pub mod control;
pub mod handler;
pub mod metadata;
pub mod net;
pub mod partition;
