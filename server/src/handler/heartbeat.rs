//! Heartbeat (key 12): a member is there, and asks whether it has to join again.
//!
//! Versions: 0 · 1 (throttle time) · 3 (static members) · 4 (flexible).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `GroupMetadataManager.classicGroupHeartbeat`: the group has a name → this is its coordinator →
//! the group is there → who it is → generation → state.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::heartbeat_request::HeartbeatRequest;
use ringmain_protocol::messages::heartbeat_response::HeartbeatResponse;
use ringmain_storage::io::Io;

use super::group::{name_of, text, text_or_none};
use super::{Answer, Broker, Context};
use crate::group::MemberRef;

/// Answers one Heartbeat.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: HeartbeatRequest,
) -> Answer<HeartbeatResponse> {
    let code = beat(broker, context, &request).await.err().unwrap_or(ErrorCode::None);
    HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() }.into()
}

async fn beat<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: &HeartbeatRequest,
) -> Result<(), ErrorCode> {
    let group_id = name_of(&request.group_id)?;
    let member = MemberRef {
        group_id: Arc::clone(&group_id),
        member_id: text(&request.member_id),
        instance_id: text_or_none(request.group_instance_id.as_ref()),
        generation_id: request.generation_id,
    };
    let beat = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.step(|coordinator, turn| coordinator.heartbeat(&member, turn))
    });
    beat.await
}
