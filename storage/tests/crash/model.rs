//! What the store has been told and what it has promised; and the check of a recovered store against it.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use ringmain_storage::io::sim::SimIo;
use ringmain_storage::log::Log;
use ringmain_storage::record::batch;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey, TimestampMs};

use crate::shards::Shards;

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
    /// The offset it was given.
    pub(crate) base_offset: i64,
    /// Exclusive.
    pub(crate) end: i64,
    /// The epoch it was appended in.
    pub(crate) leader_epoch: LeaderEpoch,
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
}

impl ExpectedLog {
    /// End of what was appended.
    pub(crate) fn sent_end(&self) -> i64 {
        self.sent.last().map_or(0, |batch| batch.end)
    }
}

/// All logs as they should be.
#[derive(Clone, Default)]
pub(crate) struct Expected {
    /// Every log ever asked for.
    pub(crate) logs: BTreeMap<PartitionKey, ExpectedLog>,
    /// How often the store was opened: each time by another number of shards.
    pub(crate) opens: u32,
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

    /// Checks a store that has just been opened: every acknowledged batch is there, once, in order, at its
    /// offset, with its bytes; nothing stands there that was not sent. What was found is from now on
    /// acknowledged, since readers may have seen it.
    pub(crate) async fn check(&mut self, manager: &Shards) -> Result<(), String> {
        for key in manager.keys() {
            if !self.logs.contains_key(&key) {
                return Err(format!("{key:?} was never made"));
            }
        }
        for (key, expected) in &mut self.logs {
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

async fn check_log(log: &Log<SimIo>, expected: &mut ExpectedLog) -> Result<(), String> {
    let offsets = log.offsets();
    let found_end = offsets.log_end_offset.0;
    if offsets.log_start_offset != Offset(0) {
        return Err(format!("starts at {}", offsets.log_start_offset));
    }
    if offsets.durable_offset.0 < expected.acknowledged_end {
        return Err(format!(
            "{} durable, {} acknowledged",
            offsets.durable_offset, expected.acknowledged_end
        ));
    }
    let Some(batches) = (if found_end == 0 {
        Some(0)
    } else {
        expected.sent.iter().position(|batch| batch.end == found_end).map(|index| index + 1)
    }) else {
        return Err(format!("ends at {found_end}, sent up to {}", expected.sent_end()));
    };
    let bytes = read_all(log, offsets.durable_offset).await?;
    let durable = expected.sent.iter().filter(|batch| batch.end <= offsets.durable_offset.0);
    let mut wanted = BytesMut::new();
    for sent in durable {
        let mut stamped = BytesMut::from(&sent.produced[..]);
        batch::stamp(&mut stamped, Offset(sent.base_offset), sent.leader_epoch);
        wanted.extend_from_slice(&stamped);
    }
    if bytes[..] != wanted[..] {
        return Err(difference(&bytes, &wanted));
    }
    check_timestamps(log, &expected.sent[..batches], offsets.durable_offset).await?;
    expected.sent.truncate(batches);
    expected.acknowledged_end = offsets.durable_offset.0.max(expected.acknowledged_end);
    Ok(())
}

/// Reads in small steps, so that reads begin at many places.
async fn read_all(log: &Log<SimIo>, end: Offset) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut next = Offset(0);
    while next < end {
        let limits = ReadLimits { end, bytes_max: 3000, at_least_one: true };
        let fetched = log.read(next, limits).await.map_err(|error| format!("read at {next}: {error}"))?;
        let mut run = Vec::new();
        for slice in &fetched.slices {
            match slice {
                Slice::Memory(bytes) => run.extend_from_slice(bytes),
                Slice::File { .. } => return Err("a simulated disk has no descriptors".to_owned()),
            }
        }
        let before = next;
        for (header, bytes) in batch::batches(&run) {
            if header.base_offset() != next {
                return Err(format!("read at {next} found a batch at {}", header.base_offset()));
            }
            all.extend_from_slice(bytes);
            next = header.next_offset();
        }
        if next == before {
            return Err(format!("read at {next} of {end} gave no batch ({} bytes)", run.len()));
        }
    }
    Ok(all)
}

/// A record's timestamp in these tests is its batch's base offset: so the index must find that batch.
async fn check_timestamps(log: &Log<SimIo>, sent: &[SentBatch], end: Offset) -> Result<(), String> {
    for batch in sent.iter().filter(|batch| batch.end <= end.0).step_by(5) {
        let at = TimestampMs(batch.base_offset);
        let found = log.offset_for_timestamp(at, end).await.map_err(|error| error.to_string())?;
        if found != Some((at, Offset(batch.base_offset))) {
            return Err(format!("timestamp {at} found at {found:?}"));
        }
    }
    Ok(())
}

fn difference(found: &[u8], wanted: &[u8]) -> String {
    let mut text = format!("{} bytes found, {} wanted;", found.len(), wanted.len());
    let first = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let _infallible = match first {
        Some(position) => write!(text, " they differ from byte {position} on"),
        None => write!(text, " one begins with the other"),
    };
    text
}
