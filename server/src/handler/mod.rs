//! From a framed request to a framed response. [`Broker`] is one shard's view of the whole broker;
//! each API has a file of its own below. This module knows no sockets: it takes the bytes of one
//! frame and hands back pieces of memory and ranges of files, which the connection sends in order.

mod request;
mod response;

use std::rc::Rc;

use ringmain_storage::io::Io;

pub use request::{BadRequest, Request};
pub use response::{Part, Response};

/// What a shard's broker is made of.
#[derive(Debug)]
pub struct BrokerParts<I: Io> {
    /// Time and tasks of this shard.
    pub io: I,
}

/// The broker as one shard sees it. Lives on the shard's thread; connections share it by `Rc`.
#[derive(Debug)]
pub struct Broker<I: Io> {
    parts: BrokerParts<I>,
}

impl<I: Io> Broker<I> {
    /// Puts a broker together. Nothing runs until a request comes.
    pub fn new(parts: BrokerParts<I>) -> Rc<Self> {
        Rc::new(Self { parts })
    }

    /// Answers one request. The future may wait (for durability, for data); dropping it gives up the
    /// answer, never what was already appended. Requests of one connection may be handled at the same
    /// time, but a Produce must have been polled once before the next request of its connection is
    /// handled: its appends are queued in that first poll, which keeps a pipelining producer's order.
    pub async fn handle(&self, request: Request) -> Response {
        let _ = &self.parts.io;
        Response::Close(format!("API key {} is not supported", request.api_key))
    }
}
