//! Producer ids are handed out in blocks; a block is never handed out twice, not even after a crash.

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::MetadataImage;
use super::super::request::ProducerIdBlock;
use super::{Outcome, refuse};
use ringmain_protocol::metadata::ProducerIdsRecord;

/// Ids in a block, as in Kafka.
pub const BLOCK_IDS: i32 = 1000;

/// The next block, for the broker `node_id`.
pub fn allocate(image: &MetadataImage, node_id: i32) -> Outcome<Result<ProducerIdBlock, ControllerError>> {
    let first = image.next_producer_id;
    let Some(next) = first.checked_add(i64::from(BLOCK_IDS)) else {
        let answer = refuse(ErrorCode::UnknownServerError, "all producer ids are taken");
        return Outcome { records: Vec::new(), answer };
    };
    let record = ProducerIdsRecord {
        broker_id: node_id,
        broker_epoch: image.brokers.get(&node_id).map_or(-1, |broker| broker.epoch),
        next_producer_id: next,
    };
    Outcome { records: vec![record.into()], answer: Ok(ProducerIdBlock { first, count: BLOCK_IDS }) }
}
