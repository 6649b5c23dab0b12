//! `DescribeTopicPartitions` (key 75): topics with their partitions, in portions (KIP-966). `kafka-topics` asks so.
//!
//! Versions: 0 (flexible from the start).
//!
//! Left out: authorization, so authorized operations are all there are.
//!
//! As in `DescribeTopicPartitionsRequestHandler`: names in order, none named asks for all; the cursor's topic must be
//! among the named ones and its partition not be negative, else every topic asked for is answered `INVALID_REQUEST`;
//! topics before the cursor are passed over; an answer has at most as many partitions as the request and
//! `max.request.partition.size.limit` allow, at least one, and says where to go on.

use std::collections::BTreeSet;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ringmain_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::turns::Turns;
use super::{Answer, Broker, topics};
use crate::metadata::image::{MetadataImage, PartitionImage, TopicImage};

/// Answers one `DescribeTopicPartitions`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: &DescribeTopicPartitionsRequest,
) -> Answer<DescribeTopicPartitionsResponse> {
    let image = broker.image();
    let cursor = request.cursor.as_ref();
    let is_after = |name: &str| cursor.is_none_or(|cursor| name >= &*cursor.topic_name);
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    let is_misplaced = cursor.is_some_and(|cursor| {
        cursor.partition_index < 0 || !named.is_empty() && !named.contains(&*cursor.topic_name)
    });
    if is_misplaced {
        let refused = |name: &str| bare(Str::from(name), ErrorCode::InvalidRequest, i32::MIN);
        let topics = request.topics.iter().map(|topic| refused(&topic.name)).collect();
        return DescribeTopicPartitionsResponse { topics, ..Default::default() }.into();
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut portion = Portion {
        image: &image,
        left: limit.min(broker.settings().request_partitions_max).max(1),
        response: DescribeTopicPartitionsResponse::default(),
    };
    let start = |name: &str| {
        let at_cursor = cursor.filter(|cursor| &*cursor.topic_name == name);
        at_cursor.map_or(0, |cursor| usize::try_from(cursor.partition_index).unwrap_or(0))
    };
    if named.is_empty() {
        let mut all = image.topics().filter(|topic| is_after(&topic.name));
        let _ = all.try_for_each(|topic| portion.take(&topic.name, Some(topic), start(&topic.name)));
    } else {
        let mut turns = Turns::default();
        for name in named.into_iter().filter(|name| is_after(name)) {
            turns.entry_done().await;
            let topic = image.topic_by_name(name).map(|topic| &**topic);
            if portion.take(name, topic, start(name)).is_none() {
                break;
            }
        }
    }
    portion.response.into()
}

/// An answer under construction.
struct Portion<'a> {
    image: &'a MetadataImage,
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Portion<'_> {
    /// Adds a topic, from that partition on; `None` when the portion is full.
    fn take(&mut self, name: &str, topic: Option<&TopicImage>, start: usize) -> Option<()> {
        if self.left == 0 {
            self.go_on_at(name, 0);
            return None;
        }
        let Some(topic) = topic else {
            let code = if topics::is_valid_name(name) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::InvalidTopicException
            };
            self.response.topics.push(bare(Str::from(name), code, topics::TOPIC_OPERATIONS));
            return Some(());
        };
        let indexed = (0_i32..).zip(&topic.partitions).skip(start).take(self.left);
        let partitions: Vec<_> = indexed.map(|(index, partition)| self.partition(index, partition)).collect();
        let end = start.saturating_add(partitions.len());
        self.left -= partitions.len();
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(Str::from(name)),
            topic_id: topics::uuid(topic.id),
            is_internal: topics::is_internal(name),
            partitions,
            topic_authorized_operations: topics::TOPIC_OPERATIONS,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        if end < topic.partitions.len() {
            self.go_on_at(name, end);
            return None;
        }
        Some(())
    }

    fn go_on_at(&mut self, name: &str, index: usize) {
        let partition_index = i32::try_from(index).unwrap_or(i32::MAX);
        self.response.next_cursor = Some(Cursor { topic_name: Str::from(name), partition_index });
    }

    fn partition(&self, index: i32, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
        let in_service = |id: &i32| self.image.brokers.get(id).is_some_and(|broker| !broker.fenced);
        DescribeTopicPartitionsResponsePartition {
            partition_index: index,
            leader_id: Some(partition.leader).filter(in_service).unwrap_or(-1),
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            eligible_leader_replicas: Some(partition.elr.clone()),
            last_known_elr: Some(partition.last_known_elr.clone()),
            offline_replicas: partition.replicas.iter().copied().filter(|id| !in_service(id)).collect(),
            ..DescribeTopicPartitionsResponsePartition::default()
        }
    }
}

