//! What a [`super::Writer`] leaves: an ordered list of byte runs, some of which the sender supplies.

use bytes::{Bytes, BytesMut};

/// A run of bytes of a written message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes held here.
    Bytes(Bytes),
    /// `len` bytes the sender supplies, such as a file range: the `index`-th external run of the message.
    Slices {
        /// Which one, as given in [`super::Records::External`].
        index: u32,
        /// Its size in bytes.
        len: u32,
    },
}

/// A written message, in pieces so that record bytes are never copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The pieces in the order they are sent.
    pub parts: Vec<Part>,
    bytes: usize,
}

impl Encoded {
    /// Takes the pieces; `bytes` is the sum of their sizes.
    pub(super) fn new(parts: Vec<Part>, bytes: usize) -> Self {
        Self { parts, bytes }
    }

    /// The size of the whole message in bytes, external runs included.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The message as one run. External runs are not here and so are missing from the result: only for
    /// messages without any.
    pub fn into_bytes(self) -> Bytes {
        let mut parts = self.parts.into_iter().filter_map(|part| match part {
            Part::Bytes(bytes) => Some(bytes),
            Part::Slices { .. } => None,
        });
        let Some(first) = parts.next() else { return Bytes::new() };
        let Some(second) = parts.next() else { return first };
        let mut whole = BytesMut::with_capacity(self.bytes);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        for part in parts {
            whole.extend_from_slice(&part);
        }
        whole.freeze()
    }
}
