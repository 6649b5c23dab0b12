//! Which case is whose. A case is the request about a topic, the one about nothing, and where the answer has
//! its error.

use ringmain_protocol::ApiKey;

use crate::asker::Asker;
use crate::{admin, cluster, groups, records, topics};

/// Asks the API of `asker`.
pub(crate) fn ask(asker: &mut Asker<'_>) {
    match asker.key {
        ApiKey::Produce => records::produce(asker),
        ApiKey::Fetch => records::fetch(asker),
        ApiKey::ListOffsets => records::list_offsets(asker),
        ApiKey::InitProducerId => records::init_producer_id(asker),
        ApiKey::OffsetForLeaderEpoch => records::offset_for_leader_epoch(asker),
        ApiKey::DeleteRecords => records::delete_records(asker),
        ApiKey::DescribeProducers => records::describe_producers(asker),
        ApiKey::Metadata => topics::metadata(asker),
        ApiKey::CreateTopics => topics::create_topics(asker),
        ApiKey::DeleteTopics => topics::delete_topics(asker),
        ApiKey::CreatePartitions => topics::create_partitions(asker),
        ApiKey::DescribeTopicPartitions => topics::describe_topic_partitions(asker),
        ApiKey::ApiVersions => cluster::api_versions(asker),
        ApiKey::DescribeCluster => cluster::describe_cluster(asker),
        ApiKey::DescribeConfigs => cluster::describe_configs(asker),
        ApiKey::DescribeLogDirs => cluster::describe_log_dirs(asker),
        ApiKey::ListConfigResources => cluster::list_config_resources(asker),
        ApiKey::AlterConfigs => admin::alter_configs(asker),
        ApiKey::IncrementalAlterConfigs => admin::incremental_alter_configs(asker),
        ApiKey::ElectLeaders => admin::elect_leaders(asker),
        ApiKey::AlterPartitionReassignments => admin::alter_partition_reassignments(asker),
        ApiKey::ListPartitionReassignments => admin::list_partition_reassignments(asker),
        ApiKey::UpdateFeatures => admin::update_features(asker),
        ApiKey::FindCoordinator => groups::find_coordinator(asker),
        ApiKey::JoinGroup => groups::join_group(asker),
        ApiKey::SyncGroup => groups::sync_group(asker),
        ApiKey::Heartbeat => groups::heartbeat(asker),
        ApiKey::LeaveGroup => groups::leave_group(asker),
        ApiKey::OffsetCommit => groups::offset_commit(asker),
        ApiKey::OffsetFetch => groups::offset_fetch(asker),
        ApiKey::OffsetDelete => groups::offset_delete(asker),
        ApiKey::DescribeGroups => groups::describe_groups(asker),
        ApiKey::ListGroups => groups::list_groups(asker),
        ApiKey::ConsumerGroupHeartbeat => groups::consumer_group_heartbeat(asker),
        ApiKey::ConsumerGroupDescribe => groups::consumer_group_describe(asker),
        ApiKey::DeleteGroups => groups::delete_groups(asker),
        key => panic!("{} is served and has no case here", key.name()),
    }
}
