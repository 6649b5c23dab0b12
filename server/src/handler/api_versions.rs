//! `ApiVersions` (key 18): what can be asked here, and in which versions. The only list of that.
//!
//! Versions: 0 · 1 (throttle time) · 3 (flexible, client's name, features) · 4 (features whose lowest level is 0). The
//! response's header is always version 0, since a client that asks does not know our versions yet.
//!
//! An unsupported version is not a closed connection: the answer is in version 0, `UNSUPPORTED_VERSION`, and says which
//! versions of `ApiVersions` there are, so that the client asks again.
//!
//! Only what is built is listed. One entry says more than is true: Produce is advertised from 0, though
//! versions below 3 (old record formats) are refused, as in Apache: librdkafka below 2.? takes a missing version 0
//! for a broker that cannot compress (KAFKA-18659).

use std::ops::RangeInclusive;

use ringmain_protocol::ApiKey;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::api_versions_request::ApiVersionsRequest;
use ringmain_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context};

/// First version that carries the client's name.
const CLIENT_NAME_SINCE: i16 = 3;
/// First version whose clients understand a feature with lowest level 0 (KAFKA-17011).
const LEVEL_ZERO_SINCE: i16 = 4;

/// What is served: key, and the versions that can be read.
pub(super) const SERVED: [(ApiKey, RangeInclusive<i16>); 36] = [
    (ApiKey::Produce, 3..=13),
    (ApiKey::Fetch, 4..=18),
    (ApiKey::ListOffsets, 1..=11),
    (ApiKey::Metadata, 0..=13),
    (ApiKey::OffsetCommit, 2..=10),
    (ApiKey::OffsetFetch, 1..=10),
    (ApiKey::FindCoordinator, 0..=6),
    (ApiKey::JoinGroup, 0..=9),
    (ApiKey::Heartbeat, 0..=4),
    (ApiKey::LeaveGroup, 0..=5),
    (ApiKey::SyncGroup, 0..=5),
    (ApiKey::DescribeGroups, 0..=6),
    (ApiKey::ListGroups, 0..=5),
    (ApiKey::ApiVersions, 0..=4),
    (ApiKey::CreateTopics, 0..=7),
    (ApiKey::DeleteTopics, 0..=6),
    (ApiKey::DeleteRecords, 0..=2),
    (ApiKey::InitProducerId, 0..=5),
    (ApiKey::OffsetForLeaderEpoch, 2..=4),
    (ApiKey::DescribeConfigs, 0..=4),
    (ApiKey::AlterConfigs, 0..=2),
    (ApiKey::DescribeLogDirs, 1..=5),
    (ApiKey::CreatePartitions, 0..=3),
    (ApiKey::ElectLeaders, 0..=2),
    (ApiKey::IncrementalAlterConfigs, 0..=1),
    (ApiKey::AlterPartitionReassignments, 0..=1),
    (ApiKey::ListPartitionReassignments, 0..=0),
    (ApiKey::DeleteGroups, 0..=2),
    (ApiKey::OffsetDelete, 0..=0),
    (ApiKey::UpdateFeatures, 0..=2),
    (ApiKey::DescribeCluster, 0..=2),
    (ApiKey::DescribeProducers, 0..=0),
    (ApiKey::ConsumerGroupHeartbeat, 0..=1),
    (ApiKey::ConsumerGroupDescribe, 0..=1),
    (ApiKey::ListConfigResources, 0..=1),
    (ApiKey::DescribeTopicPartitions, 0..=0),
];

/// The versions served of an API; `None` if it is not served at all.
pub(super) fn versions(key: ApiKey) -> Option<RangeInclusive<i16>> {
    SERVED.iter().find(|(served, _)| *served == key).map(|(_, versions)| versions.clone())
}

/// Answers one `ApiVersions`.
pub(super) fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: &ApiVersionsRequest,
) -> Answer<ApiVersionsResponse> {
    let named = context.version >= CLIENT_NAME_SINCE;
    if named && !(is_name(&request.client_software_name) && is_name(&request.client_software_version)) {
        let error_code = ErrorCode::InvalidRequest.code();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }.into();
    }
    let image = broker.image();
    let supported_features = image
        .brokers
        .get(&broker.settings().node_id)
        .into_iter()
        .flat_map(|registered| &registered.features)
        .filter(|feature| context.version >= LEVEL_ZERO_SINCE || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: Str::from(&*feature.name),
            min_version: feature.min,
            max_version: feature.max,
        })
        .collect();
    let kraft_version = Some(("kraft.version", image.kraft_version)).filter(|(_, level)| *level > 0);
    let levels = image.features.iter().map(|(name, level)| (&**name, *level)).chain(kraft_version);
    let finalized = |(name, level)| FinalizedFeatureKey {
        name: Str::from(name),
        max_version_level: level,
        min_version_level: level,
    };
    let finalized_features = levels.map(finalized).collect();
    ApiVersionsResponse {
        api_keys: SERVED.iter().map(advertised).collect(),
        supported_features,
        finalized_features_epoch: image.end_offset - 1,
        finalized_features,
        ..ApiVersionsResponse::default()
    }
    .into()
}

/// The answer to a version that is not served, itself in version 0.
pub(super) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: SERVED.iter().filter(|(key, _)| *key == ApiKey::ApiVersions).map(advertised).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn advertised((key, versions): &(ApiKey, RangeInclusive<i16>)) -> ApiVersion {
    ApiVersion {
        api_key: *key as i16,
        min_version: if *key == ApiKey::Produce { 0 } else { *versions.start() },
        max_version: *versions.end(),
    }
}

/// Whether a client may call its software so: letters, digits, dots and dashes, a letter or digit at both ends
/// (`ApiVersionsRequest.isValid`).
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_are_valid_as_in_kafka() {
        for good in ["a", "librdkafka", "apache-kafka-java", "4.3.0", "9"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn produce_is_advertised_from_zero_and_served_from_three() {
        let produce = SERVED.iter().find(|(key, _)| *key == ApiKey::Produce).map(advertised).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert_eq!(versions(ApiKey::Produce), Some(3..=13));
    }

    #[test]
    fn an_unsupported_version_is_told_which_versions_there_are() {
        let response = unsupported();
        assert_eq!(response.error_code, 35);
        assert_eq!(response.api_keys.len(), 1);
        assert_eq!((response.api_keys[0].api_key, response.api_keys[0].max_version), (18, 4));
    }
}
