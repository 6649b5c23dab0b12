//! Whose a folder of a log directory is: what it says itself, against what the metadata say of its name. A folder that
//! says nothing is taken by the topic of its name, as long as nobody else could be meant.

use std::path::Path;

use crate::config::StoreConfig;
use crate::io::Io;
use crate::partition_folder as folder;
use crate::types::{PartitionIndex, PartitionKey, TopicId};

/// The controller's log has no journal and is not ours.
pub(crate) const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// A longer `partition.metadata` is none.
const METADATA_BYTES_MAX: usize = 4096;

/// What a folder is to this store.
pub(super) enum Owner {
    /// It holds this log. Some wrote `partition.metadata`, unless it has to be written.
    Log {
        /// The log.
        key: PartitionKey,
        /// Whether the folder did not say so itself.
        is_adopted: bool,
    },
    /// It held this log, which is deleted.
    Deleted(PartitionKey),
    /// By its name it ought to hold this log, and does not seem to: why.
    Doubtful(PartitionKey, String),
    /// It concerns no log.
    Nobody,
}

/// Looks whose the folders `names` are.
pub(super) async fn owners_of<I: Io>(io: &I, config: &StoreConfig, names: &[String]) -> Vec<Owner> {
    let metadata_of = |name: &String| config.log_dir.join(name).join(folder::METADATA_FILE);
    let partitions = names.iter().filter(|name| partition_of(name).is_some());
    let files = partitions.map(|name| (metadata_of(name), METADATA_BYTES_MAX)).collect();
    let mut texts = io.read_files(files).await.into_iter();
    let mut owners = Vec::with_capacity(names.len());
    for name in names {
        owners.push(match partition_of(name) {
            Some(partition) => {
                let told = texts.next().and_then(|text| folder::read_metadata(&text.ok()?));
                owner_of(io, config, (name, partition, told)).await
            }
            None => Owner::Nobody,
        });
    }
    owners
}

/// Topic and partition of a folder's name, if it may be one of ours.
fn partition_of(name: &str) -> Option<(&str, PartitionIndex)> {
    folder::parse_name(name).filter(|_| name != METADATA_FOLDER)
}

/// Whose the folder `name` is, which says that it belongs to the topic `told`.
async fn owner_of<I: Io>(
    io: &I,
    config: &StoreConfig,
    (name, (topic, partition), told): (&str, (&str, PartitionIndex), Option<TopicId>),
) -> Owner {
    let metadata = config.log_dir.join(name).join(folder::METADATA_FILE);
    let key = |topic_id| PartitionKey { topic_id, partition };
    if name.ends_with(folder::DELETED_SUFFIX) {
        return told.map_or(Owner::Nobody, |id| Owner::Deleted(key(id)));
    }
    let known = config.topic_ids.as_ref().and_then(|ids| ids.get(topic)).copied();
    match (told, known) {
        (Some(told), Some(known)) if told != known => {
            let exists = config.topic_ids.iter().any(|ids| ids.values().any(|id| *id == told));
            if !exists && is_held_elsewhere(io, config, (name, known)).await {
                // What is left of a topic that was made anew while this directory was away.
                return Owner::Log { key: key(told), is_adopted: false };
            }
            let told = format!("{} says that it belongs to another topic id", metadata.display());
            if let Some(claim) = other_claim(io, config, name).await {
                tracing::warn!("{told}, and {claim}: it is left alone");
                return Owner::Nobody;
            }
            Owner::Doubtful(
                key(known),
                format!("{told}; mend that file if it is wrong, or move its folder away"),
            )
        }
        (Some(told), _) => Owner::Log { key: key(told), is_adopted: false },
        (None, Some(known)) => match other_claim(io, config, name).await {
            Some(claim) => Owner::Doubtful(
                key(known),
                format!("{} is missing or damaged, and {claim}; restore it", metadata.display()),
            ),
            None => Owner::Log { key: key(known), is_adopted: true },
        },
        (None, None) => {
            tracing::warn!("{} cannot be read; its folder is left alone", metadata.display());
            Owner::Nobody
        }
    }
}

/// The topic id that a folder says it belongs to.
pub(super) async fn topic_id_of<I: Io>(io: &I, directory: &Path) -> Option<TopicId> {
    let text = io.read_file(&directory.join(folder::METADATA_FILE), METADATA_BYTES_MAX).await;
    text.as_deref().ok().and_then(folder::read_metadata)
}

/// Whether a folder of this name in another log directory says that it belongs to this topic.
async fn is_held_elsewhere<I: Io>(io: &I, config: &StoreConfig, (name, topic_id): (&str, TopicId)) -> bool {
    for other in &config.other_log_dirs {
        if topic_id_of(io, &other.join(name)).await == Some(topic_id) {
            return true;
        }
    }
    false
}

/// Why a folder of this name in another log directory could be the one that is meant.
async fn other_claim<I: Io>(io: &I, config: &StoreConfig, name: &str) -> Option<String> {
    for other in &config.other_log_dirs {
        match io.list_directory(other).await {
            Ok(names) if names.iter().any(|other| other == name) => {
                return Some(format!("{} exists, too", other.join(name).display()));
            }
            Ok(_) => {}
            Err(error) => return Some(format!("{} cannot be looked into ({error})", other.display())),
        }
    }
    None
}

/// What keeps a new log of `topic` from being made in its folder: that files stand there already, or that it is another
/// log's. Nothing is ever written over files that no log knows of.
pub(super) async fn obstacle<I: Io>(
    io: &I,
    config: &StoreConfig,
    (topic, key): (&str, PartitionKey),
) -> Option<String> {
    let directory = config.log_dir.join(folder::name(topic, key.partition));
    let names = match io.list_directory(&directory).await {
        Ok(names) => names,
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(error.to_string()),
    };
    if topic_id_of(io, &directory).await.is_some_and(|told| told != key.topic_id) {
        return Some(format!("{} belongs to another topic id; move it away", directory.display()));
    }
    let own = |name: &String| name.starts_with(folder::METADATA_FILE);
    let foreign = names.iter().find(|name| !own(name))?;
    let way_out = "restore its partition.metadata and start again, or move it away";
    Some(format!("{} has {foreign} already, which no log knows of; {way_out}", directory.display()))
}
