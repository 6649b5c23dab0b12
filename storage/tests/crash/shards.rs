//! All shards of all log directories on one executor, as one store: the explorer also changes the shards' number from one
//! start to the next.

use std::path::PathBuf;
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

/// The managers of one log directory's shards, by index.
struct Directory {
    path: PathBuf,
    managers: Vec<Rc<LogManager<SimIo>>>,
}

/// The managers of all.
pub(crate) struct Shards {
    io: SimIo,
    directories: Vec<Directory>,
}

/// Log directories, by number.
pub(crate) fn log_dir(number: usize) -> PathBuf {
    PathBuf::from(if number == 0 { "/data".to_owned() } else { format!("/data-{number}") })
}

impl Directory {
    /// Opens all shards side by side, as they do themselves.
    async fn open(
        io: &SimIo,
        config: StoreConfig,
        count: u32,
    ) -> Result<(Self, Vec<RecoveryReport>), String> {
        let mut survey = survey(io, &config.log_dir).await.map_err(|error| format!("survey: {error}"))?;
        let opening = (0..count).map(|index| {
            let config = StoreConfig { slot: ShardSlot { index, count }, ..config.clone() };
            LogManager::open_shard(io.clone(), config, &survey)
        });
        let opened = try_join_all(opening).await.map_err(|error| format!("open: {error}"))?;
        survey.keeps_journals = opened.iter().any(|(_, report)| report.keeps_journals());
        finish_open(io, &config.log_dir, &survey).await.map_err(|error| format!("settle: {error}"))?;
        let (managers, reports) = opened.into_iter().unzip();
        Ok((Self { path: config.log_dir, managers }, reports))
    }
}

impl Shards {
    /// Opens `shard_count` shards of `directory_count` directories; the report is the first one's.
    pub(crate) async fn open(
        io: SimIo,
        config: StoreConfig,
        (directory_count, shard_count): (usize, u32),
    ) -> Result<(Rc<Self>, RecoveryReport), String> {
        let opening = (0..directory_count).map(|number| {
            let config = StoreConfig { log_dir: log_dir(number), ..config.clone() };
            Directory::open(&io, config, shard_count)
        });
        let opened = try_join_all(opening).await?;
        let report = opened.first().and_then(|(_, reports)| reports.first().copied()).unwrap_or_default();
        let directories = opened.into_iter().map(|(directory, _)| directory).collect();
        Ok((Rc::new(Self { io, directories }), report))
    }

    fn of(&self, key: PartitionKey) -> &LogManager<SimIo> {
        let directory = &self.directories[usize::from(key.topic_id.0[0]) % self.directories.len()];
        let count = u32::try_from(directory.managers.len()).unwrap();
        &directory.managers[usize::try_from(ShardSlot::owner(key, count)).unwrap()]
    }

    /// The log of a partition, on the shard that owns it.
    pub(crate) fn log(&self, key: PartitionKey) -> Option<Rc<Log<SimIo>>> {
        self.of(key).log(key)
    }

    /// Partitions of all shards.
    pub(crate) fn keys(&self) -> Vec<PartitionKey> {
        let managers = self.directories.iter().flat_map(|directory| &directory.managers);
        managers.flat_map(|manager| manager.keys()).collect()
    }

    /// Why partitions cannot be used: after a power cut none is damaged.
    pub(crate) fn offline(&self) -> Vec<String> {
        let managers = self.directories.iter().flat_map(|directory| &directory.managers);
        let offline = managers.flat_map(|manager| manager.offline_logs());
        offline.map(|(key, log)| format!("{key:?} is offline: {}", log.reason)).collect()
    }

    /// Why one of the stores is offline as a whole, if one is.
    pub(crate) fn failure(&self) -> Option<String> {
        let mut managers = self.directories.iter().flat_map(|directory| &directory.managers);
        managers.find_map(|manager| manager.failure()).map(|failed| failed.to_string())
    }

    /// Whether a partition is there and cannot be used.
    pub(crate) fn is_offline(&self, key: PartitionKey) -> bool {
        let manager = self.of(key);
        manager.has(key) && manager.log(key).is_none()
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
        let closing = self.directories.iter().map(async |directory| {
            let stopped = try_join_all(directory.managers.iter().map(|manager| manager.stop())).await?;
            Ok::<_, StoreError>(finish_stop(&self.io, &directory.path, &stopped).await?)
        });
        try_join_all(closing).await.map(drop)
    }
}
