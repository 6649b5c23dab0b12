//! Leaders elected on request (Kafka's `ReplicationControlManager.electLeaders`, KIP-460).

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{BrokerImage, MetadataImage, PartitionImage};
use super::super::image_records::uuid_of_topic;
use super::super::request::{ElectLeadersSpec, ElectionKind, Elections};
use super::{Outcome, PARTITIONS_PER_REQUEST_MAX, refuse, too_many_partitions};
use ringmain_protocol::metadata::{MetadataRecord, PartitionChangeRecord};

/// Elects leaders. Asked for all partitions, those that need no election are left out of the answer.
pub fn elect(image: &MetadataImage, spec: &ElectLeadersSpec) -> Outcome<Elections> {
    let mut records = Vec::new();
    let mut elect = |topic: &str, partition: i32| {
        if records.len() >= PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many_partitions());
        }
        elect_one(image, topic, partition, spec.kind).map(|record| records.push(record))
    };
    let named = spec.partitions.clone();
    let asked_for_all = named.is_none();
    let partitions = named.unwrap_or_else(|| all_partitions(image));
    let elected = partitions.into_iter().map(|(topic, partition)| {
        let result = elect(&topic, partition);
        (topic, partition, result)
    });
    let is_told = |result: &Result<(), ControllerError>| {
        let is_needless = result.as_ref().is_err_and(|error| error.code == ErrorCode::ElectionNotNeeded);
        !(asked_for_all && is_needless)
    };
    let answer = elected.filter(|(_, _, result)| is_told(result)).collect();
    Outcome { records, answer }
}

/// Every partition there is.
fn all_partitions(image: &MetadataImage) -> Vec<(String, i32)> {
    let mut all = Vec::new();
    for topic in image.topics() {
        all.extend((0..).take(topic.partitions.len()).map(|partition| (topic.name.to_string(), partition)));
    }
    all
}

/// The record of one election.
fn elect_one(
    image: &MetadataImage,
    topic: &str,
    partition: i32,
    kind: ElectionKind,
) -> Result<MetadataRecord, ControllerError> {
    let Some(found) = image.topic_by_name(topic) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("No such topic as {topic}"));
    };
    let Some(described) = usize::try_from(partition).ok().and_then(|at| found.partitions.get(at)) else {
        let message = format!("No such partition as {topic}-{partition}");
        return refuse(ErrorCode::UnknownTopicOrPartition, message);
    };
    let has_it = match kind {
        ElectionKind::Preferred => described.replicas.first() == Some(&described.leader),
        ElectionKind::Unclean => described.leader >= 0,
    };
    if has_it {
        let message = "Leader election not needed for topic partition.";
        return refuse(ErrorCode::ElectionNotNeeded, message);
    }
    let change = match kind {
        ElectionKind::Preferred => preferred(image, described),
        ElectionKind::Unclean => unclean(image, described),
    };
    Ok(PartitionChangeRecord { partition_id: partition, topic_id: uuid_of_topic(found.id), ..change? }.into())
}

fn is_active(image: &MetadataImage, id: i32) -> bool {
    image.brokers.get(&id).is_some_and(BrokerImage::is_active)
}

