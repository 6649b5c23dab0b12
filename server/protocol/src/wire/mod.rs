//! The primitives under the generated types: a bounded reader, a writer that never copies record bytes, and
//! the value types the schemas name. Errors name the message and field they happened in.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    reason = "bytes from outside never panic"
)]

mod encoded;
mod error;
mod reader;
mod reader_tags;
mod records;
mod string;
mod uuid;
mod writer;

use std::ops::RangeInclusive;

pub use encoded::{Encoded, Part};
pub use error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
pub use reader::Reader;
pub use reader_tags::TagFrame;
pub use records::Records;
pub use string::Str;
pub use uuid::{ParseUuidError, Uuid};
pub use writer::{TagMark, Writer};

/// A type that stands alone on the wire: a request, a response, a header or the value of a record.
pub trait Message: Sized + Default {
    /// Kafka's name of the type.
    const NAME: &str;
    /// The versions that can be read and written, newest last.
    const VERSIONS: RangeInclusive<i16>;

    /// Reads one value of that version and leaves the reader behind it.
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Appends the value in that version. After an error the writer's content is undefined.
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request, with the type that answers it.
pub trait Request: Message {
    /// Kafka's number of this API.
    const API_KEY: i16;
    /// What the broker answers with, in the same version.
    type Response: Message;
}

/// A struct inside a message. Its version is the message's.
pub trait Element: Sized {
    /// The fewest bytes a value takes on the wire in any version; at least 1, so that counts are bounded.
    const WIRE_BYTES_MIN: usize;

    /// Reads one value.
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Appends the value.
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// Says that `version` is outside of what `M` reads.
pub fn check_read_version<M: Message>(version: i16) -> Result<(), DecodeError> {
    if M::VERSIONS.contains(&version) {
        Ok(())
    } else {
        Err(DecodeError { field: M::NAME, problem: DecodeProblem::UnsupportedVersion { version } })
    }
}

/// Says that `version` is outside of what `M` writes.
pub fn check_write_version<M: Message>(version: i16) -> Result<(), EncodeError> {
    if M::VERSIONS.contains(&version) {
        Ok(())
    } else {
        Err(EncodeError { field: M::NAME, problem: EncodeProblem::UnsupportedVersion { version } })
    }
}
