//! Dynamic configuration. Which keys and values there are is the caller's business; here changes become records,
//! all of a resource's or none. Order of checks, as in Kafka's `ConfigurationControlManager`: named once → what the
//! eligible leader replicas need (KIP-966) → the settings fit each other → the resource exists.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{ConfigMap, ConfigResource, MetadataImage};
use super::super::request::{AlterConfigSpec, Answers, ConfigOp};
use super::{Outcome, refuse};
use ringmain_protocol::metadata::{ConfigRecord, MetadataRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Says what is wrong with a resource's settings as a whole.
pub type CheckTogether<'a> = &'a dyn Fn(&ConfigResource, &ConfigMap) -> Result<(), ControllerError>;

/// The feature that needs to know how many replicas have to be in sync.
const ELIGIBLE_LEADERS: &str = "eligible.leader.replicas.version";
/// The key that says it.
const MIN_ISR: &str = "min.insync.replicas";

/// Changes configurations.
pub fn alter(
    image: &MetadataImage,
    specs: &[AlterConfigSpec],
    check: CheckTogether<'_>,
) -> Outcome<Answers<()>> {
    let mut records = Vec::new();
    let mut answer: Answers<()> = Vec::with_capacity(specs.len());
    let mut named = BTreeSet::new();
    for spec in specs {
        answer.push(if named.insert(&spec.resource) {
            alter_one(image, spec, check).map(|made| records.extend(made))
        } else {
            refuse(ErrorCode::InvalidRequest, "the resource is named twice in this request")
        });
    }
    Outcome { records, answer }
}

/// The records of one resource.
fn alter_one(
    image: &MetadataImage,
    spec: &AlterConfigSpec,
    check: CheckTogether<'_>,
) -> Result<Vec<MetadataRecord>, ControllerError> {
    let none = Arc::new(ConfigMap::new());
    let old = image.configs.get(&spec.resource).unwrap_or(&none);
    let mut new: BTreeMap<Arc<str>, Arc<str>> = if spec.replace { ConfigMap::new() } else { (**old).clone() };
    for (key, op) in &spec.ops {
        let list = |base: &str| {
            let current = new.get(key.as_str()).map_or(base, |value| value);
            current.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_string).collect()
        };
        let value = match op {
            ConfigOp::Delete => None,
            ConfigOp::Set(value) => Some(value.clone()),
            ConfigOp::Append { value, base } => {
                let mut parts: Vec<String> = list(base);
                for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                    if !parts.iter().any(|has| has == part) {
                        parts.push(part.to_string());
                    }
                }
                Some(parts.join(","))
            }
            ConfigOp::Subtract { value, base } => {
                let mut parts: Vec<String> = list(base);
                parts.retain(|has| !value.split(',').any(|part| part.trim() == has));
                Some(parts.join(","))
            }
        };
        match value {
            Some(value) => new.insert(Arc::from(key.as_str()), Arc::from(value.as_str())),
            None => new.remove(key.as_str()),
        };
    }
    check_min_isr(image, &spec.resource, old, &new)?;
    check(&spec.resource, &new)?;
    check_resource(image, &spec.resource)?;
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let mut records: Vec<MetadataRecord> =
        changed.map(|(key, value)| config_record(&spec.resource, key, Some(value))).collect();
    let removed = old.keys().filter(|key| !new.contains_key(*key));
    records.extend(removed.map(|key| config_record(&spec.resource, key, None)));
    Ok(records)
}

/// With eligible leader replicas the whole cluster has one default for the replicas that have to be in sync.
fn check_min_isr(
    image: &MetadataImage,
    resource: &ConfigResource,
    old: &ConfigMap,
    new: &ConfigMap,
) -> Result<(), ControllerError> {
    if resource.kind != ConfigResource::BROKER || image.feature(ELIGIBLE_LEADERS) == 0 {
        return Ok(());
    }
    match (old.get(MIN_ISR), new.get(MIN_ISR)) {
        (old, new) if !resource.name.is_empty() && old != new => refuse(
            ErrorCode::InvalidConfig,
            format!("with eligible leader replicas {MIN_ISR} is not a single broker's to set"),
        ),
        (Some(_), None) if resource.name.is_empty() => refuse(
            ErrorCode::InvalidConfig,
            format!("with eligible leader replicas {MIN_ISR} has to stay set for all brokers"),
        ),
        _ => Ok(()),
    }
}

/// Checks that the resource is there.
fn check_resource(image: &MetadataImage, resource: &ConfigResource) -> Result<(), ControllerError> {
    match resource.kind {
        ConfigResource::TOPIC if image.topic_by_name(&resource.name).is_none() => {
            refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{}'", resource.name))
        }
        ConfigResource::BROKER
            if !resource.name.is_empty()
                && !resource.name.parse().is_ok_and(|id: i32| image.brokers.contains_key(&id)) =>
        {
            refuse(ErrorCode::InvalidRequest, format!("there is no broker '{}'", resource.name))
        }
        _ => Ok(()),
    }
}

fn config_record(resource: &ConfigResource, key: &str, value: Option<&Arc<str>>) -> MetadataRecord {
    ConfigRecord {
        resource_type: resource.kind,
        resource_name: (&*resource.name).into(),
        name: key.into(),
        value: value.map(|value| (&**value).into()),
    }
    .into()
}
