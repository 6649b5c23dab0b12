//! Fetch sessions (KIP-227): a client names its partitions once, then only what changes; the answer names only
//! partitions that have something to tell. Source: Kafka's `FetchSession` and `FetchManager`.
//!
//! A session lives on the shard that made it, whose index its number tells (`number mod shards`); a fetch that
//! comes in elsewhere travels there. The partitions' shards keep a watch each under the session's number.
//! A fetch that is given up half-way (its connection ended) ends the session: the client begins a new one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::lock::Mutex;
use ringmain_protocol::messages::fetch_request::FetchRequest;
use ringmain_protocol::messages::fetch_response::FetchResponse;
use ringmain_storage::io::Io;
use ringmain_storage::segment::Slice;

use super::super::{Answer, Broker};
use super::Asking;
use super::partitions::{Kept, Partitions};

/// A session that was idle this long may be ended to make room for another
/// (`min.incremental.fetch.session.eviction.ms`, whose default it is).
const EVICTION_IDLE: Duration = Duration::from_mins(2);

/// One session.
struct Session {
    partitions: Mutex<Partitions>,
    /// The epoch its next fetch must have.
    epoch: Cell<i32>,
    /// Whether its topics are named by id.
    by_id: bool,
    last_used: Cell<Duration>,
}

/// What a continued session answers.
pub(super) enum Continued {
    /// No such session.
    NotFound,
    /// Not the epoch it is at.
    WrongEpoch,
    /// Topics were named by name and are now by id, or the other way round.
    TopicIds,
    /// Here it is.
    Answer(FetchResponse, Vec<Vec<Slice>>),
}

/// The sessions of one shard.
#[derive(Default)]
pub(in super::super) struct Sessions {
    by_number: RefCell<HashMap<i32, Rc<Session>>>,
    kept: Kept,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("count", &self.by_number.borrow().len()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// How many partitions the shard's sessions and fetches have.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Ends a session; one that is not there is no error.
    pub(super) fn end<I: Io>(&self, broker: &Broker<I>, number: i32) {
        if self.by_number.borrow_mut().remove(&number).is_some() {
            broker.forget_watches(number);
        }
    }

    /// Answers a full fetch and makes a session of it if there is room; the answer says its number.
    pub(super) async fn begin<I: Io>(
        &self,
        broker: &Broker<I>,
        asking: &Asking,
        mut partitions: Partitions,
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let number = if partitions.is_empty() { None } else { self.room(broker) };
        let Some(number) = number else { return partitions.fetch(broker, asking, (None, true)).await };
        let session = Rc::new(Session {
            partitions: Mutex::new(partitions),
            epoch: Cell::new(1),
            by_id: asking.by_id(),
            last_used: Cell::new(broker.io().now()),
        });
        self.by_number.borrow_mut().insert(number, Rc::clone(&session));
        self.fetch(broker, asking, (number, &session, true)).await
    }

    /// Answers the next fetch of a session.
    pub(super) async fn go_on<I: Io>(
        &self,
        broker: &Broker<I>,
        asking: &Asking,
        request: FetchRequest,
    ) -> Continued {
        let number = request.session_id;
        let Some(session) = self.by_number.borrow().get(&number).cloned() else { return Continued::NotFound };
        if session.by_id != asking.by_id() {
            return Continued::TopicIds;
        }
        if session.epoch.get() != request.session_epoch {
            return Continued::WrongEpoch;
        }
        let right = asking.right.take();
        if right.is_some() && session.partitions.try_lock().is_none() {
            // Another fetch of the session waits for data: nobody waits for that with a right to work.
            return Continued::WrongEpoch;
        }
        asking.right.set(right);
        session.epoch.set(if request.session_epoch == i32::MAX { 1 } else { request.session_epoch + 1 });
        let is_empty = {
            let given_up = GivenUp { sessions: self, broker, number, done: false };
            let mut partitions = session.partitions.lock().await;
            partitions.update(asking, request.topics, request.forgotten_topics_data).await;
            given_up.done();
            partitions.is_empty()
        };
        if is_empty {
            // Nothing is left to fetch: as Kafka does, the session ends and the answer says so.
            self.end(broker, number);
            return Continued::Answer(FetchResponse::default(), Vec::new());
        }
        let (response, slices) = self.fetch(broker, asking, (number, &session, false)).await;
        Continued::Answer(response, slices)
    }

    async fn fetch<I: Io>(
        &self,
        broker: &Broker<I>,
        asking: &Asking,
        (number, session, full): (i32, &Session, bool),
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let given_up = GivenUp { sessions: self, broker, number, done: false };
        let mut partitions = session.partitions.lock().await;
        let (mut response, slices) = partitions.fetch(broker, asking, (Some(number), full)).await;
        session.last_used.set(broker.io().now());
        // Else it ends, and the answer says so by having no number.
        if partitions.are_worth_keeping() {
            response.session_id = number;
            given_up.done();
        }
        (response, slices)
    }

    /// A number for a new session, if there is room for one.
    fn room<I: Io>(&self, broker: &Broker<I>) -> Option<i32> {
        let shard_count = broker.router().shard_count();
        let sessions_max = broker.settings().fetch_sessions_max.div_ceil(shard_count);
        if self.by_number.borrow().len() >= sessions_max {
            let now = broker.io().now();
            let idlest = {
                let sessions = self.by_number.borrow();
                let idlest = sessions.iter().min_by_key(|(_, session)| session.last_used.get());
                idlest.map(|(number, session)| (*number, session.last_used.get()))
            };
            let (number, last_used) = idlest?;
            if now.saturating_sub(last_used) < EVICTION_IDLE {
                return None;
            }
            self.end(broker, number);
        }
        loop {
            let random = uuid::Uuid::new_v4().as_u128() % 0x3fff_ffff;
            let count = u128::try_from(shard_count).unwrap_or(1);
            let me = u128::try_from(broker.router().me()).unwrap_or(0);
            let number = i32::try_from(random / count * count + me).unwrap_or(0);
            if number > 0 && !self.by_number.borrow().contains_key(&number) {
                return Some(number);
            }
        }
    }
}

/// Ends a session whose fetch is dropped half-way: its shards' watches are not whole any more.
struct GivenUp<'a, I: Io> {
    sessions: &'a Sessions,
    broker: &'a Broker<I>,
    number: i32,
    done: bool,
}

impl<I: Io> GivenUp<'_, I> {
    fn done(mut self) {
        self.done = true;
    }
}

impl<I: Io> Drop for GivenUp<'_, I> {
    fn drop(&mut self) {
        if !self.done {
            self.sessions.end(self.broker, self.number);
        }
    }
}

/// Which shard a session lives on.
pub(super) fn home_of(number: i32, shard_count: usize) -> usize {
    usize::try_from(number).unwrap_or(0) % shard_count
}

/// Whatever an answer of a fetch is made of, as handlers return it.
pub(super) fn answer((body, slices): (FetchResponse, Vec<Vec<Slice>>)) -> Answer<FetchResponse> {
    Answer::Body { body, slices }
}
