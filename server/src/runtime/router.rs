//! How shards ask each other: each has a mailbox, into which the others put work to be done on its thread.
//! Work of one sender is begun in the order it was sent; what it returns travels back by itself.
//!
//! A mailbox takes what it is given, so that work is never refused half-way through a request; whoever reads
//! sockets awaits [`Router::room`] and reads no further while a mailbox is full. So it holds at most
//! [`WAITING_MAX`] and what the requests bring that were being taken apart when it was reached.
//! [`Router`] may be used from its own shard's thread only, [`Inbox`] likewise.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use event_listener::Event;
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::LocalBoxFuture;
use ringmain_storage::io::executor::give_way;

/// Work that may wait in one mailbox before sockets are read no further: several rounds of what all connections
/// of a busy shard send at once, and a few megabytes if each brings a small batch.
pub const WAITING_MAX: usize = 4096;
/// Pieces of work begun before the shard's other tasks get a turn.
const BEGUN_A_TURN: usize = 64;

/// What is done on another shard: it gets that shard's context.
type Work<C> = Box<dyn FnOnce(Rc<C>) -> LocalBoxFuture<'static, ()> + Send>;

/// How much waits in a mailbox.
#[derive(Debug, Default)]
struct Depth {
    waiting: AtomicUsize,
    room: Event,
}

struct Mailbox<C> {
    work: mpsc::UnboundedSender<Work<C>>,
    depth: Arc<Depth>,
}

/// Sends work to all shards.
pub struct Router<C> {
    /// The shard it belongs to.
    me: usize,
    mailboxes: Arc<[Mailbox<C>]>,
}

/// Where one shard's work comes in.
pub struct Inbox<C> {
    work: mpsc::UnboundedReceiver<Work<C>>,
    depth: Arc<Depth>,
}

/// A router and an inbox for each shard.
pub fn routers<C>(shard_count: usize) -> Vec<(Router<C>, Inbox<C>)> {
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..shard_count)
        .map(|_| {
            let (sender, work) = mpsc::unbounded();
            let depth = Arc::new(Depth::default());
            (Mailbox { work: sender, depth: Arc::clone(&depth) }, Inbox { work, depth })
        })
        .unzip();
    let mailboxes: Arc<[Mailbox<C>]> = mailboxes.into();
    let router = |me| Router { me, mailboxes: Arc::clone(&mailboxes) };
    inboxes.into_iter().enumerate().map(|(me, inbox)| (router(me), inbox)).collect()
}

impl<C: 'static> Router<C> {
    /// Index of this shard.
    pub fn me(&self) -> usize {
        self.me
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Sends work to a shard, now; the receiver gets what it returns, or an error if that shard has ended. Dropping
    /// the receiver does not stop the work.
    pub fn send<R, W>(&self, shard: usize, work: W) -> oneshot::Receiver<R>
    where
        R: Send + 'static,
        W: AsyncFnOnce(Rc<C>) -> R + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let work: Work<C> = Box::new(move |context| {
            Box::pin(async move {
                // Whoever asked may have gone.
                drop(sender.send(work(context).await));
            })
        });
        if let Some(mailbox) = self.mailboxes.get(shard) {
            mailbox.depth.waiting.fetch_add(1, Ordering::Relaxed);
            // A shard that has ended drops the work, and with it the sender.
            drop(mailbox.work.unbounded_send(work));
        }
        receiver
    }

    /// Completes when every other shard's mailbox takes more.
    pub async fn room(&self) {
        while let Some(mailbox) = self.full() {
            let room = mailbox.depth.room.listen();
            if mailbox.is_full() {
                room.await;
            }
        }
    }

    /// How much waits in each mailbox, by shard, for the metrics.
    pub fn depths(&self) -> impl Iterator<Item = usize> {
        self.mailboxes.iter().map(|mailbox| mailbox.depth.waiting.load(Ordering::Relaxed))
    }

    fn full(&self) -> Option<&Mailbox<C>> {
        let others = self.mailboxes.iter().enumerate().filter(|(shard, _)| *shard != self.me);
        others.map(|(_, mailbox)| mailbox).find(|mailbox| mailbox.is_full())
    }
}

impl<C> Mailbox<C> {
    fn is_full(&self) -> bool {
        self.depth.waiting.load(Ordering::Relaxed) >= WAITING_MAX
    }
}

impl<C: 'static> Inbox<C> {
    /// Begins work in the order it came until all routers are gone. What cannot end at once goes on by `spawn`.
    pub async fn serve(mut self, context: Rc<C>, spawn: impl Fn(LocalBoxFuture<'static, ()>)) {
        let mut begun = 0;
        while let Some(work) = self.work.next().await {
            if self.depth.waiting.fetch_sub(1, Ordering::Relaxed) == WAITING_MAX {
                self.depth.room.notify(usize::MAX);
            }
            let mut future = work(Rc::clone(&context));
            // The waker does nothing: what is not ready is polled again by the task it becomes.
            if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                spawn(future);
            }
            begun += 1;
            if begun == BEGUN_A_TURN {
                begun = 0;
                give_way().await;
            }
        }
    }
}

impl<C> std::fmt::Debug for Router<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("me", &self.me).finish_non_exhaustive()
    }
}

impl<C> std::fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("depth", &self.depth).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{WAITING_MAX, routers};
    use futures::FutureExt;
    use std::cell::RefCell;
    use std::rc::Rc;

    type Log = RefCell<Vec<u32>>;

    #[test]
    fn work_is_begun_in_the_order_it_was_sent() {
        let mut ends = routers::<Log>(2);
        let (_, inbox) = ends.pop().unwrap();
        let (router, _) = ends.pop().unwrap();
        let answers: Vec<_> = (0..200)
            .map(|number| {
                router.send(1, async move |log: Rc<Log>| {
                    log.borrow_mut().push(number);
                    number
                })
            })
            .collect();
        drop(router);
        drop(ends);
        let log: Rc<Log> = Rc::default();
        futures::executor::block_on(inbox.serve(Rc::clone(&log), |_| unreachable!("all ends at once")));
        assert_eq!(*log.borrow(), (0..200).collect::<Vec<_>>());
        for (number, answer) in (0..).zip(answers) {
            assert_eq!(answer.now_or_never(), Some(Ok(number)));
        }
    }

    #[test]
    fn a_full_mailbox_has_room_again_once_work_is_begun() {
        let mut ends = routers::<Log>(2);
        let (_, inbox) = ends.pop().unwrap();
        let (router, _) = ends.pop().unwrap();
        for _ in 0..WAITING_MAX {
            assert!(router.full().is_none());
            drop(router.send(1, async |_: Rc<Log>| ()));
        }
        assert!(router.full().is_some());
        let mut room = Box::pin(router.room());
        assert!(room.as_mut().now_or_never().is_none());
        let _ = inbox.serve(Rc::default(), |_| ()).now_or_never();
        assert_eq!(room.now_or_never(), Some(()));
        assert!(router.full().is_none());
    }

    #[test]
    fn work_for_a_shard_that_has_ended_answers_with_an_error() {
        let mut ends = routers::<Log>(2);
        drop(ends.pop());
        let (router, _) = ends.pop().unwrap();
        let answer = router.send(1, async |_: Rc<Log>| 7);
        assert!(answer.now_or_never().unwrap().is_err());
    }
}
