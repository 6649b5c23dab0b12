//! A disk that fails the files of one log: that log takes no more appends, and nobody else notices; what it acknowledged
//! is read on, and there after a restart.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use nix::libc::{EIO, ENOSPC};
use ringmain_storage::config::LogConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimWorld, Stopped};
use ringmain_storage::types::TimestampMs;

use crate::checks::check_log;
use crate::model::Expected;
use crate::recover;
use crate::shards::Shards;
use crate::workload::{Life, Producer, Shared, create, key, open, small_store};

/// The folder of the log that fails.
const FAILING: &str = "/data/steady-0";
/// Batches for each of the others afterwards: the journal is given back several times.
const BATCHES_AFTER: usize = 40;

/// What the disk does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Fails whatever changes the log's files, from some moment on.
    ForGood,
    /// Fails one operation.
    Once(u64),
}

/// Three logs; the files of one fail. Notes in `created` the steps until all are made.
async fn live_with_failing_log(
    world: &SimWorld,
    expected: Shared,
    (life, fault): (Life, Option<Fault>),
    created: &Cell<u64>,
) -> Result<Rc<Shards>, String> {
    let io = world.io();
    io.create_directory(Path::new("/data")).await.map_err(|error| error.to_string())?;
    let (manager, _) = open(io.clone(), &expected).await?;
    let keys = [key(1, 0), key(1, 1), key(1, 2)];
    for key in keys {
        create(&manager, &expected, key, "steady").await?;
    }
    created.set(world.steps());
    if let Some(Fault::Once(step)) = fault {
        world.fail_at_step(step, EIO);
    }
    let producer =
        Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life };
    let long = Life { batches: BATCHES_AFTER, ..life };
    let long =
        Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life: long };
    if fault == Some(Fault::ForGood) {
        for key in keys {
            producer.produce(key).await?;
        }
        world.fail_below(Path::new(FAILING), EIO);
    }
    // The failing one goes on until it is told.
    let (first, others) = futures::future::join(
        long.produce(keys[0]),
        futures::future::join(long.produce(keys[1]), long.produce(keys[2])),
    )
    .await;
    others.0.and(others.1).map_err(|what| format!("a neighbour: {what}"))?;
    for key in &keys[1..] {
        long.produce(*key).await?;
    }
    io.sleep(Duration::from_secs(1)).await;
    if let Some(failed) = manager.failure() {
        return Err(failed);
    }
    let log = manager.log(keys[0]).ok_or("gone")?;
    match (fault, log.failure(), first) {
        (None, None, first) => first?,
        (Some(_), Some(failed), first) => {
            let _nothing_there = rot_what_is_not_synced(world, &failed.reason);
            let refused = producer.append(&log, keys[0], &mut Random::new(life.seed));
            let told = refused.err().ok_or("appended to a log that failed")?;
            for text in [first.err(), Some(told)].into_iter().flatten() {
                if !text.contains(&*failed.reason) {
                    return Err(format!("told {text}, not {failed}"));
                }
            }
        }
        (fault, failure, first) => return Err(format!("{fault:?}, but {failure:?}, {first:?}")),
    }
    let model = expected.borrow().clone();
    model.check_running(&manager).await.map_err(|what| format!("running: {what}"))?;
    if life.close {
        expected.borrow_mut().stopping();
        manager.close().await.map_err(|error| format!("close: {error}"))?;
    }
    Ok(manager)
}

/// Flips a bit of what the failed log's file has and no sync made certain: nobody may read it from there.
fn rot_what_is_not_synced(world: &SimWorld, reason: &str) -> Option<()> {
    let (_, rest) = reason.split_once(FAILING)?;
    let (name, _) = rest.split_once(": ")?;
    let (_, rest) = reason.split_once(" from byte ")?;
    let from: usize = rest.split_once(' ')?.0.parse().ok()?;
    world.flip_bit(Path::new(&format!("{FAILING}{name}")), from * 8 + 800).ok()
}

fn run(world: &SimWorld, expected: Expected, life: Life, fault: Option<Fault>) -> (Expected, u64) {
    let shared: Shared = Rc::new(expected.into());
    let created = Cell::new(0);
    let ended = world.run(live_with_failing_log(world, Rc::clone(&shared), (life, fault), &created));
    ended.unwrap().unwrap_or_else(|what| panic!("{life:?}, {fault:?}: {what}"));
    let expected = shared.borrow().clone();
    (expected, created.get())
}

