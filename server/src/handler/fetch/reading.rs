//! Between the request's partitions and what shards know: finding a partition in the metadata, and turning what
//! its shard gave into its part of the answer.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::FetchPartition;
use ringmain_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset, PartitionData};
use ringmain_protocol::wire::Records;
use ringmain_storage::segment::Slice;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey};

use super::super::{errors, topics};
use super::slots::TopicName;
use super::{Asking, LEADER_HINT_SINCE, NO_STORAGE_ERROR_UNTIL};
use crate::metadata::image::{MetadataImage, PartitionImage, TopicImage};
use crate::partition::watch::{FetchRefusal, Given, Got, Want};

/// What a request wants of one partition: as much of it as is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Its index.
    pub(super) partition: i32,
    current_leader_epoch: i32,
    fetch_offset: i64,
    last_fetched_epoch: i32,
    bytes_max: i32,
}

impl From<FetchPartition> for Wish {
    fn from(partition: FetchPartition) -> Self {
        Self {
            partition: partition.partition,
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            bytes_max: partition.partition_max_bytes,
        }
    }
}

/// Why a partition cannot be looked at. A request may name very many that are not there: its part of the answer, which
/// is large, is made when that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    code: ErrorCode,
    /// Who leads it instead, and under which epoch, if that is why.
    led_by: Option<(i32, i32)>,
}

impl Refusal {
    fn not_led(described: &PartitionImage) -> Self {
        let led_by = Some((described.leader, described.leader_epoch));
        Self { code: ErrorCode::NotLeaderOrFollower, led_by }
    }

    /// Why a partition is not on its shard.
    fn absent(asking: &Asking, described: &PartitionImage) -> Self {
        let is_own = described.leader == asking.node_id;
        if is_own && asking.has_offline && asking.version > NO_STORAGE_ERROR_UNTIL {
            Self { code: ErrorCode::KafkaStorageError, led_by: None }
        } else {
            Self::not_led(described)
        }
    }

    /// The partition's part of the answer.
    pub(super) fn data(self, asking: &Asking, index: i32) -> PartitionData {
        let mut data = PartitionData {
            partition_index: index,
            error_code: self.code.code(),
            high_watermark: -1,
            aborted_transactions: Some(Vec::new()),
            preferred_read_replica: -1,
            records: Records::Bytes(bytes::Bytes::new()),
            ..PartitionData::default()
        };
        if let Some((leader, leader_epoch)) = self.led_by {
            data.aborted_transactions = None;
            if asking.version >= LEADER_HINT_SINCE {
                data.current_leader.leader_id = leader;
                data.current_leader.leader_epoch = leader_epoch;
            }
        }
        data
    }
}

/// A partition as a request names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    /// Its topic.
    pub(super) topic: &'a TopicName,
    /// The rest.
    pub(super) wish: Wish,
}

impl Named<'_> {
    fn find(self, image: &MetadataImage) -> Result<(&TopicImage, &PartitionImage), Refusal> {
        let refused = |code| Refusal { code, led_by: None };
        let topic = match self.topic {
            TopicName::Id(id) => {
                image.topic_by_id(topics::topic_id(*id)).ok_or(refused(ErrorCode::UnknownTopicId))?
            }
            TopicName::Name(name) => {
                image.topic_by_name(name).ok_or(refused(ErrorCode::UnknownTopicOrPartition))?
            }
        };
        let at = usize::try_from(self.wish.partition).ok();
        let described = at.and_then(|at| topic.partitions.get(at));
        let described = described.ok_or(refused(ErrorCode::UnknownTopicOrPartition))?;
        Ok((topic, described))
    }

    /// What is wanted of it, if it exists and somebody may read it here.
    pub(super) fn want(self, asking: &Asking, image: &MetadataImage) -> Result<Want, Refusal> {
        let (topic, described) = self.find(image)?;
        if described.leader != asking.node_id || asking.is_follower {
            // A follower that is no replica of the partition: nobody is one here.
            return Err(Refusal::not_led(described));
        }
        Ok(Want {
            key: PartitionKey { topic_id: topic.id, partition: PartitionIndex(self.wish.partition) },
            from: Offset(self.wish.fetch_offset),
            // Unlike elsewhere, every negative epoch means that the client does not say.
            current_leader_epoch: self.wish.current_leader_epoch.max(-1),
            last_fetched_epoch: self.wish.last_fetched_epoch,
            bytes_max: usize::try_from(self.wish.bytes_max).unwrap_or(0),
        })
    }

    /// Its part of the answer, and its record bytes; the records are filled in when their place is known.
    pub(super) fn answer(
        self,
        asking: &Asking,
        image: &MetadataImage,
        got: Got,
    ) -> (PartitionData, Vec<Slice>) {
        let index = self.wish.partition;
        let Some(offsets) = got.offsets else {
            // Not on its shard any more, or offline since the start: the metadata say why.
            let refusal = self.find(image).map_or_else(|why| why, |(_, led)| Refusal::absent(asking, led));
            return (refusal.data(asking, index), Vec::new());
        };
        let mut data = PartitionData {
            partition_index: index,
            high_watermark: offsets.high_watermark.0,
            last_stable_offset: offsets.last_stable_offset.0,
            log_start_offset: offsets.log_start_offset.0,
            aborted_transactions: asking.limits.committed_only.then(Vec::new),
            preferred_read_replica: -1,
            records: Records::Bytes(bytes::Bytes::new()),
            ..PartitionData::default()
        };
        let code = match got.given {
            Given::Batches { slices, aborted, .. } => {
                let aborted = aborted.iter().map(|one| AbortedTransaction {
                    producer_id: one.producer_id.0,
                    first_offset: one.first_offset.0,
                });
                data.aborted_transactions = asking.limits.committed_only.then(|| aborted.collect());
                return (data, slices);
            }
            Given::Diverging(epoch, end_offset) => {
                data.diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset: end_offset.0 };
                return (data, Vec::new());
            }
            Given::Refused(FetchRefusal::NotLed) => ErrorCode::NotLeaderOrFollower,
            Given::Refused(FetchRefusal::Epoch(mismatch)) => errors::epoch(mismatch),
            Given::Refused(FetchRefusal::OutOfRange) => ErrorCode::OffsetOutOfRange,
            Given::Refused(FetchRefusal::Storage) if asking.version <= NO_STORAGE_ERROR_UNTIL => {
                ErrorCode::NotLeaderOrFollower
            }
            Given::Refused(FetchRefusal::Storage) => ErrorCode::KafkaStorageError,
            // Kafka's clients give it to the application, which may seek behind the batch.
            Given::Refused(FetchRefusal::Damaged) => ErrorCode::CorruptMessage,
        };
        data.error_code = code.code();
        if code == ErrorCode::FencedLeaderEpoch && asking.version >= LEADER_HINT_SINCE {
            data.current_leader.leader_epoch = got.leader_epoch.0;
        }
        (data, Vec::new())
    }
}
