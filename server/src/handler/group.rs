//! The way from a request about a group to its coordinator, for all handlers of groups.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, select};
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io;
use ringmain_storage::types::{PartitionIndex, PartitionKey};

use super::{Broker, Context, Peer};
use crate::group::{Hosted, OFFSETS_TOPIC, partition_of};

impl<I: Io> Broker<I> {
    /// The partition whose log a group lives in.
    pub(super) fn group_partition(&self, group_id: &str) -> Result<PartitionKey, ErrorCode> {
        let image = self.image();
        // Who was told of a coordinator found the topic there.
        let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let partition = PartitionIndex(partition_of(group_id, count));
        Ok(PartitionKey { topic_id: topic.id, partition })
    }

    /// Runs `work` with a group's coordinator, on its shard, and gives back what it returns once all is durable that was
    /// written by then. Dropping the future gives the answer up, never half of what was done.
    pub(super) async fn at_coordinator<R, W>(
        &self,
        context: &Context,
        group_id: &str,
        work: W,
    ) -> Result<R, ErrorCode>
    where
        R: Send + 'static,
        W: AsyncFnOnce(&Rc<Hosted<I>>) -> Result<R, ErrorCode> + Send + 'static,
    {
        let key = self.group_partition(group_id)?;
        let owner = self.owner(key);
        context.traffic.add(owner, 0);
        self.at_coordinator_of(key, work).await
    }

    /// The same by the partition it lives in.
    pub(super) async fn at_coordinator_of<R, W>(&self, key: PartitionKey, work: W) -> Result<R, ErrorCode>
    where
        R: Send + 'static,
        W: AsyncFnOnce(&Rc<Hosted<I>>) -> Result<R, ErrorCode> + Send + 'static,
    {
        let owner = self.owner(key);
        if owner == self.router().me() {
            return self.at_own_coordinator(key, work).await;
        }
        // Dropped with this future, it tells the other shard that nobody waits any more.
        let (_here, gone) = oneshot::channel::<()>();
        let sent = self.router().send(owner, async move |broker| {
            match select(pin!(broker.at_own_coordinator(key, work)), gone).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(ErrorCode::NotCoordinator),
            }
        });
        sent.await.unwrap_or(Err(ErrorCode::NotCoordinator))
    }

    async fn at_own_coordinator<R, W>(&self, key: PartitionKey, work: W) -> Result<R, ErrorCode>
    where
        W: AsyncFnOnce(&Rc<Hosted<I>>) -> Result<R, ErrorCode>,
    {
        let partition = self.partition(key).ok_or(ErrorCode::NotCoordinator)?;
        let hosted = self.coordinators.get(self.io(), &partition).await?;
        let result = work(&hosted).await;
        hosted.settled().await?;
        result
    }
}

/// Waits for an answer that a coordinator gives later. While it waits it has no right to work that others need.
pub(super) async fn wait_for<R>(answer: oneshot::Receiver<R>) -> Result<R, ErrorCode> {
    answer.await.map_err(|oneshot::Canceled| ErrorCode::NotCoordinator)
}

/// A group's name, which has to be one. Offsets may be kept without one, as in Apache.
pub(super) fn name_of(group_id: &Str) -> Result<Arc<str>, ErrorCode> {
    Some(text(group_id)).filter(|id| !id.is_empty()).ok_or(ErrorCode::InvalidGroupId)
}

/// Text that does not keep its request alive, nor its shard.
pub(super) fn text(text: &Str) -> Arc<str> {
    Arc::from(text.as_str())
}

/// The same where there may be none.
pub(super) fn text_or_none(text: Option<&Str>) -> Option<Arc<str>> {
    text.map(self::text)
}

/// Bytes that do not keep their request alive.
pub(super) fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Text for an answer.
pub(super) fn told(text: &Arc<str>) -> Str {
    Str::from(&**text)
}

/// A client's address as Java writes it: a slash, and IPv6 without abbreviation.
pub(super) fn host_of(peer: Peer) -> Arc<str> {
    let text = match peer.address.ip().to_canonical() {
        std::net::IpAddr::V4(address) => format!("/{address}"),
        std::net::IpAddr::V6(address) => {
            let words = address.segments().map(|word| format!("{word:x}"));
            format!("/{}", words.join(":"))
        }
    };
    Arc::from(text)
}

/// What a client calls itself.
pub(super) fn client_id(context: &Context) -> Arc<str> {
    let name = context.client_id.as_deref().unwrap_or_default();
    Arc::from(String::from_utf8_lossy(name))
}
