//! The frames around the bodies of records in internal topics.
//!
//! A record value in `__cluster_metadata` is three unsigned varints (frame version 1, type, version), then
//! the body. It is valid iff its frame version is 1, its type and version are known, and the body takes all
//! that is left.
//!
//! A record key in a coordinator's topic is two bytes of type, then the body in version 0; a value is two
//! bytes of version, then the body of the type its key names. Either is valid iff type and version are known
//! and the body takes all that is left.

use bytes::Bytes;

use crate::{
    coordinator::{GroupKey, GroupValue, ShareKey, ShareValue, TransactionKey, TransactionValue},
    metadata::MetadataRecord,
    wire::{DecodeError, DecodeProblem, EncodeError, Reader, Writer},
};

/// The only frame version there is.
const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a whole record value; also gives the version of its body.
    pub fn read_framed(value: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut reader = Reader::new(value);
        let frame = reader.uvarint("MetadataRecord.FrameVersion")?;
        if frame != FRAME_VERSION {
            let problem = DecodeProblem::UnknownKey { key: i64::from(frame) };
            return Err(DecodeError { field: "MetadataRecord.FrameVersion", problem });
        }
        let api_key = narrow(&mut reader, "MetadataRecord.ApiKey")?;
        let version = narrow(&mut reader, "MetadataRecord.Version")?;
        let record = Self::read(api_key, version, &mut reader)?;
        reader.finish("MetadataRecord")?;
        Ok((record, version))
    }

    /// The whole record value with the body in that version.
    pub fn write_framed(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        writer.uvarint(FRAME_VERSION);
        writer.uvarint(u32::from(self.api_key().unsigned_abs()));
        writer.uvarint(u32::from(version.unsigned_abs()));
        self.write(&mut writer, version)?;
        Ok(writer.finish().into_bytes())
    }
}

fn narrow(reader: &mut Reader, field: &'static str) -> Result<i16, DecodeError> {
    let value = reader.uvarint(field)?;
    i16::try_from(value)
        .map_err(|_| DecodeError { field, problem: DecodeProblem::UnknownKey { key: i64::from(value) } })
}

/// Gives a coordinator's keys and values their frames.
macro_rules! coordinator_frames {
    ($key:ident, $value:ident) => {
        impl $key {
            /// Reads a whole record key.
            pub fn read_framed(key: Bytes) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(key);
                let api_key = reader.i16(stringify!($key))?;
                let key = Self::read(api_key, 0, &mut reader)?;
                reader.finish(stringify!($key))?;
                Ok(key)
            }

            /// The whole record key.
            pub fn write_framed(&self) -> Result<Bytes, EncodeError> {
                let mut writer = Writer::new();
                writer.i16(self.api_key());
                self.write(&mut writer, 0)?;
                Ok(writer.finish().into_bytes())
            }
        }

        impl $value {
            /// Reads a whole record value, of the type its key names; also gives the version of its body.
            pub fn read_framed(api_key: i16, value: Bytes) -> Result<(Self, i16), DecodeError> {
                let mut reader = Reader::new(value);
                let version = reader.i16(stringify!($value))?;
                let value = Self::read(api_key, version, &mut reader)?;
                reader.finish(stringify!($value))?;
                Ok((value, version))
            }

            /// The whole record value with the body in that version.
            pub fn write_framed(&self, version: i16) -> Result<Bytes, EncodeError> {
                let mut writer = Writer::new();
                writer.i16(version);
                self.write(&mut writer, version)?;
                Ok(writer.finish().into_bytes())
            }
        }
    };
}
coordinator_frames!(GroupKey, GroupValue);
coordinator_frames!(TransactionKey, TransactionValue);
coordinator_frames!(ShareKey, ShareValue);
