//! What a partition's segments say together, against its small files, the journal's checkpoint, and Kafka's files of a
//! clean stop.

use std::path::{Path, PathBuf};

use super::Finding;
use super::files::SMALL_FILE_BYTES_MAX;
use super::segment::{EpochStart, SegmentReport};
use crate::checkpoint::LogCheckpoint;
use crate::io::IoError;
use crate::io::read_only::{list_files, read_file};
use crate::log::epoch_cache::{self, EpochCache};
use crate::log::producer_snapshot;
use crate::segment::segment::file_name;
use crate::types::{Offset, TimestampMs};

/// A partition's folder and what is known of it from elsewhere.
#[derive(Debug, Default)]
pub(super) struct PartitionToCheck {
    pub(super) directory: PathBuf,
    /// `topic-partition`.
    pub(super) name: String,
    pub(super) checkpoint: Option<LogCheckpoint>,
    /// Whether the last stop was clean: Kafka's own files say the rest.
    pub(super) clean: bool,
    /// Where the log ends, as a clean stop wrote.
    pub(super) log_end: Option<(PathBuf, Offset)>,
    /// Where it starts, as the journal or a clean stop wrote.
    pub(super) log_start: Option<Offset>,
    /// Whether the journal holds bytes of the last segment.
    pub(super) journalled: bool,
}

/// Checks what the segments, in order, say together.
pub(super) fn check(
    partition: &PartitionToCheck,
    segments: &[(Offset, SegmentReport)],
) -> Result<Vec<Finding>, IoError> {
    let mut findings = Vec::new();
    check_order(partition, segments, &mut findings);
    check_ends(partition, segments, &mut findings)?;
    check_epochs(partition, segments, &mut findings)?;
    check_snapshots(partition, &mut findings)?;
    Ok(findings.into_iter().map(|finding| finding.of(&partition.name)).collect())
}

fn log_path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(file_name(base, ".log"))
}

fn check_order(
    partition: &PartitionToCheck,
    segments: &[(Offset, SegmentReport)],
    findings: &mut Vec<Finding>,
) {
    for pair in segments.windows(2) {
        let [(base, before), (next_base, _)] = pair else { continue };
        let end = before.next_offset.unwrap_or(*base);
        let path = log_path(&partition.directory, *base);
        if end > *next_base {
            let what = format!("it ends with {end}, but the next segment begins with {next_base}");
            findings.push(Finding::damage(&path, before.last_position, what));
        } else if end < *next_base && before.findings.is_empty() {
            let what = format!(
                "no records from {end} to {next_base}, where the next segment begins: compaction leaves such gaps, and so does a segment that was lost"
            );
            findings.push(Finding::note(&path, before.end, what));
        }
    }
    if let (Some(start), Some((first, _))) = (partition.log_start, segments.first())
        && start < *first
    {
        let what = format!("the log starts at {start}, but its first segment begins with {first}");
        findings.push(Finding::damage(&partition.directory, None, what));
    }
}

fn check_ends(
    partition: &PartitionToCheck,
    segments: &[(Offset, SegmentReport)],
    findings: &mut Vec<Finding>,
) -> Result<(), IoError> {
    let start = partition.log_start.unwrap_or_default();
    let last = segments.last();
    let end = last.map_or(start, |(base, report)| report.next_offset.unwrap_or(*base).max(start));
    let bad_already = last.is_some_and(|(_, report)| !report.findings.is_empty());
    if let Some((checkpoint, written)) =
        partition.log_end.as_ref().filter(|_| partition.clean && !bad_already)
        && *written != end
    {
        // A clean stop also leaves a snapshot that is named after the end.
        let snapshot = file_name(end, producer_snapshot::SUFFIX);
        let named = list_files(&partition.directory)?.iter().any(|(name, _)| *name == snapshot);
        let what = format!("the log ends at {end}, but the clean stop wrote {written}");
        findings.push(match last {
            Some((base, report)) if !named => {
                Finding::damage(&log_path(&partition.directory, *base), report.end, what)
            }
            _ => Finding::damage(checkpoint, None, what),
        });
    }
    if let Some(checkpoint) = partition.checkpoint.as_ref().filter(|_| !partition.journalled) {
        let point = checkpoint.recovery_point;
        let reached = last.map_or((Offset(0), 0), |(base, report)| (*base, report.end));
        if reached < (point.segment_base, point.position) && !bad_already {
            let what = format!("it ends at {}, but was synced up to {}", reached.1, point.position);
            findings.push(Finding::damage(
                &log_path(&partition.directory, point.segment_base),
                reached.1,
                what,
            ));
        }
    }
    Ok(())
}

