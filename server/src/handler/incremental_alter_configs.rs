//! `IncrementalAlterConfigs` (key 44): changes single keys of a resource's configuration (KIP-339).
//!
//! Versions: 0 · 1 (flexible). Operations: 0 set, 1 delete, 2 append, 3 subtract. Left out: authorization, and resources
//! other than topics, brokers and loggers. Order of checks: see [`config_changes`].

use ringmain_protocol::messages::incremental_alter_configs_request::IncrementalAlterConfigsRequest;
use ringmain_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ringmain_storage::io::Io;

use super::config_changes::{self, Change, Changed, Op};
use super::{Answer, Broker};

/// Answers one `IncrementalAlterConfigs`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: IncrementalAlterConfigsRequest,
) -> Answer<IncrementalAlterConfigsResponse> {
    let changes = request.resources.into_iter().map(|resource| Change {
        kind: resource.resource_type,
        name: resource.resource_name,
        ops: resource
            .configs
            .into_iter()
            .map(|config| (config.name, op(config.config_operation), config.value))
            .collect(),
        replace: false,
    });
    let changed = config_changes::apply(broker, changes.collect(), request.validate_only).await;
    let told = |changed: Changed| AlterConfigsResourceResponse {
        error_code: changed.code.code(),
        error_message: changed.message,
        resource_type: changed.kind,
        resource_name: changed.name,
    };
    let responses = changed.into_iter().map(told).collect();
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }.into()
}

