//! What becomes of a batch before it is appended: it is checked, and brought into its topic's codec. That may ask for its
//! records to be decompressed and compressed, and a batch of a few KiB may hold many MiB of them. So what is not opened
//! in a moment is opened on a helper thread: the shard serves others meanwhile.
//!
//! A shard opens one such batch at a time, in the order in which they came, which bounds the memory that takes; and
//! whatever comes for a partition after one of its batches waits behind that. So a partition's batches keep the order in
//! which a connection's requests came. A batch whose client has gone is let go of when that is noticed, unless its turn
//! has come.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use futures::future::{Either, select};
use ringmain_storage::io::Io;
use ringmain_storage::record::batch::{self, BatchHeader};
use ringmain_storage::record::compression::{Codec, Compression};
use ringmain_storage::record::recompress::recompress;
use ringmain_storage::record::validate::{BatchError, ProduceLimits, VerifiedBatch, validate_produced};
use ringmain_storage::types::PartitionKey;

use super::{Outcome, store};
use crate::partition::Partition;

/// Bytes of a batch, and of its records, that are opened where the request is handled: a millisecond or two in the
/// slowest codec, and most batches of clients that do not wait for more.
const OPENED_AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Why a batch is not appended.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is refused.
    Batch(BatchError),
    /// It is part of a transaction.
    Transactional,
}

impl From<BatchError> for Unfit {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

/// A batch, and what is to be made of it. Carries records, so it prints nothing.
pub(super) struct Work {
    /// As it was sent.
    pub(super) batch: Bytes,
    /// Whether it is the greater part of its frame, which then is what is stored.
    pub(super) fills_frame: bool,
    /// What its topic is stored in; `None` is whatever it has.
    pub(super) compression: Option<Compression>,
    /// What its topic allows.
    pub(super) limits: ProduceLimits,
}

impl Work {
    /// Whether its records have to be decompressed or compressed.
    fn must_open(&self) -> bool {
        let Some(header) = BatchHeader::read(&self.batch) else { return false };
        let codec = header.attributes().codec();
        let changes = self.compression.is_some_and(|to| Some(to.codec) != codec);
        changes || (self.limits.compacted && codec != Some(Codec::None))
    }

    /// Does it, if it is done in a moment.
    pub(super) fn at_once(self) -> Result<Result<BytesMut, Unfit>, Self> {
        if !self.must_open() {
            return Ok(self.done());
        }
        if self.batch.len() > OPENED_AT_ONCE_BYTES_MAX {
            return Err(self);
        }
        let limits = ProduceLimits { decompressed_bytes_max: OPENED_AT_ONCE_BYTES_MAX, ..self.limits };
        match (Self { batch: self.batch.clone(), limits, ..self }).done() {
            Err(Unfit::Batch(error)) if error.has_outgrown() => Err(self),
            done => Ok(done),
        }
    }

