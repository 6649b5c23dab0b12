//! Produce (key 0): appends one record batch to each named partition.
//!
//! Versions read: 3 (record format 2) · 4 (`KAFKA_STORAGE_ERROR`) · 5 (log start offset in the answer) · 7 (zstd) ·
//! 8 (messages for refused batches) · 9 (flexible) · 10 (who leads instead) · 11, 12 (transaction errors) ·
//! 13 (topic ids). `ApiVersions` says 0 to 13, see there.
//!
//! Left out: transactions (a transactional batch is refused with `INVALID_TXN_STATE`), quotas, and
//! `timeout_ms`: with one replica durability waits for nothing but this broker's own disk,
//! which answers or fails.
//!
//! Order of checks, as in `KafkaApis.handleProduceRequest`, `ProduceRequest.validateRecords` and
//! `ReplicaManager.appendRecords`: a request with batches of a transaction names one → topic and partition exist →
//! exactly one batch of format 2, zstd allowed →
//! acks → no internal topic → led here → the batch itself (`record::validate`) → the producer's sequence.
//! No partition's failure touches another's.
//!
//! All appends are queued, or sent to the partitions' shards, before the first wait, in the first poll: that keeps the
//! order of a pipelining producer, and one group of the journal takes the whole request. Batches that take long to look
//! into queue up then for their turn ([`opening`]). With acks 1 and −1 the answer leaves when
//! every batch is durable, that of a duplicate when the original is. With acks=0 nothing is sent; an error
//! closes the connection, as there is no other way to tell.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringmain_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::io::Io;
use ringmain_storage::record::batch;
use ringmain_storage::record::validate::ProduceLimits;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey, TimestampMs};

use self::elsewhere::Elsewhere;
use self::opening::{Unfit, Work};
use self::refusal::{Refusal, led_by, refused_batch};
use super::{Answer, Broker, Context, errors, topics};
use crate::metadata::image::TopicImage;
use crate::partition::Partition;

mod elsewhere;
mod opening;
mod refusal;

pub(super) use opening::Opener;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version that may carry zstd.
const ZSTD_SINCE: i16 = 7;
/// Bound on what one batch may become when it has to be opened, for a compacted topic or another codec: 64 times the
/// default batch limit. A bomb costs that for a moment, and what its codec looks back on.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// What became of one partition's batch.
enum Outcome<I: Io> {
    /// Queued: answer once `end` is durable.
    Queued { partition: Rc<Partition<I>>, end: Offset, response: PartitionProduceResponse },
    /// Refused.
    Refused(PartitionProduceResponse),
    /// Partition of this index: one of the others, when the batch has been opened.
    Opening(i32, oneshot::Receiver<Outcome<I>>),
}

/// A batch that may be appended as far as this shard can tell: the partition's shard looks into it.
struct Order {
    key: PartitionKey,
    batch: Bytes,
    /// Whether the batch is the greater part of its frame, which then is what is stored.
    fills_frame: bool,
    version: i16,
    /// Who leads according to the metadata, for a refusal.
    described: LeaderIdAndEpoch,
}

/// Where the answer of one partition comes from.
enum Source<I: Io> {
    /// This shard.
    Here(Outcome<I>),
    /// The next answer of another shard.
    There(usize),
}

/// Answers one Produce.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let acks = request.acks;
    if request.transactional_id.is_none() && is_transactional(&request) {
        return no_transactional_id(request);
    }
    let mut elsewhere = Elsewhere::new(broker.router().shard_count());
    let queued = append_all(broker, context, request, &mut elsewhere);
    let mut others = elsewhere.send(broker, acks);
    let mut responses = Vec::with_capacity(queued.len());
    for (mut topic, sources) in queued {
        for source in sources {
            topic.partition_responses.push(match source {
                Source::Here(outcome) => settle(outcome, acks).await,
                Source::There(shard) => others.next_of(shard).await,
            });
        }
        responses.push(topic);
    }
    if acks == 0 {
        return nothing_or_the_end(&responses);
    }
    let led_elsewhere = responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .any(|partition| partition.current_leader != LeaderIdAndEpoch::default());
    let node_endpoints = if led_elsewhere { endpoints(broker, context) } else { Vec::new() };
    ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() }.into()
}

/// Whether any batch says that it is part of a transaction.
fn is_transactional(request: &ProduceRequest) -> bool {
    let mut batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    batches.any(|partition| match &partition.records {
        Records::Bytes(bytes) => batch::BatchHeader::read(bytes)
            .is_some_and(|header| header.magic() == batch::MAGIC && header.attributes().is_transactional()),
        _ => false,
    })
}

