//! `DeleteGroups` (key 42): groups without members are forgotten, with their offsets.
//!
//! Versions: 0 · 1 (throttle time) · 2 (flexible).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `GroupCoordinatorService.deleteGroups` and `GroupMetadataManager.validateDeleteGroup`: (each group
//! by itself, once) this is its coordinator → it is there → it has no members. The answer leaves when it is durably gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ringmain_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::group::text;
use super::{Answer, Broker, Context, topics};

/// Answers one `DeleteGroups`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: DeleteGroupsRequest,
) -> Answer<DeleteGroupsResponse> {
    let groups: BTreeSet<Str> = request.groups_names.into_iter().collect();
    let deleted = groups.into_iter().map(async |group_id| {
        let id: Arc<str> = text(&group_id);
        let asked = Arc::clone(&id);
        let deleted = broker.at_coordinator(context, &id, async move |hosted| {
            hosted.step(|coordinator, turn| coordinator.delete_group(&asked, turn))
        });
        let code = deleted.await.err().unwrap_or(ErrorCode::None);
        DeletableGroupResult { group_id, error_code: code.code() }
    });
    let results = topics::all(deleted).await;
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }.into()
}
