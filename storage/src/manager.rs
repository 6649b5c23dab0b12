//! All logs of one shard in one log directory.

use std::marker::PhantomData;
use std::rc::Rc;

use crate::config::{LogConfig, StoreConfig};
use crate::error::{OpenError, StoreError};
use crate::io::Io;
use crate::log::Log;
use crate::types::PartitionKey;

/// What opening found and did, for the start-up log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Whether the last stop was a clean one (or there was none).
    pub clean: bool,
    /// Logs opened.
    pub logs: usize,
    /// Journal frames replayed.
    pub frames: u64,
    /// Bytes placed from the journal.
    pub replayed_bytes: u64,
    /// Bytes of torn tails cut from segments.
    pub cut_bytes: u64,
}

/// The store. Lives on its shard's thread.
#[derive(Debug)]
pub struct LogManager<I: Io> {
    io: PhantomData<I>,
}

impl<I: Io> LogManager<I> {
    /// Opens or makes the store in `config.log_dir`: replays the journal, checks the active segments, starts
    /// a new journal epoch. On return everything that was acknowledged is readable.
    pub async fn open(io: I, config: StoreConfig) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        let _ = (io, config);
        unimplemented!()
    }

    /// Makes the log, durable on return; an existing one is returned as it is.
    pub async fn create_log(
        &self,
        key: PartitionKey,
        topic: &str,
        config: LogConfig,
    ) -> Result<Rc<Log<I>>, StoreError> {
        let _ = (key, topic, config);
        unimplemented!()
    }

    /// The log of `key`, if this store has it.
    pub fn log(&self, key: PartitionKey) -> Option<Rc<Log<I>>> {
        let _ = key;
        unimplemented!()
    }

    /// All logs' keys, in order.
    pub fn keys(&self) -> Vec<PartitionKey> {
        unimplemented!()
    }

    /// Removes a log; durable on return. Reads and appends of holders fail from the call on.
    pub async fn delete_log(&self, key: PartitionKey) -> Result<(), StoreError> {
        let _ = key;
        unimplemented!()
    }

    /// Clean stop: segments written and synced, Kafka's checkpoint files written, the journal emptied and
    /// removed, `.kafka_cleanshutdown` made. Appends fail from the call on.
    pub async fn close(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
