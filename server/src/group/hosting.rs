//! The coordinators of one shard, each with the partition whose log it lives in.
//!
//! A coordinator is loaded when its partition is led here, or when it is first asked for; who asks meanwhile waits. What
//! it is asked is done in one go, in the order of the calls. An answer leaves when all is durable that was appended by
//! then ([`Hosted::settled`]): nobody is told of what a power cut can take back, be it the asker's own change or another's.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use event_listener::Event;
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, select};
use ringmain_protocol::ErrorCode;
use ringmain_storage::io::Io;
use ringmain_storage::types::PartitionKey;
use uuid::Uuid;

use super::coordinator::Coordinator;
use super::settings::GroupSettings;
use super::sink::LogSink;
use super::tally::Tally;
use super::turn::Turn;
use super::{loading, rewriting};
use crate::counters::{GroupCounters, ShardCounters};
use crate::metadata::store::MetadataStore;
use crate::partition::Partition;

/// What the coordinators of a shard have in common.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    settings: Rc<GroupSettings>,
    metadata: Arc<MetadataStore>,
    /// What they come to.
    tally: Rc<Cell<Tally>>,
    /// Where that is shown.
    counters: Arc<ShardCounters>,
}

/// A coordinator and its partition. Lives on its shard's thread.
pub struct Hosted<I: Io> {
    pub(super) io: I,
    pub(super) partition: Rc<Partition<I>>,
    surroundings: Surroundings,
    coordinator: RefCell<Coordinator>,
    /// What it has in the shard's tally.
    counted: Cell<Tally>,
    /// Whether the log holds records that are not ours to write anew.
    pub(super) has_foreign: bool,
    /// How many records the log had when somebody looked how many of them are dead.
    pub(super) looked_at: Cell<i64>,
    /// Whether it is being written anew.
    pub(super) is_rewriting: Cell<bool>,
    is_closed: Cell<bool>,
    /// Something is due earlier than before, or the coordinator is closed.
    deadline_moved: Event,
}

impl<I: Io> Hosted<I> {
    /// A loaded coordinator; its timers run from now on.
    pub(super) fn start(
        io: I,
        partition: Rc<Partition<I>>,
        surroundings: Surroundings,
        (coordinator, has_foreign): (Coordinator, bool),
    ) -> Rc<Self> {
        let hosted = Rc::new(Self {
            io,
            partition,
            surroundings,
            coordinator: RefCell::new(coordinator),
            counted: Cell::default(),
            has_foreign,
            looked_at: Cell::new(0),
            is_rewriting: Cell::new(false),
            is_closed: Cell::new(false),
            deadline_moved: Event::new(),
        });
        hosted.step(Coordinator::on_loaded);
        hosted.io.spawn(run_timers(Rc::downgrade(&hosted)));
        hosted
    }

    /// Has the coordinator do one thing, now.
    pub fn step<R>(self: &Rc<Self>, work: impl FnOnce(&mut Coordinator, &mut Turn<'_>) -> R) -> R {
        let Surroundings { settings, metadata, tally, counters } = &self.surroundings;
        let image = metadata.image();
        let mut coordinator = self.coordinator.borrow_mut();
        let before = coordinator.next_deadline();
        let result = work(
            &mut coordinator,
            &mut Turn {
                now: self.io.now(),
                wall_clock: self.io.wall_clock(),
                random_uuid: &mut || Uuid::new_v4().to_string(),
                log: &mut LogSink(&self.partition),
                cluster: &*image,
                settings,
                bytes_left: settings.bytes_max.saturating_sub(tally.get().bytes),
                counters: &counters.groups,
            },
        );
        let after = coordinator.next_deadline();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.deadline_moved.notify(1);
        }
        drop(coordinator);
        self.count();
        rewriting::look(self);
        result
    }

    /// Has the shard's tally say what the coordinator and its log come to by now.
    pub(super) fn count(&self) {
        let mut now = self.look(Coordinator::tally);
        if self.is_closed.get() {
            now = Tally::default();
        } else {
            let offsets = self.partition.log().offsets();
            let records = offsets.log_end_offset.0 - offsets.log_start_offset.0;
            now.log_records = usize::try_from(records).unwrap_or_default();
        }
        let mut all = self.surroundings.tally.get();
        all.exchange(self.counted.replace(now), now);
        self.surroundings.tally.set(all);
        all.show(self.counters());
    }

    /// Where what happens is counted.
    pub(super) fn counters(&self) -> &GroupCounters {
        &self.surroundings.counters.groups
    }

    /// What the configuration says of groups.
    pub fn settings(&self) -> &GroupSettings {
        &self.surroundings.settings
    }

    /// Looks at the coordinator.
    pub fn look<R>(&self, look: impl FnOnce(&Coordinator) -> R) -> R {
        look(&self.coordinator.borrow())
    }

