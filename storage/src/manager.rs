//! The logs of one shard in one log directory: making and deleting them. Opening them stands in [`opening`],
//! the clean stop in [`stopping`]; what runs in the background in [`crate::background`].

pub(crate) mod folders;
pub mod offline;
mod open_logs;
pub mod opening;
pub mod reserve;
pub mod stopping;
mod strays;

pub use opening::RecoveryReport;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use futures::lock::Mutex;

use crate::checkpoint::{self, Checkpoint};
use crate::config::LogConfig;
use crate::error::{StorageFailed, StoreError};
use crate::io::{Io, IoError};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::replay::ReplayFrom;
use crate::log::Log;
use crate::log::known::Known;
use crate::partition_folder as folder;
use crate::shared::Shared;
use crate::space::is_no_space;
use crate::types::{LeaderEpoch, Offset, PartitionKey};

/// Kafka's mark of a clean stop.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// Kafka's checkpoint of where logs ended that were written out.
pub(crate) const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// Kafka's checkpoint of where logs start.
pub(crate) const LOG_START_FILE: &str = "log-start-offset-checkpoint";
/// Kafka's checkpoint of high watermarks.
pub(crate) const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// Logs worked on at a time when all are: keeps the disk busy without a descriptor each.
pub(crate) const LOGS_AT_A_TIME: usize = 8;

/// The store. Lives on its shard's thread. It has background tasks: [`close`](Self::close) it before the end.
pub struct LogManager<I: Io> {
    pub(crate) shared: Rc<Shared<I>>,
    pub(crate) logs: RefCell<BTreeMap<PartitionKey, Rc<Log<I>>>>,
    /// Logs that cannot be used.
    offline: RefCell<BTreeMap<PartitionKey, offline::OfflineLog>>,
    /// One log is made or deleted at a time: both touch the log directory's entries.
    changing: Mutex<()>,
    /// Held by whoever writes the journal's checkpoint.
    pub(crate) checkpointing: Mutex<()>,
    incarnations: Cell<u64>,
}

impl<I: Io> std::fmt::Debug for LogManager<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogManager").field("logs", &self.logs.borrow().len()).finish_non_exhaustive()
    }
}

impl<I: Io> LogManager<I> {
    /// Writes the journal's checkpoint as of now. With `after_recycle` it says that the oldest full journal file
    /// is no longer needed.
    pub(crate) async fn write_checkpoint(&self, after_recycle: bool) -> Result<(), StoreError> {
        let _one = self.checkpointing.lock().await;
        let shared = &self.shared;
        let from = ReplayFrom {
            epoch: shared.journal.epoch(),
            sequence: shared.journal.first_sequence(after_recycle),
        };
        let logs = self.logs.borrow().values().map(|log| log.checkpoint()).collect();
        let offline = self.offline.borrow().keys().copied().collect();
        let content = Checkpoint { from, logs, offline }.write();
        // What the logs know of producers includes batches in flight: they are durable before it is.
        shared.journal.barrier().await?;
        let path = shared.journal.directory().join(checkpoint::FILE_NAME);
        shared.io.replace_file(&path, content).await?;
        Ok(())
    }

    /// Makes the log, durable on return; an existing one is returned, with the new settings. Where files stand already,
    /// or the disk fails those of the log, none is made: it is offline from then on.
    pub async fn create_log(
        &self,
        key: PartitionKey,
        topic: &str,
        config: LogConfig,
    ) -> Result<Rc<Log<I>>, StoreError> {
        let _one = self.changing.lock().await;
        if let Some(log) = self.log(key) {
            log.set_config(config);
            return Ok(log);
        }
        let shared = &self.shared;
        shared.failure.check()?;
        if shared.stopping.get() {
            return Err(StoreError::Closed);
        }
        self.check_online(key)?;
        shared.journal.check_begun()?;
        self.make_way_for((topic, key)).await?;
        if let Some(reason) = folders::obstacle(&shared.io, &shared.config, (topic, key)).await {
            return Err(self.take_offline(key, &reason, None));
        }
        let directory = shared.config.log_dir.join(folder::name(topic, key.partition));
        match self.make_folder(&directory, key).await {
            Err(error) if !is_no_space(&error) => {
                let reason = format!("{error}; mend the disk, and start again");
                return Err(self.take_offline(key, &reason, Some(directory)));
            }
            made => made?,
        }
        let incarnation = (self.incarnations.get() + 1).max(shared.journal.epoch() << 20);
        self.incarnations.set(incarnation);
        shared
            .journal
            .write_through(life_descriptor(EntryKind::Create, key, incarnation), Bytes::new())
            .await?;
        let known = Known {
            key,
            topic: topic.to_owned(),
            directory,
            incarnation,
            checkpoint: None,
            entries: Vec::new(),
            clean: true,
            log_start_offset: Offset(0),
            is_start_told: false,
            clean_end: None,
            clean_high_watermark: None,
            is_journalled_whole: true,
            looked: None,
            last_index: None,
            ends: None,
        };
        let log = Log::new(shared, &known, config);
        self.logs.borrow_mut().insert(key, Rc::clone(&log));
        Ok(log)
    }

