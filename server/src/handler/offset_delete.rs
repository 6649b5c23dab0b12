//! `OffsetDelete` (key 47): a group's positions in topics that nobody in it reads are forgotten (KIP-496).
//!
//! Versions: 0.
//!
//! Left out: authorization.
//!
//! Order of checks, as in `KafkaApis.handleOffsetDeleteRequest` and `OffsetMetadataManager.deleteOffsets`: topics and
//! partitions exist (each by itself) → the group has a name → this is its coordinator → the group is there → it has no
//! members, or consumers → (each topic by itself) nobody subscribes to it.

use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ringmain_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ringmain_storage::io::Io;

use super::group::{name_of, text};
use super::{Answer, Broker, Context, topics};

/// Answers one `OffsetDelete`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: OffsetDeleteRequest,
) -> Answer<OffsetDeleteResponse> {
    let image = broker.image();
    let (mut answers, mut places, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for topic in &request.topics {
        let (mut partitions, mut exist) = (Vec::new(), Vec::new());
        for index in topic.partitions.iter().map(|partition| partition.partition_index) {
            match topics::partition_key(&image, &topic.name, index) {
                Some(_) => exist.push(index),
                None => partitions.push(told(index, Err(ErrorCode::UnknownTopicOrPartition))),
            }
        }
        if !exist.is_empty() {
            places.push(answers.len());
            there.push((text(&topic.name), exist));
        }
        answers.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
    }
    let group_id = match name_of(&request.group_id) {
        Ok(group_id) => group_id,
        Err(code) => {
            return OffsetDeleteResponse { error_code: code.code(), ..OffsetDeleteResponse::default() }
                .into();
        }
    };
    let asked = Arc::clone(&group_id);
    let deleted = broker.at_coordinator(context, &group_id, async move |hosted| {
        hosted.step(|coordinator, turn| coordinator.delete_offsets(&asked, &there, turn))
    });
    let deleted = match deleted.await {
        Ok(deleted) => deleted,
        Err(code) => {
            return OffsetDeleteResponse { error_code: code.code(), ..OffsetDeleteResponse::default() }
                .into();
        }
    };
    for (place, results) in places.into_iter().zip(deleted) {
        if let Some(answer) = answers.get_mut(place) {
            answer.partitions.extend(results.into_iter().map(|(index, result)| told(index, result)));
        }
    }
    OffsetDeleteResponse { topics: answers, ..OffsetDeleteResponse::default() }.into()
}

fn told(partition_index: i32, result: Result<(), ErrorCode>) -> OffsetDeleteResponsePartition {
    let code = result.err().unwrap_or(ErrorCode::None);
    OffsetDeleteResponsePartition { partition_index, error_code: code.code() }
}
