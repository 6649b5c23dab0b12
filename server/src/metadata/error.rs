//! Why the controller refuses a request, in Kafka's codes.

pub use ringmain_protocol::ErrorCode;
use std::fmt;

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
