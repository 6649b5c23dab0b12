//! One fetch's, or one fetch session's, partitions on the shard that owns them: reads those that moved, waits
//! until enough is there.
//!
//! A partition that moves marks itself in the watch, so that a fetch looks only at those: with 5,000 partitions and
//! one active a fetch costs one read (KIP-227). A partition stays marked while it has something to give, and those
//! that gave nothing because others had used up the limit come first in the next fetch: everyone gets a turn.
//!
//! Knows no request and no API version; what it is told and what it answers may cross threads.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::rc::{Rc, Weak};

use event_listener::Event;
use futures::future::{Either, select};
use ringmain_storage::error::ReadError;
use ringmain_storage::io::Io;
use ringmain_storage::log::{LogOffsets, Watcher};
use ringmain_storage::segment::txn_index::AbortedTransaction;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey};

use super::{EpochMismatch, Partition, Partitions};

/// What a reader wants of one partition.
#[derive(Clone, Debug)]
pub struct Want {
    /// The partition.
    pub key: PartitionKey,
    /// First offset wanted.
    pub from: Offset,
    /// The leader epoch the reader believes in; negative if it does not say.
    pub current_leader_epoch: i32,
    /// Epoch of the last record it has; negative if it does not say.
    pub last_fetched_epoch: i32,
    /// Bytes wanted of this partition at most.
    pub bytes_max: usize,
}

/// What a fetch asks for as a whole.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of all partitions together; the first batch may be larger (KIP-74).
    pub bytes_max: usize,
    /// The answer may leave once this much is there.
    pub bytes_min: usize,
    /// Whether the reader sees only what is below the last stable offset.
    pub committed_only: bool,
}

/// How the partitions of a watch change before a fetch.
#[derive(Clone, Debug, Default)]
pub struct WatchChanges {
    /// Slots that are new or want something else.
    pub set: Vec<(u32, Want)>,
    /// Slots that go.
    pub forgotten: Vec<u32>,
}

/// What a partition gave.
#[derive(Clone, Debug)]
pub enum Given {
    /// Batches, maybe none.
    Batches {
        /// Their bytes, in order.
        slices: Vec<Slice>,
        /// How many.
        bytes: usize,
        /// Aborted transactions among them, if the reader sees committed records only.
        aborted: Vec<AbortedTransaction>,
    },
    /// The reader's history differs from ours: the epoch's end.
    Diverging(LeaderEpoch, Offset),
    /// Nothing, because of this.
    Refused(FetchRefusal),
}

/// Why a partition gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchRefusal {
    /// It is not led on this shard (any more).
    NotLed,
    /// The reader's leader epoch is not ours.
    Epoch(EpochMismatch),
    /// The offset lies outside of the log.
    OutOfRange,
    /// Its disk failed.
    Storage,
    /// What stands there on its disk is damaged; the log of the broker says where.
    Damaged,
}

/// One partition's part of an answer.
#[derive(Clone, Debug)]
pub struct Got {
    /// The slot it was asked under.
    pub slot: u32,
    /// Its offsets; all −1 if it is not here.
    pub offsets: Option<LogOffsets>,
    /// Under which epoch it is led; −1 if it is not here.
    pub leader_epoch: LeaderEpoch,
    /// What it gave.
    pub given: Given,
}

impl Got {
    /// Bytes of records.
    pub fn bytes(&self) -> usize {
        match &self.given {
            Given::Batches { bytes, .. } => *bytes,
            Given::Diverging(..) | Given::Refused(_) => 0,
        }
    }

    /// Whether the answer has to leave whatever its size.
    pub fn is_urgent(&self) -> bool {
        !matches!(self.given, Given::Batches { .. })
    }
}

/// What stands in a slot: another partition in the same slot has another number, so that what is left of the one
/// before it is told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tenant {
    slot: u32,
    number: u64,
}

/// Tenants whose partitions moved, each once.
#[derive(Debug, Default)]
struct Marked {
    tenants: RefCell<VecDeque<Tenant>>,
    moved: Event,
}

