//! Room that a log directory keeps for a start on a full device: a file with blocks and no content, which the first step
//! of the next start that finds no room gives up. It stays over a clean stop: Apache Kafka passes over files that it does
//! not know.
//!
//! Whoever else fills the device may be faster: then the start goes on without a journal, and reads alone are served until
//! there is room.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures::future::select;

use crate::config::StoreConfig;
use crate::io::{Io, IoError, IoFile, OpenHow};
use crate::shared::Shared;

/// Its name in the log directory.
pub const RESERVE_FILE: &str = "ringmain.reserve";
/// What it is called before it has its blocks.
const UNFINISHED_FILE: &str = "ringmain.reserve.part";
/// For what a start writes beside journals: metadata, checkpoints, and the same again for the next start.
const SMALL_FILES_BYTES: u64 = 1 << 20;
/// Between two attempts to make it: it is for the next start.
const ATTEMPT_INTERVAL: Duration = Duration::from_mins(1);

/// What the directory's shards need: one journal file each, and some.
pub(crate) fn bytes_of(config: &StoreConfig) -> u64 {
    config.journal_file_bytes * u64::from(config.slot.count) + SMALL_FILES_BYTES
}

/// Gives its room to whoever needs some now. That there is none to give is no error.
pub(crate) async fn give_up<I: Io>(io: &I, log_dir: &Path) -> Result<(), IoError> {
    match io.remove_file(&log_dir.join(RESERVE_FILE)).await {
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(()),
        Ok(()) => {
            tracing::error!("no space left in {}: the start uses what was kept for it", log_dir.display());
            Ok(())
        }
        failed => failed,
    }
}

/// Makes it if it is not there; durable on return.
pub(crate) async fn make<I: Io>(io: &I, log_dir: &Path, bytes: u64) -> Result<(), IoError> {
    let names = io.list_directory(log_dir).await?;
    if names.iter().any(|name| name == RESERVE_FILE) {
        return Ok(());
    }
    let unfinished = log_dir.join(UNFINISHED_FILE);
    if names.iter().any(|name| name == UNFINISHED_FILE) {
        io.remove_file(&unfinished).await?;
    }
    let made = async {
        let file = io.open(&unfinished, OpenHow::Create).await?;
        file.allocate(0, bytes).await?;
        file.sync().await
    };
    match made.await {
        Ok(()) => io.rename(&unfinished, &log_dir.join(RESERVE_FILE)).await?,
        Err(error) => {
            drop(io.remove_file(&unfinished).await);
            return Err(error);
        }
    }
    io.sync_directory(log_dir).await
}

/// Makes it beside all else, again and again until there is room for it.
pub(crate) async fn keep<I: Io>(shared: Rc<Shared<I>>) {
    let log_dir = &shared.config.log_dir;
    loop {
        let stop = shared.stop_event.listen();
        if shared.stopping.get() || shared.failure.get().is_some() {
            return;
        }
        match make(&shared.io, log_dir, bytes_of(&shared.config)).await {
            Ok(()) => return,
            // A file system that allocates nothing ahead keeps nothing.
            Err(error) if error.source.kind() == ErrorKind::Unsupported => return,
            Err(error) => tracing::warn!("nothing is kept for a start on a full device yet: {error}"),
        }
        select(std::pin::pin!(shared.io.sleep(ATTEMPT_INTERVAL)), stop).await;
    }
}
