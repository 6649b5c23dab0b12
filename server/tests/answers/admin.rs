//! Cases of what changes topics, brokers and the cluster.

use ringmain_protocol::messages::alter_configs_request::{self as alter, AlterConfigsRequest};
use ringmain_protocol::messages::incremental_alter_configs_request::{
    self as incremental, IncrementalAlterConfigsRequest,
};

use crate::asker::{Asker, Topic};

/// Kafka's number of a topic among the resources that have a configuration.
const TOPIC: i8 = 2;

/// AlterConfigs of one key of a topic.
pub(crate) fn alter_configs(asker: &mut Asker<'_>) {
    let config = || alter::AlterableConfig {
        name: "retention.ms".into(),
        value: Some("1000000".into()),
        ..Default::default()
    };
    let one = |topic: &Topic| {
        let resource = alter::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.name.clone(),
            configs: vec![config()],
            ..Default::default()
        };
        [AlterConfigsRequest { resources: vec![resource], ..Default::default() }]
    };
    asker.ask(one, AlterConfigsRequest::default(), |answer| answer.responses[0].error_code);
}

/// IncrementalAlterConfigs: one key of a topic is set.
pub(crate) fn incremental_alter_configs(asker: &mut Asker<'_>) {
    let config = || incremental::AlterableConfig {
        name: "retention.ms".into(),
        value: Some("1000000".into()),
        ..Default::default()
    };
    let one = |topic: &Topic| {
        let resource = incremental::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.name.clone(),
            configs: vec![config()],
            ..Default::default()
        };
        [IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }]
    };
    asker.ask(one, IncrementalAlterConfigsRequest::default(), |answer| answer.responses[0].error_code);
}
