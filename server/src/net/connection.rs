//! One connection: requests in, answers out in the order of the requests.
//!
//! Requests are pipelined: each is handed to the broker as soon as it is whole and polled once, which
//! queues what it appends; then only the oldest is waited for, since its answer has to go first. While an
//! answer is being sent nothing is read: a peer that does not take its answers cannot ask for more.
//!
//! What a connection holds is counted in two accounts ([`super::room`]): bytes received until their request is
//! answered, and the memory made for answers until they are sent. Requests that arrived are started one after the other, as
//! long as both have room.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use event_listener::EventListener;
use futures::FutureExt as _;
use nix::sys::socket::Shutdown;
use ringmain_storage::io::Io;
use ringmain_storage::io::executor::give_way;

use super::framing::Framing;
use super::room::Account;
use super::{Net, Open};
use crate::handler::{Part, Request, Response};
use crate::runtime::traffic::Traffic;

/// Bytes taken from one connection before the shard's other tasks get a turn.
const TURN_BYTES: usize = 1 << 20;
/// Bytes of ready answers that are gathered into one send.
const GATHER_BYTES: usize = 1 << 20;
/// Memory made for a connection's answers past which none of its further requests is started: a peer that
/// pipelines has that much waiting for it, whatever it asks for.
const ANSWERS_AHEAD_BYTES: usize = 256 << 10;

/// What work on a request takes in memory, beside its bytes; counted with them.
const WORK_BYTES: usize = 4 << 10;

/// A request that waits for its answer, or for the answers before it.
struct InFlight {
    /// What it holds of the room for received bytes.
    held_bytes: usize,
    api_key: i16,
    began: Duration,
    state: State,
}

enum State {
    Waiting(Pin<Box<dyn Future<Output = Response>>>),
    Ready(Response),
}

/// Memory that was made for an answer. Records are the store's, which counts those that it would have let go of.
fn made_bytes(response: &Response) -> usize {
    let Response::Frame(parts) = response else { return 0 };
    parts.iter().filter(|part| matches!(part, Part::Memory(_))).map(Part::len).sum()
}

/// Why the loop ended.
enum End {
    /// The peer closed, or the shard drains: everything was answered.
    Finished,
    /// We close, and say why.
    Refused(String),
    /// The socket failed.
    Broken(io::Error),
    /// It goes on elsewhere.
    Moves(usize, TcpStream),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Serves a connection until it ends. On return the socket is closed for both sides.
pub(super) async fn run<I: Io>(net: &Rc<Net<I>>, open: &Open) {
    let mut connection = Connection {
        net,
        open,
        received: Account::new(&net.received, open.id),
        unsent: Account::new(&net.unsent, open.id),
        framing: Framing::default(),
        arrived: VecDeque::new(),
        right: None,
        in_flight: VecDeque::new(),
        reading: true,
        refused: None,
        traffic: Traffic::default(),
    };
    match connection.serve().await {
        End::Moves(shard, stream) => {
            drop(connection);
            return net.move_to(shard, stream, open);
        }
        End::Finished => {}
        End::Refused(why) => net.refused(open.peer.address, &why),
        End::Broken(error) => tracing::debug!(peer = %open.peer.address, "connection broke: {error}"),
    }
    open.socket.shutdown(Shutdown::Both);
}

struct Connection<'a, I: Io> {
    net: &'a Rc<Net<I>>,
    open: &'a Open,
    /// Bytes received whose request is not answered yet.
    received: Account,
    /// Memory made for answers that are not sent yet.
    unsent: Account,
    framing: Framing,
    /// Whole requests that are not started yet.
    arrived: VecDeque<Bytes>,
    /// Wakes when the first of them may get the right that it needs.
    right: Option<EventListener>,
    in_flight: VecDeque<InFlight>,
    /// False once the stream has ended or will not be read on.
    reading: bool,
    /// Why we close once all before it is answered.
    refused: Option<String>,
    traffic: Traffic,
}

enum Woken {
    Ended,
    Readable,
    Startable,
    Answer,
}

