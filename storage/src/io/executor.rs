//! The executor of one shard: tasks of one thread, timers, readiness of descriptors, and a few helper threads for calls
//! that block. It is tokio's current-thread runtime; decision record 0010 says why.
//!
//! A task that panics takes its executor with it: what it was about to do for others would be waited for in vain.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::task::Waker;

use futures::FutureExt as _;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tokio::runtime;
use tokio::task::LocalSet;

/// Threads for calls that block: opening and replacing files, filling the page cache.
const HELPER_THREADS: usize = 4;

thread_local! {
    static PANICKED: RefCell<Panicked> = const { RefCell::new(Panicked { payload: None, waker: None }) };
}

/// A task's panic on its way to the thread's root.
struct Panicked {
    payload: Option<Box<dyn Any + Send>>,
    waker: Option<Waker>,
}

/// Pins this thread to a CPU. Helper threads of an executor made later still run anywhere this thread could before.
#[derive(Debug)]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins; an error if the CPU is not there or not allowed.
    pub fn to(cpu: usize) -> io::Result<Self> {
        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread)?;
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(this_thread, &only)?;
        Ok(Self { before })
    }
}

/// Runs `root` on this thread, and all tasks that it [`spawn`]s until it is done; those left are dropped.
/// Panics if a task does. The error says what the system refused.
pub fn block_on<T>(pinned: Option<&Pinned>, root: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(HELPER_THREADS);
    if let Some(&Pinned { before }) = pinned {
        // On the shard's own CPU they would take its time.
        builder.on_thread_start(move || {
            let _ = sched_setaffinity(Pid::from_raw(0), &before);
        });
    }
    let runtime = builder.build()?;
    Ok(LocalSet::new().block_on(&runtime, unless_a_task_panics(root)))
}

/// Runs a task on this thread's executor, detached.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let task = AssertUnwindSafe(task).catch_unwind();
    drop(tokio::task::spawn_local(async move {
        let Err(payload) = task.await else { return };
        PANICKED.with_borrow_mut(|panicked| {
            panicked.payload = Some(payload);
            if let Some(root) = panicked.waker.take() {
                root.wake();
            }
        });
    }));
}

/// Lets the executor's other tasks run once, and looks at what is ready.
pub async fn give_way() {
    tokio::task::yield_now().await;
}

async fn unless_a_task_panics<T>(root: impl Future<Output = T>) -> T {
    let mut root = pin!(root);
    std::future::poll_fn(|cx| {
        let payload = PANICKED.with_borrow_mut(|panicked| {
            panicked.waker = Some(cx.waker().clone());
            panicked.payload.take()
        });
        match payload {
            Some(payload) => resume_unwind(payload),
            None => root.as_mut().poll(cx),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::panic::catch_unwind;

    use super::{Pinned, block_on, give_way, spawn};

    #[test]
    fn a_task_that_panics_ends_its_executor() {
        let ended = catch_unwind(|| {
            block_on(None, async {
                spawn(async {
                    give_way().await;
                    panic!("of a task");
                });
                std::future::pending::<()>().await;
            })
        });
        assert_eq!(ended.unwrap_err().downcast_ref::<&str>(), Some(&"of a task"));
    }

    #[test]
    fn helper_threads_are_not_pinned() {
        use nix::sched::sched_getaffinity;
        use nix::unistd::Pid;
        let cpus = |set: nix::sched::CpuSet| {
            (0..nix::sched::CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect::<Vec<_>>()
        };
        let thread = std::thread::spawn(move || {
            let before = cpus(sched_getaffinity(Pid::from_raw(0)).unwrap());
            let pinned = Pinned::to(before[0]).unwrap();
            assert_eq!(cpus(sched_getaffinity(Pid::from_raw(0)).unwrap()), before[..1]);
            let helper = block_on(Some(&pinned), async {
                tokio::task::spawn_blocking(|| sched_getaffinity(Pid::from_raw(0)).unwrap()).await.unwrap()
            });
            assert_eq!(cpus(helper.unwrap()), before);
        });
        thread.join().unwrap();
    }
}
