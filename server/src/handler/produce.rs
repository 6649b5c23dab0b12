//! Produce (key 0): appends one record batch to each named partition.
//!
//! Versions read: 3 (record format 2) · 4 (`KAFKA_STORAGE_ERROR`) · 5 (log start offset in the answer) · 7 (zstd) ·
//! 8 (messages for refused batches) · 9 (flexible) · 10 (who leads instead) · 11, 12 (transaction errors) ·
//! 13 (topic ids). `ApiVersions` says 0 to 13, see there.
//!
//! Left out: transactions (a transactional batch is refused with `INVALID_TXN_STATE`), quotas, recompression by
//! `compression.type`, and `timeout_ms`: with one replica durability waits for nothing but this broker's own disk,
//! which answers or fails.
//!
//! Order of checks, as in `KafkaApis.handleProduceRequest`, `ProduceRequest.validateRecords` and
//! `ReplicaManager.appendRecords`: topic and partition exist → exactly one batch of format 2, zstd allowed →
//! acks → no internal topic → led here → the batch itself (`record::validate`) → the producer's sequence.
//! No partition's failure touches another's.
//!
//! All appends are queued before the first wait, in the first poll: that keeps the order of a pipelining
//! producer, and one group of the journal takes the whole request. With acks 1 and −1 the answer leaves when
//! every batch is durable, that of a duplicate when the original is. With acks=0 nothing is sent; an error
//! closes the connection, as there is no other way to tell.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest};
use ringmain_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::io::Io;
use ringmain_storage::record::batch;
use ringmain_storage::record::validate::{BatchError, ProduceLimits, validate_produced};
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey, TimestampMs};

use super::{Answer, Broker, Context, errors, topics};
use crate::metadata::image::{MetadataImage, PartitionImage, TopicImage};
use crate::partition::Partition;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version that may carry zstd.
const ZSTD_SINCE: i16 = 7;
/// First version whose answer says who leads instead.
const LEADER_HINT_SINCE: i16 = 10;
/// Bound on what is decompressed to look for keys in a compacted topic: 100 times the default batch limit.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// What became of one partition's batch.
enum Outcome<I: Io> {
    /// Queued: answer once `end` is durable.
    Queued { partition: Rc<Partition<I>>, end: Offset, response: PartitionProduceResponse },
    /// Refused.
    Refused(PartitionProduceResponse),
}

/// Why one partition's batch was refused.
struct Refusal {
    code: ErrorCode,
    log_start_offset: i64,
    message: Option<String>,
    /// The record that is to blame, if it is one alone.
    record_index: Option<usize>,
    current_leader: Option<LeaderIdAndEpoch>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, log_start_offset: -1, message: None, record_index: None, current_leader: None }
    }
}

impl Refusal {
    fn into_response(self, index: i32) -> PartitionProduceResponse {
        let message = self.message.map(Str::from);
        let record_error = |index| BatchIndexAndErrorMessage {
            batch_index: i32::try_from(index).unwrap_or(i32::MAX),
            batch_index_error_message: message.clone(),
        };
        PartitionProduceResponse {
            index,
            error_code: self.code.code(),
            base_offset: -1,
            log_start_offset: self.log_start_offset,
            record_errors: self.record_index.into_iter().map(record_error).collect(),
            error_message: message,
            current_leader: self.current_leader.unwrap_or_default(),
            ..PartitionProduceResponse::default()
        }
    }
}

/// Answers one Produce.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let acks = request.acks;
    let (queued, node_endpoints) = append_all(broker, context, request);
    if acks == 0 {
        return answer_nothing(queued).await;
    }
    let mut responses = Vec::with_capacity(queued.len());
    for (mut topic, outcomes) in queued {
        for outcome in outcomes {
            topic.partition_responses.push(settle(outcome).await);
        }
        responses.push(topic);
    }
    ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() }.into()
}

/// The appends of a request by topic, each topic's answer still without its partitions.
type Queued<I> = Vec<(TopicProduceResponse, Vec<Outcome<I>>)>;

/// Queues every batch of the request; never waits.
fn append_all<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ProduceRequest,
) -> (Queued<I>, Vec<NodeEndpoint>) {
    let image = broker.image();
    let mut led_elsewhere = false;
    let mut queued = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let by_id = context.version >= TOPIC_IDS_SINCE;
        let topic = if by_id {
            image.topic_by_id(topics::topic_id(data.topic_id)).ok_or(ErrorCode::UnknownTopicId)
        } else {
            image.topic_by_name(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let mut outcomes = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let index = partition.index;
            let outcome = match topic {
                Ok(topic) => append_one(broker, context, request.acks, topic, partition),
                Err(code) => Err(code.into()),
            };
            outcomes.push(outcome.unwrap_or_else(|refusal: Refusal| {
                led_elsewhere |= refusal.current_leader.is_some();
                Outcome::Refused(refusal.into_response(index))
            }));
        }
        let named = TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            ..TopicProduceResponse::default()
        };
        queued.push((named, outcomes));
    }
    let endpoints = if led_elsewhere { endpoints(broker, &image) } else { Vec::new() };
    (queued, endpoints)
}