fn check_epochs(
    partition: &PartitionToCheck,
    segments: &[(Offset, SegmentReport)],
    findings: &mut Vec<Finding>,
) -> Result<(), IoError> {
    let mut starts: Vec<(PathBuf, EpochStart)> = Vec::new();
    for (base, report) in segments {
        let path = log_path(&partition.directory, *base);
        for start in &report.epochs {
            if starts.last().is_none_or(|(_, last)| last.epoch != start.epoch) {
                starts.push((path.clone(), *start));
            }
        }
    }
    // An epoch that falls again: where the one before the last fits, the last one was raised.
    for index in 1..starts.len() {
        let [(path, before), (path_here, here)] = &starts[index - 1..=index] else { continue };
        if here.epoch >= before.epoch {
            continue;
        }
        let lowered = starts.get(index + 1).is_some_and(|(_, next)| next.epoch >= before.epoch);
        let fits = index.checked_sub(2).is_none_or(|two| starts[two].1.epoch <= here.epoch);
        let raised = fits && !lowered;
        let (path, wrong) = if raised { (path, before) } else { (path_here, here) };
        let what = format!("leader epoch {} where its neighbours have another", wrong.epoch);
        findings.push(Finding::damage(path, wrong.position, what));
        return Ok(());
    }
    let (known, file, below) = match &partition.checkpoint {
        Some(checkpoint) => (checkpoint.epochs.clone(), None, checkpoint.state_offset),
        None if partition.clean => {
            let path = partition.directory.join(epoch_cache::FILE_NAME);
            match read_file(&path, SMALL_FILE_BYTES_MAX) {
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
                Ok(text) => match EpochCache::read(&text) {
                    Ok(known) if known.write().as_bytes() != text => {
                        findings.push(Finding::damage(&path, None, "its entries contradict each other"));
                        return Ok(());
                    }
                    Ok(known) => (known, Some(path), Offset(i64::MAX)),
                    Err(error) => {
                        findings.push(Finding::damage(&path, None, error.to_string()));
                        return Ok(());
                    }
                },
            }
        }
        None => return Ok(()),
    };
    let stands = |entry: &epoch_cache::EpochEntry| {
        let moved = Some(entry.start_offset) == partition.log_start;
        let begins = |at: Offset| at == entry.start_offset || moved && at < entry.start_offset;
        starts.iter().any(|(_, start)| start.epoch == entry.epoch && begins(start.offset))
    };
    for (path, start) in starts.iter().filter(|(_, start)| start.offset < below) {
        let said = known.epoch_for_offset(start.offset);
        // The first entry of a log whose start was moved begins at that start, within a batch perhaps.
        if said == Some(start.epoch) || said.is_none() && Some(start.offset) < partition.log_start {
            continue;
        }
        let said = said.map_or("none".to_owned(), |epoch| epoch.to_string());
        let all_stand = known.entries().iter().all(stands) && !known.entries().is_empty();
        findings.push(match &file {
            Some(file) if !all_stand => {
                let what = format!("epoch {said} at {}, whose batch has {}", start.offset, start.epoch);
                Finding::damage(file, None, what)
            }
            _ => {
                let what = format!(
                    "leader epoch {} at offset {}, which is known to be of {said}",
                    start.epoch, start.offset
                );
                Finding::damage(path, start.position, what)
            }
        });
        return Ok(());
    }
    Ok(())
}

fn check_snapshots(partition: &PartitionToCheck, findings: &mut Vec<Finding>) -> Result<(), IoError> {
    for (name, _) in list_files(&partition.directory)? {
        let path = partition.directory.join(&name);
        let Some(offset) = name.strip_suffix(producer_snapshot::SUFFIX) else { continue };
        let Ok(offset) = offset.parse().map(Offset) else { continue };
        match producer_snapshot::read_snapshot(&read_file(&path, SMALL_FILE_BYTES_MAX)?, TimestampMs(0)) {
            Err(error) => findings.push(Finding::damage(&path, 0, error.to_string())),
            Ok(state) => {
                let last = |producer: &crate::log::producer_state::Producer| {
                    producer.batches().last().map(|batch| batch.last_offset)
                };
                if let Some((id, _)) = state.iter().find(|(_, producer)| last(producer) >= Some(offset)) {
                    let what = format!("producer {id} has a batch that is not below {offset}");
                    findings.push(Finding::damage(&path, None, what));
                }
            }
        }
    }
    Ok(())
}
