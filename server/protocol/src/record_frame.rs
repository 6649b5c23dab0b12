//! The frame around a metadata record's body, which is the value of a record in `__cluster_metadata`: three
//! unsigned varints (frame version 1, type, version), then the body. A frame is valid iff its frame version
//! is 1, its type and version are known, and the body takes all that is left.

use bytes::Bytes;

use crate::{
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
