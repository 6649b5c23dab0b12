//! `DescribeConfigs` (key 32): the configuration of topics and of this broker.
//!
//! Versions: 0 (`is_default` in place of the source; ruby-kafka sends it unasked) · 1 (source, synonyms) ·
//! 3 (type, documentation) · 4 (flexible).
//!
//! Left out: authorization; groups and client metrics, for which nothing can be set yet, so that nothing is told of
//! them. Of other brokers' configuration and loggers nothing is known here, as in Apache. No key of the table is a secret;
//! keys without effect are told if somebody set them, and what may be a secret among them only by name.
//!
//! Order of checks, as in `ConfigHelper.describeConfigs`: every kind of resource is one Kafka knows, else nothing is
//! described → not named too often → topic: name valid, exists; broker: empty or this broker's id; loggers: this broker's
//! id → only the keys asked for, all if none is named.

use std::collections::HashSet;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ringmain_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::configs::{self, Entry, Source};
use super::turns::Turns;
use super::{Answer, Broker, Context, loggers, topics};
use crate::metadata::image::{ConfigResource, MetadataImage};

/// Resources that a request may name again. Each is answered every time, as in Apache, and an answer is hundreds of
/// times as long as the question: without a limit one request could ask for more than there is memory.
const REPEATS_MAX: usize = 100;

/// Answers one `DescribeConfigs`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: DescribeConfigsRequest,
) -> Answer<DescribeConfigsResponse> {
    let image = broker.image();
    let extras = Extras { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut strange = request.resources.iter().map(|resource| resource.resource_type);
    let strange = strange.find(|kind| !ConfigResource::KINDS.contains(kind));
    let (mut results, mut turns) = (Vec::with_capacity(request.resources.len()), Turns::default());
    let (mut named, mut repeats) = (HashSet::new(), 0);
    for resource in request.resources {
        turns.entry_done().await;
        repeats += usize::from(!named.insert(subject(&resource)));
        let described = match strange {
            Some(kind) => Err((ErrorCode::InvalidRequest, format!("there are no resources of kind {kind}"))),
            None if repeats > REPEATS_MAX => {
                Err((ErrorCode::InvalidRequest, "too many resources are named again and again".to_owned()))
            }
            None => describe(broker, &image, &resource),
        };
        let (code, message, entries) = match described {
            // As Apache: an empty message, not none.
            Ok(entries) => (ErrorCode::None, Some(Str::default()), entries),
            Err((code, message)) => (code, Some(Str::from(message)), Vec::new()),
        };
        let asked = resource.configuration_keys.filter(|keys| !keys.is_empty());
        let asked: Option<HashSet<&str>> = asked.as_ref().map(|keys| keys.iter().map(|key| &**key).collect());
        let is_asked = |entry: &&Entry| asked.as_ref().is_none_or(|keys| keys.contains(&*entry.name));
        results.push(DescribeConfigsResult {
            error_code: code.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: entries
                .iter()
                .filter(is_asked)
                .map(|entry| told(entry, context.version, extras))
                .collect(),
        });
    }
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }.into()
}

/// What a resource is about: a broker may be called by many names, `1` and `+01`, and is one all the same.
fn subject(resource: &DescribeConfigsResource) -> (i8, Str) {
    let is_broker = matches!(resource.resource_type, ConfigResource::BROKER | ConfigResource::BROKER_LOGGER);
    let name = if is_broker { Str::default() } else { resource.resource_name.clone() };
    (resource.resource_type, name)
}