/// Checks and queues the batch of one partition.
fn append_one<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    acks: i16,
    topic: &TopicImage,
    data: PartitionProduceData,
) -> Result<Outcome<I>, Refusal> {
    let index = data.index;
    let described = usize::try_from(index)
        .ok()
        .and_then(|at| topic.partitions.get(at))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let batch = one_batch(data.records)?;
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    if topics::is_internal(&topic.name) && !context.is_admin_client() {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let key = PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) };
    let Some(partition) = broker.partition(key) else { return Err(led_by(described, context.version)) };
    let settings = partition.settings();
    let now = broker.io().wall_clock();
    let limits = ProduceLimits {
        batch_bytes_max: settings.log.max_message_bytes,
        zstd_allowed: context.version >= ZSTD_SINCE,
        timestamp_type: settings.log.timestamp_type,
        timestamp_min: TimestampMs(now.0.saturating_sub(settings.timestamp_before_max_ms)),
        timestamp_max: TimestampMs(now.0.saturating_add(settings.timestamp_after_max_ms)),
        compacted: settings.compacted,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    };
    let summary = validate_produced(&batch, &limits).map_err(|error| refused_batch(&partition, &error))?;
    if summary.attributes.is_transactional() {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    let mut batch = BytesMut::from(batch);
    if summary.max_timestamp_is_wrong {
        // As Apache does: what the records say counts, a lying header would spoil retention.
        batch::set_max_timestamp(&mut batch, summary.max_timestamp);
    }
    let appended = partition.log().append(batch, partition.leader_epoch(), now).map_err(|error| {
        let log_start_offset = partition.log().offsets().log_start_offset.0;
        Refusal { log_start_offset, ..errors::append(&error).into() }
    })?;
    let response = PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.0,
        log_start_offset: appended.log_start_offset.0,
        ..PartitionProduceResponse::default()
    };
    let end = Offset(appended.last_offset.0 + 1);
    Ok(Outcome::Queued { partition, end, response })
}

/// The bytes of a partition; having none is an error of its own.
fn one_batch(records: Records) -> Result<Bytes, Refusal> {
    match records {
        Records::Bytes(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(ErrorCode::InvalidRecord.into()),
    }
}

/// The answer for a partition that another broker leads, or none.
fn led_by(described: &PartitionImage, version: i16) -> Refusal {
    let current_leader =
        LeaderIdAndEpoch { leader_id: described.leader, leader_epoch: described.leader_epoch };
    let current_leader = (version >= LEADER_HINT_SINCE).then_some(current_leader);
    Refusal { current_leader, ..ErrorCode::NotLeaderOrFollower.into() }
}

/// Apache gives no log start offset for what it refuses before it looks into the records.
fn refused_batch<I: Io>(partition: &Partition<I>, error: &BatchError) -> Refusal {
    let code = errors::batch(error);
    let log_start_offset = match (code, error) {
        (ErrorCode::CorruptMessage | ErrorCode::MessageTooLarge, _)
        | (_, BatchError::Truncated { .. } | BatchError::MoreThanOne | BatchError::Magic(_)) => -1,
        _ => partition.log().offsets().log_start_offset.0,
    };
    let (message, record_index) = (Some(error.to_string()), error.record_index());
    Refusal { log_start_offset, message, record_index, ..code.into() }
}

/// Where the brokers are, for clients that were told to go elsewhere.
fn endpoints<I: Io>(broker: &Broker<I>, image: &MetadataImage) -> Vec<NodeEndpoint> {
    topics::nodes(image, broker.listener_name())
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: Str::from(node.host),
            port: node.port,
            rack: node.rack.map(Str::from),
        })
        .collect()
}

/// Waits until a queued batch is durable and moves the high watermark up to it.
async fn settle<I: Io>(outcome: Outcome<I>) -> PartitionProduceResponse {
    match outcome {
        Outcome::Refused(response) => response,
        Outcome::Queued { partition, end, response } => match partition.log().wait_durable(end).await {
            Ok(()) => {
                partition.advance_high_watermark();
                response
            }
            Err(failed) => Refusal::from(errors::storage(&failed)).into_response(response.index),
        },
    }
}

/// acks=0: silence, or the end of the connection if anything was refused.
async fn answer_nothing<I: Io>(queued: Queued<I>) -> Answer<ProduceResponse> {
    for (_, outcomes) in &queued {
        for outcome in outcomes {
            if let Outcome::Queued { partition, .. } = outcome {
                // Nobody waits for durability here, so the store's limit on what waits for the disk has to.
                let _ = partition.log().room().await;
            }
        }
    }
    let refused = queued.iter().find_map(|(topic, outcomes)| {
        outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused(response) => Some((topic, response)),
            Outcome::Queued { .. } => None,
        })
    });
    match refused {
        None => Answer::Nothing,
        Some((topic, response)) => Answer::Close(format!(
            "Produce with acks=0 to {}-{} failed with error {}, and there is no other way to tell the producer",
            topic.name, response.index, response.error_code
        )),
    }
}
