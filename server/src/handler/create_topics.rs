//! `CreateTopics` (key 19).
//!
//! Versions: 0 and 1 (gone in Kafka 4; ruby-kafka sends 0 unasked) · 1 (validate only) · 2 (throttle time) · 4 (−1 for the
//! broker's defaults) · 5 (flexible; configuration in the answer) · 7 (topic id in the answer).
//!
//! Left out: authorization, quotas, and `timeout_ms`: the answer leaves when the topic is durable and can be
//! used, or was refused.
//!
//! Order of checks, as in `ControllerApis.createTopics` and `ReplicationControlManager.createTopics`: named once → not the
//! controller's own topic → name valid, not there → configuration → partitions and replicas. All but the first and the configuration are the
//! controller's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ringmain_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context, configs, errors, topics};
use crate::metadata::request::{CreateTopicSpec, CreatedTopic};

/// First version that tells the new topic's configuration.
const CONFIGS_SINCE: i16 = 5;

/// The name under which the controller keeps its records, which are no topic.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Answers one `CreateTopics`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: CreateTopicsRequest,
) -> Answer<CreateTopicsResponse> {
    let mut times_named: HashMap<Str, u32> = HashMap::new();
    for topic in &request.topics {
        *times_named.entry(topic.name.clone()).or_default() += 1;
    }
    let (mut results, mut specs) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for topic in request.topics {
        match times_named.get_mut(&topic.name) {
            Some(1) => {}
            // Told once, however often it is named.
            Some(0) | None => continue,
            Some(more) => {
                *more = 0;
                results.push(refused(
                    topic.name,
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.".to_owned(),
                ));
                continue;
            }
        }
        if &*topic.name == METADATA_TOPIC {
            let why = format!("{METADATA_TOPIC} is the controller's own");
            results.push(refused(topic.name, ErrorCode::InvalidRequest, why));
            continue;
        }
        let wanted = topic.configs.iter().map(|config| (&*config.name, config.value.as_deref()));
        match configs::check_topic(wanted) {
            Ok(configs) => specs.push(spec(topic, configs)),
            Err(_) if !is_free(broker, &topic.name) => specs.push(spec(topic, Vec::new())),
            Err(why) => results.push(refused(topic.name, ErrorCode::InvalidConfig, why)),
        }
    }
    let asked: Vec<(Str, Vec<(String, String)>)> =
        specs.iter().map(|spec| (Str::from(&*spec.name), spec.configs.clone())).collect();
    let created = broker.controller().create_topics(specs, request.validate_only).await;
    results.extend(asked.into_iter().zip(created).map(|((name, set), result)| match result {
        Ok(topic) => created_topic(broker, context, name, set, &topic),
        Err(error) => refused(name, errors::controller(&error), error.message),
    }));
    CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() }.into()
}

/// Whether the controller would find nothing wrong with the name.
fn is_free<I: Io>(broker: &Broker<I>, name: &str) -> bool {
    topics::is_valid_name(name) && broker.image().topic_by_name(name).is_none()
}

fn spec(topic: CreatableTopic, configs: Vec<(String, String)>) -> CreateTopicSpec {
    CreateTopicSpec {
        name: topic.name.to_string(),
        partition_count: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids))
            .collect(),
        configs,
    }
}

fn refused(name: Str, code: ErrorCode, message: String) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..CreatableTopicResult::default()
    }
}

fn created_topic<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    name: Str,
    set: Vec<(String, String)>,
    topic: &CreatedTopic,
) -> CreatableTopicResult {
    let set: BTreeMap<Arc<str>, Arc<str>> =
        set.into_iter().map(|(name, value)| (Arc::from(name), Arc::from(value))).collect();
    let configs = (context.version >= CONFIGS_SINCE).then(|| {
        configs::of_topic(broker, &broker.image(), &set)
            .iter()
            .map(|entry| CreatableTopicConfigs {
                name: Str::from_static(entry.key.name),
                value: entry.value.as_deref().map(Str::from),
                read_only: entry.read_only,
                config_source: entry.source().code(),
                is_sensitive: false,
            })
            .collect()
    });
    CreatableTopicResult {
        name,
        topic_id: topics::uuid(topic.topic_id),
        error_message: None,
        num_partitions: topic.partition_count,
        replication_factor: topic.replication_factor,
        configs,
        ..CreatableTopicResult::default()
    }
}
