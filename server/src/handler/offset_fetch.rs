//! `OffsetFetch` (key 9): up to where groups have read.
//!
//! Versions: 1 · 2 (an error for all, all partitions) · 3 (throttle time) · 5 (leader epochs) · 6 (flexible) · 7 (only what no
//! open transaction may change) · 8 (many groups) · 9 (member ids) · 10 (topic ids).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `KafkaApis.handleOffsetFetchRequest` and `OffsetMetadataManager.fetchOffsets`: (each group by itself)
//! this is its coordinator → who asks is a member, if it says so, and in its epoch → (by id) the topic exists. What is not there has offset −1. The answer leaves
//! when what it tells is durable.

use std::collections::HashMap;
use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ringmain_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ringmain_protocol::wire::{Str, Uuid};
use ringmain_storage::io::Io;

use super::group::{text, text_or_none};
use super::{Answer, Broker, Context, topics};
use crate::group::{Asker, Committed, Coordinator};
use crate::metadata::image::MetadataImage;

/// First version with an error for the whole answer.
const ERROR_SINCE: i16 = 2;
/// First version with many groups.
const MANY_SINCE: i16 = 8;
/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;

/// The offset of a partition that has none.
const NO_OFFSET: i64 = -1;

/// A topic that is asked for, by name; none if its id is not known.
type Asked = (Option<Arc<str>>, Uuid, Vec<i32>);

/// Answers one `OffsetFetch`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: OffsetFetchRequest,
) -> Answer<OffsetFetchResponse> {
    let version = context.version;
    let is_stable = request.require_stable;
    if version >= MANY_SINCE {
        let fetched = request.groups.iter().map(|group| fetch(broker, context, group, is_stable));
        let groups = topics::all(fetched).await;
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() }.into();
    }
    let named = |topics: Vec<_>| topics.into_iter().map(as_of_many).collect();
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(named),
        ..OffsetFetchRequestGroup::default()
    };
    let mut fetched = fetch(broker, context, &group, is_stable).await;
    if version < ERROR_SINCE && fetched.error_code != 0 {
        // There is no other place for it.
        fetched.topics = refused(&group, fetched.error_code);
    }
    OffsetFetchResponse {
        error_code: fetched.error_code,
        topics: fetched.topics.into_iter().map(as_of_one).collect(),
        ..OffsetFetchResponse::default()
    }
    .into()
}

fn as_of_many(
    topic: ringmain_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic,
) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics {
        name: topic.name,
        topic_id: Uuid::ZERO,
        partition_indexes: topic.partition_indexes,
    }
}

fn as_of_one(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    OffsetFetchResponseTopic { name: topic.name, partitions }
}

/// The error in the place of every partition.
fn refused(group: &OffsetFetchRequestGroup, error_code: i16) -> Vec<OffsetFetchResponseTopics> {
    let topic = |topic: &OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|index| unknown(*index, error_code)).collect(),
    };
    group.topics.iter().flatten().map(topic).collect()
}

/// One group's positions.
async fn fetch<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    group: &OffsetFetchRequestGroup,
    is_stable: bool,
) -> OffsetFetchResponseGroup {
    let by_id = context.version >= TOPIC_IDS_SINCE;
    let image = broker.image();
    let asked = group.topics.as_ref().map(|topics| topics.iter().map(|topic| asked(&image, topic, by_id)));
    let asked: Option<Vec<Asked>> = asked.map(Iterator::collect);
    let group_id = text(&group.group_id);
    let id = Arc::clone(&group_id);
    let asker = Asker { member_id: text_or_none(group.member_id.as_ref()), member_epoch: group.member_epoch };
    let fetched = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.look(|coordinator| {
            coordinator.check_fetch(&id, &asker)?;
            Ok(look_up(coordinator, &id, asked, is_stable))
        })
    });
    let group_id = group.group_id.clone();
    match fetched.await {
        Err(code) => OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: code.code() },
        Ok(mut topics) => {
            if by_id {
                name_by_id(&image, &mut topics, group.topics.is_none());
            }
            OffsetFetchResponseGroup { group_id, topics, error_code: 0 }
        }
    }
}

fn asked(image: &MetadataImage, topic: &OffsetFetchRequestTopics, by_id: bool) -> Asked {
    let name = if by_id {
        image.topic_by_id(topics::topic_id(topic.topic_id)).map(|topic| Arc::clone(&topic.name))
    } else {
        Some(text(&topic.name))
    };
    (name, topic.topic_id, topic.partition_indexes.clone())
}

/// Answers to those that asked for all topics by id leave topics out that are gone.
fn name_by_id(image: &MetadataImage, topics: &mut Vec<OffsetFetchResponseTopics>, is_all: bool) {
    if is_all {
        let ids: HashMap<Str, Uuid> = topics
            .iter()
            .filter_map(|topic| {
                Some((topic.name.clone(), topics::uuid(image.topic_by_name(&topic.name)?.id)))
            })
            .collect();
        topics.retain(|topic| ids.contains_key(&topic.name));
        for topic in topics.iter_mut() {
            topic.topic_id = ids.get(&topic.name).copied().unwrap_or(Uuid::ZERO);
        }
    }
}

/// What a coordinator knows.
fn look_up(
    coordinator: &Coordinator,
    group: &str,
    asked: Option<Vec<Asked>>,
    is_stable: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let all = || {
        let topics = coordinator.committed_partitions(group).into_iter();
        topics.map(|(topic, partitions)| (Some(topic), Uuid::ZERO, partitions)).collect()
    };
    let asked = asked.unwrap_or_else(all);
    let mut found = Vec::with_capacity(asked.len());
    for (name, topic_id, indexes) in asked {
        let look_up = |index: i32| match &name {
            None => unknown(index, ErrorCode::UnknownTopicId.code()),
            Some(name) => told(index, coordinator.committed(group, (name, index), is_stable)),
        };
        let partitions = indexes.into_iter().map(look_up).collect();
        let name = name.as_deref().map(Str::from).unwrap_or_default();
        found.push(OffsetFetchResponseTopics { name, topic_id, partitions });
    }
    found
}

fn told(partition_index: i32, found: Result<Option<&Committed>, ErrorCode>) -> OffsetFetchResponsePartitions {
    match found {
        Err(code) => unknown(partition_index, code.code()),
        Ok(None) => unknown(partition_index, 0),
        Ok(Some(committed)) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(Str::from(&*committed.metadata)),
            error_code: 0,
        },
    }
}

fn unknown(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code,
    }
}
