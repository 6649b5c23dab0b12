//! Metadata (key 3): brokers, topics and who leads their partitions.
//!
//! Versions: 0 (an empty list asks for all) · 1 (null asks for all, racks, controller) · 2 (cluster id) · 4 (whether to
//! create) · 5 (offline replicas) · 7 (leader epochs) · 8 to 10 (authorized operations; the cluster's until 10) ·
//! 9 (flexible) · 10 (topic ids in answers) · 12 (topics by id) · 13 (error for the whole answer).
//!
//! Left out: authorization, so authorized operations are all there are.
//!
//! Order, as in `KafkaApis.handleTopicMetadataRequest`: the request fits its version → ids, if any is given, else names →
//! known topics are described → unknown ones are created if the request and `auto.create.topics.enable` allow →
//! `INVALID_TOPIC_EXCEPTION` or `UNKNOWN_TOPIC_OR_PARTITION`.
//!
//! A topic that is created here is answered with `UNKNOWN_TOPIC_OR_PARTITION` this once, as by Apache, but can be used
//! when that arrives; why one cannot be created is said at once, where Apache goes on with that code. A leader epoch that is not known is −1, never 0: clients trust it from version 9 on.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ringmain_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ringmain_protocol::wire::{Str, Uuid};
use ringmain_storage::io::Io;

use super::turns::Turns;
use super::{Answer, Broker, Context, errors, made_topics, topics};
use crate::metadata::image::{MetadataImage, TopicImage};

/// First version that may name topics by id.
const TOPICS_BY_ID_SINCE: i16 = 12;

/// Answers one Metadata.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    context: &Context,
    request: MetadataRequest,
) -> Answer<MetadataResponse> {
    let version = context.version;
    let asked = match &request.topics {
        None => None,
        Some(topics) if topics.is_empty() && version == 0 => None,
        Some(topics) => Some(topics),
    };
    let fits = version >= TOPICS_BY_ID_SINCE
        || asked.into_iter().flatten().all(|topic| topic.name.is_some() && topic.topic_id.is_zero());
    if let Some(asked) = asked.filter(|_| !fits) {
        return misfit(asked);
    }
    let image = broker.image();
    let mut described = match asked {
        None => image.topics().map(|topic| describe(&image, topic)).collect(),
        Some(asked) if asked.iter().any(|topic| !topic.topic_id.is_zero()) => by_id(&image, asked),
        Some(asked) => by_name(broker, asked, request.allow_auto_topic_creation).await,
    };
    if request.include_topic_authorized_operations {
        for topic in &mut described {
            topic.topic_authorized_operations = topics::TOPIC_OPERATIONS;
        }
    }
    let image = broker.image();
    let brokers = topics::nodes(&image, broker.listener_name(context.peer.listener))
        .map(|node| MetadataResponseBroker {
            node_id: node.id,
            host: Str::from(node.host),
            port: node.port,
            rack: node.rack.map(Str::from),
        })
        .collect();
    let mut response = MetadataResponse {
        brokers,
        cluster_id: Some(Str::from(&*image.cluster_id)),
        controller_id: broker.settings().node_id,
        topics: described,
        ..MetadataResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = topics::CLUSTER_OPERATIONS;
    }
    response.into()
}

/// The answer to a request that names topics as its version cannot: nothing of the cluster is told.
fn misfit(asked: &[MetadataRequestTopic]) -> Answer<MetadataResponse> {
    // Before version 12 an answer cannot leave a name out.
    let name = |topic: &MetadataRequestTopic| Some(topic.name.clone().unwrap_or_default());
    let topics =
        asked.iter().map(|topic| unknown(name(topic), topic.topic_id, ErrorCode::InvalidRequest)).collect();
    let error_code = ErrorCode::InvalidRequest.code();
    MetadataResponse {
        topics,
        error_code,
        cluster_id: None,
        controller_id: -1,
        ..MetadataResponse::default()
    }
    .into()
}

/// Topics named by id; names beside ids are not looked at, as in Apache.
fn by_id(image: &MetadataImage, asked: &[MetadataRequestTopic]) -> Vec<MetadataResponseTopic> {
    let ids: BTreeSet<_> = asked
        .iter()
        .filter(|topic| !topic.topic_id.is_zero())
        .map(|topic| topics::topic_id(topic.topic_id))
        .collect();
    ids.into_iter()
        .map(|id| match image.topic_by_id(id) {
            Some(topic) => describe(image, topic),
            None => unknown(None, topics::uuid(id), ErrorCode::UnknownTopicId),
        })
        .collect()
}

