//! `ConsumerGroupHeartbeat` (key 68): a member of a group of KIP-848 joins, goes on or leaves.
//!
//! Versions: 0 · 1 (expressions; members make their own ids).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `GroupMetadataManager.consumerGroupHeartbeat`: what the member says fits together → the assignor →
//! this is its coordinator → the group is there, or is made → there is room → who it is → its epoch → its expression.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ringmain_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::group::{client_id, host_of, text, text_or_none, told};
use super::{Answer, Broker, Context, topics};
use crate::group::{Beat, Beaten};

/// First version whose members make their own ids.
const OWN_ID_SINCE: i16 = 1;
/// Stands for a timeout that is not said.
const NOT_SAID: i32 = -1;

/// Answers one `ConsumerGroupHeartbeat`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> Answer<ConsumerGroupHeartbeatResponse> {
    let beat = asked(context, &request);
    let group_id = Arc::clone(&beat.group_id);
    let beaten = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.step(|coordinator, turn| coordinator.beat(&beat, turn))
    });
    match beaten.await {
        Ok(beaten) => response(&beaten),
        Err(code) => ConsumerGroupHeartbeatResponse {
            error_code: code.code(),
            error_message: Some(Str::from_static(why(code))),
            ..ConsumerGroupHeartbeatResponse::default()
        },
    }
    .into()
}

fn asked(context: &Context, request: &ConsumerGroupHeartbeatRequest) -> Beat {
    let owned = request.topic_partitions.as_ref().map(|all| {
        let topics = all.iter();
        topics.map(|one| (topics::topic_id(one.topic_id), one.partitions.iter().copied().collect())).collect()
    });
    Beat {
        group_id: text(&request.group_id),
        member_id: text(&request.member_id),
        member_epoch: request.member_epoch,
        instance_id: text_or_none(request.instance_id.as_ref()),
        rack_id: text_or_none(request.rack_id.as_ref()),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout != NOT_SAID),
        topics: request.subscribed_topic_names.as_ref().map(|names| names.iter().map(text).collect()),
        regex: text_or_none(request.subscribed_topic_regex.as_ref()),
        assignor: text_or_none(request.server_assignor.as_ref()),
        owned,
        client_id: client_id(context),
        client_host: host_of(context.peer),
        makes_own_id: context.version >= OWN_ID_SINCE,
    }
}

fn response(beaten: &Beaten) -> ConsumerGroupHeartbeatResponse {
    let assignment = beaten.assignment.as_ref().map(|assignment| Assignment {
        topic_partitions: assignment
            .iter()
            .map(|(topic, partitions)| TopicPartitions {
                topic_id: topics::uuid(*topic),
                partitions: partitions.iter().copied().collect(),
            })
            .collect(),
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(told(&beaten.member_id)),
        member_epoch: beaten.member_epoch,
        heartbeat_interval_ms: beaten.heartbeat_interval_ms,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

/// What a client's log says.
fn why(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest => "What the heartbeat says does not fit together.",
        ErrorCode::UnsupportedAssignor => "The server has no such assignor.",
        ErrorCode::GroupIdNotFound => "There is no such group, or none of this protocol.",
        ErrorCode::GroupMaxSizeReached => "The group, or what all groups may take, is full.",
        ErrorCode::UnknownMemberId => "The group has no such member.",
        ErrorCode::FencedInstanceId => "Another member has this instance id.",
        ErrorCode::UnreleasedInstanceId => "Another member has this instance id and did not leave.",
        ErrorCode::FencedMemberEpoch => {
            "The member is not in this epoch; it has to give its partitions up and join again."
        }
        ErrorCode::InvalidRegularExpression => "The expression cannot be read.",
        _ => "The group coordinator cannot answer this now.",
    }
}
