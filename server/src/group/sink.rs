//! Records on their way into the log of a partition of `__consumer_offsets`.

use bytes::BytesMut;
use ringmain_protocol::ErrorCode;
use ringmain_storage::error::AppendError;
use ringmain_storage::io::Io;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{Offset, TimestampMs};

use super::record::Record;
use super::turn::RecordSink;
use crate::partition::Partition;

/// Appends to a partition's log, one batch a call.
pub(super) struct LogSink<'a, I: Io>(pub(super) &'a Partition<I>);

impl<I: Io> RecordSink for LogSink<'_, I> {
    fn append(&mut self, records: &[Record], wall_clock: TimestampMs) -> Result<Offset, ErrorCode> {
        let mut builder = BatchBuilder::new(Codec::None);
        for record in records {
            let (key, value) = record.to_bytes().map_err(|error| refused(&error))?;
            let record = NewRecord {
                timestamp: wall_clock,
                key: Some(&key),
                value: value.as_deref(),
                ..NewRecord::default()
            };
            builder.push(&record).map_err(|error| refused(&error))?;
        }
        let batch = builder.build().map_err(|error| refused(&error))?;
        let partition = self.0;
        if batch.len() > partition.settings().log.max_message_bytes {
            return Err(refused(&format_args!("{} bytes are more than the topic takes", batch.len())));
        }
        let appended = partition.log().append(BytesMut::from(batch), partition.leader_epoch(), wall_clock);
        appended.map(|appended| appended.base_offset).map_err(|error| match error {
            AppendError::NoSpace => ErrorCode::CoordinatorNotAvailable,
            AppendError::Closed | AppendError::Failed(_) => ErrorCode::NotCoordinator,
            other => refused(&other),
        })
    }
}

/// What no log can take: Kafka's code for a batch that is too large.
fn refused(why: &dyn std::fmt::Display) -> ErrorCode {
    tracing::warn!("records of a group cannot be written: {why}");
    ErrorCode::UnknownServerError
}
