//! What a coordinator may ask about the rest of the cluster: topics, and what is configured for a group.

use std::sync::Arc;

use ringmain_storage::types::TopicId;

use crate::metadata::image::{ConfigResource, MetadataImage};

/// A topic, as far as groups have to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The cluster at one moment.
pub trait Cluster {
    /// Another number whenever anything may be different.
    fn version(&self) -> i64;
    /// A topic by its name.
    fn topic(&self, name: &str) -> Option<TopicFacts>;
    /// A topic by its id.
    fn topic_by_id(&self, id: TopicId) -> Option<TopicFacts>;
    /// The names of all topics.
    fn topic_names(&self) -> Box<dyn Iterator<Item = &Arc<str>> + '_>;
    /// What is configured for a group under a key, if anything is.
    fn group_config(&self, group_id: &str, key: &str) -> Option<Arc<str>>;
}

impl Cluster for MetadataImage {
    fn version(&self) -> i64 {
        self.end_offset
    }

    fn topic(&self, name: &str) -> Option<TopicFacts> {
        self.topic_by_name(name).map(|topic| facts(topic))
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicFacts> {
        self.topic_by_id(id).map(|topic| facts(topic))
    }

    fn topic_names(&self) -> Box<dyn Iterator<Item = &Arc<str>> + '_> {
        Box::new(self.topics().map(|topic| &topic.name))
    }

    fn group_config(&self, group_id: &str, key: &str) -> Option<Arc<str>> {
        self.configs.get(&ConfigResource::group(group_id))?.get(key).cloned()
    }
}

fn facts(topic: &crate::metadata::image::TopicImage) -> TopicFacts {
    TopicFacts {
        id: topic.id,
        name: Arc::clone(&topic.name),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
    }
}
