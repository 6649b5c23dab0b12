//! A stopped broker's log directory checked as a whole: every batch, index, snapshot and epoch, the journals and what they
//! hold of segments. Several threads read segments; what they found is put together afterwards, in the order of
//! names, so that the same directory gives the same findings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::executor::block_on;

use super::files::SMALL_FILE_BYTES_MAX;
use super::partition::{self, PartitionToCheck};
use super::segment::{self, SegmentReport, SegmentToCheck};
use super::{Finding, Severity, journal};
use crate::checkpoint;
use crate::config::StoreConfig;
use crate::error::OpenError;
use crate::io::IoError;
use crate::io::read_only::{ReadOnlyIo, list_directory, list_files, read_file};
use crate::journal::directories::{self, Survey, survey};
use crate::journal::frame::{Descriptor, EntryKind};
use crate::journal::replay::ReplayFrom;
use crate::log::checkpoint_file::read_partition_offsets;
use crate::log::producer_snapshot::SUFFIX;
use crate::log::truncating::Truncated;
use crate::manager::folders::METADATA_FOLDER;
use crate::manager::opening::{Life, Remembered, lives, read_checkpoint, remember};
use crate::manager::{CLEAN_SHUTDOWN_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::partition_folder as folder;
use crate::segment::segment::{base_offset_of, to_u64, to_usize};
use crate::types::{Offset, PartitionKey, TopicId};

/// How far a check is. Others may look while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of segments read.
    pub bytes_read: AtomicU64,
    /// Bytes of segments there are; 0 until they are known.
    pub bytes_total: AtomicU64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Whether the last stop was a clean one.
    pub clean: bool,
    /// Partitions checked.
    pub partitions: usize,
    /// Segments checked.
    pub segments: usize,
    /// Whole batches in them.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Journal frames that a start would replay.
    pub frames: u64,
    /// What is not as it should be, by path and position.
    pub findings: Vec<Finding>,
}

impl Verified {
    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }
}

/// Checks a log directory that no broker uses. It opens nothing for writing. The error says that the directory itself
/// cannot be read; a file that cannot is a finding.
pub fn verify(log_dir: &Path, threads: usize, progress: &Progress) -> Result<Verified, IoError> {
    let names = list_directory(log_dir)?;
    let entries = names.clone();
    let mut check = Check { log_dir, found: Verified::default(), names: BTreeMap::new(), entries };
    let topics = check.read_topics(&names);
    let (survey, remembered) = check.read_journals();
    let marked = names.iter().any(|name| name == CLEAN_SHUTDOWN_FILE);
    check.found.clean = marked && survey.places.is_empty();
    check.found.frames = remembered.frames;
    let (partitions, tasks) = check.plan(topics, remembered)?;
    check.found.partitions = partitions.len();
    check.found.segments = tasks.len();
    let total = check.found.bytes;
    progress.bytes_total.store(total, Ordering::Relaxed);
    let reports = run(tasks, threads, &progress.bytes_read);
    check.put_together(&partitions, reports);
    let mut found = check.found;
    found.findings.sort();
    found.findings.dedup();
    Ok(found)
}

/// A folder of a partition.
struct Folder {
    name: String,
    /// `None` of the metadata log, which has no journal, and of a folder that does not say whose it is.
    key: Option<PartitionKey>,
}

/// A segment of a partition, by the partition's number.
type Task = (usize, SegmentToCheck);
/// What became of it.
type Report = (usize, Offset, Result<SegmentReport, IoError>);

struct Check<'a> {
    log_dir: &'a Path,
    found: Verified,
    /// Names of partitions, for findings in journals.
    names: BTreeMap<PartitionKey, String>,
    /// All that the log directory has.
    entries: Vec<String>,
}

