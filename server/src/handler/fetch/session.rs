//! Fetch sessions (KIP-227): a client names its partitions once, then only what changes; the answer names only
//! partitions that have something to tell. Source: Kafka's `FetchSession` and `FetchManager`.
//!
//! A session lives on the shard that made it, whose index its number tells (`number mod shards`); a fetch that
//! comes in elsewhere travels there. The partitions' shards keep a watch each under the session's number.
//! A fetch that is given up half-way (its connection ended) ends the session: the client begins a new one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use futures::lock::Mutex;
use ringmain_protocol::messages::fetch_request::{FetchRequest, FetchTopic, ForgottenTopic};
use ringmain_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ringmain_protocol::wire::{Records, Str, Uuid};
use ringmain_storage::io::Io;
use ringmain_storage::segment::Slice;

use super::super::turns::Turns;
use super::super::{Answer, Broker};
use super::Asking;
use super::gather::{Gathering, gather};
use super::reading::Named;
use crate::partition::watch::WatchChanges;

/// A session that was idle this long may be ended to make room for another
/// (`min.incremental.fetch.session.eviction.ms`, whose default it is).
const EVICTION_IDLE: Duration = Duration::from_mins(2);

/// A partition of a session.
struct Entry {
    named: Named,
    /// The shard that has it; `None` while it cannot be read.
    owner: Option<usize>,
    /// High watermark and log start as the client was last told; `None` if it has to be told again.
    told: Option<(i64, i64)>,
}

/// The partitions of one fetch, or of one session.
pub(super) struct Partitions {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    slots: HashMap<(Str, Uuid, i32), u32>,
    /// Slots that could not be read: they are looked up again at every fetch.
    unresolved: BTreeSet<u32>,
    /// Slots with a new wish.
    changed: Vec<u32>,
    /// What shards shall forget, by shard.
    forgotten: Vec<Vec<u32>>,
    /// How many partitions each shard has.
    owned: Vec<usize>,
    /// The slot whose turn it is when there is more than may be given.
    first: u32,
}

impl Partitions {
    /// None yet, of a broker with so many shards.
    pub(super) fn new(shard_count: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            unresolved: BTreeSet::new(),
            changed: Vec::new(),
            forgotten: vec![Vec::new(); shard_count],
            owned: vec![0; shard_count],
            first: 0,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes in what a request names and drops what it forgets.
    pub(super) async fn update(&mut self, topics: Vec<FetchTopic>, forgotten: Vec<ForgottenTopic>) {
        let mut turns = Turns::default();
        for topic in topics {
            for partition in topic.partitions {
                turns.entry_done().await;
                let key = (topic.topic.clone(), topic.topic_id, partition.partition);
                let named = Named { topic: topic.topic.clone(), id: topic.topic_id, partition };
                self.set(key, named);
            }
        }
        for topic in forgotten {
            for partition in topic.partitions {
                turns.entry_done().await;
                self.forget(&(topic.topic.clone(), topic.topic_id, partition));
            }
        }
    }

    fn set(&mut self, key: (Str, Uuid, i32), named: Named) {
        let known = self.slots.get(&key).copied();
        if let Some(slot) = known {
            if let Some(entry) = self.entry(slot) {
                entry.named = named;
            }
            self.changed.push(slot);
            return;
        }
        let entry = Some(Entry { named, owner: None, told: None });
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = usize::try_from(slot).ok().and_then(|at| self.entries.get_mut(at)) {
            *place = entry;
        }
        self.slots.insert(key, slot);
        self.changed.push(slot);
    }

    fn forget(&mut self, key: &(Str, Uuid, i32)) {
        let Some(slot) = self.slots.remove(key) else { return };
        self.set_owner(slot, None);
        self.unresolved.remove(&slot);
        // It may stay among the changed ones, where a slot without an entry is passed over.
        if let Some(place) = usize::try_from(slot).ok().and_then(|at| self.entries.get_mut(at)) {
            *place = None;
        }
        self.free.push(slot);
    }

    fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        usize::try_from(slot).ok().and_then(|at| self.entries.get_mut(at)).and_then(Option::as_mut)
    }

    /// Moves a slot to a shard, or to none.
    fn set_owner(&mut self, slot: u32, owner: Option<usize>) {
        let Some(entry) = self.entry(slot) else { return };
        let before = std::mem::replace(&mut entry.owner, owner);
        if before == owner {
            return;
        }
        if let Some(before) = before {
            self.owned[before] -= 1;
            self.forgotten[before].push(slot);
        }
        if let Some(owner) = owner {
            // If the shard still has to forget what the slot was before, it does so before it sets it.
            self.owned[owner] += 1;
        }
    }

