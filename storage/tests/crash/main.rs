//! The crash explorer: small runs of the whole store on the simulated disk, cut at every write and sync,
//! recovered, cut again while recovering, and checked against everything that was acknowledged.
//!
//! Every failure names the life's seed, the step of the cut and the seed of the crash; with these three the
//! run is repeated exactly.
#![allow(clippy::unwrap_used, reason = "tests")]

mod aborted;
mod checks;
mod cuts;
mod failing;
mod full_disk;
mod index_files;
mod many_lives;
mod model;
mod relaxed;
mod rolled;
mod rot;
mod shards;
mod truncation;
mod wide;
mod workload;

use std::cell::RefCell;
use std::rc::Rc;

use ringmain_storage::io::sim::{Random, SimWorld, Stopped};

use crate::model::Expected;
use crate::workload::{Life, Shared, live, open};

const FIRST: Life = Life { seed: 1, number: 0, batches: 14, close: false };

/// One life on a world, up to its end or the cut.
fn run(world: &SimWorld, expected: &Expected, life: Life) -> (Expected, Result<(), Stopped>) {
    let shared: Shared = Rc::new(RefCell::new(expected.clone()));
    let ended = world.run(live(world.io(), Rc::clone(&shared), life));
    let after = shared.borrow().clone();
    let ended = ended.map(|result| {
        result.unwrap_or_else(|what| panic!("{life:?}: {what}"));
    });
    (after, ended)
}

/// Opens what a cut left and checks it; `None` if the opening was cut itself.
fn recover(world: &SimWorld, expected: &Expected, context: &str) -> Option<Expected> {
    let shared: Shared = Rc::new(RefCell::new(expected.clone()));
    match world.run(open(world.io(), &shared)) {
        Ok(Ok(_)) => {
            cuts::count();
            Some(shared.borrow().clone())
        }
        Ok(Err(what)) => panic!("{context}: {what}"),
        Err(Stopped::PowerCut) => None,
        Err(stopped) => panic!("{context}: {stopped:?}"),
    }
}

/// Cuts a life at `step` and follows `crashes` of its futures, each also with a cut while recovering.
fn cut_and_recover(start: &SimWorld, expected: &Expected, life: Life, (step, crashes): (u64, u64)) {
    start.cut_at_step(step);
    let (expected, ended) = run(start, expected, life);
    assert_eq!(ended, Err(Stopped::PowerCut), "{life:?} is the same run up to step {step}");
    let mut random = Random::new(life.seed ^ step);
    for crash in 0..crashes {
        let crash = step * 1000 + crash;
        let context = format!("{life:?} cut at {step}, crash {crash}");
        let recovering = start.crash(crash);
        let recovered = recover(&recovering, &expected, &context).unwrap();
        // What recovery served must be there after the next cut, too.
        let after = recovering.crash(crash + 1);
        recover(&after, &recovered, &format!("{context}, cut after recovery")).unwrap();
        let steps = recovering.steps();
        if steps == 0 {
            continue;
        }
        let second = random.below(steps);
        let again = start.crash(crash);
        again.cut_at_step(second);
        assert!(recover(&again, &expected, &context).is_none());
        let last = again.crash(crash + 2);
        let mut expected = expected.clone();
        expected.next_shard_count();
        recover(&last, &expected, &format!("{context}, recovery cut at {second}")).unwrap();
    }
}

#[test]
fn a_run_without_cuts_keeps_everything() {
    let _told = cuts::Told;
    for seed in 1..20 {
        let world = SimWorld::new(seed);
        let life = Life { seed, ..FIRST };
        let (expected, ended) = run(&world, &Expected::default(), life);
        ended.unwrap_or_else(|stopped| panic!("{life:?}: {stopped:?}"));
        for crash in 0..5 {
            let after = world.crash(crash);
            recover(&after, &expected, &format!("{life:?}, crash {crash}")).unwrap();
        }
    }
}

#[test]
fn the_same_seed_runs_the_same_way() {
    let trace = |seed| {
        let world = SimWorld::new(seed);
        run(&world, &Expected::default(), FIRST).1.unwrap();
        world.trace()
    };
    assert_eq!(trace(4), trace(4));
}

#[test]
fn two_groups_of_the_journal_are_in_flight_at_times_and_never_more() {
    let world = SimWorld::new(1);
    run(&world, &Expected::default(), FIRST).1.unwrap();
    let writes = world.trace().into_iter().filter(|line| line.contains("write durably"));
    let mut in_flight: i32 = 0;
    let mut most = 0;
    for line in writes {
        in_flight += if line.ends_with(" done") { -1 } else { 1 };
        most = most.max(in_flight);
    }
    assert_eq!(most, 2);
}

