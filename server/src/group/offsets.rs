//! Up to where groups have read: what is committed, and what waits for the end of a transaction.
//!
//! A transaction's offsets stand aside until its marker comes; a commit that came later than the transaction's own wins,
//! told by where both stand in the log (KIP-447).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::{Offset, ProducerId};

use super::classic::GROUP_BYTES;
use super::record::OffsetKey;

/// A committed offset.
#[derive(Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The leader epoch of the last record that was read; −1 if the client does not say.
    pub leader_epoch: i32,
    /// What the client wrote beside it.
    pub metadata: Arc<str>,
    /// When it was committed, by the broker's clock.
    pub commit_timestamp: i64,
    /// When it goes, if the commit said so.
    pub expire_timestamp: Option<i64>,
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.offset, self.commit_timestamp, self.metadata.len())
    }
}

/// A group's positions are to be kept.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Who commits; an administrator has no id and generation −1.
    pub member: super::MemberRef,
    /// Whether the client knows that a group may not be there (`GROUP_ID_NOT_FOUND`).
    pub knows_missing_groups: bool,
    /// How long to keep them, if the client says so (gone since version 5).
    pub retention_ms: Option<i64>,
    /// What.
    pub topics: Vec<TopicCommit>,
}

/// The positions in one topic.
#[derive(Clone, Debug)]
pub struct TopicCommit {
    /// Its name.
    pub topic: Arc<str>,
    /// Each partition's.
    pub partitions: Vec<PartitionCommit>,
}

/// The position in one partition.
#[derive(Clone, Debug)]
pub struct PartitionCommit {
    /// Its index.
    pub partition: i32,
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The leader epoch of the last record that was read; −1 if the client does not say.
    pub leader_epoch: i32,
    /// What the client writes beside it.
    pub metadata: Arc<str>,
}

/// What became of each offset that was to be deleted, by topic in the order they were named.
pub type Deletion = Vec<Vec<(i32, Result<(), ErrorCode>)>>;

/// One partition's entry, with the offset of its record in the log.
#[derive(Clone, Debug)]
struct Entry {
    committed: Committed,
    record_offset: Offset,
}

/// By topic, then by partition.
type Topics = BTreeMap<Arc<str>, BTreeMap<i32, Entry>>;

/// What an entry takes in memory beside its text, about: its part of two trees, and a topic's name at worst.
const ENTRY_BYTES: usize = 320;

/// Offsets of many groups.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    groups: BTreeMap<Arc<str>, Topics>,
    len: usize,
    bytes: usize,
    /// Offsets of transactions that are open, by producer and then by group.
    pending: BTreeMap<ProducerId, BTreeMap<Arc<str>, Topics>>,
}

impl Offsets {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What they take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it takes more in memory to keep an offset, about.
    pub(super) fn more_bytes(&self, key: &OffsetKey, committed: &Committed) -> usize {
        match self.entry(key) {
            Some(there) => committed.metadata.len().saturating_sub(there.committed.metadata.len()),
            None if self.groups.contains_key(&key.group) => ENTRY_BYTES + committed.metadata.len(),
            None => GROUP_BYTES + 2 * key.group.len() + ENTRY_BYTES + committed.metadata.len(),
        }
    }

    /// Whether transactions are open.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether transactions with a group's offsets are open.
    pub(super) fn has_pending_of(&self, group: &str) -> bool {
        self.pending.values().any(|groups| groups.contains_key(group))
    }

    /// Keeps an offset.
    pub(super) fn put(&mut self, key: &OffsetKey, committed: Committed, record_offset: Offset) {
        let topics = self.groups.entry(Arc::clone(&key.group)).or_default();
        self.bytes += ENTRY_BYTES + committed.metadata.len();
        let before = insert(topics, key, Entry { committed, record_offset });
        match before {
            None => self.len += 1,
            Some(before) => self.bytes -= ENTRY_BYTES + before.committed.metadata.len(),
        }
    }

