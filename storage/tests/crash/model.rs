//! What the store has been told and what it has promised. How a store that was opened is compared with it stands in
//! [`crate::checks`].

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ringmain_storage::config::{Durability, TimestampType};
use ringmain_storage::record::batch;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey, TimestampMs};

use crate::checks::check_log;
use crate::shards::Shards;
use crate::wide::flush_messages;

/// Whether a log must, may or must not be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existence {
    /// Asked for, not answered.
    Creating,
    /// Its creation was acknowledged.
    There,
    /// Its removal was asked for, not answered.
    Deleting,
    /// Its removal was acknowledged.
    Gone,
}

/// One batch that was appended.
#[derive(Clone)]
pub(crate) struct SentBatch {
    /// As produced: base offset 0.
    pub(crate) produced: Bytes,
    /// As it has to be read.
    pub(crate) stored: Bytes,
    /// The offset it was given.
    pub(crate) base_offset: i64,
    /// Exclusive.
    pub(crate) end: i64,
    /// The epoch it was appended in.
    pub(crate) leader_epoch: LeaderEpoch,
}

impl SentBatch {
    /// What becomes of a batch that is appended at `base_offset`.
    pub(crate) fn new(
        produced: Bytes,
        base_offset: i64,
        leader_epoch: LeaderEpoch,
        stamped: (TimestampType, TimestampMs),
    ) -> Self {
        let mut stored = BytesMut::from(&produced[..]);
        if stamped.0 == TimestampType::LogAppendTime {
            batch::set_log_append_time(&mut stored, stamped.1);
        }
        batch::stamp(&mut stored, Offset(base_offset), leader_epoch);
        let end = batch::BatchHeader::read(&stored).unwrap().next_offset().0;
        Self { produced, stored: stored.freeze(), base_offset, end, leader_epoch }
    }

    /// Its header, as it is stored.
    pub(crate) fn header(&self) -> &batch::BatchHeader {
        batch::BatchHeader::read(&self.stored).unwrap()
    }
}

/// One log as it should be.
#[derive(Clone)]
pub(crate) struct ExpectedLog {
    /// Whether it is there.
    pub(crate) existence: Existence,
    /// All batches appended since it was made, acknowledged or not.
    pub(crate) sent: Vec<SentBatch>,
    /// End of what was acknowledged.
    pub(crate) acknowledged_end: i64,
    /// End of what a reader saw.
    pub(crate) seen_end: i64,
    /// End of what was on stable media when it was last opened or stopped.
    pub(crate) synced_end: i64,
    /// Whether it was truncated: what its producers wrote below its start may be forgotten then, as in Kafka.
    pub(crate) is_truncated: bool,
    /// The log start that was answered, and the one that was asked for.
    pub(crate) start: (i64, i64),
    /// Batches there were when a clean stop last began: of those before, each producer's last one alone stays known.
    pub(crate) stopped_at: usize,
}

impl ExpectedLog {
    /// An empty log that was asked for.
    pub(crate) fn new() -> Self {
        Self {
            existence: Existence::Creating,
            sent: Vec::new(),
            acknowledged_end: 0,
            seen_end: 0,
            synced_end: 0,
            is_truncated: false,
            start: (0, 0),
            stopped_at: 0,
        }
    }

    /// End of what was appended.
    pub(crate) fn sent_end(&self) -> i64 {
        self.sent.last().map_or(0, |batch| batch.end)
    }
}

/// All logs as they should be.
#[derive(Clone)]
pub(crate) struct Expected {
    /// Every log ever asked for.
    pub(crate) logs: BTreeMap<PartitionKey, ExpectedLog>,
    /// How often the store was opened: each time by another number of shards.
    pub(crate) opens: u32,
    /// Log directories.
    pub(crate) directories: usize,
    /// When records are acknowledged.
    pub(crate) durability: Durability,
    /// Whether logs are truncated now and then.
    pub(crate) truncates: bool,
}

impl Default for Expected {
    fn default() -> Self {
        let durability = Durability::Strict;
        Self { logs: BTreeMap::new(), opens: 0, directories: 1, durability, truncates: false }
    }
}

impl Expected {
    /// Nothing yet, and the first store has `shard_count` shards, of 1 to 3.
    pub(crate) fn with_shards(shard_count: u32) -> Self {
        Self { opens: shard_count - 1, ..Self::default() }
    }

    /// How many shards the next start has.
    pub(crate) fn next_shard_count(&mut self) -> u32 {
        self.opens += 1;
        (self.opens - 1) % 3 + 1
    }

    /// A clean stop begins.
    pub(crate) fn stopping(&mut self) {
        for log in self.logs.values_mut() {
            log.stopped_at = log.sent.len();
        }
    }

    /// A clean stop has ended.
    pub(crate) fn stopped(&mut self) {
        for log in self.logs.values_mut() {
            log.synced_end = log.sent_end();
        }
    }

    /// The power was cut: under relaxed durability what was not synced may be lost, unless its topic flushes every record.
    pub(crate) fn power_cut(&mut self) {
        if self.durability == Durability::Strict {
            return;
        }
        for (_, log) in self.logs.iter_mut().filter(|(key, _)| flush_messages(**key) > 1) {
            log.acknowledged_end = log.synced_end.max(log.start.0);
            log.seen_end = log.acknowledged_end;
        }
    }

    /// Checks a store that has just been opened: every acknowledged batch is there, once, in order, at its
    /// offset, with its bytes; nothing stands there that was not sent. What was found is from now on
    /// acknowledged, since readers may have seen it.
    pub(crate) async fn check(&mut self, manager: &Shards) -> Result<(), String> {
        if let [offline, ..] = &manager.offline()[..] {
            return Err(offline.clone());
        }
        self.check_what_is_there(manager).await
    }

    /// The same of a store that may have found damage: what is offline is nobody's, the rest is as it was.
    pub(crate) async fn check_what_is_there(&mut self, manager: &Shards) -> Result<(), String> {
        for key in manager.keys() {
            if !self.logs.contains_key(&key) {
                return Err(format!("{key:?} was never made"));
            }
        }
        for (key, expected) in &mut self.logs {
            if manager.is_offline(*key) {
                continue;
            }
            let log = manager.log(*key);
            match (expected.existence, log) {
                (Existence::There, None) => return Err(format!("{key:?} is gone")),
                (Existence::Gone, Some(_)) => return Err(format!("{key:?} came back")),
                (_, None) => expected.existence = Existence::Gone,
                (_, Some(log)) => {
                    check_log(&log, expected).await.map_err(|what| format!("{key:?}: {what}"))?;
                    expected.existence = Existence::There;
                }
            }
        }
        Ok(())
    }

    /// Checks that what was promised is still what the running store serves.
    pub(crate) async fn check_running(&self, manager: &Shards) -> Result<(), String> {
        self.clone().check(manager).await
    }
}
