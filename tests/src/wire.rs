//! The few request and response layouts that the tests speak, written by hand: ApiVersions v0,
//! Metadata v1, Produce v3, Fetch v4, ListOffsets v1, CreateTopics v2 (all of them
//! before the compact encodings).

/// Bytes of a request or a batch under construction, big-endian.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "carries records")]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Appends an int8.
    pub fn i8(mut self, value: i8) -> Writer {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends an int16.
    pub fn i16(mut self, value: i16) -> Writer {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends an int32.
    pub fn i32(mut self, value: i32) -> Writer {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends an int64.
    pub fn i64(mut self, value: i64) -> Writer {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a string with its int16 length.
    pub fn string(self, value: &str) -> Writer {
        self.i16(i16::try_from(value.len()).unwrap()).raw(value.as_bytes())
    }

    /// Appends bytes with their int32 length.
    pub fn bytes(self, value: &[u8]) -> Writer {
        self.i32(i32::try_from(value.len()).unwrap()).raw(value)
    }

    /// Appends bytes as they are.
    pub fn raw(mut self, value: &[u8]) -> Writer {
        self.0.extend(value);
        self
    }

    /// Appends a zigzag varint.
    pub fn varint(mut self, value: i64) -> Writer {
        let mut bits = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
        while bits >= 0x80 {
            self.0.push(bits.to_le_bytes()[0] | 0x80);
            bits >>= 7;
        }
        self.0.push(bits.to_le_bytes()[0]);
        self
    }
}

/// A reader of a response. It panics where the bytes end: a test fails by that.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes `length` bytes.
    pub fn raw(&mut self, length: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        head
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        self.raw(N).try_into().unwrap()
    }

    /// Takes an int8.
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    /// Takes an int16.
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    /// Takes an int32.
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    /// Takes an int64.
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    /// Takes an int32 that counts or measures; a negative one (null) is none.
    pub fn count(&mut self) -> usize {
        usize::try_from(self.i32()).unwrap_or(0)
    }

    /// Takes a string with its int16 length; null is empty.
    pub fn string(&mut self) -> String {
        let length = usize::try_from(self.i16()).unwrap_or(0);
        String::from_utf8(self.raw(length).to_vec()).unwrap()
    }

    /// Takes a zigzag varint.
    pub fn varint(&mut self) -> i64 {
        let (mut bits, mut shift) = (0_u64, 0);
        loop {
            let byte = u64::from(self.fixed::<1>()[0]);
            bits |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed();
            }
            shift += 7;
        }
    }
}
