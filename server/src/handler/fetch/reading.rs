//! Between the request's partitions and what shards know: finding a partition in the metadata, and turning what
//! its shard gave into its part of the answer.

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::fetch_request::FetchPartition;
use ringmain_protocol::messages::fetch_response::{EpochEndOffset, PartitionData};
use ringmain_protocol::wire::{Records, Str, Uuid};
use ringmain_storage::segment::Slice;
use ringmain_storage::types::{Offset, PartitionIndex, PartitionKey};

use super::super::{errors, topics};
use super::{Asking, LEADER_HINT_SINCE, NO_STORAGE_ERROR_UNTIL, TOPIC_IDS_SINCE};
use crate::metadata::image::{MetadataImage, PartitionImage, TopicImage};
use crate::partition::watch::{FetchRefusal, Given, Got, Want};

/// A partition as a request names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The topic's name, if it was named so.
    pub(super) topic: Str,
    /// Its id, if it was named so.
    pub(super) id: Uuid,
    /// The rest.
    pub(super) partition: FetchPartition,
}

impl Named {
    fn find<'a>(
        &self,
        asking: &Asking,
        image: &'a MetadataImage,
    ) -> Result<(&'a TopicImage, &'a PartitionImage), ErrorCode> {
        let topic = if asking.version >= TOPIC_IDS_SINCE {
            image.topic_by_id(topics::topic_id(self.id)).ok_or(ErrorCode::UnknownTopicId)?
        } else {
            image.topic_by_name(&self.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?
        };
        let at = usize::try_from(self.partition.partition).ok();
        let described = at.and_then(|at| topic.partitions.get(at));
        described.map(|described| (&**topic, described)).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// What is wanted of it, if it exists and somebody may read it here; else its part of the answer.
    pub(super) fn want(&self, asking: &Asking, image: &MetadataImage) -> Result<Want, PartitionData> {
        let index = self.partition.partition;
        let (topic, described) = self.find(asking, image).map_err(|code| refused(index, code))?;
        if described.leader != asking.node_id || asking.is_follower {
            // A follower that is no replica of the partition: nobody is one here.
            return Err(self.not_led(asking, described));
        }
        Ok(Want {
            key: PartitionKey { topic_id: topic.id, partition: PartitionIndex(index) },
            from: Offset(self.partition.fetch_offset),
            // Unlike elsewhere, every negative epoch means that the client does not say.
            current_leader_epoch: self.partition.current_leader_epoch.max(-1),
            last_fetched_epoch: self.partition.last_fetched_epoch,
            bytes_max: usize::try_from(self.partition.partition_max_bytes).unwrap_or(0),
        })
    }

    fn not_led(&self, asking: &Asking, described: &PartitionImage) -> PartitionData {
        let mut data = refused(self.partition.partition, ErrorCode::NotLeaderOrFollower);
        data.aborted_transactions = None;
        if asking.version >= LEADER_HINT_SINCE {
            data.current_leader.leader_id = described.leader;
            data.current_leader.leader_epoch = described.leader_epoch;
        }
        data
    }

    /// Its part of the answer, and its record bytes; the records are filled in when their place is known.
    pub(super) fn answer(
        &self,
        asking: &Asking,
        image: &MetadataImage,
        got: Got,
    ) -> (PartitionData, Vec<Slice>) {
        let index = self.partition.partition;
        let Some(offsets) = got.offsets else {
            // Not on its shard any more: the metadata say why.
            let data = match self.find(asking, image) {
                Err(code) => refused(index, code),
                Ok((_, described)) => self.not_led(asking, described),
            };
            return (data, Vec::new());
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
            Given::Batches { slices, .. } => return (data, slices),
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
        };
        data.error_code = code.code();
        if code == ErrorCode::FencedLeaderEpoch && asking.version >= LEADER_HINT_SINCE {
            data.current_leader.leader_epoch = got.leader_epoch.0;
        }
        (data, Vec::new())
    }
}

/// The answer for a partition that cannot be looked at.
fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        preferred_read_replica: -1,
        records: Records::Bytes(bytes::Bytes::new()),
        ..PartitionData::default()
    }
}
