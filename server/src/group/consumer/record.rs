//! The records of groups of KIP-848 in `__consumer_offsets`: seven types, each a part of a group's state. Their keys name
//! the group first. Value versions are all 0.
//!
//! Kafka 4.1 and later write no partition metadata any more, only the tombstone of a record that an older broker wrote.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ringmain_protocol::coordinator as wire;
use ringmain_protocol::coordinator::{GroupKey, GroupValue};
use ringmain_protocol::wire::{EncodeError, Str, Uuid};
use ringmain_storage::types::TopicId;

use super::super::classic::Protocol;
use super::super::record::text;
use super::member::{Assignment, ClassicFacts, Current, Facts, MemberState, Owned};

/// The version of all values.
const VERSION: i16 = 0;

/// One change of a group's state; no value takes that part away.
#[derive(Clone, PartialEq, Debug)]
pub enum ConsumerRecord {
    /// The group's epoch. Taken away it takes the group away.
    Epoch(Option<GroupEpoch>),
    /// What older brokers knew of the topics.
    PartitionMetadata(Option<wire::ConsumerGroupPartitionMetadataValue>),
    /// A member, as it says.
    Member(Arc<str>, Option<Facts>),
    /// The epoch that targets were made for.
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is meant to have.
    Target(Arc<str>, Option<Assignment>),
    /// Where a member stands.
    Current(Arc<str>, Option<Current>),
    /// The topics that an expression stands for.
    Regex(Arc<str>, Option<Resolved>),
}

/// A group's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupEpoch {
    /// The epoch.
    pub epoch: i32,
    /// A hash of the topics that are subscribed to, as they were.
    pub metadata_hash: i64,
}

/// When targets were made, and for which epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetEpoch {
    /// The group's epoch they were made for.
    pub epoch: i32,
    /// When, by the broker's clock.
    pub timestamp: i64,
}

/// The topics that an expression stands for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolved {
    /// Their names.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the cluster's metadata that was looked at.
    pub version: i64,
    /// When, by the broker's clock.
    pub timestamp: i64,
}

impl ConsumerRecord {
    /// What a key with its value says, and of which group; `None` if it is of another kind.
    pub(in crate::group) fn parse(key: GroupKey, value: Option<GroupValue>) -> Option<(Arc<str>, Self)> {
        use GroupKey as Key;
        use GroupValue as Value;
        let known = match (key, value) {
            (Key::ConsumerGroupMetadata(key), None) => (text(&key.group_id), Self::Epoch(None)),
            (Key::ConsumerGroupMetadata(key), Some(Value::ConsumerGroupMetadata(value))) => {
                let (epoch, metadata_hash) = (value.epoch, value.metadata_hash);
                (text(&key.group_id), Self::Epoch(Some(GroupEpoch { epoch, metadata_hash })))
            }
            (Key::ConsumerGroupPartitionMetadata(key), None) => {
                (text(&key.group_id), Self::PartitionMetadata(None))
            }
            (
                Key::ConsumerGroupPartitionMetadata(key),
                Some(Value::ConsumerGroupPartitionMetadata(value)),
            ) => (text(&key.group_id), Self::PartitionMetadata(Some(value))),
            (Key::ConsumerGroupMemberMetadata(key), None) => {
                (text(&key.group_id), Self::Member(text(&key.member_id), None))
            }
            (Key::ConsumerGroupMemberMetadata(key), Some(Value::ConsumerGroupMemberMetadata(value))) => {
                (text(&key.group_id), Self::Member(text(&key.member_id), Some(facts_of(&value))))
            }
            (Key::ConsumerGroupTargetAssignmentMetadata(key), None) => {
                (text(&key.group_id), Self::TargetEpoch(None))
            }
            (
                Key::ConsumerGroupTargetAssignmentMetadata(key),
                Some(Value::ConsumerGroupTargetAssignmentMetadata(value)),
            ) => {
                let target =
                    TargetEpoch { epoch: value.assignment_epoch, timestamp: value.assignment_timestamp };
                (text(&key.group_id), Self::TargetEpoch(Some(target)))
            }
            (Key::ConsumerGroupTargetAssignmentMember(key), None) => {
                (text(&key.group_id), Self::Target(text(&key.member_id), None))
            }
            (
                Key::ConsumerGroupTargetAssignmentMember(key),
                Some(Value::ConsumerGroupTargetAssignmentMember(value)),
            ) => (text(&key.group_id), Self::Target(text(&key.member_id), Some(target_of(&value)))),
            (Key::ConsumerGroupCurrentMemberAssignment(key), None) => {
                (text(&key.group_id), Self::Current(text(&key.member_id), None))
            }
            (
                Key::ConsumerGroupCurrentMemberAssignment(key),
                Some(Value::ConsumerGroupCurrentMemberAssignment(value)),
            ) => (text(&key.group_id), Self::Current(text(&key.member_id), Some(current_of(&value)))),
            (Key::ConsumerGroupRegularExpression(key), None) => {
                (text(&key.group_id), Self::Regex(text(&key.regular_expression), None))
            }
            (
                Key::ConsumerGroupRegularExpression(key),
                Some(Value::ConsumerGroupRegularExpression(value)),
            ) => {
                let topics = value.topics.iter().map(text).collect();
                let resolved = Resolved { topics, version: value.version, timestamp: value.timestamp };
                (text(&key.group_id), Self::Regex(text(&key.regular_expression), Some(resolved)))
            }
            _ => return None,
        };
        Some(known)
    }

