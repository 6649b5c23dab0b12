//! More partitions for a topic that is there. A count only ever grows.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::MetadataImage;
use super::super::image_records::partition_record;
use super::super::request::{Answers, CreatePartitionsSpec};
use super::placement::Placer;
use super::topics::check_assignment;
use super::{Outcome, PARTITIONS_PER_REQUEST_MAX, refuse, too_many_partitions};
use ringmain_protocol::metadata::MetadataRecord;
use std::collections::BTreeSet;

/// Gives topics more partitions.
pub fn create(image: &MetadataImage, specs: &[CreatePartitionsSpec]) -> Outcome<Answers<()>> {
    let mut records = Vec::new();
    let mut answer: Answers<()> = Vec::with_capacity(specs.len());
    let mut named = BTreeSet::new();
    for spec in specs {
        answer.push(if named.insert(&spec.name) {
            create_one(image, spec, PARTITIONS_PER_REQUEST_MAX.saturating_sub(records.len()))
                .map(|made| records.extend(made))
        } else {
            refuse(ErrorCode::InvalidRequest, "the topic is named twice in this request")
        });
    }
    Outcome { records, answer }
}

/// The records of one topic's new partitions.
fn create_one(
    image: &MetadataImage,
    spec: &CreatePartitionsSpec,
    partitions_left: usize,
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let Some(topic) = image.topic_by_name(&spec.name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{}'", spec.name));
    };
    let has = topic.partitions.len();
    let wanted = usize::try_from(spec.partition_count).unwrap_or(0);
    if wanted <= has {
        return refuse(
            ErrorCode::InvalidPartitions,
            format!("topic '{}' has {has} partitions, and {} are not more", spec.name, spec.partition_count),
        );
    }
    let added = wanted - has;
    if let Some(assignments) = &spec.assignments
        && assignments.len() != added
    {
        return refuse(
            ErrorCode::InvalidReplicaAssignment,
            format!("{added} partitions are to be made, and {} are assigned", assignments.len()),
        );
    }
    if added > partitions_left {
        return Err(too_many_partitions());
    }
    let replica_count = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let placer = Placer::new(image, topic.id);
    let mut records = Vec::with_capacity(added);
    for index in has..wanted {
        let partition = match spec.assignments.as_ref().and_then(|assignments| assignments.get(index - has)) {
            Some(replicas) => {
                let isr = check_assignment(image, replicas, Some(replica_count))?;
                placer.partition(index, replicas.clone(), isr)
            }
            None if placer.broker_count() < replica_count => {
                return refuse(
                    ErrorCode::InvalidReplicationFactor,
                    format!(
                        "{replica_count} replicas need as many brokers, and {} can take one",
                        placer.broker_count()
                    ),
                );
            }
            None => placer.place(index, replica_count),
        };
        records.push(partition_record(topic.id, index, &partition).into());
    }
    Ok(records)
}