    /// Fetches. With `full` every partition is in the answer, else only those that have something to tell.
    pub(super) async fn fetch<I: Io>(
        &mut self,
        broker: &Broker<I>,
        asking: &Asking,
        (number, full): (Option<i32>, bool),
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let mut answers: Vec<(u32, PartitionData, Vec<Slice>)> = Vec::new();
        let mut sets: Vec<WatchChanges> = self.owned.iter().map(|_| WatchChanges::default()).collect();
        let image = broker.image();
        let mut looked_at = std::mem::take(&mut self.changed);
        looked_at.extend(self.unresolved.iter().copied());
        let mut turns = Turns::default();
        for slot in looked_at {
            turns.entry_done().await;
            let Some(entry) = self.entry(slot) else { continue };
            match entry.named.want(asking, &image) {
                Ok(want) => {
                    let owner = broker.owner(want.key);
                    sets[owner].set.push((slot, want));
                    self.unresolved.remove(&slot);
                    self.set_owner(slot, Some(owner));
                }
                Err(data) => {
                    entry.told = None;
                    answers.push((slot, data, Vec::new()));
                    self.unresolved.insert(slot);
                    self.set_owner(slot, None);
                }
            }
        }
        let owners: Vec<usize> = (0..sets.len()).filter(|shard| self.owned[*shard] > 0).collect();
        for owner in &owners {
            // A shard that is not asked is told when it is: it must not answer for slots that others have by then.
            sets[*owner].forgotten = std::mem::take(&mut self.forgotten[*owner]);
        }
        let (limits, wait_max) = (asking.limits, asking.wait_max);
        let gathering =
            Gathering { watch: number, changes: sets, owners, limits, wait_max, first: self.first };
        let got;
        (got, self.first) = gather(broker, gathering).await;
        let image = broker.image();
        for (slot, got) in got {
            turns.entry_done().await;
            let Some(entry) = self.entry(slot) else { continue };
            let is_gone = got.offsets.is_none();
            let (data, slices) = entry.named.answer(asking, &image, got);
            let told = (data.high_watermark, data.log_start_offset);
            let tells = !slices.is_empty()
                || data.error_code != 0
                || data.diverging_epoch.end_offset >= 0
                || entry.told != Some(told);
            entry.told = (data.error_code == 0).then_some(told);
            if is_gone {
                self.set_owner(slot, None);
                self.unresolved.insert(slot);
            }
            if full || tells {
                answers.push((slot, data, slices));
            }
        }
        answers.sort_by_key(|(slot, _, _)| *slot);
        answers.dedup_by_key(|(slot, _, _)| *slot);
        self.respond(answers).await
    }

    /// Puts partitions back to their topics, and record bytes into their place.
    async fn respond(
        &mut self,
        answers: Vec<(u32, PartitionData, Vec<Slice>)>,
    ) -> (FetchResponse, Vec<Vec<Slice>>) {
        let mut response = FetchResponse::default();
        let mut all_slices = Vec::new();
        let mut turns = Turns::default();
        for (slot, mut data, slices) in answers {
            turns.entry_done().await;
            let Some(entry) = self.entry(slot) else { continue };
            let bytes: usize = slices.iter().map(Slice::len).sum();
            if let (Ok(index), Ok(len), false) =
                (u32::try_from(all_slices.len()), u32::try_from(bytes), slices.is_empty())
            {
                data.records = Records::External { index, len };
                all_slices.push(slices);
            }
            let (name, id) = (&entry.named.topic, entry.named.id);
            match response.responses.last_mut() {
                Some(topic) if topic.topic == *name && topic.topic_id == id => topic.partitions.push(data),
                _ => response.responses.push(FetchableTopicResponse {
                    topic: name.clone(),
                    topic_id: id,
                    partitions: vec![data],
                }),
            }
        }
        (response, all_slices)
    }
}

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
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("count", &self.by_number.borrow().len()).finish()
    }
}

impl Sessions {
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
            by_id: asking.version >= super::TOPIC_IDS_SINCE,
            last_used: Cell::new(broker.io().now()),
        });
        self.by_number.borrow_mut().insert(number, Rc::clone(&session));
        let (mut response, slices) = self.fetch(broker, asking, (number, &session, true)).await;
        response.session_id = number;
        (response, slices)
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
        if session.by_id != (asking.version >= super::TOPIC_IDS_SINCE) {
            return Continued::TopicIds;
        }
        if session.epoch.get() != request.session_epoch {
            return Continued::WrongEpoch;
        }
        session.epoch.set(if request.session_epoch == i32::MAX { 1 } else { request.session_epoch + 1 });
        let is_empty = {
            let given_up = GivenUp { sessions: self, broker, number, done: false };
            let mut partitions = session.partitions.lock().await;
            partitions.update(request.topics, request.forgotten_topics_data).await;
            given_up.done();
            partitions.is_empty()
        };
        if is_empty {
            // Nothing is left to fetch: as Kafka does, the session ends and the answer says so.
            self.end(broker, number);
            return Continued::Answer(FetchResponse::default(), Vec::new());
        }
        let (mut response, slices) = self.fetch(broker, asking, (number, &session, false)).await;
        response.session_id = number;
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
        let answer = partitions.fetch(broker, asking, (Some(number), full)).await;
        session.last_used.set(broker.io().now());
        given_up.done();
        answer
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
