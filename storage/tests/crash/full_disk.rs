//! A device without room: appends are refused, all that was acknowledged stays and is served, and once there
//! is room everything goes on, without a restart.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use futures::future::{Either, join_all, select};
use ringmain_storage::config::LogConfig;
use ringmain_storage::error::AppendError;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimIo, SimWorld, Stopped};
use ringmain_storage::log::Log;
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::types::{LeaderEpoch, Offset, PartitionKey, TimestampMs};

use crate::model::Expected;
use crate::recover;
use crate::workload::{Life, Producer, Shared, create, delete, key, open, small_store};

/// Batches after which an endless supply would have shown.
const BATCHES_MAX: usize = 300;

/// Logs that together have blocks for more than the journal.
const LOGS: i32 = 24;

/// Long enough for all that does not wait for room.
const MINUTE: Duration = Duration::from_mins(1);

/// Produces, fills the device up, produces until it is refused, makes room and goes on.
async fn live_without_room(world: &SimWorld, expected: Shared, life: Life) -> Result<(), String> {
    let io = world.io();
    io.create_directory(Path::new("/data")).await.map_err(|error| error.to_string())?;
    let (manager, _) = open(io.clone(), &expected).await?;
    let producer =
        Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life };
    let keys = [key(1, 0), key(1, 1)];
    for key in keys {
        create(&manager, &expected, key, "steady").await?;
        producer.produce(key).await?;
    }
    let doomed = key(2, 0);
    create(&manager, &expected, doomed, "doomed").await?;
    producer.produce(doomed).await?;
    world.set_full(true);
    let mut random = Random::new(life.seed);
    for key in keys {
        let log = manager.log(key).ok_or("gone")?;
        let mut refused = None;
        for _ in 0..BATCHES_MAX {
            if let Err(what) = producer.append(&log, key, &mut random) {
                refused = Some(what);
                break;
            }
            io.sleep(Duration::from_millis(2)).await;
        }
        let refused = refused.ok_or("a full device took everything")?;
        if !refused.contains("no space left") {
            return Err(refused);
        }
    }
    io.sleep(Duration::from_secs(5)).await;
    let model = expected.borrow().clone();
    model.check_running(&manager).await.map_err(|what| format!("while full: {what}"))?;
    for key in keys {
        let log = manager.log(key).ok_or("gone")?;
        if let Some(failed) = log.failure() {
            return Err(format!("offline: {failed}"));
        }
        // A small one may still fit into the blocks there are.
        if let Err(what) = producer.append(&log, key, &mut random)
            && !what.contains("no space left")
        {
            return Err(what);
        }
    }
    // What frees room needs none.
    let deleted = std::pin::pin!(delete(&manager, &expected, doomed));
    match select(deleted, std::pin::pin!(io.sleep(MINUTE))).await {
        Either::Left((deleted, _)) => deleted?,
        Either::Right(_) => return Err("a deletion waits for room".to_owned()),
    }
    world.set_full(false);
    io.sleep(Duration::from_secs(5)).await;
    for key in keys {
        let log = manager.log(key).ok_or("gone")?;
        producer.acknowledge(&log, key).await?;
        producer.append(&log, key, &mut random)?;
        producer.acknowledge(&log, key).await?;
    }
    let model = expected.borrow().clone();
    model.check_running(&manager).await?;
    if life.close {
        expected.borrow_mut().stopping();
        manager.close().await.map_err(|error| format!("close: {error}"))?;
    }
    Ok(())
}

fn run(world: &SimWorld, life: Life) -> (Expected, Result<Result<(), String>, Stopped>) {
    let shared: Shared = Rc::new(RefCell::new(Expected::default()));
    let ended = world.run(live_without_room(world, Rc::clone(&shared), life));
    let expected = shared.borrow().clone();
    (expected, ended)
}

#[test]
fn a_full_device_refuses_appends_and_goes_on_when_there_is_room() {
    let _told = crate::cuts::Told;
    for seed in 1..60 {
        let life = Life { seed, number: 0, batches: 8, close: seed % 2 == 0 };
        let world = SimWorld::new(seed);
        let (expected, ended) = run(&world, life);
        assert_eq!(ended, Ok(Ok(())), "{life:?}");
        recover(&world.crash(seed), &expected, &format!("{life:?}")).unwrap();
    }
}

