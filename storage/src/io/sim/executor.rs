//! A deterministic executor: one thread, virtual time, and a seed that says which ready task runs next.
//! Time stands still while anything can run, then jumps to the next event.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::random::Random;

/// Polls after which a run counts as endless: a thousand times what the longest test needs.
const POLLS_MAX: u64 = 50_000_000;

/// Why a run ended before its future did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// The power was cut.
    PowerCut,
    /// Nothing can run and nothing is going to happen: a deadlock.
    Deadlock,
    /// Much ran and the future did not end: a livelock.
    Endless,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Event = Box<dyn FnOnce()>;

const MAIN: u64 = 0;

/// Tasks, timers and the clock of one simulated world.
pub(super) struct Executor {
    tasks: RefCell<BTreeMap<u64, (Task, Arc<TaskWaker>)>>,
    ready: Arc<Mutex<Vec<u64>>>,
    events: RefCell<BTreeMap<(Duration, u64), Event>>,
    next_number: Cell<u64>,
    now: Cell<Duration>,
    random: RefCell<Random>,
    halted: Cell<bool>,
}

impl Executor {
    /// Nothing to run, at time zero.
    pub(super) fn new(random: Random) -> Self {
        Self {
            tasks: RefCell::default(),
            ready: Arc::default(),
            events: RefCell::default(),
            next_number: Cell::new(MAIN),
            now: Cell::new(Duration::ZERO),
            random: RefCell::new(random),
            halted: Cell::new(false),
        }
    }

    /// Virtual time since the world began.
    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    /// The world's source of chance.
    pub(super) fn random(&self) -> std::cell::RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// Ends all runs: the power is cut.
    pub(super) fn halt(&self) {
        self.halted.set(true);
    }

    /// Whether the power is cut.
    pub(super) fn halted(&self) -> bool {
        self.halted.get()
    }

    /// Runs a task, detached.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let number = self.number();
        let waker = Arc::new(TaskWaker::new(number, Arc::clone(&self.ready)));
        self.tasks.borrow_mut().insert(number, (Box::pin(task), Arc::clone(&waker)));
        waker.wake_by_ref();
    }

    /// Lets `event` happen after `delay`.
    pub(super) fn after(&self, delay: Duration, event: impl FnOnce() + 'static) {
        let key = (self.now.get() + delay, self.number());
        self.events.borrow_mut().insert(key, Box::new(event));
    }

    /// Runs until `future` is done, together with all that is spawned.
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut future = pin!(future);
        let main_waker = Arc::new(TaskWaker::new(MAIN, Arc::clone(&self.ready)));
        main_waker.wake_by_ref();
        for _ in 0..POLLS_MAX {
            if self.halted() {
                return Err(Stopped::PowerCut);
            }
            let Some(number) = self.take_ready() else {
                if self.advance() {
                    continue;
                }
                return Err(Stopped::Deadlock);
            };
            if number == MAIN {
                main_waker.queued.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&main_waker));
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return if self.halted() { Err(Stopped::PowerCut) } else { Ok(value) };
                }
                continue;
            }
            let taken = self.tasks.borrow_mut().remove(&number);
            let Some((mut task, task_waker)) = taken else { continue };
            task_waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task_waker));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks.borrow_mut().insert(number, (task, task_waker));
            }
        }
        Err(Stopped::Endless)
    }

    /// Drops all tasks and events, which hold the world alive.
    pub(super) fn clear(&self) {
        self.halt();
        let tasks = self.tasks.take();
        drop(tasks);
        let events = self.events.take();
        drop(events);
        // What was dropped may have spawned: that never runs.
        let late = self.tasks.take();
        drop(late);
    }

    fn number(&self) -> u64 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    fn take_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.len() {
            0 => None,
            1 => ready.pop(),
            count => Some(ready.swap_remove(self.random().index(count))),
        }
    }

    /// Lets the next event happen, at its time.
    fn advance(&self) -> bool {
        let next = self.events.borrow_mut().pop_first();
        let Some(((at, _), event)) = next else { return false };
        self.now.set(at);
        event();
        true
    }
}

struct TaskWaker {
    number: u64,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl TaskWaker {
    fn new(number: u64, ready: Arc<Mutex<Vec<u64>>>) -> Self {
        Self { number, queued: AtomicBool::new(false), ready }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}