    async fn make_folder(&self, directory: &Path, key: PartitionKey) -> Result<(), IoError> {
        let io = &self.shared.io;
        io.create_directory(directory).await?;
        let metadata = directory.join(folder::METADATA_FILE);
        io.replace_file(&metadata, folder::write_metadata(key.topic_id).into_bytes()).await
    }

    /// The log of `key`, if this store has it.
    pub fn log(&self, key: PartitionKey) -> Option<Rc<Log<I>>> {
        self.logs.borrow().get(&key).map(Rc::clone)
    }

    /// Bytes of records that the tail cache has let go of and that slices given to readers keep in memory.
    pub fn lingering_bytes(&self) -> usize {
        self.shared.cache.lingering_bytes()
    }

    /// How many logs there are.
    pub fn log_count(&self) -> usize {
        self.logs.borrow().len()
    }

    /// Why the store is offline, if it is.
    pub fn failure(&self) -> Option<StorageFailed> {
        self.shared.failure.get()
    }

    /// All logs' keys, in order.
    pub fn keys(&self) -> Vec<PartitionKey> {
        self.logs.borrow().keys().copied().collect()
    }

    /// Removes a log; durable on return. Reads and appends of holders fail from the call on.
    pub async fn delete_log(&self, key: PartitionKey) -> Result<(), StoreError> {
        let _one = self.changing.lock().await;
        let offline = self.offline.borrow_mut().remove(&key);
        if let Some(log) = offline {
            return self.delete_offline(key, log).await;
        }
        // Until the new name is durable no journal file may be given back without this log's bytes.
        let checkpoint = self.checkpointing.lock().await;
        let log = self.logs.borrow_mut().remove(&key).ok_or(StoreError::UnknownLog(key))?;
        log.closed.set(true);
        log.changed.notify(usize::MAX);
        let shared = &self.shared;
        {
            let _writer = log.writer.lock().await;
            log.deleted.set(true);
        }
        if !log.has_failed() {
            shared.dirty_removed(log.unwritten());
        }
        log.changed.notify(usize::MAX);
        // The renamed folder says that the log is gone, then the entry does: one of both always stands.
        let log_dir = &shared.config.log_dir;
        let gone = log_dir.join(folder::deleted_name(log.topic(), key.partition, key.topic_id));
        shared.io.rename(&log.directory, &gone).await?;
        shared.io.sync_directory(log_dir).await?;
        log.forget_kept().await?;
        drop(checkpoint);
        // On a full device the journal may wait for the room that these files take. Till then the folder stays, and
        // says whose it was.
        for (file, _) in shared.io.list_files(&gone).await? {
            if file != folder::METADATA_FILE {
                shared.io.remove_file(&gone.join(file)).await?;
            }
        }
        let segments: Vec<_> = log.state.borrow().segments.iter().map(Rc::clone).collect();
        for segment in segments {
            segment.close().await;
        }
        let ending =
            end_life(Rc::clone(shared), life_descriptor(EntryKind::Delete, key, log.incarnation), gone);
        if !shared.journal.lacks_space() {
            return ending.await;
        }
        // Others may have to go as well before there is room for the entry; the renamed folder is durable.
        shared.io.spawn(async move {
            if let Err(error) = ending.await {
                tracing::warn!("the next start removes what is left of a log that was deleted: {error}");
            }
        });
        Ok(())
    }
}

/// Journals that a log is deleted, and removes what is left of its folder.
async fn end_life<I: Io>(shared: Rc<Shared<I>>, entry: Descriptor, gone: PathBuf) -> Result<(), StoreError> {
    shared.journal.write_through(entry, Bytes::new()).await?;
    shared.io.remove_directory(&gone).await?;
    Ok(shared.io.sync_directory(&shared.config.log_dir).await?)
}

fn life_descriptor(kind: EntryKind, key: PartitionKey, incarnation: u64) -> Descriptor {
    Descriptor {
        kind,
        key,
        incarnation,
        segment_base: Offset(0),
        position: 0,
        offset: Offset(0),
        leader_epoch: LeaderEpoch(-1),
        len: 0,
        crc: 0,
    }
}
