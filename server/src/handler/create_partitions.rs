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
