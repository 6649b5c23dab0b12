//! `DescribeProducers` (key 61): the idempotent and transactional producers a partition remembers (KIP-664).
//!
//! Versions: 0 (flexible from the start).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `KafkaApis.handleDescribeProducersRequest` and `ReplicaManager.activeProducerState`: the name is
//! valid → the topic exists → the partition exists → it is led here.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ringmain_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;
use ringmain_storage::log::producer_state::Producer;
use ringmain_storage::types::{PartitionKey, ProducerId};

use super::{Answer, Broker, topics};

/// Answers one `DescribeProducers`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: DescribeProducersRequest,
) -> Answer<DescribeProducersResponse> {
    let image = broker.image();
    let of_topics = request.topics.into_iter().map(async |topic| {
        let refused = if !topics::is_valid_name(&topic.name) {
            Some((ErrorCode::InvalidTopicException, "The topic's name is not valid."))
        } else if image.topic_by_name(&topic.name).is_none() {
            Some((ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition."))
        } else {
            None
        };
        let key = |index| topics::partition_key(&image, &topic.name, index);
        let partitions =
            topic.partition_indexes.into_iter().map(|index| answered(broker, index, key(index), refused));
        let partitions = topics::all(partitions).await;
        TopicResponse { name: topic.name, partitions }
    });
    let topics = topics::all(of_topics).await;
    DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }.into()
}

/// The answer of one partition.
async fn answered<I: Io>(
    broker: &Broker<I>,
    partition_index: i32,
    key: Option<PartitionKey>,
    refused: Option<(ErrorCode, &'static str)>,
) -> PartitionResponse {
    let (code, message, active_producers) = match refused {
        Some((code, message)) => (code, Some(Str::from_static(message)), Vec::new()),
        None => match producers(broker, key).await {
            Ok(active) => (ErrorCode::None, None, active),
            Err(code) => (code, None, Vec::new()),
        },
    };
    PartitionResponse { partition_index, error_code: code.code(), error_message: message, active_producers }
}

/// What one partition remembers.
async fn producers<I: Io>(
    broker: &Broker<I>,
    key: Option<PartitionKey>,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let key = key.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    broker
        .at_partition(key, async |partition| {
            partition.log().producers(|producers| {
                producers.iter().map(|(id, producer)| told(id, producer)).collect::<Vec<_>>()
            })
        })
        .await
        .ok_or_else(|| broker.absent(key))
}

fn told(id: ProducerId, producer: &Producer) -> ProducerState {
    ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.batches().last().map_or(-1, |batch| batch.last_sequence),
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_first_offset.map_or(-1, |offset| offset.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::describe_producers_request::TopicRequest;
    use ringmain_storage::record::validate::ProducerBatch;
    use ringmain_storage::types::ProducerEpoch;

    #[test]
    fn a_producer_is_told_with_its_last_sequence_and_what_is_not_there_with_an_error() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let producer = ProducerBatch {
                producer_id: ProducerId(77),
                producer_epoch: ProducerEpoch(3),
                base_sequence: 0,
            };
            assert_eq!(kit.produce("t", 4, Some(producer)).await, 0);
            assert_eq!(kit.produce("t", 4, None).await, 0);
            let topic = |name: &str, indexes: &[i32]| TopicRequest {
                name: Str::from(name),
                partition_indexes: indexes.to_vec(),
            };
            let topics = vec![topic("t", &[0, 1]), topic("nope", &[0]), topic("no pe", &[0])];
            let answer = kit.ask(0, &DescribeProducersRequest { topics }).await;
            let [there, missing] = &answer.topics[0].partitions[..] else { panic!("{answer:?}") };
            assert_eq!((there.error_code, missing.error_code), (0, 3));
            let [active] = &there.active_producers[..] else { panic!("{there:?}") };
            assert_eq!((active.producer_id, active.producer_epoch, active.last_sequence), (77, 3, 3));
            assert_eq!((active.coordinator_epoch, active.current_txn_start_offset), (-1, -1));
            assert_eq!(answer.topics[1].partitions[0].error_code, 3);
            assert_eq!(answer.topics[2].partitions[0].error_code, 17);
        });
    }
}
