//! One partition's log: what is appended, what is durable, what may be read.

#[expect(clippy::module_inception, reason = "the file is named after what it holds, as Kafka's UnifiedLog")]
pub mod log;
pub mod offsets;
pub use log::{Appended, Log};
pub use offsets::LogOffsets;
