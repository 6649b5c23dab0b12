//! `ListConfigResources` (key 74): what has, or could have, a configuration (KIP-1142).
//!
//! Versions: 0 (client metrics subscriptions only) · 1 (the kinds asked for; none asks for all).
//!
//! Left out: authorization. Of groups and client metrics those are told that have something set on them.
//!
//! Order of checks, as in `KafkaApis.handleListConfigResources`: the kinds are known, else `UNSUPPORTED_VERSION`.

use std::collections::BTreeSet;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use ringmain_protocol::messages::list_config_resources_response::{
    ConfigResource as Told, ListConfigResourcesResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context, topics};
use crate::metadata::image::{ConfigResource, MetadataImage};

/// Answers one `ListConfigResources`.
pub(super) fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: &ListConfigResourcesRequest,
) -> Answer<ListConfigResourcesResponse> {
    let kinds: BTreeSet<i8> = if context.version == 0 {
        BTreeSet::from([ConfigResource::CLIENT_METRICS])
    } else if request.resource_types.is_empty() {
        BTreeSet::from(ConfigResource::KINDS)
    } else {
        request.resource_types.iter().copied().collect()
    };
    if !kinds.iter().all(|kind| ConfigResource::KINDS.contains(kind)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..Default::default() }.into();
    }
    let image = broker.image();
    let told = |kind: i8| {
        let named = names(&image, broker.listener_name(context.peer.listener), kind).into_iter();
        named.map(move |name| Told { resource_name: Str::from(name), resource_type: kind })
    };
    // Apache tells the newest kind first.
    let config_resources = kinds.into_iter().rev().flat_map(told).collect();
    ListConfigResourcesResponse { config_resources, ..Default::default() }.into()
}

/// The names of all resources of a kind.
fn names(image: &MetadataImage, listener_name: &str, kind: i8) -> Vec<String> {
    match kind {
        ConfigResource::TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
        ConfigResource::BROKER | ConfigResource::BROKER_LOGGER => {
            topics::nodes(image, listener_name).map(|node| node.id.to_string()).collect()
        }
        _ => {
            let set = image.configs.iter().filter(|(resource, _)| resource.kind == kind);
            set.map(|(resource, _)| resource.name.to_string()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;

    #[test]
    fn the_kinds_asked_for_are_told_and_unknown_ones_refused() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let ask = async |version, kinds: &[i8]| {
                let answer =
                    kit.ask(version, &ListConfigResourcesRequest { resource_types: kinds.to_vec() }).await;
                let told = answer.config_resources.iter();
                let told: Vec<_> =
                    told.map(|told| format!("{} {}", told.resource_type, &*told.resource_name)).collect();
                (answer.error_code, told.join(", "))
            };
            assert_eq!(ask(1, &[]).await, (0, "8 1, 4 1, 2 t".to_owned()));
            assert_eq!(ask(1, &[2]).await, (0, "2 t".to_owned()));
            assert_eq!(ask(1, &[2, 3]).await, (35, String::new()));
            assert_eq!(ask(0, &[]).await, (0, String::new()));
        });
    }
}
