//! Kafka's 128-bit identifiers and their text: URL-safe base64 without padding, 22 characters.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// An identifier of a topic, a directory or a member. Zero means "none" on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// The text is not 22 characters of URL-safe base64 that make 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a Kafka id: 22 characters of URL-safe base64 are needed")]
pub struct ParseUuidError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in digits of 6 bits.
const TEXT_CHARS: usize = 22;

impl Uuid {
    /// No identifier.
    pub const ZERO: Self = Self([0; 16]);
    /// Both the topic id of `__cluster_metadata` and, for directories, "unassigned".
    pub const METADATA_TOPIC_ID: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Takes the 16 bytes as they go over the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Takes the number whose big-endian bytes go over the wire.
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// The number whose big-endian bytes go over the wire.
    pub const fn as_u128(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// True for [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.as_u128();
        // 22 digits hold 132 bits: the last digit carries the low 2 bits, left-aligned.
        let mut text = [b'A'; TEXT_CHARS];
        for (position, digit) in text.iter_mut().enumerate() {
            let bits = match 122_usize.checked_sub(position.saturating_mul(6)) {
                Some(shift) => value.checked_shr(u32::try_from(shift).unwrap_or(0)).unwrap_or(0),
                None => value.wrapping_shl(4),
            };
            let digit_index = usize::try_from(bits & 63).unwrap_or(0);
            *digit = ALPHABET.get(digit_index).copied().unwrap_or(b'A');
        }
        formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        if text.len() != TEXT_CHARS {
            return Err(ParseUuidError);
        }
        let mut value: u128 = 0;
        for (position, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|letter| *letter == byte).ok_or(ParseUuidError)?;
            let digit = u128::try_from(digit).map_err(|_| ParseUuidError)?;
            if position == TEXT_CHARS - 1 {
                // Only the upper two bits of the last digit belong to the value.
                if digit & 0xf != 0 {
                    return Err(ParseUuidError);
                }
                value = (value << 2) | (digit >> 4);
            } else {
                value = (value << 6) | digit;
            }
        }
        Ok(Self::from_u128(value))
    }
}