/// An operation by its number.
fn op(code: i8) -> Op {
    match code {
        0 => Op::Set,
        1 => Op::Delete,
        2 => Op::Append,
        3 => Op::Subtract,
        other => Op::Unknown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::{Kit, with_broker};
    use super::*;
    use crate::metadata::image::ConfigResource;
    use ringmain_protocol::messages::incremental_alter_configs_request::{
        AlterConfigsResource, AlterableConfig,
    };
    use ringmain_protocol::wire::Str;

    /// Changes one key, and gives the error code.
    async fn change(kit: &Kit, (kind, name): (i8, &str), key: &str, op: i8, value: Option<&str>) -> i16 {
        let config =
            AlterableConfig { name: Str::from(key), config_operation: op, value: value.map(Str::from) };
        let resource = AlterConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        kit.ask(1, &request).await.responses[0].error_code
    }

    /// What is set on a resource for a key.
    fn set(kit: &Kit, (kind, name): (i8, &str), key: &str) -> Option<String> {
        let resource = ConfigResource { kind, name: name.into() };
        kit.broker.image().configs.get(&resource).and_then(|set| set.get(key).map(ToString::to_string))
    }

    const TOPIC: (i8, &str) = (2, "t");
    const BROKER: (i8, &str) = (4, "1");
    const ALL: (i8, &str) = (4, "");
    const INVALID_CONFIG: i16 = 40;
    const INVALID_REQUEST: i16 = 42;

    #[test]
    fn keys_of_a_topic_are_set_deleted_and_lists_grow_and_shrink() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let policy = "cleanup.policy";
            assert_eq!(change(&kit, TOPIC, policy, 2, Some("compact")).await, 0);
            assert_eq!(set(&kit, TOPIC, policy).as_deref(), Some("delete,compact"));
            let partition = kit.broker.partition(kit.key("t", 0)).unwrap();
            assert!(partition.settings().compacted && partition.settings().log.cleanup_delete);
            assert_eq!(change(&kit, TOPIC, policy, 3, Some("delete")).await, 0);
            assert_eq!(set(&kit, TOPIC, policy).as_deref(), Some("compact"));
            assert!(!partition.settings().log.cleanup_delete);
            assert_eq!(change(&kit, TOPIC, policy, 2, Some("burn")).await, INVALID_CONFIG);
            assert_eq!(change(&kit, TOPIC, policy, 1, None).await, 0);
            assert_eq!(set(&kit, TOPIC, policy), None);
            assert_eq!(change(&kit, TOPIC, "preallocate", 0, Some(" TRUE ")).await, 0);
            assert_eq!(set(&kit, TOPIC, "preallocate").as_deref(), Some("true"), "in its one spelling");
            for (key, op, value) in [
                ("retention.ms", 2, "1"),
                ("retention.ms", 0, "-2"),
                ("nokey", 0, "1"),
                ("nokey", 2, "1"),
                ("remote.storage.enable", 0, "true"),
            ] {
                assert_eq!(change(&kit, TOPIC, key, op, Some(value)).await, INVALID_CONFIG, "{key} {op}");
            }
            assert_eq!(change(&kit, TOPIC, "nokey", 1, None).await, 0, "nothing to delete");
            assert_eq!(change(&kit, TOPIC, "retention.ms", 9, Some("1")).await, INVALID_REQUEST);
            assert_eq!(change(&kit, (2, "nope"), "retention.ms", 0, Some("1")).await, 3);
            assert_eq!(change(&kit, (2, "nope"), "retention.ms", 0, Some("x")).await, INVALID_CONFIG);
            assert_eq!(change(&kit, (2, "n pe"), "retention.ms", 0, Some("1")).await, 17);
            assert_eq!(change(&kit, (2, ""), "retention.ms", 0, Some("1")).await, INVALID_REQUEST);
            assert_eq!(change(&kit, TOPIC, "min.compaction.lag.ms", 0, Some("9")).await, 0);
            let below = change(&kit, TOPIC, "max.compaction.lag.ms", 0, Some("5")).await;
            assert_eq!(below, INVALID_CONFIG, "the two contradict each other");
        });
    }

    #[test]
    fn a_brokers_defaults_reach_topics_that_do_not_override_them_at_once() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            kit.create_topic("own", 1, &[("retention.ms", "5")]).await;
            let retention =
                |topic: &str| kit.broker.partition(kit.key(topic, 0)).unwrap().settings().log.retention_ms;
            assert_eq!(change(&kit, ALL, "log.retention.ms", 0, Some("70")).await, 0);
            assert_eq!((retention("t"), retention("own")), (70, 5));
            assert_eq!(change(&kit, BROKER, "log.retention.ms", 0, Some("60")).await, 0);
            assert_eq!((retention("t"), retention("own")), (60, 5));
            kit.create_topic("later", 1, &[]).await;
            assert_eq!(retention("later"), 60);
            assert_eq!(change(&kit, (2, "own"), "retention.ms", 1, None).await, 0);
            assert_eq!(retention("own"), 60);
            assert_eq!(change(&kit, BROKER, "log.retention.ms", 1, None).await, 0);
            assert_eq!(change(&kit, ALL, "log.retention.ms", 1, None).await, 0);
            assert_eq!((retention("t"), retention("own")), (604_800_000, 604_800_000));
        });
    }

    #[test]
    fn loggers_change_their_levels_at_once_and_only_here() {
        with_broker(async |kit| {
            let loggers: (i8, &str) = (8, "1");
            let now = || kit.broker.settings().log.current();
            assert_eq!(change(&kit, loggers, "ringmain.net", 0, Some("DEBUG")).await, 0);
            assert_eq!(change(&kit, loggers, "root", 0, Some("WARN")).await, 0);
            assert_eq!(now(), "warn,ringmain::net=debug");
            assert_eq!(set(&kit, loggers, "root"), None, "no record says so");
            for (logger, op, level, code) in [
                ("no.such", 0, Some("INFO"), INVALID_CONFIG),
                ("no.such", 1, None, INVALID_CONFIG),
                ("root", 0, Some("info"), INVALID_CONFIG),
                ("root", 0, None, INVALID_REQUEST),
                ("root", 1, None, INVALID_REQUEST),
                ("root", 2, Some("INFO"), INVALID_REQUEST),
                ("root", 9, Some("INFO"), INVALID_REQUEST),
            ] {
                assert_eq!(change(&kit, loggers, logger, op, level).await, code, "{logger} {op}");
            }
            assert_eq!(now(), "warn,ringmain::net=debug");
            assert_eq!(change(&kit, loggers, "ringmain.net", 1, None).await, 0);
            assert_eq!(now(), "warn");
        });
    }

    #[test]
    fn no_topic_promises_larger_batches_than_the_journal_takes() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let max = kit.broker.settings().batch_bytes_max;
            let (fits, more) = (max.to_string(), (max + 1).to_string());
            assert_eq!(change(&kit, TOPIC, "max.message.bytes", 0, Some(&fits)).await, 0);
            assert_eq!(change(&kit, TOPIC, "max.message.bytes", 0, Some(&more)).await, INVALID_CONFIG);
            assert_eq!(change(&kit, ALL, "message.max.bytes", 0, Some(&fits)).await, 0);
            assert_eq!(change(&kit, ALL, "message.max.bytes", 0, Some(&more)).await, INVALID_REQUEST);
            assert_eq!(change(&kit, BROKER, "message.max.bytes", 0, Some(&more)).await, INVALID_REQUEST);
        });
    }

    #[test]
    fn what_a_running_broker_cannot_change_is_refused() {
        with_broker(async |kit| {
            for (resource, key, value) in [
                (BROKER, "num.partitions", "3"),
                (ALL, "listeners", "PLAINTEXT://:1"),
                (BROKER, "log.retention.ms", "x"),
                (ALL, "compression.type", "zip"),
                (BROKER, "process.roles", "broker"),
                (BROKER, "controller.quorum.voters", "1@localhost:9093"),
                (BROKER, "ssl.keystore.location", "/key"),
                ((4, "2"), "log.retention.ms", "1"),
                ((4, "x"), "log.retention.ms", "1"),
                ((8, "2"), "root", "INFO"),
                ((8, ""), "root", "INFO"),
                ((99, "1"), "a", "b"),
            ] {
                let code = change(&kit, resource, key, 0, Some(value)).await;
                assert_eq!(code, INVALID_REQUEST, "{resource:?} {key}");
            }
            assert_eq!(change(&kit, BROKER, "log.retention.ms", 2, Some("7")).await, INVALID_CONFIG);
            assert_eq!(change(&kit, BROKER, "min.insync.replicas", 0, Some("2")).await, INVALID_CONFIG);
            assert_eq!(change(&kit, ALL, "min.insync.replicas", 1, None).await, INVALID_CONFIG);
            assert_eq!(change(&kit, ALL, "min.insync.replicas", 0, Some("2")).await, 0);
            assert_eq!(
                change(&kit, BROKER, "some.plugin.key", 0, Some("3")).await,
                0,
                "kept for whose it is"
            );
            for key in ["num.io.threads", "log.cleaner.threads", "leader.replication.throttled.rate"] {
                assert_eq!(change(&kit, BROKER, key, 0, Some("3")).await, 0, "{key}");
            }
            assert_eq!(change(&kit, BROKER, "num.partitions", 1, None).await, 0, "nothing to delete");
        });
    }

    #[test]
    fn more_than_the_metadata_log_takes_at_once_is_refused() {
        with_broker(async |kit| {
            let config = |number: i32| AlterableConfig {
                name: Str::from(format!("some.plugin.key.{number}")),
                config_operation: 0,
                value: Some(Str::from("x".repeat(32_000))),
            };
            let ask = async |count| {
                let resource = AlterConfigsResource {
                    resource_type: ALL.0,
                    resource_name: Str::from(ALL.1),
                    configs: (0..count).map(config).collect(),
                };
                let request =
                    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
                kit.ask(1, &request).await.responses[0].error_code
            };
            assert_eq!(ask(32).await, 0);
            assert_eq!(ask(33).await, INVALID_REQUEST);
        });
    }
}
