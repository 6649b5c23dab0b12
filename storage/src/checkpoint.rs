//! The journal's checkpoint: from where replay is needed, and per log what replay alone cannot tell.
//! One file, `ringmain.journal/checkpoint`, replaced atomically. Absent, damaged and of an unknown version
//! are three answers.
//!
//! Layout, little-endian: `RMCP`, version u32, epoch u64, first sequence u64, log count u32, the logs, from version 2 on
//! the count u32 of logs that cannot be used and their keys (topic id, partition i32), CRC32C of all before it u32. A log: topic id (16 bytes), partition i32, incarnation u64, log start i64, high
//! watermark i64, recovery segment i64, recovery position u64, recovery offset i64, state offset i64, epoch
//! count u32 and epochs (epoch i32, start i64), producer count u32 and producers (id i64, epoch i16,
//! coordinator epoch i32, last timestamp i64, seen at i64, transaction start i64 or −1, batch count u8 and batches
//! (last sequence i32, last offset i64, offset delta i32, timestamp i64)), from version 3 on a count u32 of aborted
//! transactions (producer id, first, last and last stable offset, each i64).
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]

use bytes::{Buf, BufMut};

use crate::journal::journal::LogPoint;
use crate::journal::replay::ReplayFrom;
use crate::log::epoch_cache::EpochCache;
use crate::log::producer_state::{BatchMetadata, ProducerState, RestoredProducer};
use crate::segment::txn_index::AbortedTransaction;
use crate::types::{
    LeaderEpoch, Offset, PartitionIndex, PartitionKey, ProducerEpoch, ProducerId, TimestampMs, TopicId,
};

/// Its name in the journal's directory.
pub const FILE_NAME: &str = "checkpoint";
/// Larger files are refused unread: 256 MiB are the state of a million producers.
pub const BYTES_MAX: usize = 256 << 20;
const MAGIC: &[u8; 4] = b"RMCP";
const VERSION: u32 = 3;
/// Before it no aborted transactions were kept.
const VERSION_ABORTED: u32 = 3;
/// The first version: no logs that cannot be used.
const VERSION_LOGS_ONLY: u32 = 1;

/// What is kept of one log.
#[derive(Clone, Debug)]
pub struct LogCheckpoint {
    /// Whose it is.
    pub key: PartitionKey,
    /// Which life of the log.
    pub incarnation: u64,
    /// First offset that may be read.
    pub log_start_offset: Offset,
    /// High watermark.
    pub high_watermark: Offset,
    /// Below it segments are whole and synced; a batch begins there.
    pub recovery_point: LogPoint,
    /// Log end if nothing follows the recovery point.
    pub recovery_offset: Offset,
    /// Producers and epochs cover all batches below it.
    pub state_offset: Offset,
    /// Leader epochs.
    pub epochs: EpochCache,
    /// Producers.
    pub producers: ProducerState,
    /// Aborted transactions below `state_offset` that no transaction index has yet; `None` in older versions.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// From where the journal is needed.
    pub from: ReplayFrom,
    /// The logs.
    pub logs: Vec<LogCheckpoint>,
    /// Logs that cannot be used: older journals, or the clean stop before, say what they have.
    pub offline: Vec<PartitionKey>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Written by a newer build.
    UnknownVersion(u32),
    /// What is wrong with it.
    Damaged(&'static str),
}

fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Checkpoint {
    /// The file's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u64_le(self.from.epoch);
        out.put_u64_le(self.from.sequence);
        out.put_u32_le(count32(self.logs.len()));
        for log in &self.logs {
            log.write(&mut out);
        }
        out.put_u32_le(count32(self.offline.len()));
        for key in &self.offline {
            out.put_slice(&key.topic_id.0);
            out.put_i32_le(key.partition.0);
        }
        out.put_u32_le(crc32c::crc32c(&out));
        out
    }

    /// Reads a file's bytes.
    pub fn read(file: &[u8]) -> Result<Self, CheckpointError> {
        use CheckpointError::Damaged;
        let (magic, rest) = file.split_first_chunk::<4>().ok_or(Damaged("too short"))?;
        if magic != MAGIC {
            return Err(Damaged("not a checkpoint"));
        }
        let version = u32::from_le_bytes(*rest.first_chunk().ok_or(Damaged("too short"))?);
        // Whatever the version, the checksum is the last thing: a version that is damaged is no newer one.
        let (content, checksum) = file.split_last_chunk::<4>().ok_or(Damaged("too short"))?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
            return Err(Damaged("checksum"));
        }
        if !(VERSION_LOGS_ONLY..=VERSION).contains(&version) {
            return Err(CheckpointError::UnknownVersion(version));
        }
        let mut bytes = content.get(8..).ok_or(Damaged("too short"))?;
        Self::read_content(version, &mut bytes).ok_or(Damaged("a field is cut short"))
    }

    fn read_content(version: u32, bytes: &mut &[u8]) -> Option<Self> {
        let from = ReplayFrom { epoch: bytes.try_get_u64_le().ok()?, sequence: bytes.try_get_u64_le().ok()? };
        let count = bytes.try_get_u32_le().ok()?;
        let logs = (0..count).map(|_| LogCheckpoint::read(version, bytes)).collect::<Option<_>>()?;
        let mut offline = Vec::new();
        let count = if version == VERSION_LOGS_ONLY { 0 } else { bytes.try_get_u32_le().ok()? };
        for _ in 0..count {
            let mut topic_id = [0; 16];
            bytes.try_copy_to_slice(&mut topic_id).ok()?;
            let partition = PartitionIndex(bytes.try_get_i32_le().ok()?);
            offline.push(PartitionKey { topic_id: TopicId(topic_id), partition });
        }
        bytes.is_empty().then_some(Self { from, logs, offline })
    }
}

