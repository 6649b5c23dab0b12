//! `DescribeLogDirs` (key 35): how much each partition takes in each log directory, and how much room there is.
//!
//! Versions: 1 · 2 (flexible) · 3 (error for the whole answer) · 4 (size and free space of the file system) ·
//! 5 (directories that take no new replicas).
//!
//! Left out: authorization, copies on their way to another directory, and cordoned directories: there are none.
//!
//! As in `ReplicaManager.describeLogDirs`: every directory is told, with those partitions of it that were asked for;
//! none named asks for all, and a partition that is not here is left out without an error. Sizes are those of the logs:
//! a file's length says nothing, as its blocks are allocated ahead. A partition has no lag with one replica.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ringmain_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;
use ringmain_storage::types::{PartitionIndex, PartitionKey};

use super::{Answer, Broker, topics};
use crate::metadata::image::MetadataImage;
use crate::runtime::host;

/// Partitions by log directory and topic.
type Found = BTreeMap<PathBuf, BTreeMap<Str, Vec<DescribeLogDirsPartition>>>;

/// Answers one `DescribeLogDirs`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: DescribeLogDirsRequest,
) -> Answer<DescribeLogDirsResponse> {
    let asked = asked(&broker.image(), request);
    let sizes = asked.into_iter().map(async |(name, key)| {
        let told = broker.at_partition(key, async |partition| {
            let log = partition.log();
            (log.log_dir().to_path_buf(), log.size_bytes(), log.store_failure().is_some())
        });
        Some((name, key, told.await?))
    });
    let (mut found, mut offline) = (Found::new(), broker.settings().offline_log_dirs.clone());
    for (name, key, (directory, size, failed)) in topics::all(sizes).await.into_iter().flatten() {
        if failed {
            offline.push(directory.clone());
        }
        found.entry(directory).or_default().entry(name).or_default().push(DescribeLogDirsPartition {
            partition_index: key.partition.0,
            partition_size: i64::try_from(size).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let directories = broker.settings().log_dirs.iter();
    let results = directories
        .map(|directory| {
            if offline.contains(directory) {
                failed(directory)
            } else {
                described(directory, found.remove(directory).unwrap_or_default())
            }
        })
        .collect();
    DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() }.into()
}

/// The partitions asked for that exist, each once.
fn asked(image: &MetadataImage, request: DescribeLogDirsRequest) -> Vec<(Str, PartitionKey)> {
    let Some(named) = request.topics else {
        let of_topic = |topic: &std::sync::Arc<crate::metadata::image::TopicImage>| {
            let (name, topic_id) = (Str::from(&*topic.name), topic.id);
            (0..)
                .take(topic.partitions.len())
                .map(move |index| (name.clone(), PartitionKey { topic_id, partition: PartitionIndex(index) }))
                .collect::<Vec<_>>()
        };
        return image.topics().flat_map(of_topic).collect();
    };
    let mut asked = Vec::new();
    for topic in named {
        let keys =
            topic.partitions.iter().filter_map(|index| topics::partition_key(image, &topic.topic, *index));
        asked.extend(keys.map(|key| (topic.topic.clone(), key)));
    }
    asked.sort_by(|left, right| (&*left.0, left.1).cmp(&(&*right.0, right.1)));
    asked.dedup();
    asked
}

/// A directory as it is told: the whole path.
fn told(directory: &Path) -> Str {
    let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    Str::from(whole.to_string_lossy().into_owned())
}

fn failed(directory: &Path) -> DescribeLogDirsResult {
    DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: told(directory),
        ..DescribeLogDirsResult::default()
    }
}

fn described(
    directory: &Path,
    of_topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>>,
) -> DescribeLogDirsResult {
    let space = host::space(directory);
    let bytes = |count: Option<u64>| count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    DescribeLogDirsResult {
        log_dir: told(directory),
        topics: of_topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions })
            .collect(),
        total_bytes: bytes(space.map(|space| space.total_bytes)),
        usable_bytes: bytes(space.map(|space| space.usable_bytes)),
        ..DescribeLogDirsResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

    #[test]
    fn sizes_are_those_of_the_logs_and_what_is_not_here_is_left_out() {
        with_broker(async |kit| {
            kit.create_topic("a", 2, &[]).await;
            kit.create_topic("b", 1, &[]).await;
            assert_eq!(kit.produce("a", 3, None).await, 0);
            let size = kit.broker.partition(kit.key("a", 0)).unwrap().log().size_bytes();
            let ask = async |version, topics| {
                let mut answer = kit.ask(version, &DescribeLogDirsRequest { topics }).await;
                assert_eq!(answer.results.len(), 1);
                let result = answer.results.remove(0);
                assert_eq!((result.error_code, &*result.log_dir), (0, "/data"));
                let mut told = Vec::new();
                for topic in &result.topics {
                    for partition in &topic.partitions {
                        assert!(!partition.is_future_key && partition.offset_lag == 0);
                        told.push(format!(
                            "{}-{} {}",
                            &*topic.name, partition.partition_index, partition.partition_size
                        ));
                    }
                }
                told
            };
            assert!(size > 60);
            let all = [format!("a-0 {size}"), "a-1 0".to_owned(), "b-0 0".to_owned()];
            for version in 1..=5 {
                assert_eq!(ask(version, None).await, all);
            }
            let topic = |name: &str, partitions: &[i32]| DescribableLogDirTopic {
                topic: Str::from(name),
                partitions: partitions.to_vec(),
            };
            assert!(ask(4, Some(Vec::new())).await.is_empty());
            let named = vec![topic("nope", &[0]), topic("a", &[1, 1, 7, -1])];
            assert_eq!(ask(4, Some(named)).await, ["a-1 0"]);
        });
    }
}
