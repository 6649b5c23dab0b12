//! Offsets of many partitions at once: each leader is asked once.

use std::collections::{BTreeMap, BTreeSet};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ringmain_protocol::wire::Str;

use super::client::{Client, address, check};
use super::error::CliError;
use super::sender::retrying;

/// ListOffsets' timestamp for the end.
pub(crate) const LATEST: i64 = -1;
/// ListOffsets' timestamp for the oldest record.
pub(crate) const EARLIEST: i64 = -2;

/// A partition by its topic's name and its index.
pub(crate) type TopicPartition = (String, i32);

/// The partitions that the topics have. A topic that is not there has none.
pub(crate) fn partitions_of(client: &mut Client, topics: &[String]) -> Result<Vec<TopicPartition>, CliError> {
    Ok(leaders(client, topics)?.into_keys().collect())
}

/// Who leads each partition of the topics.
fn leaders(client: &mut Client, topics: &[String]) -> Result<BTreeMap<TopicPartition, String>, CliError> {
    let topic =
        |name: &String| MetadataRequestTopic { name: Some(Str::from(name.as_str())), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(topics.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let answer = client.call(&request)?;
    let brokers: BTreeMap<i32, String> =
        answer.brokers.iter().map(|broker| (broker.node_id, address(&broker.host, broker.port))).collect();
    let mut leaders = BTreeMap::new();
    for topic in answer.topics {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        if topic.error_code != ErrorCode::UnknownTopicOrPartition.code() {
            check(topic.error_code, || format!("look up topic {name}"))?;
        }
        for partition in topic.partitions {
            let leader = brokers.get(&partition.leader_id).cloned().unwrap_or_default();
            leaders.insert((name.clone(), partition.partition_index), leader);
        }
    }
    Ok(leaders)
}

/// The offset of each partition at its timestamp, in milliseconds or one of the special ones; −1 where there is none.
/// A partition that is not there, or has no leader, is left out.
pub(crate) fn at(
    client: &mut Client,
    wanted: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let topics: BTreeSet<String> = wanted.keys().map(|(topic, _)| topic.clone()).collect();
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let leaders = leaders(client, &topics.into_iter().collect::<Vec<_>>())?;
    let mut by_leader: BTreeMap<&str, BTreeMap<&str, Vec<ListOffsetsPartition>>> = BTreeMap::new();
    for ((topic, index), timestamp) in wanted {
        let Some(leader) = leaders.get(&(topic.clone(), *index)).filter(|leader| !leader.is_empty()) else {
            continue;
        };
        by_leader.entry(leader).or_default().entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: *index,
            timestamp: *timestamp,
            ..Default::default()
        });
    }
    let mut found = BTreeMap::new();
    for (leader, topics) in by_leader {
        let topic = |(name, partitions): (&str, Vec<ListOffsetsPartition>)| ListOffsetsTopic {
            name: Str::from(name),
            partitions,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let mut connection = Client::connect(leader)?;
        retrying(|| {
            for topic in connection.call(&request)?.topics {
                for partition in topic.partitions {
                    let index = partition.partition_index;
                    check(partition.error_code, || format!("find offsets of {}-{index}", topic.name))?;
                    found.insert((topic.name.to_string(), index), partition.offset);
                }
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The same timestamp for all of them.
pub(crate) fn all_at(
    client: &mut Client,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    at(client, &partitions.iter().map(|partition| (partition.clone(), timestamp)).collect())
}
