//! Fetch (key 1): reads record batches, waiting for them if asked to.
//!
//! Versions: 4 (isolation level, last stable offset) · 5 (log start offset) · 7 (sessions, KIP-227) ·
//! 9 (leader epoch of the client, KIP-320) · 10 (zstd) · 11 (preferred replica, KIP-392) · 12 (flexible, diverging
//! epochs) · 13 (topic ids) · 15 (replica state tagged) · 16 (endpoints of leaders) · 17, 18 (followers' fields).
//!
//! Left out: sessions are never made, every answer says session id 0, which tells clients to send full
//! requests; a request that continues a session is answered `FETCH_SESSION_ID_NOT_FOUND`. Followers are not served
//! (no partition has any), quotas, tiered storage.
//!
//! Order of checks, as in `KafkaApis.handleFetchRequest`, `ReplicaManager.readFromLog` and `Partition`: session →
//! topic id known → partition exists → zstd topics need version 10 → held here → the client's leader epoch → led
//! here → offset in range. An offset out of range is answered with valid log start and high watermark.
//!
//! Limits (KIP-74): partitions are read in the order of the request, each up to its own limit and to what is left
//! of the request's; the first batch found is returned whole, whatever the limits say, so that a reader always
//! gets on.
//!
//! Waiting: the answer leaves when `min_bytes` are there, after `max_wait_ms`, or at once if a partition that exists
//! cannot be read. Between, the request listens to its logs; nothing polls. Batches leave as slices: memory of
//! the tail cache, or file ranges for `sendfile`; never above the high watermark.

use std::rc::Rc;
use std::time::Duration;

use event_listener::EventListener;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use ringmain_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, NodeEndpoint, PartitionData,
};
use ringmain_protocol::wire::{Records, Str, Uuid};
use ringmain_storage::error::ReadError;
use ringmain_storage::io::Io;
use ringmain_storage::log::LogOffsets;
use ringmain_storage::segment::{ReadLimits, Slice};
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionIndex, PartitionKey};

use super::{Answer, Broker, Context, errors, topics};
use crate::partition::{Partition, Woken};

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version whose clients understand zstd.
const ZSTD_SINCE: i16 = 10;
/// Last version whose clients do not know `KAFKA_STORAGE_ERROR`.
const NO_STORAGE_ERROR_UNTIL: i16 = 5;
/// First version that says where leaders are.
const ENDPOINTS_SINCE: i16 = 16;
/// First version with the current leader in a partition's answer.
const LEADER_HINT_SINCE: i16 = 12;

/// A session epoch that asks for a full fetch outside of any session.
const EPOCH_SESSIONLESS: i32 = -1;
/// A session epoch that asks for a full fetch and a new session.
const EPOCH_NEW_SESSION: i32 = 0;

/// What the whole request allows.
struct Limits {
    bytes_max: usize,
    bytes_min: usize,
    wait_max: Duration,
    committed_only: bool,
    version: i16,
}

/// One partition of the request that exists and is led here.
struct Wanted<I: Io> {
    partition: Rc<Partition<I>>,
    request: FetchPartition,
}

/// Where a partition's answer comes from.
enum Source<I: Io> {
    /// It was refused before any read.
    Refused(PartitionData),
    /// From its log.
    Read(Wanted<I>),
}

/// One topic of the request: how it was named, and its partitions.
struct Topic<I: Io> {
    name: Str,
    id: Uuid,
    partitions: Vec<Source<I>>,
}

/// One pass over all partitions.
#[derive(Default)]
struct Pass {
    /// Answers of the partitions that are read, in order.
    partitions: Vec<PartitionData>,
    /// Record bytes, one list for each external run.
    slices: Vec<Vec<Slice>>,
    /// Their sum.
    bytes: usize,
    /// Whether the answer has to leave whatever its size.
    urgent: bool,
    /// High watermarks seen, in order.
    seen: Vec<Offset>,
}

/// Answers one Fetch.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: FetchRequest,
) -> Answer<FetchResponse> {
    if !matches!(request.session_epoch, EPOCH_SESSIONLESS | EPOCH_NEW_SESSION) {
        let error_code = ErrorCode::FetchSessionIdNotFound.code();
        return FetchResponse { error_code, ..FetchResponse::default() }.into();
    }
    let replica_id =
        if context.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(broker.settings().fetch_max_bytes);
    let limits = Limits {
        bytes_max,
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        committed_only: request.isolation_level == 1,
        version: context.version,
    };
    let topics: Vec<Topic<I>> = request
        .topics
        .into_iter()
        .map(|topic| Topic {
            partitions: resolve(broker, context, &topic.topic, topic.topic_id, topic.partitions, replica_id),
            name: topic.topic,
            id: topic.topic_id,
        })
        .collect();
    let wanted: Vec<&Wanted<I>> = topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|source| match source {
            Source::Read(wanted) => Some(wanted),
            Source::Refused(_) => None,
        })
        .collect();
    let pass = read_or_wait(broker, &limits, &wanted).await;
    respond(broker, &limits, topics, pass)
}

