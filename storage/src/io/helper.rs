//! A thread for computations that would hold up a shard: one for each shard that has any, so that it takes no more memory
//! than the shard itself would, and no file call waits behind one.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;

use futures::channel::oneshot;

/// A computation, which tells its result itself.
type Job = Box<dyn FnOnce() + Send>;

/// The thread, once it is needed. It ends with this.
#[derive(Debug, Default)]
pub(super) struct Helper {
    jobs: OnceCell<mpsc::Sender<Job>>,
}

impl Helper {
    /// What comes of a computation; they run one after the other. It goes on if nobody waits. Panics if it does.
    pub(super) async fn compute<R: Send + 'static>(
        &self,
        computation: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever waited may have gone.
            drop(done.send(catch_unwind(AssertUnwindSafe(computation))));
        });
        // If the thread could not start, nothing takes the job and the result says so.
        drop(self.jobs.get_or_init(start).send(job));
        match result.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(oneshot::Canceled) => panic!("a thread for long computations cannot start"),
        }
    }
}

/// Starts the thread, from one of the executor's own: those run on any CPU, and this one would be pinned to the shard's.
fn start() -> mpsc::Sender<Job> {
    let (jobs, queue) = mpsc::channel::<Job>();
    drop(tokio::task::spawn_blocking(move || {
        thread::Builder::new().name("helper".to_owned()).spawn(|| queue.into_iter().for_each(|job| job()))
    }));
    jobs
}

#[cfg(test)]
mod tests {
    use super::super::executor::block_on;
    use super::*;

    #[test]
    fn computations_run_in_order_and_a_panic_is_told_to_whoever_waits() {
        let ran = catch_unwind(|| {
            block_on(None, async {
                let helper = Helper::default();
                let all = futures::join!(helper.compute(|| 1), helper.compute(|| 2), helper.compute(|| 3));
                assert_eq!(all, (1, 2, 3));
                let here = thread::current().id();
                assert_ne!(helper.compute(|| thread::current().id()).await, here);
                helper.compute(|| -> i32 { panic!("of a computation") }).await
            })
        });
        assert_eq!(ran.unwrap_err().downcast_ref::<&str>(), Some(&"of a computation"));
    }
}