#[test]
fn a_power_cut_on_a_full_device_takes_back_no_acknowledgement() {
    let _told = crate::cuts::Told;
    let life = Life { seed: 5, number: 0, batches: 6, close: false };
    let whole = SimWorld::new(5);
    run(&whole, life).1.unwrap().unwrap();
    for step in (0..whole.steps()).step_by(3) {
        let world = SimWorld::new(5);
        world.cut_at_step(step);
        let (expected, ended) = run(&world, life);
        assert_eq!(ended, Err(Stopped::PowerCut), "{life:?} is the same run up to step {step}");
        recover(&world.crash(step), &expected, &format!("{life:?} cut at {step}")).unwrap();
    }
}

/// Begins without any room: all is served, nothing is taken, what goes frees room; once there is some all goes on.
async fn begin_without_room(world: &SimWorld, expected: Shared, life: Life) -> Result<(), String> {
    let io = world.io();
    world.set_full(true);
    let (manager, _) = open(io.clone(), &expected).await?;
    let is_there = |key: &PartitionKey| manager.log(*key).is_some();
    let keys: Vec<_> = [key(1, 0), key(1, 1)].into_iter().filter(is_there).collect();
    let producer =
        Producer { io: io.clone(), manager: Rc::clone(&manager), expected: Rc::clone(&expected), life };
    let mut random = Random::new(life.seed);
    let refused = |log: &Log<SimIo>, random: &mut Random| match producer.append(log, log.key(), random) {
        Err(what) if what.contains("no space left") => Ok(()),
        other => Err(format!("a full device takes appends: {other:?}")),
    };
    for key in &keys {
        refused(&*manager.log(*key).ok_or("gone")?, &mut random)?;
    }
    let doomed = key(2, 0);
    if is_there(&doomed) {
        let deleted = std::pin::pin!(delete(&manager, &expected, doomed));
        match select(deleted, std::pin::pin!(io.sleep(MINUTE))).await {
            Either::Left((deleted, _)) => deleted?,
            Either::Right(_) => return Err("a deletion waits for room".to_owned()),
        }
    }
    io.sleep(Duration::from_secs(5)).await;
    let model = expected.borrow().clone();
    model.check_running(&manager).await.map_err(|what| format!("while full: {what}"))?;
    for key in &keys {
        refused(&*manager.log(*key).ok_or("gone")?, &mut random)?;
    }
    world.set_full(false);
    io.sleep(Duration::from_secs(5)).await;
    for key in keys {
        let log = manager.log(key).ok_or("gone")?;
        producer.append(&log, key, &mut random)?;
        producer.acknowledge(&log, key).await?;
    }
    let model = expected.borrow().clone();
    model.check_running(&manager).await?;
    if life.close {
        expected.borrow_mut().stopping();
        manager.close().await.map_err(|error| format!("close: {error}"))?;
    }
    Ok(())
}

#[test]
fn a_start_on_a_full_device_serves_what_there_is_and_goes_on_when_there_is_room() {
    let _told = crate::cuts::Told;
    for seed in 1..40 {
        let life = Life { seed, number: 0, batches: 6, close: seed % 3 == 0 };
        let mut random = Random::new(seed);
        let world = SimWorld::new(seed);
        if !life.close {
            // Mostly while the device is full.
            world.cut_at_step(random.below(1200));
        }
        let (expected, _) = run(&world, life);
        let context = format!("{life:?}, begun anew without room");
        let begin = || if seed % 3 == 1 { world.kill(seed) } else { world.crash(seed) };
        let next = Life { number: 1, close: seed % 2 == 0, ..life };
        let live = |world: &SimWorld| {
            let shared: Shared = Rc::new(RefCell::new(expected.clone()));
            let ended = world.run(begin_without_room(world, Rc::clone(&shared), next));
            (shared.take(), ended)
        };
        let whole = begin();
        let (after, ended) = live(&whole);
        assert_eq!(ended, Ok(Ok(())), "{context}");
        recover(&whole.crash(seed), &after, &context).unwrap();
        for _ in 0..4 {
            let (step, world) = (random.below(whole.steps()), begin());
            world.cut_at_step(step);
            let (after, ended) = live(&world);
            assert_eq!(ended, Err(Stopped::PowerCut), "{context}");
            recover(&world.crash(step), &after, &format!("{context} cut at {step}")).unwrap();
        }
    }
}

/// A batch of one record of 3,000 bytes.
fn batch() -> BytesMut {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = NewRecord { timestamp: TimestampMs(1), value: Some(&[7; 3000]), ..NewRecord::default() };
    builder.push(&record).unwrap();
    BytesMut::from(builder.build().unwrap().as_ref())
}