/// Reads until the answer may leave.
async fn read_or_wait<I: Io>(broker: &Broker<I>, limits: &Limits, wanted: &[&Wanted<I>]) -> Pass {
    let first = read_all(limits, wanted).await;
    if wanted.is_empty() || first.urgent || first.bytes >= limits.bytes_min || limits.wait_max.is_zero() {
        return first;
    }
    let started = broker.io().now();
    let mut pass = first;
    loop {
        let waited = broker.io().now().saturating_sub(started);
        let Some(left) = limits.wait_max.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return pass;
        };
        let listeners: Vec<EventListener> =
            wanted.iter().map(|wanted| wanted.partition.log().changed()).collect();
        let moved = wanted
            .iter()
            .zip(&pass.seen)
            .any(|(wanted, seen)| wanted.partition.offsets().high_watermark != *seen);
        if !moved {
            let woken = broker.purgatory().wait(listeners, broker.io().sleep(left)).await;
            if woken != Woken::Changed {
                return read_all(limits, wanted).await;
            }
        }
        pass = read_all(limits, wanted).await;
        if pass.urgent || pass.bytes >= limits.bytes_min {
            return pass;
        }
    }
}

/// One pass: every partition in the order of the request.
async fn read_all<I: Io>(limits: &Limits, wanted: &[&Wanted<I>]) -> Pass {
    let mut pass = Pass::default();
    for wanted in wanted {
        let bytes_left = limits.bytes_max.saturating_sub(pass.bytes);
        read_one(limits, wanted, bytes_left, &mut pass).await;
    }
    pass
}

/// Reads one partition into the pass.
async fn read_one<I: Io>(limits: &Limits, wanted: &Wanted<I>, bytes_left: usize, pass: &mut Pass) {
    let Wanted { partition, request } = wanted;
    let offsets = partition.offsets();
    pass.seen.push(offsets.high_watermark);
    let mut data = PartitionData {
        partition_index: request.partition,
        high_watermark: offsets.high_watermark.0,
        last_stable_offset: offsets.last_stable_offset.0,
        log_start_offset: offsets.log_start_offset.0,
        aborted_transactions: limits.committed_only.then(Vec::new),
        preferred_read_replica: -1,
        records: Records::Bytes(bytes::Bytes::new()),
        ..PartitionData::default()
    };
    match read_slices(limits, wanted, &offsets, bytes_left, pass.bytes == 0).await {
        Ok(Fetched::Batches { slices, bytes }) if bytes > 0 => {
            let (index, len) = (u32::try_from(pass.slices.len()), u32::try_from(bytes));
            let (Ok(index), Ok(len)) = (index, len) else {
                unreachable!("bounded by max_bytes and one batch")
            };
            data.records = Records::External { index, len };
            pass.slices.push(slices);
            pass.bytes += bytes;
        }
        Ok(Fetched::Batches { .. }) => {}
        Ok(Fetched::Diverging(diverging_epoch)) => {
            data.diverging_epoch = diverging_epoch;
            pass.urgent = true;
        }
        Err(code) => {
            refuse(&mut data, code, limits.version, partition.leader_epoch());
            pass.urgent = true;
        }
    }
    pass.partitions.push(data);
}

/// What one partition gave.
enum Fetched {
    /// Batches, maybe none.
    Batches { slices: Vec<Slice>, bytes: usize },
    /// The reader's history differs from ours from here on.
    Diverging(EpochEndOffset),
}