impl Check<'_> {
    fn find(&mut self, finding: Finding) {
        self.found.findings.push(finding);
    }

    fn find_io(&mut self, error: &IoError) {
        self.find(Finding::damage(&error.path, None, format!("{}: {}", error.operation, error.source)));
    }

    /// The partitions' folders and whose they are.
    fn read_topics(&mut self, names: &[String]) -> Vec<Folder> {
        let mut folders = Vec::new();
        let mut ids: BTreeMap<&str, Vec<(TopicId, &str)>> = BTreeMap::new();
        for name in names {
            let Some((topic, partition)) = folder::parse_name(name) else { continue };
            // What is being deleted says nothing any more.
            if name.ends_with(folder::DELETED_SUFFIX) || !self.log_dir.join(name).is_dir() {
                continue;
            }
            if name == METADATA_FOLDER {
                folders.push(Folder { name: name.clone(), key: None });
                continue;
            }
            let path = self.log_dir.join(name).join(folder::METADATA_FILE);
            let text = read_file(&path, 4096);
            let Some((text, topic_id)) =
                text.ok().and_then(|text| folder::read_metadata(&text).map(|id| (text, id)))
            else {
                self.find(Finding::damage(&path, None, "it is missing, or has no topic id").of(name));
                folders.push(Folder { name: name.clone(), key: None });
                continue;
            };
            if folder::write_metadata(topic_id).trim_end().as_bytes() != text.trim_ascii_end() {
                self.find(Finding::damage(&path, None, "not as it is written").of(name));
            }
            let key = PartitionKey { topic_id, partition };
            self.names.insert(key, name.clone());
            ids.entry(topic).or_default().push((topic_id, name));
            folders.push(Folder { name: name.clone(), key: Some(key) });
        }
        for partitions in ids.values() {
            let count = |id: TopicId| partitions.iter().filter(|(other, _)| *other == id).count();
            let Some(usual) = partitions.iter().map(|(id, _)| *id).max_by_key(|id| count(*id)) else {
                continue;
            };
            for (_, name) in partitions.iter().filter(|(id, _)| *id != usual) {
                let path = self.log_dir.join(name).join(folder::METADATA_FILE);
                let what = "another topic id than the topic's other partitions have";
                self.find(Finding::damage(&path, None, what).of(name));
            }
        }
        folders
    }

    /// The journals: their chains, and what a start would take from them. After damage that is nothing.
    fn read_journals(&mut self) -> (Survey, Remembered) {
        let none = || (Survey::default(), Remembered::default());
        if !directories::root(self.log_dir).is_dir() {
            return none();
        }
        let found = match block_on(survey(&ReadOnlyIo, self.log_dir)) {
            Ok(found) => found,
            Err(error) => {
                self.find_open(error);
                return none();
            }
        };
        let settled = directories::root(self.log_dir).join(directories::SETTLED_FILE);
        if read_file(&settled, SMALL_FILE_BYTES_MAX).is_ok_and(|file| !directories::copies_agree(&file)) {
            let what =
                "one of its two copies is damaged; the other one counts, and the next start writes both";
            self.find(Finding::note(&settled, None, what));
        }
        let mut whole = true;
        for place in &found.places {
            whole &= self.check_journal(&place.path, found.settled);
        }
        let config = StoreConfig::new(self.log_dir);
        if !whole {
            return (found, Remembered::default());
        }
        match block_on(remember(&ReadOnlyIo, &config, &found)) {
            Ok(remembered) => {
                // What a start misses although every chain could be followed here.
                for (_, damage) in &remembered.damage {
                    let finding = Finding::damage(&damage.path, None, damage.what.clone());
                    let name = damage.key.and_then(|key| self.names.get(&key));
                    let finding = if let Some(name) = name { finding.of(name) } else { finding };
                    self.find(finding);
                }
                (found, remembered)
            }
            Err(error) => {
                self.find_open(error);
                (found, Remembered::default())
            }
        }
    }

    /// Whether a journal's chains can be followed.
    fn check_journal(&mut self, place: &Path, settled: u64) -> bool {
        let settled = ReplayFrom { epoch: settled, sequence: 1 };
        let from = match block_on(read_checkpoint(&ReadOnlyIo, place.join(checkpoint::FILE_NAME))) {
            Ok(checkpoint) => checkpoint.map_or(settled, |checkpoint| checkpoint.from.max(settled)),
            Err(error) => {
                self.find_open(error);
                return false;
            }
        };
        let names = &self.names;
        let name = |entry: &Descriptor| names.get(&entry.key).cloned().unwrap_or(format!("{:?}", entry.key));
        match journal::check(place, from, &name) {
            Ok(findings) => {
                let whole = findings.iter().all(|finding| finding.severity != Severity::Damage);
                self.found.findings.extend(findings);
                whole
            }
            Err(error) => {
                self.find_io(&error);
                false
            }
        }
    }

    fn find_open(&mut self, error: OpenError) {
        let finding = match error {
            OpenError::Io(error) => return self.find_io(&error),
            OpenError::Damaged { path, what } | OpenError::JournalDamaged { path, what } => {
                Finding::damage(&path, None, what)
            }
            OpenError::UnknownVersion { path, version } => Finding::damage(
                &path,
                None,
                format!("format version {version}, which this build does not know"),
            ),
            OpenError::Failed(error) => Finding::damage(self.log_dir, None, error.to_string()),
        };
        self.find(finding);
    }

    /// One of Kafka's offset checkpoints, by the names of partitions' folders.
    fn read_offsets(&mut self, name: &str) -> BTreeMap<String, Offset> {
        let path = self.log_dir.join(name);
        let file = match read_file(&path, SMALL_FILE_BYTES_MAX) {
            Ok(file) => file,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => {
                self.find_io(&error);
                return BTreeMap::new();
            }
        };
        match read_partition_offsets(&file) {
            Ok(entries) => entries
                .into_iter()
                .map(|entry| (folder::name(&entry.topic, entry.partition), entry.offset))
                .collect(),
            Err(error) => {
                self.find(Finding::damage(&path, None, error.to_string()));
                BTreeMap::new()
            }
        }
    }

    /// What is to be read of each partition.
    fn plan(
        &mut self,
        folders: Vec<Folder>,
        remembered: Remembered,
    ) -> Result<(Vec<PartitionToCheck>, Vec<Task>), IoError> {
        let Remembered { mut checkpoints, entries, .. } = remembered;
        let mut lives = lives(entries, &checkpoints);
        let starts = self.read_offsets(LOG_START_FILE);
        let ends = self.read_offsets(RECOVERY_POINT_FILE);
        let high_watermarks = self.read_offsets(HIGH_WATERMARK_FILE);
        let (mut partitions, mut tasks) = (Vec::new(), Vec::new());
        for Folder { name, key } in folders {
            let life = key.and_then(|key| lives.remove(&key)).unwrap_or_default();
            if life.deleted {
                continue;
            }
            let checkpoint = key.and_then(|key| checkpoints.remove(&key)).map(|(_, checkpoint)| checkpoint);
            let checkpoint = checkpoint
                .filter(|log| life.incarnation.is_none_or(|incarnation| incarnation == log.incarnation));
            let clean = self.found.clean && key.is_some();
            let log_end = ends.get(&name).map(|end| (self.log_dir.join(RECOVERY_POINT_FILE), *end));
            if let (true, Some(high), Some((_, end))) = (clean, high_watermarks.get(&name), &log_end)
                && high > end
            {
                let what = format!("high watermark {high}, but the log ends at {end}");
                self.find(Finding::damage(&self.log_dir.join(HIGH_WATERMARK_FILE), None, what).of(&name));
            }
            let log_start = starts.get(&name).copied().filter(|_| clean);
            let partition = PartitionToCheck {
                directory: self.log_dir.join(&name),
                name,
                checkpoint,
                clean,
                log_end,
                log_start,
                journalled: false,
            };
            self.plan_partition(partition, life, &mut partitions, &mut tasks)?;
        }
        for (key, life) in lives {
            let is_aside = |name: &String| folder::is_stray_of(name, key.partition, key.topic_id);
            if self.entries.iter().any(is_aside) {
                continue;
            }
            if !life.deleted && life.entries.iter().any(|(entry, _)| entry.len > 0) {
                let what = format!("it has records of {key:?}, which has no folder any more");
                self.find(Finding::damage(&directories::root(self.log_dir), None, what));
            }
        }
        Ok((partitions, tasks))
    }

    /// The same of one partition, as a start goes about it.
    fn plan_partition(
        &mut self,
        mut partition: PartitionToCheck,
        life: Life,
        partitions: &mut Vec<PartitionToCheck>,
        tasks: &mut Vec<Task>,
    ) -> Result<(), IoError> {
        let listed = list_files(&partition.directory)?;
        let files: BTreeMap<Offset, u64> =
            listed.iter().filter_map(|(name, size)| Some((base_offset_of(name)?, *size))).collect();
        let mut start = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.log_start_offset);
        let cut = life.entries.iter().rposition(|(entry, _)| entry.kind == EntryKind::Truncate);
        if let Some((entry, payload)) = cut.and_then(|cut| life.entries.get(cut)) {
            match Truncated::read(*entry, payload, &partition.directory) {
                Ok(truncated) => partition.checkpoint = Some(truncated.checkpoint),
                Err(error) => {
                    self.find(
                        Finding::damage(&partition.directory, None, error.to_string()).of(&partition.name),
                    );
                }
            }
        }
        let since_cut = cut.map_or(0, |cut| cut + 1);
        let point = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.recovery_point);
        let mut runs: BTreeMap<Offset, Vec<(u64, Bytes)>> = BTreeMap::new();
        for (number, (entry, bytes)) in life.entries.into_iter().enumerate() {
            match entry.kind {
                EntryKind::LogStart => start = start.max(Some(entry.offset)),
                EntryKind::Batch | EntryKind::Carry if number < since_cut => {}
                EntryKind::Batch | EntryKind::Carry => {
                    let settled = match point {
                        Some(point) if entry.segment_base < point.segment_base => u64::MAX,
                        Some(point) if entry.segment_base == point.segment_base => point.position,
                        _ => 0,
                    };
                    let below = to_usize(settled.saturating_sub(entry.position));
                    if below < bytes.len() {
                        let run = (entry.position + to_u64(below), bytes.slice(below..));
                        runs.entry(entry.segment_base).or_default().push(run);
                    }
                }
                EntryKind::Create | EntryKind::Delete | EntryKind::Truncate => {}
            }
        }
        partition.log_start = partition.log_start.max(start);
        let mut bases: BTreeSet<Offset> = files.keys().chain(runs.keys()).copied().collect();
        while bases.iter().nth(1).is_some_and(|second| Some(*second) <= partition.log_start) {
            bases.pop_first();
        }
        let last = bases.last().copied();
        let mut offsets_below = bases.iter().skip(1).copied().collect::<Vec<_>>().into_iter();
        let end = log_end(&partition, listed.iter().map(|(name, _)| name.as_str()));
        for base in bases {
            let runs = runs.remove(&base).unwrap_or_default();
            let whole_below = match point {
                _ if Some(base) != last || partition.clean || !runs.is_empty() => u64::MAX,
                Some(point) if point.segment_base == base => point.position,
                _ => 0,
            };
            partition.journalled |= Some(base) == last && !runs.is_empty();
            self.found.bytes += files.get(&base).copied().unwrap_or(0);
            let directory = partition.directory.clone();
            let offsets_below = offsets_below.next().unwrap_or(end);
            let task = SegmentToCheck { directory, base, runs, whole_below, offsets_below };
            tasks.push((partitions.len(), task));
        }
        partitions.push(partition);
        Ok(())
    }

    fn put_together(&mut self, partitions: &[PartitionToCheck], reports: Vec<Report>) {
        let mut reports = reports.into_iter().peekable();
        for (index, partition) in partitions.iter().enumerate() {
            let mut segments = Vec::new();
            while let Some((_, base, report)) = reports.next_if(|(of, ..)| *of == index) {
                match report {
                    Ok(report) => segments.push((base, report)),
                    Err(error) => self.find_io(&error),
                }
            }
            for (_, report) in &segments {
                self.found.batches += report.batches;
                let of = report.findings.iter().map(|finding| finding.clone().of(&partition.name));
                self.found.findings.extend(of);
            }
            match partition::check(partition, &segments) {
                Ok(findings) => self.found.findings.extend(findings),
                Err(error) => self.find_io(&error),
            }
        }
    }
}

/// A log's end, as far as files of a clean stop say: its checkpoint, and a snapshot that is named after it.
fn log_end<'a>(partition: &PartitionToCheck, names: impl Iterator<Item = &'a str>) -> Offset {
    let written = partition.log_end.as_ref().filter(|_| partition.clean).map(|(_, end)| *end);
    let snapshots = names.filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok().map(Offset));
    written.map_or(Offset(i64::MAX), |written| snapshots.fold(written, Offset::max))
}

/// Checks segments on several threads. The reports come in the order of the tasks.
fn run(tasks: Vec<Task>, threads: usize, read_bytes: &AtomicU64) -> Vec<Report> {
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, (partition, task))) = next else { break };
            let base = task.base;
            let report = segment::check(task, read_bytes);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (partition, base, report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