/// A topic that is not described.
fn bare(name: Str, code: ErrorCode, operations: i32) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        is_internal: topics::is_internal(&name) && code != ErrorCode::InvalidRequest,
        name: Some(name),
        topic_authorized_operations: operations,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::{Kit, with_broker};
    use super::*;
    use ringmain_protocol::messages::describe_topic_partitions_request as asked;

    /// What was told, as `topic code partitions`, and where to go on.
    async fn ask(
        kit: &Kit,
        names: &[&str],
        limit: i32,
        cursor: Option<(&str, i32)>,
    ) -> (Vec<String>, String) {
        let request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| asked::TopicRequest { name: Str::from(*name) }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition_index)| asked::Cursor {
                topic_name: Str::from(name),
                partition_index,
            }),
        };
        let answer = kit.ask(0, &request).await;
        let told = |topic: &DescribeTopicPartitionsResponseTopic| {
            let indexes: Vec<_> = topic.partitions.iter().map(|told| told.partition_index).collect();
            format!("{} {} {indexes:?}", topic.name.as_deref().unwrap_or_default(), topic.error_code)
        };
        let next = answer
            .next_cursor
            .map_or_else(String::new, |cursor| format!("{}-{}", &*cursor.topic_name, cursor.partition_index));
        (answer.topics.iter().map(told).collect(), next)
    }

    #[test]
    fn topics_come_in_order_and_in_portions() {
        with_broker(async |kit| {
            for (name, count) in [("a", 2), ("b", 3), ("c", 1)] {
                kit.create_topic(name, count, &[]).await;
            }
            let (told, next) = ask(&kit, &[], 2000, None).await;
            assert_eq!(
                (told, &*next),
                (vec!["a 0 [0, 1]".into(), "b 0 [0, 1, 2]".into(), "c 0 [0]".into()], "")
            );
            let (told, next) = ask(&kit, &[], 4, None).await;
            assert_eq!((told, &*next), (vec!["a 0 [0, 1]".into(), "b 0 [0, 1]".into()], "b-2"));
            let (told, next) = ask(&kit, &[], 1, Some(("b", 2))).await;
            assert_eq!(
                (told, &*next),
                (vec!["b 0 [2]".into()], "c-0"),
                "a full portion names the next topic"
            );
            let (told, next) = ask(&kit, &[], 0, Some(("bb", 7))).await;
            assert_eq!(
                (told, &*next),
                (vec!["c 0 [0]".into()], ""),
                "at least one; the cursor's topic may be gone"
            );
            let (told, _) = ask(&kit, &["c", "nope", "a", "a", "n pe"], 10, None).await;
            assert_eq!(told, ["a 0 [0, 1]", "c 0 [0]", "n pe 17 []", "nope 3 []"]);
            let (told, _) = ask(&kit, &["c", "a"], 10, Some(("b", 0))).await;
            assert_eq!(told, ["c 42 []", "a 42 []"], "the cursor's topic is none of those asked for");
            let (told, _) = ask(&kit, &["a"], 10, Some(("a", -1))).await;
            assert_eq!(told, ["a 42 []"]);
            let (told, _) = ask(&kit, &["a"], 10, Some(("a", 9))).await;
            assert_eq!(told, ["a 0 []"]);
        });
    }
}
