//! Topics come and go. Order of the checks on a new one, Kafka's: its name, whether it exists, its replicas and
//! partitions. One topic's refusal leaves the others of the request alone.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{ConfigResource, MetadataImage, PartitionImage, metric_name};
use super::super::image_records::{partition_record, uuid_of_topic};
use super::super::request::{Answers, CreateTopicSpec, CreatedTopic, DeletedTopic, TopicRef};
use super::placement::Placer;
use super::{Context, Outcome, PARTITIONS_PER_REQUEST_MAX, refuse, too_many_partitions, topic_name};
use ringmain_protocol::metadata::{ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};
use ringmain_storage::types::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Makes topics.
pub fn create(
    image: &MetadataImage,
    specs: &[CreateTopicSpec],
    context: &mut Context<'_>,
) -> Outcome<Answers<CreatedTopic>> {
    let mut records = Vec::new();
    let mut partitions_left = PARTITIONS_PER_REQUEST_MAX;
    let mut names = BTreeSet::new();
    let mut keys: BTreeMap<String, &str> = BTreeMap::new();
    let mut answer = Vec::with_capacity(specs.len());
    for spec in specs {
        let made = check_name(image, &spec.name)
            .and_then(|()| {
                if names.contains(&spec.name) {
                    return refuse(
                        ErrorCode::TopicAlreadyExists,
                        format!("topic '{}' already exists", spec.name),
                    );
                }
                match metric_name(&spec.name).and_then(|key| keys.get(&key)) {
                    Some(other) => refuse(
                        ErrorCode::InvalidTopicException,
                        format!("'{}' and '{other}' differ only in '.' and '_'", spec.name),
                    ),
                    None => Ok(()),
                }
            })
            .and_then(|()| create_one(image, spec, context, &mut partitions_left, &mut records));
        if made.is_ok() {
            names.insert(spec.name.clone());
            keys.extend(metric_name(&spec.name).map(|key| (key, spec.name.as_str())));
        }
        answer.push(made);
    }
    Outcome { records, answer }
}

/// Checks the name of a new topic.
fn check_name(image: &MetadataImage, name: &str) -> Result<(), ControllerError> {
    topic_name::check_form(name)?;
    topic_name::check_collision(name, image)?;
    if image.topic_by_name(name).is_some() {
        return refuse(ErrorCode::TopicAlreadyExists, format!("topic '{name}' already exists"));
    }
    Ok(())
}

/// Makes one topic whose name is free.
fn create_one(
    image: &MetadataImage,
    spec: &CreateTopicSpec,
    context: &mut Context<'_>,
    partitions_left: &mut usize,
    records: &mut Vec<MetadataRecord>,
) -> Result<CreatedTopic, ControllerError> {
    let topic_id = (context.new_id)();
    let placer = Placer::new(image, topic_id);
    let partitions = if spec.assignments.is_empty() {
        by_count(spec, context, &placer, *partitions_left)?
    } else {
        by_hand(image, spec, &placer)?
    };
    *partitions_left = partitions_left.checked_sub(partitions.len()).ok_or_else(too_many_partitions)?;
    let replicas = partitions.first().map_or(0, |partition| partition.replicas.len());
    records.push(TopicRecord { name: spec.name.as_str().into(), topic_id: uuid_of_topic(topic_id) }.into());
    records.extend(spec.configs.iter().map(|(name, value)| {
        MetadataRecord::from(ConfigRecord {
            resource_type: ConfigResource::TOPIC,
            resource_name: spec.name.as_str().into(),
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
        })
    }));
    for (index, partition) in partitions.iter().enumerate() {
        records.push(partition_record(topic_id, index, partition).into());
    }
    Ok(CreatedTopic {
        name: spec.name.clone(),
        topic_id,
        partition_count: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
    })
}

