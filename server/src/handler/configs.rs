//! Configuration as it is told to clients: every key of the table with its value, where that comes from, and what
//! stands behind it (`ConfigHelper`, `DynamicBrokerConfig`). Layers, strongest first: set on the topic or the broker
//! (records), set for all brokers (records), set when the broker was started, the default.

use std::sync::Arc;

use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::{Broker, Settings};
use crate::config::kafka_keys::{self, KafkaKey};
use crate::config::layers::{Layer, Layers, Set};
use crate::config::table::{Key, Scope};
use crate::config::{broker_keys, group_keys, topic_keys, without_effect};
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
    /// Set on the group.
    Group = 8,
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
    /// The value; `None` for a secret.
    pub(super) value: Option<String>,
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
    /// The value that holds; `None` is Kafka's null, or a secret.
    pub(super) value: Option<String>,
    /// The layer it comes from.
    pub(super) source: Source,
    /// Layers with a value, the strongest first. A value made of other keys (`log.retention.hours`) has none.
    pub(super) synonyms: Vec<Synonym>,
    /// Whether it changes only at a start.
    pub(super) read_only: bool,
    /// Whether its value is a secret.
    pub(super) is_secret: bool,
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
            is_secret: false,
        }
    }

    /// A key of a broker.
    fn of_broker(key: &'static Key, value: Option<String>, synonyms: Vec<Synonym>) -> Self {
        Self { read_only: key.scope == Scope::ReadOnly, ..Self::new(key, value, synonyms) }
    }

    /// A key without effect that somebody set on a broker. Of one that Kafka does not know nobody can say whether it
    /// is a secret, so that, as there, it is one.
    fn without_effect(name: &str, value: Option<String>, synonyms: Vec<Synonym>) -> Self {
        let known = kafka_keys::find(name);
        let is_secret = known.is_none_or(KafkaKey::is_secret);
        let shown = |synonym: Synonym| Synonym { value: synonym.value.filter(|_| !is_secret), ..synonym };
        Self {
            name: Str::from(name),
            type_code: known.map_or(0, |key| key.type_code),
            doc: without_effect::reason(name),
            value: value.filter(|_| !is_secret),
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            synonyms: synonyms.into_iter().map(shown).collect(),
            read_only: !without_effect::is_dynamic(name),
            is_secret,
        }
    }
}

/// The layers that have a value for a broker's key.
fn synonyms(layers: &Layers<'_>, name: &str) -> Vec<Synonym> {
    let found = layers.synonyms(name).into_iter();
    found.map(|(name, value, layer)| Synonym { name, value: Some(value), source: layer.into() }).collect()
}

/// Every key of a topic with `set` on it.
pub(super) fn of_topic<I: Io>(broker: &Broker<I>, image: &MetadataImage, set: &Set) -> Vec<Entry> {
    of_keys(&broker.layers(image), topic_keys::KEYS, set, Source::Topic)
}

/// Every key that a group may have for itself.
pub(super) fn of_group<I: Io>(broker: &Broker<I>, image: &MetadataImage, name: &str) -> Vec<Entry> {
    let set = image.configs.get(&ConfigResource::group(name)).cloned().unwrap_or_default();
    of_keys(&broker.layers(image), group_keys::OWN, &set, Source::Group)
}

/// Keys with `set` as the strongest layer.
fn of_keys(layers: &Layers<'_>, keys: &'static [Key], set: &Set, own_source: Source) -> Vec<Entry> {
    let told = |key: &'static Key| {
        let own = set.get(key.name).map(|value| Synonym {
            name: key.name.to_owned(),
            value: Some(value.to_string()),
            source: own_source,
        });
        let behind = key.synonym.map(|name| synonyms(layers, name)).unwrap_or_default();
        let of_broker = || key.synonym.and_then(|name| layers.combined(name));
        let value = own.as_ref().and_then(|own| own.value.clone()).or_else(of_broker);
        let value = value.or_else(|| key.default.map(ToOwned::to_owned));
        Entry::new(key, value, own.into_iter().chain(behind).collect())
    };
    keys.iter().map(told).collect()
}

/// Every key of this broker, and those without effect that somebody set.
pub(super) fn of_broker<I: Io>(broker: &Broker<I>, image: &MetadataImage) -> Vec<Entry> {
    let layers = broker.layers(image);
    let text = |name: &str| layers.text(name).map(ToOwned::to_owned);
    let told = |key: &'static Key| Entry::of_broker(key, text(key.name), synonyms(&layers, key.name));
    let other = |name: &str| Entry::without_effect(name, text(name), synonyms(&layers, name));
    broker_keys::all().map(told).chain(layers.others().into_iter().map(other)).collect()
}

/// What is set for all brokers; nothing else is told of them.
pub(super) fn of_all_brokers(image: &MetadataImage) -> Vec<Entry> {
    let set = image.configs.get(&ConfigResource::broker(""));
    let told = |(name, value): (&Arc<str>, &Arc<str>)| {
        let (name, value) = (name.to_string(), Some(value.to_string()));
        let source = Source::DynamicDefaultBroker;
        let synonyms = vec![Synonym { name: name.clone(), value: value.clone(), source }];
        match broker_keys::find(&name) {
            Some(key) => Entry::of_broker(key, value, synonyms),
            None => Entry::without_effect(&name, value, synonyms),
        }
    };
    set.into_iter().flat_map(|set| set.iter()).map(told).collect()
}

/// Refuses a checked value of a key that would promise larger batches than storage takes.
pub(super) fn check_batch_bytes(name: &str, value: &str, batch_bytes_max: usize) -> Result<(), String> {
    let is_bound = matches!(name, "max.message.bytes" | "message.max.bytes");
    if is_bound && value.parse::<usize>().is_ok_and(|bytes| bytes > batch_bytes_max) {
        return Err(format!(
            "{name} is {batch_bytes_max} at most: a batch must fit into a file of the journal. A start with a larger \
             ringmain.journal.file.bytes, or with message.max.bytes={value}, allows more"
        ));
    }
    Ok(())
}

/// Checks what a client wants to set on a topic and gives it back in one spelling, or the first reason why not.
pub(super) fn check_topic<'a>(
    settings: &Settings,
    wanted: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<(String, String)>, String> {
    let mut checked: Vec<(String, String)> = Vec::new();
    for (name, value) in wanted {
        let value = value.ok_or_else(|| format!("Null value not supported for topic config {name}"))?;
        let value = topic_keys::check(name, value)?;
        check_batch_bytes(name, &value, settings.batch_bytes_max)?;
        checked.push((name.to_owned(), value));
    }
    let together = checked.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    topic_keys::check_together(&together.collect())?;
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_key_stands_on_a_broker_key() {
        for key in topic_keys::KEYS {
            if let Some(synonym) = key.synonym {
                assert!(broker_keys::find(synonym).is_some(), "{} says {synonym}", key.name);
            }
        }
    }
}
