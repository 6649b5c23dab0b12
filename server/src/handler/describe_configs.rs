//! `DescribeConfigs` (key 32): the configuration of topics and of this broker.
//!
//! Versions: 0 (`is_default` in place of the source; ruby-kafka sends it unasked) · 1 (source, synonyms) ·
//! 3 (type, documentation) · 4 (flexible).
//!
//! Left out: resources other than topics and brokers (loggers, groups, client metrics), which are answered
//! `INVALID_REQUEST`, and other brokers' configuration, as in Apache. No key of the table is a secret.
//!
//! Order of checks, as in `ConfigHelper.describeConfigs`: kind of resource → topic: name valid, exists; broker: empty
//! or this broker's id → only the keys asked for, all if none is named.

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
use super::{Answer, Broker, Context, topics};
use crate::metadata::image::{ConfigResource, MetadataImage};

/// Answers one `DescribeConfigs`.
pub(super) fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: DescribeConfigsRequest,
) -> Answer<DescribeConfigsResponse> {
    let image = broker.image();
    let extras = Extras { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request
        .resources
        .into_iter()
        .map(|resource| {
            let described = describe(broker, &image, &resource);
            let (code, message, entries) = match described {
                Ok(entries) => (ErrorCode::None, None, entries),
                Err((code, message)) => (code, Some(Str::from(message)), Vec::new()),
            };
            let asked = resource.configuration_keys.filter(|keys| !keys.is_empty());
            let configs = entries
                .iter()
                .filter(|entry| {
                    asked.as_ref().is_none_or(|keys| keys.iter().any(|key| **key == *entry.key.name))
                })
                .map(|entry| told(entry, context.version, extras))
                .collect();
            DescribeConfigsResult {
                error_code: code.code(),
                error_message: message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                configs,
            }
        })
        .collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }.into()
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
        ConfigResource::BROKER => match name.parse::<i32>() {
            Ok(id) if id == broker.settings().node_id => Ok(configs::of_broker(broker, image)),
            Ok(id) => {
                let own = broker.settings().node_id;
                Err((
                    ErrorCode::InvalidRequest,
                    format!("this is broker {own}; ask broker {id} for its own configuration"),
                ))
            }
            Err(_) => Err((ErrorCode::InvalidRequest, format!("{name:?} is not the id of a broker"))),
        },
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
    let synonyms = if extras.synonyms {
        let synonym = |synonym: &configs::Synonym| DescribeConfigsSynonym {
            name: Str::from(&*synonym.name),
            value: synonym.value.as_deref().map(Str::from),
            source: synonym.source.code(),
        };
        // A null default is no synonym, as in Apache.
        entry.synonyms.iter().filter(|synonym| synonym.value.is_some()).map(synonym).collect()
    } else {
        Vec::new()
    };
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.key.name),
        value: entry.value().map(Str::from),
        read_only: entry.read_only(),
        is_default: version == 0 && entry.source() == Source::Default,
        config_source: entry.source().code(),
        is_sensitive: false,
        synonyms,
        config_type: entry.key.type_code(),
        documentation: extras.documentation.then(|| Str::from_static(entry.key.doc)),
    }
}
