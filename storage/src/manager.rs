//! All logs of one shard in one log directory: opening them, making and deleting them, the clean stop.
//! What runs in the background stands in [`crate::background`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use event_listener::Event;
use futures::lock::Mutex;
use futures::{StreamExt, TryStreamExt, stream};

use crate::background;
use crate::cache::TailCache;
use crate::checkpoint::{self, Checkpoint, CheckpointError, LogCheckpoint};
use crate::config::{LogConfig, StoreConfig};
use crate::error::{OpenError, StoreError};
use crate::io::{Io, IoError};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::journal::{Failure, Journal, closed};
use crate::journal::replay::{ReplayFrom, Replayed, replay};
use crate::log::checkpoint_file::{PartitionOffset, read_partition_offsets, write_lines};
use crate::log::recovery::{Counts, Known};
use crate::log::{Log, epoch_cache, producer_snapshot};
use crate::partition_folder as folder;
use crate::segment::segment::file_name;
use crate::shared::Shared;
use crate::types::{LeaderEpoch, Offset, PartitionKey};

/// The journal's folder in the log directory.
pub const JOURNAL_FOLDER: &str = "ringmain.journal";
/// Kafka's mark of a clean stop.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
const LOG_START_FILE: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// The controller's log has no journal and is not ours.
const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// Text checkpoints are refused above this: a million partitions with long names.
const TEXT_BYTES_MAX: usize = 256 << 20;
/// Logs worked on at a time when all are: keeps the disk busy without a descriptor each.
pub(crate) const LOGS_AT_A_TIME: usize = 8;

/// What opening found and did, for the start-up log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Whether the last stop was a clean one (or there was none).
    pub clean: bool,
    /// Logs opened.
    pub logs: usize,
    /// Journal frames replayed.
    pub frames: u64,
    /// Bytes placed from the journal.
    pub replayed_bytes: u64,
    /// Bytes of torn tails cut from segments.
    pub cut_bytes: u64,
}

/// The store. Lives on its shard's thread. It has background tasks: [`close`](Self::close) it before the end.
pub struct LogManager<I: Io> {
    pub(crate) shared: Rc<Shared<I>>,
    pub(crate) logs: RefCell<BTreeMap<PartitionKey, Rc<Log<I>>>>,
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

/// Journal entries by log, and what they say of its life.
#[derive(Default)]
struct Life {
    incarnation: Option<u64>,
    deleted: bool,
    entries: Vec<(Descriptor, bytes::Bytes)>,
}

impl<I: Io> LogManager<I> {
    /// Opens or makes the store in `config.log_dir`: replays the journal, checks the active segments, starts
    /// a new journal epoch. On return everything that was acknowledged is readable.
    pub async fn open(io: I, config: StoreConfig) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        io.create_directory(&config.log_dir).await?;
        let journal_dir = config.log_dir.join(JOURNAL_FOLDER);
        let names = io.list_directory(&config.log_dir).await?;
        let marked = names.iter().any(|name| name == CLEAN_SHUTDOWN_FILE);
        io.create_directory(&journal_dir).await?;
        let checkpoint = read_checkpoint(&io, journal_dir.join(checkpoint::FILE_NAME)).await?;
        let from = checkpoint.as_ref().map(|checkpoint| checkpoint.from).unwrap_or_default();
        let replayed = replay(&io, &journal_dir, from).await?;
        let clean = marked && checkpoint.is_none();
        let epoch = from.epoch.max(replayed.epoch_max) + 1;
        let failure = Rc::new(Failure::default());
        let journal =
            Journal::create(io.clone(), journal_dir, config.clone(), epoch, Rc::clone(&failure)).await?;
        let shared = Rc::new(Shared {
            io,
            cache: TailCache::new(config.tail_cache_bytes),
            config,
            journal,
            failure,
            dirty: Cell::new(0),
            room: Event::new(),
            due: RefCell::default(),
            due_event: Event::new(),
            stopping: Cell::new(false),
            stop_event: Event::new(),
        });
        let manager = Rc::new(Self {
            shared,
            logs: RefCell::default(),
            changing: Mutex::new(()),
            checkpointing: Mutex::new(()),
            incarnations: Cell::new(0),
        });
        let mut report = RecoveryReport {
            clean: clean || checkpoint.is_none() && replayed.frames == 0,
            frames: replayed.frames,
            ..RecoveryReport::default()
        };
        let old_files = replayed.files.clone();
        let counts = manager.open_logs(&names, checkpoint.unwrap_or_default(), replayed, clean).await?;
        report.replayed_bytes = counts.replayed_bytes;
        report.cut_bytes = counts.cut_bytes;
        report.logs = manager.logs.borrow().len();
        manager.start_epoch(&names, old_files).await?;
        background::start(&manager);
        Ok((manager, report))
    }

