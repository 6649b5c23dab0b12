//! Opening every log of a store from what the journals remember. A log that cannot be used is offline by itself: its
//! files and what journals hold of it stay as they are, so that once it is mended the next start has all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::folders::{Owner, owners_of};
use super::opening::{Life, Remembered, lives};
use super::{HIGH_WATERMARK_FILE, LOG_START_FILE, LOGS_AT_A_TIME, LogManager, RECOVERY_POINT_FILE};
use crate::checkpoint::LogCheckpoint;
use crate::error::OpenError;
use crate::io::{Io, Looked};
use crate::journal::frame::Descriptor;
use crate::journal::replay::JournalDamage;
use crate::log::Log;
use crate::log::known::{Counts, Known};
use crate::log::looking::Source;
use crate::partition_folder as folder;
use crate::types::{Offset, PartitionKey, ShardSlot, TopicId};

/// Logs opened at a time: enough that the disk, and the threads that wait for it, are never idle; each may have some
/// megabytes of its own in hand.
const OPENED_AT_A_TIME: usize = 32;

/// Folders whose `partition.metadata` is read by one call of a helper thread: each call costs more than a file.
const LOOKED_AT_TOGETHER: usize = 64;

/// Folders of logs that one call of a helper thread looks into: it reads the ends of as many segments.
const LOOKED_INTO_TOGETHER: usize = 16;

/// Logs of which all are written before the first is synced: its sync then does most of the work of the others'.
/// What the journals hold of so many stands in memory twice.
const SYNCED_TOGETHER: usize = 256;

/// What can be done about a log that cannot be used.
const WAY_OUT: &str = "restore it and start again, or delete the topic, to go on without its records";

/// A log that is open, and not yet durable.
struct Opened<I: Io> {
    log: Rc<Log<I>>,
    /// Its folder, if that said itself whose it is.
    own_directory: Option<PathBuf>,
    /// Whether names in it may not be durable.
    is_uncertain: bool,
}

/// What is known before the logs' folders are looked into.
pub(super) struct Opening<'a, I: Io> {
    manager: &'a LogManager<I>,
    /// Whether the last stop was a clean one.
    clean: bool,
    /// For logs no journal knows: Kafka's own files are all there is.
    starts: BTreeMap<String, Offset>,
    ends: BTreeMap<String, Offset>,
    high_watermarks: BTreeMap<String, Offset>,
    checkpoints: BTreeMap<PartitionKey, (u64, LogCheckpoint)>,
    lives: BTreeMap<PartitionKey, Life>,
    damage: Vec<(Option<ShardSlot>, JournalDamage)>,
    was_offline: BTreeMap<PartitionKey, u64>,
    /// Logs that are deleted.
    gone: BTreeSet<PartitionKey>,
    /// The topics there are, if somebody knows.
    topics: Option<BTreeSet<TopicId>>,
}

/// A log that has a folder, and what journals know of it.
struct Found {
    /// The folder's.
    name: String,
    directory: PathBuf,
    key: PartitionKey,
    is_adopted: bool,
    incarnation: u64,
    /// Whether no journal knows it.
    is_unknown: bool,
    /// Whether journals have all of it, from its making on.
    is_journalled_whole: bool,
    checkpoint: Option<LogCheckpoint>,
    entries: Vec<(Descriptor, Bytes)>,
}

impl Found {
    /// Where most of what is needed to open it comes from.
    fn source(&self) -> Source {
        if !self.entries.is_empty() {
            Source::Journal
        } else if self.checkpoint.is_some() {
            Source::Checkpoint
        } else {
            Source::Files
        }
    }
}

impl<'a, I: Io> Opening<'a, I> {
    /// Sorts what the journals remember by log.
    pub(super) async fn new(
        manager: &'a LogManager<I>,
        remembered: Remembered,
        clean: bool,
    ) -> Result<Self, OpenError> {
        let Remembered { checkpoints, entries, damage, offline, .. } = remembered;
        let topic_ids = manager.shared.config.topic_ids.as_ref();
        Ok(Self {
            manager,
            clean,
            starts: manager.read_offsets(LOG_START_FILE).await?,
            ends: manager.read_offsets(RECOVERY_POINT_FILE).await?,
            high_watermarks: manager.read_offsets(HIGH_WATERMARK_FILE).await?,
            lives: lives(entries, &checkpoints),
            checkpoints,
            damage,
            was_offline: offline,
            gone: BTreeSet::new(),
            topics: topic_ids.map(|ids| ids.values().copied().collect()),
        })
    }

