//! Lives in a row, each with everything in it and each cut somewhere, on both processors. `SEED` says with which seed it
//! begins and `CUTS` how often the power is cut at least: `tests/run --long` wants a million.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ringmain_storage::config::Durability;
use ringmain_storage::io::sim::{Random, SimWorld, Stopped};

use crate::cuts;
use crate::model::Expected;
use crate::recover;
use crate::wide::live;
use crate::workload::{Life, Shared};

/// Cuts without `CUTS`.
const CUTS_USUAL: u64 = 400;
/// Lives of one world.
const LIVES: i32 = 6;
/// Worlds under relaxed durability.
const LIVES_RELAXED: u64 = 40;
/// Somebody who waits hears of it after so many cuts.
const CUTS_TOLD: u64 = 10_000;

/// A number that the test command gives.
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One world and its lives, `expected` of it what is chosen and not drawn; a failure names the seed.
fn lives(seed: u64, expected: Expected) {
    let mut random = Random::new(seed);
    let mut world = SimWorld::new(seed);
    let mut expected = Expected { directories: 1 + random.index(2), ..expected };
    let mut is_cut = false;
    for number in 0..LIVES {
        let life = Life { seed, number, batches: 12, close: random.one_in(4) };
        // Mostly within the life, sometimes behind its end.
        world.cut_at_step(random.below(800));
        let shared: Shared = Rc::new(RefCell::new(expected.clone()));
        match world.run(live(world.io(), Rc::clone(&shared), life)) {
            Ok(Ok(())) | Err(Stopped::PowerCut) => {}
            Ok(Err(what)) => panic!("{life:?}: {what}"),
            Err(stopped) => panic!("{life:?}: {stopped:?}"),
        }
        let after = shared.borrow().clone();
        if is_cut && after.opens > expected.opens {
            cuts::count();
        }
        expected = after;
        is_cut = !random.one_in(5);
        if is_cut {
            expected.power_cut();
        }
        world = if is_cut { world.crash(random.number()) } else { world.kill(random.number()) };
    }
    if !is_cut {
        expected.power_cut();
        world = world.crash(random.number());
    }
    recover(&world, &expected, &format!("seed {seed}, after its lives")).unwrap();
}

#[test]
fn relaxed_durability_loses_to_a_power_cut_the_end_of_what_was_not_synced_and_nothing_else() {
    let before = cuts::so_far();
    for seed in 0..LIVES_RELAXED {
        lives(seed, Expected { durability: Durability::Relaxed, ..Expected::default() });
    }
    cuts::tell(cuts::so_far() - before);
}

/// Ends the other threads when one fails.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Worlds of one kind, until the power was cut as often as is wanted.
fn explore(kind: &Expected) {
    let wanted = given("CUTS").unwrap_or(CUTS_USUAL);
    let next = AtomicU64::new(given("SEED").unwrap_or(0));
    let (total, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let explore = |kind: Expected| {
        let _running = Running(&failed);
        while total.load(Ordering::Relaxed) < wanted && !failed.load(Ordering::Relaxed) {
            let (seed, before) = (next.fetch_add(1, Ordering::Relaxed), cuts::so_far());
            lives(seed, kind.clone());
            let made = cuts::so_far() - before;
            let total = total.fetch_add(made, Ordering::Relaxed) + made;
            if total / CUTS_TOLD > (total - made) / CUTS_TOLD {
                cuts::tell_progress(total, wanted, seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let kind = kind.clone();
            scope.spawn(|| explore(kind));
        }
    });
    cuts::tell(total.load(Ordering::Relaxed));
}

#[test]
fn many_lives_in_a_row_each_cut_somewhere_lose_nothing() {
    explore(&Expected::default());
}

#[test]
fn what_was_truncated_does_not_come_back_and_what_was_appended_since_stays() {
    explore(&Expected { truncates: true, ..Expected::default() });
}