impl LogCheckpoint {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.key.topic_id.0);
        out.put_i32_le(self.key.partition.0);
        out.put_u64_le(self.incarnation);
        out.put_i64_le(self.log_start_offset.0);
        out.put_i64_le(self.high_watermark.0);
        out.put_i64_le(self.recovery_point.segment_base.0);
        out.put_u64_le(self.recovery_point.position);
        out.put_i64_le(self.recovery_offset.0);
        out.put_i64_le(self.state_offset.0);
        out.put_u32_le(count32(self.epochs.entries().len()));
        for entry in self.epochs.entries() {
            out.put_i32_le(entry.epoch.0);
            out.put_i64_le(entry.start_offset.0);
        }
        out.put_u32_le(count32(self.producers.count()));
        for (id, producer) in self.producers.iter() {
            out.put_i64_le(id.0);
            out.put_i16_le(producer.epoch.0);
            out.put_i32_le(producer.coordinator_epoch);
            out.put_i64_le(producer.last_timestamp.0);
            out.put_i64_le(producer.seen_at.0);
            out.put_i64_le(producer.transaction_first_offset.map_or(-1, |offset| offset.0));
            out.put_u8(u8::try_from(producer.batches().len()).unwrap_or(u8::MAX));
            for batch in producer.batches() {
                out.put_i32_le(batch.last_sequence);
                out.put_i64_le(batch.last_offset.0);
                out.put_i32_le(batch.offset_delta);
                out.put_i64_le(batch.timestamp.0);
            }
        }
        let aborted = self.aborted.as_deref().unwrap_or_default();
        out.put_u32_le(count32(aborted.len()));
        for one in aborted {
            out.put_i64_le(one.producer_id.0);
            out.put_i64_le(one.first_offset.0);
            out.put_i64_le(one.last_offset.0);
            out.put_i64_le(one.last_stable_offset.0);
        }
    }

    fn read(version: u32, bytes: &mut &[u8]) -> Option<Self> {
        let mut topic_id = [0; 16];
        bytes.try_copy_to_slice(&mut topic_id).ok()?;
        let partition = PartitionIndex(bytes.try_get_i32_le().ok()?);
        let mut log = Self {
            key: PartitionKey { topic_id: TopicId(topic_id), partition },
            incarnation: bytes.try_get_u64_le().ok()?,
            log_start_offset: Offset(bytes.try_get_i64_le().ok()?),
            high_watermark: Offset(bytes.try_get_i64_le().ok()?),
            recovery_point: LogPoint {
                segment_base: Offset(bytes.try_get_i64_le().ok()?),
                position: bytes.try_get_u64_le().ok()?,
            },
            recovery_offset: Offset(bytes.try_get_i64_le().ok()?),
            state_offset: Offset(bytes.try_get_i64_le().ok()?),
            epochs: EpochCache::new(),
            producers: ProducerState::new(),
            aborted: None,
        };
        for _ in 0..bytes.try_get_u32_le().ok()? {
            let epoch = LeaderEpoch(bytes.try_get_i32_le().ok()?);
            log.epochs.assign(epoch, Offset(bytes.try_get_i64_le().ok()?));
        }
        for _ in 0..bytes.try_get_u32_le().ok()? {
            log.read_producer(bytes)?;
        }
        if version >= VERSION_ABORTED {
            let count = bytes.try_get_u32_le().ok()?;
            log.aborted = Some((0..count).map(|_| read_aborted(bytes)).collect::<Option<_>>()?);
        }
        Some(log)
    }

    fn read_producer(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let id = ProducerId(bytes.try_get_i64_le().ok()?);
        let epoch = ProducerEpoch(bytes.try_get_i16_le().ok()?);
        let coordinator_epoch = bytes.try_get_i32_le().ok()?;
        let last_timestamp = TimestampMs(bytes.try_get_i64_le().ok()?);
        let seen_at = TimestampMs(bytes.try_get_i64_le().ok()?);
        let first = bytes.try_get_i64_le().ok()?;
        let mut batches = Vec::new();
        for _ in 0..bytes.try_get_u8().ok()? {
            batches.push(BatchMetadata {
                last_sequence: bytes.try_get_i32_le().ok()?,
                last_offset: Offset(bytes.try_get_i64_le().ok()?),
                offset_delta: bytes.try_get_i32_le().ok()?,
                timestamp: TimestampMs(bytes.try_get_i64_le().ok()?),
            });
        }
        let restored = RestoredProducer {
            epoch,
            coordinator_epoch,
            last_timestamp,
            transaction_first_offset: (first >= 0).then_some(Offset(first)),
            seen_at,
            batches: &batches,
        };
        self.producers.restore(id, &restored);
        Some(())
    }
}

fn read_aborted(bytes: &mut &[u8]) -> Option<AbortedTransaction> {
    Some(AbortedTransaction {
        producer_id: ProducerId(bytes.try_get_i64_le().ok()?),
        first_offset: Offset(bytes.try_get_i64_le().ok()?),
        last_offset: Offset(bytes.try_get_i64_le().ok()?),
        last_stable_offset: Offset(bytes.try_get_i64_le().ok()?),
    })
}