/// Topics by name, the missing ones created if that is allowed.
async fn by_name<I: Io>(
    broker: &Broker<I>,
    asked: &[MetadataRequestTopic],
    allow_creation: bool,
) -> Vec<MetadataResponseTopic> {
    let names: BTreeSet<Str> = asked.iter().filter_map(|topic| topic.name.clone()).collect();
    let image = broker.image();
    let (mut described, mut missing, mut turns) =
        (Vec::with_capacity(names.len()), Vec::new(), Turns::default());
    for name in names {
        turns.entry_done().await;
        match image.topic_by_name(&name) {
            Some(topic) => described.push(describe(&image, topic)),
            None if !topics::is_valid_name(&name) => {
                described.push(unknown(Some(name), Uuid::ZERO, ErrorCode::InvalidTopicException));
            }
            None => missing.push(name),
        }
    }
    drop(image);
    if allow_creation && broker.settings().auto_create_topics && !missing.is_empty() {
        described.extend(create(broker, missing).await);
    } else {
        let code = ErrorCode::UnknownTopicOrPartition;
        described.extend(missing.into_iter().map(|name| unknown(Some(name), Uuid::ZERO, code)));
    }
    described
}

/// Creates topics. They are not described yet even though they could be: clients that ask whether a topic is gone rely on
/// that, and all of them ask again, as they must with Apache.
async fn create<I: Io>(broker: &Broker<I>, names: Vec<Str>) -> Vec<MetadataResponseTopic> {
    let results = made_topics::make(broker, &names.iter().map(|name| &**name).collect::<Vec<_>>()).await;
    let answered = names.into_iter().zip(results).map(|(name, result)| {
        let code = match result {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(error) => {
                tracing::warn!(topic = %name, %error, "topic could not be created on first use");
                errors::controller(&error)
            }
        };
        unknown(Some(name), Uuid::ZERO, code)
    });
    answered.collect()
}

/// A topic that is not described.
fn unknown(name: Option<Str>, topic_id: Uuid, code: ErrorCode) -> MetadataResponseTopic {
    let is_internal = name.as_deref().is_some_and(topics::is_internal);
    MetadataResponseTopic {
        error_code: code.code(),
        name,
        topic_id,
        is_internal,
        ..MetadataResponseTopic::default()
    }
}

/// A topic with its partitions.
fn describe(image: &MetadataImage, topic: &Arc<TopicImage>) -> MetadataResponseTopic {
    let in_service = |id: &i32| image.brokers.get(id).is_some_and(|broker| !broker.fenced);
    let partitions = (0_i32..)
        .zip(&topic.partitions)
        .map(|(partition_index, partition)| {
            let leader = Some(partition.leader).filter(in_service);
            MetadataResponsePartition {
                error_code: leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).code(),
                partition_index,
                leader_id: leader.unwrap_or(-1),
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.clone(),
                isr_nodes: partition.isr.clone(),
                offline_replicas: partition.replicas.iter().copied().filter(|id| !in_service(id)).collect(),
            }
        })
        .collect();
    MetadataResponseTopic {
        name: Some(Str::from(&*topic.name)),
        topic_id: topics::uuid(topic.id),
        is_internal: topics::is_internal(&topic.name),
        partitions,
        ..MetadataResponseTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
    use ringmain_protocol::wire::Str;

    use crate::handler::test_kit::{Kit, with_broker};

    async fn named(kit: &Kit, version: i16, name: &str) -> (i16, usize, bool) {
        let topic = MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() };
        let topic = kit.ask(version, &request).await.topics.remove(0);
        (topic.error_code, topic.partitions.len(), topic.is_internal)
    }

    #[test]
    fn a_topic_that_is_made_on_first_use_is_described_from_the_second_request_on() {
        with_broker(async |kit| {
            for version in 0..=13 {
                let name = format!("t{version}");
                assert_eq!(named(&kit, version, &name).await, (3, 0, false), "version {version}");
                assert_eq!(named(&kit, version, &name).await, (0, 1, false), "version {version}");
            }
        });
    }

    #[test]
    fn a_topic_of_the_brokers_is_made_with_its_own_settings_whoever_names_it_first() {
        with_broker(async |kit| {
            for (name, codec) in [("__consumer_offsets", "producer"), ("__transaction_state", "uncompressed")]
            {
                named(&kit, 1, name).await;
                let is_internal = true;
                assert_eq!(named(&kit, 1, name).await, (0, 5, is_internal));
                let image = kit.broker.image();
                let configs = image.topic_config(name).unwrap();
                assert_eq!((&*configs["cleanup.policy"], &*configs["compression.type"]), ("compact", codec));
            }
        });
    }
}
