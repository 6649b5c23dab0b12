//! A device without room: appends are refused, all that was acknowledged stays and is served, and once there
//! is room everything goes on, without a restart.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{Random, SimWorld, Stopped};

use crate::model::Expected;
use crate::recover;
use crate::workload::{Life, Producer, Shared, create, delete, key, open};

/// Batches after which an endless supply would have shown.
const BATCHES_MAX: usize = 300;

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
    match select(deleted, std::pin::pin!(io.sleep(Duration::from_mins(1)))).await {
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
