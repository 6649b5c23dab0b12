//! `AlterConfigs` (key 33): sets a resource's configuration anew; what is not named goes back to its default. Deprecated
//! in Kafka for [`IncrementalAlterConfigs`](super::incremental_alter_configs), and still sent by old tools.
//!
//! Versions: 0 · 1 (throttling) · 2 (flexible). Left out: authorization, and resources other than topics and brokers.
//! Order of checks: see [`config_changes`].

use ringmain_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ringmain_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use ringmain_storage::io::Io;

use super::config_changes::{self, Change, Changed, Op};
use super::{Answer, Broker};

/// Answers one `AlterConfigs`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: AlterConfigsRequest,
) -> Answer<AlterConfigsResponse> {
    let changes = request.resources.into_iter().map(|resource| Change {
        kind: resource.resource_type,
        name: resource.resource_name,
        ops: resource.configs.into_iter().map(|config| (config.name, Op::Set, config.value)).collect(),
        replace: true,
    });
    let changed = config_changes::apply(broker, changes.collect(), request.validate_only).await;
    let told = |changed: Changed| AlterConfigsResourceResponse {
        error_code: changed.code.code(),
        error_message: changed.message,
        resource_type: changed.kind,
        resource_name: changed.name,
    };
    let responses = changed.into_iter().map(told).collect();
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }.into()
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
    use ringmain_protocol::wire::Str;

    fn resource(kind: i8, name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
        let config = |(name, value): &(&str, Option<&str>)| AlterableConfig {
            name: Str::from(*name),
            value: value.map(Str::from),
        };
        AlterConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configs: configs.iter().map(config).collect(),
        }
    }

    #[test]
    fn what_is_not_named_goes_back_to_its_default() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[("retention.ms", "5"), ("segment.bytes", "2000000")]).await;
            let ask = async |version, resources, validate_only| {
                let answer = kit.ask(version, &AlterConfigsRequest { resources, validate_only }).await;
                answer.responses.iter().map(|response| response.error_code).collect::<Vec<_>>()
            };
            let set = || {
                let image = kit.broker.image();
                let set = image.topic_config("t").cloned().unwrap_or_default();
                set.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            };
            let change = || vec![resource(2, "t", &[("retention.ms", Some("7"))])];
            assert_eq!(ask(0, change(), true).await, [0]);
            assert_eq!(set(), "retention.ms=5 segment.bytes=2000000", "only checked");
            for version in 0..=2 {
                assert_eq!(ask(version, change(), false).await, [0]);
                assert_eq!(set(), "retention.ms=7");
            }
            let partition = kit.broker.partition(kit.key("t", 0)).unwrap();
            assert_eq!(partition.settings().log.retention_ms, 7);
            assert_eq!(partition.settings().log.segment_bytes, 1 << 30);
            let twice = vec![resource(2, "t", &[]), resource(2, "t", &[]), resource(2, "nope", &[])];
            assert_eq!(ask(2, twice, false).await, [42, 42, 3]);
            let null = vec![resource(2, "t", &[("retention.ms", None)]), resource(4, "", &[("a", None)])];
            assert_eq!(ask(2, null, false).await, [42, 42]);
            assert_eq!(set(), "retention.ms=7");
            assert_eq!(ask(2, vec![resource(2, "t", &[])], false).await, [0]);
            assert_eq!(set(), "");
            let without_min_isr = vec![resource(4, "", &[("log.retention.ms", Some("9"))])];
            assert_eq!(ask(2, without_min_isr, false).await, [40], "the cluster's min.insync.replicas stays");
        });
    }
}
