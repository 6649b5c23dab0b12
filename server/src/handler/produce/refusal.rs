//! Why a batch was refused, and the answer that says so.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse,
};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;
use ringmain_storage::record::rejection::{Rejection, Rejections};
use ringmain_storage::record::validate::BatchError;

use super::super::errors;
use crate::partition::Partition;

/// First version whose answer says who leads instead.
const LEADER_HINT_SINCE: i16 = 10;

/// Why one partition's batch was refused.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) log_start_offset: i64,
    pub(super) message: Option<String>,
    /// The records that are to blame, where some are and others are not.
    pub(super) records: Vec<BatchIndexAndErrorMessage>,
    pub(super) current_leader: Option<LeaderIdAndEpoch>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, log_start_offset: -1, message: None, records: Vec::new(), current_leader: None }
    }
}

impl Refusal {
    /// The answer for the partition.
    pub(super) fn into_response(self, index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.code.code(),
            base_offset: -1,
            log_start_offset: self.log_start_offset,
            record_errors: self.records,
            error_message: self.message.map(Str::from),
            current_leader: self.current_leader.unwrap_or_default(),
            ..PartitionProduceResponse::default()
        }
    }
}

/// The answer for a partition that another broker leads, or none.
pub(super) fn led_by(described: LeaderIdAndEpoch, version: i16) -> Refusal {
    let current_leader = (version >= LEADER_HINT_SINCE).then_some(described);
    Refusal { current_leader, ..ErrorCode::NotLeaderOrFollower.into() }
}

/// Apache gives no log start offset for what it refuses before it looks into the records.
pub(super) fn refused_batch<I: Io>(partition: &Partition<I>, error: &BatchError) -> Refusal {
    let code = errors::batch(error);
    let log_start_offset = match (code, error) {
        (ErrorCode::CorruptMessage | ErrorCode::MessageTooLarge, _)
        | (
            _,
            BatchError::Truncated { .. }
            | BatchError::MoreThanOne
            | BatchError::Magic(_)
            | BatchError::ZstdNotAllowed,
        ) => -1,
        _ => partition.log().offsets().log_start_offset.0,
    };
    let records = error.rejections().into_iter().flat_map(Rejections::iter).map(told).collect();
    Refusal { log_start_offset, message: Some(error.to_string()), records, ..code.into() }
}

fn told((index, why): (usize, Rejection)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index: i32::try_from(index).unwrap_or(i32::MAX),
        batch_index_error_message: Some(Str::from(why.to_string())),
    }
}
