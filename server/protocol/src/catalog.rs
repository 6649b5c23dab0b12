//! Every type of the protocol by name, for what treats all of them alike: tests, fuzzers, dump tools.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::wire::{DecodeError, EncodeError, Encoded, Message, Reader, Writer};

/// One type of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Kafka's name.
    pub name: &'static str,
    first: i16,
    last: i16,
    round_trip: fn(Bytes, i16) -> Result<Encoded, RoundTripError>,
    #[cfg(feature = "sample")]
    sample: fn(&mut crate::sample::Sampler, i16) -> Result<Encoded, EncodeError>,
}

/// Why bytes did not survive being read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundTripError {
    /// They are no value of the type.
    #[error("read: {0}")]
    Decode(#[from] DecodeError),
    /// The value that was read could not be written.
    #[error("write: {0}")]
    Encode(#[from] EncodeError),
}

impl Entry {
    /// The versions that are readable and writable.
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.first..=self.last
    }

    /// Reads a value that takes all of `bytes`, and writes it again in the same version.
    pub fn round_trip(&self, bytes: Bytes, version: i16) -> Result<Encoded, RoundTripError> {
        (self.round_trip)(bytes, version)
    }

    /// Writes a random value.
    #[cfg(feature = "sample")]
    pub fn sample(&self, sampler: &mut crate::sample::Sampler, version: i16) -> Result<Encoded, EncodeError> {
        (self.sample)(sampler, version)
    }
}

/// Every type.
pub fn entries() -> &'static [Entry] {
    &crate::generated::catalog::ENTRIES
}

/// The type of that name.
pub fn by_name(name: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.name == name)
}

/// The entry of a type.
#[cfg(not(feature = "sample"))]
pub(crate) const fn entry<M: Message>() -> Entry {
    let versions = M::VERSIONS;
    Entry { name: M::NAME, first: *versions.start(), last: *versions.end(), round_trip: round_trip::<M> }
}

/// The entry of a type, with its random values.
#[cfg(feature = "sample")]
pub(crate) const fn entry<M: Message + crate::sample::Sample>() -> Entry {
    let versions = M::VERSIONS;
    Entry {
        name: M::NAME,
        first: *versions.start(),
        last: *versions.end(),
        round_trip: round_trip::<M>,
        sample: sample::<M>,
    }
}

fn round_trip<M: Message>(bytes: Bytes, version: i16) -> Result<Encoded, RoundTripError> {
    let mut reader = Reader::new(bytes);
    let message = M::read(&mut reader, version)?;
    reader.finish(M::NAME)?;
    let mut writer = Writer::new();
    message.write(&mut writer, version)?;
    Ok(writer.finish())
}

#[cfg(feature = "sample")]
fn sample<M: Message + crate::sample::Sample>(
    sampler: &mut crate::sample::Sampler,
    version: i16,
) -> Result<Encoded, EncodeError> {
    let mut writer = Writer::new();
    M::sample(sampler, version).write(&mut writer, version)?;
    Ok(writer.finish())
}
