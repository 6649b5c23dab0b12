//! All shards of one log directory on one executor, as one store: the explorer also changes their number from one
//! start to the next.

use std::path::Path;
use std::rc::Rc;

use futures::future::try_join_all;
use ringmain_storage::config::{LogConfig, StoreConfig};
use ringmain_storage::error::StoreError;
use ringmain_storage::io::sim::SimIo;
use ringmain_storage::journal::directories::survey;
use ringmain_storage::log::Log;
use ringmain_storage::manager::opening::finish_open;
use ringmain_storage::manager::stopping::finish_stop;
use ringmain_storage::manager::{LogManager, RecoveryReport};
use ringmain_storage::types::{PartitionKey, ShardSlot};

/// The managers of all shards, by index.
pub(crate) struct Shards {
    io: SimIo,
    managers: Vec<Rc<LogManager<SimIo>>>,
}

impl Shards {
    /// Opens all of them side by side, as shards do.
    pub(crate) async fn open(
        io: SimIo,
        config: StoreConfig,
        count: u32,
    ) -> Result<(Rc<Self>, RecoveryReport), String> {
        let survey = survey(&io, &config.log_dir).await.map_err(|error| format!("survey: {error}"))?;
        let opening = (0..count).map(|index| {
            let config = StoreConfig { slot: ShardSlot { index, count }, ..config.clone() };
            LogManager::open_shard(io.clone(), config, &survey)
        });
        let opened = try_join_all(opening).await.map_err(|error| format!("open: {error}"))?;
        finish_open(&io, &config.log_dir, &survey).await.map_err(|error| format!("settle: {error}"))?;
        let report = opened.first().map(|(_, report)| *report).unwrap_or_default();
        let managers = opened.into_iter().map(|(manager, _)| manager).collect();
        Ok((Rc::new(Self { io, managers }), report))
    }

    fn of(&self, key: PartitionKey) -> &LogManager<SimIo> {
        let count = u32::try_from(self.managers.len()).unwrap();
        &self.managers[usize::try_from(ShardSlot::owner(key, count)).unwrap()]
    }

    /// The log of a partition, on the shard that owns it.
    pub(crate) fn log(&self, key: PartitionKey) -> Option<Rc<Log<SimIo>>> {
        self.of(key).log(key)
    }

    /// Partitions of all shards.
    pub(crate) fn keys(&self) -> Vec<PartitionKey> {
        self.managers.iter().flat_map(|manager| manager.keys()).collect()
    }

    /// Makes a log on the shard that owns the partition.
    pub(crate) async fn create_log(
        &self,
        key: PartitionKey,
        topic: &str,
        config: LogConfig,
    ) -> Result<Rc<Log<SimIo>>, StoreError> {
        self.of(key).create_log(key, topic, config).await
    }

    /// Deletes a log on the shard that owns the partition.
    pub(crate) async fn delete_log(&self, key: PartitionKey) -> Result<(), StoreError> {
        self.of(key).delete_log(key).await
    }

    /// The clean stop of all.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let stopped = try_join_all(self.managers.iter().map(|manager| manager.stop())).await?;
        Ok(finish_stop(&self.io, Path::new("/data"), &stopped).await?)
    }
}
