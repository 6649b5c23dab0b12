//! `ListOffsets` (key 2): offsets by time, and the special times.
//!
//! Versions: 1 · 2 (isolation level) · 4 (leader epochs) · 5 (`OFFSET_NOT_AVAILABLE`, which cannot happen with one
//! replica) · 6 (flexible) · 7 (−3, the largest timestamp) · 8 (−4, earliest local) · 9 (−5, latest tiered) ·
//! 10 (timeout of remote reads) · 11 (−6, earliest not yet tiered).
//!
//! Left out: tiered storage; its times answer −1, as in Apache where it is off.
//!
//! Order of checks, as in `ReplicaManager.fetchOffset` and `Partition.fetchOffsetForTimestamp`: partition named once →
//! the time is one the version knows → topic and partition exist → held here → the client's leader epoch.

use std::collections::HashSet;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use ringmain_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ringmain_storage::io::Io;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey, TimestampMs};

use super::turns::Turns;
use super::{Answer, Broker, Context, errors};
use crate::metadata::image::TopicImage;
use crate::partition::Partition;

/// The end of what the reader may see.
const LATEST: i64 = -1;
/// The start of the log.
const EARLIEST: i64 = -2;
/// The record with the largest timestamp.
const MAX_TIMESTAMP: i64 = -3;
/// The start of what is on this broker's disk.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset in tiered storage.
const LATEST_TIERED: i64 = -5;
/// The first offset not yet in tiered storage.
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// First version that tells leader epochs.
const LEADER_EPOCHS_SINCE: i16 = 4;

/// Who asks, when it is a consumer; followers and tools have other ids and see the whole log.
const CONSUMER_REPLICA_ID: i32 = -1;

/// Whose eyes the end of the log is seen with.
#[derive(Clone, Copy)]
enum View {
    /// Up to the last stable offset.
    Committed,
    /// Up to the high watermark.
    Uncommitted,
    /// All of it.
    Replica,
}

/// What a lookup found.
struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

/// Answers one `ListOffsets`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ListOffsetsRequest,
) -> Answer<ListOffsetsResponse> {
    let view = match (request.replica_id, request.isolation_level) {
        (CONSUMER_REPLICA_ID, 1) => View::Committed,
        (CONSUMER_REPLICA_ID, _) => View::Uncommitted,
        _ => View::Replica,
    };
    let (mut named, mut twice, mut turns) = (HashSet::new(), HashSet::new(), Turns::default());
    for topic in &request.topics {
        for partition in &topic.partitions {
            turns.entry_done().await;
            let name = (topic.name.clone(), partition.partition_index);
            if !named.insert(name.clone()) {
                twice.insert(name);
            }
        }
    }
    let image = broker.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let described = image.topic_by_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            turns.entry_done().await;
            let found = if twice.contains(&(topic.name.clone(), partition.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else if !knows_time(partition.timestamp, context.version) {
                Err(ErrorCode::UnsupportedVersion)
            } else {
                find(broker, described.map(|topic| &**topic), &partition, view).await
            };
            partitions.push(response(partition.partition_index, found, context.version));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }.into()
}

/// Whether a version knows a special time.
fn knows_time(timestamp: i64, version: i16) -> bool {
    match timestamp {
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        LATEST | EARLIEST => true,
        timestamp => timestamp >= 0,
    }
}

/// Looks one partition up.
async fn find<I: Io>(
    broker: &Broker<I>,
    topic: Option<&TopicImage>,
    request: &ListOffsetsPartition,
    view: View,
) -> Result<Option<Found>, ErrorCode> {
    let index = request.partition_index;
    let topic = topic
        .filter(|topic| usize::try_from(index).is_ok_and(|at| at < topic.partitions.len()))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let key = PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) };
    let request = request.clone();
    let found = broker.at_partition(key, async move |partition| look(&partition, &request, view).await);
    found.await.unwrap_or_else(|| Err(broker.absent(key)))
}

/// Looks into the partition, on its shard.
async fn look<I: Io>(
    partition: &Partition<I>,
    request: &ListOffsetsPartition,
    view: View,
) -> Result<Option<Found>, ErrorCode> {
    partition.check_leader_epoch(request.current_leader_epoch).map_err(errors::epoch)?;
    let offsets = partition.offsets();
    let end = match view {
        View::Committed => offsets.last_stable_offset,
        View::Uncommitted => offsets.high_watermark,
        View::Replica => offsets.log_end_offset,
    };
    match request.timestamp {
        LATEST => {
            let leader_epoch = partition.leader_epoch().0;
            Ok(Some(Found { timestamp: -1, offset: end.0, leader_epoch }))
        }
        EARLIEST | EARLIEST_LOCAL => {
            let start = offsets.log_start_offset;
            let leader_epoch = partition.epoch_at(start).0;
            Ok(Some(Found { timestamp: -1, offset: start.0, leader_epoch }))
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => {
            Ok(Some(Found { timestamp: -1, offset: -1, leader_epoch: -1 }))
        }
        MAX_TIMESTAMP => by_time(partition, partition.log().max_timestamp().await, end),
        timestamp => {
            let found = partition.log().offset_for_timestamp(TimestampMs(timestamp), end).await;
            by_time(partition, found, end)
        }
    }
}

/// What a search by time found, unless it lies above what the reader may see.
fn by_time<I: Io>(
    partition: &Partition<I>,
    found: Result<Option<(TimestampMs, Offset)>, ringmain_storage::error::ReadError>,
    end: Offset,
) -> Result<Option<Found>, ErrorCode> {
    match found.map_err(|error| errors::read(&error))? {
        Some((timestamp, offset)) if offset < end => {
            let leader_epoch = partition.epoch_at(offset).0;
            Ok(Some(Found { timestamp: timestamp.0, offset: offset.0, leader_epoch }))
        }
        _ => Ok(None),
    }
}

/// The answer of one partition; nothing found is no error. The leader epoch came with version 4.
fn response(
    index: i32,
    found: Result<Option<Found>, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let none = Found { timestamp: -1, offset: -1, leader_epoch: -1 };
    let (code, found) = match found {
        Ok(found) => (ErrorCode::None, found.unwrap_or(none)),
        Err(code) => (code, none),
    };
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: code.code(),
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if version >= LEADER_EPOCHS_SINCE { found.leader_epoch } else { -1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_time_has_its_first_version() {
        for (time, since) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (0, 1), (i64::MAX, 1)] {
            assert!(knows_time(time, since), "{time}");
            assert!(since == 1 || !knows_time(time, since - 1), "{time}");
        }
        assert!(!knows_time(-7, 11));
    }
}
