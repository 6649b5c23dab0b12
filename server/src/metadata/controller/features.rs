//! Levels of features (Kafka's `FeatureControlManager`, KIP-584): what all members of the cluster have agreed to
//! understand. All changes of a request take place or none.

use super::super::bootstrap;
use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{ConfigResource, MetadataImage};
use super::super::image_records::METADATA_VERSION;
use super::super::request::{FeatureSpec, UpgradeKind};
use super::{Outcome, refuse};
use ringmain_protocol::metadata::{ClearElrRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord};

/// The version of the quorum's own protocol, which control records keep.
const KRAFT_VERSION: &str = "kraft.version";
/// Eligible leader replicas (KIP-966).
const ELIGIBLE_LEADERS: &str = "eligible.leader.replicas.version";
/// The level of `metadata.version` they need.
const ELIGIBLE_LEADERS_METADATA: i16 = 23;
/// What the cluster must have set for them.
const MIN_ISR: &str = "min.insync.replicas";

/// Changes levels.
pub fn update(image: &MetadataImage, specs: &[FeatureSpec]) -> Outcome<Result<(), ControllerError>> {
    let mut records = Vec::new();
    for spec in specs {
        match update_one(image, spec) {
            Ok(made) => records.extend(made),
            Err(error) => return Outcome { records: Vec::new(), answer: Err(error) },
        }
    }
    Outcome { records, answer: Ok(()) }
}

/// The records of one change.
fn update_one(image: &MetadataImage, spec: &FeatureSpec) -> Result<Vec<MetadataRecord>, ControllerError> {
    let FeatureSpec { name, level, kind } = spec;
    let invalid = |why: String| {
        let message = format!("Invalid update version {level} for feature {name}. {why}");
        refuse(ErrorCode::InvalidUpdateVersion, message)
    };
    if *kind == UpgradeKind::Unknown {
        return invalid("The controller does not support the given upgrade type.".to_owned());
    }
    if *level < 0 {
        return invalid("A feature version cannot be less than 0.".to_owned());
    }
    if let Some(why) = not_supported(image, name, *level) {
        return invalid(why);
    }
    let current = if name == KRAFT_VERSION { image.kraft_version } else { image.feature(name) };
    if *level < current && *kind == UpgradeKind::Upgrade {
        return invalid(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade."
                .to_owned(),
        );
    }
    if *level > current && *kind != UpgradeKind::Upgrade {
        return invalid("Can't downgrade to a newer version.".to_owned());
    }
    if *level == current {
        return Ok(Vec::new());
    }
    if name == KRAFT_VERSION {
        return invalid("The quorum's version is not changed here.".to_owned());
    }
    if name == METADATA_VERSION && *level < current {
        // Kafka refuses what may lose metadata, and has nothing yet for what it would have to lose.
        return invalid("A lower metadata.version might lose metadata.".to_owned());
    }
    let mut records: Vec<MetadataRecord> =
        vec![FeatureLevelRecord { name: name.as_str().into(), feature_level: *level }.into()];
    if name == ELIGIBLE_LEADERS {
        if *level > 0 && image.feature(METADATA_VERSION) < ELIGIBLE_LEADERS_METADATA {
            return invalid(format!("It needs {METADATA_VERSION} {ELIGIBLE_LEADERS_METADATA} or higher."));
        }
        records.extend(if *level > 0 {
            min_isr_for_all(image)
        } else {
            vec![ClearElrRecord::default().into()]
        });
    }
    Ok(records)
}

/// Why this node or a registered broker could not live with that level.
fn not_supported(image: &MetadataImage, name: &str, level: i16) -> Option<String> {
    let reason = |who: String, range: Option<(i16, i16)>| match range {
        None | Some((_, 0)) if level != 0 => Some(format!("{who} does not support this feature.")),
        Some((min, max)) if !(min..=max).contains(&level) => {
            Some(format!("{who} only supports versions {min}-{max}"))
        }
        None if level == 0 => None,
        _ => None,
    };
    let own = bootstrap::FEATURES.iter().find(|(feature, ..)| *feature == name);
    let own = reason("The controller".to_owned(), own.map(|(_, min, max, _)| (*min, *max)));
    own.or_else(|| {
        image.brokers.values().find_map(|broker| {
            let range = broker.features.iter().find(|feature| &*feature.name == name);
            reason(format!("Broker {}", broker.id), range.map(|range| (range.min, range.max)))
        })
    })
}

