//! Truncations, each followed by appends over what went, some of which begin a segment. Lives with many of them stand in [`crate::many_lives`].

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use nix::libc::EIO;
use ringmain_storage::config::LogConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimIo, SimWorld, Stopped};
use ringmain_storage::types::Offset;

use crate::model::Expected;
use crate::recover;
use crate::shards::log_dir;
use crate::workload::{Life, Producer, Shared, create, key, open};

/// Appended before the first truncation, over several segments, and after each.
const BATCHES: usize = 24;
const BATCHES_AFTER: usize = 5;
const LIFE: Life = Life { seed: 9, number: 0, batches: BATCHES, close: false };

/// Appends, and cuts the log off again and again: within the last segment, where it begins, and before it.
async fn live(io: SimIo, expected: Shared) -> Result<(), String> {
    io.create_directory(&log_dir(0)).await.map_err(|error| error.to_string())?;
    let (manager, _) = open(io.clone(), &expected).await?;
    let key = key(1, 0);
    create(&manager, &expected, key, "steady").await?;
    let producer =
        Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life: LIFE };
    producer.produce(key).await?;
    let log = manager.log(key).ok_or("gone")?;
    let mut random = Random::new(LIFE.seed);
    for (removed, rolls) in [(1, false), (2, true), (7, false), (1, true), (20, false)] {
        let (kept, end) = {
            let mut expected = expected.borrow_mut();
            let log = expected.logs.get_mut(&key).ok_or("gone")?;
            let kept = log.sent.len().saturating_sub(removed);
            let end = kept.checked_sub(1).map_or(0, |last| log.sent[last].end);
            (log.acknowledged_end, log.stopped_at, log.is_truncated) = (end, log.sent.len(), true);
            (kept, end)
        };
        let truncated = log.truncate(Offset(end)).await;
        if truncated.is_err() {
            // What the log was acknowledged gets a journal of its own.
            io.sleep(Duration::from_secs(1)).await;
        }
        let ends = truncated.map_err(|error| error.to_string())?;
        if ends != Offset(end) {
            return Err(format!("truncated to {ends}, wanted {end}"));
        }
        if let Some(log) = expected.borrow_mut().logs.get_mut(&key) {
            log.sent.truncate(kept);
            log.stopped_at = kept;
        }
        let config = log.config();
        if rolls {
            log.set_config(LogConfig { segment_ms: -1, ..config.clone() });
        }
        producer.append(&log, key, &mut random)?;
        log.set_config(config);
        for _ in 1..BATCHES_AFTER {
            producer.append(&log, key, &mut random)?;
        }
        producer.acknowledge(&log, key).await?;
    }
    let model = expected.borrow().clone();
    model.check_running(&manager).await
}

fn run(world: &SimWorld) -> (Expected, Result<Result<(), String>, Stopped>) {
    let shared: Shared = Rc::new(RefCell::new(Expected::default()));
    let ended = world.run(live(world.io(), Rc::clone(&shared)));
    let expected = shared.borrow().clone();
    (expected, ended)
}

#[test]
fn a_truncation_survives_a_cut_at_every_step() {
    let _told = crate::cuts::Told;
    let whole = SimWorld::new(LIFE.seed);
    assert_eq!(run(&whole).1, Ok(Ok(())));
    for step in 0..whole.steps() {
        let world = SimWorld::new(LIFE.seed);
        world.cut_at_step(step);
        let (expected, ended) = run(&world);
        assert_eq!(ended, Err(Stopped::PowerCut), "the same run up to step {step}");
        for seed in 0..2 {
            let context = format!("cut at {step}, crash {seed}");
            recover(&world.crash(step * 2 + seed), &expected, &context).unwrap();
        }
        let killed = world.kill(step);
        let after = recover(&killed, &expected, &format!("killed at {step}")).unwrap();
        recover(&killed.crash(step), &after, &format!("killed at {step}, then cut")).unwrap();
    }
}

#[test]
fn a_truncation_that_the_disk_fails_at_any_step_costs_nothing_that_stays() {
    let _told = crate::cuts::Told;
    let whole = SimWorld::new(LIFE.seed);
    assert_eq!(run(&whole).1, Ok(Ok(())));
    for step in 0..whole.steps() {
        let world = SimWorld::new(LIFE.seed);
        world.fail_at_step(step, EIO);
        let (expected, ended) = run(&world);
        assert!(ended.is_ok(), "step {step}: {ended:?}");
        let context = format!("failed at {step}: {ended:?}");
        recover(&world.crash(step), &expected, &context).unwrap();
        recover(&world.kill(step), &expected, &context).unwrap();
    }
}
