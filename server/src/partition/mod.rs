//! A partition as the broker leads it: a log with a leader epoch and a high watermark, and those who
//! wait for it to move. Knows no request and no API version.

#[expect(clippy::module_inception, reason = "Kafka's word for both: the part and what it is about")]
pub mod partition;
pub mod purgatory;
pub mod settings;
pub mod stores;
pub mod watch;

pub use partition::{EpochMismatch, Partition, Partitions};
pub use purgatory::Purgatory;
pub use settings::TopicSettings;
pub use stores::Stores;
