//! `ListGroups` (key 16): the groups that this broker looks after.
//!
//! Versions: 0 · 1 (throttle time) · 3 (flexible) · 4 (states) · 5 (types).
//!
//! Left out: authorization.
//!
//! Every shard is asked for its coordinators'. What cannot be loaded is an error of the whole answer, as in Apache: a list
//! that leaves groups out unsaid would be worse.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::list_groups_request::ListGroupsRequest;
use ringmain_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;
use ringmain_storage::types::{PartitionIndex, PartitionKey};

use super::group::told;
use super::{Answer, Broker, topics};
use crate::group::{ListFilter, Listed, OFFSETS_TOPIC};

/// Answers one `ListGroups`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: ListGroupsRequest,
) -> Answer<ListGroupsResponse> {
    let wanted = |names: Vec<Str>| names.iter().map(ToString::to_string).collect();
    let filter = ListFilter { states: wanted(request.states_filter), types: wanted(request.types_filter) };
    match list(broker, &filter).await {
        Err(code) => ListGroupsResponse { error_code: code.code(), ..ListGroupsResponse::default() },
        Ok(listed) => {
            let groups = listed.into_iter().map(|group| ListedGroup {
                group_id: told(&group.group_id),
                protocol_type: told(&group.protocol_type),
                group_state: Str::from_static(group.state),
                group_type: Str::from_static(group.group_type),
            });
            ListGroupsResponse { groups: groups.collect(), ..ListGroupsResponse::default() }
        }
    }
    .into()
}

async fn list<I: Io>(broker: &Broker<I>, filter: &ListFilter) -> Result<Vec<Listed>, ErrorCode> {
    let image = broker.image();
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else { return Ok(Vec::new()) };
    let keys = (0_i32..)
        .zip(&topic.partitions)
        .filter(|(_, partition)| partition.leader == broker.settings().node_id)
        .map(|(index, _)| PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) });
    let of_each = keys.map(|key| {
        let filter = filter.clone();
        broker.at_coordinator_of(key, async move |hosted| {
            Ok(hosted.look(|coordinator| coordinator.list(&filter)))
        })
    });
    let mut all = Vec::new();
    for listed in topics::all(of_each).await {
        all.extend(listed?);
    }
    Ok(all)
}
