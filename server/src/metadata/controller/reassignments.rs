//! Other replicas for partitions that are there (Kafka's `ReplicationControlManager.alterPartitionReassignments`,
//! KIP-455), as far as no replica has to be copied: another order, and fewer replicas, take place at once. New replicas
//! are refused until replication is built. A reassignment that another controller began can be ended.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{BrokerImage, MetadataImage, PartitionImage};
use super::super::image_records::uuid_of_topic;
use super::super::request::{Answers, ReassignmentSpec};
use super::topics::check_assignment;
use super::{Outcome, PARTITIONS_PER_REQUEST_MAX, refuse, too_many_partitions};
use ringmain_protocol::metadata::{MetadataRecord, PartitionChangeRecord};
use std::collections::BTreeSet;

/// Gives partitions other replicas; `keep_count` refuses another number of them (KIP-860).
pub fn alter(image: &MetadataImage, specs: &[ReassignmentSpec], keep_count: bool) -> Outcome<Answers<()>> {
    let (mut records, mut changed) = (Vec::new(), BTreeSet::new());
    let mut alter = |spec: &ReassignmentSpec| {
        let Some(record) = alter_one(image, spec, keep_count)? else { return Ok(()) };
        if records.len() >= PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many_partitions());
        }
        // A second change of one partition would be decided on what the first has changed.
        if !changed.insert((spec.topic.clone(), spec.partition)) {
            return refuse(ErrorCode::InvalidRequest, "the partition is named twice in this request");
        }
        records.push(record);
        Ok(())
    };
    let answer = specs.iter().map(&mut alter).collect();
    Outcome { records, answer }
}

/// The record of one change; `None` if nothing changes.
fn alter_one(
    image: &MetadataImage,
    spec: &ReassignmentSpec,
    keep_count: bool,
) -> Result<Option<MetadataRecord>, ControllerError> {
    let Some(topic) = image.topic_by_name(&spec.topic) else {
        let message = format!("Unable to find a topic named {}.", spec.topic);
        return refuse(ErrorCode::UnknownTopicOrPartition, message);
    };
    let Some(partition) = usize::try_from(spec.partition).ok().and_then(|at| topic.partitions.get(at)) else {
        let message = format!("Unable to find partition {}:{}.", spec.topic, spec.partition);
        return refuse(ErrorCode::UnknownTopicOrPartition, message);
    };
    let change = match &spec.replicas {
        Some(replicas) => change(image, partition, replicas, keep_count)?,
        None => Some(end(image, partition)?),
    };
    Ok(change.map(|change| {
        let (partition_id, topic_id) = (spec.partition, uuid_of_topic(topic.id));
        PartitionChangeRecord { partition_id, topic_id, ..change }.into()
    }))
}

/// Whether a reassignment is under way.
pub fn is_under_way(partition: &PartitionImage) -> bool {
    !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
}

fn change(
    image: &MetadataImage,
    partition: &PartitionImage,
    replicas: &[i32],
    keep_count: bool,
) -> Result<Option<PartitionChangeRecord>, ControllerError> {
    check_assignment(image, replicas, None)?;
    if keep_count && replicas.len() != settled(partition).len() {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            format!("{} replicas are not as many as before", replicas.len()),
        );
    }
    if let Some(new) = replicas.iter().find(|id| !partition.replicas.contains(id)) {
        return refuse(
            ErrorCode::InvalidReplicaAssignment,
            format!("broker {new} holds no replica of this partition, and replicas are not copied yet"),
        );
    }
    if partition.replicas == replicas && !is_under_way(partition) {
        return Ok(None);
    }
    shrunk(image, partition, replicas.to_vec()).map(Some)
}

/// The replicas as they were before a reassignment began.
fn settled(partition: &PartitionImage) -> Vec<i32> {
    let adding = &partition.adding_replicas;
    partition.replicas.iter().copied().filter(|id| !adding.contains(id)).collect()
}

