//! The `records` type: record batches as they lie in a segment. The codec never looks inside and never
//! copies them.

use std::fmt;

use bytes::Bytes;

/// Record bytes of a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Records {
    /// Null on the wire; not the same as empty.
    #[default]
    Null,
    /// The bytes, shared with the frame they came in.
    Bytes(Bytes),
    /// `len` bytes that the sender supplies when it reaches them. The codec writes only the length, and a
    /// [`super::Part::Slices`] with the same numbers at their place. Never the result of a read.
    External {
        /// Which external run of the message this is.
        index: u32,
        /// Its size in bytes.
        len: u32,
    },
}

impl Records {
    /// The size in bytes; 0 for null.
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
        }
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Records {
    /// Says how much there is, never what: records are the users' own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("Records::Null"),
            Self::Bytes(bytes) => write!(formatter, "Records({} bytes)", bytes.len()),
            Self::External { index, len } => {
                write!(formatter, "Records(external {index}, {len} bytes)")
            }
        }
    }
}
