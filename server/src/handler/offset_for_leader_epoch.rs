//! `OffsetForLeaderEpoch` (key 23): where a leader epoch ended (KIP-101, KIP-320). A consumer or follower whose
//! position lies behind that end has read records that are gone.
//!
//! Versions: 2 (the epoch the client believes in) · 3 (replica id, which changes nothing here) · 4 (flexible).
//!
//! Left out: authorization.
//!
//! Order of checks, as in `ReplicaManager.lastOffsetForLeaderEpoch`: partition exists → led here → the epoch the client
//! believes in. An epoch that nobody knows is no error: epoch −1, offset −1.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use ringmain_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ringmain_storage::io::Io;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey};

use super::{Answer, Broker, errors, topics};

/// Answers one `OffsetForLeaderEpoch`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: OffsetForLeaderEpochRequest,
) -> Answer<OffsetForLeaderEpochResponse> {
    let image = broker.image();
    let of_topics = request.topics.into_iter().map(async |topic| {
        let key = |index| topics::partition_key(&image, &topic.topic, index);
        let partitions = topic
            .partitions
            .into_iter()
            .map(|partition| answered(broker, key(partition.partition), partition));
        let partitions = topics::all(partitions).await;
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    let topics = topics::all(of_topics).await;
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }.into()
}

/// The answer of one partition.
async fn answered<I: Io>(
    broker: &Broker<I>,
    key: Option<PartitionKey>,
    asked: OffsetForLeaderPartition,
) -> EpochEndOffset {
    let index = asked.partition;
    let (code, found) = match end_of_epoch(broker, key, &asked).await {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => (code, None),
    };
    let (epoch, end) = found.unwrap_or((LeaderEpoch(-1), Offset(-1)));
    EpochEndOffset { error_code: code.code(), partition: index, leader_epoch: epoch.0, end_offset: end.0 }
}

/// The largest epoch known that is not above the one asked for, and where it ended.
async fn end_of_epoch<I: Io>(
    broker: &Broker<I>,
    key: Option<PartitionKey>,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let key = key.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let (current, wanted) = (asked.current_leader_epoch, LeaderEpoch(asked.leader_epoch));
    broker
        .at_partition(key, async move |partition| {
            partition.check_leader_epoch(current).map(|()| partition.end_of_epoch(wanted))
        })
        .await
        .ok_or_else(|| broker.absent(key))?
        .map_err(errors::epoch)
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;
    use ringmain_protocol::wire::Str;

    /// Topic `t`, partition 0 unless said otherwise: current epoch, epoch asked for → code, epoch, end offset.
    fn request(topic: &str, partition: i32, current: i32, wanted: i32) -> OffsetForLeaderEpochRequest {
        let asked = OffsetForLeaderPartition {
            partition,
            current_leader_epoch: current,
            leader_epoch: wanted,
            ..OffsetForLeaderPartition::default()
        };
        OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic { topic: Str::from(topic), partitions: vec![asked] }],
        }
    }

    #[test]
    fn an_epoch_ends_where_the_next_began_and_the_current_one_at_the_end_of_the_log() {
        with_broker(async |kit| {
            kit.create_topic("t", 1, &[]).await;
            let partition = kit.broker.partition(kit.key("t", 0)).unwrap();
            let ask = async |topic, partition, current, wanted| {
                let answer = kit.ask(4, &request(topic, partition, current, wanted)).await;
                let found = &answer.topics[0].partitions[0];
                (found.error_code, found.leader_epoch, found.end_offset)
            };
            assert_eq!(
                ask("t", 0, -1, 0).await,
                (0, 0, 0),
                "an epoch without records has begun all the same"
            );
            assert_eq!(kit.produce("t", 3, None).await, 0);
            partition.set_leader_epoch(LeaderEpoch(4));
            assert_eq!(ask("t", 0, -1, 3).await, (0, 0, 3));
            assert_eq!(ask("t", 0, 4, 4).await, (0, 4, 3));
            assert_eq!(kit.produce("t", 2, None).await, 0);
            assert_eq!(ask("t", 0, 4, 0).await, (0, 0, 3));
            assert_eq!(ask("t", 0, 4, 4).await, (0, 4, 5));
            assert_eq!(ask("t", 0, 4, 5).await, (0, -1, -1), "nobody has been there");
            assert_eq!(ask("t", 0, 4, -1).await, (0, -1, -1));
            assert_eq!(ask("t", 0, 4, -5).await, (0, -5, 0), "before all, as in Apache");
            assert_eq!(ask("t", 0, 3, 3).await, (74, -1, -1), "the client is behind");
            assert_eq!(ask("t", 0, -5, 3).await, (74, -1, -1));
            assert_eq!(ask("t", 0, 5, 3).await, (75, -1, -1), "the client is ahead");
            assert_eq!(ask("t", 1, -1, 0).await, (3, -1, -1));
            assert_eq!(ask("nope", 0, -1, 0).await, (3, -1, -1));
            for version in 2..=4 {
                assert_eq!(
                    kit.ask(version, &request("t", 0, 4, 4)).await.topics[0].partitions[0].end_offset,
                    5
                );
            }
        });
    }
}