/// Takes back what is being added.
fn end(image: &MetadataImage, partition: &PartitionImage) -> Result<PartitionChangeRecord, ControllerError> {
    if !is_under_way(partition) {
        return refuse(ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.");
    }
    shrunk(image, partition, settled(partition))
}

/// The partition on some of its replicas, led by one of them that is in sync.
fn shrunk(
    image: &MetadataImage,
    partition: &PartitionImage,
    replicas: Vec<i32>,
) -> Result<PartitionChangeRecord, ControllerError> {
    let isr: Vec<i32> = partition.isr.iter().copied().filter(|id| replicas.contains(id)).collect();
    if isr.is_empty() {
        let message = "none of those replicas is in sync, so acknowledged records would be lost";
        return refuse(ErrorCode::InvalidReplicaAssignment, message);
    }
    let active = |id: &i32| image.brokers.get(id).is_some_and(BrokerImage::is_active);
    let mut change = PartitionChangeRecord::default();
    if !replicas.contains(&partition.leader) {
        let next = replicas.iter().copied().find(|id| isr.contains(id) && active(id));
        change.leader = next.unwrap_or(-1);
    }
    change.isr = (isr != partition.isr).then_some(isr);
    change.adding_replicas = (!partition.adding_replicas.is_empty()).then(Vec::new);
    change.removing_replicas = (!partition.removing_replicas.is_empty()).then(Vec::new);
    change.replicas = (replicas != partition.replicas).then_some(replicas);
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::super::test_images::{partition, partition_after, with_partition};
    use super::*;

    fn alter(
        partition: &PartitionImage,
        replicas: Option<&[i32]>,
        keep_count: bool,
    ) -> Result<PartitionImage, ErrorCode> {
        let image = with_partition(partition);
        let replicas = replicas.map(<[i32]>::to_vec);
        let spec = ReassignmentSpec { topic: "t".to_owned(), partition: 0, replicas };
        let outcome = super::alter(&image, &[spec], keep_count);
        outcome.answer[0].clone().map_err(|error| error.code)?;
        Ok(partition_after(&image, &outcome.records))
    }

    #[test]
    fn the_same_replicas_are_done_and_another_order_is_at_once() {
        let same = alter(&partition(&[1], &[1], 1), Some(&[1]), true).unwrap();
        assert_eq!(same.partition_epoch, 5, "nothing was written");
        let turned = alter(&partition(&[1, 2], &[1, 2], 1), Some(&[2, 1]), true).unwrap();
        assert_eq!((&turned.replicas[..], turned.leader, turned.leader_epoch), (&[2, 1][..], 1, 7));
    }

    #[test]
    fn fewer_replicas_keep_one_in_sync_that_leads() {
        let fewer = alter(&partition(&[1, 2], &[1, 2], 1), Some(&[2]), false).unwrap();
        assert_eq!((&fewer.replicas[..], &fewer.isr[..], fewer.leader), (&[2][..], &[2][..], 2));
        let lossy = alter(&partition(&[1, 2], &[1], 1), Some(&[2]), false);
        assert_eq!(lossy.unwrap_err(), ErrorCode::InvalidReplicaAssignment);
        let other_count = alter(&partition(&[1, 2], &[1, 2], 1), Some(&[2]), true);
        assert_eq!(other_count.unwrap_err(), ErrorCode::InvalidReplicationFactor);
    }

    #[test]
    fn replicas_that_cannot_be_are_refused() {
        for replicas in [&[][..], &[9], &[1, 1], &[2]] {
            let refused = alter(&partition(&[1], &[1], 1), Some(replicas), false).unwrap_err();
            assert_eq!(refused, ErrorCode::InvalidReplicaAssignment, "{replicas:?}");
        }
    }

    #[test]
    fn ending_a_reassignment_takes_back_what_it_adds() {
        let idle = alter(&partition(&[1], &[1], 1), None, false).unwrap_err();
        assert_eq!(idle, ErrorCode::NoReassignmentInProgress);
        let mut under_way = partition(&[1, 2], &[1, 2], 2);
        under_way.adding_replicas = vec![2];
        let ended = alter(&under_way, None, false).unwrap();
        assert!(!is_under_way(&ended));
        assert_eq!((&ended.replicas[..], &ended.isr[..], ended.leader), (&[1][..], &[1][..], 1));
    }
}