    async fn open_logs(
        &self,
        names: &[String],
        checkpoint: Checkpoint,
        replayed: Replayed,
        clean: bool,
    ) -> Result<Counts, OpenError> {
        let io = &self.shared.io;
        let log_dir = &self.shared.config.log_dir;
        // Without a checkpoint Kafka's own file is all there is: a clean stop cut short behind the journal's removal.
        let unknown = checkpoint.from == ReplayFrom::default();
        let starts = if unknown { self.read_offsets(LOG_START_FILE).await? } else { BTreeMap::new() };
        let mut known_logs: BTreeMap<PartitionKey, LogCheckpoint> =
            checkpoint.logs.into_iter().map(|log| (log.key, log)).collect();
        let mut lives = lives(replayed, &known_logs);
        let mut counts = Counts::default();
        let mut gone = BTreeSet::new();
        for name in names {
            let Some((topic, partition)) = folder::parse_name(name) else { continue };
            if name == METADATA_FOLDER {
                continue;
            }
            let directory = log_dir.join(name);
            let metadata = io.read_file(&directory.join(folder::METADATA_FILE), 4096).await;
            let Some(topic_id) = metadata.ok().as_deref().and_then(folder::read_metadata) else {
                tracing::warn!(
                    "{} has no readable partition.metadata and is left alone",
                    directory.display()
                );
                continue;
            };
            let key = PartitionKey { topic_id, partition };
            if name.ends_with(folder::DELETED_SUFFIX) {
                gone.insert(key);
                continue;
            }
            let life = lives.remove(&key).unwrap_or_default();
            if life.deleted {
                gone.insert(key);
                io.remove_directory(&directory).await?;
                continue;
            }
            let checkpoint = known_logs.remove(&key);
            // A log that was made anew since the checkpoint has nothing to do with it.
            let checkpoint = checkpoint
                .filter(|log| life.incarnation.is_none_or(|incarnation| incarnation == log.incarnation));
            let incarnation = life
                .incarnation
                .or(checkpoint.as_ref().map(|log| log.incarnation))
                .unwrap_or(self.shared.journal.epoch() << 20);
            self.incarnations.set(self.incarnations.get().max(incarnation));
            let known = Known {
                key,
                topic: topic.to_owned(),
                directory,
                incarnation,
                checkpoint: checkpoint.as_ref(),
                entries: life.entries,
                clean,
                log_start_offset: starts.get(name).copied().unwrap_or_default(),
            };
            if !clean && (checkpoint.is_none() || !known.entries.is_empty()) {
                // A killed process may leave names that are visible and not yet durable.
                io.sync_directory(&known.directory).await?;
            }
            let log = Log::open(&self.shared, known, &mut counts).await?;
            self.logs.borrow_mut().insert(key, log);
        }
        for (key, life) in lives {
            let lost = !life.deleted && life.entries.iter().any(|(entry, _)| entry.len > 0);
            if lost && !gone.contains(&key) {
                let what = format!("it has records of {key:?}, which has no folder any more");
                let path = self.shared.journal.directory().to_path_buf();
                return Err(OpenError::JournalDamaged { path, what });
            }
        }
        io.sync_directory(log_dir).await?;
        Ok(counts)
    }

