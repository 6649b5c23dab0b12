//! Who coordinates a group, and what is committed there.

use std::collections::BTreeMap;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ringmain_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ringmain_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ringmain_protocol::wire::Str;

use super::super::client::{Client, address, check, refused};
use super::super::error::CliError;
use super::super::offsets::TopicPartition;
use super::super::sender::retrying;
use super::members::unanswered;

/// First version of FindCoordinator that asks for several keys.
const SEVERAL_KEYS_SINCE: i16 = 4;
/// First version of OffsetFetch that asks for several groups.
const SEVERAL_GROUPS_SINCE: i16 = 8;
/// Last version of OffsetFetch, and of OffsetCommit, that names topics; the next has their ids.
pub(crate) const TOPIC_NAMES_UNTIL: i16 = 9;

/// A connection to the group's coordinator. The cluster may have to make its offsets topic first, which is waited for.
pub(crate) fn coordinator(client: &mut Client, group: &str) -> Result<Client, CliError> {
    Client::connect(&coordinator_address(client, group)?)
}

/// Where the group's coordinator is.
pub(super) fn coordinator_address(client: &mut Client, group: &str) -> Result<String, CliError> {
    let several = client.version::<FindCoordinatorRequest>()? >= SEVERAL_KEYS_SINCE;
    let mut request = FindCoordinatorRequest::default();
    if several {
        request.coordinator_keys = vec![Str::from(group)];
    } else {
        request.key = Str::from(group);
    }
    let doing = || format!("find the coordinator of group {group}");
    retrying(|| {
        let answer = client.call(&request)?;
        if !several {
            let error = refused(answer.error_code, answer.error_message.as_deref(), doing);
            return error.map_or_else(|| Ok(address(&answer.host, answer.port)), Err);
        }
        let Some(found) = answer.coordinators.first() else {
            return Err(CliError::Broker {
                doing: doing(),
                code: ErrorCode::CoordinatorNotAvailable,
                message: None,
            });
        };
        refused(found.error_code, found.error_message.as_deref(), doing)
            .map_or_else(|| Ok(address(&found.host, found.port)), Err)
    })
}

/// All that a group has committed.
pub(crate) fn committed(
    coordinator: &mut Client,
    group: &str,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let version = coordinator.version::<OffsetFetchRequest>()?.min(TOPIC_NAMES_UNTIL);
    let mut request = OffsetFetchRequest::default();
    if version >= SEVERAL_GROUPS_SINCE {
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: Str::from(group),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        }];
    } else {
        request.group_id = Str::from(group);
        request.topics = None;
    }
    let doing = || format!("read the offsets of group {group}");
    retrying(|| {
        let mut answer = coordinator.call_up_to(&request, TOPIC_NAMES_UNTIL)?;
        let group = match answer.groups.pop() {
            Some(group) => group,
            None if version >= SEVERAL_GROUPS_SINCE => return Err(unanswered(group)),
            None => OffsetFetchResponseGroup::default(),
        };
        check(answer.error_code, doing)?;
        check(group.error_code, doing)?;
        let mut found = BTreeMap::new();
        let mut take = |topic: &Str, index: i32, code: i16, offset: i64| {
            check(code, || format!("{}: {topic}-{index}", doing()))?;
            found.insert((topic.to_string(), index), offset);
            Ok::<_, CliError>(())
        };
        for topic in &answer.topics {
            for of in &topic.partitions {
                take(&topic.name, of.partition_index, of.error_code, of.committed_offset)?;
            }
        }
        for topic in &group.topics {
            for of in &topic.partitions {
                take(&topic.name, of.partition_index, of.error_code, of.committed_offset)?;
            }
        }
        found.retain(|_, offset| *offset >= 0);
        Ok(found)
    })
}
