//! The one place where errors of the layers below become Kafka's codes.
//!
//! The mapping of batch errors follows `LogValidator` and `UnifiedLog`, that of appends
//! `ReplicaManager.appendToLocalLog`, that of reads `ReplicaManager.readFromLog`.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_storage::error::{AppendError, ReadError, StorageFailed};
use ringmain_storage::record::validate::{BatchError, BatchErrorKind};

use crate::metadata::error::ControllerError;
use crate::partition::EpochMismatch;

/// A batch that was refused before it came to a log.
pub(super) fn batch(error: &BatchError) -> ErrorCode {
    match error.kind() {
        BatchErrorKind::Corrupt => ErrorCode::CorruptMessage,
        BatchErrorKind::InvalidRecord => ErrorCode::InvalidRecord,
        BatchErrorKind::TooLarge => ErrorCode::MessageTooLarge,
        BatchErrorKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        BatchErrorKind::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
    }
}

/// A batch that its log refused.
pub(super) fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence(_) => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        AppendError::UnknownProducerId => ErrorCode::UnknownProducerId,
        AppendError::InvalidTransactionState => ErrorCode::InvalidTxnState,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::BadBatch => ErrorCode::InvalidRecord,
        AppendError::Closed => ErrorCode::NotLeaderOrFollower,
        AppendError::NoSpace | AppendError::Failed(_) => ErrorCode::KafkaStorageError,
    }
}

/// A read that has no answer.
pub(super) fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Closed => ErrorCode::NotLeaderOrFollower,
        ReadError::Damaged { .. } => ErrorCode::CorruptMessage,
        ReadError::Io(_) | ReadError::Failed(_) => ErrorCode::KafkaStorageError,
    }
}

/// A log that went offline while an acknowledgement waited for it.
pub(super) fn storage(_: &StorageFailed) -> ErrorCode {
    ErrorCode::KafkaStorageError
}

/// A leader epoch that is not ours.
pub(super) fn epoch(mismatch: EpochMismatch) -> ErrorCode {
    match mismatch {
        EpochMismatch::Fenced => ErrorCode::FencedLeaderEpoch,
        EpochMismatch::Unknown => ErrorCode::UnknownLeaderEpoch,
    }
}

/// What the controller refused.
pub(super) fn controller(error: &ControllerError) -> ErrorCode {
    error.code
}
