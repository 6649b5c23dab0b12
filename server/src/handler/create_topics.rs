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

use super::turns::Turns;
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
    let (mut times_named, mut turns): (HashMap<Str, u32>, _) = (HashMap::new(), Turns::default());
    for topic in &request.topics {
        turns.entry_done().await;
        *times_named.entry(topic.name.clone()).or_default() += 1;
    }
    let (mut results, mut specs) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for topic in request.topics {
        turns.entry_done().await;
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
        match configs::check_topic(broker.settings(), wanted) {
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
                name: entry.name.clone(),
                value: entry.value.as_deref().map(Str::from),
                read_only: entry.read_only,
                config_source: entry.source.code(),
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

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::create_topics_request::{
        CreatableReplicaAssignment, CreatableTopicConfig,
    };

    fn topic(name: &str) -> CreatableTopic {
        CreatableTopic {
            name: Str::from(name),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }
    }

    fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
        CreateTopicsRequest { topics, timeout_ms: 1000, validate_only: false }
    }

    #[test]
    fn a_topic_is_made_in_every_version_and_told_as_far_as_the_version_goes() {
        with_broker(async |kit| {
            for version in 0..=7 {
                let name = format!("t{version}");
                let answer = kit.ask(version, &request(vec![topic(&name)])).await;
                let told = &answer.topics[0];
                assert_eq!((told.error_code, &*told.name), (0, &*name));
                let made = kit.broker.image().topic_by_name(&name).unwrap().id;
                if version >= CONFIGS_SINCE {
                    assert_eq!((told.num_partitions, told.replication_factor), (1, 1));
                    assert!(told.configs.as_ref().unwrap().len() > 20);
                }
                assert_eq!(told.topic_id == topics::uuid(made), version >= 7);
            }
        });
    }

    #[test]
    fn one_topics_refusal_leaves_the_others_alone() {
        with_broker(async |kit| {
            let with_config = |name: &str, key: &str, value: Option<&str>| CreatableTopic {
                configs: vec![CreatableTopicConfig { name: Str::from(key), value: value.map(Str::from) }],
                ..topic(name)
            };
            let by_hand = |name: &str, broker: i32| CreatableTopic {
                num_partitions: -1,
                replication_factor: -1,
                assignments: vec![CreatableReplicaAssignment {
                    partition_index: 0,
                    broker_ids: vec![broker],
                }],
                ..topic(name)
            };
            let wanted = vec![
                topic("good"),
                topic("b d"),
                topic("twice"),
                topic("twice"),
                with_config("wrong", "retention.ms", Some("never")),
                with_config("unknown", "no.such.key", Some("1")),
                with_config("null", "retention.ms", None),
                with_config("large", "max.message.bytes", Some("104857600")),
                with_config("set", "retention.ms", Some("5")),
                CreatableTopic { replication_factor: 2, ..topic("copied") },
                CreatableTopic { num_partitions: 0, ..topic("empty") },
                by_hand("assigned", 1),
                by_hand("elsewhere", 9),
                CreatableTopic { num_partitions: -1, replication_factor: -1, ..topic("default") },
            ];
            let answer = kit.ask(7, &request(wanted)).await;
            let code = |name: &str| {
                let mut told = answer.topics.iter().filter(|told| &*told.name == name);
                let code = told.next().unwrap().error_code;
                assert!(told.next().is_none(), "{name} is told once");
                code
            };
            for name in ["good", "set", "assigned", "default"] {
                assert_eq!(code(name), 0, "{name}");
                assert!(kit.broker.partition(kit.key(name, 0)).is_some(), "{name} can be used");
            }
            let partition = kit.broker.partition(kit.key("set", 0)).unwrap();
            assert_eq!(partition.settings().log.retention_ms, 5);
            for (name, expected) in [
                ("b d", 17),
                ("twice", 42),
                ("wrong", 40),
                ("unknown", 40),
                ("null", 40),
                ("large", 40),
                ("copied", 38),
                ("empty", 37),
                ("elsewhere", 39),
            ] {
                assert_eq!(code(name), expected, "{name}");
            }
            assert_eq!(kit.ask(7, &request(vec![topic("good")])).await.topics[0].error_code, 36);
            let checked = CreateTopicsRequest { validate_only: true, ..request(vec![topic("checked")]) };
            assert_eq!(kit.ask(7, &checked).await.topics[0].error_code, 0);
            assert!(kit.broker.image().topic_by_name("checked").is_none());
        });
    }
}