    /// The batch as it is stored, or why it is not.
    pub(super) fn done(self) -> Result<BytesMut, Unfit> {
        let Self { batch, fills_frame, compression, limits } = self;
        let summary = validate_produced(&batch, &limits)?;
        if summary.attributes.is_transactional() {
            return Err(Unfit::Transactional);
        }
        Ok(to_store((batch, fills_frame), &summary, compression, &limits)?)
    }
}

/// The batch as it is stored: in its topic's codec, its max timestamp that of its records.
///
/// The frame's own memory is stored if nobody else has it and most of it is the batch; else the batch is copied.
fn to_store(
    (batch, fills_frame): (Bytes, bool),
    summary: &VerifiedBatch,
    compression: Option<Compression>,
    limits: &ProduceLimits,
) -> Result<BytesMut, BatchError> {
    if let Some(compression) = compression
        && let Some(recompressed) = recompress(&batch, compression, limits)?
    {
        let (bytes, bytes_max) = (recompressed.len(), limits.batch_bytes_max);
        if bytes > bytes_max {
            return Err(BatchError::TooLarge { bytes, bytes_max });
        }
        return Ok(recompressed);
    }
    let whole = if fills_frame { batch.try_into_mut() } else { Err(batch) };
    let mut batch = whole.unwrap_or_else(|batch| BytesMut::from(&batch[..]));
    if summary.max_timestamp_is_wrong {
        // As Apache does: what the records say counts, a lying header would spoil retention.
        batch::set_max_timestamp(&mut batch, summary.max_timestamp);
    }
    Ok(batch)
}

/// The batches of one shard that wait to be opened, or behind one that does. Lives on its thread.
#[derive(Default)]
pub(in crate::handler) struct Opener {
    /// Hears when the last one of them is through.
    last: Cell<Option<oneshot::Receiver<()>>>,
    /// How many there are of each partition.
    waiting: RefCell<HashMap<PartitionKey, usize>>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Opener {
    /// Whether a batch of the partition waits: a later one has to wait behind it.
    pub(super) fn holds_up(&self, key: PartitionKey) -> bool {
        self.waiting.borrow().contains_key(&key)
    }

    /// Has a batch opened and appended when its turn comes, which is decided by this call. Dropping what is returned
    /// gives the batch up, unless its turn has come.
    pub(super) fn append<I: Io>(
        self: &Rc<Self>,
        io: &I,
        partition: Rc<Partition<I>>,
        work: Work,
    ) -> oneshot::Receiver<Outcome<I>> {
        let (through, next) = oneshot::channel::<()>();
        let before = self.last.replace(Some(next));
        let (mut outcome, settled) = oneshot::channel();
        let (opener, own, key) = (Rc::clone(self), io.clone(), partition.key());
        *opener.waiting.borrow_mut().entry(key).or_default() += 1;
        io.spawn(async move {
            let turn = pin!(async {
                if let Some(before) = before {
                    // It never says anything: it is gone when that one is through.
                    let _ = before.await;
                }
            });
            let given_up = poll_fn(|cx| outcome.poll_canceled(cx));
            let appended = match select(turn, given_up).await {
                Either::Left(_) => {
                    let done = if work.must_open() { own.compute(|| work.done()).await } else { work.done() };
                    Some(store(&partition, own.wall_clock(), done))
                }
                Either::Right(((), turn)) => {
                    drop(work);
                    turn.await;
                    None
                }
            };
            opener.passed(key);
            drop(through);
            if let Some(appended) = appended {
                // Whoever waited may have gone meanwhile.
                let _ = outcome.send(appended);
            }
        });
        settled
    }

    fn passed(&self, key: PartitionKey) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(count) = waiting.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use ringmain_storage::config::TimestampType;
    use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
    use ringmain_storage::types::{Offset, TimestampMs};

    use super::super::super::test_kit::{Kit, with_broker};
    use super::*;

    /// Records of a batch that is not opened at once.
    const MANY: i32 = 20_000;

    #[test]
    fn a_batch_is_stored_where_it_stands_only_if_it_is_most_of_a_frame_that_nobody_else_has() {
        let limits = ProduceLimits {
            batch_bytes_max: 1 << 20,
            zstd_allowed: true,
            timestamp_type: TimestampType::CreateTime,
            timestamp_min: TimestampMs(i64::MIN),
            timestamp_max: TimestampMs(i64::MAX),
            compacted: false,
            decompressed_bytes_max: 1 << 20,
        };
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&NewRecord { value: Some(&[7; 500]), ..NewRecord::default() }).unwrap();
        let batch = builder.build().unwrap();
        let stored_in_place = |fills_frame: bool, others: bool| {
            let mut frame = BytesMut::from(&b"header"[..]);
            frame.extend_from_slice(&batch);
            let frame = frame.freeze();
            let sliced = frame.slice(6..);
            let other = others.then(|| frame.clone());
            drop(frame);
            let summary = validate_produced(&sliced, &limits).unwrap();
            let address = sliced.as_ptr();
            let stored = to_store((sliced, fills_frame), &summary, None, &limits).unwrap();
            assert_eq!(stored, batch[..]);
            drop(other);
            stored.as_ptr() == address
        };
        assert!(stored_in_place(true, false));
        assert!(!stored_in_place(true, true), "somebody else still reads the frame");
        assert!(!stored_in_place(false, false), "a small batch would keep a large frame");
    }

    fn end(kit: &Kit, topic: &str) -> Offset {
        kit.broker.partition(kit.key(topic, 0)).unwrap().log().offsets().log_end_offset
    }

    #[test]
    fn a_large_batch_is_opened_elsewhere_and_only_its_own_partition_waits_behind_it() {
        with_broker(async |kit| {
            kit.create_topic("zip", 1, &[("compression.type", "zstd")]).await;
            kit.create_topic("small", 1, &[("compression.type", "zstd")]).await;
            let (mut large, mut behind) =
                (pin!(kit.produce("zip", MANY, None)), pin!(kit.produce("zip", 1, None)));
            let mut aside = pin!(kit.produce("small", 1, None));
            assert!(futures::poll!(&mut large).is_pending());
            assert!(futures::poll!(&mut behind).is_pending());
            assert!(futures::poll!(&mut aside).is_pending());
            assert_eq!((end(&kit, "zip"), end(&kit, "small")), (Offset(0), Offset(1)));
            // Whoever waits for the second first gets it all the same.
            assert_eq!((behind.await, large.await, aside.await), (0, 0, 0));
            let log = Rc::clone(kit.broker.partition(kit.key("zip", 0)).unwrap().log());
            assert_eq!(log.offsets().log_end_offset, Offset(i64::from(MANY) + 1));
            let limits = ringmain_storage::segment::ReadLimits {
                end: Offset(i64::from(MANY) + 1),
                bytes_max: 1,
                at_least_one: true,
            };
            let read = log.read(Offset(0), limits).await.unwrap();
            let [ringmain_storage::segment::Slice::Memory(first)] = &read.slices[..] else {
                panic!("one batch")
            };
            assert_eq!(BatchHeader::read(first).unwrap().record_count(), MANY, "in the order they came");
            assert_eq!(kit.broker.opener.waiting.borrow().len(), 0);
        });
    }

    #[test]
    fn a_batch_that_nobody_waits_for_any_more_is_given_up_before_its_turn() {
        with_broker(async |kit| {
            kit.create_topic("zip", 1, &[("compression.type", "gzip")]).await;
            let mut first = pin!(kit.produce("zip", MANY, None));
            assert!(futures::poll!(&mut first).is_pending());
            {
                let mut gone = pin!(kit.produce("zip", MANY, None));
                assert!(futures::poll!(&mut gone).is_pending());
            }
            let mut last = pin!(kit.produce("zip", 5, None));
            assert!(futures::poll!(&mut last).is_pending());
            assert_eq!((first.await, last.await), (0, 0));
            assert_eq!(end(&kit, "zip"), Offset(i64::from(MANY) + 5));
        });
    }
}
