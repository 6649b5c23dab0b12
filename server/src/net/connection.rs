//! One connection: requests in, answers out in the order of the requests.
//!
//! Requests are pipelined: each is handed to the broker as soon as it is whole and polled once, which
//! queues what it appends; then only the oldest is waited for, since its answer has to go first. While an
//! answer is being sent nothing is read: a peer that does not take its answers cannot ask for more.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use glommio::io::PollState;
use ringmain_storage::io::Io;

use super::framing::Framing;
use super::{Net, Open};
use crate::handler::{Part, Request, Response};

/// Bytes taken from one connection before the shard's other tasks get a turn.
const TURN_BYTES: usize = 1 << 20;
/// Bytes of ready answers that are gathered into one send.
const GATHER_BYTES: usize = 1 << 20;

/// A request that waits for its answer, or for the answers before it.
enum InFlight {
    Waiting(Pin<Box<dyn Future<Output = Response>>>),
    Ready(Response),
}

/// Why the loop ended.
enum End {
    /// The peer closed, or the shard drains: everything was answered.
    Finished,
    /// We close, and say why.
    Refused(String),
    /// The socket failed.
    Broken(io::Error),
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
        framing: Framing::default(),
        in_flight: VecDeque::new(),
        reading: true,
        refused: None,
    };
    match connection.serve().await {
        End::Finished => {}
        End::Refused(why) => net.log.connection_closed(net.io.now(), open.peer, &why),
        End::Broken(error) => tracing::debug!(peer = %open.peer, "connection broke: {error}"),
    }
    open.socket.shutdown(Shutdown::Both);
}

struct Connection<'a, I: Io> {
    net: &'a Rc<Net<I>>,
    open: &'a Open,
    framing: Framing,
    in_flight: VecDeque<InFlight>,
    /// False once the stream has ended or will not be read on.
    reading: bool,
    /// Why we close once all before it is answered.
    refused: Option<String>,
}

enum Woken {
    Readable,
    Answer,
}

impl<I: Io> Connection<'_, I> {
    async fn serve(&mut self) -> End {
        let mut watch = PollState::new();
        loop {
            if !self.reading && self.in_flight.is_empty() {
                return self.refused.take().map_or(End::Finished, End::Refused);
            }
            let woken = poll_fn(|cx| self.poll_next(cx, &mut watch)).await;
            let step = match woken {
                Ok(Woken::Readable) => self.receive().await,
                Ok(Woken::Answer) => self.send_ready().await,
                Err(error) => Err(error.into()),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Ready when the oldest request has its answer, or more can be read. Answers go first.
    fn poll_next(&mut self, cx: &mut Context<'_>, watch: &mut PollState) -> Poll<io::Result<Woken>> {
        if let Some(InFlight::Waiting(future)) = self.in_flight.front_mut()
            && let Poll::Ready(response) = future.as_mut().poll(cx)
            && let Some(oldest) = self.in_flight.front_mut()
        {
            *oldest = InFlight::Ready(response);
        }
        if let Some(InFlight::Ready(_)) = self.in_flight.front() {
            return Poll::Ready(Ok(Woken::Answer));
        }
        if self.reading && self.in_flight.len() < self.net.limits.requests_in_flight_max {
            return self.open.socket.poll_readable(cx, watch).map_ok(|()| Woken::Readable);
        }
        Poll::Pending
    }

    /// Reads what is there, up to one turn's bytes, and starts the requests that are whole.
    async fn receive(&mut self) -> Result<(), End> {
        let mut turn = 0;
        let mut frames = Vec::new();
        while self.reading
            && turn < TURN_BYTES
            && self.in_flight.len() < self.net.limits.requests_in_flight_max
        {
            {
                let mut buffer = self.net.receive.borrow_mut();
                let Some(count) = self.open.socket.try_read(&mut buffer)? else { break };
                if count == 0 {
                    self.reading = false;
                    break;
                }
                turn += count;
                let received = buffer.get(..count).unwrap_or_default();
                if let Err(error) =
                    self.framing.push(received, self.net.limits.request_bytes_max, &mut frames)
                {
                    self.refuse(error.to_string());
                }
            }
            self.open.last_active.set(self.net.io.now());
            for frame in frames.drain(..) {
                self.start(frame);
            }
        }
        if turn >= TURN_BYTES {
            glommio::executor().yield_now().await;
        }
        Ok(())
    }

    /// Hands a request to the broker and lets it run up to its first wait.
    fn start(&mut self, frame: Bytes) {
        if self.refused.is_some() {
            return;
        }
        let request = match Request::parse(frame, self.open.peer) {
            Ok(request) => request,
            Err(error) => return self.refuse(error.to_string()),
        };
        let broker = Rc::clone(&self.net.broker);
        let mut future: Pin<Box<dyn Future<Output = Response>>> =
            Box::pin(async move { broker.handle(request).await });
        // The waker does nothing: the loop polls the oldest request again with its own before it waits.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let started = match future.as_mut().poll(&mut cx) {
            Poll::Ready(Response::Close(why)) => {
                self.refuse(why);
                return;
            }
            Poll::Ready(response) => InFlight::Ready(response),
            Poll::Pending => InFlight::Waiting(future),
        };
        self.in_flight.push_back(started);
    }

    /// Reads no more; what is in flight is still answered.
    fn refuse(&mut self, why: String) {
        self.reading = false;
        self.refused.get_or_insert(why);
    }

    /// Sends the answers that are ready, oldest first.
    async fn send_ready(&mut self) -> Result<(), End> {
        let mut parts: Vec<Part> = Vec::new();
        let mut bytes = 0;
        while bytes < GATHER_BYTES
            && let Some(InFlight::Ready(_)) = self.in_flight.front()
        {
            match self.in_flight.pop_front() {
                Some(InFlight::Ready(Response::Frame(frame))) => {
                    bytes += frame.iter().map(Part::len).sum::<usize>();
                    parts.extend(frame);
                }
                Some(InFlight::Ready(Response::Close(why))) => {
                    self.in_flight.clear();
                    self.refuse(why);
                }
                _ => {}
            }
            // The next one may have become ready while it stood behind; its own waker was not asked.
            if let Some(InFlight::Waiting(future)) = self.in_flight.front_mut()
                && let Poll::Ready(response) =
                    future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
                && let Some(oldest) = self.in_flight.front_mut()
            {
                *oldest = InFlight::Ready(response);
            }
        }
        if self.in_flight.is_empty() {
            self.in_flight.shrink_to(0);
        }
        let (open, net) = (self.open, self.net);
        open.socket.send(&parts, || open.last_active.set(net.io.now())).await?;
        Ok(())
    }
}