/// As many partitions and replicas as asked for, placed by the controller.
fn by_count(
    spec: &CreateTopicSpec,
    context: &Context<'_>,
    placer: &Placer<'_>,
    partitions_left: usize,
) -> Result<Vec<PartitionImage>, ControllerError> {
    let replicas = match spec.replication_factor {
        -1 => context.replication_factor_default,
        factor => factor,
    };
    let partitions = match spec.partition_count {
        -1 => context.partition_count_default,
        count => count,
    };
    let Some(replicas) = usize::try_from(replicas).ok().filter(|count| *count > 0) else {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            "the replication factor has to be above 0, or -1 for the default",
        );
    };
    let Some(partitions) = usize::try_from(partitions).ok().filter(|count| *count > 0) else {
        return refuse(
            ErrorCode::InvalidPartitions,
            "the number of partitions has to be above 0, or -1 for the default",
        );
    };
    if replicas > placer.broker_count() {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            format!("{replicas} replicas need as many brokers, and {} can take one", placer.broker_count()),
        );
    }
    if partitions > partitions_left {
        return Err(too_many_partitions());
    }
    Ok((0..partitions).map(|index| placer.place(index, replicas)).collect())
}

/// The replicas the request names.
fn by_hand(
    image: &MetadataImage,
    spec: &CreateTopicSpec,
    placer: &Placer<'_>,
) -> Result<Vec<PartitionImage>, ControllerError> {
    if spec.replication_factor != -1 || spec.partition_count != -1 {
        return refuse(
            ErrorCode::InvalidRequest,
            "with an assignment by hand, the number of partitions and the replication factor have to be -1",
        );
    }
    let mut by_index = BTreeMap::new();
    let mut replica_count = None;
    for (index, replicas) in &spec.assignments {
        if by_index.contains_key(index) {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!("partition {index} is assigned more than once"),
            );
        }
        let isr = check_assignment(image, replicas, replica_count)?;
        replica_count = Some(replicas.len());
        by_index.insert(*index, (replicas.clone(), isr));
    }
    let mut partitions = Vec::with_capacity(by_index.len());
    for (expected, (index, (replicas, isr))) in by_index.into_iter().enumerate() {
        if usize::try_from(index) != Ok(expected) {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                "the assigned partitions have to be 0, 1, 2 and so on without a gap",
            );
        }
        partitions.push(placer.partition(expected, replicas, isr));
    }
    Ok(partitions)
}

/// Checks replicas chosen by hand, and gives those that are in sync from the start.
pub(super) fn check_assignment(
    image: &MetadataImage,
    replicas: &[i32],
    replica_count: Option<usize>,
) -> Result<Vec<i32>, ControllerError> {
    let wrong = |message: String| refuse(ErrorCode::InvalidReplicaAssignment, message);
    if replicas.is_empty() {
        return wrong("a partition needs at least one replica".to_string());
    }
    for (at, replica) in replicas.iter().enumerate() {
        if !image.brokers.contains_key(replica) {
            return wrong(format!("there is no broker {replica}"));
        }
        if replicas.iter().skip(at + 1).any(|other| other == replica) {
            return wrong(format!("broker {replica} is named twice for one partition"));
        }
    }
    if replica_count.is_some_and(|count| count != replicas.len()) {
        return wrong("all partitions of a topic have the same number of replicas".to_string());
    }
    let active = |id: &i32| image.brokers.get(id).is_some_and(super::super::image::BrokerImage::is_active);
    let isr: Vec<i32> = replicas.iter().copied().filter(|id| active(id)).collect();
    if isr.is_empty() {
        return wrong("none of the brokers assigned to a partition is in service".to_string());
    }
    Ok(isr)
}

/// Deletes topics.
pub fn delete(image: &MetadataImage, topics: &[TopicRef]) -> Outcome<Answers<DeletedTopic>> {
    let mut records = Vec::new();
    let mut gone: BTreeSet<TopicId> = BTreeSet::new();
    let answer = topics.iter().map(|topic| {
        let found = match topic {
            TopicRef::Name(name) => image.topic_by_name(name),
            TopicRef::Id(id) => image.topic_by_id(*id),
        };
        match (found.filter(|found| gone.insert(found.id)), topic) {
            (Some(found), _) => {
                records.push(RemoveTopicRecord { topic_id: uuid_of_topic(found.id) }.into());
                Ok(DeletedTopic { name: Arc::clone(&found.name), topic_id: found.id })
            }
            (None, TopicRef::Name(name)) => {
                refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
            }
            (None, TopicRef::Id(_)) => refuse(ErrorCode::UnknownTopicId, "there is no topic with that id"),
        }
    });
    let answer = answer.collect();
    Outcome { records, answer }
}
