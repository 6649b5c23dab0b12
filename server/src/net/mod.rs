//! Sockets: accepting, cutting the stream into request frames, keeping responses in request order, and
//! sending them from memory and from files. What the frames mean is the handlers' business.
//!
//! Everything lives on one shard's thread. The only await points that move bytes are in [`socket`].

mod admission;
mod connection;
mod framing;
pub mod handover;
mod listener;
mod open;
mod room;
mod socket;
mod throttled_log;
mod watch;

use nix::sys::socket::Shutdown;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use event_listener::Event;
use ringmain_storage::io::Io;

use crate::handler::{Broker, Workload};
pub use admission::{AdmissionLimits, Admissions};
use handover::Peers;
pub use listener::{BindError, BindOptions, bind};
use open::Open;
use room::Room;
use throttled_log::ThrottledLog;

/// Bytes of the receive buffer that all connections of a shard share: one large read of a busy
/// connection. Idle connections hold no buffer at all.
const RECEIVE_BYTES: usize = 256 << 10;
/// Limits of a shard's connections.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// Largest request frame, in bytes (`socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Requests of one connection that may wait for their answers; past it the socket is not read.
    pub requests_in_flight_max: usize,
    /// Bytes of records that the stores of all shards could let go of if no answer held them.
    pub lingering_bytes: Arc<AtomicUsize>,
    /// How many shards share it.
    pub shard_count: usize,
    /// How many connections the process has; what it may have is looked up when one is accepted.
    pub admissions: Arc<Admissions>,
    /// A connection on which no byte moved for this long is closed (`connections.max.idle.ms`).
    pub idle_max: Duration,
    /// A connection that sent no whole request for this long is closed (`ringmain.first.request.timeout.ms`).
    pub first_request_max: Duration,
    /// Bytes received and not yet handled, over all connections of the shard; past it no socket is read. The shard's
    /// part of `queued.max.request.bytes`.
    pub received_bytes_max: usize,
    /// Bytes of answers in memory that no peer has taken yet, over all connections of the shard; past it no request
    /// is started. Records in the tail cache do not count. The shard's part of `ringmain.unsent.response.max.bytes`.
    pub unsent_bytes_max: usize,
}

impl NetLimits {
    /// One shard's part of limits that are given for the process.
    #[must_use]
    pub fn of_shard(&self, shards: usize) -> Self {
        let shards = shards.max(1);
        Self {
            received_bytes_max: (self.received_bytes_max / shards).max(self.request_bytes_max),
            unsent_bytes_max: self.unsent_bytes_max / shards,
            shard_count: shards,
            ..self.clone()
        }
    }
}

/// What a shard's connections are given.
#[derive(Debug)]
pub struct NetParts<I: Io> {
    /// Their limits.
    pub limits: NetLimits,
    /// The other shards.
    pub peers: Peers<Net<I>>,
}

/// All connections of one shard.
pub struct Net<I: Io> {
    io: I,
    broker: Rc<Broker<I>>,
    limits: NetLimits,
    peers: Peers<Self>,
    receive: RefCell<Box<[u8]>>,
    received: Rc<Room>,
    unsent: Rc<Room>,
    workload: Workload,
    open: RefCell<BTreeMap<u64, Rc<Open>>>,
    next_id: Cell<u64>,
    draining: Cell<bool>,
    gone: Event,
    stop_accepting: Event,
    log: ThrottledLog,
}

impl<I: Io> std::fmt::Debug for Net<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("open", &self.open.borrow().len()).finish_non_exhaustive()
    }
}

impl<I: Io> Net<I> {
    /// Starts with no listener and no connection; one background task looks over them.
    pub fn start(io: I, broker: Rc<Broker<I>>, parts: NetParts<I>) -> Rc<Self> {
        let NetParts { limits, peers } = parts;
        let clock = io.clone();
        let net = Rc::new(Self {
            io,
            broker,
            received: Room::new(limits.received_bytes_max),
            unsent: Room::new(limits.unsent_bytes_max),
            workload: Workload::default(),
            limits,
            peers,
            receive: RefCell::new(vec![0; RECEIVE_BYTES].into_boxed_slice()),
            open: RefCell::default(),
            next_id: Cell::new(0),
            draining: Cell::new(false),
            gone: Event::new(),
            stop_accepting: Event::new(),
            log: ThrottledLog::default(),
        });
        net.io.spawn(watch::run(clock, Rc::downgrade(&net)));
        net
    }

    /// Says that a connection is closed, and why.
    fn refused(&self, peer: SocketAddr, why: &str) {
        self.broker.counters().connections_refused.add(1);
        self.log.connection_closed(self.io.now(), peer, why);
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Accepts on this socket until [`Net::drain`].
    pub fn accept_on(self: &Rc<Self>, listener: std::net::TcpListener) {
        self.io.spawn(listener::accept_loop(Rc::clone(self), listener));
    }

    /// Stops accepting and reading, lets every connection answer what it has, and completes when all are
    /// closed or `patience` has passed.
    pub async fn drain(&self, patience: Duration) {
        self.draining.set(true);
        self.stop_accepting.notify(usize::MAX);
        for open in self.open.borrow().values() {
            // The connection sees the end of its stream, answers what is in flight, and ends.
            open.socket.shutdown(Shutdown::Read);
        }
        let deadline = self.io.now() + patience;
        while self.connection_count() > 0 {
            let listener = self.gone.listen();
            let Some(left) = deadline.checked_sub(self.io.now()).filter(|left| !left.is_zero()) else {
                break;
            };
            if self.connection_count() > 0 {
                futures::future::select(listener, std::pin::pin!(self.io.sleep(left))).await;
            }
        }
        let left = self.open.borrow().len();
        if left > 0 {
            tracing::warn!(connections = left, "closed before all was answered: the wait for them is over");
        }
        self.open.borrow().values().for_each(|open| open.end());
    }
}