/// A partition's mark in a watch.
#[derive(Debug)]
struct Mark {
    tenant: Tenant,
    is_set: Cell<bool>,
    marked: Weak<Marked>,
}

impl Watcher for Mark {
    fn moved(&self) {
        let Some(marked) = self.marked.upgrade() else { return };
        if !self.is_set.replace(true) {
            marked.tenants.borrow_mut().push_back(self.tenant);
        }
        // Marked already it may have given too little so far, and somebody waits for more of it.
        marked.moved.notify(1);
    }
}

struct Watched<I: Io> {
    want: Want,
    partition: Option<Rc<Partition<I>>>,
    mark: Rc<Mark>,
}

/// The partitions of one reader on one shard. Lives on its thread.
pub struct Watch<I: Io> {
    watched: HashMap<u32, Watched<I>>,
    marked: Rc<Marked>,
    /// The number of the next tenant.
    next_number: u64,
}

impl<I: Io> Default for Watch<I> {
    fn default() -> Self {
        Self { watched: HashMap::new(), marked: Rc::default(), next_number: 0 }
    }
}

impl<I: Io> std::fmt::Debug for Watch<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}

impl<I: Io> Watch<I> {
    /// Takes changes over; the next fetch looks at every slot that was set.
    pub fn change(&mut self, changes: WatchChanges, partitions: &Partitions<I>) {
        for slot in changes.forgotten {
            self.watched.remove(&slot);
        }
        for (slot, want) in changes.set {
            self.set(slot, want, partitions);
        }
    }

    fn set(&mut self, slot: u32, want: Want, partitions: &Partitions<I>) {
        if self.watched.get(&slot).is_some_and(|watched| watched.want.key != want.key) {
            self.watched.remove(&slot);
        }
        let watched = self.watched.entry(slot).or_insert_with(|| {
            let partition = partitions.get(want.key);
            let tenant = Tenant { slot, number: self.next_number };
            self.next_number += 1;
            let mark =
                Rc::new(Mark { tenant, is_set: Cell::new(false), marked: Rc::downgrade(&self.marked) });
            if let Some(partition) = &partition {
                partition.log().watch(&mark);
            }
            Watched { want: want.clone(), partition, mark }
        });
        watched.want = want;
        watched.mark.moved();
    }

    /// Reads what is marked until enough is there, a partition refuses, or `end` completes. Everything that was
    /// looked at is in the answer, by slot in the order it was marked.
    pub async fn fetch(&mut self, limits: FetchLimits, end: impl Future<Output = ()>) -> Vec<Got> {
        let mut end = std::pin::pin!(end);
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        let mut answer: Vec<Got> = Vec::new();
        loop {
            let moved = self.marked.moved.listen();
            self.pass(limits, &mut seen, &mut answer).await;
            let bytes: usize = answer.iter().map(Got::bytes).sum();
            if bytes >= limits.bytes_min || answer.iter().any(Got::is_urgent) {
                return answer;
            }
            let idle = self.marked.tenants.borrow().iter().all(|tenant| seen.contains_key(&tenant.slot));
            if !idle {
                continue;
            }
            if let Either::Right(_) = select(moved, &mut end).await {
                // Whatever came since the last look goes with it.
                self.pass(limits, &mut seen, &mut answer).await;
                return answer;
            }
        }
    }

    /// Looks once at every marked slot.
    async fn pass(&mut self, limits: FetchLimits, seen: &mut BTreeMap<u32, usize>, answer: &mut Vec<Got>) {
        let count = self.marked.tenants.borrow().len();
        let (mut bytes, mut had_their_turn) = (0, Vec::new());
        for _ in 0..count {
            let Some(tenant) = self.marked.tenants.borrow_mut().pop_front() else { break };
            let slot = tenant.slot;
            let Some(watched) = self.watched.get(&slot).filter(|watched| watched.mark.tenant == tenant)
            else {
                continue;
            };
            let (got, has_more) = watched.read(limits, bytes).await;
            // It stays marked, which wakes nobody: there is nothing new. A read that waited may have seen it move
            // again: then it is marked already.
            if has_more && !watched.mark.is_set.replace(true) {
                let mut waiting = self.marked.tenants.borrow_mut();
                if got.bytes() > 0 { had_their_turn.push(tenant) } else { waiting.push_back(tenant) }
            }
            bytes += got.bytes();
            if let Some(&at) = seen.get(&slot) {
                answer[at] = got;
            } else {
                seen.insert(slot, answer.len());
                answer.push(got);
            }
        }
        self.marked.tenants.borrow_mut().extend(had_their_turn);
    }
}