/// All keys of a resource.
fn describe<I: Io>(
    broker: &Broker<I>,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, (ErrorCode, String)> {
    let name = &*resource.resource_name;
    match resource.resource_type {
        ConfigResource::TOPIC if !topics::is_valid_name(name) => {
            Err((ErrorCode::InvalidTopicException, format!("{name:?} is not a valid topic name")))
        }
        ConfigResource::TOPIC if image.topic_by_name(name).is_none() => {
            Err((ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")))
        }
        ConfigResource::TOPIC => {
            let set = image.topic_config(name).cloned().unwrap_or_default();
            Ok(configs::of_topic(broker, image, &set))
        }
        ConfigResource::BROKER if name.is_empty() => Ok(configs::of_all_brokers(image)),
        kind @ (ConfigResource::BROKER | ConfigResource::BROKER_LOGGER) => match name.parse::<i32>() {
            Ok(id) if id == broker.settings().node_id && kind == ConfigResource::BROKER => {
                Ok(configs::of_broker(broker, image))
            }
            Ok(id) if id == broker.settings().node_id => Ok(loggers::describe(broker.settings())),
            Ok(id) => {
                let own = broker.settings().node_id;
                Err((
                    ErrorCode::InvalidRequest,
                    format!("this is broker {own}; ask broker {id} for its own configuration"),
                ))
            }
            Err(_) => Err((ErrorCode::InvalidRequest, format!("{name:?} is not the id of a broker"))),
        },
        ConfigResource::GROUP if !name.is_empty() => Ok(configs::of_group(broker, image, name)),
        ConfigResource::CLIENT_METRICS if !name.is_empty() => Ok(Vec::new()),
        kind => {
            Err((ErrorCode::InvalidRequest, format!("resources of kind {kind} have no configuration here")))
        }
    }
}

/// What is told beside the values, if it is asked for.
#[derive(Clone, Copy)]
struct Extras {
    synonyms: bool,
    documentation: bool,
}

/// One key as the version tells it.
fn told(entry: &Entry, version: i16, extras: Extras) -> DescribeConfigsResourceResult {
    let synonym = |synonym: &configs::Synonym| DescribeConfigsSynonym {
        name: Str::from(&*synonym.name),
        value: synonym.value.as_deref().map(Str::from),
        source: synonym.source.code(),
    };
    let synonyms = entry.synonyms.iter().filter(|_| extras.synonyms).map(synonym).collect();
    DescribeConfigsResourceResult {
        name: entry.name.clone(),
        value: entry.value.as_deref().map(Str::from),
        read_only: entry.read_only,
        is_default: version == 0 && entry.source == Source::Default,
        config_source: entry.source.code(),
        is_sensitive: entry.is_secret,
        synonyms,
        config_type: entry.type_code,
        documentation: match entry.source {
            // As Apache: an empty text, asked for or not.
            Source::DynamicBrokerLogger => Some(Str::default()),
            _ => entry.doc.filter(|_| extras.documentation).map(Str::from_static),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::{Kit, with_broker, with_settings};
    use super::*;

    /// The keys asked for, as `name=value source`, with their synonyms behind; or the error.
    async fn ask(kit: &Kit, kind: i8, name: &str, keys: &[&str]) -> String {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind,
                resource_name: Str::from(name),
                configuration_keys: Some(keys.iter().map(|key| Str::from(*key)).collect()),
            }],
            include_synonyms: true,
            include_documentation: true,
        };
        let answer = kit.ask(4, &request).await;
        let result = &answer.results[0];
        if result.error_code != 0 {
            return format!("error {}", result.error_code);
        }
        let told = result.configs.iter().map(|config| {
            let doc = config.documentation.as_deref();
            assert!(!config.is_sensitive && (kind == 8) == doc.is_some_and(str::is_empty));
            let synonyms = config.synonyms.iter().map(|synonym| {
                format!(
                    " {}={} {}",
                    &*synonym.name,
                    synonym.value.as_deref().unwrap_or("null"),
                    synonym.source
                )
            });
            let value = config.value.as_deref().unwrap_or("null");
            let head = format!("{}={value} {}", &*config.name, config.config_source);
            [head].into_iter().chain(synonyms).collect::<Vec<_>>().join(";")
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn topics_and_brokers_tell_values_sources_and_synonyms() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[("retention.ms", "5")]).await;
            let topic = ask(&kit, 2, "t", &["retention.ms", "segment.bytes"]).await;
            let segment = "segment.bytes=1073741824 5; log.segment.bytes=1073741824 5";
            assert_eq!(topic, format!("retention.ms=5 1; retention.ms=5 1, {segment}"));
            assert_eq!(ask(&kit, 2, "t", &["segment.ms"]).await, "segment.ms=604800000 5");
            let broker = "min.insync.replicas=1 3; min.insync.replicas=1 3; min.insync.replicas=1 5";
            assert_eq!(ask(&kit, 4, "1", &["min.insync.replicas"]).await, broker);
            assert_eq!(ask(&kit, 4, "1", &["log.retention.ms"]).await, "log.retention.ms=null 5");
            assert_eq!(ask(&kit, 4, "", &[]).await, "min.insync.replicas=1 3; min.insync.replicas=1 3");
            let group = "consumer.heartbeat.interval.ms=5000 5; group.consumer.heartbeat.interval.ms=5000 5";
            assert_eq!(ask(&kit, 32, "some-group", &["consumer.heartbeat.interval.ms"]).await, group);
            assert_eq!(
                ask(&kit, 8, "1", &["root", "ringmain.net"]).await,
                "ringmain.net=INFO 6, root=INFO 6"
            );
            assert_eq!(ask(&kit, 2, "nope", &[]).await, "error 3");
            assert_eq!(ask(&kit, 2, "n pe", &[]).await, "error 17");
            for (kind, name) in [(4, "2"), (4, "x"), (8, ""), (8, "2"), (32, ""), (0, "t"), (99, "t")] {
                assert_eq!(ask(&kit, kind, name, &[]).await, "error 42", "{kind} {name}");
            }
        });
    }

    #[test]
    fn keys_without_effect_are_told_if_somebody_set_them_and_secrets_never() {
        let set = [("num.io.threads", "5"), ("ssl.key.password", "hush"), ("some.plugin.key", "hush")];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        with_settings(
            |settings| settings.set_at_start = set.into(),
            async |kit| {
                let request = DescribeConfigsRequest {
                    resources: vec![DescribeConfigsResource {
                        resource_type: 4,
                        resource_name: Str::from("1"),
                        configuration_keys: None,
                    }],
                    include_synonyms: true,
                    include_documentation: true,
                };
                let answer = kit.ask(4, &request).await;
                let config =
                    |name: &str| answer.results[0].configs.iter().find(|config| &*config.name == name);
                let threads = config("num.io.threads").unwrap();
                assert_eq!((threads.value.as_deref(), threads.config_source), (Some("5"), 4));
                assert_eq!((threads.synonyms.len(), threads.config_type), (2, 3));
                assert!(threads.documentation.as_deref().is_some_and(|doc| doc.contains("ringmain.shards")));
                for secret in ["ssl.key.password", "some.plugin.key"] {
                    let config = config(secret).unwrap();
                    assert!(config.is_sensitive && config.value.is_none() && config.read_only, "{secret}");
                    assert!(config.synonyms.iter().all(|synonym| synonym.value.is_none()), "{secret}");
                }
                assert!(config("background.threads").is_none(), "nobody set it");
            },
        );
    }

    #[test]
    fn a_request_that_repeats_itself_is_not_answered_for_ever() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let resource = |kind, name: &str| DescribeConfigsResource {
                resource_type: kind,
                resource_name: Str::from(name),
                configuration_keys: None,
            };
            let ids = ["1", "+1", "01", "001"];
            let resources = (0..10_000)
                .map(|at| if at % 2 == 0 { resource(2, "t") } else { resource(4, ids[at / 2 % ids.len()]) });
            let request = DescribeConfigsRequest {
                resources: resources.collect(),
                ..DescribeConfigsRequest::default()
            };
            let answer = kit.ask(4, &request).await;
            assert_eq!(answer.results.len(), 10_000);
            let described = answer.results.iter().filter(|result| !result.configs.is_empty()).count();
            assert_eq!(described, 2 + REPEATS_MAX);
            assert!(answer.results[2 + REPEATS_MAX..].iter().all(|result| result.error_code == 42));
        });
    }
}
