//! The clean stop: every shard writes its logs out whole, then, once for the directory, Kafka's checkpoint files
//! are written, the journals removed, and `.kafka_cleanshutdown` made. Apache refuses a directory with a
//! folder that is no partition's, so it can take a directory over only after that.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    CLEAN_SHUTDOWN_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, LOGS_AT_A_TIME, LogManager,
    RECOVERY_POINT_FILE, reserve,
};
use crate::error::StoreError;
use crate::io::{Io, IoError};
use crate::journal::directories;
use crate::log::checkpoint_file::{PartitionOffset, write_lines};
use crate::log::{Log, LogOffsets, epoch_cache, producer_snapshot};
use crate::segment::segment::file_name;
use crate::space::is_no_space;
use crate::types::{Offset, PartitionIndex};

/// Where one shard's logs ended.
#[derive(Clone, Debug, Default)]
pub struct StoppedLogs {
    /// The epoch that ends.
    epoch: u64,
    /// Logs that cannot be used.
    offline: usize,
    /// What the directory keeps for a start on a full device.
    reserve_bytes: u64,
    logs: Vec<(String, PartitionIndex, LogOffsets)>,
}

impl<I: Io> LogManager<I> {
    /// The clean stop of the only shard there is.
    pub async fn close(&self) -> Result<(), StoreError> {
        let stopped = self.stop().await?;
        Ok(finish_stop(&self.shared.io, &self.shared.config.log_dir, &[stopped]).await?)
    }

    /// Writes and syncs all segments, and what else each log keeps. Appends fail from the call on. The journal
    /// stays until [`finish_stop`].
    pub async fn stop(&self) -> Result<StoppedLogs, StoreError> {
        let _one = self.changing.lock().await;
        let shared = &self.shared;
        if shared.stopping.replace(true) {
            return Err(StoreError::Closed);
        }
        shared.stop_event.notify(usize::MAX);
        let logs: Vec<_> = self.logs.borrow().values().map(Rc::clone).collect();
        for log in &logs {
            log.closed.set(true);
        }
        shared.journal.stop().await?;
        // A recycling that is under way ends first.
        let _checkpoint = self.checkpointing.lock().await;
        stream::iter(&logs)
            .map(|log| self.close_if_online(log))
            .buffer_unordered(LOGS_AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await?;
        for log in &logs {
            log.changed.notify(usize::MAX);
        }
        let ended = |log: &Rc<Log<I>>| (log.topic().to_owned(), log.key().partition, log.offsets());
        let failed = logs.iter().filter(|log| log.has_failed()).count();
        let offline = self.offline.borrow().len() + failed;
        Ok(StoppedLogs {
            epoch: shared.journal.epoch(),
            offline,
            reserve_bytes: reserve::bytes_of(&shared.config),
            logs: logs.iter().map(ended).collect(),
        })
    }

    /// A log whose files fail, now or before, is left as it is: the journal has the rest.
    async fn close_if_online(&self, log: &Log<I>) -> Result<(), StoreError> {
        match self.close_log(log).await {
            Err(StoreError::Io(error)) if !is_no_space(&error) => {
                log.fail_unlocked(&error).await;
                Ok(())
            }
            Err(StoreError::Failed(_)) if log.has_failed() => Ok(()),
            closed => closed,
        }
    }

    /// Writes one log out whole, and what else it keeps: its folder is then as Kafka leaves one.
    pub(super) async fn close_log(&self, log: &Log<I>) -> Result<(), StoreError> {
        log.write_out(true).await?;
        let (snapshot, epochs) = {
            let state = log.state.borrow();
            (producer_snapshot::write_snapshot(&state.producers), state.epochs.write())
        };
        let io = &self.shared.io;
        let end = log.offsets().log_end_offset;
        let snapshot_name = file_name(end, producer_snapshot::SUFFIX);
        // Beside it those of the segments' base offsets stay.
        let kept: BTreeSet<String> = {
            let state = log.state.borrow();
            let bases = state.segments.iter().map(|segment| segment.base_offset);
            bases.map(|base| file_name(base, producer_snapshot::SUFFIX)).collect()
        };
        for name in io.list_directory(&log.directory).await? {
            if name.ends_with(producer_snapshot::SUFFIX) && name != snapshot_name && !kept.contains(&name) {
                io.remove_file(&log.directory.join(name)).await?;
            }
        }
        io.replace_file(&log.directory.join(snapshot_name), snapshot).await?;
        io.replace_file(&log.directory.join(epoch_cache::FILE_NAME), epochs.into_bytes()).await?;
        Ok(())
    }
}

/// Ends the stop once every shard of the directory has stopped. While a log cannot be used the directory stays as after a
/// kill: only the journals say what that log has, and nobody else may take the directory over.
pub async fn finish_stop<I: Io>(io: &I, log_dir: &Path, stopped: &[StoppedLogs]) -> Result<(), IoError> {
    if stopped.iter().any(|stopped| stopped.offline > 0) {
        tracing::warn!("{} has logs that cannot be used: its journals stay", log_dir.display());
        return Ok(());
    }
    let offsets = |of: fn(&LogOffsets) -> Offset| {
        let logs = stopped.iter().flat_map(|stopped| &stopped.logs);
        let mut lines: Vec<_> = logs
            .map(|(topic, partition, offsets)| PartitionOffset {
                topic: topic.clone(),
                partition: *partition,
                offset: of(offsets),
            })
            .collect();
        lines.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        write_lines(&lines).into_bytes()
    };
    let files = [
        (RECOVERY_POINT_FILE, offsets(|offsets| offsets.log_end_offset)),
        (LOG_START_FILE, offsets(|offsets| offsets.log_start_offset)),
        (HIGH_WATERMARK_FILE, offsets(|offsets| offsets.high_watermark)),
    ];
    for (name, content) in files {
        io.replace_file(&log_dir.join(name), content).await?;
    }
    let epoch = stopped.iter().map(|stopped| stopped.epoch).max().unwrap_or(0);
    directories::remove_all(io, log_dir, epoch).await?;
    io.sync_directory(log_dir).await?;
    io.replace_file(&log_dir.join(CLEAN_SHUTDOWN_FILE), b"{\"version\":0,\"brokerEpoch\":-1}".to_vec())
        .await?;
    // Out of what the journals took, before others take it.
    let bytes = stopped.iter().map(|stopped| stopped.reserve_bytes).max().unwrap_or(0);
    if let Err(error) = reserve::make(io, log_dir, bytes).await {
        tracing::debug!("nothing is kept for a start on a full device: {error}");
    }
    Ok(())
}
