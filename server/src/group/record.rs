//! The records of `__consumer_offsets`, in Apache Kafka's format (`GroupCoordinatorRecordHelpers`): what they say, and
//! their bytes.
//!
//! Key: two bytes of type, then the body. 0 and 1 are offsets of a group's partition, 2 is a classic group; 3 to 8 and 16 are groups
//! of KIP-848 ([`ConsumerRecord`]), 10 to 15 share groups, 17 to 23 streams groups. Value: two bytes of version, then the body; none is a
//! tombstone. Written are offsets in version 3 (1 if the commit says when it expires) and groups in version 3: the newest
//! ones that every tool reads.

use std::sync::Arc;

use bytes::Bytes;
use ringmain_protocol::coordinator::{
    GroupKey, GroupMetadataKey, GroupMetadataValue, GroupValue, OffsetCommitKey, OffsetCommitValue,
};
use ringmain_protocol::wire::{DecodeError, EncodeError, Str};

use super::consumer::ConsumerRecord;
use super::offsets::Committed;

/// The version of a group's value.
const GROUP_VERSION: i16 = 3;
/// The version of an offset's value.
const OFFSET_VERSION: i16 = 3;
/// The version of an offset's value that says when it expires.
const EXPIRING_OFFSET_VERSION: i16 = 1;

/// One change of a coordinator's state.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// A group's offset in a partition; `None` takes it away.
    Offset(OffsetKey, Option<Committed>),
    /// A classic group; `None` takes it away.
    Group(Arc<str>, Option<GroupMetadataValue>),
    /// A part of a group of KIP-848.
    Consumer(Arc<str>, ConsumerRecord),
}

/// Whose offset it is. In order of groups, and a group's by topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OffsetKey {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// What a record's bytes say.
#[derive(Clone, PartialEq, Debug)]
pub enum Parsed {
    /// Something we know.
    Known(Record),
    /// A record of another kind of group: it must be kept.
    Foreign,
}

impl Record {
    /// Reads key and value.
    pub fn parse(key: Bytes, value: Option<Bytes>) -> Result<Parsed, DecodeError> {
        let key = match GroupKey::read_framed(key)? {
            GroupKey::OffsetCommit(key) => {
                OffsetKey { group: text(&key.group), topic: text(&key.topic), partition: key.partition }
            }
            GroupKey::LegacyOffsetCommit(key) => {
                OffsetKey { group: text(&key.group), topic: text(&key.topic), partition: key.partition }
            }
            GroupKey::GroupMetadata(key) => {
                let value = value.map(|value| GroupValue::read_framed(2, value)).transpose()?;
                return Ok(match value {
                    None => Parsed::Known(Self::Group(text(&key.group), None)),
                    Some((GroupValue::GroupMetadata(value), _)) => {
                        Parsed::Known(Self::Group(text(&key.group), Some(value)))
                    }
                    Some(_) => Parsed::Foreign,
                });
            }
            key if matches!(key.api_key(), 3..=8 | 16) => {
                let kind = key.api_key();
                let value = value.map(|value| GroupValue::read_framed(kind, value)).transpose()?;
                let known = ConsumerRecord::parse(key, value.map(|(value, _)| value));
                return Ok(known.map_or(Parsed::Foreign, |(group, record)| {
                    Parsed::Known(Self::Consumer(group, record))
                }));
            }
            _ => return Ok(Parsed::Foreign),
        };
        // Versions 0 and 1 of the key have the same values.
        let value = value.map(|value| GroupValue::read_framed(1, value)).transpose()?;
        Ok(match value {
            None => Parsed::Known(Self::Offset(key, None)),
            Some((GroupValue::OffsetCommit(value), _)) => {
                Parsed::Known(Self::Offset(key, Some(Committed::from(&value))))
            }
            Some(_) => Parsed::Foreign,
        })
    }

    /// Its bytes, about.
    fn weight(&self) -> usize {
        match self {
            Self::Offset(key, committed) => {
                64 + key.group.len() + key.topic.len() + committed.as_ref().map_or(0, |it| it.metadata.len())
            }
            Self::Group(id, metadata) => {
                let members = metadata.iter().flat_map(|value| &value.members);
                let bytes = members.map(|member| 256 + member.subscription.len() + member.assignment.len());
                64 + id.len() + bytes.sum::<usize>()
            }
            Self::Consumer(group, record) => group.len() + record.weight(),
        }
    }

    /// Its key and value as they stand in the log.
    pub fn to_bytes(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Offset(key, committed) => {
                let value = committed.as_ref().map(|committed| {
                    let expires = committed.expire_timestamp.is_some();
                    let version = if expires { EXPIRING_OFFSET_VERSION } else { OFFSET_VERSION };
                    GroupValue::OffsetCommit(OffsetCommitValue::from(committed)).write_framed(version)
                });
                let key = GroupKey::OffsetCommit(OffsetCommitKey {
                    group: Str::from(&*key.group),
                    topic: Str::from(&*key.topic),
                    partition: key.partition,
                });
                Ok((key.write_framed()?, value.transpose()?))
            }
            Self::Group(group, metadata) => {
                let key = GroupKey::GroupMetadata(GroupMetadataKey { group: Str::from(&**group) });
                let value = metadata
                    .as_ref()
                    .map(|metadata| GroupValue::GroupMetadata(metadata.clone()).write_framed(GROUP_VERSION));
                Ok((key.write_framed()?, value.transpose()?))
            }
            Self::Consumer(group, record) => record.to_bytes(group),
        }
    }
}

impl From<&OffsetCommitValue> for Committed {
    fn from(value: &OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: text(&value.metadata),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        }
    }
}

impl From<&Committed> for OffsetCommitValue {
    fn from(committed: &Committed) -> Self {
        Self {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: Str::from(&*committed.metadata),
            commit_timestamp: committed.commit_timestamp,
            expire_timestamp: committed.expire_timestamp.unwrap_or(-1),
            ..Self::default()
        }
    }
}

/// Bytes after which a batch takes no further record, far below what any topic takes.
const PIECE_BYTES: usize = 256 << 10;

/// Records in their order, as many at a time as make a batch of ordinary size.
pub(super) fn pieces(records: Vec<Record>) -> impl Iterator<Item = Vec<Record>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while let Some(record) =
            records.next_if(|record| piece.is_empty() || bytes + record.weight() <= PIECE_BYTES)
        {
            bytes += record.weight();
            piece.push(record);
        }
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Text that does not keep what it was read from alive.
pub(super) fn text(text: &Str) -> Arc<str> {
    Arc::from(text.as_str())
}
