//! `LeaveGroup` (key 13): members leave, or an administrator makes them.
//!
//! Versions: 0 · 1 (throttle time) · 3 (several members, static ones by name) · 4 (flexible) · 5 (reason).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `GroupMetadataManager.classicGroupLeave`: the group has a name → this is its coordinator → the group
//! is there (if not, every member is unknown) → each member by itself.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ringmain_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::group::{name_of, text, text_or_none};
use super::{Answer, Broker, Context};
use crate::group::{LeaveRequest, Left};

/// First version with a list of members.
const MEMBERS_SINCE: i16 = 3;

/// Answers one `LeaveGroup`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: LeaveGroupRequest,
) -> Answer<LeaveGroupResponse> {
    let identities = if context.version >= MEMBERS_SINCE {
        request.members
    } else {
        vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }]
    };
    let left = match leave(broker, context, &request.group_id, &identities).await {
        Ok(left) => left,
        Err(code) => return LeaveGroupResponse { error_code: code.code(), ..Default::default() }.into(),
    };
    let codes = left.into_iter().map(|left| left.err().unwrap_or(ErrorCode::None).code());
    if context.version < MEMBERS_SINCE {
        let error_code = codes.into_iter().next().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }.into();
    }
    let member = |(identity, error_code): (MemberIdentity, i16)| MemberResponse {
        member_id: identity.member_id,
        group_instance_id: identity.group_instance_id,
        error_code,
    };
    let members = identities.into_iter().zip(codes).map(member).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }.into()
}

async fn leave<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    group_id: &Str,
    identities: &[MemberIdentity],
) -> Result<Left, ErrorCode> {
    let group_id = name_of(group_id)?;
    let members: Vec<(Arc<str>, Option<Arc<str>>)> = identities
        .iter()
        .map(|member| (text(&member.member_id), text_or_none(member.group_instance_id.as_ref())))
        .collect();
    let leave = LeaveRequest { group_id: Arc::clone(&group_id), members };
    let left = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.step(|coordinator, turn| coordinator.leave(&leave, turn))
    });
    left.await
}
