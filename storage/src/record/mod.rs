//! Record batches of format 2 (KIP-98): the header in place, what makes a batch acceptable, the
//! records in it, the codecs around them, and a builder. Pure functions over bytes: no I/O, no clock.
//! The byte layouts are in `storage/docs/format.md`.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod marker;
pub mod recompress;
#[allow(clippy::module_inception, reason = "the file is named after what it reads, as Kafka's Record")]
pub mod record;
pub mod rejection;
pub mod validate;
pub mod varint;

#[cfg(test)]
mod tests;