#[test]
fn acknowledged_records_survive_a_cut_at_every_step() {
    let _told = cuts::Told;
    let whole = SimWorld::new(1);
    run(&whole, &Expected::default(), FIRST).1.unwrap();
    for step in 0..whole.steps() {
        cut_and_recover(&SimWorld::new(1), &Expected::default(), FIRST, (step, 2));
    }
}

#[test]
fn acknowledged_records_of_several_shards_survive_a_cut_at_every_step() {
    let _told = cuts::Told;
    for shard_count in [2, 3] {
        let seed = 10 + u64::from(shard_count);
        let expected = Expected::with_shards(shard_count);
        let life = Life { seed, batches: 8, ..FIRST };
        let whole = SimWorld::new(seed);
        run(&whole, &expected, life).1.unwrap();
        for step in 0..whole.steps() {
            cut_and_recover(&SimWorld::new(seed), &expected, life, (step, 1));
        }
    }
}

#[test]
fn what_a_restart_after_a_kill_serves_survives_a_power_cut() {
    let _told = cuts::Told;
    let whole = SimWorld::new(6);
    run(&whole, &Expected::default(), FIRST).1.unwrap();
    for step in 0..whole.steps() {
        let world = SimWorld::new(6);
        world.cut_at_step(step);
        let (expected, ended) = run(&world, &Expected::default(), FIRST);
        assert_eq!(ended, Err(Stopped::PowerCut));
        let context = format!("killed at {step}");
        let next = world.kill(step);
        let shared: Shared = Rc::new(RefCell::new(expected));
        next.run(open(next.io(), &shared)).unwrap().unwrap_or_else(|what| panic!("{context}: {what}"));
        let recovered = shared.borrow().clone();
        for crash in 0..2 {
            let after = next.crash(crash);
            recover(&after, &recovered, &format!("{context}, then power cut {crash}")).unwrap();
        }
    }
}

#[test]
fn a_power_cut_amid_the_start_after_a_kill_leaves_nothing_damaged() {
    let _told = cuts::Told;
    let whole = SimWorld::new(6);
    run(&whole, &Expected::default(), FIRST).1.unwrap();
    let mut random = Random::new(6);
    for step in 0..whole.steps() {
        let world = SimWorld::new(6);
        world.cut_at_step(step);
        let (expected, _) = run(&world, &Expected::default(), FIRST);
        for cut in 0..4 {
            let next = world.kill(step + cut);
            next.cut_at_step(random.below(80));
            let context = format!("killed at {step}, the start after it cut, {cut}");
            // It may be so early that the start was over.
            let expected = recover(&next, &expected, &context).unwrap_or_else(|| expected.clone());
            let mut expected = expected;
            expected.opens += 1;
            recover(&next.crash(cut), &expected, &context).unwrap();
        }
    }
}

#[test]
fn a_clean_stop_is_clean_and_survives_a_cut_at_every_step() {
    let _told = cuts::Told;
    let life = Life { close: true, batches: 6, ..FIRST };
    let whole = SimWorld::new(2);
    let (expected, ended) = run(&whole, &Expected::default(), life);
    ended.unwrap();
    for crash in 0..20 {
        let after = whole.crash(crash);
        let shared: Shared = Rc::new(RefCell::new(expected.clone()));
        let (_, report) = after.run(open(after.io(), &shared)).unwrap().unwrap();
        assert!(report.clean, "crash {crash}: {report:?}");
    }
    // The end of the life, where the stop is.
    for step in whole.steps() * 2 / 3..whole.steps() {
        cut_and_recover(&SimWorld::new(2), &Expected::default(), life, (step, 3));
    }
    let several = SimWorld::new(5);
    run(&several, &Expected::with_shards(3), life).1.unwrap();
    for step in several.steps() * 2 / 3..several.steps() {
        cut_and_recover(&SimWorld::new(5), &Expected::with_shards(3), life, (step, 2));
    }
}

#[test]
fn an_error_of_the_disk_at_any_step_takes_back_no_acknowledgement() {
    let _told = cuts::Told;
    let life = Life { batches: 6, ..FIRST };
    let whole = SimWorld::new(3);
    run(&whole, &Expected::default(), life).1.unwrap();
    for step in 0..whole.steps() {
        for errno in [nix::libc::EIO, nix::libc::ENOSPC] {
            let world = SimWorld::new(3);
            world.fail_at_step(step, errno);
            let shared: Shared = Rc::default();
            let ended = world.run(live(world.io(), Rc::clone(&shared), life));
            // A life may fail, but it must end: whoever waits is told.
            assert!(ended.is_ok(), "step {step}, {errno}: {ended:?}");
            let expected = shared.borrow().clone();
            for crash in 0..2 {
                let after = world.crash(crash);
                recover(&after, &expected, &format!("error {errno} at {step}, crash {crash}")).unwrap();
            }
        }
    }
}
