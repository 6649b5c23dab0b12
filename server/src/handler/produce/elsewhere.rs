//! The part of a Produce that is other shards'.

use std::pin::pin;

use futures::channel::oneshot;
use futures::future::{Either, select};
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::produce_response::PartitionProduceResponse;
use ringmain_storage::io::Io;

use super::super::Broker;
use super::refusal::Refusal;
use super::{Order, Outcome, append, settle};

/// The orders for each other shard, in the order of the request.
pub(super) struct Elsewhere {
    pub(super) orders: Vec<Vec<Order>>,
}

/// What other shards answer, in the order of the orders.
pub(super) struct Others {
    waiting: Vec<Option<oneshot::Receiver<Vec<PartitionProduceResponse>>>>,
    indexes: Vec<Vec<i32>>,
    answers: Vec<std::vec::IntoIter<PartitionProduceResponse>>,
    /// Tell the other shards, by being dropped, that nobody waits any more.
    here: Vec<oneshot::Sender<()>>,
}

impl Elsewhere {
    /// Nothing for any of the shards yet.
    pub(super) fn new(shard_count: usize) -> Self {
        Self { orders: (0..shard_count).map(|_| Vec::new()).collect() }
    }

    /// Sends every shard its orders at once: work of one sender is begun in the order it was sent, which keeps a
    /// pipelining producer's.
    pub(super) fn send<I: Io>(self, broker: &Broker<I>, acks: i16) -> Others {
        let mut others =
            Others { waiting: Vec::new(), indexes: Vec::new(), answers: Vec::new(), here: Vec::new() };
        for (shard, orders) in self.orders.into_iter().enumerate() {
            others.indexes.push(orders.iter().map(|order| order.key.partition.0).collect());
            others.answers.push(Vec::new().into_iter());
            others.waiting.push((!orders.is_empty()).then(|| {
                let (here, gone) = oneshot::channel();
                others.here.push(here);
                broker.router().send(shard, async move |broker| {
                    let appended = pin!(append_orders(&broker, orders, acks));
                    match select(appended, gone).await {
                        Either::Left((responses, _)) => responses,
                        // Nobody waits for an answer any more, and batches that wait for their turn are given up.
                        Either::Right(_) => Vec::new(),
                    }
                })
            }));
        }
        others
    }
}

impl Others {
    /// The next answer of a shard.
    pub(super) async fn next_of(&mut self, shard: usize) -> PartitionProduceResponse {
        if let Some(waiting) = self.waiting.get_mut(shard).and_then(Option::take) {
            let answers = waiting.await.unwrap_or_else(|oneshot::Canceled| {
                // That shard has ended: the broker stops.
                let refuse = |index: &i32| Refusal::from(ErrorCode::KafkaStorageError).into_response(*index);
                self.indexes.get(shard).into_iter().flatten().map(refuse).collect()
            });
            if let Some(slot) = self.answers.get_mut(shard) {
                *slot = answers.into_iter();
            }
        }
        let answer = self.answers.get_mut(shard).and_then(Iterator::next);
        // An order has one answer; what has none is not acknowledged.
        answer.unwrap_or_else(|| Refusal::from(ErrorCode::KafkaStorageError).into_response(-1))
    }
}

/// Another shard's part: all batches are queued before the first wait.
async fn append_orders<I: Io>(
    broker: &Broker<I>,
    orders: Vec<Order>,
    acks: i16,
) -> Vec<PartitionProduceResponse> {
    let queued: Vec<Outcome<I>> = orders.into_iter().map(|order| append(broker, order)).collect();
    let mut responses = Vec::with_capacity(queued.len());
    for outcome in queued {
        responses.push(settle(outcome, acks).await);
    }
    responses
}
