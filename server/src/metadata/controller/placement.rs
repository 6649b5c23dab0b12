//! Which brokers hold a new partition: round robin over the active ones, each partition one further, and after
//! each round another distance between the first replica and the rest (Kafka's `StripedReplicaPlacer`, without
//! racks). Deterministic: the start comes from the topic's id.

use super::super::image::{BrokerImage, Id, MetadataImage, PartitionImage};
use ringmain_storage::types::TopicId;

/// Places replicas on the active brokers of an image.
#[derive(Debug)]
pub struct Placer<'a> {
    brokers: Vec<&'a BrokerImage>,
    start: usize,
}

impl<'a> Placer<'a> {
    /// A placer for one topic.
    pub fn new(image: &'a MetadataImage, topic_id: TopicId) -> Self {
        let brokers: Vec<_> = image.brokers.values().filter(|broker| broker.is_active()).collect();
        let start = topic_id
            .0
            .iter()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        Self { brokers, start }
    }

    /// Brokers that can take a replica.
    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// A new partition with that many replicas; fewer if there are not so many brokers.
    pub fn place(&self, partition_index: usize, replica_count: usize) -> PartitionImage {
        let count = self.brokers.len().max(1);
        let first = self.start.wrapping_add(partition_index) % count;
        let distance = partition_index / count % count.saturating_sub(1).max(1);
        let mut replicas = Vec::new();
        for replica in 0..replica_count.min(self.brokers.len()) {
            let step =
                if replica == 0 { 0 } else { 1 + (distance + replica - 1) % count.saturating_sub(1).max(1) };
            replicas.extend(self.brokers.get((first + step) % count).map(|broker| broker.id));
        }
        let isr = replicas.clone();
        self.partition(partition_index, replicas, isr)
    }

    /// A new partition on those replicas, led by the first of `isr`.
    pub fn partition(&self, partition_index: usize, replicas: Vec<i32>, isr: Vec<i32>) -> PartitionImage {
        let directory = |replica: &i32| {
            let broker = self.brokers.iter().find(|broker| broker.id == *replica);
            broker.map_or(Id::default(), |broker| {
                directory_of(broker, self.start.wrapping_add(partition_index))
            })
        };
        PartitionImage {
            directories: replicas.iter().map(directory).collect(),
            leader: isr.first().copied().unwrap_or(-1),
            isr,
            replicas,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            recovering: false,
            leader_epoch: 0,
            partition_epoch: 0,
        }
    }
}

/// One of the broker's directories that take new replicas; unassigned if it told none.
fn directory_of(broker: &BrokerImage, at: usize) -> Id {
    let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
    let open: Vec<Id> = broker.log_dirs.iter().copied().filter(|id| !cordoned.contains(id)).collect();
    at.checked_rem(open.len()).and_then(|at| open.get(at)).copied().unwrap_or_default()
}
