//! The control records of the metadata log: who leads, which voters there are, where a snapshot begins and ends.
//!
//! Key: int16 version 0, int16 type. Values begin with an int16 version and are flexible: arrays and strings
//! carry their length plus one as a uvarint, each struct ends with a uvarint count of tagged fields.
//! ```text
//! LeaderChange   version=0, leader id i32, voters [i32 id, tags], granting voters [i32 id, tags], tags
//! SnapshotHeader version=0, timestamp of the last record in it i64, tags
//! SnapshotFooter version=0, tags
//! KRaftVersion   version=0, level i16, tags
//! KRaftVoters    version=0, voters [i32 id, uuid directory, endpoints [name, host, port u16, tags],
//!                lowest and highest kraft.version i16 i16, tags, tags], tags
//! ```

use super::image::{Endpoint, Id};
use bytes::{BufMut, Bytes, BytesMut};

/// A control record, its value kept as bytes: what others wrote is carried on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// What it is.
    pub kind: ControlKind,
    /// The value.
    pub value: Bytes,
}

/// Kafka's types of control records that occur in a metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlKind {
    /// A new leader begins its epoch.
    LeaderChange = 2,
    /// First record of a snapshot.
    SnapshotHeader = 3,
    /// Last record of a snapshot.
    SnapshotFooter = 4,
    /// Level of the feature `kraft.version`.
    KRaftVersion = 5,
    /// The set of voters.
    KRaftVoters = 6,
}

/// A voter of the metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: i32,
    /// Id of the directory that holds its metadata log.
    pub directory_id: Id,
    /// Where other voters reach it.
    pub endpoint: Endpoint,
}

/// The level of `kraft.version` at which voters are kept in the log.
const KRAFT_VERSION: i16 = 1;
/// A record has no tagged fields.
const NO_TAGS: u8 = 0;

impl ControlRecord {
    /// `leader_id` begins a new epoch, elected by itself alone.
    pub fn leader_change(leader_id: i32) -> Self {
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i32(leader_id);
        for _list in ["voters", "granting voters"] {
            put_uvarint(&mut value, 1 + 1);
            value.put_i32(leader_id);
            value.put_u8(NO_TAGS);
        }
        value.put_u8(NO_TAGS);
        Self { kind: ControlKind::LeaderChange, value: value.freeze() }
    }

    /// A snapshot begins whose last record was written at that time.
    pub fn snapshot_header(last_timestamp_ms: i64) -> Self {
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i64(last_timestamp_ms);
        value.put_u8(NO_TAGS);
        Self { kind: ControlKind::SnapshotHeader, value: value.freeze() }
    }

    /// A snapshot is whole.
    pub fn snapshot_footer() -> Self {
        Self { kind: ControlKind::SnapshotFooter, value: Bytes::from_static(&[0, 0, NO_TAGS]) }
    }

    /// Voters are kept in the log.
    pub fn kraft_version() -> Self {
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i16(KRAFT_VERSION);
        value.put_u8(NO_TAGS);
        Self { kind: ControlKind::KRaftVersion, value: value.freeze() }
    }

    /// The level a record of `kraft.version` says; `None` for other records and for one that ends too early.
    pub fn kraft_level(&self) -> Option<i16> {
        let level = self.value.get(2..4).filter(|_| self.kind == ControlKind::KRaftVersion)?;
        Some(i16::from_be_bytes(level.try_into().ok()?))
    }

    /// One voter.
    pub fn kraft_voters(voter: &Voter) -> Self {
        let mut value = BytesMut::new();
        value.put_i16(0);
        put_uvarint(&mut value, 1 + 1);
        value.put_i32(voter.id);
        value.put_slice(&voter.directory_id.0);
        put_uvarint(&mut value, 1 + 1);
        for text in [&voter.endpoint.name, &voter.endpoint.host] {
            put_uvarint(&mut value, text.len() + 1);
            value.put_slice(text.as_bytes());
        }
        value.put_u16(voter.endpoint.port);
        value.put_u8(NO_TAGS);
        value.put_i16(0);
        value.put_i16(KRAFT_VERSION);
        for _level in ["feature", "voter", "record"] {
            value.put_u8(NO_TAGS);
        }
        Self { kind: ControlKind::KRaftVoters, value: value.freeze() }
    }

    /// The key in front of it.
    pub fn key(&self) -> [u8; 4] {
        let kind = match self.kind {
            ControlKind::LeaderChange => 2,
            ControlKind::SnapshotHeader => 3,
            ControlKind::SnapshotFooter => 4,
            ControlKind::KRaftVersion => 5,
            ControlKind::KRaftVoters => 6,
        };
        [0, 0, 0, kind]
    }

    /// Takes a record that was read; the error says what is not known about it.
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let kind = match key {
            [_, _, 0, 2] => ControlKind::LeaderChange,
            [_, _, 0, 3] => ControlKind::SnapshotHeader,
            [_, _, 0, 4] => ControlKind::SnapshotFooter,
            [_, _, 0, 5] => ControlKind::KRaftVersion,
            [_, _, 0, 6] => ControlKind::KRaftVoters,
            other => return Err(format!("control record with key {other:02x?}")),
        };
        Ok(Self { kind, value: Bytes::copy_from_slice(value) })
    }

    /// The only voter of a `KRaftVoters` record; `None` if there are more, or it is no such record.
    pub fn only_voter(&self) -> Option<i32> {
        match (self.kind, self.value.get(..7)?) {
            (ControlKind::KRaftVoters, &[_, _, 2, a, b, c, d]) => Some(i32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

/// Appends a length in groups of seven bits, lowest first.
fn put_uvarint(buffer: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            buffer.put_u8(low);
            return;
        }
        buffer.put_u8(low | 0x80);
    }
}
