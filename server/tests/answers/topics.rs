//! Cases of what is asked about topics and their partitions.

use ringmain_protocol::Uuid;
use ringmain_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ringmain_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ringmain_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ringmain_protocol::messages::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

use crate::asker::{Asker, Topic};
use crate::broker::Connection;

/// First version of CreateTopics whose answer tells the topic's id.
const CREATE_TOPICS_WITH_ID: i16 = 7;
/// First version of Metadata that finds a topic by its id.
const METADATA_BY_ID: i16 = 12;

/// Makes a topic of two partitions.
pub(crate) fn make(connection: &mut Connection, name: &str) -> Topic {
    let request = CreateTopicsRequest { topics: vec![by_numbers(name)], ..Default::default() };
    let answer = connection.ask(&request, CREATE_TOPICS_WITH_ID).unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{name}: {:?}", answer.topics[0].error_message);
    Topic { name: name.into(), id: answer.topics[0].topic_id }
}

fn by_numbers(name: &str) -> CreatableTopic {
    let (name, num_partitions, replication_factor) = (name.into(), 2, 1);
    CreatableTopic { name, num_partitions, replication_factor, ..Default::default() }
}

/// Metadata, by id as soon as that is possible.
pub(crate) fn metadata(asker: &mut Asker<'_>) {
    let of = |topics| MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let by_id = asker.version >= METADATA_BY_ID;
    // With all that can be asked for, and without.
    let forms = |topic: &Topic| {
        let named = || MetadataRequestTopic {
            topic_id: if by_id { topic.id } else { Uuid::ZERO },
            name: (!by_id).then(|| topic.name.clone()),
            ..Default::default()
        };
        let everything = MetadataRequest {
            include_cluster_authorized_operations: true,
            include_topic_authorized_operations: true,
            ..of(vec![named()])
        };
        let no_cluster = MetadataRequest { include_topic_authorized_operations: true, ..of(vec![named()]) };
        [everything, no_cluster, of(vec![named()])]
    };
    asker.ask(forms, of(Vec::new()), |answer| answer.topics[0].error_code);
}

/// Two new topics: one by numbers and with a setting, one by its replicas.
pub(crate) fn create_topics(asker: &mut Asker<'_>) {
    let retention = || CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("1000000".into()),
        ..Default::default()
    };
    let replicas = || CreatableReplicaAssignment { broker_ids: vec![1], ..Default::default() };
    let two = |topic: &Topic| {
        let numbers = CreatableTopic {
            configs: vec![retention()],
            ..by_numbers(&format!("{}-by-numbers", topic.name))
        };
        let assigned = CreatableTopic {
            name: format!("{}-assigned", topic.name).into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![replicas()],
            ..Default::default()
        };
        [CreateTopicsRequest { topics: vec![numbers, assigned], ..Default::default() }]
    };
    asker.ask(two, CreateTopicsRequest::default(), |answer| {
        assert_eq!(answer.topics.len(), 2);
        answer.topics.iter().map(|topic| topic.error_code).max().unwrap_or(-1)
    });
}

/// DeleteTopics, by id or by name.
pub(crate) fn delete_topics(asker: &mut Asker<'_>) {
    let forms = |topic: &Topic| {
        let by_id = DeleteTopicState { name: None, topic_id: topic.id, ..Default::default() };
        [
            DeleteTopicsRequest { topics: vec![by_id], ..Default::default() },
            DeleteTopicsRequest { topic_names: vec![topic.name.clone()], ..Default::default() },
        ]
    };
    asker.ask(forms, DeleteTopicsRequest::default(), |answer| answer.responses[0].error_code);
}

/// CreatePartitions of one more.
pub(crate) fn create_partitions(asker: &mut Asker<'_>) {
    let one_more = |topic: &Topic| {
        let name = topic.name.clone();
        let more = CreatePartitionsTopic { name, count: 3, assignments: None, ..Default::default() };
        [CreatePartitionsRequest { topics: vec![more], timeout_ms: 30_000, ..Default::default() }]
    };
    asker.ask(one_more, CreatePartitionsRequest::default(), |answer| answer.results[0].error_code);
}

/// One partition of the two, so that the answer has a cursor.
pub(crate) fn describe_topic_partitions(asker: &mut Asker<'_>) {
    let of = |topics| DescribeTopicPartitionsRequest {
        topics,
        response_partition_limit: 1,
        cursor: None,
        ..Default::default()
    };
    let named = |topic: &Topic| [of(vec![TopicRequest { name: topic.name.clone(), ..Default::default() }])];
    asker.ask(named, of(Vec::new()), |answer| {
        assert!(answer.next_cursor.is_some());
        answer.topics[0].error_code
    });
}
