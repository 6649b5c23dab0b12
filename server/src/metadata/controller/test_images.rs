//! Small images for tests of the controller: brokers 1 and 2 in service, 3 fenced, and one topic `t`.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::delta::MetadataDelta;
use super::super::image::{BrokerImage, Id, MetadataImage, PartitionImage};
use super::super::image_records::{broker_record, partition_record, uuid_of_topic};
use ringmain_protocol::metadata::{MetadataRecord, TopicRecord};
use ringmain_storage::types::TopicId;

const TOPIC: TopicId = TopicId([4; 16]);

/// A partition in leader epoch 7 and partition epoch 5.
pub(super) fn partition(replicas: &[i32], isr: &[i32], leader: i32) -> PartitionImage {
    PartitionImage {
        replicas: replicas.to_vec(),
        directories: vec![Id::default(); replicas.len()],
        isr: isr.to_vec(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader,
        recovering: false,
        leader_epoch: 7,
        partition_epoch: 5,
    }
}

/// An image in which `t` has that partition.
pub(super) fn with_partition(partition: &PartitionImage) -> MetadataImage {
    let broker = |id: i32| BrokerImage {
        id,
        epoch: i64::from(id),
        incarnation_id: Id::default(),
        listeners: Vec::new(),
        features: Vec::new(),
        rack: None,
        fenced: id == 3,
        in_controlled_shutdown: false,
        log_dirs: vec![Id([9; 16])],
        cordoned_log_dirs: None,
    };
    let mut records: Vec<MetadataRecord> = (1..=3).map(|id| broker_record(&broker(id)).into()).collect();
    records.push(TopicRecord { name: "t".into(), topic_id: uuid_of_topic(TOPIC) }.into());
    records.push(partition_record(TOPIC, 0, partition).into());
    replayed(&MetadataImage::empty("c"), &records)
}

/// The image after records.
pub(super) fn replayed(image: &MetadataImage, records: &[MetadataRecord]) -> MetadataImage {
    let mut delta = MetadataDelta::new(image);
    records.iter().for_each(|record| delta.replay(record).unwrap());
    delta.finish(1, 1).0
}

/// The partition after records.
pub(super) fn partition_after(image: &MetadataImage, records: &[MetadataRecord]) -> PartitionImage {
    replayed(image, records).topic_by_name("t").unwrap().partitions[0].clone()
}
