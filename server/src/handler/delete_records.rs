//! `DeleteRecords` (key 21): moves the start of partitions forward (KIP-107). Streams empties its repartition topics so.
//!
//! Versions: 0 · 1 (throttling) · 2 (flexible).
//!
//! Left out: authorization, and `timeout_ms`: with one replica nobody else has to follow, and the answer leaves when the
//! new start is durable.
//!
//! Order of checks, as in `KafkaApis.handleDeleteRecordsRequest`, `ReplicaManager.deleteRecordsOnLocalLog` and
//! `Partition.deleteRecordsOnLeader`: partition exists → no internal topic → led here → the topic's policy lets records
//! go (`POLICY_VIOLATION` when it only compacts) → the offset is −1 (the high watermark), or one up to there. An offset
//! that is gone already changes nothing.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use ringmain_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ringmain_storage::io::Io;
use ringmain_storage::types::{Offset, PartitionKey};

use super::{Answer, Broker, topics};
use crate::partition::Partition;

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// The low watermark of an answer that has none.
const NO_LOW_WATERMARK: i64 = -1;

/// Answers one `DeleteRecords`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: DeleteRecordsRequest,
) -> Answer<DeleteRecordsResponse> {
    let image = broker.image();
    let of_topics = request.topics.into_iter().map(async |topic| {
        let is_internal = topics::is_internal(&topic.name);
        let key = |index| match topics::partition_key(&image, &topic.name, index) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(_) if is_internal => Err(ErrorCode::InvalidTopicException),
            Some(key) => Ok(key),
        };
        let partitions = topic
            .partitions
            .into_iter()
            .map(|partition| answered(broker, key(partition.partition_index), partition));
        let partitions = topics::all(partitions).await;
        DeleteRecordsTopicResult { name: topic.name, partitions }
    });
    let topics = topics::all(of_topics).await;
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }.into()
}

/// The answer of one partition.
async fn answered<I: Io>(
    broker: &Broker<I>,
    key: Result<PartitionKey, ErrorCode>,
    asked: DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let (code, low_watermark) = match delete(broker, key, asked.offset).await {
        Ok(start) => (ErrorCode::None, start.0),
        Err(code) => (code, NO_LOW_WATERMARK),
    };
    let partition_index = asked.partition_index;
    DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: code.code() }
}

/// Moves the start of one partition and gives where it is then.
async fn delete<I: Io>(
    broker: &Broker<I>,
    key: Result<PartitionKey, ErrorCode>,
    offset: i64,
) -> Result<Offset, ErrorCode> {
    let key = key?;
    let deleted = broker.at_partition(key, async move |partition| delete_here(&partition, offset).await);
    deleted.await.unwrap_or_else(|| Err(broker.absent(key)))
}

async fn delete_here<I: Io>(partition: &Partition<I>, offset: i64) -> Result<Offset, ErrorCode> {
    let settings = partition.settings();
    if settings.compacted && !settings.log.cleanup_delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let high_watermark = partition.offsets().high_watermark;
    let offset = if offset == HIGH_WATERMARK { high_watermark } else { Offset(offset) };
    if offset < Offset(0) || offset > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    partition.log().advance_log_start(offset).await.map_err(|error| {
        tracing::error!(key = ?partition.key(), %error, "records could not be deleted");
        ErrorCode::KafkaStorageError
    })?;
    Ok(partition.offsets().log_start_offset)
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::delete_records_request::DeleteRecordsTopic;
    use ringmain_protocol::wire::Str;

    fn request(topic: &str, partition_index: i32, offset: i64) -> DeleteRecordsRequest {
        let partition = DeleteRecordsPartition { partition_index, offset };
        let topic = DeleteRecordsTopic { name: Str::from(topic), partitions: vec![partition] };
        DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 }
    }

    #[test]
    fn the_start_moves_forward_up_to_the_high_watermark_and_never_back() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            kit.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
            kit.create_topic("both", 1, &[("cleanup.policy", "compact,delete")]).await;
            kit.create_topic("__consumer_offsets", 1, &[]).await;
            let ask = async |topic, partition, offset| {
                let answer = kit.ask(2, &request(topic, partition, offset)).await;
                let result = &answer.topics[0].partitions[0];
                (result.error_code, result.low_watermark)
            };
            assert_eq!(kit.produce("t", 5, None).await, 0);
            assert_eq!(ask("t", 0, 2).await, (0, 2));
            assert_eq!(ask("t", 0, 1).await, (0, 2), "what is gone stays gone");
            assert_eq!(ask("t", 0, 6).await, (1, -1));
            assert_eq!(ask("t", 0, -2).await, (1, -1));
            assert_eq!(ask("t", 0, -1).await, (0, 5));
            assert_eq!(ask("t", 1, 0).await, (3, -1));
            assert_eq!(ask("nope", 0, 0).await, (3, -1));
            assert_eq!(ask("compacted", 0, 0).await, (44, -1));
            assert_eq!(ask("both", 0, 0).await, (0, 0));
            assert_eq!(ask("__consumer_offsets", 0, 0).await, (17, -1));
            for version in 0..=2 {
                assert_eq!(
                    kit.ask(version, &request("t", 0, -1)).await.topics[0].partitions[0].low_watermark,
                    5
                );
            }
        });
    }
}