impl<I: Io> Connection<'_, I> {
    async fn serve(&mut self) -> End {
        let mut ended = self.open.wait_for_end();
        loop {
            if !self.reading && self.in_flight.is_empty() && self.arrived.is_empty() {
                return self.refused.take().map_or(End::Finished, End::Refused);
            }
            let woken = poll_fn(|cx| match ended.poll_unpin(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(Woken::Ended)),
                Poll::Pending => self.poll_next(cx),
            });
            let woken = woken.await;
            let step = match woken {
                Ok(Woken::Readable) => self.receive().await,
                Ok(Woken::Startable) => {
                    self.start_arrived();
                    Ok(())
                }
                Ok(Woken::Ended) => return End::Finished,
                Ok(Woken::Answer) => self.send_ready().await,
                Err(error) => Err(error.into()),
            };
            if let Err(end) = step.and_then(|()| self.stay()) {
                return end;
            }
        }
    }

    /// Ends here if it should go on elsewhere, which it can only between two requests.
    fn stay(&self) -> Result<(), End> {
        let between = self.in_flight.is_empty()
            && self.arrived.is_empty()
            && self.framing.unfinished_bytes() == 0
            && self.reading
            && !self.open.is_ending();
        let Some(shard) = between.then(|| self.traffic.better_than(self.net.peers.me())).flatten() else {
            return Ok(());
        };
        Err(End::Moves(shard, self.open.socket.duplicate()?))
    }

    /// Ready when the oldest request has its answer, a further one can be started, or more can be read. Answers go
    /// first.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Woken>> {
        self.poll_oldest(cx);
        if let Some(InFlight { state: State::Ready(_), .. }) = self.in_flight.front() {
            return Poll::Ready(Ok(Woken::Answer));
        }
        if self.in_flight.len() >= self.net.limits.requests_in_flight_max
            || self.unsent.bytes() >= ANSWERS_AHEAD_BYTES
            || self.unsent.poll_may_take(cx, false).is_pending()
        {
            return Poll::Pending;
        }
        if !self.arrived.is_empty() {
            let may_start = self.in_flight.is_empty() || self.received.poll_has_plenty(cx).is_ready();
            return if may_start && self.poll_has_right(cx).is_ready() {
                Poll::Ready(Ok(Woken::Startable))
            } else {
                Poll::Pending
            };
        }
        if self.reading && self.received.poll_may_take(cx, self.framing.unfinished_bytes() > 0).is_ready() {
            return self.open.socket.poll_readable(cx).map_ok(|()| Woken::Readable);
        }
        Poll::Pending
    }

    /// Ready when the first request that arrived needs no right to be worked on, or may have one.
    fn poll_has_right(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.has_right() {
                self.right = None;
                return Poll::Ready(());
            }
            let Some(frame) = self.arrived.front().filter(|_| self.in_flight.is_empty()) else {
                return Poll::Pending;
            };
            if self.right.is_none() {
                self.right = self.net.workload.listen(frame);
            }
            match self.right.as_mut().map(|right| right.poll_unpin(cx)) {
                Some(Poll::Pending) => return Poll::Pending,
                Some(Poll::Ready(())) | None => self.right = None,
            }
        }
    }

    /// Whether the first request that arrived needs no right, or may have one. It is the connection's oldest then, and is
    /// polled until it is done.
    fn has_right(&self) -> bool {
        let workload = &self.net.workload;
        self.arrived.front().is_none_or(|frame| {
            !workload.needs_right(frame) || (self.in_flight.is_empty() && workload.has_place(frame))
        })
    }

    /// Lets the oldest request run.
    fn poll_oldest(&mut self, cx: &mut Context<'_>) {
        if let Some(oldest) = self.in_flight.front_mut()
            && let State::Waiting(future) = &mut oldest.state
            && let Poll::Ready(response) = future.as_mut().poll(cx)
        {
            self.unsent.add(made_bytes(&response));
            oldest.state = State::Ready(response);
        }
    }

    /// Whether one more request may be started now.
    fn may_start(&self) -> bool {
        self.in_flight.len() < self.net.limits.requests_in_flight_max
            && self.unsent.bytes() < ANSWERS_AHEAD_BYTES
            && self.unsent.may_take(false)
            // One request of each connection is always worked on; more only while there is plenty of room.
            && (self.in_flight.is_empty() || self.received.has_plenty())
    }

    /// Starts requests that arrived, as many as may be.
    fn start_arrived(&mut self) {
        while self.may_start() && self.has_right() {
            let Some(frame) = self.arrived.pop_front() else { break };
            self.start(frame);
        }
        if self.arrived.is_empty() {
            self.arrived.shrink_to(0);
        }
    }

    /// Reads what is there, up to one turn's bytes, and starts the requests that are whole.
    async fn receive(&mut self) -> Result<(), End> {
        let mut turn = 0;
        let mut frames = Vec::new();
        while self.reading
            && turn < TURN_BYTES
            && self.arrived.is_empty()
            && self.may_start()
            && self.received.may_take(self.framing.unfinished_bytes() > 0)
        {
            let Some(count) = self.read(&mut frames)? else { break };
            if count == 0 {
                self.end_of_stream();
                break;
            }
            turn += count;
            self.received.add(count);
            self.net.broker.counters().received_bytes.add_len(count);
            let now = self.net.io.now();
            self.open.moved(now);
            self.open.unfinished(self.framing.unfinished_bytes(), !frames.is_empty(), now);
            if self.framing.unfinished_bytes() == 0 {
                self.received.finished();
            }
            self.arrived.extend(frames.drain(..));
            self.start_arrived();
        }
        if turn >= TURN_BYTES {
            give_way().await;
        }
        // What was just started may have filled another shard's mailbox: read no more until it has room.
        self.net.broker.router().room().await;
        Ok(())
    }

    /// The peer sends no more, or the shard drains: what is whole is still answered.
    fn end_of_stream(&mut self) {
        self.reading = false;
        let bytes = self.framing.unfinished_bytes();
        if bytes > 0 && !self.net.draining.get() {
            self.refuse(format!("the stream ended inside a request, of which {bytes} bytes had arrived"));
        }
    }

    /// Reads once, and takes out the frames that are whole: `None` if nothing is there, `Some(0)` at the end.
    fn read(&mut self, frames: &mut Vec<Bytes>) -> io::Result<Option<usize>> {
        if let Some(mut room) = self.framing.room() {
            let count = self.open.socket.try_read_into(&mut room)?;
            self.framing.took(frames);
            return Ok(count);
        }
        let mut buffer = self.net.receive.borrow_mut();
        let bytes_max = buffer.len().min(self.framing.ahead_bytes());
        let buffer = buffer.get_mut(..bytes_max).unwrap_or_default();
        let count = self.open.socket.try_read(buffer)?;
        let received = buffer.get(..count.unwrap_or(0)).unwrap_or_default();
        if let Err(error) = self.framing.push(received, self.net.limits.request_bytes_max, frames) {
            self.refuse(error.to_string());
        }
        Ok(count)
    }

    /// Hands a request to the broker and lets it run up to its first wait.
    fn start(&mut self, frame: Bytes) {
        let held_bytes = 4 + frame.len() + WORK_BYTES;
        let right = self.net.workload.begin(&frame);
        let mut request = match Request::parse(frame, self.open.peer) {
            Ok(request) => request,
            Err(error) => return self.refuse(error.to_string()),
        };
        request.traffic = self.traffic.clone();
        request.right = right;
        let broker = Rc::clone(&self.net.broker);
        let (api_key, began) = (request.api_key, self.open.last_moved());
        broker.counters().requested(api_key);
        let mut future: Pin<Box<dyn Future<Output = Response>>> =
            Box::pin(async move { broker.handle(request).await });
        // The waker does nothing: the loop polls the oldest request again with its own before it waits.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let state = match future.as_mut().poll(&mut cx) {
            Poll::Ready(Response::Close(why)) => return self.refuse(why),
            Poll::Ready(response) => {
                self.unsent.add(made_bytes(&response));
                State::Ready(response)
            }
            Poll::Pending => State::Waiting(future),
        };
        self.received.add(WORK_BYTES);
        self.in_flight.push_back(InFlight { held_bytes, api_key, began, state });
    }

    /// Reads and starts no more; what is in flight is still answered.
    fn refuse(&mut self, why: String) {
        self.reading = false;
        self.arrived.clear();
        self.refused.get_or_insert(why);
    }

    /// Sends the answers that are ready, oldest first.
    async fn send_ready(&mut self) -> Result<(), End> {
        let mut parts: Vec<Part> = Vec::new();
        let (mut bytes, mut held_bytes) = (0, 0);
        let net = Rc::clone(self.net);
        let (counters, now) = (net.broker.counters(), net.io.now());
        while bytes < GATHER_BYTES
            && let Some(InFlight { state: State::Ready(_), .. }) = self.in_flight.front()
            && let Some(InFlight { held_bytes: in_room_bytes, api_key, began, state: State::Ready(response) }) =
                self.in_flight.pop_front()
        {
            self.received.remove(in_room_bytes);
            counters.answered(api_key, now.saturating_sub(began));
            held_bytes += made_bytes(&response);
            match response {
                Response::Frame(frame) => {
                    bytes += frame.iter().map(Part::len).sum::<usize>();
                    parts.extend(frame);
                }
                Response::None => {}
                Response::Close(why) => {
                    self.in_flight.clear();
                    self.refuse(why);
                }
            }
            // The next one may have become ready while it stood behind; its own waker was not asked.
            self.poll_oldest(&mut Context::from_waker(std::task::Waker::noop()));
        }
        if self.in_flight.is_empty() {
            self.in_flight.shrink_to(0);
        }
        let (open, net) = (self.open, self.net);
        let in_memory = parts.iter().filter(|part| !matches!(part, Part::File { .. }));
        open.unsent_bytes.set(in_memory.map(Part::len).sum());
        open.socket.send(&parts, || open.moved(net.io.now())).await?;
        counters.sent_bytes.add_len(bytes);
        let files = parts.iter().filter(|part| matches!(part, Part::File { .. }));
        counters.sent_file_bytes.add_len(files.map(Part::len).sum());
        drop(parts);
        self.unsent.remove(held_bytes);
        open.unsent_bytes.set(0);
        Ok(())
    }
}