#[test]
fn a_log_whose_files_fail_stops_alone_and_is_whole_after_a_restart() {
    for seed in 1..20 {
        let life = Life { seed, number: 0, batches: 12, close: seed % 2 == 0 };
        let shards = u32::try_from(seed % 3).unwrap() + 1;
        let (world, expected) = (SimWorld::new(seed), Expected::with_shards(shards));
        // What is there at a start is no longer in the tail cache.
        let first = Life { seed: seed + 100, close: seed % 4 == 0, ..life };
        let (expected, _) = run(&world, expected, first, None);
        let (world, life) = (world.crash(seed), Life { number: 1, ..life });
        let (expected, _) = run(&world, expected, life, Some(Fault::ForGood));
        for crash in 0..3 {
            recover(&world.crash(crash), &expected, &format!("{life:?}, crash {crash}")).unwrap();
        }
        recover(&world.kill(seed), &expected, &format!("{life:?}, killed")).unwrap();
    }
}

#[test]
fn a_log_whose_files_still_fail_at_the_start_is_offline_until_they_do_not() {
    for seed in 1..20 {
        let life = Life { seed, number: 0, batches: 12, close: seed % 2 == 0 };
        let world = SimWorld::new(seed);
        let (expected, _) = run(&world, Expected::default(), life, Some(Fault::ForGood));
        let mut next = world.crash(seed);
        let mut without = expected.clone();
        without.logs.remove(&key(1, 0));
        for start in 0..3 {
            next.fail_below(Path::new(FAILING), EIO);
            let count = u32::try_from(start).unwrap() + 1;
            let (store, _) = next.run(Shards::open(next.io(), small_store(), (1, count))).unwrap().unwrap();
            let offline = store.offline();
            assert!(
                offline.len() == 1 && offline[0].contains(FAILING),
                "{life:?}, start {start}: {offline:?}"
            );
            for (key, expected) in &mut without.logs {
                let log = store.log(*key).unwrap();
                next.run(check_log(&log, expected)).unwrap().unwrap();
            }
            next = next.crash(seed + start);
        }
        recover(&next, &expected, &format!("{life:?}, mended")).unwrap();
    }
}

#[test]
fn one_error_at_any_step_of_a_logs_files_concerns_that_log_alone() {
    let life = Life { seed: 9, number: 0, batches: 8, close: false };
    let first = SimWorld::new(9);
    let (before, _) = run(&first, Expected::default(), life, None);
    let life = Life { number: 1, ..life };
    let whole = first.crash(9);
    let (_, created) = run(&whole, before.clone(), life, None);
    let below = format!(" {FAILING}/");
    let begins = |line: &String| line.contains(&below) && !line.ends_with(" done");
    let steps =
        whole.trace().into_iter().filter(begins).map(|line| line.split(' ').next().unwrap().parse().unwrap());
    let steps: Vec<u64> = steps.filter(|step| *step >= created).collect();
    assert!(steps.len() > 50, "{steps:?}");
    for step in steps {
        let world = first.crash(9);
        let (expected, _) = run(&world, before.clone(), life, Some(Fault::Once(step)));
        recover(&world.crash(step), &expected, &format!("error at {step}")).unwrap();
    }
}

/// Three logs, one fails while there is no room for its kept journal; whether the others came to an end within a minute,
/// before and after there is.
async fn live_without_room_to_keep(
    world: &SimWorld,
    expected: Shared,
    life: Life,
) -> Result<[bool; 2], String> {
    let io = world.io();
    io.create_directory(Path::new("/data")).await.map_err(|error| error.to_string())?;
    let (manager, _) = open(io.clone(), &expected).await?;
    let keys = [key(1, 0), key(1, 1), key(1, 2)];
    for key in keys {
        create(&manager, &expected, key, "steady").await?;
    }
    let place = format!("/data/ringmain.journal/0-of-1-2-{}-0", "01".repeat(16));
    world.fail_below(Path::new(&place), ENOSPC);
    world.fail_below(Path::new(FAILING), EIO);
    let producer = |batches| Producer {
        io: io.clone(),
        manager: Rc::clone(&manager),
        expected: Rc::clone(&expected),
        life: Life { batches, ..life },
    };
    let (long, last) = (producer(BATCHES_AFTER * 4), producer(2));
    let told = last.produce(keys[0]).await.and(last.produce(keys[0]).await);
    let mut work = Box::pin(futures::future::join3(
        async { told.and(long.produce(keys[0]).await) },
        long.produce(keys[1]),
        long.produce(keys[2]),
    ));
    let mut ended = [false; 2];
    for (turn, ended) in ended.iter_mut().enumerate() {
        match select(work.as_mut(), std::pin::pin!(io.sleep(Duration::from_mins(1)))).await {
            Either::Left(((first, second, third), _)) => {
                *ended = true;
                first.err().ok_or("appended to a log that failed")?;
                second.and(third).map_err(|what| format!("a neighbour: {what}"))?;
                break;
            }
            Either::Right(_) if turn == 0 && life.close => world.mend_below(Path::new(&place)),
            Either::Right(_) => break,
        }
    }
    manager.failure().map_or(Ok(ended), Err)
}

