//! One error enum per operation. Mapping to Kafka's codes is the server's business.

use std::path::PathBuf;
use std::sync::Arc;

use crate::io::IoError;
use crate::space::is_no_space;
use crate::types::{Offset, PartitionKey};

/// Why a log is offline: the first failed write or sync of its store. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("storage is offline: {reason}")]
pub struct StorageFailed {
    /// What failed, complete for an operator.
    pub reason: Arc<str>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file is there, but its content contradicts itself.
    #[error("{path} is damaged: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A file was written by a newer ringmain.
    #[error("{path} has format version {version}, which this build does not know", path = path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u32,
    },
    /// The journal holds acknowledged records that cannot be read back.
    #[error("the journal is damaged inside acknowledged data: {what}; restore {path} or move it away to go on without those records", path = path.display())]
    JournalDamaged {
        /// The journal file.
        path: PathBuf,
        /// Which frame or entry, and what is wrong.
        what: String,
    },
    /// Storage failed while recovery wrote.
    #[error(transparent)]
    Failed(#[from] StorageFailed),
}

/// Why a log was not created or deleted, or the store not closed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The store is offline.
    #[error(transparent)]
    Failed(#[from] StorageFailed),
    /// The log is there and cannot be used.
    #[error("{reason}")]
    Offline {
        /// What is wrong, and what to do about it.
        reason: Arc<str>,
    },
    /// There is no such log.
    #[error("no log for {0:?}")]
    UnknownLog(PartitionKey),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether nothing else is wrong than that the device, or the quota, is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io(error) if is_no_space(error))
    }
}

/// Why a batch was not appended. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's sequence has a gap.
    #[error("out of order sequence: {0}")]
    OutOfOrderSequence(String),
    /// The producer was fenced by a newer epoch.
    #[error("producer epoch is older than the newest known")]
    InvalidProducerEpoch,
    /// The producer is not known.
    #[error("unknown producer id")]
    UnknownProducerId,
    /// A batch outside a transaction while the producer has one open.
    #[error("the producer has an open transaction")]
    InvalidTransactionState,
    /// The batch fits into no journal frame or segment.
    #[error("batch of {size} bytes; the store takes {size_max}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The most the store takes.
        size_max: usize,
    },
    /// Offsets or the batch's own counts would overflow.
    #[error("batch header is not that of one whole batch")]
    BadBatch,
    /// The device is full. Nothing else is wrong: once there is room appends go on.
    #[error("no space left for the log")]
    NoSpace,
    /// The log is being deleted or the store closed.
    #[error("the log is closed")]
    Closed,
    /// The store is offline.
    #[error(transparent)]
    Failed(#[from] StorageFailed),
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies before the log's start or after its end.
    #[error("offset {offset} is outside [{log_start_offset}, {log_end_offset}]")]
    OutOfRange {
        /// What was asked.
        offset: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// The next offset to be given.
        log_end_offset: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What stands on disk is not the batch that has to be there.
    #[error("{path} is damaged at {position}, offset {offset}: {what}", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        position: u64,
        /// The offset that should be there.
        offset: Offset,
        /// What is wrong.
        what: &'static str,
    },
    /// The log is being deleted or the store closed.
    #[error("the log is closed")]
    Closed,
    /// The store is offline.
    #[error(transparent)]
    Failed(#[from] StorageFailed),
}
