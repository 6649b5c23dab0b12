//! Snapshots: all metadata up to an offset, in one file, so that the log before it can go.
//!
//! `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`: batches whose offsets count from 0, in the epoch of
//! the name. A snapshot is **whole** if and only if every batch is valid from the first byte to the last, the
//! first record is a `SnapshotHeader` and the last a `SnapshotFooter`. `0-0` is there from the formatting on and
//! holds the voters only; it is never served to others.

use super::batch::{self, Batch, BatchContent, NewBatch, ReadError, Stamp, WriteError};
use super::control_record::{ControlKind, ControlRecord};
use ringmain_protocol::metadata::MetadataRecord;

/// Records in one batch of a snapshot: some hundred kilobytes, so that no reader needs a large buffer.
const BATCH_RECORDS_MAX: usize = 4096;

/// Which snapshot: the end of what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// Offset after the last record in it.
    pub end_offset: i64,
    /// Epoch of that record.
    pub epoch: i32,
}

impl SnapshotId {
    /// Its file's name.
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}.checkpoint", self.end_offset, self.epoch)
    }

    /// The snapshot of that file name, if it is one's.
    pub fn parse(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let id = Self { end_offset: offset.parse().ok()?, epoch: epoch.parse().ok()? };
        (id.file_name() == name).then_some(id)
    }
}

/// What a snapshot is made of.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotContent<'a> {
    /// Control records after the header: the level of `kraft.version` and the voters.
    pub control: &'a [ControlRecord],
    /// All metadata.
    pub records: &'a [MetadataRecord],
    /// Versions of which `metadata.version` they are written in.
    pub metadata_version: i16,
    /// Time of the last record in it, which its header tells; 0 if there is none.
    pub last_timestamp_ms: i64,
    /// The time now.
    pub now_ms: i64,
}

/// The bytes of a snapshot file in that epoch.
pub fn write(content: SnapshotContent<'_>, epoch: i32) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    let mut base_offset = 0;
    let mut put = |batch: NewBatch<'_>, count: usize| {
        let stamp = Stamp { base_offset, epoch, timestamp_ms: content.now_ms };
        bytes.extend_from_slice(&batch::write(batch, stamp)?);
        base_offset += i64::try_from(count).unwrap_or(i64::MAX);
        Ok::<(), WriteError>(())
    };
    let mut head = vec![ControlRecord::snapshot_header(content.last_timestamp_ms)];
    head.extend_from_slice(content.control);
    put(NewBatch::Control(&head), head.len())?;
    for records in content.records.chunks(BATCH_RECORDS_MAX) {
        put(NewBatch::Data(records, content.metadata_version), records.len())?;
    }
    put(NewBatch::Control(&[ControlRecord::snapshot_footer()]), 1)?;
    Ok(bytes)
}

/// Reads a snapshot's batches. Nothing of it may be used unless all of it is whole.
pub fn read(bytes: &[u8]) -> Result<Vec<Batch>, ReadError> {
    let mut batches: Vec<Batch> = Vec::new();
    let (mut at, mut offset) = (0, 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let batch = batch::read(rest, offset, 0)?;
        (at, offset) = (at + batch.bytes, batch.end_offset);
        batches.push(batch);
    }
    let control = |batch: Option<&Batch>, at_end: bool| match batch.map(|batch| &batch.records) {
        Some(BatchContent::Control(records)) if at_end => records.last().map(|record| record.kind),
        Some(BatchContent::Control(records)) => records.first().map(|record| record.kind),
        _ => None,
    };
    if control(batches.first(), false) != Some(ControlKind::SnapshotHeader) {
        return Err(ReadError::Invalid("the snapshot has no header"));
    }
    if control(batches.last(), true) != Some(ControlKind::SnapshotFooter) {
        return Err(ReadError::Invalid("the snapshot has no footer"));
    }
    Ok(batches)
}