/// The batches of one partition from the wanted offset on.
async fn read_slices<I: Io>(
    limits: &Limits,
    wanted: &Wanted<I>,
    offsets: &LogOffsets,
    bytes_left: usize,
    at_least_one: bool,
) -> Result<Fetched, ErrorCode> {
    let Wanted { partition, request } = wanted;
    partition.check_leader_epoch(request.current_leader_epoch).map_err(errors::epoch)?;
    let from = Offset(request.fetch_offset);
    if request.last_fetched_epoch >= 0 {
        let end = partition.log().epoch_end_offset(LeaderEpoch(request.last_fetched_epoch));
        let (epoch, end_offset) = end.ok_or(ErrorCode::OffsetOutOfRange)?;
        if epoch.0 < request.last_fetched_epoch || end_offset < from {
            let diverging = EpochEndOffset { epoch: epoch.0, end_offset: end_offset.0 };
            return Ok(Fetched::Diverging(diverging));
        }
    }
    if from < offsets.log_start_offset || from > offsets.log_end_offset {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let end = Partition::<I>::read_end(offsets, limits.committed_only);
    let partition_bytes_max = usize::try_from(request.partition_max_bytes).unwrap_or(0);
    let bytes_max = partition_bytes_max.min(bytes_left);
    if from >= end || (bytes_max == 0 && !at_least_one) {
        return Ok(Fetched::Batches { slices: Vec::new(), bytes: 0 });
    }
    let fetched = partition.log().read(from, ReadLimits { end, bytes_max, at_least_one }).await;
    fetched.map(|fetched| Fetched::Batches { slices: fetched.slices, bytes: fetched.bytes }).map_err(
        |error| {
            match &error {
                ReadError::OutOfRange { .. } | ReadError::Closed => {}
                _ => tracing::error!(key = ?partition.key(), %from, %error, "read failed"),
            }
            errors::read(&error)
        },
    )
}

/// Turns an answer into a refusal; the offsets stay valid.
fn refuse(data: &mut PartitionData, code: ErrorCode, version: i16, leader_epoch: LeaderEpoch) {
    let code = match code {
        ErrorCode::KafkaStorageError if version <= NO_STORAGE_ERROR_UNTIL => ErrorCode::NotLeaderOrFollower,
        code => code,
    };
    data.error_code = code.code();
    if code == ErrorCode::FencedLeaderEpoch && version >= LEADER_HINT_SINCE {
        data.current_leader.leader_epoch = leader_epoch.0;
    }
}

/// Finds the partitions of one topic.
fn resolve<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    name: &str,
    id: Uuid,
    partitions: Vec<FetchPartition>,
    replica_id: i32,
) -> Vec<Source<I>> {
    let image = broker.image();
    let topic = if context.version >= TOPIC_IDS_SINCE {
        image.topic_by_id(topics::topic_id(id)).ok_or(ErrorCode::UnknownTopicId)
    } else {
        image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    partitions
        .into_iter()
        .map(|request| {
            let found = topic.and_then(|topic| {
                let described =
                    usize::try_from(request.partition).ok().and_then(|at| topic.partitions.get(at));
                described.map(|described| (topic, described)).ok_or(ErrorCode::UnknownTopicOrPartition)
            });
            let (topic, described) = match found {
                Ok(found) => found,
                Err(code) => return Source::Refused(refused(request.partition, code)),
            };
            let key = PartitionKey { topic_id: topic.id, partition: PartitionIndex(request.partition) };
            match broker.partition(key) {
                Some(partition) if partition.settings().zstd && context.version < ZSTD_SINCE => {
                    Source::Refused(refused(request.partition, ErrorCode::UnsupportedCompressionType))
                }
                // A follower that is no replica of the partition: nobody is one here.
                Some(partition) if replica_id < 0 => Source::Read(Wanted { partition, request }),
                _ => {
                    let mut data = refused(request.partition, ErrorCode::NotLeaderOrFollower);
                    if context.version >= LEADER_HINT_SINCE {
                        data.current_leader.leader_id = described.leader;
                        data.current_leader.leader_epoch = described.leader_epoch;
                    }
                    Source::Refused(data)
                }
            }
        })
        .collect()
}

/// The answer for a partition that cannot be looked at.
fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: Records::Bytes(bytes::Bytes::new()),
        ..PartitionData::default()
    }
}

/// Puts the read partitions back to their topics.
fn respond<I: Io>(
    broker: &Broker<I>,
    limits: &Limits,
    topics: Vec<Topic<I>>,
    pass: Pass,
) -> Answer<FetchResponse> {
    let mut read = pass.partitions.into_iter();
    let mut elsewhere = false;
    let responses = topics
        .into_iter()
        .map(|topic| FetchableTopicResponse {
            topic: topic.name,
            topic_id: topic.id,
            partitions: topic
                .partitions
                .into_iter()
                .filter_map(|source| match source {
                    Source::Refused(data) => Some(data),
                    Source::Read(_) => read.next(),
                })
                .inspect(|data| elsewhere |= data.error_code == ErrorCode::NotLeaderOrFollower.code())
                .collect(),
        })
        .collect();
    let node_endpoints =
        if elsewhere && limits.version >= ENDPOINTS_SINCE { endpoints(broker) } else { Vec::new() };
    let body = FetchResponse { responses, node_endpoints, ..FetchResponse::default() };
    Answer::Body { body, slices: pass.slices }
}

/// Where the brokers are, for clients that were told to go elsewhere.
fn endpoints<I: Io>(broker: &Broker<I>) -> Vec<NodeEndpoint> {
    topics::nodes(&broker.image(), broker.listener_name())
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: Str::from(node.host),
            port: node.port,
            rack: node.rack.map(Str::from),
        })
        .collect()
}
