//! The idempotent producer behind `ringmain produce`: one request in flight, sent again until it is
//! acknowledged or cannot be.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmain_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ringmain_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringmain_protocol::wire::{Records, Str};
use ringmain_storage::record::builder::BatchBuilder;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{ProducerEpoch, ProducerId};

use super::client::{Client, TopicView, check};
use super::clock::{instant, pause};
use super::error::CliError;

/// How long a batch is tried before the command gives up.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A batch on its way to a partition.
#[derive(Debug)]
pub(crate) struct Outgoing {
    partition: usize,
    builder: BatchBuilder,
}

impl Outgoing {
    /// A batch for the partition with this index.
    pub(crate) fn new(partition: usize, builder: BatchBuilder) -> Self {
        Self { partition, builder }
    }
}

/// Sends batches of one topic. Blocks until each is acknowledged.
#[derive(Debug)]
pub(crate) struct Sender {
    bootstrap: String,
    topic: String,
    view: TopicView,
    connections: BTreeMap<String, Client>,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    /// Next sequence, by partition.
    sequences: Vec<i32>,
    acknowledged: u64,
}

impl Sender {
    /// Connects, looks the topic up (the broker may make it), gets a producer id.
    pub(crate) fn connect(bootstrap: &str, topic: &str) -> Result<Self, CliError> {
        let mut client = Client::connect(bootstrap)?;
        let view = retrying(|| client.topic(topic, true))?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = retrying(|| {
            let answer = client.call(&request)?;
            check(answer.error_code, || "get a producer id".to_owned()).map(|()| answer)
        })?;
        let sequences = vec![0; view.leaders.len()];
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            view,
            connections: BTreeMap::new(),
            producer_id: ProducerId(answer.producer_id),
            producer_epoch: ProducerEpoch(answer.producer_epoch),
            sequences,
            acknowledged: 0,
        })
    }

    /// How many partitions the topic has.
    pub(crate) fn partition_count(&self) -> usize {
        self.view.leaders.len()
    }

    /// Records acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// An error that names the range if the topic has no such partition.
    pub(crate) fn require_partition(&self, partition: i32) -> Result<(), CliError> {
        let count = self.partition_count();
        if usize::try_from(partition).is_ok_and(|index| index < count) {
            return Ok(());
        }
        Err(CliError::Usage(format!("{} has partitions 0 to {}, not {partition}", self.topic, count - 1)))
    }

    /// Sends batches in order. On return every one is acknowledged.
    pub(crate) fn send(&mut self, batches: Vec<Outgoing>) -> Result<(), CliError> {
        for Outgoing { partition, builder } in batches {
            let count = builder.record_count();
            let sequence = self.sequences.get(partition).copied().unwrap_or(0);
            let producer = ProducerBatch {
                producer_id: self.producer_id,
                producer_epoch: self.producer_epoch,
                base_sequence: sequence,
            };
            let records = builder
                .with_producer(producer)
                .build()
                .map_err(|error| CliError::Usage(error.to_string()))?;
            let give_up = instant() + DELIVERY_TIMEOUT;
            loop {
                match self.send_once(partition, Records::Bytes(records.clone())) {
                    Ok(()) => break,
                    Err(error) if error.retriable() && instant() < give_up => {
                        pause(RETRY_PAUSE);
                        self.connections.clear();
                        if let Ok(view) =
                            Client::connect(&self.bootstrap).and_then(|mut c| c.topic(&self.topic, false))
                        {
                            self.view = view;
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            // Sequences wrap to 0 after the largest, as Kafka's do.
            if let Some(next) = self.sequences.get_mut(partition) {
                *next = sequence.wrapping_add(count) & i32::MAX;
            }
            self.acknowledged += u64::try_from(count).unwrap_or(0);
        }
        Ok(())
    }

    fn send_once(&mut self, partition: usize, records: Records) -> Result<(), CliError> {
        let leader = self.view.leaders.get(partition).cloned().unwrap_or_default();
        let client = match self.connections.remove(&leader) {
            Some(client) => client,
            None => Client::connect(&leader)?,
        };
        let client = self.connections.entry(leader).or_insert(client);
        let index = i32::try_from(partition).unwrap_or(i32::MAX);
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: Str::from(self.topic.as_str()),
                topic_id: self.view.id,
                partition_data: vec![PartitionProduceData { index, records, ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = client.call(&request)?;
        for answered in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
            check(answered.error_code, || match &answered.error_message {
                Some(message) => format!("produce to {}-{index}: {message}", self.topic),
                None => format!("produce to {}-{index}", self.topic),
            })?;
        }
        Ok(())
    }
}

/// Tries again while the error may pass, for a little while: a topic that was just made has no leader yet.
pub(crate) fn retrying<T>(mut attempt: impl FnMut() -> Result<T, CliError>) -> Result<T, CliError> {
    let give_up = instant() + Duration::from_secs(15);
    loop {
        match attempt() {
            Err(error)
                if error.retriable()
                    && !matches!(error, CliError::Connection { .. })
                    && instant() < give_up =>
            {
                pause(RETRY_PAUSE);
            }
            result => return result,
        }
    }
}