/// A request with batches of transactions that names none is refused as a whole.
fn no_transactional_id(request: ProduceRequest) -> Answer<ProduceResponse> {
    let acks = request.acks;
    let refuse = |partition: PartitionProduceData| {
        Refusal::from(ErrorCode::TransactionalIdAuthorizationFailed).into_response(partition.index)
    };
    let answer = |topic: TopicProduceData| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic.partition_data.into_iter().map(refuse).collect(),
    };
    let responses: Vec<_> = request.topic_data.into_iter().map(answer).collect();
    if acks == 0 {
        return nothing_or_the_end(&responses);
    }
    ProduceResponse { responses, ..ProduceResponse::default() }.into()
}

/// The appends of a request by topic, each topic's answer still without its partitions.
type Queued<I> = Vec<(TopicProduceResponse, Vec<Source<I>>)>;

/// Queues every batch of the request that is this shard's and collects the others; never waits.
fn append_all<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: ProduceRequest,
    elsewhere: &mut Elsewhere,
) -> Queued<I> {
    let image = broker.image();
    let mut queued = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let by_id = context.version >= TOPIC_IDS_SINCE;
        let topic = if by_id {
            image.topic_by_id(topics::topic_id(data.topic_id)).ok_or(ErrorCode::UnknownTopicId)
        } else {
            image.topic_by_name(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let named = TopicProduceResponse {
            // Not a slice of the frame, which may become what is stored.
            name: Str::from(data.name.as_str()),
            topic_id: data.topic_id,
            ..TopicProduceResponse::default()
        };
        drop(data.name);
        let mut sources = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let index = partition.index;
            let order = match topic {
                Ok(topic) => check(context, request.acks, topic, partition),
                Err(code) => Err(code.into()),
            };
            sources.push(match order {
                Err(refusal) => Source::Here(Outcome::Refused(refusal.into_response(index))),
                Ok(order) => {
                    let owner = broker.owner(order.key);
                    context.traffic.add(owner, order.batch.len());
                    if owner == broker.router().me() {
                        Source::Here(append(broker, order))
                    } else {
                        if let Some(orders) = elsewhere.orders.get_mut(owner) {
                            orders.push(order);
                        }
                        Source::There(owner)
                    }
                }
            });
        }
        queued.push((named, sources));
    }
    queued
}

/// What any shard can check of one partition's batch.
fn check(
    context: &Context,
    acks: i16,
    topic: &TopicImage,
    data: PartitionProduceData,
) -> Result<Order, Refusal> {
    let described = usize::try_from(data.index)
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
    Ok(Order {
        key: PartitionKey { topic_id: topic.id, partition: PartitionIndex(data.index) },
        fills_frame: 2 * batch.len() >= context.frame_bytes,
        batch,
        version: context.version,
        described: LeaderIdAndEpoch { leader_id: described.leader, leader_epoch: described.leader_epoch },
    })
}

/// Looks into a batch and queues it, on its partition's shard.
fn append<I: Io>(broker: &Broker<I>, order: Order) -> Outcome<I> {
    let index = order.key.partition.0;
    try_append(broker, order).unwrap_or_else(|refusal| Outcome::Refused(refusal.into_response(index)))
}

fn try_append<I: Io>(broker: &Broker<I>, order: Order) -> Result<Outcome<I>, Refusal> {
    let Order { key, batch, fills_frame, version, described } = order;
    let Some(partition) = broker.partition(key) else {
        return Err(match broker.absent(key) {
            ErrorCode::NotLeaderOrFollower => led_by(described, version),
            code => code.into(),
        });
    };
    let settings = partition.settings();
    let now = broker.io().wall_clock();
    let limits = ProduceLimits {
        batch_bytes_max: settings.log.max_message_bytes,
        zstd_allowed: version >= ZSTD_SINCE,
        timestamp_type: settings.log.timestamp_type,
        timestamp_min: TimestampMs(now.0.saturating_sub(settings.timestamp_before_max_ms)),
        timestamp_max: TimestampMs(now.0.saturating_add(settings.timestamp_after_max_ms)),
        compacted: settings.compacted,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    };
    let work = Work { batch, fills_frame, compression: settings.compression(), limits };
    let opener = &broker.opener;
    let done = if opener.holds_up(key) { Err(work) } else { work.at_once() };
    Ok(match done {
        Ok(done) => store(&partition, now, done),
        Err(work) => Outcome::Opening(key.partition.0, opener.append(broker.io(), partition, work)),
    })
}

/// Queues a batch, if it is fit for it.
fn store<I: Io>(
    partition: &Rc<Partition<I>>,
    now: TimestampMs,
    batch: Result<BytesMut, Unfit>,
) -> Outcome<I> {
    let queued = try_store(partition, now, batch);
    let index = partition.key().partition.0;
    queued.unwrap_or_else(|refusal| Outcome::Refused(refusal.into_response(index)))
}