/// One default for all brokers in the place of single brokers' own.
fn min_isr_for_all(image: &MetadataImage) -> Vec<MetadataRecord> {
    let record = |resource: &ConfigResource, value: Option<&str>| {
        MetadataRecord::from(ConfigRecord {
            resource_type: resource.kind,
            resource_name: (&*resource.name).into(),
            name: MIN_ISR.into(),
            value: value.map(Into::into),
        })
    };
    let all = ConfigResource::broker("");
    let is_set =
        |resource: &ConfigResource| image.configs.get(resource).is_some_and(|set| set.contains_key(MIN_ISR));
    let mut records = Vec::new();
    if !is_set(&all) {
        records.push(record(&all, Some("1")));
    }
    let own = image.configs.iter().map(|(resource, _)| resource);
    let own = own.filter(|resource| resource.kind == ConfigResource::BROKER && !resource.name.is_empty());
    records.extend(own.filter(|resource| is_set(resource)).map(|resource| record(resource, None)));
    records
}

#[cfg(test)]
mod tests {
    use super::super::super::loader::Loader;
    use super::super::test_images::replayed;
    use super::*;

    fn new_cluster() -> MetadataImage {
        let mut loader = Loader::new("c");
        loader.data(&bootstrap::first_records(), 10, 1).unwrap();
        MetadataImage { kraft_version: 1, ..loader.image().clone() }
    }

    fn update(
        image: &MetadataImage,
        name: &str,
        level: i16,
        kind: UpgradeKind,
    ) -> Result<MetadataImage, ErrorCode> {
        let outcome = super::update(image, &[FeatureSpec { name: name.to_owned(), level, kind }]);
        outcome.answer.map_err(|error| error.code)?;
        Ok(replayed(image, &outcome.records))
    }

    #[test]
    fn a_level_goes_down_only_on_request_and_up_again() {
        let image = new_cluster();
        let name = "transaction.version";
        let refused = update(&image, name, 1, UpgradeKind::Upgrade).unwrap_err();
        assert_eq!(refused, ErrorCode::InvalidUpdateVersion);
        let lower = update(&image, name, 1, UpgradeKind::SafeDowngrade).unwrap();
        assert_eq!(lower.feature(name), 1);
        assert!(update(&lower, name, 2, UpgradeKind::SafeDowngrade).is_err());
        assert_eq!(update(&lower, name, 2, UpgradeKind::Upgrade).unwrap().feature(name), 2);
        let off = update(&lower, name, 0, UpgradeKind::UnsafeDowngrade).unwrap();
        assert!(!off.features.contains_key(name), "a feature at level 0 is not finalized");
    }

    #[test]
    fn what_is_not_known_or_would_lose_metadata_is_refused() {
        let image = new_cluster();
        for (name, level, kind) in [
            ("nope", 1, UpgradeKind::Upgrade),
            ("transaction.version", 9, UpgradeKind::Upgrade),
            ("transaction.version", -1, UpgradeKind::SafeDowngrade),
            ("transaction.version", 2, UpgradeKind::Unknown),
            ("metadata.version", 29, UpgradeKind::SafeDowngrade),
            ("metadata.version", 7, UpgradeKind::UnsafeDowngrade),
            ("kraft.version", 0, UpgradeKind::SafeDowngrade),
        ] {
            let refused = update(&image, name, level, kind).unwrap_err();
            assert_eq!(refused, ErrorCode::InvalidUpdateVersion, "{name} {level}");
        }
        for (name, level) in [("metadata.version", 30), ("kraft.version", 1), ("group.version", 1)] {
            assert_eq!(
                update(&image, name, level, UpgradeKind::Upgrade).unwrap(),
                replayed(&image, &[]),
                "{name}"
            );
        }
    }

    #[test]
    fn one_refusal_stops_all_changes_of_a_request() {
        let spec = |name: &str, level| FeatureSpec {
            name: name.to_owned(),
            level,
            kind: UpgradeKind::SafeDowngrade,
        };
        let outcome = super::update(&new_cluster(), &[spec("group.version", 0), spec("nope", 3)]);
        assert!(outcome.records.is_empty() && outcome.answer.is_err());
    }

    #[test]
    fn eligible_leaders_need_one_default_of_replicas_in_sync() {
        let image = new_cluster();
        let name = "eligible.leader.replicas.version";
        let off = update(&image, name, 0, UpgradeKind::SafeDowngrade).unwrap();
        let own = ConfigRecord {
            resource_type: ConfigResource::BROKER,
            resource_name: "1".into(),
            name: MIN_ISR.into(),
            value: Some("2".into()),
        };
        let on = update(&replayed(&off, &[own.into()]), name, 1, UpgradeKind::Upgrade).unwrap();
        assert!(on.configs.get(&ConfigResource::broker("1")).is_none());
        assert_eq!(&*on.configs.get(&ConfigResource::broker("")).unwrap()[MIN_ISR], "1");
    }
}