    /// Whether it takes a part of a group away.
    pub(in crate::group) fn is_tombstone(&self) -> bool {
        self.value().is_none()
    }

    /// Its bytes, about.
    pub(in crate::group) fn weight(&self) -> usize {
        64 + match self {
            Self::Epoch(_) | Self::TargetEpoch(_) | Self::PartitionMetadata(_) => 0,
            Self::Member(id, facts) => {
                let topics = facts.iter().flat_map(|facts| &facts.topics).map(|topic| 2 + topic.len());
                let classic = facts.iter().filter_map(|facts| facts.classic.as_ref());
                let protocols = classic.flat_map(|classic| &classic.protocols);
                let protocols = protocols.map(|known| 8 + known.name.len() + known.metadata.len());
                256 + id.len() + topics.sum::<usize>() + protocols.sum::<usize>()
            }
            Self::Target(id, target) => {
                id.len() + target.iter().flatten().map(|(_, all)| 20 + 4 * all.len()).sum::<usize>()
            }
            Self::Current(id, current) => {
                let owned = current.iter().flat_map(|current| [&current.assigned, &current.revoking]);
                id.len() + owned.flatten().map(|(_, all)| 24 + 8 * all.len()).sum::<usize>()
            }
            Self::Regex(regex, resolved) => {
                let topics = resolved.iter().flat_map(|resolved| &resolved.topics);
                regex.len() + topics.map(|topic| 2 + topic.len()).sum::<usize>()
            }
        }
    }

    /// Its key and value as they stand in the log.
    pub(in crate::group) fn to_bytes(&self, group_id: &str) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let value = self.value().map(|value| value.write_framed(VERSION)).transpose()?;
        Ok((self.key(Str::from(group_id)).write_framed()?, value))
    }

    fn key(&self, group_id: Str) -> GroupKey {
        let member = |id: &Arc<str>| Str::from(&**id);
        match self {
            Self::Epoch(_) => GroupKey::ConsumerGroupMetadata(wire::ConsumerGroupMetadataKey { group_id }),
            Self::PartitionMetadata(_) => {
                GroupKey::ConsumerGroupPartitionMetadata(wire::ConsumerGroupPartitionMetadataKey { group_id })
            }
            Self::Member(id, _) => {
                GroupKey::ConsumerGroupMemberMetadata(wire::ConsumerGroupMemberMetadataKey {
                    group_id,
                    member_id: member(id),
                })
            }
            Self::TargetEpoch(_) => GroupKey::ConsumerGroupTargetAssignmentMetadata(
                wire::ConsumerGroupTargetAssignmentMetadataKey { group_id },
            ),
            Self::Target(id, _) => {
                GroupKey::ConsumerGroupTargetAssignmentMember(wire::ConsumerGroupTargetAssignmentMemberKey {
                    group_id,
                    member_id: member(id),
                })
            }
            Self::Current(id, _) => GroupKey::ConsumerGroupCurrentMemberAssignment(
                wire::ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member(id) },
            ),
            Self::Regex(regex, _) => {
                GroupKey::ConsumerGroupRegularExpression(wire::ConsumerGroupRegularExpressionKey {
                    group_id,
                    regular_expression: member(regex),
                })
            }
        }
    }

    fn value(&self) -> Option<GroupValue> {
        Some(match self {
            Self::Epoch(epoch) => {
                let GroupEpoch { epoch, metadata_hash } = (*epoch)?;
                GroupValue::ConsumerGroupMetadata(wire::ConsumerGroupMetadataValue { epoch, metadata_hash })
            }
            Self::PartitionMetadata(value) => GroupValue::ConsumerGroupPartitionMetadata(value.clone()?),
            Self::Member(_, facts) => {
                GroupValue::ConsumerGroupMemberMetadata(value_of_facts(facts.as_ref()?))
            }
            Self::TargetEpoch(target) => {
                let TargetEpoch { epoch, timestamp } = (*target)?;
                GroupValue::ConsumerGroupTargetAssignmentMetadata(
                    wire::ConsumerGroupTargetAssignmentMetadataValue {
                        assignment_epoch: epoch,
                        assignment_timestamp: timestamp,
                    },
                )
            }
            Self::Target(_, target) => {
                GroupValue::ConsumerGroupTargetAssignmentMember(value_of_target(target.as_ref()?))
            }
            Self::Current(_, current) => {
                GroupValue::ConsumerGroupCurrentMemberAssignment(value_of_current(current.as_ref()?))
            }
            Self::Regex(_, resolved) => {
                let Resolved { topics, version, timestamp } = resolved.as_ref()?;
                let topics = topics.iter().map(|topic| Str::from(&**topic)).collect();
                let (version, timestamp) = (*version, *timestamp);
                GroupValue::ConsumerGroupRegularExpression(wire::ConsumerGroupRegularExpressionValue {
                    topics,
                    version,
                    timestamp,
                })
            }
        })
    }
}

