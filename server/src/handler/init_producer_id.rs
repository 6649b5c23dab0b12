//! `InitProducerId` (key 22): an id for an idempotent producer.
//!
//! Versions: 0 · 2 (flexible) · 3 (id and epoch of a producer that goes on) · 4 (`PRODUCER_FENCED`) · 5 (transactions of
//! version 2). Version 6 (two-phase commit) is not stable in Kafka 4.3.
//!
//! Left out: transactions. A transactional id is answered `COORDINATOR_NOT_AVAILABLE`, which is what Apache says
//! while no coordinator is there, and what `FindCoordinator` answers, so real clients do not come here.
//!
//! Order of checks, as in `KafkaApis.handleInitProducerIdRequest` and `TransactionCoordinator.handleInitProducerId`:
//! id and epoch both given or both not → no transactional id: a new id with epoch 0, whatever was given.

use std::cell::RefCell;
use std::ops::Range;

use futures::lock::Mutex;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ringmain_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ringmain_storage::io::Io;

use super::{Answer, Broker, errors};
use crate::control::ControllerClient;
use crate::metadata::error::ControllerError;

/// Producer ids of this shard: a block from the controller, used up one by one, then the next. What is left of
/// a block when the process ends is never given out.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    left: RefCell<Range<i64>>,
    refill: Mutex<()>,
}

impl ProducerIds {
    /// An id nobody else has or will have.
    async fn next(&self, controller: &ControllerClient) -> Result<i64, ControllerError> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let _one_asks = self.refill.lock().await;
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let block = controller.allocate_producer_ids().await?;
        *self.left.borrow_mut() = block.first + 1..block.first + i64::from(block.count);
        Ok(block.first)
    }

    fn take(&self) -> Option<i64> {
        self.left.borrow_mut().next()
    }
}

/// Answers one `InitProducerId`.
pub(super) async fn handle<I: Io>(
    broker: &Broker<I>,
    request: &InitProducerIdRequest,
) -> Answer<InitProducerIdResponse> {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        Some("") => refused(ErrorCode::InvalidRequest),
        Some(_) => refused(ErrorCode::CoordinatorNotAvailable),
        None => match broker.producer_ids().next(broker.controller()).await {
            Ok(producer_id) => {
                InitProducerIdResponse { producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() }
                    .into()
            }
            Err(error) => {
                tracing::error!(%error, "no producer ids from the controller");
                refused(errors::controller(&error))
            }
        },
    }
}

fn refused(code: ErrorCode) -> Answer<InitProducerIdResponse> {
    let (error_code, producer_epoch) = (code.code(), -1);
    InitProducerIdResponse {
        error_code,
        producer_id: -1,
        producer_epoch,
        ..InitProducerIdResponse::default()
    }
    .into()
}
