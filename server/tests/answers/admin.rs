//! Cases of what changes topics, brokers and the cluster.

use ringmain_protocol::messages::alter_configs_request::{self as alter, AlterConfigsRequest};
use ringmain_protocol::messages::incremental_alter_configs_request::{
    self as incremental, IncrementalAlterConfigsRequest,
};

use ringmain_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ringmain_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ringmain_protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use ringmain_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};

use crate::asker::{Asker, Topic};

/// What an election answers for a partition that has the leader it should.
const ELECTION_NOT_NEEDED: i16 = 84;

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

/// ElectLeaders of one partition, which needs none.
pub(crate) fn elect_leaders(asker: &mut Asker<'_>) {
    let one = |topic: &Topic| {
        let of_topic =
            TopicPartitions { topic: topic.name.clone(), partitions: vec![0], ..Default::default() };
        [ElectLeadersRequest { topic_partitions: Some(vec![of_topic]), ..Default::default() }]
    };
    let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
    asker.ask(one, all, |answer| {
        let code = answer.replica_election_results[0].partition_result[0].error_code;
        if code == ELECTION_NOT_NEEDED { answer.error_code } else { code }
    });
}

/// AlterPartitionReassignments of one partition to where it is.
pub(crate) fn alter_partition_reassignments(asker: &mut Asker<'_>) {
    let one = |topic: &Topic| {
        let partition =
            ReassignablePartition { partition_index: 0, replicas: Some(vec![1]), ..Default::default() };
        let of_topic =
            ReassignableTopic { name: topic.name.clone(), partitions: vec![partition], ..Default::default() };
        [AlterPartitionReassignmentsRequest { topics: vec![of_topic], ..Default::default() }]
    };
    asker.ask(one, AlterPartitionReassignmentsRequest::default(), |answer| {
        answer.error_code.max(answer.responses[0].partitions[0].error_code)
    });
}

/// ListPartitionReassignments of one partition, and of all there are.
pub(crate) fn list_partition_reassignments(asker: &mut Asker<'_>) {
    let one = |topic: &Topic| {
        let name = topic.name.clone();
        let of_topic =
            ListPartitionReassignmentsTopics { name, partition_indexes: vec![0], ..Default::default() };
        [ListPartitionReassignmentsRequest { topics: Some(vec![of_topic]), ..Default::default() }]
    };
    let all = ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
    asker.ask(one, all, |answer| answer.error_code);
}

/// UpdateFeatures to the level that holds.
pub(crate) fn update_features(asker: &mut Asker<'_>) {
    let same = |_: &Topic| {
        let update = FeatureUpdateKey {
            feature: "transaction.version".into(),
            max_version_level: 2,
            ..Default::default()
        };
        [UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }]
    };
    asker.ask(same, UpdateFeaturesRequest::default(), |answer| answer.error_code);
}
