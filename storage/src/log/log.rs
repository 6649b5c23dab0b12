//! A partition's log.

use std::marker::PhantomData;

use bytes::BytesMut;
use event_listener::EventListener;

use super::LogOffsets;
use crate::config::LogConfig;
use crate::error::{AppendError, ReadError, StorageFailed};
use crate::io::Io;
use crate::segment::{Fetched, ReadLimits};
use crate::types::{LeaderEpoch, Offset, PartitionKey, TimestampMs};

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record: wait for `last_offset + 1` to be durable.
    pub last_offset: Offset,
    /// The broker's time if the log stamps it, else −1.
    pub log_append_time: TimestampMs,
    /// First offset that may be read.
    pub log_start_offset: Offset,
    /// The batch was there already; the offsets are the original's, which may not be durable yet.
    pub duplicate: bool,
}

/// One partition's log. Lives on its shard's thread, behind `Rc`.
#[derive(Debug)]
pub struct Log<I: Io> {
    io: PhantomData<I>,
}

impl<I: Io> Log<I> {
    /// The partition it is.
    pub fn key(&self) -> PartitionKey {
        unimplemented!()
    }

    /// Appends one batch that `record::validate` accepted: checks the producer's sequence, assigns offsets,
    /// queues the bytes to the journal. Synchronous: appends of one log happen in the order of calls.
    /// Nothing is durable before [`wait_durable`](Self::wait_durable) says so.
    pub fn append(
        &self,
        batch: BytesMut,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let _ = (batch, leader_epoch, now);
        unimplemented!()
    }

    /// Completes while the store takes more appends; before a large produce, await it.
    pub async fn room(&self) -> Result<(), StorageFailed> {
        unimplemented!()
    }

    /// Completes when everything below `end` is on stable media, or fails when it never will be.
    pub async fn wait_durable(&self, end: Offset) -> Result<(), StorageFailed> {
        let _ = end;
        unimplemented!()
    }

    /// The offsets now.
    pub fn offsets(&self) -> LogOffsets {
        unimplemented!()
    }

    /// Why the log is offline, if it is.
    pub fn failure(&self) -> Option<StorageFailed> {
        unimplemented!()
    }

    /// Moves the high watermark forward, never above the durable offset and never back.
    pub fn set_high_watermark(&self, offset: Offset) {
        let _ = offset;
        unimplemented!()
    }

    /// Fires when the durable offset, the high watermark or the state moves. Take it before looking.
    pub fn changed(&self) -> EventListener {
        unimplemented!()
    }

    /// Batches from the one that holds `from` on.
    pub async fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched, ReadError> {
        let _ = (from, limits);
        unimplemented!()
    }

    /// First record below `end` whose timestamp is at least `at`: its timestamp and offset.
    pub async fn offset_for_timestamp(
        &self,
        at: TimestampMs,
        end: Offset,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let _ = (at, end);
        unimplemented!()
    }

    /// The record with the largest timestamp: its timestamp and offset.
    pub async fn max_timestamp(&self) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        unimplemented!()
    }

    /// Where `epoch` ended: the largest epoch known that is not above it, and its end offset (KIP-320).
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let _ = epoch;
        unimplemented!()
    }

    /// The newest leader epoch any batch carries.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        unimplemented!()
    }

    /// Settings now.
    pub fn config(&self) -> LogConfig {
        unimplemented!()
    }

    /// Takes new settings from the next append on.
    pub fn set_config(&self, config: LogConfig) {
        let _ = config;
        unimplemented!()
    }

    /// Bytes of all segments, pending ones included (DescribeLogDirs).
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
}
