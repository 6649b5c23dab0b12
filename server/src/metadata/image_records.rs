//! The image as records: what a snapshot holds. Replaying them on an empty image gives the image again.

use super::image::{BrokerImage, ControllerImage, Id, MetadataImage, PartitionImage, TopicImage};
use ringmain_protocol::Uuid;
use ringmain_protocol::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use ringmain_protocol::metadata::register_controller_record::{ControllerEndpoint, ControllerFeature};
use ringmain_protocol::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
};
use ringmain_storage::types::TopicId;

/// Name of the feature whose level says which records and versions the log may hold.
pub const METADATA_VERSION: &str = "metadata.version";

/// All records of the image, `metadata.version` first, as readers expect.
pub fn records_of(image: &MetadataImage) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    let feature = |name: &str, level: i16| {
        MetadataRecord::from(FeatureLevelRecord { name: name.into(), feature_level: level })
    };
    let (first, others): (Vec<_>, Vec<_>) =
        image.features.iter().partition(|(name, _)| &***name == METADATA_VERSION);
    records.extend(first.into_iter().chain(others).map(|(name, level)| feature(name, *level)));
    records.extend(image.controllers.values().map(|controller| controller_record(controller).into()));
    records.extend(image.brokers.values().map(|broker| broker_record(broker).into()));
    for topic in image.topics() {
        topic_records(topic, &mut records);
    }
    for (resource, configs) in image.configs.iter() {
        records.extend(configs.iter().map(|(name, value)| {
            MetadataRecord::from(ConfigRecord {
                resource_type: resource.kind,
                resource_name: (&*resource.name).into(),
                name: (&**name).into(),
                value: Some((&**value).into()),
            })
        }));
    }
    if image.next_producer_id > 0 {
        let ids =
            ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id: image.next_producer_id };
        records.push(ids.into());
    }
    records.extend(image.carried.records().cloned());
    records
}

/// The records of one topic.
fn topic_records(topic: &TopicImage, records: &mut Vec<MetadataRecord>) {
    records.push(TopicRecord { name: (&*topic.name).into(), topic_id: uuid_of_topic(topic.id) }.into());
    for (index, partition) in topic.partitions.iter().enumerate() {
        records.push(partition_record(topic.id, index, partition).into());
    }
}

/// A partition as it is.
pub fn partition_record(topic_id: TopicId, index: usize, partition: &PartitionImage) -> PartitionRecord {
    let non_empty = |list: &Vec<i32>| Some(list.clone()).filter(|list| !list.is_empty());
    PartitionRecord {
        partition_id: i32::try_from(index).unwrap_or(i32::MAX),
        topic_id: uuid_of_topic(topic_id),
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        removing_replicas: partition.removing_replicas.clone(),
        adding_replicas: partition.adding_replicas.clone(),
        leader: partition.leader,
        leader_recovery_state: i8::from(partition.recovering),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        directories: partition.directories.iter().copied().map(uuid).collect(),
        eligible_leader_replicas: non_empty(&partition.elr),
        last_known_elr: non_empty(&partition.last_known_elr),
    }
}

/// A broker's registration as it is.
pub fn broker_record(broker: &BrokerImage) -> RegisterBrokerRecord {
    let endpoint = |endpoint: &super::image::Endpoint| BrokerEndpoint {
        name: (&*endpoint.name).into(),
        host: (&*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |feature: &super::image::FeatureRange| BrokerFeature {
        name: (&*feature.name).into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    };
    RegisterBrokerRecord {
        broker_id: broker.id,
        is_migrating_zk_broker: false,
        incarnation_id: uuid(broker.incarnation_id),
        broker_epoch: broker.epoch,
        end_points: broker.listeners.iter().map(endpoint).collect(),
        features: broker.features.iter().map(feature).collect(),
        rack: broker.rack.as_ref().map(|rack| (&**rack).into()),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.iter().copied().map(uuid).collect(),
        cordoned_log_dirs: broker
            .cordoned_log_dirs
            .as_ref()
            .map(|directories| directories.iter().copied().map(uuid).collect()),
    }
}

/// A controller's registration as it is.
pub fn controller_record(controller: &ControllerImage) -> RegisterControllerRecord {
    let endpoint = |endpoint: &super::image::Endpoint| ControllerEndpoint {
        name: (&*endpoint.name).into(),
        host: (&*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |feature: &super::image::FeatureRange| ControllerFeature {
        name: (&*feature.name).into(),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    };
    RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: uuid(controller.incarnation_id),
        zk_migration_ready: controller.zk_migration_ready,
        end_points: controller.listeners.iter().map(endpoint).collect(),
        features: controller.features.iter().map(feature).collect(),
    }
}

/// An id as records have it.
pub fn uuid(id: Id) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// A topic's id as records have it.
pub fn uuid_of_topic(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}