    /// Opens the logs whose folders are among `names`.
    pub(super) async fn open_all(mut self, names: &[String]) -> Result<Counts, OpenError> {
        let manager = self.manager;
        let (io, config) = (&manager.shared.io, &manager.shared.config);
        let looking = names.chunks(LOOKED_AT_TOGETHER).map(|names| owners_of(io, config, names));
        let owners: Vec<Vec<Owner>> = stream::iter(looking).buffered(LOGS_AT_A_TIME).collect().await;
        let mut found = Vec::new();
        for (name, owner) in names.iter().zip(owners.into_iter().flatten()) {
            match owner {
                Owner::Log { key, is_adopted } if config.slot.owns(key) => {
                    found.extend(self.find(name, key, is_adopted).await?);
                }
                Owner::Deleted(key) => {
                    self.gone.insert(key);
                }
                Owner::Doubtful(key, reason) if config.slot.owns(key) => {
                    manager.take_offline(key, &reason, None);
                }
                Owner::Log { .. } | Owner::Doubtful(..) | Owner::Nobody => {}
            }
        }
        let mut counts = Counts::default();
        {
            let mut found = found.into_iter().peekable();
            while found.peek().is_some() {
                let together: Vec<Found> = found.by_ref().take(SYNCED_TOGETHER).collect();
                let opening =
                    self.look_into(together).map(|looked| self.open(looked)).buffered(OPENED_AT_A_TIME);
                let opened: Vec<(Option<Opened<I>>, Counts)> = opening.try_collect().await?;
                opened.iter().for_each(|(_, of_log)| counts.add(of_log));
                let syncing =
                    opened.into_iter().filter_map(|(opened, _)| opened).map(|opened| self.sync(opened));
                let synced: Vec<_> = stream::iter(syncing).buffered(OPENED_AT_A_TIME).collect().await;
                manager.logs.borrow_mut().extend(synced.into_iter().flatten().map(|log| (log.key(), log)));
            }
        }
        // What writes behind needs is less, and of another size.
        manager.shared.chunks.borrow_mut().clear();
        for (key, life) in std::mem::take(&mut self.lives) {
            let lost = !life.deleted && life.entries.iter().any(|(entry, _)| entry.len > 0);
            let is_aside = names.iter().any(|name| folder::is_stray_of(name, key.partition, key.topic_id));
            if lost && !is_aside && !self.gone.contains(&key) {
                let place = config.log_dir.display();
                let way_out = "restore it, or delete the topic, to go on without them";
                let what =
                    format!("the journals in {place} have records of it, but it has no folder; {way_out}");
                self.fail(key, &what, None);
            }
        }
        io.sync_directory(&config.log_dir).await?;
        Ok(counts)
    }

    /// Takes what journals know of the log in a folder; `None` if it is deleted or cannot be used.
    async fn find(
        &mut self,
        name: &str,
        key: PartitionKey,
        is_adopted: bool,
    ) -> Result<Option<Found>, OpenError> {
        let manager = self.manager;
        let shared = &manager.shared;
        let directory = shared.config.log_dir.join(name);
        let life = self.lives.remove(&key).unwrap_or_default();
        let checkpoint = self.checkpoints.remove(&key);
        if let Some(damage) =
            self.damage_of(key, life.since.max(checkpoint.as_ref().map(|(epoch, _)| *epoch)))
        {
            let JournalDamage { path, what, .. } = damage;
            let way_out =
                "restore that file and start again, or delete the topic, to go on without its records";
            let what = format!("the journal is damaged at {}: {what}; {way_out}", path.display());
            self.fail(key, &what, (!is_adopted).then_some(directory));
            return Ok(None);
        }
        if life.deleted {
            // Nothing that cannot be read may say that it was made anew.
            self.gone.insert(key);
            if let Err(error) = shared.io.remove_directory(&directory).await {
                tracing::warn!("what is left of a log that was deleted stays: {error}");
            }
            return Ok(None);
        }
        // A log that was made anew since the checkpoint has nothing to do with it.
        let checkpoint = checkpoint
            .map(|(_, checkpoint)| checkpoint)
            .filter(|log| life.incarnation.is_none_or(|incarnation| incarnation == log.incarnation));
        let known_incarnation = life.incarnation.or(checkpoint.as_ref().map(|log| log.incarnation));
        let incarnation = known_incarnation.unwrap_or(shared.journal.epoch() << 20);
        manager.incarnations.set(manager.incarnations.get().max(incarnation));
        Ok(Some(Found {
            name: name.to_owned(),
            directory,
            key,
            is_adopted,
            incarnation,
            is_unknown: known_incarnation.is_none(),
            is_journalled_whole: life.since.is_some() && checkpoint.is_none(),
            checkpoint,
            entries: life.entries,
        }))
    }

