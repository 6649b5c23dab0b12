//! Opening one shard's logs in one log directory: from the journals that are there, the segments, and Kafka's
//! own files after a clean stop.
//!
//! Shards that share a directory open side by side, each from the same [`Survey`], and wait for each other
//! before [`finish_open`] declares the old journals dead: until then any of them can be started again from them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use event_listener::Event;
use futures::future::{Either, join, select};
use futures::lock::Mutex;

use super::open_logs::Opening;
use super::{CLEAN_SHUTDOWN_FILE, LogManager};
use crate::background;
use crate::cache::TailCache;
use crate::checkpoint::{self, Checkpoint, CheckpointError, LogCheckpoint};
use crate::config::StoreConfig;
use crate::error::{OpenError, StoreError};
use crate::io::{Io, IoError};
use crate::journal::directories::{self, JournalPlace, Survey, survey};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::journal::{Failure, Journal, closed};
use crate::journal::replay::{JournalDamage, ReplayFrom, ReplayedEntry, make_durable, replay};
use crate::log::checkpoint_file::read_partition_offsets;
use crate::partition_folder as folder;
use crate::segment::open_files::OpenFiles;
use crate::shared::Shared;
use crate::space::{Space, is_no_space};
use crate::types::{Offset, PartitionKey, ShardSlot};

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
    /// Logs that cannot be used.
    pub offline: usize,
    /// Whether the device has no room for the journal yet: what there is is served, and appends are refused.
    pub waits_for_room: bool,
}

impl RecoveryReport {
    /// Whether old journals may be all that has some records: with one such shard they are not
    /// [settled](Survey::keeps_journals).
    pub fn keeps_journals(&self) -> bool {
        self.offline > 0 || self.waits_for_room
    }
}

/// Journal entries by log, and what they say of its life.
#[derive(Default)]
pub(crate) struct Life {
    /// The one that counts.
    pub(crate) incarnation: Option<u64>,
    /// The epoch it began in, if that was journalled.
    pub(crate) since: Option<u64>,
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
    /// Logs that could not be used in the newest epoch that says so, which nothing was appended to since.
    pub(crate) offline: BTreeMap<PartitionKey, u64>,
    /// What of it is lost, and of whose logs.
    pub(crate) damage: Vec<(Option<ShardSlot>, JournalDamage)>,
}

