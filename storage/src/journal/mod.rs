//! The journal: one durable write acknowledges every partition that waited.

pub mod directories;
pub mod frame;
#[expect(clippy::module_inception, reason = "the file is named after what it holds")]
pub mod journal;
pub(crate) mod kept;
mod relaxed;
pub mod replay;
mod writer;