    /// Completes when everything is durable that was appended by now; the error is what everyone is told who asked.
    pub async fn settled(&self) -> Result<(), ErrorCode> {
        let log = self.partition.log();
        let durable = log.wait_durable(log.offsets().log_end_offset).await;
        self.partition.advance_high_watermark();
        if durable.is_err() || self.is_closed.get() || self.partition.has_left() {
            return Err(ErrorCode::NotCoordinator);
        }
        Ok(())
    }

    /// Ends it: whoever waits is told to look for the coordinator again.
    fn close(&self) {
        self.is_closed.set(true);
        // With it go the channels to those who wait.
        drop(self.coordinator.take());
        self.count();
        self.deadline_moved.notify(1);
    }
}

impl<I: Io> std::fmt::Debug for Hosted<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// Does what is due when it is, until the coordinator is closed.
async fn run_timers<I: Io>(hosted: Weak<Hosted<I>>) {
    while let Some(strong) = hosted.upgrade().filter(|hosted| !hosted.is_closed.get()) {
        let moved = strong.deadline_moved.listen();
        let wait = strong.look(Coordinator::next_deadline).map(|at| at.saturating_sub(strong.io.now()));
        match wait {
            Some(wait) if wait.is_zero() => strong.step(Coordinator::on_time),
            Some(wait) => {
                let io = strong.io.clone();
                drop(strong);
                select(moved, std::pin::pin!(io.sleep(wait))).await;
            }
            None => {
                drop(strong);
                moved.await;
            }
        }
    }
}

/// A coordinator that is there, or is being loaded, or could not be.
type Loading<I> = futures::future::Shared<LocalBoxFuture<'static, Result<Rc<Hosted<I>>, ErrorCode>>>;

/// The coordinators of one shard.
pub struct Coordinators<I: Io> {
    surroundings: Surroundings,
    by_partition: RefCell<BTreeMap<PartitionKey, Loading<I>>>,
    is_stopping: Cell<bool>,
}

impl<I: Io> Coordinators<I> {
    /// None yet.
    pub fn new(settings: GroupSettings, metadata: Arc<MetadataStore>, counters: Arc<ShardCounters>) -> Self {
        let surroundings =
            Surroundings { settings: Rc::new(settings), metadata, tally: Rc::default(), counters };
        Self { surroundings, by_partition: RefCell::default(), is_stopping: Cell::new(false) }
    }

    /// The coordinator of a partition that is led here, loaded.
    pub async fn get(&self, io: &I, partition: &Rc<Partition<I>>) -> Result<Rc<Hosted<I>>, ErrorCode> {
        if self.is_stopping.get() {
            return Err(ErrorCode::NotCoordinator);
        }
        let loading = self.loading(io, partition);
        loading.await
    }

    /// Begins to load the coordinator of a partition that is led here.
    pub fn load(&self, io: &I, partition: &Rc<Partition<I>>) {
        io.spawn(self.loading(io, partition).map(drop));
    }

    fn loading(&self, io: &I, partition: &Rc<Partition<I>>) -> Loading<I> {
        let mut by_partition = self.by_partition.borrow_mut();
        let begin = || {
            loading::load(io.clone(), Rc::clone(partition), self.surroundings.clone()).boxed_local().shared()
        };
        by_partition.entry(partition.key()).or_insert_with(begin).clone()
    }

    /// A partition is led here no more.
    pub fn unload(&self, key: PartitionKey) {
        let removed = self.by_partition.borrow_mut().remove(&key);
        if let Some(Ok(hosted)) = removed.as_ref().and_then(Loading::<I>::peek) {
            hosted.close();
        }
    }

    /// The broker stops: whoever waits is told to look elsewhere.
    pub fn stop(&self) {
        self.is_stopping.set(true);
        let keys: Vec<PartitionKey> = self.by_partition.borrow().keys().copied().collect();
        keys.into_iter().for_each(|key| self.unload(key));
    }

    /// Topics are gone: so are the offsets in them. What cannot be taken away now goes when it is old.
    pub fn topics_deleted(&self, topics: Vec<Arc<str>>) {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().collect();
        if topics.is_empty() {
            return;
        }
        let loaded: Vec<Rc<Hosted<I>>> = {
            let by_partition = self.by_partition.borrow();
            by_partition.values().filter_map(|loading| loading.peek()?.as_ref().ok().cloned()).collect()
        };
        for hosted in loaded {
            let done = hosted.step(|coordinator, turn| coordinator.topics_deleted(&topics, turn));
            if let Err(code) = done {
                tracing::warn!(?hosted, ?code, "offsets in deleted topics cannot be taken away");
            }
        }
    }
}

impl<I: Io> std::fmt::Debug for Coordinators<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinators")
            .field("count", &self.by_partition.borrow().len())
            .finish_non_exhaustive()
    }
}
