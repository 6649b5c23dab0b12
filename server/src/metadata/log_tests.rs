//! The local log after crashes and damage: what was acknowledged is there, what cannot be trusted is refused.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use super::batch::NewBatch;
use super::bootstrap;
use super::control_record::ControlRecord;
use super::image::MetadataImage;
use super::image_records::{METADATA_VERSION, records_of};
use super::loader::Loader;
use super::log::{LocalLog, LogError, MetadataLog};
use super::snapshot::{SnapshotContent, SnapshotId};
use ringmain_protocol::Uuid;
use ringmain_protocol::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use std::path::{Path, PathBuf};

/// The records of a topic with one partition.
fn topic(number: u128) -> [MetadataRecord; 2] {
    let topic_id = Uuid::from_u128(number + 1000);
    let name = format!("topic-{number}");
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::from_u128(7777)],
        ..PartitionRecord::default()
    };
    [TopicRecord { name: name.as_str().into(), topic_id }.into(), partition.into()]
}

/// A log that is written as the control plane does, with the image its records make.
struct Writer {
    log: LocalLog,
    loader: Loader,
}

impl Writer {
    fn open(directory: &Path) -> Result<Self, LogError> {
        let mut loader = Loader::new("cluster");
        let log = LocalLog::open(directory, &mut loader, 1)?;
        Ok(Self { log, loader })
    }

    fn lead(&mut self) {
        let epoch = self.log.last_epoch() + 1;
        self.log.begin_epoch(epoch).unwrap();
        self.log.append(NewBatch::Control(&[ControlRecord::leader_change(1)]), 5).unwrap();
        self.loader.end_of_snapshot(self.log.end_offset(), epoch);
        if self.loader.image().feature(METADATA_VERSION) == 0 {
            self.append(&bootstrap::first_records());
        }
    }

    fn append(&mut self, records: &[MetadataRecord]) {
        self.log.append(NewBatch::Data(records, 30), 6).unwrap();
        self.loader.data(records, self.log.end_offset(), self.log.epoch()).unwrap();
    }

    fn snapshot(&mut self) {
        let records = records_of(self.loader.image());
        let content = SnapshotContent {
            control: &[],
            records: &records,
            metadata_version: 30,
            last_timestamp_ms: 6,
            now_ms: 7,
        };
        self.log.write_snapshot(content).unwrap();
    }

    fn image(&self) -> MetadataImage {
        self.loader.image().clone()
    }
}

fn segment(directory: &Path) -> PathBuf {
    directory.join("00000000000000000000.log")
}

#[test]
fn replay_equals_live() {
    let directory = tempfile::tempdir().unwrap();
    let mut live = Writer::open(directory.path()).unwrap();
    live.lead();
    (0..300).for_each(|number| live.append(&topic(number)));
    assert_eq!(Writer::open(directory.path()).unwrap().image(), live.image());
    live.snapshot();
    assert_eq!(Writer::open(directory.path()).unwrap().image(), live.image());
    live.append(&topic(900));
    assert_eq!(Writer::open(directory.path()).unwrap().image(), live.image());
}

#[test]
fn a_tail_torn_at_any_byte_leaves_what_came_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = segment(directory.path());
    let mut live = Writer::open(directory.path()).unwrap();
    live.lead();
    live.append(&topic(1));
    let (before, whole_before) = (live.image(), std::fs::read(&path).unwrap().len());
    live.append(&topic(2));
    let (after, bytes) = (live.image(), std::fs::read(&path).unwrap());
    for cut in whole_before..=bytes.len() {
        // Cut off, and of the full length with zeroes instead: both are what a power cut can leave.
        for is_zeroed in [false, true] {
            let mut torn = bytes[..cut].to_vec();
            if is_zeroed {
                torn.resize(bytes.len(), 0);
            }
            let is_whole = torn == bytes;
            std::fs::write(&path, &torn).unwrap();
            let opened = Writer::open(directory.path()).unwrap();
            assert_eq!(opened.image(), if is_whole { after.clone() } else { before.clone() }, "cut at {cut}");
            let left = std::fs::read(&path).unwrap().len();
            assert_eq!(left, if is_whole { bytes.len() } else { whole_before });
        }
    }
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut again = Writer::open(directory.path()).unwrap();
    again.lead();
    again.append(&topic(3));
    assert_eq!(Writer::open(directory.path()).unwrap().image(), again.image());
}

#[test]
fn damage_before_whole_records_is_refused_and_nothing_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = segment(directory.path());
    let mut live = Writer::open(directory.path()).unwrap();
    live.lead();
    live.append(&topic(1));
    let begin = std::fs::read(&path).unwrap().len();
    live.append(&topic(2));
    let end = std::fs::read(&path).unwrap().len();
    live.append(&topic(3));
    let bytes = std::fs::read(&path).unwrap();
    for position in begin..end {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        // The epoch lies outside of the checksum: one that jumps ahead is seen by what follows.
        let opened = Writer::open(directory.path());
        assert!(matches!(opened.err(), Some(LogError::Damaged { .. })), "at {position}");
        assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len());
    }
}

#[test]
fn a_damaged_snapshot_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut live = Writer::open(directory.path()).unwrap();
    live.lead();
    for round in 0..4 {
        (0..20).for_each(|number| live.append(&topic(round * 100 + number)));
        live.snapshot();
    }
    let names = super::files::list(directory.path()).unwrap();
    let snapshots: Vec<SnapshotId> = names.iter().filter_map(|name| SnapshotId::parse(name)).collect();
    assert_eq!(snapshots.len(), 2, "{names:?}");
    assert!(!segment(directory.path()).exists(), "segments before the older snapshot are gone");
    let newest = directory.path().join(snapshots[1].file_name());
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::remove_file(&newest).unwrap();
    for damage in 0..3 {
        let mut damaged = bytes.clone();
        match damage {
            0 => damaged.truncate(bytes.len() - 75),
            1 => damaged[bytes.len() / 2] ^= 1,
            _ => damaged.clear(),
        }
        std::fs::write(&newest, &damaged).unwrap();
        assert_eq!(Writer::open(directory.path()).unwrap().image(), live.image());
    }
}

#[test]
fn a_copy_of_an_image_with_ten_thousand_topics_shares_what_did_not_change() {
    let mut loader = Loader::new("cluster");
    let records: Vec<MetadataRecord> = (0..10_000).flat_map(topic).collect();
    loader.data(&records, 20_000, 1).unwrap();
    let before = loader.image().clone();
    loader.data(&topic(10_000), 20_002, 1).unwrap();
    let after = loader.image();
    assert_eq!((before.topic_count(), after.topic_count()), (10_000, 10_001));
    let shared = before.topics().filter(|topic| {
        after.topic_by_id(topic.id).is_some_and(|other| std::sync::Arc::ptr_eq(topic, other))
    });
    assert_eq!(shared.count(), 10_000);
}
