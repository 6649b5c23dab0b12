//! `ListPartitionReassignments` (key 46): partitions whose replicas are being changed (KIP-455). Here only those can be that
//! another controller began with.
//!
//! Versions: 0 (flexible from the start). Left out: authorization.
//!
//! As in `ReplicationControlManager.listPartitionReassignments`: none named asks for all; what is not there, or rests, is
//! left out without an error.

use std::collections::BTreeMap;

use ringmain_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ringmain_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::turns::Turns;
use super::{Answer, Broker};
use crate::metadata::controller::reassignments::is_under_way;
use crate::metadata::image::TopicImage;

/// Answers one `ListPartitionReassignments`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: ListPartitionReassignmentsRequest,
) -> Answer<ListPartitionReassignmentsResponse> {
    let image = broker.image();
    let mut turns = Turns::default();
    let mut topics = Vec::new();
    match request.topics {
        None => {
            for topic in image.topics() {
                turns.entry_done().await;
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                topics.extend(under_way(topic, 0..count));
            }
        }
        Some(named) => {
            for named in named {
                turns.entry_done().await;
                let Some(topic) = image.topic_by_name(&named.name) else { continue };
                topics.extend(under_way(topic, named.partition_indexes));
            }
        }
    }
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics,
        ..ListPartitionReassignmentsResponse::default()
    }
    .into()
}

/// A topic with those of these partitions that are being changed, each once; `None` if none is.
fn under_way(topic: &TopicImage, asked: impl IntoIterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let changing = |index: i32| {
        let partition = topic.partitions.get(usize::try_from(index).ok()?)?;
        is_under_way(partition).then_some((index, partition))
    };
    let changing: BTreeMap<i32, _> = asked.into_iter().filter_map(changing).collect();
    let partitions = changing.into_iter().map(|(index, partition)| OngoingPartitionReassignment {
        partition_index: index,
        replicas: partition.replicas.clone(),
        adding_replicas: partition.adding_replicas.clone(),
        removing_replicas: partition.removing_replicas.clone(),
    });
    let partitions: Vec<_> = partitions.collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment { name: Str::from(&*topic.name), partitions })
}