#[test]
fn the_journal_is_not_given_back_before_a_failed_log_is_kept() {
    for seed in 1..20 {
        for mended in [false, true] {
            let life = Life { seed, number: 0, batches: 0, close: mended };
            let world = SimWorld::new(seed);
            let shared: Shared = Rc::default();
            let ended = world.run(live_without_room_to_keep(&world, Rc::clone(&shared), life)).unwrap();
            assert_eq!(ended, Ok([false, mended]), "{life:?}");
            let expected = shared.borrow().clone();
            recover(&world.crash(seed), &expected, &format!("{life:?}")).unwrap();
        }
    }
}

#[test]
fn a_power_cut_while_a_failed_log_is_kept_takes_back_no_acknowledgement() {
    for seed in 1..3 {
        let life = Life { seed, number: 0, batches: 12, close: false };
        let whole = SimWorld::new(seed);
        run(&whole, Expected::default(), life, Some(Fault::ForGood));
        let trace = whole.trace();
        let keeps = |at: &usize| trace[*at].contains("/ringmain.journal/0-of-1-2-");
        let steps: Vec<usize> = (0..trace.len()).filter(keeps).flat_map(|at| [at, at + 1]).collect();
        assert!(steps.len() > 20, "{steps:?}");
        for step in steps {
            let world = SimWorld::new(seed);
            let step = u64::try_from(step).unwrap();
            world.cut_at_step(step);
            let shared: Shared = Rc::default();
            let cell = Cell::new(0);
            let work = live_with_failing_log(&world, Rc::clone(&shared), (life, Some(Fault::ForGood)), &cell);
            assert_eq!(world.run(work).err(), Some(Stopped::PowerCut));
            let expected = shared.borrow().clone();
            for crash in 0..10 {
                recover(&world.crash(crash), &expected, &format!("{life:?} cut at {step}, {crash}")).unwrap();
            }
        }
    }
}

#[test]
fn retention_that_cannot_remove_a_file_takes_its_log_offline_and_no_other() {
    for with_delay in [false, true] {
        let world = SimWorld::new(4);
        let shared: Shared = Rc::default();
        let life = Life { seed: 4, number: 0, batches: 30, close: false };
        let run = async {
            let io = world.io();
            io.create_directory(Path::new("/data")).await.map_err(|error| error.to_string())?;
            let (manager, _) = open(io.clone(), &shared).await?;
            let producer =
                Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&shared), life };
            for key in [key(1, 0), key(1, 1)] {
                create(&manager, &shared, key, "steady").await?;
                producer.produce(key).await?;
            }
            let log = manager.log(key(1, 0)).ok_or("gone")?;
            let config = log.config();
            log.set_config(LogConfig { retention_bytes: 0, file_delete_delay_ms: 1000, ..config });
            if with_delay {
                let removed =
                    log.enforce_retention(TimestampMs(0)).await.map_err(|error| error.to_string())?;
                assert!(removed > 1, "{removed} removed");
                world.fail_below(Path::new(FAILING), EIO);
                io.sleep(Duration::from_secs(2)).await;
            } else {
                world.fail_below(Path::new(FAILING), EIO);
                assert!(log.enforce_retention(TimestampMs(0)).await.is_err());
            }
            assert!(log.failure().is_some());
            shared.borrow_mut().logs.remove(&key(1, 0));
            producer.produce(key(1, 1)).await?;
            manager.failure().map_or(Ok(()), Err)
        };
        world.run(run).unwrap().unwrap();
        let after = world.crash(1);
        let reopened = after.run(Shards::open(after.io(), small_store(), (1, 1)));
        let (manager, _) = reopened.unwrap().unwrap();
        assert_eq!((manager.offline().len(), manager.keys().len()), (0, 2));
    }
}
