//! Opening one shard's logs in one log directory: from the journals that are there, the segments, and Kafka's
//! own files after a clean stop.
//!
//! Shards that share a directory open side by side, each from the same [`Survey`], and wait for each other
//! before [`finish_open`] declares the old journals dead: until then any of them can be started again from them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use event_listener::Event;
use futures::lock::Mutex;

use super::folders::{Owner, owner_of};
use super::{CLEAN_SHUTDOWN_FILE, LOG_START_FILE, LogManager, RECOVERY_POINT_FILE};
use crate::background;
use crate::cache::TailCache;
use crate::checkpoint::{self, Checkpoint, CheckpointError, LogCheckpoint};
use crate::config::StoreConfig;
use crate::error::{OpenError, StoreError};
use crate::io::{Io, IoError};
use crate::journal::directories::{self, JournalPlace, Survey, survey};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::journal::{Failure, Journal, closed};
use crate::journal::replay::{JournalDamage, ReplayFrom, ReplayedEntry, replay};
use crate::log::Log;
use crate::log::checkpoint_file::read_partition_offsets;
use crate::log::recovery::{Counts, Known};
use crate::partition_folder as folder;
use crate::segment::open_files::OpenFiles;
use crate::shared::Shared;
use crate::space::Space;
use crate::types::{Offset, PartitionKey};

/// Text checkpoints are refused above this: a million partitions with long names.
const TEXT_BYTES_MAX: usize = 256 << 20;

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

/// Journal entries by log, and what they say of its life.
#[derive(Default)]
pub(crate) struct Life {
    /// The one that counts.
    pub(crate) incarnation: Option<u64>,
    /// Whether it ended.
    pub(crate) deleted: bool,
    /// What was journalled in it, in order.
    pub(crate) entries: Vec<(Descriptor, Bytes)>,
}

/// What the journals say of the logs of one shard.
#[derive(Default)]
pub(crate) struct Remembered {
    /// Each log's newest checkpoint, and the epoch it is of.
    pub(crate) checkpoints: BTreeMap<PartitionKey, (u64, LogCheckpoint)>,
    /// What was journalled, in order.
    pub(crate) entries: Vec<ReplayedEntry>,
    /// Frames replayed.
    pub(crate) frames: u64,
}

