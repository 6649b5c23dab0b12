//! Configuration as it is told to clients: every key of the table with its value, where that comes from, and what
//! stands behind it (`ConfigHelper`, `DynamicBrokerConfig`). Layers, strongest first: set on the topic or the broker
//! (records), set for all brokers (records), set when the broker was started, the default.

use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::Broker;
use crate::config::layers::{Layer, Layers, Set};
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
    /// A logger's level.
    DynamicBrokerLogger = 6,
}

impl Source {
    /// Its number.
    pub(super) fn code(self) -> i8 {
        self as i8
    }
}

impl From<Layer> for Source {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Own => Self::DynamicBroker,
            Layer::All => Self::DynamicDefaultBroker,
            Layer::Start => Self::StaticBroker,
            Layer::Default => Self::Default,
        }
    }
}

/// One layer that has a value for a key: the name it has there, the value, and which layer it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Synonym {
    /// The key's name in that layer: the broker's for a topic's default.
    pub(super) name: String,
    /// The value.
    pub(super) value: String,
    /// The layer.
    pub(super) source: Source,
}

/// One key as it is told.
pub(super) struct Entry {
    /// Its name.
    pub(super) name: Str,
    /// Kafka's number of its type (`ConfigType`), 0 if it has none.
    pub(super) type_code: i8,
    /// What it means.
    pub(super) doc: Option<&'static str>,
    /// The value that holds; `None` is Kafka's null.
    pub(super) value: Option<String>,
    /// The layer it comes from.
    pub(super) source: Source,
    /// Layers with a value, the strongest first. A value made of other keys (`log.retention.hours`) has none.
    pub(super) synonyms: Vec<Synonym>,
    /// Whether it changes only at a start.
    pub(super) read_only: bool,
}

impl Entry {
    /// A key of the table, which a topic or the running broker can change.
    fn new(key: &'static Key, value: Option<String>, synonyms: Vec<Synonym>) -> Self {
        Self {
            name: Str::from_static(key.name),
            type_code: key.type_code(),
            doc: Some(key.doc),
            value,
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            synonyms,
            read_only: false,
        }
    }

    /// A key of a broker.
    fn of_broker(key: &'static Key, value: Option<String>, synonyms: Vec<Synonym>) -> Self {
        Self { read_only: key.scope == Scope::ReadOnly, ..Self::new(key, value, synonyms) }
    }
}

/// The layers that have a value for a broker's key.
fn synonyms(layers: &Layers<'_>, name: &str) -> Vec<Synonym> {
    let found = layers.synonyms(name).into_iter();
    found.map(|(name, value, layer)| Synonym { name, value, source: layer.into() }).collect()
}

/// Every key of a topic with `set` on it.
pub(super) fn of_topic<I: Io>(broker: &Broker<I>, image: &MetadataImage, set: &Set) -> Vec<Entry> {
    let layers = broker.layers(image);
    let told = |key: &'static Key| {
        let own = set.get(key.name).map(|value| Synonym {
            name: key.name.to_owned(),
            value: value.to_string(),
            source: Source::Topic,
        });
        let behind = key.synonym.map(|name| synonyms(&layers, name)).unwrap_or_default();
        let of_broker = || key.synonym.and_then(|name| layers.combined(name));
        let value = own.as_ref().map(|own| own.value.clone()).or_else(of_broker);
        let value = value.or_else(|| key.default.map(ToOwned::to_owned));
        Entry::new(key, value, own.into_iter().chain(behind).collect())
    };
    topic_keys::KEYS.iter().map(told).collect()
}

/// Every key of this broker.
pub(super) fn of_broker<I: Io>(broker: &Broker<I>, image: &MetadataImage) -> Vec<Entry> {
    let layers = broker.layers(image);
    let told = |key: &'static Key| {
        Entry::of_broker(key, layers.text(key.name).map(ToOwned::to_owned), synonyms(&layers, key.name))
    };
    broker_keys::KEYS.iter().map(told).collect()
}

/// What is set for all brokers; nothing else is told of them.
pub(super) fn of_all_brokers(image: &MetadataImage) -> Vec<Entry> {
    let set = image.configs.get(&ConfigResource::broker(""));
    let told = |(name, value): (&std::sync::Arc<str>, &std::sync::Arc<str>)| {
        let (name, value) = (name.to_string(), value.to_string());
        let key = broker_keys::find(&name)?;
        let synonym = Synonym { name, value: value.clone(), source: Source::DynamicDefaultBroker };
        Some(Entry::of_broker(key, Some(value), vec![synonym]))
    };
    set.into_iter().flat_map(|set| set.iter()).filter_map(told).collect()
}

/// Checks what a client wants to set on a topic and gives it back in one spelling, or the first reason why not.
pub(super) fn check_topic<'a>(
    wanted: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<(String, String)>, String> {
    let mut checked: Vec<(String, String)> = Vec::new();
    for (name, value) in wanted {
        let value = value.ok_or_else(|| format!("Null value not supported for topic config {name}"))?;
        checked.push((name.to_owned(), topic_keys::check(name, value)?));
    }
    let together = checked.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    topic_keys::check_together(&together.collect())?;
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
