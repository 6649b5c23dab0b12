//! A partition this broker leads, and the table of all of them on one shard.
//!
//! With one replica the high watermark is the durable offset: whoever looks at the offsets moves it up
//! first, so no task runs per partition and an idle one costs its memory only. Whoever waits for data listens
//! to the log, which tells when its durable offset moved. The order asserted here is the one of the design:
//! log start ≤ last stable ≤ high watermark ≤ durable ≤ log end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use ringmain_storage::io::Io;
use ringmain_storage::log::{Log, LogOffsets};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey};

use super::settings::TopicSettings;

/// Stands for no leader epoch.
const NO_EPOCH: i32 = -1;

/// One partition led by this broker. Lives on its shard's thread.
pub struct Partition<I: Io> {
    key: PartitionKey,
    log: Rc<Log<I>>,
    leader_epoch: Cell<LeaderEpoch>,
    settings: RefCell<Rc<TopicSettings>>,
    /// Whether it is led here no more.
    has_left: Cell<bool>,
}

/// How a client's idea of the leader epoch differs from ours (KIP-320).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochMismatch {
    /// The client's is older: its metadata is stale.
    Fenced,
    /// The client's is newer: ours is stale.
    Unknown,
}

impl<I: Io> Partition<I> {
    /// A partition over its log, led since `leader_epoch`.
    pub fn new(
        key: PartitionKey,
        log: Rc<Log<I>>,
        leader_epoch: LeaderEpoch,
        settings: Rc<TopicSettings>,
    ) -> Self {
        let settings = RefCell::new(settings);
        let (leader_epoch, has_left) = (Cell::new(leader_epoch), Cell::new(false));
        let partition = Self { key, log, leader_epoch, settings, has_left };
        partition.advance_high_watermark();
        partition
    }

    /// What its topic is set to.
    pub fn settings(&self) -> Rc<TopicSettings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Takes new settings over, its log's too, from the next append on.
    pub fn set_settings(&self, settings: Rc<TopicSettings>) {
        self.log.set_config(settings.log.clone());
        *self.settings.borrow_mut() = settings;
    }

    /// What names it.
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// Its log.
    pub fn log(&self) -> &Rc<Log<I>> {
        &self.log
    }

    /// Whether it was taken out of the table: who still holds it, holds something of the past.
    pub fn has_left(&self) -> bool {
        self.has_left.get()
    }

    /// Under which epoch it is led.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch.get()
    }

    /// Takes over a newer epoch; an older one is ignored, epochs never regress.
    pub fn set_leader_epoch(&self, leader_epoch: LeaderEpoch) {
        self.leader_epoch.set(self.leader_epoch.get().max(leader_epoch));
    }

    /// Checks the epoch a client believes in; −1 means that it does not say.
    pub fn check_leader_epoch(&self, current: i32) -> Result<(), EpochMismatch> {
        match current.cmp(&self.leader_epoch.get().0) {
            _ if current == NO_EPOCH => Ok(()),
            std::cmp::Ordering::Less => Err(EpochMismatch::Fenced),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(EpochMismatch::Unknown),
        }
    }

    /// Its offsets, the high watermark as far as it may be now.
    pub fn offsets(&self) -> LogOffsets {
        self.advance_high_watermark();
        let offsets = self.log.offsets();
        offsets.check();
        offsets
    }

    /// Up to where a reader may read: the last stable offset if only committed records interest it, else the
    /// high watermark.
    pub fn read_end(offsets: &LogOffsets, committed_only: bool) -> Offset {
        if committed_only { offsets.last_stable_offset } else { offsets.high_watermark }
    }

    /// The leader epoch under which the record at `offset` was or will be appended; −1 if nobody knows. Walks the epochs from
    /// the newest back, of which there is one for each time the leadership changed.
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        if offset >= self.log.offsets().log_end_offset {
            return self.leader_epoch();
        }
        let mut epoch = self.log.latest_epoch();
        while let Some(candidate) = epoch {
            match self.log.epoch_end_offset(LeaderEpoch(candidate.0 - 1)) {
                Some((before, start)) if offset < start && before < candidate => epoch = Some(before),
                _ => return candidate,
            }
        }
        LeaderEpoch(-1)
    }

    /// Where `epoch` ended: the largest epoch known that is not above it, and its end offset. Our own epoch is known
    /// from its beginning on, which the log only learns from the first batch.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let own = self.leader_epoch.get();
        let latest = self.log.latest_epoch();
        if epoch.0 == NO_EPOCH || epoch > own {
            return None;
        }
        if latest.is_none_or(|latest| latest < epoch) {
            let known = if epoch == own { own } else { latest.unwrap_or(epoch) };
            return Some((known, self.log.offsets().log_end_offset));
        }
        self.log.epoch_end_offset(epoch)
    }

    /// Moves the high watermark to the durable offset: with one replica every durable record is on all
    /// in-sync replicas.
    pub fn advance_high_watermark(&self) {
        let offsets = self.log.offsets();
        if offsets.high_watermark < offsets.durable_offset {
            self.log.set_high_watermark(offsets.durable_offset);
        }
    }
}

impl<I: Io> std::fmt::Debug for Partition<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("key", &self.key)
            .field("leader_epoch", &self.leader_epoch.get())
            .finish_non_exhaustive()
    }
}

/// The partitions this shard leads.
#[derive(Debug)]
pub struct Partitions<I: Io> {
    by_key: RefCell<HashMap<PartitionKey, Rc<Partition<I>>>>,
}

impl<I: Io> Default for Partitions<I> {
    fn default() -> Self {
        Self { by_key: RefCell::default() }
    }
}

impl<I: Io> Partitions<I> {
    /// The partition, if this shard leads it.
    pub fn get(&self, key: PartitionKey) -> Option<Rc<Partition<I>>> {
        self.by_key.borrow().get(&key).cloned()
    }

    /// Adds a partition, or hands a newer epoch to the one that is there.
    pub fn insert(&self, partition: Partition<I>) -> Rc<Partition<I>> {
        let mut by_key = self.by_key.borrow_mut();
        if let Some(there) = by_key.get(&partition.key) {
            there.set_leader_epoch(partition.leader_epoch());
            return Rc::clone(there);
        }
        let partition = Rc::new(partition);
        by_key.insert(partition.key, Rc::clone(&partition));
        partition
    }

    /// Takes a partition out: from now on it is not led here.
    pub fn remove(&self, key: PartitionKey) -> Option<Rc<Partition<I>>> {
        let removed = self.by_key.borrow_mut().remove(&key);
        removed.inspect(|partition| partition.has_left.set(true))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
