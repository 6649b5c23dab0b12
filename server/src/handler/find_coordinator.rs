//! `FindCoordinator` (key 10): where groups and transactions are looked after.
//!
//! Versions: 0 (groups) · 1 (transactions; error messages) · 3 (flexible) · 4 (many keys) · 5 (transaction errors) ·
//! 6 (share groups).
//!
//! Left out: authorization; share groups, which are not built (`INVALID_REQUEST`, which is what Apache says with share
//! groups off). Transactions are not built either: their coordinator is found, and says what it has to say.
//!
//! Where Apache makes `__consumer_offsets` or `__transaction_state` and answers `COORDINATOR_NOT_AVAILABLE` until it is
//! there, the answer here comes when it can be used.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ringmain_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::made_topics::{self, TRANSACTIONS_TOPIC};
use super::turns::Turns;
use super::{Answer, Broker, Context, topics};
use crate::group::OFFSETS_TOPIC;

/// First version with many keys.
const MANY_SINCE: i16 = 4;

/// The kinds of keys (`CoordinatorType`).
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Where a coordinator is.
#[derive(Clone)]
struct Place {
    node_id: i32,
    host: Str,
    port: i32,
}

/// Answers one `FindCoordinator`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: FindCoordinatorRequest,
) -> Answer<FindCoordinatorResponse> {
    let topic = match request.key_type {
        GROUP => Ok(OFFSETS_TOPIC),
        TRANSACTION => Ok(TRANSACTIONS_TOPIC),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let made = match topic {
        Ok(name) => make_topic(broker, name).await.map(|()| name),
        Err(code) => Err(code),
    };
    let keys = if context.version >= MANY_SINCE { request.coordinator_keys } else { vec![request.key] };
    let (mut coordinators, mut turns) = (Vec::with_capacity(keys.len()), Turns::default());
    for key in keys {
        turns.entry_done().await;
        let found = made.and_then(|topic| find(broker, context, topic, &key));
        coordinators.push(coordinator(key, found));
    }
    if context.version >= MANY_SINCE {
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }.into();
    }
    let Coordinator { node_id, host, port, error_code, .. } = coordinators.pop().unwrap_or_default();
    let error_message =
        Some(Str::from_static(if error_code == 0 { "NONE" } else { "There is no coordinator." }));
    FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }.into()
}

fn coordinator(key: Str, found: Result<Place, ErrorCode>) -> Coordinator {
    match found {
        Ok(Place { node_id, host, port }) => {
            Coordinator { key, node_id, host, port, error_code: 0, error_message: Some(Str::default()) }
        }
        Err(code) => Coordinator {
            key,
            node_id: -1,
            host: Str::default(),
            port: -1,
            error_code: code.code(),
            error_message: Some(Str::default()),
        },
    }
}

/// Where a coordinator is: at the leader of the partition of `topic` that the key hashes to.
fn find<I: Io>(broker: &Broker<I>, context: &Context, topic: &str, key: &str) -> Result<Place, ErrorCode> {
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let image = broker.image();
    let topic = image.topic_by_name(topic).ok_or(unavailable)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = usize::try_from(crate::group::partition_of(key, count)).unwrap_or(0);
    let leader = topic.partitions.get(index).ok_or(unavailable)?.leader;
    let mut nodes = topics::nodes(&image, broker.listener_name(context.peer.listener));
    let node = nodes.find(|node| node.id == leader).ok_or(unavailable)?;
    Ok(Place { node_id: node.id, host: Str::from(node.host), port: node.port })
}

/// Makes the topic that coordinators of a kind live in, if it is not there.
async fn make_topic<I: Io>(broker: &Broker<I>, name: &str) -> Result<(), ErrorCode> {
    if broker.image().topic_by_name(name).is_some() {
        return Ok(());
    }
    for made in made_topics::make(broker, &[name]).await {
        made.map_err(|error| {
            tracing::error!(topic = name, %error, "the topic of coordinators cannot be made");
            ErrorCode::CoordinatorNotAvailable
        })?;
    }
    Ok(())
}
