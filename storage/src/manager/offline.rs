//! Logs that are there and cannot be used until somebody mends what is wrong with them and starts again. Their files stay
//! as they are.

use std::path::PathBuf;
use std::sync::Arc;

use super::LogManager;
use crate::error::StoreError;
use crate::io::Io;
use crate::partition_folder as folder;
use crate::types::PartitionKey;

/// A log that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfflineLog {
    /// What is wrong, where, and what to do about it.
    pub reason: Arc<str>,
    /// Its folder, if that is its own beyond doubt.
    pub directory: Option<PathBuf>,
}

impl<I: Io> LogManager<I> {
    /// Logs that cannot be used, in order.
    pub fn offline_logs(&self) -> Vec<(PartitionKey, OfflineLog)> {
        self.offline.borrow().iter().map(|(key, log)| (*key, log.clone())).collect()
    }

    /// Whether the log is here, be it that it cannot be used.
    pub fn has(&self, key: PartitionKey) -> bool {
        self.log(key).is_some() || self.offline.borrow().contains_key(&key)
    }

    /// Takes a log offline, unless it is; whoever wants it hears why.
    pub(super) fn take_offline(
        &self,
        key: PartitionKey,
        reason: &str,
        directory: Option<PathBuf>,
    ) -> StoreError {
        let mut offline = self.offline.borrow_mut();
        let log = offline.entry(key).or_insert_with(|| {
            self.shared.config.counters.logs_offline.add(1);
            OfflineLog { reason: reason.into(), directory }
        });
        StoreError::Offline { reason: Arc::clone(&log.reason) }
    }

    /// Removes what is its own beyond doubt of a log that cannot be used. What journals have of it nobody asks for once
    /// the metadata do not know the topic.
    pub(super) async fn delete_offline(&self, key: PartitionKey, log: OfflineLog) -> Result<(), StoreError> {
        let Some(directory) = log.directory else { return Ok(()) };
        let io = &self.shared.io;
        let log_dir = &self.shared.config.log_dir;
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let topic = folder::parse_name(name).map_or("", |(topic, _)| topic);
        let gone = log_dir.join(folder::deleted_name(topic, key.partition, key.topic_id));
        io.rename(&directory, &gone).await?;
        io.sync_directory(log_dir).await?;
        io.remove_directory(&gone).await?;
        Ok(io.sync_directory(log_dir).await?)
    }

    /// An error if the log is offline.
    pub(super) fn check_online(&self, key: PartitionKey) -> Result<(), StoreError> {
        self.offline
            .borrow()
            .get(&key)
            .map_or(Ok(()), |log| Err(StoreError::Offline { reason: Arc::clone(&log.reason) }))
    }
}
