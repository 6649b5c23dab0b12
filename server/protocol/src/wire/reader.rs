//! The bounded reader. Every length and count is compared with what remains before anything is allocated,
//! and all allocations of one reader together stay within a budget proportional to the input.

use bytes::Bytes;

use super::{DecodeError, DecodeProblem, Element, Records, Str, Uuid};

/// Memory any message may use, however small it is: room for the fixed part of the largest types.
const BUDGET_BASE_BYTES: usize = 256 * 1024;
/// Memory a byte of input may turn into. The densest honest input is an array of short strings: 32 bytes of
/// memory for 4 on the wire; structs of many optional fields stay below 16 too.
const BUDGET_BYTES_PER_INPUT_BYTE: usize = 16;

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads values from the front of shared bytes. Strings, bytes and records are slices of the input.
#[derive(Clone, Debug)]
pub struct Reader {
    input: Bytes,
    position: usize,
    /// Where reading stops; inside a tagged field the end of that field.
    pub(super) end: usize,
    budget_bytes: usize,
}

impl Reader {
    /// A reader over all of `input`, with the usual memory budget.
    pub fn new(input: Bytes) -> Self {
        let budget_bytes =
            input.len().saturating_mul(BUDGET_BYTES_PER_INPUT_BYTE).saturating_add(BUDGET_BASE_BYTES);
        Self::with_budget(input, budget_bytes)
    }

    /// A reader whose arrays may take at most `budget_bytes` of memory together.
    pub fn with_budget(input: Bytes, budget_bytes: usize) -> Self {
        let end = input.len();
        Self { input, position: 0, end, budget_bytes }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// What has not been read, without copying.
    pub fn rest(&self) -> Bytes {
        self.input.slice(self.position..self.end.max(self.position))
    }

    /// An error unless everything was read.
    pub fn finish(&self, field: &'static str) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError { field, problem: DecodeProblem::TrailingBytes { left } }),
        }
    }

    /// Steps over `length` bytes and returns where they began.
    fn advance(&mut self, length: usize, field: &'static str) -> Result<usize> {
        let start = self.position;
        match start.checked_add(length) {
            Some(next) if next <= self.end => {
                self.position = next;
                Ok(start)
            }
            _ => Err(DecodeError {
                field,
                problem: DecodeProblem::Truncated { needed: length, remaining: self.remaining() },
            }),
        }
    }

