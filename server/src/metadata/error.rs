//! Why the controller refuses a request, in Kafka's codes.

use std::fmt;

/// The codes the controller answers with, numbered as Kafka does.
#[repr(i16)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// Something nobody planned for, such as a controller that stopped.
    UnknownServerError = -1,
    /// No topic or partition of that name.
    UnknownTopicOrPartition = 3,
    /// The name may not be a topic's, or collides with another's in metrics.
    InvalidTopicException = 17,
    /// A topic of that name is there.
    TopicAlreadyExists = 36,
    /// A count of partitions that cannot be.
    InvalidPartitions = 37,
    /// A replication factor that cannot be.
    InvalidReplicationFactor = 38,
    /// An assignment of replicas that cannot be.
    InvalidReplicaAssignment = 39,
    /// A configuration that cannot be.
    InvalidConfig = 40,
    /// Parts of the request contradict each other.
    InvalidRequest = 42,
    /// More than one request may ask for.
    PolicyViolation = 44,
    /// The metadata log cannot be written.
    KafkaStorageError = 56,
    /// No topic of that id.
    UnknownTopicId = 100,
}

/// A refusal: the code for the client and a sentence for the human behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong and what would do.
    pub message: String,
}

impl ControllerError {
    /// A refusal with that code and sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for ControllerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for ControllerError {}
