//! `DescribeGroups` (key 15): groups of the classic protocol, with their members.
//!
//! Versions: 0 · 1 (throttle time) · 3 (authorized operations) · 4 (static members) · 5 (flexible) · 6
//! (`GROUP_ID_NOT_FOUND`; before, a group that is not there is described as dead).
//!
//! Left out: authorization, so authorized operations are all there are.
//!
//! Order of checks, as in `GroupCoordinatorService.describeGroups`: (each group by itself) this is its coordinator → it is
//! there.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ringmain_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::group::{text, told};
use super::{Answer, Broker, Context, topics};
use crate::group::DescribedMember;

/// First version that says that a group is not there.
const NOT_FOUND_SINCE: i16 = 6;

/// What may be done to a group, one bit an operation (`AclOperation`): read, delete, describe, describe and alter
/// configs.
pub(super) const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// Answers one `DescribeGroups`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: DescribeGroupsRequest,
) -> Answer<DescribeGroupsResponse> {
    let described = request.groups.into_iter().map(|group| describe(broker, context, group));
    let mut groups = topics::all(described).await;
    if request.include_authorized_operations {
        let told = groups.iter_mut().filter(|group| group.error_code == 0);
        told.for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }.into()
}

async fn describe<I: Io>(broker: &Broker<I>, context: &Context, group_id: Str) -> DescribedGroup {
    let id: Arc<str> = text(&group_id);
    let asked = Arc::clone(&id);
    let described = broker.at_coordinator(context, &id, async move |hosted| {
        Ok(hosted.look(|coordinator| coordinator.describe(&asked)))
    });
    let nothing = DescribedGroup { group_id, ..DescribedGroup::default() };
    match described.await {
        Err(code) => DescribedGroup { error_code: code.code(), ..nothing },
        Ok(None) => {
            let is_error = context.version >= NOT_FOUND_SINCE;
            DescribedGroup {
                error_code: if is_error { ErrorCode::GroupIdNotFound } else { ErrorCode::None }.code(),
                error_message: is_error.then(|| Str::from(format!("Group {id} not found."))),
                group_state: Str::from_static("Dead"),
                ..nothing
            }
        }
        Ok(Some(group)) => DescribedGroup {
            group_state: Str::from_static(group.state),
            protocol_type: told(&group.protocol_type),
            protocol_data: told(&group.protocol_name),
            members: group.members.into_iter().map(told_member).collect(),
            ..nothing
        },
    }
}

fn told_member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: told(&member.member_id),
        group_instance_id: member.instance_id.as_ref().map(told),
        client_id: told(&member.client_id),
        client_host: told(&member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
