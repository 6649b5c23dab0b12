//! Logs of topics that the metadata do not know: deleted while the broker, or their directory, was away. As Kafka does, a
//! start renames their folders to `<topic>-<partition>.<unique id>-stray`, which nobody opens again, and removes nothing:
//! it is for the operator to look at them. Their names are free for new topics.
//!
//! Only metadata that were read say so. A broker without a single topic may have lost them: then all is left alone until
//! a new topic needs the name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{LogManager, folders};
use crate::error::StoreError;
use crate::io::{Io, IoError};
use crate::log::Log;
use crate::partition_folder as folder;
use crate::types::{PartitionKey, TopicId};

impl<I: Io> LogManager<I> {
    /// Sets every stray log aside, once all logs are open and the journal runs.
    pub(super) async fn set_strays_aside(&self) {
        let Some(topics) = self.shared.config.topic_ids.as_ref().filter(|topics| !topics.is_empty()) else {
            return;
        };
        let topics: BTreeSet<TopicId> = topics.values().copied().collect();
        let logs: Vec<_> = self.logs.borrow().values().map(Rc::clone).collect();
        for log in logs.into_iter().filter(|log| !topics.contains(&log.key().topic_id)) {
            if let Err(error) = self.set_log_aside(&log).await {
                tracing::warn!("{} is of no topic there is, and stays: {error}", log.directory.display());
            }
        }
    }

    /// Sets a log aside as a clean stop would leave it, with all that only the journal had. The journal is not told that
    /// it is gone: somebody may move it back.
    async fn set_log_aside(&self, log: &Log<I>) -> Result<(), StoreError> {
        log.closed.set(true);
        self.close_log(log).await?;
        {
            let _writer = log.writer.lock().await;
            log.deleted.set(true);
        }
        self.rename_stray(&log.directory, (log.topic(), log.key())).await?;
        self.logs.borrow_mut().remove(&log.key());
        Ok(())
    }

    /// Before a log is made: sets aside what a topic of the same name left in its folder. Only for a topic that is newer
    /// than the start; else it may be the folder that says the wrong thing.
    pub(super) async fn make_way_for(&self, (topic, key): (&str, PartitionKey)) -> Result<(), StoreError> {
        let config = &self.shared.config;
        let Some(topics) = &config.topic_ids else { return Ok(()) };
        let is_known = |id: TopicId| topics.values().any(|known| *known == id);
        let directory = config.log_dir.join(folder::name(topic, key.partition));
        let Some(topic_id) = folders::topic_id_of(&self.shared.io, &directory).await else { return Ok(()) };
        let former = PartitionKey { topic_id, ..key };
        if former == key || is_known(key.topic_id) {
            return Ok(());
        }
        match self.log(former) {
            Some(log) if !is_known(topic_id) => self.set_log_aside(&log).await,
            None if !self.has(former) => Ok(self.rename_stray(&directory, (topic, former)).await?),
            _ => Ok(()),
        }
    }

    async fn rename_stray(
        &self,
        directory: &Path,
        (topic, key): (&str, PartitionKey),
    ) -> Result<(), IoError> {
        let log_dir = &self.shared.config.log_dir;
        let stray: PathBuf = log_dir.join(folder::stray_name(topic, key.partition, key.topic_id));
        self.shared.io.rename(directory, &stray).await?;
        self.shared.io.sync_directory(log_dir).await?;
        let id = folder::id_text(key.topic_id);
        tracing::warn!(
            "{} is of topic id {id}, which the metadata do not know: it is kept as {}; remove it if nobody needs it",
            directory.display(),
            stray.display()
        );
        Ok(())
    }
}
