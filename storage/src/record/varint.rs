//! Kafka's variable-length integers (protobuf's zigzag varints) and the bounded cursor that reads
//! them. Every read says what it wanted when the bytes do not hold it; nothing here panics.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

/// Longest encoding of a 32-bit value.
pub const VARINT_BYTES_MAX: usize = 5;
/// Longest encoding of a 64-bit value.
pub const VARLONG_BYTES_MAX: usize = 10;

/// A field that the bytes do not hold: they end too early, or a varint runs on too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: the bytes end too early or the number is malformed")]
pub struct Malformed {
    /// Which field was being read.
    pub field: &'static str,
}

/// A forward reader over borrowed bytes.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl std::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({} bytes left)", self.rest.len())
    }
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `size` bytes.
    #[inline]
    pub fn take(&mut self, size: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(size).ok_or(Malformed { field })?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed { field })?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        let (head, tail) = self.rest.split_first().ok_or(Malformed { field })?;
        self.rest = tail;
        Ok(*head)
    }

    /// A zigzag varint of at most five bytes.
    #[inline]
    pub fn varint(&mut self, field: &'static str) -> Result<i32, Malformed> {
        if let Some((&first, tail)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = tail;
            return Ok(unzigzag_32(u32::from(first)));
        }
        let raw = self.unsigned(VARINT_BYTES_MAX, field)?;
        // Java shifts a fifth byte's surplus bits out of its int; so do we.
        let low = raw & u64::from(u32::MAX);
        Ok(unzigzag_32(u32::try_from(low).map_err(|_| Malformed { field })?))
    }

    /// A zigzag varint of at most ten bytes.
    #[inline]
    pub fn varlong(&mut self, field: &'static str) -> Result<i64, Malformed> {
        self.unsigned(VARLONG_BYTES_MAX, field).map(unzigzag_64)
    }

    /// A length that may be −1 for null; any other negative number is malformed.
    #[inline]
    pub fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint(field)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed { field })?;
                self.take(length, field).map(Some)
            }
        }
    }

    fn unsigned(&mut self, bytes_max: usize, field: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        let mut shift = 0_u32;
        for (index, &byte) in self.rest.iter().enumerate().take(bytes_max) {
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                self.rest = self.rest.get(index.saturating_add(1)..).ok_or(Malformed { field })?;
                return Ok(value);
            }
            shift = shift.saturating_add(7);
        }
        Err(Malformed { field })
    }
}

/// Appends a zigzag varint.
pub fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_varlong(out, i64::from(value));
}

/// Appends a zigzag varint of 64 bits. A 32-bit value has the same bytes either way.
pub fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag_64(value);
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest = rest.wrapping_shr(7);
    }
    out.push(rest.to_le_bytes()[0]);
}

/// How many bytes [`write_varlong`] appends.
pub const fn varlong_bytes(value: i64) -> usize {
    let mut rest = zigzag_64(value).wrapping_shr(7);
    let mut count: usize = 1;
    while rest > 0 {
        rest = rest.wrapping_shr(7);
        count = count.saturating_add(1);
    }
    count
}

const fn zigzag_64(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(63)).cast_unsigned()
}

const fn unzigzag_64(raw: u64) -> i64 {
    raw.wrapping_shr(1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

const fn unzigzag_32(raw: u32) -> i32 {
    raw.wrapping_shr(1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}