/// The first replica leads, if it may; without a leader, another one in sync does.
fn preferred(
    image: &MetadataImage,
    partition: &PartitionImage,
) -> Result<PartitionChangeRecord, ControllerError> {
    let may_lead = |id: &i32| partition.isr.contains(id) && is_active(image, *id);
    let first = partition.replicas.first().filter(|id| may_lead(id));
    let other = || partition.replicas.iter().find(|id| may_lead(id)).filter(|_| partition.leader < 0);
    match first.or_else(other) {
        Some(leader) => Ok(PartitionChangeRecord { leader: *leader, ..PartitionChangeRecord::default() }),
        None => refuse(ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available."),
    }
}

/// A replica in sync leads, else any one in service, which then has to recover.
fn unclean(
    image: &MetadataImage,
    partition: &PartitionImage,
) -> Result<PartitionChangeRecord, ControllerError> {
    let mut active = partition.replicas.iter().copied().filter(|id| is_active(image, *id));
    let none = PartitionChangeRecord::default();
    if let Some(leader) = active.clone().find(|id| partition.isr.contains(id)) {
        return Ok(PartitionChangeRecord { leader, ..none });
    }
    let Some(leader) = active.next() else {
        return refuse(
            ErrorCode::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.",
        );
    };
    Ok(PartitionChangeRecord {
        leader,
        isr: Some(vec![leader]),
        leader_recovery_state: 1,
        eligible_leader_replicas: (!partition.elr.is_empty()).then(Vec::new),
        last_known_elr: (!partition.last_known_elr.is_empty()).then(Vec::new),
        ..none
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_images::with_partition;
    use super::*;

    fn elect(partition: &PartitionImage, kind: ElectionKind) -> Result<PartitionImage, ErrorCode> {
        let image = with_partition(partition);
        let outcome =
            super::elect(&image, &ElectLeadersSpec { kind, partitions: Some(vec![("t".to_owned(), 0)]) });
        outcome.answer[0].2.clone().map_err(|error| error.code)?;
        Ok(super::super::test_images::partition_after(&image, &outcome.records))
    }

    /// Brokers 1 and 2 are in service, 3 is not.
    fn partition(replicas: &[i32], isr: &[i32], leader: i32) -> PartitionImage {
        super::super::test_images::partition(replicas, isr, leader)
    }

    #[test]
    fn the_preferred_leader_leads_if_it_is_in_sync_and_in_service() {
        let preferred = |partition| elect(&partition, ElectionKind::Preferred);
        let leads =
            |partition| preferred(partition).map(|partition| (partition.leader, partition.leader_epoch));
        assert_eq!(leads(partition(&[1, 2], &[1, 2], 1)), Err(ErrorCode::ElectionNotNeeded));
        assert_eq!(leads(partition(&[1, 2], &[1, 2], 2)), Ok((1, 8)));
        assert_eq!(leads(partition(&[1, 2], &[2], 2)), Err(ErrorCode::PreferredLeaderNotAvailable));
        assert_eq!(leads(partition(&[3, 2], &[2, 3], 2)), Err(ErrorCode::PreferredLeaderNotAvailable));
        assert_eq!(leads(partition(&[3, 2], &[2, 3], -1)), Ok((2, 8)));
    }

    #[test]
    fn an_unclean_election_takes_one_in_sync_before_one_that_is_not() {
        let unclean = |partition| elect(&partition, ElectionKind::Unclean);
        assert_eq!(unclean(partition(&[1, 2], &[2], 2)).unwrap_err(), ErrorCode::ElectionNotNeeded);
        let clean = unclean(partition(&[1, 2], &[2], -1)).unwrap();
        assert_eq!((clean.leader, clean.recovering, &clean.isr[..]), (2, false, &[2][..]));
        let lossy = unclean(partition(&[1, 3], &[3], -1)).unwrap();
        assert_eq!((lossy.leader, lossy.recovering, &lossy.isr[..]), (1, true, &[1][..]));
        let nobody = unclean(partition(&[3], &[3], -1)).unwrap_err();
        assert_eq!(nobody, ErrorCode::EligibleLeadersNotAvailable);
    }

    #[test]
    fn asked_for_all_only_what_was_or_cannot_be_elected_is_told() {
        let image = with_partition(&partition(&[1], &[1], 1));
        let all = super::elect(&image, &ElectLeadersSpec { kind: ElectionKind::Preferred, partitions: None });
        assert!(all.answer.is_empty() && all.records.is_empty());
        let image = with_partition(&partition(&[1, 2], &[1, 2], 2));
        let all = super::elect(&image, &ElectLeadersSpec { kind: ElectionKind::Preferred, partitions: None });
        assert_eq!(all.answer, [("t".to_owned(), 0, Ok(()))]);
    }
}
