//! Up to where groups have read: what is committed, and what waits for the end of a transaction.
//!
//! A transaction's offsets stand aside until its marker comes; a commit that came later than the transaction's own wins,
//! told by where both stand in the log (KIP-447).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
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

/// Entries of all groups in one tree: one that each group had of its own would be mostly empty.
type Entries = BTreeMap<OffsetKey, Entry>;

/// What an entry takes in memory beside its text, about: its part of a tree that is half full, and a topic's name at worst.
const ENTRY_BYTES: usize = 320;

/// Where an entry is, by borrowed names; in the order of [`OffsetKey`].
trait Place {
    fn place(&self) -> (&str, &str, i32);
}

impl Place for OffsetKey {
    fn place(&self) -> (&str, &str, i32) {
        (&self.group, &self.topic, self.partition)
    }
}

impl Place for (&str, &str, i32) {
    fn place(&self) -> (&str, &str, i32) {
        *self
    }
}

impl<'a> Borrow<dyn Place + 'a> for OffsetKey {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Offsets of many groups.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    entries: Entries,
    bytes: usize,
    /// Offsets of transactions that are open.
    pending: BTreeMap<ProducerId, Entries>,
}

impl Offsets {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it takes more in memory to keep an offset, about.
    pub(super) fn more_bytes(&self, key: &OffsetKey, committed: &Committed) -> usize {
        match self.entries.get(key) {
            Some(there) => committed.metadata.len().saturating_sub(there.committed.metadata.len()),
            None if has_group(&self.entries, &key.group) => ENTRY_BYTES + committed.metadata.len(),
            None => GROUP_BYTES + 2 * key.group.len() + ENTRY_BYTES + committed.metadata.len(),
        }
    }

    /// Whether transactions are open.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether transactions with a group's offsets are open.
    pub(super) fn has_pending_of(&self, group: &str) -> bool {
        self.pending.values().any(|entries| has_group(entries, group))
    }

    /// Keeps an offset.
    pub(super) fn put(&mut self, key: &OffsetKey, committed: Committed, record_offset: Offset) {
        self.bytes += ENTRY_BYTES + committed.metadata.len();
        let before = insert(&mut self.entries, key, Entry { committed, record_offset });
        if let Some(before) = before {
            self.bytes -= ENTRY_BYTES + before.committed.metadata.len();
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
        insert(self.pending.entry(producer).or_default(), key, Entry { committed, record_offset });
    }

    /// A producer's transaction ended: what it set aside is committed, or forgotten.
    pub(super) fn end_transaction(&mut self, producer: ProducerId, is_commit: bool) {
        let entries = self.pending.remove(&producer).filter(|_| is_commit).unwrap_or_default();
        for (key, entry) in entries {
            let there = self.entries.get(&key);
            if there.is_none_or(|there| there.record_offset <= entry.record_offset) {
                self.put(&key, entry.committed, entry.record_offset);
            }
        }
    }

    /// Takes an offset away, also from open transactions.
    pub(super) fn remove(&mut self, key: &OffsetKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= ENTRY_BYTES + entry.committed.metadata.len();
        }
        for entries in self.pending.values_mut() {
            entries.remove(key);
        }
    }

    /// A committed offset.
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        let place = (group, topic, partition);
        self.entries.get(&place as &dyn Place).map(|entry| &entry.committed)
    }

    /// Whether an open transaction holds an offset of this partition.
    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let place = (group, topic, partition);
        self.pending.values().any(|entries| entries.contains_key(&place as &dyn Place))
    }

    /// All of a group's offsets, in order.
    pub(super) fn of_group<'a>(
        &'a self,
        group: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, i32, &'a Committed)> {
        entries_of(&self.entries, group).map(|(key, entry)| (&key.topic, key.partition, &entry.committed))
    }

    /// The keys of all of a group's offsets, those of open transactions too.
    pub(super) fn keys_of(&self, group: &Arc<str>) -> Vec<OffsetKey> {
        let all = std::iter::once(&self.entries).chain(self.pending.values());
        let keys: BTreeSet<&OffsetKey> =
            all.flat_map(|entries| entries_of(entries, group)).map(|(key, _)| key).collect();
        keys.into_iter().cloned().collect()
    }

    /// The keys of all offsets in these topics.
    pub(super) fn keys_in(&self, topics: &BTreeSet<Arc<str>>) -> Vec<OffsetKey> {
        let all = self.entries.keys().chain(self.pending.values().flat_map(BTreeMap::keys));
        let keys: BTreeSet<&OffsetKey> = all.filter(|key| topics.contains(&key.topic)).collect();
        keys.into_iter().cloned().collect()
    }
}

/// A group's entries, in order.
fn entries_of<'a>(entries: &'a Entries, group: &'a str) -> impl Iterator<Item = (&'a OffsetKey, &'a Entry)> {
    let first = (group, "", i32::MIN);
    let from = Bound::Included(&first as &dyn Place);
    entries.range::<dyn Place, _>((from, Bound::Unbounded)).take_while(move |(key, _)| *key.group == *group)
}

fn has_group(entries: &Entries, group: &str) -> bool {
    entries_of(entries, group).next().is_some()
}

/// Puts an entry in; the one before.
fn insert(entries: &mut Entries, key: &OffsetKey, entry: Entry) -> Option<Entry> {
    if let Some(there) = entries.get_mut(key) {
        return Some(std::mem::replace(there, entry));
    }
    let mut key = key.clone();
    // A name that the entry beside it has need not be kept twice.
    if let Some((beside, _)) = entries.range::<OffsetKey, _>(..&key).next_back() {
        if beside.group == key.group {
            key.group = Arc::clone(&beside.group);
        }
        if beside.topic == key.topic {
            key.topic = Arc::clone(&beside.topic);
        }
    }
    entries.insert(key, entry)
}
