//! One partition's log: what is appended, what is durable, what may be read.

mod blocks;
mod changes;
mod checking;
pub mod checkpoint_file;
mod damage;
pub mod epoch_cache;
mod expected;
pub(crate) mod failing;
mod indexing;
pub(crate) mod known;
#[expect(clippy::module_inception, reason = "the file is named after what it holds, as Kafka's UnifiedLog")]
pub mod log;
pub(crate) mod looking;
pub mod offsets;
mod placing;
pub mod producer_snapshot;
pub mod producer_state;
mod read;
mod recovery;
mod remembered;
pub(crate) mod retention;
mod rolling;
mod send;
mod swaps;
mod tails;
mod timestamps;
pub(crate) mod transactions;
pub(crate) mod truncating;
mod verifying;
mod write_behind;
pub use changes::Watcher;
pub use log::{Appended, Log};
pub use offsets::LogOffsets;