    /// Keeps an offset aside until its producer's transaction ends.
    pub(super) fn put_pending(
        &mut self,
        producer: ProducerId,
        key: &OffsetKey,
        committed: Committed,
        record_offset: Offset,
    ) {
        let groups = self.pending.entry(producer).or_default();
        insert(groups.entry(Arc::clone(&key.group)).or_default(), key, Entry { committed, record_offset });
    }

    /// A producer's transaction ended: what it set aside is committed, or forgotten.
    pub(super) fn end_transaction(&mut self, producer: ProducerId, is_commit: bool) {
        let groups = self.pending.remove(&producer).filter(|_| is_commit).unwrap_or_default();
        for (group, topics) in groups {
            for (topic, partitions) in topics {
                for (partition, entry) in partitions {
                    let key = OffsetKey { group: Arc::clone(&group), topic: Arc::clone(&topic), partition };
                    let newer =
                        self.entry(&key).is_some_and(|there| there.record_offset > entry.record_offset);
                    if !newer {
                        self.put(&key, entry.committed, entry.record_offset);
                    }
                }
            }
        }
    }

    /// Takes an offset away, also from open transactions.
    pub(super) fn remove(&mut self, key: &OffsetKey) {
        if let Some(topics) = self.groups.get_mut(&key.group)
            && let Some(entry) = take(topics, key)
        {
            self.len -= 1;
            self.bytes -= ENTRY_BYTES + entry.committed.metadata.len();
            if topics.is_empty() {
                self.groups.remove(&key.group);
            }
        }
        for groups in self.pending.values_mut() {
            if let Some(topics) = groups.get_mut(&key.group) {
                take(topics, key);
            }
        }
    }

    fn entry(&self, key: &OffsetKey) -> Option<&Entry> {
        self.groups.get(&key.group)?.get(&key.topic)?.get(&key.partition)
    }

    /// A committed offset.
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(topic)?.get(&partition).map(|entry| &entry.committed)
    }

    /// Whether an open transaction holds an offset of this partition.
    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending
            .values()
            .any(|groups| groups.get(group).and_then(|topics| topics.get(topic)?.get(&partition)).is_some())
    }

    /// All of a group's offsets, in order.
    pub(super) fn of_group(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
        let topics = self.groups.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, entry)| (topic, *partition, &entry.committed))
        })
    }

    /// The keys of all of a group's offsets, those of open transactions too.
    pub(super) fn keys_of(&self, group: &Arc<str>) -> Vec<OffsetKey> {
        let pending = self.pending.values().filter_map(|groups| groups.get(group));
        let all = self.groups.get(group).into_iter().chain(pending);
        let keys: BTreeSet<(&Arc<str>, i32)> = all
            .flat_map(|topics| topics.iter())
            .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic, *partition)))
            .collect();
        let key = |(topic, partition): (&Arc<str>, i32)| OffsetKey {
            group: Arc::clone(group),
            topic: Arc::clone(topic),
            partition,
        };
        keys.into_iter().map(key).collect()
    }

    /// The keys of all offsets in these topics.
    pub(super) fn keys_in(&self, topics: &BTreeSet<Arc<str>>) -> Vec<OffsetKey> {
        let groups: BTreeSet<&Arc<str>> =
            self.groups.keys().chain(self.pending.values().flat_map(BTreeMap::keys)).collect();
        let of_group = |group: &Arc<str>| self.keys_of(group).into_iter();
        groups.into_iter().flat_map(of_group).filter(|key| topics.contains(&key.topic)).collect()
    }
}

fn insert(topics: &mut Topics, key: &OffsetKey, entry: Entry) -> Option<Entry> {
    topics.entry(Arc::clone(&key.topic)).or_default().insert(key.partition, entry)
}

/// Takes an entry out, and its topic with the last one.
fn take(topics: &mut Topics, key: &OffsetKey) -> Option<Entry> {
    let partitions = topics.get_mut(&key.topic)?;
    let entry = partitions.remove(&key.partition);
    if partitions.is_empty() {
        topics.remove(&key.topic);
    }
    entry
}
