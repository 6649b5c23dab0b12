//! Segments: files that hold exactly Kafka's bytes, and what reading them gives.

mod allocation;
pub mod offset_index;
pub(crate) mod open_files;
#[expect(clippy::module_inception, reason = "the file is named after what it holds, as Kafka's LogSegment")]
pub mod segment;
pub mod sparse_index;
pub mod time_index;
pub mod txn_index;
pub(crate) mod windows;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

/// A run of a log's bytes to send.
#[derive(Clone)]
pub enum Slice {
    /// Bytes in memory: the tail cache's, or read from a cold segment.
    Memory(Bytes),
    /// A range of a segment that is in the page cache, for `sendfile`.
    File {
        /// Buffered descriptor of the segment; it stays open as long as this slice.
        descriptor: Arc<OwnedFd>,
        /// Where the run begins.
        position: u64,
        /// Its bytes.
        len: usize,
    },
}

impl Slice {
    /// Bytes of the run.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File { position, len, .. } => write!(f, "File({len} bytes at {position})"),
        }
    }
}

/// How much a read may return, and up to where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimits {
    /// Exclusive offset: the high watermark for consumers, the durable offset for followers.
    pub end: crate::types::Offset,
    /// Bytes wanted at most. The last batch may be cut short, as Kafka's fetch allows.
    pub bytes_max: usize,
    /// Return the first batch whole even if it is larger (KIP-74).
    pub at_least_one: bool,
}

/// What a read returned: bytes of whole batches, the last one possibly cut.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The runs, in order.
    pub slices: Vec<Slice>,
    /// Their bytes together.
    pub bytes: usize,
    /// No record of them has this offset or a higher one; it may be some batches too high.
    pub end: crate::types::Offset,
}
