//! `UpdateFeatures` (key 57): levels of features (KIP-584, KIP-778).
//!
//! Versions: 0 (flexible from the start) · 1 (kind of change, validate only) · 2 (no more answers by feature).
//!
//! Left out: authorization, `timeout_ms`, and version 0's permission to lower a level, which Kafka ignores, too.
//!
//! Order of checks: the controller's, see `metadata/controller/features.rs`. One refusal is the answer to all.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ringmain_protocol::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Answer, Broker, Context, errors};
use crate::metadata::request::{FeatureSpec, UpgradeKind};

/// Last version that answers each feature.
const RESULTS_UNTIL: i16 = 1;

/// Answers one `UpdateFeatures`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: UpdateFeaturesRequest,
) -> Answer<UpdateFeaturesResponse> {
    let specs: Vec<FeatureSpec> = request
        .feature_updates
        .iter()
        .map(|update| FeatureSpec {
            name: update.feature.to_string(),
            level: update.max_version_level,
            kind: match update.upgrade_type {
                1 => UpgradeKind::Upgrade,
                2 => UpgradeKind::SafeDowngrade,
                3 => UpgradeKind::UnsafeDowngrade,
                _ => UpgradeKind::Unknown,
            },
        })
        .collect();
    let mut response = UpdateFeaturesResponse { error_message: None, ..UpdateFeaturesResponse::default() };
    match broker.controller().update_features(specs, request.validate_only).await {
        Err(error) => {
            response.error_code = errors::controller(&error).code();
            response.error_message = Some(Str::from(format!(
                "The update failed for all features since the following feature had an error: {}",
                error.message
            )));
        }
        Ok(()) if context.version <= RESULTS_UNTIL => {
            let updates = request.feature_updates.into_iter();
            let result = |update: Str| UpdatableFeatureResult {
                feature: update,
                error_code: ErrorCode::None.code(),
                // Kafka's words for no error.
                error_message: Some(Str::from_static("NONE")),
            };
            response.results = updates.map(|update| result(update.feature)).collect();
        }
        Ok(()) => {}
    }
    response.into()
}

#[cfg(test)]
mod tests {
    use super::super::test_kit::with_broker;
    use super::*;
    use ringmain_protocol::messages::api_versions_request::ApiVersionsRequest;
    use ringmain_protocol::messages::update_features_request::FeatureUpdateKey;

    #[test]
    fn a_level_that_was_changed_is_what_clients_are_told() {
        with_broker(async |kit| {
            let ask = async |version: i16, level, upgrade_type, validate_only| {
                let update = FeatureUpdateKey {
                    feature: Str::from_static("transaction.version"),
                    max_version_level: level,
                    upgrade_type,
                    ..Default::default()
                };
                let request = UpdateFeaturesRequest {
                    feature_updates: vec![update],
                    validate_only,
                    ..Default::default()
                };
                let answer = kit.ask(version, &request).await;
                let told = answer.results.first().map(|result| result.error_code);
                (answer.error_code, told)
            };
            let finalized = async || {
                let asked = ApiVersionsRequest {
                    client_software_name: Str::from_static("a"),
                    client_software_version: Str::from_static("1"),
                };
                let answer = kit.ask(4, &asked).await;
                let mut features = answer.finalized_features.iter();
                features.find(|key| &*key.name == "transaction.version").map(|key| key.max_version_level)
            };
            assert_eq!(ask(0, 2, 1, false).await, (0, Some(0)));
            assert_eq!(ask(1, 1, 1, false).await, (95, None), "not lower without being told so");
            assert_eq!(ask(1, 1, 2, true).await, (0, Some(0)));
            assert_eq!(finalized().await, Some(2), "only checked");
            assert_eq!(ask(2, 1, 2, false).await, (0, None));
            assert_eq!(finalized().await, Some(1));
            assert_eq!(ask(2, 0, 2, false).await, (0, None));
            assert_eq!(finalized().await, None);
            assert_eq!(ask(2, 1, 9, false).await, (95, None));
        });
    }
}
