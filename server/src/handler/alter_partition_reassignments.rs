//! `AlterPartitionReassignments` (key 45): other replicas for partitions (KIP-455).
//!
//! Versions: 0 (flexible from the start) · 1 (whether the number of replicas may change, KIP-860).
//!
//! Left out: authorization, and new replicas: nothing is copied yet, so only brokers that hold the partition can be
//! named. What takes place does so before the answer; so there is never a reassignment under way that began here.
//!
//! Order of checks: the controller's, see `metadata/controller/reassignments.rs`.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ringmain_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, errors};
use crate::metadata::request::ReassignmentSpec;

/// Answers one `AlterPartitionReassignments`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: AlterPartitionReassignmentsRequest,
) -> Answer<AlterPartitionReassignmentsResponse> {
    let (mut specs, mut responses) = (Vec::new(), Vec::with_capacity(request.topics.len()));
    for topic in request.topics {
        let mut told = ReassignableTopicResponse { name: topic.name, partitions: Vec::new() };
        for partition in topic.partitions {
            specs.push(ReassignmentSpec {
                topic: told.name.to_string(),
                partition: partition.partition_index,
                replicas: partition.replicas,
            });
            told.partitions.push(ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_message: None,
                ..ReassignablePartitionResponse::default()
            });
        }
        responses.push(told);
    }
    if responses.is_empty() {
        return AlterPartitionReassignmentsResponse::default().into();
    }
    let keep_count = !request.allow_replication_factor_change;
    let answers = broker.controller().alter_reassignments(specs, keep_count).await;
    let told = responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    for (told, answer) in told.zip(answers) {
        if let Err(error) = answer {
            told.error_code = errors::controller(&error).code();
            // Kafka has no words for a reassignment that is not there.
            told.error_message =
                (error.code != ErrorCode::NoReassignmentInProgress).then(|| Str::from(error.message));
        }
    }
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_message: None,
        responses,
        ..AlterPartitionReassignmentsResponse::default()
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::alter_partition_reassignments_request::{
        ReassignablePartition, ReassignableTopic,
    };
    use ringmain_protocol::messages::list_partition_reassignments_request::{
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
    };

    #[test]
    fn a_partition_stays_where_it_is_and_goes_nowhere_else() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let ask = async |version, name: &str, partition_index, replicas: Option<&[i32]>| {
                let replicas = replicas.map(<[i32]>::to_vec);
                let partitions = vec![ReassignablePartition { partition_index, replicas }];
                let topic = ReassignableTopic { name: Str::from(name), partitions };
                let request =
                    AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
                let answer = kit.ask(version, &request).await;
                assert_eq!((answer.error_code, answer.error_message), (0, None));
                answer.responses[0].partitions[0].error_code
            };
            for version in 0..=1 {
                assert_eq!(ask(version, "t", 0, Some(&[1])).await, 0);
                assert_eq!(ask(version, "t", 0, Some(&[9])).await, 39);
                assert_eq!(ask(version, "t", 0, Some(&[])).await, 39);
                assert_eq!(ask(version, "t", 0, None).await, 85);
                assert_eq!(ask(version, "t", 1, Some(&[1])).await, 3);
                assert_eq!(ask(version, "nope", 0, Some(&[1])).await, 3);
            }
            let named = ListPartitionReassignmentsTopics { name: Str::from("t"), partition_indexes: vec![0] };
            for topics in [None, Some(vec![named])] {
                let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
                let answer = kit.ask(0, &request).await;
                assert_eq!((answer.error_code, answer.error_message, answer.topics.len()), (0, None, 0));
            }
        });
    }
}
