//! Makes the image while a snapshot and the log after it are read.
//!
//! A batch is atomic by itself; records between `BeginTransaction` and `EndTransaction` are so together, even
//! over batches: an abort, or a log that ends before the end, takes them back.

use super::batch::{Batch, BatchContent};
use super::control_record::{ControlKind, ControlRecord};
use super::delta::{MetadataDelta, ReplayError};
use super::image::MetadataImage;
use ringmain_protocol::metadata::MetadataRecord;

/// The image so far, and what else of the log a leader needs to know.
#[derive(Debug)]
pub struct Loader {
    image: MetadataImage,
    /// The image before the transaction that is open.
    before_transaction: Option<MetadataImage>,
    kraft_version: Option<ControlRecord>,
    voters: Option<ControlRecord>,
    last_timestamp_ms: i64,
}

impl Loader {
    /// Nothing read yet.
    pub fn new(cluster_id: &str) -> Self {
        Self {
            image: MetadataImage::empty(cluster_id),
            before_transaction: None,
            kraft_version: None,
            voters: None,
            last_timestamp_ms: 0,
        }
    }

    /// Applies a batch.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        self.last_timestamp_ms = self.last_timestamp_ms.max(batch.stamp.timestamp_ms);
        match &batch.records {
            BatchContent::Control(records) => {
                for record in records {
                    self.control(record);
                }
                (self.image.end_offset, self.image.epoch) = (batch.end_offset, batch.stamp.epoch);
                Ok(())
            }
            BatchContent::Data(records) => self.data(records, batch.end_offset, batch.stamp.epoch),
        }
    }

    /// Says that what was applied so far came from a snapshot that ends there.
    pub fn end_of_snapshot(&mut self, end_offset: i64, epoch: i32) {
        (self.image.end_offset, self.image.epoch) = (end_offset, epoch);
    }

    /// Applies metadata records.
    pub fn data(
        &mut self,
        records: &[MetadataRecord],
        end_offset: i64,
        epoch: i32,
    ) -> Result<(), ReplayError> {
        let mut delta = MetadataDelta::new(&self.image);
        for record in records {
            match record {
                MetadataRecord::BeginTransaction(_) => {
                    let (image, _) = delta.finish(end_offset, epoch);
                    delta = MetadataDelta::new(&image);
                    self.before_transaction = Some(image);
                }
                MetadataRecord::EndTransaction(_) => self.before_transaction = None,
                MetadataRecord::AbortTransaction(_) => {
                    if let Some(image) = self.before_transaction.take() {
                        delta = MetadataDelta::new(&image);
                    }
                }
                other => delta.replay(other)?,
            }
        }
        self.image = delta.finish(end_offset, epoch).0;
        Ok(())
    }

    fn control(&mut self, record: &ControlRecord) {
        match record.kind {
            ControlKind::KRaftVersion => {
                self.image.kraft_version = record.kraft_level().unwrap_or(0);
                self.kraft_version = Some(record.clone());
            }
            ControlKind::KRaftVoters => self.voters = Some(record.clone()),
            ControlKind::LeaderChange | ControlKind::SnapshotHeader | ControlKind::SnapshotFooter => {}
        }
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// The newest record of the voters.
    pub fn voters(&self) -> Option<&ControlRecord> {
        self.voters.as_ref()
    }

    /// The control records a snapshot has to carry on.
    pub fn control_records(&self) -> Vec<ControlRecord> {
        self.kraft_version.iter().chain(&self.voters).cloned().collect()
    }

    /// Time of the newest batch.
    pub fn last_timestamp_ms(&self) -> i64 {
        self.last_timestamp_ms
    }

    /// The image so far.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }
}
