//! Cases of what is asked about the broker, the cluster and their configuration.

use ringmain_protocol::Str;
use ringmain_protocol::messages::api_versions_request::ApiVersionsRequest;
use ringmain_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ringmain_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ringmain_protocol::messages::describe_log_dirs_request::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use ringmain_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;

use crate::asker::{Asker, Topic};

/// Kafka's numbers of the kinds of resources that have a configuration.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// ApiVersions.
pub(crate) fn api_versions(asker: &mut Asker<'_>) {
    asker.ask(|_| [asked()], ApiVersionsRequest::default(), |answer| answer.error_code);
}

/// ApiVersions with the client's name and version, as it must be.
pub(crate) fn asked() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "answers".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

/// DescribeCluster with all that can be asked for.
pub(crate) fn describe_cluster(asker: &mut Asker<'_>) {
    let everything =
        || DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
    asker.ask(|_| [everything()], DescribeClusterRequest::default(), |answer| answer.error_code);
}

/// Of a topic and of the broker, with all that can be asked for, with less, with least.
pub(crate) fn describe_configs(asker: &mut Asker<'_>) {
    let resource = |resource_type: i8, name: Str| DescribeConfigsResource {
        resource_type,
        resource_name: name,
        configuration_keys: None,
        ..Default::default()
    };
    let forms = |topic: &Topic| {
        [(true, true), (true, false), (false, false)].map(|(include_synonyms, include_documentation)| {
            DescribeConfigsRequest {
                resources: vec![resource(TOPIC, topic.name.clone()), resource(BROKER, "1".into())],
                include_synonyms,
                include_documentation,
                ..Default::default()
            }
        })
    };
    asker.ask(forms, DescribeConfigsRequest::default(), |answer| {
        answer.results.iter().map(|result| result.error_code).max().unwrap_or(-1)
    });
}

/// DescribeLogDirs of both partitions, and of all there are.
pub(crate) fn describe_log_dirs(asker: &mut Asker<'_>) {
    let of = |topics| DescribeLogDirsRequest { topics, ..Default::default() };
    let both = |topic: &Topic| {
        let topic = topic.name.clone();
        [of(Some(vec![DescribableLogDirTopic { topic, partitions: vec![0, 1], ..Default::default() }]))]
    };
    asker.ask(both, of(None), |answer| {
        assert_eq!(answer.results[0].topics[0].partitions.len(), 2);
        answer.error_code.max(answer.results[0].error_code)
    });
}

/// ListConfigResources of topics and brokers.
pub(crate) fn list_config_resources(asker: &mut Asker<'_>) {
    let of = |resource_types| ListConfigResourcesRequest { resource_types, ..Default::default() };
    // Version 0 knows one kind only and does not name it.
    let forms = |_: &Topic| [of(vec![TOPIC, BROKER]), of(Vec::new())];
    asker.ask(forms, of(Vec::new()), |answer| answer.error_code);
}
