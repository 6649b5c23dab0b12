//! What several handlers ask about topics and nodes.

use std::pin::pin;

use futures::{StreamExt, stream};
use ringmain_protocol::wire::Uuid;
use ringmain_storage::types::{PartitionIndex, PartitionKey, TopicId};

use super::turns::Turns;
use crate::metadata::image::MetadataImage;

/// Longest name of a topic: its folder is `name-partition`, and a file name has at most 255 bytes.
const NAME_BYTES_MAX: usize = 249;

/// Topics that belong to the brokers (`Topic.INTERNAL_TOPICS`).
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// What may be done to a topic, one bit an operation (`AclOperation`): read, write, create, delete, alter, describe,
/// describe and alter configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// What may be done to the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent
/// write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Whether a topic belongs to the brokers.
pub(super) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether a topic may have that name (`Topic.validate`).
pub(super) fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The wire's id as the log's.
pub(super) fn topic_id(id: Uuid) -> TopicId {
    TopicId(*id.as_bytes())
}

/// The log's id as the wire's.
pub(super) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// What names a partition inside, if the metadata have it.
pub(super) fn partition_key(image: &MetadataImage, topic: &str, index: i32) -> Option<PartitionKey> {
    let topic = image.topic_by_name(topic)?;
    let exists = usize::try_from(index).is_ok_and(|at| at < topic.partitions.len());
    exists.then_some(PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) })
}

/// Partitions of a topic, and topics, that one request has work under way for: enough to keep every shard busy, and few
/// enough that a request which names millions does not hold millions of waits.
const AT_A_TIME: usize = 64;

/// What all of `work` comes to, in its order, so much of it under way at a time.
pub(super) async fn all<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut work = pin!(stream::iter(work).buffered(AT_A_TIME));
    let (mut results, mut turns) = (Vec::new(), Turns::default());
    while let Some(result) = work.next().await {
        results.push(result);
        turns.entry_done().await;
    }
    results
}

/// A broker as clients see it on one listener.
pub(super) struct Node<'a> {
    /// Its id.
    pub(super) id: i32,
    /// Host to connect to.
    pub(super) host: &'a str,
    /// Port to connect to.
    pub(super) port: i32,
    /// Its rack, if it has one.
    pub(super) rack: Option<&'a str>,
    /// Whether it is out of service.
    pub(super) fenced: bool,
}

/// All registered brokers that have the listener, fenced ones too.
pub(super) fn nodes_and_fenced<'a>(
    image: &'a MetadataImage,
    listener_name: &'a str,
) -> impl Iterator<Item = Node<'a>> {
    image.brokers.values().filter_map(move |broker| {
        let endpoint = broker.listeners.iter().find(|endpoint| &*endpoint.name == listener_name)?;
        Some(Node {
            id: broker.id,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref(),
            fenced: broker.fenced,
        })
    })
}

/// The brokers in service that have the listener.
pub(super) fn nodes<'a>(image: &'a MetadataImage, listener_name: &'a str) -> impl Iterator<Item = Node<'a>> {
    nodes_and_fenced(image, listener_name).filter(|node| !node.fenced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_as_in_kafka() {
        for good in ["a", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a:b", &"x".repeat(250)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
