//! Configuration as it is told to clients: every key of the table with its value, where that comes from, and what
//! stands behind it (`ConfigHelper`, `DynamicBrokerConfig`). Layers, strongest first: set on the topic or the broker
//! (records), set for all brokers (records), set when the broker was started, the default.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmain_storage::io::Io;

use super::Broker;
use crate::config::table::{Key, Scope};
use crate::config::{broker_keys, topic_keys};
use crate::metadata::image::{ConfigResource, MetadataImage};

/// Where a value comes from, as Kafka numbers it (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub(super) enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set on this broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers.
    DynamicDefaultBroker = 3,
    /// Set when the broker was started.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
}

impl Source {
    /// Its number.
    pub(super) fn code(self) -> i8 {
        self as i8
    }
}

/// One layer that has a value for a key: the name it has there, the value, and which layer it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Synonym {
    /// The key's name in that layer: the broker's for a topic's default.
    pub(super) name: String,
    /// The value; `None` is Kafka's null.
    pub(super) value: Option<String>,
    /// The layer.
    pub(super) source: Source,
}

/// One key as it is told.
pub(super) struct Entry {
    /// What the table says of it.
    pub(super) key: &'static Key,
    /// Layers with a value, the one that holds first; never empty.
    pub(super) synonyms: Vec<Synonym>,
}

impl Entry {
    /// The value that holds.
    pub(super) fn value(&self) -> Option<&str> {
        self.synonyms.first().and_then(|synonym| synonym.value.as_deref())
    }

    /// The layer it comes from.
    pub(super) fn source(&self) -> Source {
        self.synonyms.first().map_or(Source::Default, |synonym| synonym.source)
    }

    /// Whether it changes only at a start.
    pub(super) fn read_only(&self) -> bool {
        self.key.scope == Scope::ReadOnly
    }
}

/// The configuration a resource has set on it.
type Set = BTreeMap<Arc<str>, Arc<str>>;

/// Layers of a broker's configuration.
struct BrokerLayers<'a> {
    own: Option<&'a Set>,
    all: Option<&'a Set>,
    at_start: &'a BTreeMap<String, String>,
}

impl<'a> BrokerLayers<'a> {
    fn of<I: Io>(broker: &'a Broker<I>, image: &'a MetadataImage) -> Self {
        let set = |name: &str| image.configs.get(&ConfigResource::broker(name)).map(|set| &**set);
        let settings = broker.settings();
        Self { own: set(&settings.node_id.to_string()), all: set(""), at_start: &settings.set_at_start }
    }

    /// The layers that have a value for a broker's key, the strongest first.
    fn synonyms(&self, name: &str, default: Option<&str>) -> Vec<Synonym> {
        let set = |layer: Option<&Set>| layer.and_then(|set| set.get(name)).map(ToString::to_string);
        let synonym = |value, source| Synonym { name: name.to_owned(), value: Some(value), source };
        let mut synonyms = Vec::new();
        synonyms.extend(set(self.own).map(|value| synonym(value, Source::DynamicBroker)));
        synonyms.extend(set(self.all).map(|value| synonym(value, Source::DynamicDefaultBroker)));
        synonyms.extend(self.at_start.get(name).cloned().map(|value| synonym(value, Source::StaticBroker)));
        let value = default.map(ToOwned::to_owned);
        synonyms.push(Synonym { name: name.to_owned(), value, source: Source::Default });
        synonyms
    }
}

/// Every key of a topic with `set` on it.
pub(super) fn of_topic<I: Io>(broker: &Broker<I>, image: &MetadataImage, set: &Set) -> Vec<Entry> {
    let layers = BrokerLayers::of(broker, image);
    topic_keys::KEYS
        .iter()
        .map(|key| {
            let own = set.get(key.name).map(|value| Synonym {
                name: key.name.to_owned(),
                value: Some(value.to_string()),
                source: Source::Topic,
            });
            let behind = layers.synonyms(key.synonym.unwrap_or(key.name), key.default);
            Entry { key, synonyms: own.into_iter().chain(behind).collect() }
        })
        .collect()
}

/// Every key of this broker.
pub(super) fn of_broker<I: Io>(broker: &Broker<I>, image: &MetadataImage) -> Vec<Entry> {
    let layers = BrokerLayers::of(broker, image);
    broker_keys::KEYS
        .iter()
        .map(|key| Entry { key, synonyms: layers.synonyms(key.name, key.default) })
        .collect()
}

/// What is set for all brokers; nothing else is told of them.
pub(super) fn of_all_brokers(image: &MetadataImage) -> Vec<Entry> {
    let set = image.configs.get(&ConfigResource::broker(""));
    set.into_iter()
        .flat_map(|set| set.iter())
        .filter_map(|(name, value)| {
            let synonym = Synonym {
                name: name.to_string(),
                value: Some(value.to_string()),
                source: Source::DynamicDefaultBroker,
            };
            Some(Entry { key: broker_keys::find(name)?, synonyms: vec![synonym] })
        })
        .collect()
}

/// Checks what a client wants to set on a topic and gives it back in one spelling, or the first reason why not.
pub(super) fn check_topic<'a>(
    wanted: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<(String, String)>, String> {
    let mut checked: Vec<(String, String)> = Vec::new();
    for (name, value) in wanted {
        let value = value.ok_or_else(|| format!("Null value not supported for topic config {name}"))?;
        let key = topic_keys::find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        let value = key.check(value).map_err(|wrong| wrong.to_string())?;
        checked.push((name.to_owned(), value));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_takes_known_keys_with_fitting_values_only() {
        let one = |name, value| check_topic(std::iter::once((name, value)));
        assert_eq!(
            one("segment.bytes", Some(" 1048576 ")).unwrap(),
            [("segment.bytes".into(), "1048576".into())]
        );
        assert!(one("segment.bytes", None).unwrap_err().contains("segment.bytes"));
        assert!(one("segment.bytes", Some("many")).is_err());
        assert!(one("segment.byte", Some("1")).unwrap_err().contains("Unknown topic config name"));
    }

    #[test]
    fn every_topic_key_stands_on_a_broker_key() {
        for key in topic_keys::KEYS {
            if let Some(synonym) = key.synonym {
                assert!(broker_keys::find(synonym).is_some(), "{} says {synonym}", key.name);
            }
        }
    }
}
