//! Cases of what producers and consumers ask.

use bytes::Bytes;
use ringmain_protocol::Records;
use ringmain_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ringmain_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use ringmain_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ringmain_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ringmain_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringmain_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ringmain_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;

use crate::asker::{Asker, Topic};
use crate::broker::Connection;

/// Produce of one record, answered when it is durable.
pub(crate) fn produce(asker: &mut Asker<'_>) {
    let nothing = ProduceRequest { acks: -1, ..Default::default() };
    asker.ask(one_record, nothing, |answer| answer.responses[0].partition_responses[0].error_code);
}

/// Produces one record to the first partition of a topic.
pub(crate) fn put_record(connection: &mut Connection, topic: &Topic) {
    let [request] = one_record(topic);
    let answer = connection.ask(&request, 3).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

fn batch() -> Bytes {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(&NewRecord { value: Some(b"a record"), ..NewRecord::default() }).unwrap();
    batch.build().unwrap()
}

/// By name and by id: each version carries what it has of the two.
fn one_record(topic: &Topic) -> [ProduceRequest; 1] {
    let records = Records::Bytes(batch());
    let topic = TopicProduceData {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_data: vec![PartitionProduceData { index: 0, records, ..Default::default() }],
        ..Default::default()
    };
    [ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }]
}

/// Fetch from the start.
pub(crate) fn fetch(asker: &mut Asker<'_>) {
    let of = |topics: Vec<FetchTopic>| FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics,
        ..Default::default()
    };
    let from_start = |topic: &Topic| {
        let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
        [of(vec![FetchTopic {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partitions: vec![partition],
            ..Default::default()
        }])]
    };
    asker.ask(from_start, of(Vec::new()), |answer| {
        let partition = &answer.responses[0].partitions[0];
        assert!(!partition.records.is_empty(), "the record is fetched");
        answer.error_code.max(partition.error_code)
    });
}

/// ListOffsets of the earliest offset.
pub(crate) fn list_offsets(asker: &mut Asker<'_>) {
    let of = |topics| ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let earliest = |topic: &Topic| {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp: -2, ..Default::default() };
        let name = topic.name.clone();
        [of(vec![ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() }])]
    };
    asker.ask(earliest, of(Vec::new()), |answer| {
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.offset, 0);
        partition.error_code
    });
}

/// InitProducerId of an idempotent producer.
pub(crate) fn init_producer_id(asker: &mut Asker<'_>) {
    let idempotent = || InitProducerIdRequest { transactional_id: None, ..Default::default() };
    asker.ask(|_| [idempotent()], idempotent(), |answer| answer.error_code);
}

/// OffsetForLeaderEpoch of the first epoch.
pub(crate) fn offset_for_leader_epoch(asker: &mut Asker<'_>) {
    let of = |topics| OffsetForLeaderEpochRequest { replica_id: -1, topics, ..Default::default() };
    let first_epoch = |topic: &Topic| {
        let partition = OffsetForLeaderPartition { partition: 0, leader_epoch: 0, ..Default::default() };
        let topic = topic.name.clone();
        [of(vec![OffsetForLeaderTopic { topic, partitions: vec![partition], ..Default::default() }])]
    };
    asker.ask(first_epoch, of(Vec::new()), |answer| {
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.end_offset, 1);
        partition.error_code
    });
}

/// DeleteRecords of the one record.
pub(crate) fn delete_records(asker: &mut Asker<'_>) {
    let first = |topic: &Topic| {
        let partition = DeleteRecordsPartition { partition_index: 0, offset: 1, ..Default::default() };
        let name = topic.name.clone();
        let topics = vec![DeleteRecordsTopic { name, partitions: vec![partition], ..Default::default() }];
        [DeleteRecordsRequest { topics, timeout_ms: 30_000, ..Default::default() }]
    };
    asker.ask(first, DeleteRecordsRequest::default(), |answer| {
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.low_watermark, 1);
        partition.error_code
    });
}

/// DescribeProducers of both partitions.
pub(crate) fn describe_producers(asker: &mut Asker<'_>) {
    let of = |topics| DescribeProducersRequest { topics, ..Default::default() };
    let both = |topic: &Topic| {
        let name = topic.name.clone();
        [of(vec![TopicRequest { name, partition_indexes: vec![0, 1], ..Default::default() }])]
    };
    asker.ask(both, of(Vec::new()), |answer| {
        answer.topics[0].partitions.iter().map(|partition| partition.error_code).max().unwrap_or(-1)
    });
}
