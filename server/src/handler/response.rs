//! A response as the connection sends it: pieces in order, the length prefix and header among them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

/// What a request comes to.
#[derive(Debug)]
pub enum Response {
    /// A whole frame, length prefix included: send the parts one after the other.
    Frame(Vec<Part>),
    /// Nothing is sent (Produce with acks=0); the next response may go at once.
    None,
    /// Close the connection once the responses before this one are out; the text says why, for the log.
    Close(String),
}

/// A piece of a response.
pub enum Part {
    /// Bytes in memory that were made for this response.
    Memory(Bytes),
    /// Records in the store's memory.
    Records(Bytes),
    /// A range of a file, sent by `sendfile`; never past what is written.
    File {
        /// The file, opened without `O_DIRECT`; it stays open as long as the part lives.
        descriptor: Arc<OwnedFd>,
        /// Where the range begins.
        position: u64,
        /// How many bytes it has.
        len: usize,
    },
}

impl Part {
    /// Bytes this part puts on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) | Self::Records(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// Whether it puts none there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Records(bytes) => write!(f, "Records({} bytes)", bytes.len()),
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File { position, len, .. } => write!(f, "File({len} bytes at {position})"),
        }
    }
}
