//! What runs beside appends and reads: writing logs behind that have gathered enough, and giving full
//! journal files back. Every task ends when the store stops or goes offline.

use std::rc::{Rc, Weak};
use std::time::Duration;

use futures::future::{Either, select};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::StoreError;
use crate::io::Io;
use crate::journal::journal::{LapEnds, LogPoint};
use crate::log::Log;
use crate::manager::{LOGS_AT_A_TIME, LogManager, reserve};
use crate::shared::Shared;
use crate::space::{RETRY_INTERVAL, Room};

/// Logs written at a time while appends go on: two writes in flight reach the disk's full speed.
const WRITERS: usize = 3;

/// Retention is looked at for the first time after this, as in Kafka.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(30);

/// Starts the tasks of a store.
pub(crate) fn start<I: Io>(manager: &Rc<LogManager<I>>) {
    let shared = &manager.shared;
    for _ in 0..WRITERS {
        shared.io.spawn(write_due(Rc::clone(shared)));
    }
    shared.io.spawn(allocate(Rc::clone(shared)));
    shared.io.spawn(recycle(Rc::downgrade(manager), Rc::clone(shared)));
    shared.io.spawn(retain(Rc::downgrade(manager), Rc::clone(shared)));
    shared.io.spawn(announce_failure(Rc::downgrade(manager), Rc::clone(shared)));
    if shared.config.slot.index == 0 {
        shared.io.spawn(reserve::keep(Rc::clone(shared)));
    }
}

/// Begins a journal that found no room when the store was opened, once there is some.
pub(crate) async fn begin_late<I: Io>(manager: Weak<LogManager<I>>, shared: Rc<Shared<I>>) {
    let begun = with_room(&shared, async || {
        // Before anything is held that whoever deletes a log needs.
        shared.journal.barrier().await?;
        let manager = manager.upgrade().ok_or(StoreError::Closed)?;
        write_checkpoint(&*manager, false).await
    });
    match begun.await {
        Ok(()) => {
            tracing::info!("the journal in {} begins", shared.config.log_dir.display());
            shared.journal.begin_appends();
        }
        // Somebody was told already, or nobody wants to know.
        Err(StoreError::Failed(_) | StoreError::Closed) => {}
        Err(error) => shared.failure.set(&error),
    }
}