    /// Journals again what stood only in the old journal, makes that durable, and removes the old one.
    async fn start_epoch(&self, names: &[String], old_files: Vec<PathBuf>) -> Result<(), OpenError> {
        let shared = &self.shared;
        shared.journal.start();
        for log in self.logs.borrow().values() {
            log.carry_recovered();
        }
        self.write_checkpoint(false).await.map_err(|error| match error {
            StoreError::Io(error) => OpenError::Io(error),
            StoreError::Failed(error) => OpenError::Failed(error),
            StoreError::UnknownLog(_) | StoreError::Closed => OpenError::Failed(closed()),
        })?;
        for path in old_files {
            shared.io.remove_file(&path).await?;
        }
        shared.io.sync_directory(shared.journal.directory()).await?;
        let log_dir = &shared.config.log_dir;
        for name in names {
            let gone = name.ends_with(folder::DELETED_SUFFIX) && folder::parse_name(name).is_some();
            if gone {
                shared.io.remove_directory(&log_dir.join(name)).await?;
            } else if name == CLEAN_SHUTDOWN_FILE {
                shared.io.remove_file(&log_dir.join(name)).await?;
            }
        }
        shared.io.sync_directory(log_dir).await?;
        Ok(())
    }

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
        let content = Checkpoint { from, logs }.write();
        // What the logs know of producers includes batches in flight: they are durable before it is.
        shared.journal.barrier().await?;
        let path = shared.journal.directory().join(checkpoint::FILE_NAME);
        shared.io.replace_file(&path, content).await?;
        Ok(())
    }

    async fn read_offsets(&self, name: &str) -> Result<BTreeMap<String, Offset>, OpenError> {
        let path = self.shared.config.log_dir.join(name);
        let file = match self.shared.io.read_file(&path, TEXT_BYTES_MAX).await {
            Ok(file) => file,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let offsets = read_partition_offsets(&file)
            .map_err(|error| OpenError::Damaged { path, what: error.to_string() })?;
        Ok(offsets
            .into_iter()
            .map(|entry| (folder::name(&entry.topic, entry.partition), entry.offset))
            .collect())
    }

    /// Makes the log, durable on return; an existing one is returned, with the new settings.
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
        let directory = shared.config.log_dir.join(folder::name(topic, key.partition));
        let metadata = directory.join(folder::METADATA_FILE);
        if let Ok(text) = shared.io.read_file(&metadata, 4096).await
            && folder::read_metadata(&text) != Some(key.topic_id)
        {
            let source = std::io::Error::other("the folder belongs to another topic id");
            return Err(IoError { operation: "create log", path: directory, source }.into());
        }
        shared.io.create_directory(&directory).await?;
        shared.io.replace_file(&metadata, folder::write_metadata(key.topic_id).into_bytes()).await?;
        let incarnation = (self.incarnations.get() + 1).max(shared.journal.epoch() << 20);
        self.incarnations.set(incarnation);
        shared.journal.write_through(life_descriptor(EntryKind::Create, key, incarnation)).await?;
        let known = Known {
            key,
            topic: topic.to_owned(),
            directory,
            incarnation,
            checkpoint: None,
            entries: Vec::new(),
            clean: true,
            log_start_offset: Offset(0),
        };
        let log = Log::new(shared, &known, config);
        self.logs.borrow_mut().insert(key, Rc::clone(&log));
        Ok(log)
    }

    /// The log of `key`, if this store has it.
    pub fn log(&self, key: PartitionKey) -> Option<Rc<Log<I>>> {
        self.logs.borrow().get(&key).map(Rc::clone)
    }

    /// All logs' keys, in order.
    pub fn keys(&self) -> Vec<PartitionKey> {
        self.logs.borrow().keys().copied().collect()
    }

    /// Removes a log; durable on return. Reads and appends of holders fail from the call on.
    pub async fn delete_log(&self, key: PartitionKey) -> Result<(), StoreError> {
        let _one = self.changing.lock().await;
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
        shared.dirty_removed(log.unwritten());
        // The renamed folder says that the log is gone, then the entry does: one of both always stands.
        let log_dir = &shared.config.log_dir;
        let gone = log_dir.join(folder::deleted_name(log.topic(), key.partition, key.topic_id));
        shared.io.rename(&log.directory, &gone).await?;
        shared.io.sync_directory(log_dir).await?;
        drop(checkpoint);
        shared.journal.write_through(life_descriptor(EntryKind::Delete, key, log.incarnation)).await?;
        shared.io.remove_directory(&gone).await?;
        shared.io.sync_directory(log_dir).await?;
        Ok(())
    }

    /// Clean stop: segments written and synced, Kafka's checkpoint files written, the journal emptied and
    /// removed, `.kafka_cleanshutdown` made. Appends fail from the call on.
    pub async fn close(&self) -> Result<(), StoreError> {
        let _one = self.changing.lock().await;
        let shared = &self.shared;
        if shared.stopping.replace(true) {
            return Err(StoreError::Closed);
        }
        shared.stop_event.notify(usize::MAX);
        let logs: Vec<_> = self.logs.borrow().values().map(Rc::clone).collect();
        for log in &logs {
            log.closed.set(true);
        }
        shared.journal.stop().await?;
        // A recycling that is under way ends first.
        let _checkpoint = self.checkpointing.lock().await;
        stream::iter(&logs)
            .map(|log| self.close_log(log))
            .buffer_unordered(LOGS_AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await?;
        self.write_offsets(&logs).await?;
        self.remove_journal(&logs).await?;
        let log_dir = &shared.config.log_dir;
        shared.io.sync_directory(log_dir).await?;
        let mark = log_dir.join(CLEAN_SHUTDOWN_FILE);
        shared.io.replace_file(&mark, b"{\"version\":0,\"brokerEpoch\":-1}".to_vec()).await?;
        for log in &logs {
            log.changed.notify(usize::MAX);
        }
        Ok(())
    }

    /// A power cut may keep any of the files: the checkpoint says first that none of them is needed, and goes last.
    async fn remove_journal(&self, logs: &[Rc<Log<I>>]) -> Result<(), StoreError> {
        let shared = &self.shared;
        let directory = shared.journal.directory();
        let from = ReplayFrom { epoch: shared.journal.epoch(), sequence: shared.journal.next_sequence() };
        let content = Checkpoint { from, logs: logs.iter().map(|log| log.checkpoint()).collect() }.write();
        shared.io.replace_file(&directory.join(checkpoint::FILE_NAME), content).await?;
        for name in shared.io.list_directory(directory).await? {
            if name != checkpoint::FILE_NAME {
                shared.io.remove_file(&directory.join(name)).await?;
            }
        }
        shared.io.sync_directory(directory).await?;
        shared.io.remove_directory(directory).await?;
        Ok(())
    }

    async fn close_log(&self, log: &Log<I>) -> Result<(), StoreError> {
        log.write_out(true).await?;
        let (snapshot, epochs) = {
            let state = log.state.borrow();
            (producer_snapshot::write_snapshot(&state.producers), state.epochs.write())
        };
        let io = &self.shared.io;
        let end = log.offsets().log_end_offset;
        let snapshot_name = file_name(end, producer_snapshot::SUFFIX);
        for name in io.list_directory(&log.directory).await? {
            if name.ends_with(producer_snapshot::SUFFIX) && name != snapshot_name {
                io.remove_file(&log.directory.join(name)).await?;
            }
        }
        io.replace_file(&log.directory.join(snapshot_name), snapshot).await?;
        io.replace_file(&log.directory.join(epoch_cache::FILE_NAME), epochs.into_bytes()).await?;
        Ok(())
    }

    async fn write_offsets(&self, logs: &[Rc<Log<I>>]) -> Result<(), StoreError> {
        let shared = &self.shared;
        let entries = |of: fn(&Log<I>) -> Offset| {
            logs.iter()
                .map(|log| PartitionOffset {
                    topic: log.topic().to_owned(),
                    partition: log.key().partition,
                    offset: of(log),
                })
                .collect::<Vec<_>>()
        };
        let files = [
            (RECOVERY_POINT_FILE, entries(|log| log.offsets().log_end_offset)),
            (LOG_START_FILE, entries(|log| log.offsets().log_start_offset)),
            (HIGH_WATERMARK_FILE, entries(|log| log.offsets().high_watermark)),
        ];
        for (name, offsets) in files {
            let path = shared.config.log_dir.join(name);
            shared.io.replace_file(&path, write_lines(&offsets).into_bytes()).await?;
        }
        Ok(())
    }
}

