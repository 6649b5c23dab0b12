//! `ElectLeaders` (key 43): gives partitions their preferred leader back, or any leader at all (KIP-183, KIP-460).
//!
//! Versions: 0 (preferred leaders only) · 1 (kind of election, error for the whole answer) · 2 (flexible).
//!
//! Left out: authorization, and `timeout_ms`: the answer leaves when the election is durable and acted on.
//!
//! Order of checks, as in `ControllerApis.handleElectLeaders` and `ReplicationControlManager.electLeaders`: nothing named is
//! answered with nothing → the kind of election → the rest is the controller's. Asked for all partitions, every topic is
//! told, with those of its partitions that needed an election.

use std::collections::HashMap;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ringmain_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context, errors};
use crate::metadata::request::{ElectLeadersSpec, ElectionKind};

/// First version with an error for the whole answer.
const ERROR_SINCE: i16 = 1;

/// Answers one `ElectLeaders`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ElectLeadersRequest,
) -> Answer<ElectLeadersResponse> {
    if request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        return ElectLeadersResponse::default().into();
    }
    let kind = match request.election_type {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        other => return refused(context, &request, other).into(),
    };
    let named = request.topic_partitions.map(|topics| {
        let of_topic = topics.into_iter().map(|topic| (topic.topic.to_string(), topic.partitions));
        of_topic.collect::<Vec<_>>()
    });
    let names: Vec<String> = match &named {
        Some(named) => named.iter().map(|(topic, _)| topic.clone()).collect(),
        None => broker.image().topics().map(|topic| topic.name.to_string()).collect(),
    };
    let partitions = named.map(|named| {
        let flat = named.into_iter().flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        flat.collect()
    });
    let mut by_topic: HashMap<String, Vec<PartitionResult>> = HashMap::new();
    for (topic, partition_id, result) in
        broker.controller().elect_leaders(ElectLeadersSpec { kind, partitions }).await
    {
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (errors::controller(&error), Some(Str::from(error.message))),
        };
        let result = PartitionResult { partition_id, error_code: code.code(), error_message: message };
        by_topic.entry(topic).or_default().push(result);
    }
    let told = |topic: String| ReplicaElectionResult {
        partition_result: by_topic.remove(&topic).unwrap_or_default(),
        topic: Str::from(topic),
    };
    let replica_election_results = names.into_iter().map(told).collect();
    ElectLeadersResponse { replica_election_results, ..ElectLeadersResponse::default() }.into()
}

/// The answer to a kind of election that nobody knows.
fn refused(context: &Context, request: &ElectLeadersRequest, kind: i8) -> ElectLeadersResponse {
    let code = ErrorCode::InvalidRequest.code();
    let partition = |partition_id: &i32| PartitionResult {
        partition_id: *partition_id,
        error_code: code,
        error_message: Some(Str::from(format!("Unknown election type {kind}"))),
    };
    let topics = request.topic_partitions.iter().flatten();
    ElectLeadersResponse {
        error_code: if context.version >= ERROR_SINCE { code } else { 0 },
        replica_election_results: topics
            .map(|topic| ReplicaElectionResult {
                topic: topic.topic.clone(),
                partition_result: topic.partitions.iter().map(partition).collect(),
            })
            .collect(),
        ..ElectLeadersResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::elect_leaders_request::TopicPartitions;

    #[test]
    fn a_partition_led_by_its_only_replica_needs_no_election() {
        with_broker(async |kit| {
            kit.create_topic("t", 2, &[]).await;
            let ask = async |version, election_type, topics: Option<&[(&str, i32)]>| {
                let topic = |(name, partition): &(&str, i32)| TopicPartitions {
                    topic: Str::from(*name),
                    partitions: vec![*partition],
                };
                let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
                let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1000 };
                let answer = kit.ask(version, &request).await;
                let told = answer.replica_election_results.iter().map(|result| {
                    let codes = result.partition_result.iter().map(|result| result.error_code);
                    (result.topic.to_string(), codes.collect::<Vec<_>>())
                });
                (answer.error_code, told.collect::<Vec<_>>())
            };
            let all = (0, vec![("t".to_owned(), vec![])]);
            let some = [("t", 1), ("t", 2), ("nope", 0)];
            for (version, kinds) in [(0, &[0][..]), (1, &[0, 1]), (2, &[0, 1])] {
                for kind in kinds {
                    assert_eq!(ask(version, *kind, None).await, all);
                    assert_eq!(ask(version, *kind, Some(&[])).await, (0, vec![]));
                    let told = ask(version, *kind, Some(&some[..1])).await;
                    assert_eq!(told, (0, vec![("t".to_owned(), vec![84])]));
                }
            }
            let (_, told) = ask(2, 0, Some(&some[1..])).await;
            assert_eq!(told, [("t".to_owned(), vec![3]), ("nope".to_owned(), vec![3])]);
            assert_eq!(ask(2, 5, None).await, (42, vec![]));
            assert_eq!(ask(1, 5, Some(&some[..1])).await, (42, vec![("t".to_owned(), vec![42])]));
        });
    }
}