    /// Looks into the folders of logs, some by each call of a helper thread.
    fn look_into(&self, found: Vec<Found>) -> impl Stream<Item = (Found, Option<Looked>)> {
        let io = self.manager.shared.io.clone();
        let mut found = found.into_iter().peekable();
        let chunks = std::iter::from_fn(move || {
            found.peek()?;
            Some(found.by_ref().take(LOOKED_INTO_TOGETHER).collect::<Vec<_>>())
        });
        let looking = stream::iter(chunks).map(move |some| {
            let io = io.clone();
            async move {
                let folders = some.iter().map(|found| (found.directory.clone(), found.source().look_for()));
                let looked = io.look_into(folders.collect()).await;
                stream::iter(some.into_iter().zip(looked))
            }
        });
        looking.buffered(LOGS_AT_A_TIME).flatten()
    }

    /// Opens one log, or takes it offline if it cannot be used.
    async fn open(
        &self,
        (found, looked): (Found, Option<Looked>),
    ) -> Result<(Option<Opened<I>>, Counts), OpenError> {
        let Found {
            name,
            directory,
            key,
            is_adopted,
            incarnation,
            is_unknown,
            is_journalled_whole,
            checkpoint,
            entries,
        } = found;
        let shared = &self.manager.shared;
        let mut counts = Counts::default();
        // Nothing was appended to a log that could not be used: it is as the clean stop left it.
        let clean = self.clean || is_unknown && self.was_offline.contains_key(&key);
        // A log of that name may have been deleted since the stop. Before it is in a journal, a log has no other file.
        let only_begun = |looked: &Looked| looked.files.iter().all(|(name, _)| name == folder::METADATA_FILE);
        let is_new = !clean && looked.as_ref().is_some_and(only_begun);
        let start = self.starts.get(&name).filter(|_| is_unknown && !is_new);
        let known = Known {
            key,
            topic: folder::parse_name(&name).map_or("", |(topic, _)| topic).to_owned(),
            directory: directory.clone(),
            incarnation,
            checkpoint: checkpoint.as_ref(),
            entries,
            clean,
            log_start_offset: start.copied().unwrap_or_default(),
            is_start_told: start.is_some(),
            clean_end: self.ends.get(&name).filter(|_| clean).copied(),
            clean_high_watermark: self.high_watermarks.get(&name).filter(|_| clean).copied(),
            is_journalled_whole,
            looked,
            last_index: None,
            ends: None,
        };
        let is_uncertain = !clean && (checkpoint.is_none() || !known.entries.is_empty());
        let opened = async {
            let log = Log::open(shared, known, &mut counts).await?;
            if is_adopted {
                let (directory_name, id) = (directory.display(), key.topic_id);
                tracing::warn!("{directory_name} did not say whose it is: it is taken for {id:?}");
                let metadata = folder::write_metadata(key.topic_id).into_bytes();
                shared.io.replace_file(&directory.join(folder::METADATA_FILE), metadata).await?;
            }
            Ok(log)
        };
        let opened = opened.await;
        let own_directory = (!is_adopted).then_some(directory);
        match opened {
            Ok(log) => Ok((Some(Opened { log, own_directory, is_uncertain }), counts)),
            Err(error @ (OpenError::Damaged { .. } | OpenError::Io(_))) => {
                self.fail(key, &format!("{error}; {WAY_OUT}"), own_directory);
                Ok((None, counts))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes durable what a log that was opened builds on, or takes it offline.
    async fn sync(&self, Opened { log, own_directory, is_uncertain }: Opened<I>) -> Option<Rc<Log<I>>> {
        let synced = async {
            if is_uncertain {
                // A killed process may leave names that are visible and not yet durable.
                self.manager.shared.io.sync_directory(&log.directory).await?;
            }
            log.sync_recovered().await
        };
        match synced.await {
            Ok(()) => Some(log),
            Err(error) => {
                self.manager.shared.dirty_removed(log.unwritten());
                self.fail(log.key(), &format!("{error}; {WAY_OUT}"), own_directory);
                None
            }
        }
    }

    /// The damage that a log's entries may be in: in a journal that had them, later than what is `known` of it
    /// otherwise.
    fn damage_of(&self, key: PartitionKey, known: Option<u64>) -> Option<JournalDamage> {
        let concerns = |(slot, damage): &&(Option<ShardSlot>, JournalDamage)| {
            damage.key.is_none_or(|damaged| damaged == key)
                && slot.is_none_or(|slot| slot.owns(key))
                && known.is_none_or(|known| known <= damage.epoch)
        };
        self.damage.iter().find(concerns).map(|(_, damage)| damage.clone())
    }

    /// Takes a log offline; one of a topic that is gone is nobody's concern.
    fn fail(&self, key: PartitionKey, reason: &str, directory: Option<PathBuf>) {
        if self.topics.as_ref().is_none_or(|topics| topics.contains(&key.topic_id)) {
            self.manager.take_offline(key, reason, directory);
        } else {
            tracing::warn!(
                "partition {} of a topic that is gone, {:?}: {reason}",
                key.partition,
                key.topic_id
            );
        }
    }
}
