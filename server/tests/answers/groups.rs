//! Cases of what members of consumer groups ask, and who looks at groups.

use bytes::Bytes;
use ringmain_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ringmain_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ringmain_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ringmain_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ringmain_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ringmain_protocol::messages::heartbeat_request::HeartbeatRequest;
use ringmain_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ringmain_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ringmain_protocol::messages::list_groups_request::ListGroupsRequest;
use ringmain_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringmain_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ringmain_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ringmain_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ringmain_protocol::{ErrorCode, Str};

use crate::asker::{Asker, Topic};
use crate::broker::Connection;

/// A version in which a member without an id is taken at once.
const JOIN_AT_ONCE: i16 = 3;
/// A version of OffsetCommit that names topics.
const COMMIT_BY_NAME: i16 = 5;
/// The group of a case: one for each API, version and topic.
fn group(asker: &Asker<'_>, topic: &Topic) -> Str {
    format!("{}-{}-{}", topic.name, asker.key.name(), asker.version).into()
}

/// The first question makes the cluster's offsets topic, and is answered when it is there.
fn coordinated(connection: &mut Connection) {
    let request = FindCoordinatorRequest { key: "any".into(), ..Default::default() };
    assert_eq!(connection.ask(&request, 0).unwrap().error_code, 0);
}

fn commit_request(group: Str, topic: &Topic) -> OffsetCommitRequest {
    let partition =
        OffsetCommitRequestPartition { committed_metadata: Some("".into()), ..Default::default() };
    OffsetCommitRequest {
        group_id: group,
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.name.clone(),
            topic_id: topic.id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A group that has committed an offset of the topic that is there.
fn with_offsets(asker: &mut Asker<'_>) -> Str {
    coordinated(asker.connection);
    let group = group(asker, &asker.existing);
    let request = commit_request(group.clone(), &asker.existing);
    let answer = asker.connection.ask(&request, COMMIT_BY_NAME).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    group
}

fn join_request(group: Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group,
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The one member of a group, and its generation.
fn with_member(asker: &mut Asker<'_>) -> (Str, Str, i32) {
    coordinated(asker.connection);
    let group = group(asker, &asker.existing);
    let joined = asker.connection.ask(&join_request(group.clone()), JOIN_AT_ONCE).unwrap();
    assert_eq!(joined.error_code, 0);
    (group, joined.member_id, joined.generation_id)
}

/// FindCoordinator of one key, and of several.
pub(crate) fn find_coordinator(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let forms = |topic: &Topic| {
        let key = topic.name.clone();
        let several = FindCoordinatorRequest { coordinator_keys: vec![key.clone()], ..Default::default() };
        [several, FindCoordinatorRequest { key, ..Default::default() }]
    };
    asker.ask(forms, FindCoordinatorRequest::default(), |answer| {
        answer.coordinators.first().map_or(answer.error_code, |found| found.error_code)
    });
}

/// JoinGroup of a static member, and of one that is told its id first.
pub(crate) fn join_group(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let groups = [group(asker, &asker.existing), group(asker, &asker.unknown)];
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let dynamic = join_request(groups[usize::from(topic.name != existing)].clone());
        [JoinGroupRequest { group_instance_id: Some("static".into()), ..dynamic.clone() }, dynamic]
    };
    asker.ask(forms, JoinGroupRequest::default(), |answer| match answer.error_code {
        code if code == ErrorCode::MemberIdRequired.code() => 0,
        code => code,
    });
}

/// SyncGroup of the leader.
pub(crate) fn sync_group(asker: &mut Asker<'_>) {
    let (group, member_id, generation_id) = with_member(asker);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let assignment = Bytes::from_static(b"yours");
        [SyncGroupRequest {
            group_id: if topic.name == existing { group.clone() } else { topic.name.clone() },
            generation_id,
            member_id: member_id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment,
                ..Default::default()
            }],
            ..Default::default()
        }]
    };
    asker.ask(forms, SyncGroupRequest::default(), |answer| {
        assert_eq!(answer.assignment, "yours");
        answer.error_code
    });
}

/// Heartbeat of a member.
pub(crate) fn heartbeat(asker: &mut Asker<'_>) {
    let (group, member_id, generation_id) = with_member(asker);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let group_id = if topic.name == existing { group.clone() } else { topic.name.clone() };
        [HeartbeatRequest { group_id, generation_id, member_id: member_id.clone(), ..Default::default() }]
    };
    asker.ask(forms, HeartbeatRequest::default(), |answer| answer.error_code);
}

/// LeaveGroup of several members, and of one.
pub(crate) fn leave_group(asker: &mut Asker<'_>) {
    let (group, member_id, _) = with_member(asker);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let group_id = if topic.name == existing { group.clone() } else { topic.name.clone() };
        let members = vec![MemberIdentity { member_id: member_id.clone(), ..Default::default() }];
        let several = LeaveGroupRequest { group_id: group_id.clone(), members, ..Default::default() };
        [several, LeaveGroupRequest { group_id, member_id: member_id.clone(), ..Default::default() }]
    };
    asker.ask(forms, LeaveGroupRequest::default(), |answer| {
        answer.members.first().map_or(0, |member| member.error_code).max(answer.error_code)
    });
}

