//! Why bytes could not be read or a value could not be written, and in which field.

use thiserror::Error;

/// Bytes that are no value of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    /// Kafka's name of the message or struct and of the field, such as `FetchTopic.Partitions`.
    pub field: &'static str,
    /// What was wrong there.
    pub problem: DecodeProblem,
}

/// What can be wrong with bytes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeProblem {
    /// The bytes end inside the value.
    #[error("{needed} bytes needed, {remaining} remain")]
    Truncated {
        /// Bytes the value takes, as far as known.
        needed: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// A length below the smallest one that has a meaning, or above what the type allows.
    #[error("length {length} is not possible")]
    Length {
        /// The length as it was read.
        length: i64,
    },
    /// Null where the version does not allow it.
    #[error("null is not allowed here in this version")]
    Null,
    /// More elements than the remaining bytes can hold.
    #[error("{count} elements do not fit into the {remaining} bytes that remain")]
    Count {
        /// The count as it was read.
        count: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// The values would take more memory than this reader may use.
    #[error("the values would take too much memory")]
    MemoryBudget,
    /// A string that is not UTF-8.
    #[error("the string is not UTF-8")]
    Utf8,
    /// A variable-length integer of more bytes or bits than its type has.
    #[error("a variable-length integer is malformed")]
    Varint,
    /// A tagged field whose content does not take the bytes it announced.
    #[error("a tagged field differs from its announced size by {left} bytes")]
    TagSize {
        /// Bytes left over.
        left: usize,
    },
    /// A version that is not readable.
    #[error("version {version} is not supported")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
    /// A key that names no type.
    #[error("key {key} is not known")]
    UnknownKey {
        /// The key as it was read.
        key: i64,
    },
    /// Bytes behind the end of the value, where it must be alone.
    #[error("{left} bytes are left over")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
}

/// A value that cannot be written in the version asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct EncodeError {
    /// Kafka's name of the message or struct and of the field.
    pub field: &'static str,
    /// What was wrong there.
    pub problem: EncodeProblem,
}

/// What can be wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeProblem {
    /// A version that is not writable.
    #[error("version {version} is not supported")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
    /// The field carries something, but this version has no place for it and it may not be dropped.
    #[error("the field is set, but this version does not have it")]
    UnsupportedField,
    /// Null where the version does not allow it.
    #[error("null is not allowed here in this version")]
    Null,
    /// A string or a count beyond what the length field can say.
    #[error("{length} is too long for the wire")]
    TooLong {
        /// Bytes or elements.
        length: usize,
    },
}
