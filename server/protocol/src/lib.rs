//! The Kafka wire codec: every request, response, header, metadata record and coordinator record of Apache
//! Kafka 4.3, in every version, read and written without copying record bytes.
//!
//! The types under [`messages`], [`metadata`] and [`coordinator`] are generated from the facts in `schemas/`
//! by `codegen/generate.py`; what they share is written by hand in [`wire`]. Reading is bounded: a count or a
//! length is checked against the bytes that remain, and against a memory budget, before anything is
//! allocated, so that a small frame cannot ask for much memory; no byte sequence panics.
//!
//! This crate knows nothing of connections, of what a request means, or which requests the broker serves.

pub mod catalog;
pub mod error_code;
mod generated;
mod record_frame;
pub mod registry;
#[cfg(feature = "sample")]
pub mod sample;
pub mod wire;

pub use error_code::ErrorCode;
pub use generated::{coordinator, messages, metadata};
pub use registry::ApiKey;
pub use wire::{DecodeError, EncodeError, Message, Reader, Records, Request, Str, Uuid, Writer};