/// OffsetCommit without a member.
pub(crate) fn offset_commit(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let group = group(asker, &asker.existing);
    let forms = |topic: &Topic| [commit_request(group.clone(), topic)];
    asker.ask(forms, OffsetCommitRequest::default(), |answer| answer.topics[0].partitions[0].error_code);
}

/// OffsetFetch of several groups, and of one.
pub(crate) fn offset_fetch(asker: &mut Asker<'_>) {
    let group = with_offsets(asker);
    let forms = |topic: &Topic| {
        let topics = OffsetFetchRequestTopics {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_indexes: vec![0],
            ..Default::default()
        };
        let several = OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![topics]),
            ..Default::default()
        };
        let one = OffsetFetchRequestTopic {
            name: topic.name.clone(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        [
            OffsetFetchRequest { groups: vec![several], ..Default::default() },
            OffsetFetchRequest { group_id: group.clone(), topics: Some(vec![one]), ..Default::default() },
        ]
    };
    asker.ask(forms, OffsetFetchRequest::default(), |answer| match answer.groups.first() {
        Some(group) => group.error_code.max(group.topics[0].partitions[0].error_code),
        None => answer.error_code.max(answer.topics[0].partitions[0].error_code),
    });
}

/// OffsetDelete.
pub(crate) fn offset_delete(asker: &mut Asker<'_>) {
    let group = with_offsets(asker);
    let forms = |topic: &Topic| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0, ..Default::default() }];
        let topic = OffsetDeleteRequestTopic { name: topic.name.clone(), partitions, ..Default::default() };
        [OffsetDeleteRequest { group_id: group.clone(), topics: vec![topic], ..Default::default() }]
    };
    asker.ask(forms, OffsetDeleteRequest::default(), |answer| {
        answer.error_code.max(answer.topics[0].partitions[0].error_code)
    });
}

/// DescribeGroups with all that can be asked for, and with less.
pub(crate) fn describe_groups(asker: &mut Asker<'_>) {
    let group = with_offsets(asker);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let id = if topic.name == existing { group.clone() } else { topic.name.clone() };
        [true, false].map(|include_authorized_operations| DescribeGroupsRequest {
            groups: vec![id.clone()],
            include_authorized_operations,
            ..Default::default()
        })
    };
    asker.ask(forms, DescribeGroupsRequest::default(), |answer| answer.groups[0].error_code);
}

/// ListGroups with both filters, with one, without.
pub(crate) fn list_groups(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let of = |states_filter: &[&'static str], types_filter: &[&'static str]| {
        let strings = |texts: &[&'static str]| texts.iter().map(|text| (*text).into()).collect();
        ListGroupsRequest {
            states_filter: strings(states_filter),
            types_filter: strings(types_filter),
            ..Default::default()
        }
    };
    let forms = |_: &Topic| [of(&["Empty"], &["classic"]), of(&["Stable"], &[]), of(&[], &[])];
    asker.ask(forms, of(&[], &[]), |answer| answer.error_code);
}

/// DeleteGroups.
pub(crate) fn delete_groups(asker: &mut Asker<'_>) {
    let group = with_offsets(asker);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let id = if topic.name == existing { group.clone() } else { topic.name.clone() };
        [DeleteGroupsRequest { groups_names: vec![id], ..Default::default() }]
    };
    asker.ask(forms, DeleteGroupsRequest::default(), |answer| answer.results[0].error_code);
}

/// A member of the new protocol that joins, or joins again.
fn beat_request(group: Str, topic: &Topic) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group,
        member_id: "member".into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![topic.name.clone()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// ConsumerGroupHeartbeat of a member that reads by an expression, and of one that does not.
pub(crate) fn consumer_group_heartbeat(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let groups = [group(asker, &asker.existing), group(asker, &asker.unknown)];
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let by_name = beat_request(groups[usize::from(topic.name != existing)].clone(), topic);
        [
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_regex: Some(topic.name.clone()),
                server_assignor: Some("range".into()),
                ..by_name.clone()
            },
            by_name,
        ]
    };
    asker.ask(forms, ConsumerGroupHeartbeatRequest::default(), |answer| {
        let assigned = answer.assignment.map(|assignment| assignment.topic_partitions);
        assert_eq!(assigned.map(|topics| topics[0].partitions.clone()), Some(vec![0, 1]));
        answer.error_code
    });
}

/// ConsumerGroupDescribe.
pub(crate) fn consumer_group_describe(asker: &mut Asker<'_>) {
    coordinated(asker.connection);
    let group = group(asker, &asker.existing);
    let request = beat_request(group.clone(), &asker.existing);
    assert_eq!(asker.connection.ask(&request, 0).unwrap().error_code, 0);
    let existing = asker.existing.name.clone();
    let forms = |topic: &Topic| {
        let id = if topic.name == existing { group.clone() } else { topic.name.clone() };
        [ConsumerGroupDescribeRequest { group_ids: vec![id], include_authorized_operations: true }]
    };
    asker.ask(forms, ConsumerGroupDescribeRequest::default(), |answer| {
        assert_eq!(&*answer.groups[0].group_state, "Stable");
        answer.groups[0].error_code
    });
}