impl<I: Io> LogManager<I> {
    /// Opens or makes the store in `config.log_dir` for the only shard there is.
    pub async fn open(io: I, config: StoreConfig) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        let survey = survey(&io, &config.log_dir).await?;
        let opened = Self::open_shard(io.clone(), config.clone(), &survey).await?;
        finish_open(&io, &config.log_dir, &survey, config.slot.count).await?;
        Ok(opened)
    }

    /// Opens one shard's logs: replays what journals hold of them, checks the active segments, starts its journal
    /// of the new epoch. On return everything that was acknowledged is readable. Nothing may be appended
    /// before [`finish_open`].
    pub async fn open_shard(
        io: I,
        config: StoreConfig,
        survey: &Survey,
    ) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        let names = io.list_directory(&config.log_dir).await?;
        let marked = names.iter().any(|name| name == CLEAN_SHUTDOWN_FILE);
        let remembered = remember(&io, &config, survey).await?;
        let journal_dir = directories::place(&config.log_dir, config.slot);
        io.create_directory(&journal_dir).await?;
        let failure = Rc::new(Failure::default());
        let (for_journal, failing) = (config.clone(), Rc::clone(&failure));
        let journal = Journal::create(io.clone(), journal_dir, for_journal, survey.epoch, failing).await?;
        let open_files = Rc::new(OpenFiles::new(config.open_segments_max, config.index_bytes_max));
        let shared = Rc::new(Shared {
            io,
            cache: TailCache::new(config.tail_cache_bytes),
            config,
            space: Space::new(&journal.device_is_short),
            journal,
            failure,
            dirty: Cell::new(0),
            room: Event::new(),
            due: RefCell::default(),
            due_event: Event::new(),
            open_files,
            chunks: RefCell::default(),
            stopping: Cell::new(false),
            stop_event: Event::new(),
        });
        let manager = Rc::new(Self {
            shared,
            logs: RefCell::default(),
            offline: RefCell::default(),
            changing: Mutex::new(()),
            checkpointing: Mutex::new(()),
            incarnations: Cell::new(0),
        });
        let nothing_to_replay = survey.places.is_empty();
        let mut report = RecoveryReport {
            clean: nothing_to_replay
                && (marked || !names.iter().any(|name| folder::parse_name(name).is_some())),
            frames: remembered.frames,
            ..RecoveryReport::default()
        };
        let counts = manager.open_logs(&names, remembered, marked && nothing_to_replay).await?;
        report.replayed_bytes = counts.replayed_bytes;
        report.cut_bytes = counts.cut_bytes;
        report.logs = manager.logs.borrow().len();
        manager.start_epoch().await?;
        background::start(&manager);
        Ok((manager, report))
    }

    async fn open_logs(
        &self,
        names: &[String],
        remembered: Remembered,
        clean: bool,
    ) -> Result<Counts, OpenError> {
        let io = &self.shared.io;
        let log_dir = &self.shared.config.log_dir;
        // For logs no journal knows: Kafka's own file is all there is.
        let starts = self.read_offsets(LOG_START_FILE).await?;
        let ends = if clean { self.read_offsets(RECOVERY_POINT_FILE).await? } else { BTreeMap::new() };
        let Remembered { mut checkpoints, entries, .. } = remembered;
        let mut lives = lives(entries, &checkpoints);
        let mut counts = Counts::default();
        let mut gone = BTreeSet::new();
        for name in names {
            let directory = log_dir.join(name);
            let (key, is_adopted) = match owner_of(io, &self.shared.config, name).await {
                Owner::Log { key, is_adopted } => (key, is_adopted),
                Owner::Deleted(key) => {
                    gone.insert(key);
                    continue;
                }
                Owner::Doubtful(key, reason) => {
                    if self.shared.config.slot.owns(key) {
                        self.take_offline(key, &reason);
                    }
                    continue;
                }
                Owner::Nobody => continue,
            };
            if !self.shared.config.slot.owns(key) {
                continue;
            }
            let life = lives.remove(&key).unwrap_or_default();
            if life.deleted {
                gone.insert(key);
                io.remove_directory(&directory).await?;
                continue;
            }
            let checkpoint = checkpoints.remove(&key).map(|(_, checkpoint)| checkpoint);
            // A log that was made anew since the checkpoint has nothing to do with it.
            let checkpoint = checkpoint
                .filter(|log| life.incarnation.is_none_or(|incarnation| incarnation == log.incarnation));
            let known_incarnation = life.incarnation.or(checkpoint.as_ref().map(|log| log.incarnation));
            let incarnation = known_incarnation.unwrap_or(self.shared.journal.epoch() << 20);
            self.incarnations.set(self.incarnations.get().max(incarnation));
            let start = starts.get(name).filter(|_| known_incarnation.is_none());
            let known = Known {
                key,
                topic: folder::parse_name(name).map_or("", |(topic, _)| topic).to_owned(),
                directory: directory.clone(),
                incarnation,
                checkpoint: checkpoint.as_ref(),
                entries: life.entries,
                clean,
                log_start_offset: start.copied().unwrap_or_default(),
                is_start_told: start.is_some(),
                clean_end: ends.get(name).copied(),
            };
            if !clean && (checkpoint.is_none() || !known.entries.is_empty()) {
                // A killed process may leave names that are visible and not yet durable.
                io.sync_directory(&known.directory).await?;
            }
            let log = Log::open(&self.shared, known, &mut counts).await?;
            if is_adopted {
                tracing::warn!(
                    "{} did not say whose it is: it is taken for {:?}",
                    directory.display(),
                    key.topic_id
                );
                let metadata = folder::write_metadata(key.topic_id).into_bytes();
                io.replace_file(&directory.join(folder::METADATA_FILE), metadata).await?;
            }
            self.logs.borrow_mut().insert(key, log);
        }
        for (key, life) in lives {
            let lost = !life.deleted && life.entries.iter().any(|(entry, _)| entry.len > 0);
            if lost && !gone.contains(&key) {
                let what = format!("it has records of {key:?}, which has no folder any more");
                return Err(OpenError::JournalDamaged { path: directories::root(log_dir), what });
            }
        }
        io.sync_directory(log_dir).await?;
        Ok(counts)
    }

    /// Journals again what stood only in old journals, and makes that durable.
    async fn start_epoch(&self) -> Result<(), OpenError> {
        self.shared.journal.start();
        for log in self.logs.borrow().values() {
            log.carry_recovered();
        }
        self.write_checkpoint(false).await.map_err(|error| match error {
            StoreError::Io(error) => OpenError::Io(error),
            StoreError::Failed(error) => OpenError::Failed(error),
            StoreError::Offline { .. } | StoreError::UnknownLog(_) | StoreError::Closed => {
                OpenError::Failed(closed())
            }
        })
    }

    async fn read_offsets(&self, name: &str) -> Result<BTreeMap<String, Offset>, OpenError> {
        let path = self.shared.config.log_dir.join(name);
        let file = match self.shared.io.read_file(&path, TEXT_BYTES_MAX).await {
            Ok(file) => file,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let offsets = read_partition_offsets(&file).unwrap_or_else(|error| {
            // As Kafka: the segments say the rest.
            tracing::error!("{} is damaged and not used: {error}", path.display());
            Vec::new()
        });
        Ok(offsets
            .into_iter()
            .map(|entry| (folder::name(&entry.topic, entry.partition), entry.offset))
            .collect())
    }
}

