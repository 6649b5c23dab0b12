//! `FindCoordinator` (key 10): where groups and transactions are looked after.
//!
//! Versions: 0 (groups) · 1 (transactions; error messages) · 3 (flexible) · 4 (many keys) · 5 (transaction errors) ·
//! 6 (share groups).
//!
//! Left out: authorization; transactions and share groups, which are not built (`COORDINATOR_NOT_AVAILABLE`, which is what
//! Apache says while no coordinator is there, and `INVALID_REQUEST`, which is what it says with share groups off).
//!
//! Where Apache makes `__consumer_offsets` and answers `COORDINATOR_NOT_AVAILABLE` until it is there, the answer here comes
//! when it can be used.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ringmain_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;

use super::turns::Turns;
use super::{Answer, Broker, Context, topics};
use crate::group::OFFSETS_TOPIC;
use crate::metadata::error::ErrorCode as ControllerCode;
use crate::metadata::request::CreateTopicSpec;

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
    let made = match request.key_type {
        GROUP => make_offsets_topic(broker).await,
        TRANSACTION => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let keys = if context.version >= MANY_SINCE { request.coordinator_keys } else { vec![request.key] };
    let (mut coordinators, mut turns) = (Vec::with_capacity(keys.len()), Turns::default());
    for key in keys {
        turns.entry_done().await;
        let found = made.and_then(|()| find(broker, context, &key));
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

/// Where a group's coordinator is: at the leader of its partition.
fn find<I: Io>(broker: &Broker<I>, context: &Context, group_id: &str) -> Result<Place, ErrorCode> {
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let image = broker.image();
    let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(unavailable)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = usize::try_from(crate::group::partition_of(group_id, count)).unwrap_or(0);
    let leader = topic.partitions.get(index).ok_or(unavailable)?.leader;
    let mut nodes = topics::nodes(&image, broker.listener_name(context.peer.listener));
    let node = nodes.find(|node| node.id == leader).ok_or(unavailable)?;
    Ok(Place { node_id: node.id, host: Str::from(node.host), port: node.port })
}

/// Makes the topic that groups live in, if it is not there. Somebody else may have been faster.
async fn make_offsets_topic<I: Io>(broker: &Broker<I>) -> Result<(), ErrorCode> {
    if broker.image().topic_by_name(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    let settings = &broker.settings().offsets_topic;
    let brokers = broker.image().brokers.values().filter(|registered| !registered.fenced).count();
    let as_many = i16::try_from(brokers.clamp(1, 3)).unwrap_or(1);
    let set = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", settings.segment_bytes.to_string()),
    ];
    let spec = CreateTopicSpec {
        name: OFFSETS_TOPIC.to_owned(),
        partition_count: settings.partition_count,
        replication_factor: settings.replication_factor.unwrap_or(as_many),
        assignments: Vec::new(),
        configs: set.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    match broker.controller().create_topics(vec![spec], false).await.pop() {
        Some(Err(error)) if error.code != ControllerCode::TopicAlreadyExists => {
            tracing::error!(%error, "the topic of groups cannot be made");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        _ => Ok(()),
    }
}