/// Sorts the journal's entries by log, keeping those of its last life.
fn lives(
    replayed: Replayed,
    checkpointed: &BTreeMap<PartitionKey, LogCheckpoint>,
) -> BTreeMap<PartitionKey, Life> {
    let mut lives: BTreeMap<PartitionKey, Life> = BTreeMap::new();
    for (descriptor, bytes) in replayed.entries {
        let life = lives.entry(descriptor.key).or_insert_with(|| Life {
            incarnation: checkpointed.get(&descriptor.key).map(|log| log.incarnation),
            ..Life::default()
        });
        match descriptor.kind {
            EntryKind::Create => {
                *life = Life { incarnation: Some(descriptor.incarnation), ..Life::default() };
            }
            EntryKind::Delete => {
                life.deleted |= life.incarnation.is_none_or(|known| known == descriptor.incarnation);
            }
            _ => {
                let incarnation = *life.incarnation.get_or_insert(descriptor.incarnation);
                if incarnation == descriptor.incarnation {
                    life.entries.push((descriptor, bytes));
                }
            }
        }
    }
    lives
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

async fn read_checkpoint<I: Io>(io: &I, path: PathBuf) -> Result<Option<Checkpoint>, OpenError> {
    let file = match io.read_file(&path, checkpoint::BYTES_MAX).await {
        Ok(file) => file,
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match Checkpoint::read(&file) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(CheckpointError::UnknownVersion(version)) => Err(OpenError::UnknownVersion { path, version }),
        Err(CheckpointError::Damaged(what)) => Err(OpenError::Damaged { path, what: what.to_owned() }),
    }
}
