//! Logs that are there and cannot be used until somebody mends what is wrong with them and starts again. Their files stay
//! as they are.

use std::sync::Arc;

use super::LogManager;
use crate::error::StoreError;
use crate::io::Io;
use crate::types::PartitionKey;

/// A log that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfflineLog {
    /// What is wrong, where, and what to do about it.
    pub reason: Arc<str>,
}

impl<I: Io> LogManager<I> {
    /// Logs that cannot be used, in order.
    pub fn offline_logs(&self) -> Vec<(PartitionKey, OfflineLog)> {
        self.offline.borrow().iter().map(|(key, log)| (*key, log.clone())).collect()
    }

    /// Whether the log is here, be it that it cannot be used.
    pub fn has(&self, key: PartitionKey) -> bool {
        self.log(key).is_some() || self.offline.borrow().contains_key(&key)
    }

    /// Takes a log offline, unless it is; whoever wants it hears why.
    pub(super) fn take_offline(&self, key: PartitionKey, reason: &str) -> StoreError {
        let log = OfflineLog { reason: reason.into() };
        let mut offline = self.offline.borrow_mut();
        let log = offline.entry(key).or_insert(log);
        StoreError::Offline { reason: Arc::clone(&log.reason) }
    }

    /// An error if the log is offline.
    pub(super) fn check_online(&self, key: PartitionKey) -> Result<(), StoreError> {
        self.offline
            .borrow()
            .get(&key)
            .map_or(Ok(()), |log| Err(StoreError::Offline { reason: Arc::clone(&log.reason) }))
    }
}
