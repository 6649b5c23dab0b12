//! The embedded controller: request in, records and answer out. Pure: it looks at an image, writes nothing, and
//! takes time, chance and limits as arguments. Its answer may leave when the records are durable and applied.
//!
//! Checks and their order are those of Kafka's `ReplicationControlManager`, `ConfigurationControlManager`,
//! `FeatureControlManager` and `ProducerIdControlManager`.

pub mod configs;
pub mod elections;
pub mod features;
pub mod leadership;
pub mod partitions;
pub mod placement;
pub mod producer_ids;
pub mod reassignments;
#[cfg(test)]
mod test_images;
pub mod topic_name;
pub mod topics;

use super::error::{ControllerError, ErrorCode};
use ringmain_protocol::metadata::MetadataRecord;
use ringmain_storage::types::TopicId;

/// Partitions one request may make or change in all: a batch of them stays below a megabyte (Kafka has the same limit).
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// What a request comes to: records to be made durable, then the answer.
#[derive(Debug)]
pub struct Outcome<T> {
    /// All or none of them.
    pub records: Vec<MetadataRecord>,
    /// What to answer once they are.
    pub answer: T,
}

/// What the controller takes from outside.
pub struct Context<'a> {
    /// Makes ids nobody had before.
    pub new_id: &'a mut dyn FnMut() -> TopicId,
    /// Partitions of a topic whose creator does not say.
    pub partition_count_default: i32,
    /// Replicas of a topic whose creator does not say.
    pub replication_factor_default: i16,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("partition_count_default", &self.partition_count_default)
            .field("replication_factor_default", &self.replication_factor_default)
            .finish_non_exhaustive()
    }
}

/// Refuses.
fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, ControllerError> {
    Err(ControllerError::new(code, message))
}

/// Refuses a request that makes or changes too many partitions.
fn too_many_partitions() -> ControllerError {
    ControllerError::new(
        ErrorCode::PolicyViolation,
        format!("one request may make or change at most {PARTITIONS_PER_REQUEST_MAX} partitions"),
    )
}
