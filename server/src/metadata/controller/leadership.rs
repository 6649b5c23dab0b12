//! Who leads what after this node has come up.
//!
//! A new process is a new leader: what its predecessor had in memory is gone, so every partition it leads gets a
//! new leader epoch, and partitions that its stop left without a leader get one back. With one replica nobody
//! else can have what it lacks; with more, the partition waits for one of those that were in sync.

use super::super::image::{MetadataImage, PartitionImage};
use super::super::image_records::uuid_of_topic;
use ringmain_protocol::metadata::{MetadataRecord, PartitionChangeRecord};

/// The changes that make broker `node_id`, which has just registered, lead what it should.
pub fn after_start(image: &MetadataImage, node_id: i32) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let Some(change) = change(partition, node_id) else { continue };
            let record = PartitionChangeRecord {
                partition_id: i32::try_from(index).unwrap_or(i32::MAX),
                topic_id: uuid_of_topic(topic.id),
                ..change
            };
            records.push(record.into());
        }
    }
    records
}

/// What changes about one partition.
fn change(partition: &PartitionImage, node_id: i32) -> Option<PartitionChangeRecord> {
    let none = PartitionChangeRecord::default();
    if partition.leader == node_id {
        return Some(PartitionChangeRecord { leader: node_id, ..none });
    }
    if partition.leader != -1 || !partition.replicas.contains(&node_id) {
        return None;
    }
    if partition.isr.contains(&node_id) {
        return Some(PartitionChangeRecord { leader: node_id, ..none });
    }
    let is_eligible = partition.isr.is_empty()
        && (partition.elr.contains(&node_id)
            || partition.replicas.len() == 1
            || partition.last_known_elr == [node_id]);
    is_eligible.then(|| PartitionChangeRecord {
        leader: node_id,
        isr: Some(vec![node_id]),
        eligible_leader_replicas: (!partition.elr.is_empty())
            .then(|| partition.elr.iter().copied().filter(|id| *id != node_id).collect()),
        last_known_elr: (!partition.last_known_elr.is_empty()).then(Vec::new),
        ..none
    })
}
