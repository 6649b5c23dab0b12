//! `JoinGroup` (key 11): become a member of a group, or of its next generation.
//!
//! Versions: 0 · 1 (rebalance timeout) · 2 (throttle time) · 4 (`MEMBER_ID_REQUIRED`, KIP-394) · 5 (static members,
//! KIP-345) · 6 (flexible) · 7 (protocol type and a null protocol in answers) · 8 (reason) · 9 (the leader may be told
//! to skip the assignment, KIP-814).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `GroupCoordinatorService.joinGroup` and `GroupMetadataManager.classicGroupJoin`: the group has a
//! name → this is its coordinator → session timeout → (with a member id) the group is there → there is room → protocols →
//! who it is. The answer comes when the generation begins.

use std::sync::Arc;

use futures::channel::oneshot;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::join_group_request::JoinGroupRequest;
use ringmain_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ringmain_storage::io::Io;

use super::group::{client_id, copy, host_of, name_of, text, text_or_none, told, wait_for};
use super::{Answer, Broker, Context};
use crate::group::{JoinAnswer, JoinRequest, Joined, JoinedMember, Protocol};

/// First version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// First version whose clients join again with the id that they are told.
const KNOWN_ID_SINCE: i16 = 4;
/// First version whose answer may have no protocol.
const NO_PROTOCOL_SINCE: i16 = 7;
/// First version that may tell the leader to skip the assignment.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// Answers one `JoinGroup`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: JoinGroupRequest,
) -> Answer<JoinGroupResponse> {
    let version = context.version;
    let member_id = text(&request.member_id);
    let group_id = match name_of(&request.group_id) {
        Ok(group_id) => group_id,
        Err(code) => return response(&JoinAnswer { member_id, result: Err(code) }, version).into(),
    };
    let request = join_request(context, &request);
    // It may wait for long.
    drop(context.right.take());
    let joined = broker.at_coordinator(context, &group_id, async move |hosted| {
        let (waits, answer) = oneshot::channel();
        hosted.step(|coordinator, turn| coordinator.join(&request, waits, turn));
        wait_for(answer).await
    });
    let answer = joined.await.unwrap_or_else(|code| JoinAnswer { member_id, result: Err(code) });
    response(&answer, version).into()
}

fn join_request(context: &Context, request: &JoinGroupRequest) -> JoinRequest {
    let version = context.version;
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: text(&protocol.name), metadata: copy(&protocol.metadata) });
    JoinRequest {
        group_id: text(&request.group_id),
        member_id: text(&request.member_id),
        instance_id: text_or_none(request.group_instance_id.as_ref()),
        client_id: client_id(context),
        client_host: host_of(context.peer),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version >= REBALANCE_TIMEOUT_SINCE {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: text(&request.protocol_type),
        protocols: protocols.collect(),
        needs_known_id: version >= KNOWN_ID_SINCE,
        may_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
    }
}

fn response(answer: &JoinAnswer, version: i16) -> JoinGroupResponse {
    let member_id = told(&answer.member_id);
    let no_protocol = (version < NO_PROTOCOL_SINCE).then(Default::default);
    match &answer.result {
        Err(code) => JoinGroupResponse {
            error_code: code.code(),
            protocol_name: no_protocol,
            member_id,
            ..JoinGroupResponse::default()
        },
        Ok(joined) => {
            let Joined { generation_id, skip_assignment, .. } = *joined;
            let named = joined.protocol_name.as_ref().filter(|name| !name.is_empty());
            JoinGroupResponse {
                error_code: ErrorCode::None.code(),
                generation_id,
                protocol_type: joined.protocol_type.as_ref().map(told),
                protocol_name: named.map(told).or(no_protocol),
                leader: told(&joined.leader),
                skip_assignment,
                member_id,
                members: joined.members.iter().map(told_member).collect(),
                ..JoinGroupResponse::default()
            }
        }
    }
}

fn told_member(member: &JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember {
        member_id: told(&member.member_id),
        group_instance_id: member.instance_id.as_ref().map(|id: &Arc<str>| told(id)),
        metadata: member.metadata.clone(),
    }
}
