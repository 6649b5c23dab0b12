//! Fetch (key 1): reads record batches, waiting for them if asked to.
//!
//! Versions: 4 (isolation level, last stable offset) · 5 (log start offset) · 7 (sessions, KIP-227) ·
//! 9 (leader epoch of the client, KIP-320) · 10 (zstd) · 11 (preferred replica, KIP-392) · 12 (flexible, diverging
//! epochs) · 13 (topic ids) · 15 (replica state tagged) · 16 (endpoints of leaders) · 17, 18 (followers' fields).
//!
//! Left out: followers are not served (no partition has any), quotas, tiered storage.
//!
//! Order of checks, as in `KafkaApis.handleFetchRequest`, `ReplicaManager.readFromLog` and `Partition`: session →
//! topic id known → partition exists → led here → the client's leader epoch →
//! offset in range. An offset out of range is answered with valid log start and high watermark.
//!
//! Limits (KIP-74): partitions are read in the order of the request, each up to its own limit and to what is left
//! of the request's; the first batch found is returned whole, whatever the limits say, so that a reader always
//! gets on.
//!
//! Waiting: the answer leaves when `min_bytes` are there, after `max_wait_ms`, or at once if a partition that exists
//! cannot be read. Batches leave as slices: memory of the tail cache, or file ranges for `sendfile`; never above
//! the high watermark. A fetch of more than a thousand partitions that cannot be read does not wait, and makes no session,
//! nor does one of more than a thousand while the shard's others have a million.

mod gather;
mod partitions;
mod reading;
mod session;
#[cfg(test)]
mod session_tests;
mod slots;

use std::cell::Cell;
use std::time::Duration;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::FetchRequest;
use ringmain_protocol::messages::fetch_response::{FetchResponse, NodeEndpoint};
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::io::Io;
use ringmain_storage::types::{PartitionIndex, PartitionKey};

use super::{Answer, Broker, Context, Right, topics};
use crate::partition::watch::FetchLimits;
use partitions::Partitions;
use session::Continued;
pub(super) use session::Sessions;

/// First version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// Last version whose clients do not know `KAFKA_STORAGE_ERROR`.
const NO_STORAGE_ERROR_UNTIL: i16 = 5;
/// First version that says where leaders are.
const ENDPOINTS_SINCE: i16 = 16;
/// First version with the current leader in a partition's answer.
const LEADER_HINT_SINCE: i16 = 12;
/// First version that tells the follower in tagged fields.
const REPLICA_STATE_SINCE: i16 = 15;

/// A session epoch that asks for a full fetch outside of any session.
const EPOCH_SESSIONLESS: i32 = -1;
/// A session epoch that asks for a full fetch and a new session.
const EPOCH_NEW_SESSION: i32 = 0;

/// What a request says beside its partitions.
struct Asking {
    version: i16,
    node_id: i32,
    is_follower: bool,
    has_offline: bool,
    limits: FetchLimits,
    wait_max: Duration,
    /// The right to work on it, if it needs one, until it waits.
    right: Cell<Option<Right>>,
}

impl Asking {
    fn new<I: Io>(broker: &Broker<I>, context: &Context, request: &FetchRequest) -> Self {
        let tagged = context.version >= REPLICA_STATE_SINCE;
        let replica_id = if tagged { request.replica_state.replica_id } else { request.replica_id };
        let asked = usize::try_from(request.max_bytes).unwrap_or(0);
        let bytes_max = asked.min(broker.settings().fetch_max_bytes);
        Self {
            version: context.version,
            node_id: broker.settings().node_id,
            is_follower: replica_id >= 0,
            has_offline: broker.has_offline(),
            limits: FetchLimits {
                bytes_max,
                bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
                committed_only: request.isolation_level == 1,
            },
            wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            right: Cell::new(context.right.take()),
        }
    }

    /// Whether topics are named by id.
    fn by_id(&self) -> bool {
        self.version >= TOPIC_IDS_SINCE
    }
}

/// Answers one Fetch.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: FetchRequest,
) -> Answer<FetchResponse> {
    let asking = Asking::new(broker, context, &request);
    let (mut response, slices) = if matches!(request.session_epoch, EPOCH_SESSIONLESS | EPOCH_NEW_SESSION) {
        full(broker, &asking, request).await
    } else {
        match go_on(broker, asking, request).await {
            Continued::Answer(response, slices) => (response, slices),
            Continued::NotFound => return refused(ErrorCode::FetchSessionIdNotFound),
            Continued::WrongEpoch => return refused(ErrorCode::InvalidFetchSessionEpoch),
            Continued::TopicIds => return refused(ErrorCode::FetchSessionTopicIdError),
        }
    };
    let elsewhere = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|data| data.error_code == ErrorCode::NotLeaderOrFollower.code());
    if elsewhere && context.version >= ENDPOINTS_SINCE {
        response.node_endpoints = endpoints(broker, context);
    }
    count_traffic(broker, context, &response);
    session::answer((response, slices))
}

/// Tells the connection whose partitions gave it records.
fn count_traffic<I: Io>(broker: &Broker<I>, context: &Context, response: &FetchResponse) {
    let image = broker.image();
    for topic in &response.responses {
        let id = match image.topic_by_name(&topic.topic) {
            Some(found) if context.version < TOPIC_IDS_SINCE => found.id,
            _ => topics::topic_id(topic.topic_id),
        };
        for partition in &topic.partitions {
            if let Records::External { len, .. } = partition.records {
                let index = PartitionIndex(partition.partition_index);
                let owner = broker.owner(PartitionKey { topic_id: id, partition: index });
                context.traffic.add(owner, usize::try_from(len).unwrap_or(0));
            }
        }
    }
}

/// A fetch that names all its partitions.
async fn full<I: Io>(
    broker: &Broker<I>,
    asking: &Asking,
    request: FetchRequest,
) -> (FetchResponse, Vec<Vec<ringmain_storage::segment::Slice>>) {
    if request.session_id != 0 {
        end(broker, request.session_id).await;
    }
    let mut partitions = Partitions::new(broker.router().shard_count(), broker.sessions().kept());
    partitions.update(asking, request.topics, Vec::new()).await;
    if request.session_epoch == EPOCH_SESSIONLESS || asking.version < 7 {
        return partitions.fetch(broker, asking, (None, true)).await;
    }
    broker.sessions().begin(broker, asking, partitions).await
}

/// Ends a session, wherever it lives.
async fn end<I: Io>(broker: &Broker<I>, number: i32) {
    let home = session::home_of(number, broker.router().shard_count());
    if home == broker.router().me() {
        return broker.sessions().end(broker, number);
    }
    let sent = broker.router().send(home, async move |broker| broker.sessions().end(&broker, number));
    // A shard that has ended has no sessions either.
    let _ = sent.await;
}

/// The next fetch of a session, where it lives.
async fn go_on<I: Io>(broker: &Broker<I>, asking: Asking, request: FetchRequest) -> Continued {
    let home = session::home_of(request.session_id, broker.router().shard_count());
    if home == broker.router().me() {
        return broker.sessions().go_on(broker, &asking, request).await;
    }
    let sent = broker
        .router()
        .send(home, async move |broker| broker.sessions().go_on(&broker, &asking, request).await);
    sent.await.unwrap_or(Continued::NotFound)
}

fn refused(code: ErrorCode) -> Answer<FetchResponse> {
    FetchResponse { error_code: code.code(), ..FetchResponse::default() }.into()
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