impl<I: Io> Watched<I> {
    /// Reads the partition; what other partitions gave already counts against the limit. Also says whether the next
    /// fetch has to look again, moved or not: until its reader wants something else, the partition has more to give.
    async fn read(&self, limits: FetchLimits, bytes_before: usize) -> (Got, bool) {
        let slot = self.mark.tenant.slot;
        let Some(partition) = self.partition.as_ref().filter(|partition| !partition.has_left()) else {
            self.mark.is_set.set(false);
            let given = Given::Refused(FetchRefusal::NotLed);
            return (Got { slot, offsets: None, leader_epoch: LeaderEpoch(-1), given }, true);
        };
        // Moving the high watermark up marks, and that move is seen here.
        let offsets = partition.offsets();
        self.mark.is_set.set(false);
        let given = self.give(partition, &offsets, limits, bytes_before).await;
        let got = Got {
            slot,
            offsets: Some(offsets),
            leader_epoch: partition.leader_epoch(),
            given: given.unwrap_or_else(Given::Refused),
        };
        let has_more =
            got.is_urgent() || self.want.from < Partition::<I>::read_end(&offsets, limits.committed_only);
        (got, has_more)
    }

    async fn give(
        &self,
        partition: &Partition<I>,
        offsets: &LogOffsets,
        limits: FetchLimits,
        bytes_before: usize,
    ) -> Result<Given, FetchRefusal> {
        let want = &self.want;
        partition.check_leader_epoch(want.current_leader_epoch).map_err(FetchRefusal::Epoch)?;
        if want.last_fetched_epoch >= 0 {
            let end = partition.log().epoch_end_offset(LeaderEpoch(want.last_fetched_epoch));
            let (epoch, end_offset) = end.ok_or(FetchRefusal::OutOfRange)?;
            if epoch.0 < want.last_fetched_epoch || end_offset < want.from {
                return Ok(Given::Diverging(epoch, end_offset));
            }
        }
        if want.from < offsets.log_start_offset || want.from > offsets.log_end_offset {
            return Err(FetchRefusal::OutOfRange);
        }
        let end = Partition::<I>::read_end(offsets, limits.committed_only);
        let at_least_one = bytes_before == 0;
        let bytes_max = want.bytes_max.min(limits.bytes_max.saturating_sub(bytes_before));
        if want.from >= end || (bytes_max == 0 && !at_least_one) {
            return Ok(Given::Batches { slices: Vec::new(), bytes: 0, aborted: Vec::new() });
        }
        let log = partition.log();
        let read = async {
            let fetched = log.read(want.from, ReadLimits { end, bytes_max, at_least_one }).await?;
            let is_asked = limits.committed_only && fetched.bytes > 0;
            let aborted = if is_asked { log.aborted(want.from..fetched.end).await? } else { Vec::new() };
            Ok(Given::Batches { slices: fetched.slices, bytes: fetched.bytes, aborted })
        };
        match read.await {
            Ok(given) => Ok(given),
            Err(ReadError::OutOfRange { .. }) => Err(FetchRefusal::OutOfRange),
            Err(ReadError::Closed) => Err(FetchRefusal::NotLed),
            Err(ReadError::Damaged { .. }) => Err(FetchRefusal::Damaged),
            Err(error) => {
                tracing::error!(key = ?partition.key(), from = %want.from, %error, "read failed");
                Err(FetchRefusal::Storage)
            }
        }
    }
}
