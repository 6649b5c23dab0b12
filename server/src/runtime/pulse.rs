//! A shard's pulse: a timer that never lets its executor sleep for long.
//!
//! glommio-ng 0.12 goes to sleep with tasks that are ready to run when its preempt timer fires between arming it and
//! looking at the task queues for the first time (`LocalExecutor::run_task_queues` then says that nothing ran, and the
//! loop parks). On a busy machine a thread loses its CPU in that window often enough: starts and requests hung
//! until something else woke the shard (decision record 0006). A timer wakes it: every millisecond while there is
//! work, ever more seldom while there is none. The task that this timer makes ready can lose its turn as well, and
//! a thread that was away for long finds several timers due at once: so each beat also sets later ones, each four
//! times as far away as the one before, which the next beat takes back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::select_all;
use ringmain_storage::io::Io;

/// Between two beats while there is work: what a lost turn costs at most.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Timers set at each beat, the last a quarter of a second away, or half a minute if idle: all of their turns would have to be lost, one after the other, for the
/// shard to hang.
const TIMERS: u32 = 5;
/// Between two beats of an idle shard: eight wake-ups a second.
const INTERVAL_MAX: Duration = Duration::from_millis(128);

/// Says that there is work. Clones are of one shard.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    worked: Rc<Cell<bool>>,
}

impl Pulse {
    /// Starts to beat on this shard, for as long as its executor runs.
    pub fn start(io: &impl Io) -> Self {
        let pulse = Self::default();
        let (beating, clock) = (pulse.clone(), io.clone());
        io.spawn(async move {
            let mut interval = INTERVAL_MIN;
            loop {
                let timers = (0..TIMERS).map(|timer| Box::pin(clock.sleep(interval * 4_u32.pow(timer))));
                select_all(timers).await;
                interval = beating.next(interval);
            }
        });
        pulse
    }

    /// There was work since the last beat.
    pub fn worked(&self) {
        self.worked.set(true);
    }

    fn next(&self, interval: Duration) -> Duration {
        if self.worked.replace(false) { INTERVAL_MIN } else { (interval * 2).min(INTERVAL_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL_MAX, INTERVAL_MIN, Pulse};

    #[test]
    fn work_quickens_the_pulse_and_rest_slows_it_down() {
        let pulse = Pulse::default();
        let mut interval = INTERVAL_MIN;
        for _ in 0..10 {
            interval = pulse.next(interval);
        }
        assert_eq!(interval, INTERVAL_MAX);
        pulse.worked();
        assert_eq!(pulse.next(interval), INTERVAL_MIN);
        assert_eq!(pulse.next(INTERVAL_MIN), INTERVAL_MIN * 2);
    }
}
