//! One shard's logs over all log directories: a log stands in one of them, chosen when it is made. A directory
//! whose disk failed is offline by itself; the others go on.

use std::rc::Rc;

use ringmain_storage::config::LogConfig;
use ringmain_storage::error::StoreError;
use ringmain_storage::io::Io;
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::manager::offline::OfflineLog;
use ringmain_storage::manager::stopping::StoppedLogs;
use ringmain_storage::types::PartitionKey;

/// The stores of one shard, one a log directory, in the order of the configuration. Lives on its thread.
#[derive(Debug)]
pub struct Stores<I: Io> {
    managers: Vec<Rc<LogManager<I>>>,
}

impl<I: Io> Stores<I> {
    /// Of opened stores, at least one.
    pub fn new(managers: Vec<Rc<LogManager<I>>>) -> Self {
        assert!(!managers.is_empty(), "a broker has a log directory");
        Self { managers }
    }

    /// The log, made where the fewest are if no directory has it; durable on return.
    pub async fn create_log(
        &self,
        key: PartitionKey,
        topic: &str,
        config: LogConfig,
    ) -> Result<Rc<Log<I>>, StoreError> {
        if let Some(log) = self.managers.iter().find_map(|manager| manager.log(key)) {
            log.set_config(config);
            return Ok(log);
        }
        if let Some((_, log)) = self.offline_logs().find(|(offline, _)| *offline == key) {
            return Err(StoreError::Offline { reason: log.reason });
        }
        let online = self.managers.iter().filter(|manager| manager.failure().is_none());
        let emptiest = online.min_by_key(|manager| manager.log_count()).unwrap_or(&self.managers[0]);
        emptiest.create_log(key, topic, config).await
    }

    /// Whether one of them has the log.
    pub fn has_log(&self, key: PartitionKey) -> bool {
        self.managers.iter().any(|manager| manager.log(key).is_some())
    }

    fn offline_logs(&self) -> impl Iterator<Item = (PartitionKey, OfflineLog)> {
        self.managers.iter().flat_map(|manager| manager.offline_logs())
    }

    /// Removes the log, wherever it stands; durable on return.
    pub async fn delete_log(&self, key: PartitionKey) -> Result<(), StoreError> {
        let holds = |manager: &&Rc<LogManager<I>>| manager.log(key).is_some();
        let has = |manager: &&Rc<LogManager<I>>| manager.has(key);
        let holder = self.managers.iter().find(holds).or_else(|| self.managers.iter().find(has));
        holder.ok_or(StoreError::UnknownLog(key))?.delete_log(key).await
    }

    /// Bytes of records that the stores could let go of if no answer held them.
    pub fn lingering_bytes(&self) -> usize {
        self.managers.iter().map(|manager| manager.lingering_bytes()).sum()
    }

    /// Stops every store, whatever becomes of the others; where each directory's logs ended.
    pub async fn stop(&self) -> Vec<Result<StoppedLogs, StoreError>> {
        futures::future::join_all(self.managers.iter().map(|manager| manager.stop())).await
    }
}