/// Ends the opening once every shard of the directory has opened its logs: old journals, folders of deleted
/// logs and the mark of a clean stop go.
pub async fn finish_open<I: Io>(
    io: &I,
    log_dir: &Path,
    survey: &Survey,
    shard_count: u32,
) -> Result<(), IoError> {
    directories::settle(io, log_dir, survey, shard_count).await?;
    for name in io.list_directory(log_dir).await? {
        if name.ends_with(folder::DELETED_SUFFIX) && folder::parse_name(&name).is_some() {
            io.remove_directory(&log_dir.join(name)).await?;
        } else if name == CLEAN_SHUTDOWN_FILE {
            io.remove_file(&log_dir.join(name)).await?;
        }
    }
    io.sync_directory(log_dir).await
}

/// Reads the journals that may hold something of this shard's logs, one after the other.
pub(crate) async fn remember<I: Io>(
    io: &I,
    config: &StoreConfig,
    survey: &Survey,
) -> Result<Remembered, OpenError> {
    let mut remembered = Remembered::default();
    for place in survey.places.iter().filter(|place| concerns(place, config)) {
        let checkpoint = read_checkpoint(io, place.path.join(checkpoint::FILE_NAME)).await?;
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.from.epoch >= survey.settled);
        let settled = ReplayFrom { epoch: survey.settled, sequence: 1 };
        let from = checkpoint.as_ref().map_or(settled, |checkpoint| checkpoint.from.max(settled));
        let replayed = replay(io, &place.path, from).await?;
        remembered.frames += replayed.frames;
        if let Some(JournalDamage { path, what, .. }) = replayed.damage.into_iter().next() {
            return Err(OpenError::JournalDamaged { path, what });
        }
        let owned = |key| config.slot.owns(key);
        for log in checkpoint.into_iter().flat_map(|checkpoint| checkpoint.logs) {
            let epoch = from.epoch;
            let newer = remembered.checkpoints.get(&log.key).is_none_or(|(known, _)| *known < epoch);
            if newer && owned(log.key) {
                remembered.checkpoints.insert(log.key, (epoch, log));
            }
        }
        // With all entries ours the payloads stay slices of the file, else the file's memory is let go.
        let alone = config.slot.count == 1 || place.slot == Some(config.slot);
        let entries = replayed.entries.into_iter().filter(|entry| owned(entry.descriptor.key));
        remembered.entries.extend(entries.map(|entry| {
            if alone {
                entry
            } else {
                ReplayedEntry { payload: Bytes::copy_from_slice(&entry.payload), ..entry }
            }
        }));
    }
    let checkpoints = &remembered.checkpoints;
    remembered.entries.retain(|entry| {
        checkpoints.get(&entry.descriptor.key).is_none_or(|(epoch, _)| entry.epoch >= *epoch)
    });
    // Within one epoch a log has one journal, and there the order stays.
    remembered.entries.sort_by_key(|entry| entry.epoch);
    Ok(remembered)
}

/// Whether a journal can hold anything of this shard's: with as many shards as now each wrote its own logs.
fn concerns(place: &JournalPlace, config: &StoreConfig) -> bool {
    place.slot.is_none_or(|slot| slot.count != config.slot.count || slot == config.slot)
}

/// Sorts the journals' entries by log, keeping those of its last life.
pub(crate) fn lives(
    entries: Vec<ReplayedEntry>,
    checkpointed: &BTreeMap<PartitionKey, (u64, LogCheckpoint)>,
) -> BTreeMap<PartitionKey, Life> {
    let mut lives: BTreeMap<PartitionKey, Life> = BTreeMap::new();
    for ReplayedEntry { descriptor, payload, .. } in entries {
        let life = lives.entry(descriptor.key).or_insert_with(|| Life {
            incarnation: checkpointed.get(&descriptor.key).map(|(_, log)| log.incarnation),
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
                    life.entries.push((descriptor, payload));
                }
            }
        }
    }
    lives
}

/// The checkpoint of a journal; `None` if there is none.
pub(crate) async fn read_checkpoint<I: Io>(io: &I, path: PathBuf) -> Result<Option<Checkpoint>, OpenError> {
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