    fn array_of<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let start = self.advance(N, field)?;
        let bytes = self.input.get(start..).and_then(|rest| rest.first_chunk::<N>());
        bytes
            .copied()
            .ok_or(DecodeError { field, problem: DecodeProblem::Truncated { needed: N, remaining: 0 } })
    }

    /// The next `length` bytes, shared with the input.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<Bytes> {
        let start = self.advance(length, field)?;
        Ok(self.input.slice(start..self.position))
    }

    /// Steps over `length` bytes.
    pub fn skip(&mut self, length: usize, field: &'static str) -> Result<()> {
        self.advance(length, field).map(|_| ())
    }

    /// A byte: 0 is false, anything else true.
    pub fn bool(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.array_of::<1>(field)? != [0])
    }

    /// A byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array_of(field)?))
    }

    /// A signed byte.
    pub fn i8(&mut self, field: &'static str) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array_of(field)?))
    }

    /// Two bytes.
    pub fn i16(&mut self, field: &'static str) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array_of(field)?))
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array_of(field)?))
    }

    /// Four bytes.
    pub fn i32(&mut self, field: &'static str) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array_of(field)?))
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array_of(field)?))
    }

    /// Eight bytes.
    pub fn i64(&mut self, field: &'static str) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array_of(field)?))
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, field: &'static str) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array_of(field)?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid> {
        Ok(Uuid::from_bytes(self.array_of(field)?))
    }

    /// An unsigned number in groups of 7 bits, lowest first, at most 32 bits.
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32> {
        let mut value: u32 = 0;
        for shift in [0_u32, 7, 14, 21, 28] {
            let byte = u32::from(self.u8(field)?);
            let group = byte & 0x7f;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError { field, problem: DecodeProblem::Varint })
    }

    /// A length that may stand for null: `uvarint` of length + 1 in flexible versions, else as `fixed` reads.
    fn length(
        &mut self,
        field: &'static str,
        flexible: bool,
        fixed: impl FnOnce(&mut Self) -> Result<i64>,
    ) -> Result<Option<usize>> {
        let length = if flexible { i64::from(self.uvarint(field)?).saturating_sub(1) } else { fixed(self)? };
        if length == -1 {
            return Ok(None);
        }
        let error = DecodeError { field, problem: DecodeProblem::Length { length } };
        usize::try_from(length).map(Some).map_err(|_| error)
    }

    /// A string or null.
    pub fn nullable_string(&mut self, field: &'static str, flexible: bool) -> Result<Option<Str>> {
        let Some(length) = self.length(field, flexible, |reader| Ok(i64::from(reader.i16(field)?)))? else {
            return Ok(None);
        };
        if length > 0x7fff {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            return Err(DecodeError { field, problem: DecodeProblem::Length { length } });
        }
        let bytes = self.take(length, field)?;
        Str::from_utf8(bytes).map(Some).map_err(|_| DecodeError { field, problem: DecodeProblem::Utf8 })
    }

    /// A string.
    pub fn string(&mut self, field: &'static str, flexible: bool) -> Result<Str> {
        self.nullable_string(field, flexible)?.ok_or(DecodeError { field, problem: DecodeProblem::Null })
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, field: &'static str, flexible: bool) -> Result<Option<Bytes>> {
        let length = self.length(field, flexible, |reader| Ok(i64::from(reader.i32(field)?)))?;
        length.map(|length| self.take(length, field)).transpose()
    }

    /// Bytes.
    pub fn bytes(&mut self, field: &'static str, flexible: bool) -> Result<Bytes> {
        self.nullable_bytes(field, flexible)?.ok_or(DecodeError { field, problem: DecodeProblem::Null })
    }

    /// Records or null.
    pub fn nullable_records(&mut self, field: &'static str, flexible: bool) -> Result<Records> {
        Ok(self.nullable_bytes(field, flexible)?.map_or(Records::Null, Records::Bytes))
    }

    /// Records.
    pub fn records(&mut self, field: &'static str, flexible: bool) -> Result<Records> {
        Ok(Records::Bytes(self.bytes(field, flexible)?))
    }

    /// An array or null. No element is smaller than `wire_bytes_min` on the wire.
    pub fn nullable_array<T>(
        &mut self,
        field: &'static str,
        flexible: bool,
        wire_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(field, flexible, |reader| Ok(i64::from(reader.i32(field)?)))? else {
            return Ok(None);
        };
        let remaining = self.remaining();
        if count.saturating_mul(wire_bytes_min.max(1)) > remaining {
            return Err(DecodeError { field, problem: DecodeProblem::Count { count, remaining } });
        }
        let memory_bytes = count.saturating_mul(size_of::<T>());
        self.budget_bytes = self
            .budget_bytes
            .checked_sub(memory_bytes)
            .ok_or(DecodeError { field, problem: DecodeProblem::MemoryBudget })?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        field: &'static str,
        flexible: bool,
        wire_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(field, flexible, wire_bytes_min, element)?
            .ok_or(DecodeError { field, problem: DecodeProblem::Null })
    }

    /// An array of structs or null.
    pub fn nullable_structs<T: Element>(
        &mut self,
        field: &'static str,
        flexible: bool,
        version: i16,
    ) -> Result<Option<Vec<T>>> {
        self.nullable_array(field, flexible, T::WIRE_BYTES_MIN, |reader| T::read(reader, version))
    }

    /// An array of structs.
    pub fn structs<T: Element>(
        &mut self,
        field: &'static str,
        flexible: bool,
        version: i16,
    ) -> Result<Vec<T>> {
        self.nullable_structs(field, flexible, version)?
            .ok_or(DecodeError { field, problem: DecodeProblem::Null })
    }

    /// A struct or null: a byte says which, −1 for null.
    pub fn nullable_struct<T: Element>(&mut self, field: &'static str, version: i16) -> Result<Option<T>> {
        match self.i8(field)? {
            -1 => Ok(None),
            0.. => T::read(self, version).map(Some),
            marker => {
                let length = i64::from(marker);
                Err(DecodeError { field, problem: DecodeProblem::Length { length } })
            }
        }
    }
}