fn facts_of(value: &wire::ConsumerGroupMemberMetadataValue) -> Facts {
    let classic = value.classic_member_metadata.as_ref().map(|classic| ClassicFacts {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .iter()
            .map(|known| Protocol {
                name: text(&known.name),
                metadata: Bytes::copy_from_slice(&known.metadata),
            })
            .collect(),
    });
    Facts {
        instance_id: value.instance_id.as_ref().map(text),
        rack_id: value.rack_id.as_ref().map(text),
        client_id: text(&value.client_id),
        client_host: text(&value.client_host),
        topics: value.subscribed_topic_names.iter().map(text).collect(),
        regex: value.subscribed_topic_regex.as_ref().map(text).unwrap_or_default(),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.as_ref().map(text),
        classic,
    }
}

fn value_of_facts(facts: &Facts) -> wire::ConsumerGroupMemberMetadataValue {
    use wire::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
    let told = |text: &Arc<str>| Str::from(&**text);
    let classic = |classic: &ClassicFacts| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|known| ClassicProtocol { name: told(&known.name), metadata: known.metadata.clone() })
            .collect(),
    };
    wire::ConsumerGroupMemberMetadataValue {
        instance_id: facts.instance_id.as_ref().map(told),
        rack_id: facts.rack_id.as_ref().map(told),
        client_id: told(&facts.client_id),
        client_host: told(&facts.client_host),
        subscribed_topic_names: facts.topics.iter().map(told).collect(),
        subscribed_topic_regex: Some(told(&facts.regex)),
        rebalance_timeout_ms: facts.rebalance_timeout_ms,
        server_assignor: facts.assignor.as_ref().map(told),
        classic_member_metadata: facts.classic.as_ref().map(classic),
    }
}

fn target_of(value: &wire::ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topics = value.topic_partitions.iter();
    topics
        .map(|topic| (TopicId(*topic.topic_id.as_bytes()), topic.partitions.iter().copied().collect()))
        .collect()
}

fn value_of_target(target: &Assignment) -> wire::ConsumerGroupTargetAssignmentMemberValue {
    use wire::consumer_group_target_assignment_member_value::TopicPartition;
    let topic = |(topic, partitions): (&TopicId, &BTreeSet<i32>)| TopicPartition {
        topic_id: Uuid::from_bytes(topic.0),
        partitions: partitions.iter().copied().collect(),
    };
    wire::ConsumerGroupTargetAssignmentMemberValue { topic_partitions: target.iter().map(topic).collect() }
}

fn current_of(value: &wire::ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    Current {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::from_number(value.state),
        assigned: owned_of(&value.assigned_partitions, value.member_epoch),
        revoking: owned_of(&value.partitions_pending_revocation, value.member_epoch),
    }
}

/// Partitions with the epochs they were got in: brokers before 4.3 do not say those, and it was the member's at the latest.
fn owned_of(
    topics: &[wire::consumer_group_current_member_assignment_value::TopicPartitions],
    member_epoch: i32,
) -> Owned {
    let mut owned = Owned::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
        let epoch_at = |at: usize| epochs.get(at).copied().unwrap_or(member_epoch);
        let partitions =
            topic.partitions.iter().enumerate().map(|(at, partition)| (*partition, epoch_at(at)));
        owned.insert(TopicId(*topic.topic_id.as_bytes()), partitions.collect());
    }
    owned
}

fn value_of_current(current: &Current) -> wire::ConsumerGroupCurrentMemberAssignmentValue {
    use wire::consumer_group_current_member_assignment_value::TopicPartitions;
    let topics = |owned: &Owned| {
        let topics = owned.iter().map(|(topic, partitions)| TopicPartitions {
            topic_id: Uuid::from_bytes(topic.0),
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        });
        topics.collect()
    };
    wire::ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: current.state.number(),
        assigned_partitions: topics(&current.assigned),
        partitions_pending_revocation: topics(&current.revoking),
    }
}