#[test]
fn retention_removes_on_a_full_device_what_it_can() {
    for before in 0..12 {
        let world = SimWorld::new(before);
        let removed = world.run(async {
            let io = world.io();
            io.create_directory(Path::new("/data")).await.unwrap();
            let (manager, _) = LogManager::open(io.clone(), small_store()).await.unwrap();
            let config = LogConfig { segment_bytes: 16 << 10, retention_ms: 1000, ..LogConfig::default() };
            let log = manager.create_log(key(1, 0), "topic", config.clone()).await.unwrap();
            let append = || {
                let appended = log.append(batch(), LeaderEpoch(0), TimestampMs(1))?;
                Ok::<_, AppendError>(Offset(appended.last_offset.0 + 1))
            };
            for _ in 0..20 + before {
                log.wait_durable(append().unwrap()).await.unwrap();
            }
            world.set_full(true);
            let mut end = log.offsets().log_end_offset;
            while let Ok(appended) = append() {
                end = appended;
                io.sleep(Duration::from_millis(2)).await;
            }
            // What the journal has no room for is not durable, and whoever waits for it is told.
            let waiting = std::pin::pin!(log.wait_durable(end));
            assert!(
                matches!(select(waiting, std::pin::pin!(io.sleep(MINUTE))).await, Either::Left(_)),
                "{before}"
            );
            log.set_high_watermark(log.offsets().durable_offset);
            let had = log.size_bytes();
            log.enforce_retention(TimestampMs(100_000)).await.unwrap();
            let (left, offsets) = (log.size_bytes(), log.offsets());
            assert!(left < had, "{before}: {left} of {had} bytes are left");
            let readable = offsets.log_end_offset.0 - offsets.log_start_offset.0;
            assert!(readable <= 10, "{before}: no more than two segments are left: {offsets:?}");
            // Those that could not be sealed go when there is room, whatever else retention may take.
            world.set_full(false);
            log.set_config(LogConfig { cleanup_delete: false, ..config.clone() });
            io.sleep(MINUTE).await;
            log.enforce_retention(TimestampMs(100_000)).await.unwrap();
            let kept = u64::try_from(readable).unwrap() * (3000 + 100);
            assert!(log.size_bytes() <= kept, "{before}: {} bytes are left", log.size_bytes());
            log.set_config(config);
            log.set_high_watermark(log.offsets().durable_offset);
            log.enforce_retention(TimestampMs(100_000)).await.unwrap();
            (log.size_bytes(), log.offsets())
        });
        let (left, offsets) = removed.unwrap();
        assert_eq!((left, offsets.log_start_offset), (0, offsets.log_end_offset), "{before}");
    }
}

#[test]
fn who_waits_for_a_journal_that_is_full_on_a_full_device_is_told() {
    let world = SimWorld::new(3);
    let told = world.run(async {
        let io = world.io();
        io.create_directory(Path::new("/data")).await.unwrap();
        let (manager, _) = LogManager::open(io.clone(), small_store()).await.unwrap();
        let config = LogConfig { segment_bytes: 64 << 10, ..LogConfig::default() };
        let mut logs = Vec::new();
        for partition in 0..LOGS {
            let log = manager.create_log(key(1, partition), "topic", config.clone()).await.unwrap();
            let end = log.append(batch(), LeaderEpoch(0), TimestampMs(1)).unwrap().last_offset.0 + 1;
            log.wait_durable(Offset(end)).await.unwrap();
            logs.push(log);
        }
        io.sleep(Duration::from_secs(1)).await;
        world.set_full(true);
        for log in &logs {
            // Blocks are there for more than the journal has room for.
            for _ in 0..8 {
                log.append(batch(), LeaderEpoch(0), TimestampMs(1)).unwrap();
            }
        }
        let waiting = logs.iter().map(|log| log.wait_durable(Offset(9)));
        let answers = join_all(waiting);
        let answers = match select(std::pin::pin!(answers), std::pin::pin!(io.sleep(MINUTE))).await {
            Either::Left((answers, _)) => answers,
            Either::Right(_) => panic!("somebody waits for ever"),
        };
        world.set_full(false);
        io.sleep(Duration::from_secs(5)).await;
        for log in &logs {
            log.wait_durable(Offset(9)).await.unwrap();
        }
        answers.iter().filter(|answer| answer.is_err()).count()
    });
    assert!(told.unwrap() > 0, "the journal had room for all");
}
