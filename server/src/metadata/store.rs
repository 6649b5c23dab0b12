//! Where the newest image is found, from any thread, without a lock.

use super::image::MetadataImage;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// Holds the newest published [`MetadataImage`]. Published after the shards have acted on it: whoever sees
/// a topic here finds its logs.
#[derive(Debug)]
pub struct MetadataStore {
    image: ArcSwap<MetadataImage>,
}

impl MetadataStore {
    /// A store that starts with `image`.
    pub fn new(image: Arc<MetadataImage>) -> Self {
        Self { image: ArcSwap::new(image) }
    }

    /// The newest image, for a look-up that ends at once. Not to be held over an await.
    pub fn load(&self) -> Guard<Arc<MetadataImage>> {
        self.image.load()
    }

    /// The newest image, to keep.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Publishes a newer image. Only the control plane does.
    pub fn publish(&self, image: Arc<MetadataImage>) {
        self.image.store(image);
    }
}
