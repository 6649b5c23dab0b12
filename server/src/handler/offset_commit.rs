//! `OffsetCommit` (key 8): a group's positions are kept.
//!
//! Versions: 2 (retention time, until 4) · 3 (throttle time) · 6 (leader epochs) · 7 (static members) · 8 (flexible) ·
//! 9 (`GROUP_ID_NOT_FOUND`, member epochs) · 10 (topic ids).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `KafkaApis.handleOffsetCommitRequest` and `OffsetMetadataManager.commitOffset`: topics and
//! partitions exist (each by itself) → this is its coordinator → the group is there, or nobody's → who
//! it is → generation → state → (each by itself) the text is not too long. The answer leaves when the offsets are durable.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringmain_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ringmain_storage::io::Io;

use super::group::{text, text_or_none};
use super::{Answer, Broker, Context, topics};
use crate::group::{CommitRequest, MemberRef, PartitionCommit, TopicCommit};
use crate::metadata::image::MetadataImage;

/// Last version that may say how long offsets are kept.
const RETENTION_UNTIL: i16 = 4;
/// First version whose clients know that a group may not be there.
const MISSING_GROUPS_SINCE: i16 = 9;
/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;
/// Stands for the broker's retention.
const DEFAULT_RETENTION: i64 = -1;

/// Answers one `OffsetCommit`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: OffsetCommitRequest,
) -> Answer<OffsetCommitResponse> {
    let version = context.version;
    let image = broker.image();
    let (mut answers, mut commits) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for topic in &request.topics {
        let (answer, commit) = sort_out(&image, topic, version);
        // Which answer the commit's results go into.
        commits.extend(commit.map(|commit| (answers.len(), commit)));
        answers.push(answer);
    }
    let (places, topics): (Vec<usize>, Vec<TopicCommit>) = commits.into_iter().unzip();
    if topics.is_empty() {
        return OffsetCommitResponse { topics: answers, ..OffsetCommitResponse::default() }.into();
    }
    let indexes: Vec<Vec<i32>> =
        topics.iter().map(|topic| topic.partitions.iter().map(|commit| commit.partition).collect()).collect();
    let retention_ms =
        Some(request.retention_time_ms).filter(|ms| version <= RETENTION_UNTIL && *ms != DEFAULT_RETENTION);
    let commit = CommitRequest {
        member: MemberRef {
            group_id: text(&request.group_id),
            member_id: text(&request.member_id),
            instance_id: text_or_none(request.group_instance_id.as_ref()),
            generation_id: request.generation_id_or_member_epoch,
        },
        knows_missing_groups: version >= MISSING_GROUPS_SINCE,
        retention_ms,
        topics,
    };
    let group_id = text(&request.group_id);
    let committed = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.step(|coordinator, turn| coordinator.commit(&commit, turn))
    });
    let committed = committed.await;
    for (at, (place, indexes)) in places.into_iter().zip(indexes).enumerate() {
        let Some(answer) = answers.get_mut(place) else { continue };
        for (within, partition_index) in indexes.into_iter().enumerate() {
            let result = committed.as_ref().map_err(|code| *code).and_then(|topics| {
                topics.get(at).and_then(|results| results.get(within)).copied().unwrap_or(Ok(()))
            });
            answer.partitions.push(told(partition_index, result));
        }
    }
    OffsetCommitResponse { topics: answers, ..OffsetCommitResponse::default() }.into()
}

/// A topic's answer as far as it is clear already, and what is left to commit.
fn sort_out(
    image: &MetadataImage,
    asked: &OffsetCommitRequestTopic,
    version: i16,
) -> (OffsetCommitResponseTopic, Option<TopicCommit>) {
    let (topic, missing) = if version >= TOPIC_IDS_SINCE {
        (image.topic_by_id(topics::topic_id(asked.topic_id)), ErrorCode::UnknownTopicId)
    } else {
        (image.topic_by_name(&asked.name), ErrorCode::UnknownTopicOrPartition)
    };
    let mut answer = OffsetCommitResponseTopic {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        partitions: Vec::with_capacity(asked.partitions.len()),
    };
    let Some(topic) = topic else {
        let refuse = |partition: &OffsetCommitRequestPartition| told(partition.partition_index, Err(missing));
        answer.partitions.extend(asked.partitions.iter().map(refuse));
        return (answer, None);
    };
    let mut commits = Vec::with_capacity(asked.partitions.len());
    for partition in &asked.partitions {
        let index = partition.partition_index;
        if usize::try_from(index).is_ok_and(|at| at < topic.partitions.len()) {
            commits.push(PartitionCommit {
                partition: index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: text_or_none(partition.committed_metadata.as_ref()).unwrap_or_default(),
            });
        } else {
            answer.partitions.push(told(index, Err(ErrorCode::UnknownTopicOrPartition)));
        }
    }
    let commit = TopicCommit { topic: Arc::clone(&topic.name), partitions: commits };
    (answer, Some(commit).filter(|commit| !commit.partitions.is_empty()))
}

fn told(partition_index: i32, result: Result<(), ErrorCode>) -> OffsetCommitResponsePartition {
    let code = result.err().unwrap_or(ErrorCode::None);
    OffsetCommitResponsePartition { partition_index, error_code: code.code() }
}
