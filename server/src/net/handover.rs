//! Connections between shards: a new one is given to the shard with the fewest, and one that uses another shard's
//! partitions most moves there, between two requests.
//!
//! What travels is the socket itself, in an owner that closes it wherever it is dropped.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringmain_storage::io::Io;

use super::admission::Admission;
use super::open::Open;
use super::{Net, listener};
use crate::runtime::router::Router;

/// The other shards, as connections see them.
#[derive(Debug)]
pub struct Peers<C> {
    router: Router<C>,
    /// Connections on each shard, and on their way to it.
    counts: Arc<[AtomicUsize]>,
}

impl<C: 'static> Peers<C> {
    /// The way to the other shards; `counts` is shared by all and begins with zeros.
    pub fn new(router: Router<C>, counts: Arc<[AtomicUsize]>) -> Self {
        Self { router, counts }
    }

    /// This shard.
    pub(super) fn me(&self) -> usize {
        self.router.me()
    }

    fn least_loaded(&self) -> usize {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().min_by_key(|(_, count)| *count).map_or(self.me(), |(shard, _)| shard)
    }

    fn count(&self, shard: usize) -> Option<&AtomicUsize> {
        self.counts.get(shard)
    }

    /// A connection of this shard has ended or gone.
    pub(super) fn left(&self) {
        self.count(self.me()).map(|count| count.fetch_sub(1, Ordering::Relaxed));
    }
}

/// What a connection is when it comes to a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It was just accepted.
    New,
    /// It was served elsewhere before.
    Moved,
}

/// Who comes to a shard.
#[derive(Debug)]
pub(super) struct Newcomer {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// Where it comes from.
    pub(super) arrival: Arrival,
    /// It is counted for the process as long as somebody holds this.
    pub(super) admission: Arc<Admission>,
}

impl<I: Io> Net<I> {
    /// Gives an accepted connection to the shard with the fewest.
    pub(super) fn place(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let limits = listener::limits_of(&self.broker, peer.ip());
        let admission = match self.limits.admissions.admit(peer.ip(), limits) {
            Ok(admission) => Arc::new(admission),
            Err(limit) => return self.refused(peer, &limit.to_string()),
        };
        self.broker.counters().connections_accepted.add(1);
        self.give(self.peers.least_loaded(), stream, Newcomer { peer, arrival: Arrival::New, admission });
    }

    /// Gives a connection to another shard. It must be between two requests, with nothing received.
    pub(super) fn move_to(self: &Rc<Self>, shard: usize, stream: TcpStream, open: &Open) {
        let peer = open.peer.address;
        tracing::debug!(%peer, "the connection moves to shard {shard}, which has most of its traffic");
        let admission = Arc::clone(&open.admission);
        self.give(shard, stream, Newcomer { peer, arrival: Arrival::Moved, admission });
    }

    fn give(self: &Rc<Self>, shard: usize, stream: TcpStream, newcomer: Newcomer) {
        self.peers.count(shard).map(|count| count.fetch_add(1, Ordering::Relaxed));
        if shard == self.peers.me() {
            listener::admit(self, stream, newcomer);
            return;
        }
        // A shard that has ended drops the stream, which closes it.
        drop(self.peers.router.send(shard, async move |net: Rc<Self>| {
            listener::admit(&net, stream, newcomer);
        }));
    }
}
