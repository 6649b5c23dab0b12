//! Settings that change while the broker runs: what stands in the metadata for this broker and for all of them, laid
//! over what was set at the start. Each shard has its own and is told of changes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::config::layers::Layers;
use crate::metadata::image::{ConfigResource, MetadataImage};
use crate::partition::TopicSettings;

/// What holds now.
#[derive(Debug)]
pub(super) struct LiveSettings {
    topic_defaults: RefCell<TopicSettings>,
}

/// The layers of broker `node_id` as an image has them.
pub(super) fn layers<'a>(
    image: &'a MetadataImage,
    node_id: i32,
    at_start: &'a BTreeMap<String, String>,
) -> Layers<'a> {
    let set = |name: &str| image.configs.get(&ConfigResource::broker(name)).map(|set| &**set);
    Layers { own: set(&node_id.to_string()), all: set(""), at_start }
}

/// Whether a change of `resource` is one of broker `node_id`.
pub(super) fn concerns(resource: &ConfigResource, node_id: i32) -> bool {
    resource.kind == ConfigResource::BROKER
        && (resource.name.is_empty() || resource.name.parse() == Ok(node_id))
}

impl LiveSettings {
    /// What holds at first.
    pub(super) fn new(layers: &Layers<'_>) -> Self {
        Self { topic_defaults: RefCell::new(TopicSettings::of_broker(layers)) }
    }

    /// Takes over what holds now. True if topics have other defaults than before.
    pub(super) fn refresh(&self, layers: &Layers<'_>) -> bool {
        let now = TopicSettings::of_broker(layers);
        let before = self.topic_defaults.replace(now.clone());
        before != now
    }

    /// What a topic is set to.
    pub(super) fn of_topic(&self, image: &MetadataImage, name: &str) -> TopicSettings {
        let defaults = self.topic_defaults.borrow();
        image.topic_config(name).map_or_else(|| defaults.clone(), |set| defaults.with(set))
    }
}
