//! `ListPartitionReassignments` (key 46): partitions whose replicas are being changed (KIP-455). Here only those can be that
//! another controller began with.
//!
//! Versions: 0 (flexible from the start). Left out: authorization.
//!
//! As in `ReplicationControlManager.listPartitionReassignments`: none named asks for all; what is not there, or rests, is
//! left out without an error.

use ringmain_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ringmain_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker};
use crate::metadata::controller::reassignments::is_under_way;
use crate::metadata::image::TopicImage;

/// Answers one `ListPartitionReassignments`.
pub(super) fn handle<I: Io>(
    broker: &Broker<I>,
    request: ListPartitionReassignmentsRequest,
) -> Answer<ListPartitionReassignmentsResponse> {
    let image = broker.image();
    let told: Vec<OngoingTopicReassignment> = match request.topics {
        None => image.topics().map(|topic| under_way(topic, |_| true)).collect(),
        Some(named) => named
            .iter()
            .filter_map(|named| {
                let topic = image.topic_by_name(&named.name)?;
                Some(under_way(topic, |index| named.partition_indexes.contains(&index)))
            })
            .collect(),
    };
    let topics = told.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics,
        ..ListPartitionReassignmentsResponse::default()
    }
    .into()
}

/// A topic with those of its partitions asked for that are being changed.
fn under_way(topic: &TopicImage, is_asked: impl Fn(i32) -> bool) -> OngoingTopicReassignment {
    // Few are under way, and very many may be asked for.
    let changing = (0..).zip(&topic.partitions).filter(|(_, partition)| is_under_way(partition));
    let partitions = changing.filter(|(index, _)| is_asked(*index)).map(|(index, partition)| {
        OngoingPartitionReassignment {
            partition_index: index,
            replicas: partition.replicas.clone(),
            adding_replicas: partition.adding_replicas.clone(),
            removing_replicas: partition.removing_replicas.clone(),
        }
    });
    OngoingTopicReassignment { name: Str::from(&*topic.name), partitions: partitions.collect() }
}
