//! What is known of each API: its number, name, versions, and the versions of the headers around it. Which
//! of them the broker serves is decided by the handlers, not here.

pub use crate::generated::api_key::ApiKey;

/// A number that names no API of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown API key {0}")]
pub struct UnknownApiKey(pub i16);

impl TryFrom<i16> for ApiKey {
    type Error = UnknownApiKey;

    fn try_from(code: i16) -> Result<Self, UnknownApiKey> {
        Self::from_code(code).ok_or(UnknownApiKey(code))
    }
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The version of the header in front of a request of that version.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.first_flexible_request().is_some_and(|first| version >= first) { 2 } else { 1 }
    }

    /// The version of the header in front of a response of that version. `ApiVersions` keeps the oldest one,
    /// so that a client of any age can read the answer (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        let flexible = self.first_flexible_response().is_some_and(|first| version >= first);
        i16::from(flexible && self != Self::ApiVersions)
    }
}

/// As [`ApiKey::request_header_version`], by number.
pub fn request_header_version(api_key: i16, version: i16) -> Result<i16, UnknownApiKey> {
    Ok(ApiKey::try_from(api_key)?.request_header_version(version))
}

/// As [`ApiKey::response_header_version`], by number.
pub fn response_header_version(api_key: i16, version: i16) -> Result<i16, UnknownApiKey> {
    Ok(ApiKey::try_from(api_key)?.response_header_version(version))
}
