//! The records a new cluster begins with, and the feature levels ringmain claims: those of Kafka 4.3, so that
//! Apache brokers and controllers can join or take over.

use super::image_records::METADATA_VERSION;
use super::record_version::{METADATA_VERSION_MAX, METADATA_VERSION_MIN};
use ringmain_protocol::metadata::{
    BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, MetadataRecord,
};

/// Name, lowest level, highest level and level in a new cluster. `kraft.version` is kept in control records.
pub const FEATURES: [(&str, i16, i16, i16); 7] = [
    (METADATA_VERSION, METADATA_VERSION_MIN, METADATA_VERSION_MAX, METADATA_VERSION_MAX),
    ("eligible.leader.replicas.version", 0, 1, 1),
    ("group.version", 0, 1, 1),
    ("share.version", 0, 1, 1),
    ("streams.version", 0, 1, 1),
    ("transaction.version", 0, 2, 2),
    ("kraft.version", 0, 1, 0),
];

/// The levels of a new cluster as records.
pub fn feature_records() -> Vec<MetadataRecord> {
    let features = FEATURES.iter().filter(|(_, _, _, level)| *level > 0);
    features
        .map(|(name, _, _, level)| FeatureLevelRecord { name: (*name).into(), feature_level: *level }.into())
        .collect()
}

/// The first batch of a new cluster: the features, and how many replicas have to be in sync unless a topic says
/// otherwise, which eligible leader replicas need as a record.
pub fn first_records() -> Vec<MetadataRecord> {
    let begin = BeginTransactionRecord { name: Some("Bootstrap records".into()) };
    let mut records = vec![MetadataRecord::from(begin)];
    records.extend(feature_records());
    records.push(
        ConfigRecord {
            resource_type: super::image::ConfigResource::BROKER,
            resource_name: "".into(),
            name: "min.insync.replicas".into(),
            value: Some("1".into()),
        }
        .into(),
    );
    records.push(EndTransactionRecord::default().into());
    records
}
