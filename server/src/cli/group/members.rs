//! What a coordinator tells of a group, of either protocol.

use bytes::Bytes;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ringmain_protocol::messages::consumer_group_describe_response as consumer;
use ringmain_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ringmain_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ringmain_protocol::messages::describe_groups_response as classic;
use ringmain_protocol::wire::{Message, Reader, Str, Writer};

use super::super::client::{Client, refused};
use super::super::error::CliError;
use super::super::sender::retrying;

/// The protocol type of groups of consumers.
pub(crate) const CONSUMER: &str = "consumer";
/// Version of what we write of the consumers' own format.
const FORMAT_VERSION: i16 = 0;

/// A group.
pub(super) struct Described {
    /// Its state, by Kafka's name.
    pub(super) state: String,
    /// `classic` or `consumer`.
    pub(super) kind: &'static str,
    /// The assignor.
    pub(super) assignor: String,
    /// Its epoch, and that of its assignment, if it is of the new protocol.
    pub(super) epochs: Option<(i32, i32)>,
    /// Who is in it.
    pub(super) members: Vec<Member>,
}

/// A member.
pub(super) struct Member {
    /// Its id.
    pub(super) id: String,
    /// Its static id.
    pub(super) instance: Option<String>,
    /// What the client calls itself.
    pub(super) client: String,
    /// From where it is connected.
    pub(super) host: String,
    /// The epoch it is in, if the group is of the new protocol.
    pub(super) epoch: Option<i32>,
    /// Partitions it has, by topic.
    pub(super) assigned: Vec<(String, Vec<i32>)>,
}

impl Described {
    /// Whether a member has the partition.
    pub(super) fn owner(&self, topic: &str, partition: i32) -> Option<&Member> {
        self.members.iter().find(|member| {
            member.assigned.iter().any(|(name, partitions)| name == topic && partitions.contains(&partition))
        })
    }

    /// Whether offsets may be committed from outside.
    pub(super) fn is_without_members(&self) -> bool {
        ["Empty", "Dead"].contains(&self.state.as_str())
    }
}

/// Asks for a group. One of another type than consumers have has members without partitions.
pub(super) fn describe(coordinator: &mut Client, group: &str) -> Result<Described, CliError> {
    if coordinator.version::<ConsumerGroupDescribeRequest>().is_ok() {
        match describe_consumer(coordinator, group) {
            Err(CliError::Broker {
                code: ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion,
                ..
            }) => {}
            described => return described,
        }
    }
    describe_classic(coordinator, group)
}

fn describe_consumer(coordinator: &mut Client, group: &str) -> Result<Described, CliError> {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![Str::from(group)],
        ..ConsumerGroupDescribeRequest::default()
    };
    let answer = retrying(|| {
        let answer = coordinator.call(&request)?.groups.pop().ok_or_else(|| unanswered(group))?;
        refused(answer.error_code, answer.error_message.as_deref(), || format!("describe group {group}"))
            .map_or(Ok(answer), Err)
    })?;
    let assigned = |assignment: &consumer::Assignment| {
        let topics = assignment.topic_partitions.iter();
        topics.map(|topic| (topic.topic_name.to_string(), topic.partitions.clone())).collect()
    };
    Ok(Described {
        state: answer.group_state.to_string(),
        kind: "consumer",
        assignor: answer.assignor_name.to_string(),
        epochs: Some((answer.group_epoch, answer.assignment_epoch)),
        members: answer
            .members
            .iter()
            .map(|member| Member {
                id: member.member_id.to_string(),
                instance: member.instance_id.as_ref().map(ToString::to_string),
                client: member.client_id.to_string(),
                host: member.client_host.to_string(),
                epoch: Some(member.member_epoch),
                assigned: assigned(&member.assignment),
            })
            .collect(),
    })
}

fn describe_classic(coordinator: &mut Client, group: &str) -> Result<Described, CliError> {
    let request =
        DescribeGroupsRequest { groups: vec![Str::from(group)], ..DescribeGroupsRequest::default() };
    let answer = retrying(|| {
        let answer = coordinator.call(&request)?.groups.pop().ok_or_else(|| unanswered(group))?;
        refused(answer.error_code, answer.error_message.as_deref(), || format!("describe group {group}"))
            .map_or(Ok(answer), Err)
    })?;
    // Before version 6 a group that is not there was one without members and protocol.
    let is_consumers = &*answer.protocol_type == CONSUMER;
    let member = |member: &classic::DescribedGroupMember| {
        Ok(Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
            client: member.client_id.to_string(),
            host: member.client_host.to_string(),
            epoch: None,
            assigned: if is_consumers { assigned(member)? } else { Vec::new() },
        })
    };
    Ok(Described {
        state: answer.group_state.to_string(),
        kind: "classic",
        assignor: answer.protocol_data.to_string(),
        epochs: None,
        members: answer.members.iter().map(member).collect::<Result<_, CliError>>()?,
    })
}

/// Partitions that a member has, by topic.
fn assigned(member: &classic::DescribedGroupMember) -> Result<Vec<(String, Vec<i32>)>, CliError> {
    if member.member_assignment.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = unversioned(&member.member_assignment)?;
    let topics = assignment.assigned_partitions.into_iter();
    Ok(topics.map(|topic| (topic.topic.to_string(), topic.partitions)).collect())
}

/// The answer says nothing of a group that was asked for.
pub(super) fn unanswered(group: &str) -> CliError {
    let doing = format!("ask about group {group}");
    CliError::Broker { doing, code: ErrorCode::UnknownServerError, message: None }
}

/// The consumers' own format: a version, and the message of that version.
pub(crate) fn versioned<M: Message>(message: &M) -> Result<Bytes, CliError> {
    let mut writer = Writer::new();
    writer.i16(FORMAT_VERSION);
    message.write(&mut writer, FORMAT_VERSION)?;
    Ok(writer.finish().into_bytes())
}

/// Reads that format. Newer versions begin like the newest one known.
pub(crate) fn unversioned<M: Message>(bytes: &Bytes) -> Result<M, CliError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16("version")?.min(*M::VERSIONS.end());
    Ok(M::read(&mut reader, version)?)
}
