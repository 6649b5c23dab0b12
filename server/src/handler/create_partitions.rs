//! `CreatePartitions` (key 37): more partitions for a topic.
//!
//! Versions: 0 · 2 (flexible) · 3 (throttling error). Left out: authorization, quotas, and `timeout_ms`, as with
//! `CreateTopics`.
//!
//! Order of checks, as in `ControllerApis.createPartitions`: named once → the rest is the controller's: exists, more
//! than before, assignment possible.

use std::collections::HashMap;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::create_partitions_request::CreatePartitionsRequest;
use ringmain_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, errors};
use crate::metadata::request::CreatePartitionsSpec;

/// Answers one `CreatePartitions`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: CreatePartitionsRequest,
) -> Answer<CreatePartitionsResponse> {
    let mut times_named: HashMap<Str, u32> = HashMap::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.clone()).or_default() += 1;
    }
    let (mut results, mut names, mut specs) = (Vec::new(), Vec::new(), Vec::new());
    for topic in request.topics {
        match times_named.get_mut(&topic.name) {
            Some(1) => {}
            Some(0) | None => continue,
            Some(more) => {
                *more = 0;
                results.push(result(
                    topic.name,
                    ErrorCode::InvalidRequest,
                    Some("Duplicate topic name.".to_owned()),
                ));
                continue;
            }
        }
        specs.push(CreatePartitionsSpec {
            name: topic.name.to_string(),
            partition_count: topic.count,
            assignments: topic
                .assignments
                .map(|assignments| assignments.into_iter().map(|assignment| assignment.broker_ids).collect()),
        });
        names.push(topic.name);
    }
    let answers = broker.controller().create_partitions(specs, request.validate_only).await;
    results.extend(names.into_iter().zip(answers).map(|(name, answer)| match answer {
        Ok(()) => result(name, ErrorCode::None, None),
        Err(error) => result(name, errors::controller(&error), Some(error.message)),
    }));
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }.into()
}

fn result(name: Str, code: ErrorCode, message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult { name, error_code: code.code(), error_message: message.map(Str::from) }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::create_partitions_request::{
        CreatePartitionsAssignment, CreatePartitionsTopic,
    };

    #[test]
    fn a_count_only_grows_and_the_new_partitions_can_be_used_at_once() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let topic = |name: &str, count: i32, brokers: Option<&[i32]>| CreatePartitionsTopic {
                name: Str::from(name),
                count,
                assignments: brokers.map(|ids| {
                    ids.iter().map(|id| CreatePartitionsAssignment { broker_ids: vec![*id] }).collect()
                }),
            };
            let ask = async |version, topics, validate_only| {
                let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only };
                let answer = kit.ask(version, &request).await;
                answer.results.iter().map(|result| result.error_code).collect::<Vec<_>>()
            };
            let count = || kit.broker.image().topic_by_name("t").unwrap().partitions.len();
            assert_eq!(ask(0, vec![topic("t", 3, None)], true).await, [0]);
            assert_eq!(count(), 1, "only checked");
            for version in 0..=3 {
                assert_eq!(ask(version, vec![topic("t", i32::from(version) + 2, None)], false).await, [0]);
            }
            assert_eq!(count(), 5);
            assert!(kit.broker.partition(kit.key("t", 4)).is_some());
            assert_eq!(ask(3, vec![topic("t", 5, None)], false).await, [37]);
            assert_eq!(ask(3, vec![topic("t", 2, None), topic("nope", 2, None)], false).await, [37, 3]);
            assert_eq!(
                ask(3, vec![topic("t", 7, Some(&[1]))], false).await,
                [39],
                "two are made, one assigned"
            );
            assert_eq!(ask(3, vec![topic("t", 6, Some(&[9]))], false).await, [39]);
            assert_eq!(ask(3, vec![topic("t", 6, Some(&[1]))], false).await, [0]);
            assert_eq!(
                ask(3, vec![topic("t", 9, None), topic("t", 8, None)], false).await,
                [42],
                "told once"
            );
            assert_eq!(count(), 6);
        });
    }
}
