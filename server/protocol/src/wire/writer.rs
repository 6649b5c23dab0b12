//! The writer. Small values gather in one buffer; record bytes and long byte fields become parts of their
//! own and are never copied.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Element, EncodeError, EncodeProblem, Encoded, Part, Records, Str, Uuid};

/// From this size on a bytes field becomes a part of its own: below it, copying is cheaper than one more
/// entry in a vectored send.
const SHARED_BYTES_MIN: usize = 1024;
/// Where the first buffer starts: most responses fit.
const BUFFER_BYTES: usize = 256;
/// From this size on what has gathered becomes a part between two elements of an array: a large answer is not copied
/// again and again while it grows.
const GATHERED_BYTES_MAX: usize = 256 << 10;

type Result<T> = std::result::Result<T, EncodeError>;

/// Appends values of one message.
#[derive(Debug, Default)]
pub struct Writer {
    parts: Vec<Part>,
    /// Bytes in `parts`, external runs included.
    parts_bytes: usize,
    buffer: BytesMut,
    /// Above zero inside of tagged fields, whose size must be known first: there everything is copied.
    tag_depth: u32,
}

/// The content around a tagged field while that is written.
#[derive(Debug)]
#[must_use = "the surrounding content is lost unless this is given back"]
pub struct TagMark {
    outer: BytesMut,
    tag: u32,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(BUFFER_BYTES), ..Self::default() }
    }

    /// Bytes written so far, external runs included.
    pub fn len(&self) -> usize {
        self.parts_bytes.saturating_add(self.buffer.len())
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the message.
    pub fn finish(mut self) -> Encoded {
        self.seal();
        Encoded::new(self.parts, self.parts_bytes)
    }

    /// Turns what has gathered into a part.
    fn seal(&mut self) {
        if !self.buffer.is_empty() {
            let gathered = self.buffer.split().freeze();
            self.parts_bytes = self.parts_bytes.saturating_add(gathered.len());
            self.parts.push(Part::Bytes(gathered));
        }
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// An unsigned number in groups of 7 bits, lowest first.
    pub fn uvarint(&mut self, mut value: u32) {
        loop {
            let group = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                self.buffer.put_u8(group);
                return;
            }
            self.buffer.put_u8(group | 0x80);
        }
    }

    /// A length of the 32-bit kind: +1 as a varint in flexible versions.
    fn length(&mut self, length: usize, field: &'static str, flexible: bool) -> Result<()> {
        let too_long = EncodeError { field, problem: EncodeProblem::TooLong { length } };
        let length = i32::try_from(length).map_err(|_| too_long)?;
        if flexible {
            self.uvarint(length.unsigned_abs().saturating_add(1));
        } else {
            self.i32(length);
        }
        Ok(())
    }

    /// Null for a length of the 32-bit kind.
    fn null_length(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A string.
    pub fn string(&mut self, value: &Str, field: &'static str, flexible: bool) -> Result<()> {
        let length = value.as_bytes().len();
        let short = i16::try_from(length)
            .map_err(|_| EncodeError { field, problem: EncodeProblem::TooLong { length } })?;
        if flexible {
            self.uvarint(u32::from(short.unsigned_abs()).saturating_add(1));
        } else {
            self.i16(short);
        }
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// A string or null.
    pub fn nullable_string(
        &mut self,
        value: Option<&Str>,
        field: &'static str,
        flexible: bool,
    ) -> Result<()> {
        match value {
            Some(value) => self.string(value, field, flexible)?,
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &Bytes, field: &'static str, flexible: bool) -> Result<()> {
        self.length(value.len(), field, flexible)?;
        if value.len() >= SHARED_BYTES_MIN && self.tag_depth == 0 {
            self.share(value.clone());
        } else {
            self.buffer.put_slice(value);
        }
        Ok(())
    }

    /// Bytes or null.
    pub fn nullable_bytes(
        &mut self,
        value: Option<&Bytes>,
        field: &'static str,
        flexible: bool,
    ) -> Result<()> {
        match value {
            Some(value) => self.bytes(value, field, flexible)?,
            None => self.null_length(flexible),
        }
        Ok(())
    }

    /// Records; null is an error.
    pub fn records(&mut self, value: &Records, field: &'static str, flexible: bool) -> Result<()> {
        if matches!(value, Records::Null) {
            return Err(EncodeError { field, problem: EncodeProblem::Null });
        }
        self.nullable_records(value, field, flexible)
    }

    /// Records or null.
    pub fn nullable_records(&mut self, value: &Records, field: &'static str, flexible: bool) -> Result<()> {
        match value {
            Records::Null => self.null_length(flexible),
            Records::Bytes(bytes) => {
                self.length(bytes.len(), field, flexible)?;
                if !bytes.is_empty() {
                    self.share(bytes.clone());
                }
            }
            Records::External { index, len } => {
                self.length(value.len(), field, flexible)?;
                self.seal();
                self.parts_bytes = self.parts_bytes.saturating_add(value.len());
                self.parts.push(Part::Slices { index: *index, len: *len });
            }
        }
        Ok(())
    }

    /// Appends bytes without copying them.
    fn share(&mut self, bytes: Bytes) {
        self.seal();
        self.parts_bytes = self.parts_bytes.saturating_add(bytes.len());
        self.parts.push(Part::Bytes(bytes));
    }

    /// Appends bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// An array, with a function for each element.
    pub fn array<T>(
        &mut self,
        values: &[T],
        field: &'static str,
        flexible: bool,
        mut element: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.length(values.len(), field, flexible)?;
        values.iter().try_for_each(|value| {
            if self.buffer.len() >= GATHERED_BYTES_MAX && self.tag_depth == 0 {
                self.seal();
            }
            element(self, value)
        })
    }

    /// An array or null.
    pub fn nullable_array<T>(
        &mut self,
        values: Option<&[T]>,
        field: &'static str,
        flexible: bool,
        element: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        let Some(values) = values else {
            self.null_length(flexible);
            return Ok(());
        };
        self.array(values, field, flexible, element)
    }

    /// A struct or null: a byte says which.
    pub fn nullable_struct<T: Element>(&mut self, value: Option<&T>, version: i16) -> Result<()> {
        if let Some(value) = value {
            self.i8(1);
            value.write(self, version)
        } else {
            self.i8(-1);
            Ok(())
        }
    }

    /// A nullable struct as the content of a tagged field.
    pub fn nullable_tagged_struct<T: Element>(&mut self, value: Option<&T>, version: i16) -> Result<()> {
        if let Some(value) = value {
            self.uvarint(1);
            value.write(self, version)
        } else {
            self.uvarint(0);
            Ok(())
        }
    }

    /// Begins a tagged field: what follows, up to [`Writer::end_tag`], is its content.
    pub fn begin_tag(&mut self, tag: u32) -> TagMark {
        self.tag_depth = self.tag_depth.saturating_add(1);
        TagMark { outer: std::mem::take(&mut self.buffer), tag }
    }

    /// Ends a tagged field: tag, size and content follow the surrounding content.
    pub fn end_tag(&mut self, mark: TagMark, field: &'static str) -> Result<()> {
        let content = std::mem::replace(&mut self.buffer, mark.outer);
        self.tag_depth = self.tag_depth.saturating_sub(1);
        let length = content.len();
        let size = i32::try_from(length)
            .map_err(|_| EncodeError { field, problem: EncodeProblem::TooLong { length } })?;
        self.uvarint(mark.tag);
        self.uvarint(size.unsigned_abs());
        self.buffer.put_slice(&content);
        Ok(())
    }
}