fn try_store<I: Io>(
    partition: &Rc<Partition<I>>,
    now: TimestampMs,
    batch: Result<BytesMut, Unfit>,
) -> Result<Outcome<I>, Refusal> {
    let batch = batch.map_err(|unfit| match unfit {
        Unfit::Batch(error) => refused_batch(partition, &error),
        Unfit::Transactional => ErrorCode::InvalidTxnState.into(),
    })?;
    let appended = partition.log().append(batch, partition.leader_epoch(), now).map_err(|error| {
        let log_start_offset = partition.log().offsets().log_start_offset.0;
        Refusal { log_start_offset, ..errors::append(&error).into() }
    })?;
    let response = PartitionProduceResponse {
        index: partition.key().partition.0,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.0,
        log_start_offset: appended.log_start_offset.0,
        ..PartitionProduceResponse::default()
    };
    let end = appended.answered_at();
    Ok(Outcome::Queued { partition: Rc::clone(partition), end, response })
}

/// The bytes of a partition; having none is an error of its own.
fn one_batch(records: Records) -> Result<Bytes, Refusal> {
    match records {
        Records::Bytes(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(ErrorCode::InvalidRecord.into()),
    }
}

/// Where the brokers are, for clients that were told to go elsewhere.
fn endpoints<I: Io>(broker: &Broker<I>, context: &Context) -> Vec<NodeEndpoint> {
    topics::nodes(&broker.image(), broker.listener_name(context.peer.listener))
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: Str::from(node.host),
            port: node.port,
            rack: node.rack.map(Str::from),
        })
        .collect()
}

/// Waits until a queued batch is durable and moves the high watermark up to it. With acks=0 nobody waits for
/// durability, so the store's limit on what waits for the disk has to be waited for.
async fn settle<I: Io>(outcome: Outcome<I>, acks: i16) -> PartitionProduceResponse {
    let (partition, end, response) = match opened(outcome).await {
        Ok(queued) => queued,
        Err(refused) => return refused,
    };
    let settled = if acks == 0 {
        partition.log().room().await
    } else {
        let durable = partition.log().wait_durable(end).await;
        partition.advance_high_watermark();
        durable
    };
    match settled {
        Ok(()) => response,
        Err(failed) => Refusal::from(errors::storage(&failed)).into_response(response.index),
    }
}

/// A batch that is queued, up to which offset, and the answer when it is durable.
type QueuedBatch<I> = (Rc<Partition<I>>, Offset, PartitionProduceResponse);

/// Waits until a batch has been opened, if it has to be; the error is its refusal.
async fn opened<I: Io>(mut outcome: Outcome<I>) -> Result<QueuedBatch<I>, PartitionProduceResponse> {
    loop {
        outcome = match outcome {
            Outcome::Queued { partition, end, response } => return Ok((partition, end, response)),
            Outcome::Refused(response) => return Err(response),
            Outcome::Opening(index, opening) => opening.await.unwrap_or_else(|oneshot::Canceled| {
                // The shard ends: nothing was appended.
                let refusal = Refusal::from(ErrorCode::KafkaStorageError);
                Outcome::Refused(refusal.into_response(index))
            }),
        };
    }
}

/// acks=0: silence, or the end of the connection if anything was refused.
fn nothing_or_the_end(responses: &[TopicProduceResponse]) -> Answer<ProduceResponse> {
    let mut all = responses
        .iter()
        .flat_map(|topic| topic.partition_responses.iter().map(move |partition| (topic, partition)));
    match all.find(|(_, partition)| partition.error_code != ErrorCode::None.code()) {
        None => Answer::Nothing,
        Some((topic, partition)) => Answer::Close(format!(
            "Produce with acks=0 to {}-{} failed with error {}, and there is no other way to tell the producer",
            topic.name, partition.index, partition.error_code
        )),
    }
}

#[cfg(test)]
mod tests {
    use ringmain_storage::record::batch::BatchHeader;
    use ringmain_storage::record::compression::Codec;
    use ringmain_storage::segment::{ReadLimits, Slice};
    use ringmain_storage::types::Offset;

    use super::super::test_kit::with_broker;

    #[test]
    fn a_topic_with_a_codec_stores_every_batch_in_it() {
        with_broker(async |kit| {
            let codecs = [
                ("zstd", Codec::Zstd),
                ("gzip", Codec::Gzip),
                ("uncompressed", Codec::None),
                ("producer", Codec::None),
            ];
            for (name, codec) in codecs {
                kit.create_topic(name, 1, &[("compression.type", name)]).await;
                assert_eq!(kit.produce(name, 20, None).await, 0);
                let partition = kit.broker.partition(kit.key(name, 0)).unwrap();
                let limits = ReadLimits { end: Offset(20), bytes_max: 1 << 20, at_least_one: true };
                let read = partition.log().read(Offset(0), limits).await.unwrap();
                let [Slice::Memory(batch)] = &read.slices[..] else { panic!("one batch") };
                let header = BatchHeader::read(batch).unwrap();
                assert_eq!(header.attributes().codec(), Some(codec), "{name}");
                assert_eq!(header.record_count(), 20);
            }
        });
    }
}
