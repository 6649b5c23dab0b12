//! `SyncGroup` (key 14): what a member is given; the leader says it for all.
//!
//! Versions: 0 · 1 (throttle time) · 3 (static members) · 4 (flexible) · 5 (protocol type and name, in both directions).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `KafkaApis.handleSyncGroupRequest` and `GroupMetadataManager.classicGroupSync`: from version 5 on
//! the protocol is named → the group has a name → this is its coordinator → the group has members → who it is → generation
//! → protocol. The answer comes when the leader has spoken.

use futures::channel::oneshot;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::sync_group_request::SyncGroupRequest;
use ringmain_protocol::messages::sync_group_response::SyncGroupResponse;
use ringmain_storage::io::Io;

use super::group::{copy, name_of, text, text_or_none, told, wait_for};
use super::{Answer, Broker, Context};
use crate::group::{Assignment, MemberRef, SyncRequest, Synced};

/// First version that has to name the protocol.
const PROTOCOL_SINCE: i16 = 5;

/// Answers one `SyncGroup`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: SyncGroupRequest,
) -> Answer<SyncGroupResponse> {
    let is_unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.version >= PROTOCOL_SINCE && is_unnamed {
        return refused(ErrorCode::InconsistentGroupProtocol).into();
    }
    let group_id = match name_of(&request.group_id) {
        Ok(group_id) => group_id,
        Err(code) => return refused(code).into(),
    };
    let request = sync_request(&request);
    // It may wait for long.
    drop(context.right.take());
    let synced = broker.at_coordinator(context, &group_id, async move |hosted| {
        let (waits, answer) = oneshot::channel();
        hosted.step(|coordinator, turn| coordinator.sync(&request, waits, turn));
        wait_for(answer).await?
    });
    match synced.await {
        Err(code) => refused(code),
        Ok(Synced { protocol_type, protocol_name, assignment }) => SyncGroupResponse {
            protocol_type: protocol_type.as_ref().map(told),
            protocol_name: protocol_name.as_ref().map(told),
            assignment,
            ..SyncGroupResponse::default()
        },
    }
    .into()
}

fn sync_request(request: &SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.iter().map(|assignment| Assignment {
        member_id: text(&assignment.member_id),
        bytes: copy(&assignment.assignment),
    });
    SyncRequest {
        member: MemberRef {
            group_id: text(&request.group_id),
            member_id: text(&request.member_id),
            instance_id: text_or_none(request.group_instance_id.as_ref()),
            generation_id: request.generation_id,
        },
        protocol_type: text_or_none(request.protocol_type.as_ref()),
        protocol_name: text_or_none(request.protocol_name.as_ref()),
        assignments: assignments.collect(),
    }
}

fn refused(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..SyncGroupResponse::default() }
}
