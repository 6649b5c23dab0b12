//! Topics that are made when they are first needed: those that belong to the brokers, whose partitions and settings have
//! keys of their own, and those that a client names for the first time.

use ringmain_storage::io::Io;

use super::Broker;
use crate::group::OFFSETS_TOPIC;
use crate::metadata::error::{ControllerError, ErrorCode};
use crate::metadata::request::CreateTopicSpec;

/// The topic that transactions live in.
pub(super) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How a topic that belongs to the brokers is made when it is first needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternalTopic {
    /// `….num.partitions`.
    pub partition_count: i32,
    /// `….replication.factor`; `None` is as many as there are brokers, three at most.
    pub replication_factor: Option<i16>,
    /// `….segment.bytes`.
    pub segment_bytes: i32,
}

/// How the topics that belong to the brokers are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InternalTopics {
    /// `offsets.topic.…`.
    pub offsets: InternalTopic,
    /// `transaction.state.log.…`.
    pub transactions: InternalTopic,
    /// `transaction.state.log.min.isr`; `None` is two, or one if there is one replica.
    pub transactions_isr_min: Option<i16>,
}

/// Makes topics that may not be there yet; somebody else may have been faster. The results are in the order of `names`.
pub(super) async fn make<I: Io>(broker: &Broker<I>, names: &[&str]) -> Vec<Result<(), ControllerError>> {
    let brokers = broker.image().brokers.values().filter(|registered| !registered.fenced).count();
    let replicas = i16::try_from(brokers.clamp(1, 3)).unwrap_or(1);
    let specs = names.iter().map(|name| spec(&broker.settings().internal_topics, name, replicas)).collect();
    let results = broker.controller().create_topics(specs, false).await;
    let made = results.into_iter().map(|result| match result {
        Err(error) if error.code != ErrorCode::TopicAlreadyExists => Err(error),
        _ => Ok(()),
    });
    made.collect()
}

/// How a topic is made, with `replicas` if its key says nothing.
fn spec(internal: &InternalTopics, name: &str, replicas: i16) -> CreateTopicSpec {
    let of_brokers = |topic: &InternalTopic, configs: Vec<(&str, String)>| {
        let common =
            [("cleanup.policy", "compact".to_owned()), ("segment.bytes", topic.segment_bytes.to_string())];
        let configs = common.into_iter().chain(configs);
        CreateTopicSpec {
            name: name.to_owned(),
            partition_count: topic.partition_count,
            replication_factor: topic.replication_factor.unwrap_or(replicas),
            assignments: Vec::new(),
            configs: configs.map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    };
    match name {
        OFFSETS_TOPIC => of_brokers(&internal.offsets, vec![("compression.type", "producer".to_owned())]),
        TRANSACTIONS_TOPIC => {
            let replicas = internal.transactions.replication_factor.unwrap_or(replicas);
            let isr_min = internal.transactions_isr_min.unwrap_or(replicas.min(2));
            let configs = vec![
                ("compression.type", "uncompressed".to_owned()),
                ("min.insync.replicas", isr_min.to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ];
            of_brokers(&internal.transactions, configs)
        }
        _ => CreateTopicSpec {
            name: name.to_owned(),
            partition_count: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        },
    }
}