impl<I: Io> LogManager<I> {
    /// Opens or makes the store in `config.log_dir` for the only shard there is.
    pub async fn open(io: I, config: StoreConfig) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        let mut survey = survey(&io, &config.log_dir).await?;
        let opened = Self::open_shard(io.clone(), config.clone(), &survey).await?;
        survey.keeps_journals = opened.1.keeps_journals();
        finish_open(&io, &config.log_dir, &survey).await?;
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
        let nothing_to_replay = survey.places.is_empty();
        let manager = Self::closed(io, config, survey);
        let is_clean = marked && nothing_to_replay;
        let opening = async {
            let (io, config) = (&manager.shared.io, &manager.shared.config);
            for place in survey.places.iter().filter(|place| concerns(place, config)) {
                make_durable(io, &place.path).await?;
            }
            let remembered = remember(io, config, survey).await?;
            let frames = remembered.frames;
            Ok::<_, OpenError>((
                frames,
                Opening::new(&manager, remembered, is_clean).await?.open_all(&names).await?,
            ))
        };
        let making = async { manager.shared.journal.make().await.map_err(OpenError::Io) };
        let (opened, made) = join(opening, making).await;
        let (frames, counts) = opened?;
        made?;
        let waits_for_room = !manager.start_epoch().await?;
        manager.set_strays_aside().await;
        let report = RecoveryReport {
            clean: nothing_to_replay
                && (marked || !names.iter().any(|name| folder::parse_name(name).is_some())),
            logs: manager.logs.borrow().len(),
            frames,
            replayed_bytes: counts.replayed_bytes,
            cut_bytes: counts.cut_bytes,
            offline: manager.offline.borrow().len(),
            waits_for_room,
        };
        background::start(&manager);
        Ok((manager, report))
    }

    /// The store before anything is opened.
    fn closed(io: I, config: StoreConfig, survey: &Survey) -> Rc<Self> {
        let failure = Rc::new(Failure::default());
        let journal_dir = directories::place(&config.log_dir, config.slot, survey.epoch);
        let (for_journal, failing) = (config.clone(), Rc::clone(&failure));
        let journal = Journal::new(io.clone(), journal_dir, for_journal, survey.epoch, failing);
        let shared = Rc::new(Shared {
            cache: TailCache::new(config.tail_cache_bytes),
            space: Space::new(&journal.device_is_short),
            open_files: Rc::new(OpenFiles::new(config.open_segments_max, config.index_bytes_max)),
            io,
            config,
            journal,
            failure,
            dirty: Cell::new(0),
            room: Event::new(),
            due: RefCell::default(),
            due_event: Event::new(),
            chunks: RefCell::default(),
            stopping: Cell::new(false),
            stop_event: Event::new(),
        });
        Rc::new(Self {
            shared,
            logs: RefCell::default(),
            offline: RefCell::default(),
            changing: Mutex::new(()),
            checkpointing: Mutex::new(()),
            incarnations: Cell::new(0),
        })
    }

    /// Journals again what stood only in old journals, and makes that durable. False if that has to wait for room on the
    /// device: it goes on beside all else, and nothing is appended before.
    async fn start_epoch(self: &Rc<Self>) -> Result<bool, OpenError> {
        let journal = &self.shared.journal;
        journal.start();
        for log in self.logs.borrow().values() {
            log.carry_recovered();
        }
        let written = std::pin::pin!(self.write_checkpoint(false));
        let error = match select(written, std::pin::pin!(journal.until_space_lacks())).await {
            Either::Left((Ok(()), _)) => {
                journal.begin_appends();
                return Ok(true);
            }
            Either::Left((Err(error), _)) => Some(error).filter(|error| !error.is_no_space()),
            Either::Right(_) => None,
        };
        match error {
            None => {
                self.shared.io.spawn(background::begin_late(Rc::downgrade(self), Rc::clone(&self.shared)));
                Ok(false)
            }
            Some(StoreError::Io(error)) => Err(OpenError::Io(error)),
            Some(StoreError::Failed(error)) => Err(OpenError::Failed(error)),
            Some(StoreError::Offline { .. } | StoreError::UnknownLog(_) | StoreError::Closed) => {
                Err(OpenError::Failed(closed()))
            }
        }
    }

    /// One of Kafka's offset checkpoints, by the names of folders; without entries if it is missing or damaged.
    pub(super) async fn read_offsets(&self, name: &str) -> Result<BTreeMap<String, Offset>, OpenError> {
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

/// Ends the opening once every shard of the directory has opened its logs: the mark of a clean stop goes, and, unless they
/// are kept for logs that cannot be used, old journals and folders of deleted logs.
pub async fn finish_open<I: Io>(io: &I, log_dir: &Path, survey: &Survey) -> Result<(), IoError> {
    let mut keeps_journals = survey.keeps_journals;
    if !keeps_journals {
        match directories::settle(io, log_dir, survey).await {
            Err(error) if is_no_space(&error) => {
                tracing::warn!("journals of earlier starts stay until the next one: {error}");
                keeps_journals = true;
            }
            settled => settled?,
        }
    }
    for name in io.list_directory(log_dir).await? {
        let is_deleted = name.ends_with(folder::DELETED_SUFFIX) && !keeps_journals;
        if is_deleted && folder::parse_name(&name).is_some() {
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
        let path = place.path.join(checkpoint::FILE_NAME);
        let checkpoint = match read_checkpoint(io, path).await {
            Err(OpenError::Damaged { path, what }) => {
                let damage = JournalDamage { key: place.key, epoch: place.epoch, path, what };
                remembered.damage.push((place.slot, damage));
                continue;
            }
            read => read?,
        };
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.from.epoch >= survey.settled);
        let settled = ReplayFrom { epoch: survey.settled, sequence: 1 };
        let from = checkpoint.as_ref().map_or(settled, |checkpoint| checkpoint.from.max(settled));
        let replayed = replay(io, &place.path, from).await?;
        remembered.frames += replayed.frames;
        remembered.damage.extend(
            replayed
                .damage
                .into_iter()
                .map(|damage| (place.slot, JournalDamage { key: damage.key.or(place.key), ..damage })),
        );
        let owned = |key| config.slot.owns(key);
        let Checkpoint { logs, offline, .. } = checkpoint.unwrap_or_default();
        for key in offline {
            let since = remembered.offline.entry(key).or_default();
            *since = from.epoch.max(*since);
        }
        for log in logs {
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
    for ReplayedEntry { descriptor, payload, epoch } in entries {
        let life = lives.entry(descriptor.key).or_insert_with(|| Life {
            incarnation: checkpointed.get(&descriptor.key).map(|(_, log)| log.incarnation),
            ..Life::default()
        });
        match descriptor.kind {
            EntryKind::Create => {
                let (incarnation, since) = (Some(descriptor.incarnation), Some(epoch));
                *life = Life { incarnation, since, ..Life::default() };
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