/// Writes the journal's checkpoint; `None` if there is no room for it.
async fn write_checkpoint<I: Io>(
    manager: &LogManager<I>,
    after_recycle: bool,
) -> Result<Option<()>, StoreError> {
    match manager.write_checkpoint(after_recycle).await {
        Ok(()) => Ok(Some(())),
        Err(error) if error.is_no_space() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes one due log after the other.
async fn write_due<I: Io>(shared: Rc<Shared<I>>) {
    loop {
        let due = shared.due_event.listen();
        let stop = shared.stop_event.listen();
        if shared.stopping.get() || shared.failure.get().is_some() {
            return;
        }
        let next = shared.due.borrow_mut().pop_front();
        let Some(log) = next else {
            select(due, stop).await;
            continue;
        };
        if let Some(log) = log.upgrade() {
            // An error took it offline, and whoever waits for it was told.
            drop(log.write_out(false).await);
        }
    }
}

/// Allocates blocks for the logs that want them; where there are none it tries again, also for logs nobody appends to.
async fn allocate<I: Io>(shared: Rc<Shared<I>>) {
    loop {
        let wanted = shared.space.listen();
        let stop = shared.stop_event.listen();
        if shared.stopping.get() || shared.failure.get().is_some() {
            return;
        }
        let logs = shared.space.take();
        if logs.is_empty() {
            select(wanted, stop).await;
            continue;
        }
        let mut short = false;
        for log in logs.iter().filter_map(Weak::upgrade) {
            log.wanting.set(false);
            // An error took it offline.
            short |= log.allocate_blocks().await.is_ok_and(|room| room == Room::Short);
        }
        shared.space.set_short(short, &shared.config.log_dir);
        if short {
            select(std::pin::pin!(shared.io.sleep(RETRY_INTERVAL)), stop).await;
        }
    }
}

/// Does something that needs room until there is room.
async fn with_room<I: Io, T>(
    shared: &Shared<I>,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    loop {
        let stop = shared.stop_event.listen();
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
        select(std::pin::pin!(shared.io.sleep(RETRY_INTERVAL)), stop).await;
        shared.failure.check()?;
        if shared.stopping.get() {
            return Err(StoreError::Closed);
        }
    }
}

/// Gives full journal files back, the oldest first, once segments and checkpoint make them superfluous.
async fn recycle<I: Io>(manager: Weak<LogManager<I>>, shared: Rc<Shared<I>>) {
    while let Some(ends) = shared.journal.oldest_full().await {
        let Some(manager) = manager.upgrade() else { return };
        if shared.stopping.get() {
            return;
        }
        match settle(&manager, ends).await {
            Ok(()) => shared.journal.recycle(),
            // Closing makes all durable itself.
            Err(_) if shared.stopping.get() => return,
            Err(error) => return shared.failure.set(&error),
        }
    }
}

/// Makes everything durable elsewhere that a journal file holds: all writes, then all syncs, then what is left
/// is journalled again, then the checkpoint. A log whose files fail gets a journal of its own.
async fn settle<I: Io>(manager: &LogManager<I>, ends: LapEnds) -> Result<(), StoreError> {
    let found = ends.into_iter().filter_map(|((key, incarnation), point)| {
        let log = manager.log(key).filter(|log| log.incarnation == incarnation)?;
        Some((log, point))
    });
    let logs: Vec<(Rc<Log<I>>, LogPoint)> = found.collect();
    stream::iter(logs.iter().filter(|(log, point)| !log.carries_only(*point)))
        .map(|(log, _)| {
            with_room(&manager.shared, async || {
                let short = log.write_out(false).await.is_ok_and(|room| room == Room::Short);
                Ok((!short).then_some(()))
            })
        })
        .buffer_unordered(LOGS_AT_A_TIME)
        .try_collect::<Vec<()>>()
        .await?;
    let carried: Vec<_> = stream::iter(&logs)
        .map(|(log, point)| log.settle(*point))
        .buffer_unordered(LOGS_AT_A_TIME)
        .collect()
        .await;
    for (log, _) in &logs {
        log.until_kept().await?;
    }
    for receiver in carried.into_iter().filter_map(Result::ok).flatten() {
        if receiver.await.is_err() {
            return Err(manager.shared.failure.get().map_or(StoreError::Closed, StoreError::Failed));
        }
    }
    with_room(&manager.shared, async || write_checkpoint(manager, true).await).await
}

/// Removes what retention allows and forgets producers that expired, every interval
/// (`log.retention.check.interval.ms`).
async fn retain<I: Io>(manager: Weak<LogManager<I>>, shared: Rc<Shared<I>>) {
    let every = shared.config.retention_check_interval;
    let mut next = every.min(FIRST_LOOK_AFTER);
    loop {
        let stop = shared.stop_event.listen();
        select(std::pin::pin!(shared.io.sleep(next)), stop).await;
        next = every;
        if shared.stopping.get() || shared.failure.get().is_some() {
            return;
        }
        let Some(manager) = manager.upgrade() else { return };
        for key in manager.keys() {
            let Some(log) = manager.log(key) else { continue };
            log.expire_producers(shared.io.wall_clock());
            match log.enforce_retention(shared.io.wall_clock()).await {
                // A log that failed is offline, and that was told.
                Ok(0) | Err(StoreError::Failed(_)) => {}
                Ok(segments) => {
                    tracing::info!("{}-{}: {segments} old segments removed", log.topic(), key.partition);
                }
                Err(StoreError::Io(error)) => {
                    tracing::warn!("retention leaves {}-{} alone: {error}", log.topic(), key.partition);
                }
                Err(_) => return,
            }
        }
    }
}

/// Wakes everybody who waits for a log when the store goes offline.
async fn announce_failure<I: Io>(manager: Weak<LogManager<I>>, shared: Rc<Shared<I>>) {
    loop {
        let failed = shared.failure.listen();
        let stop = shared.stop_event.listen();
        if shared.stopping.get() {
            return;
        }
        if shared.failure.get().is_some() {
            shared.room.notify(usize::MAX);
            shared.due_event.notify(usize::MAX);
            shared.space.wake();
            shared.journal.wake();
            let Some(manager) = manager.upgrade() else { return };
            for log in manager.logs.borrow().values() {
                log.changed.notify(usize::MAX);
            }
            return;
        }
        if let Either::Right(_) = select(failed, stop).await {
            return;
        }
    }
}
