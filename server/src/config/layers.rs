//! The broker's keys in layers, strongest first: set on this broker while it runs, set for all brokers, set when it was
//! started, the default (Kafka's `DynamicBrokerConfig`). Pure; what is set at run time comes from the metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::table::Scope;
use super::{broker_keys, kafka_keys};

/// What is set on a resource at run time.
pub type Set = BTreeMap<Arc<str>, Arc<str>>;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// Set on this broker while it runs.
    Own,
    /// Set for all brokers.
    All,
    /// Set when the broker was started.
    Start,
    /// Nobody set it.
    Default,
}

/// The layers of one broker.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Set on this broker.
    pub own: Option<&'a Set>,
    /// Set for all brokers.
    pub all: Option<&'a Set>,
    /// Set at the start.
    pub at_start: &'a BTreeMap<String, String>,
}

/// A key that several keys stand for, in falling precedence, with what one unit of each is in units of the first.
const TIMES: [&[(&str, i64)]; 3] = [
    &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
    &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)],
    &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)],
];

/// The keys that mean the same as `name`, itself among them, in falling precedence.
fn group(name: &str) -> Option<&'static [(&'static str, i64)]> {
    TIMES.into_iter().find(|group| group.iter().any(|(other, _)| *other == name))
}

impl<'a> Layers<'a> {
    /// Every layer that has a value for `name` or a key that means the same: that key's name, the value, the layer. Those
    /// in front of the first that is called `name` are left out, as Kafka does.
    pub fn synonyms(&self, name: &str) -> Vec<(String, String, Layer)> {
        let names: Vec<&str> = match group(name) {
            Some(group) => group.iter().map(|(other, _)| *other).collect(),
            None => vec![name],
        };
        let mut found = Vec::new();
        for layer in [Layer::Own, Layer::All, Layer::Start, Layer::Default] {
            let values = names.iter().filter_map(|name| Some((*name, self.at(layer, name)?)));
            found.extend(values.map(|(name, value)| (name.to_owned(), value.to_owned(), layer)));
        }
        found.into_iter().skip_while(|(found, _, _)| found != name).collect()
    }

    /// The value that holds for `name` alone; `None` if there is none and no default.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        [Layer::Own, Layer::All, Layer::Start, Layer::Default]
            .into_iter()
            .find_map(|layer| self.at(layer, name))
    }

    /// The value that `name` comes to with the keys that mean the same.
    pub fn combined(&self, name: &str) -> Option<String> {
        let Some(group) = group(name) else { return self.text(name).map(ToOwned::to_owned) };
        group.iter().find_map(|(other, unit)| {
            let value: i64 = self.text(other)?.parse().ok()?;
            Some(if value < 0 { -1 } else { value.saturating_mul(*unit) }.to_string())
        })
    }

    /// A number that holds.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The value of one layer. A key that only a start sets is not looked up in what is set at run time.
    fn at(&self, layer: Layer, name: &str) -> Option<&'a str> {
        let set = |set: Option<&'a Set>| set.and_then(|set| set.get(name)).map(|value| &**value);
        match layer {
            Layer::Own if is_dynamic(name) => set(self.own),
            Layer::All if is_dynamic(name) => set(self.all),
            Layer::Own | Layer::All => None,
            Layer::Start => self.at_start.get(name).map(String::as_str),
            Layer::Default => match broker_keys::find(name) {
                Some(key) => key.default,
                None => kafka_keys::find(name).and_then(|key| key.default),
            },
        }
    }

    /// Names of keys that somebody set and that are not in the table: they have no effect here.
    pub fn others(&self) -> BTreeSet<&'a str> {
        let at_run_time = [self.own, self.all].into_iter().flatten().flat_map(|set| set.keys());
        let names = at_run_time.map(|name| &**name).chain(self.at_start.keys().map(String::as_str));
        names.filter(|name| broker_keys::find(name).is_none()).collect()
    }
}

/// Whether what is set at run time counts. Of keys that are not in the table all does: changes are checked as they come.
fn is_dynamic(name: &str) -> bool {
    broker_keys::find(name).is_none_or(|key| key.scope == Scope::Dynamic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Set {
        pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect()
    }

    #[test]
    fn the_strongest_layer_holds_and_the_rest_are_its_synonyms() {
        let (own, all) = (set(&[("log.retention.ms", "5")]), set(&[("log.retention.ms", "6")]));
        let at_start = BTreeMap::from([("log.retention.hours".to_owned(), "1".to_owned())]);
        let layers = |own, all| Layers { own, all, at_start: &at_start };
        let told = |layers: Layers<'_>| {
            let synonyms = layers.synonyms("log.retention.ms").into_iter();
            let synonyms: Vec<_> =
                synonyms.map(|(name, value, layer)| format!("{name}={value} {layer:?}")).collect();
            (layers.combined("log.retention.ms").unwrap(), synonyms.join(", "))
        };
        let (value, synonyms) = told(layers(Some(&own), Some(&all)));
        assert_eq!(value, "5");
        assert_eq!(
            synonyms,
            "log.retention.ms=5 Own, log.retention.ms=6 All, log.retention.hours=1 Start, log.retention.hours=168 Default"
        );
        assert_eq!(told(layers(None, None)), ("3600000".to_owned(), String::new()), "as Kafka tells it");
        assert_eq!(told(layers(None, Some(&all))).0, "6");
    }

    #[test]
    fn keys_without_effect_are_kept_with_kafkas_defaults() {
        let own = set(&[("some.plugin.key", "x"), ("log.retention.ms", "5")]);
        let at_start = BTreeMap::from([("num.io.threads".to_owned(), "5".to_owned())]);
        let layers = Layers { own: Some(&own), all: None, at_start: &at_start };
        assert_eq!(layers.others().into_iter().collect::<Vec<_>>(), ["num.io.threads", "some.plugin.key"]);
        let told: Vec<_> = layers.synonyms("num.io.threads").into_iter().map(|(_, value, _)| value).collect();
        assert_eq!(told, ["5", "8"]);
        assert_eq!(layers.text("some.plugin.key"), Some("x"));
    }

    #[test]
    fn what_only_a_start_sets_is_not_changed_at_run_time() {
        let (own, at_start) = (set(&[("node.id", "9")]), BTreeMap::new());
        let layers = Layers { own: Some(&own), all: None, at_start: &at_start };
        assert_eq!(layers.integer("node.id"), Some(1));
    }
}
