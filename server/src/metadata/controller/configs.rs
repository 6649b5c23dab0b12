//! Dynamic configuration. Which keys and values there are is the caller's business; here changes become records,
//! all of a resource's or none.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::{ConfigMap, ConfigResource, MetadataImage};
use super::super::request::{AlterConfigSpec, Answers, ConfigOp};
use super::{Outcome, refuse};
use ringmain_protocol::metadata::{ConfigRecord, MetadataRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes configurations.
pub fn alter(image: &MetadataImage, specs: &[AlterConfigSpec]) -> Outcome<Answers<()>> {
    let mut records = Vec::new();
    let mut answer: Answers<()> = Vec::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        let is_repeated = specs.iter().take(at).any(|other| other.resource == spec.resource);
        answer.push(if is_repeated {
            refuse(ErrorCode::InvalidRequest, "the resource is named twice in this request")
        } else {
            alter_one(image, spec).map(|made| records.extend(made))
        });
    }
    Outcome { records, answer }
}

/// The records of one resource.
fn alter_one(image: &MetadataImage, spec: &AlterConfigSpec) -> Result<Vec<MetadataRecord>, ControllerError> {
    check_resource(image, &spec.resource)?;
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
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let mut records: Vec<MetadataRecord> =
        changed.map(|(key, value)| config_record(&spec.resource, key, Some(value))).collect();
    let removed = old.keys().filter(|key| !new.contains_key(*key));
    records.extend(removed.map(|key| config_record(&spec.resource, key, None)));
    Ok(records)
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
