//! In which version each metadata record is written: the `metadata.version` of the cluster decides, so that
//! every member can read it (Kafka's `MetadataVersion`, levels in `kraft.md`).

use ringmain_protocol::metadata::MetadataRecord;

/// The newest level of `metadata.version` that ringmain writes: Kafka 4.3-IV0.
pub const METADATA_VERSION_MAX: i16 = 30;
/// The oldest it reads: Kafka 3.3.
pub const METADATA_VERSION_MIN: i16 = 7;
/// From here on brokers tell which of their directories take no new replicas.
const CORDONED_DIRECTORIES: i16 = 30;
/// From here on partitions have eligible leader replicas (KIP-966).
const ELIGIBLE_LEADERS: i16 = 23;
/// From here on replicas have directories (KIP-858).
const DIRECTORIES: i16 = 17;
/// From here on registrations say that a broker is not one of `ZooKeeper`'s (KIP-866).
const ZK_MIGRATION: i16 = 8;

/// The version to write `record` in.
pub fn record_version(record: &MetadataRecord, metadata_version: i16) -> i16 {
    let newest = |levels: &[(i16, i16)]| {
        levels.iter().find(|(level, _)| metadata_version >= *level).map_or(0, |(_, version)| *version)
    };
    match record {
        MetadataRecord::RegisterBroker(_) => newest(&[
            (CORDONED_DIRECTORIES, 4),
            (DIRECTORIES, 3),
            (ZK_MIGRATION, 2),
            (METADATA_VERSION_MIN, 1),
        ]),
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => {
            newest(&[(ELIGIBLE_LEADERS, 2), (DIRECTORIES, 1)])
        }
        MetadataRecord::BrokerRegistrationChange(change) => match change {
            change if change.cordoned_log_dirs.is_some() => 3,
            change if !change.log_dirs.is_empty() => 2,
            change if change.in_controlled_shutdown != 0 => 1,
            _ => 0,
        },
        _ => 0,
    }
}
