//! What is known of a log's producers and leader epochs before its batches are looked at: by the journal's checkpoint, or
//! by Kafka's own files.

use bytes::Bytes;

use super::epoch_cache::{self, EpochCache};
use super::known::Known;
use super::log::Log;
use super::producer_snapshot;
use crate::error::OpenError;
use crate::io::{Io, Looked};
use crate::record::batch::BatchHeader;
use crate::segment::offset_index;
use crate::segment::segment::{base_offset_of, file_name};
use crate::types::Offset;

/// Batches looked at again say nothing new: an older epoch would drop those after it.
pub(super) fn take_epoch(epochs: &mut EpochCache, header: &BatchHeader) {
    let epoch = header.partition_leader_epoch();
    if epochs.latest_epoch().is_none_or(|latest| latest < epoch) {
        epochs.assign(epoch, header.base_offset());
    }
}

impl<I: Io> Log<I> {
    /// Producers and epochs as of the checkpoint, or from Kafka's own files after a clean stop: then the last segment's
    /// offset index comes with them, if it is there.
    pub(super) async fn load_state(
        &self,
        known: &Known<'_>,
        names: &[String],
        looked: &Looked,
    ) -> Result<Option<Vec<u8>>, OpenError> {
        if let Some(checkpoint) = known.checkpoint {
            let mut state = self.state.borrow_mut();
            state.producers = checkpoint.producers.clone();
            state.epochs = checkpoint.epochs.clone();
            self.replayed_below.set(checkpoint.state_offset);
            return Ok(None);
        }
        if known.is_journalled_whole {
            // A snapshot knows less: one batch of each producer.
            return Ok(None);
        }
        let io = &self.shared.io;
        let epochs = names.iter().find(|name| *name == epoch_cache::FILE_NAME).cloned();
        let snapshots = names
            .iter()
            .filter_map(|name| name.strip_suffix(producer_snapshot::SUFFIX)?.parse().ok().map(Offset));
        let newest = snapshots.max();
        let snapshot = newest.map(|newest| file_name(newest, producer_snapshot::SUFFIX));
        let last = names.iter().filter_map(|name| base_offset_of(name)).max();
        let index = last.filter(|_| known.clean).map(|last| file_name(last, offset_index::SUFFIX));
        let index = index.filter(|index| names.contains(index));
        let wanted: Vec<&str> = epochs.iter().chain(&snapshot).chain(&index).map(String::as_str).collect();
        let paths = wanted.iter().map(|name| self.directory.join(name));
        let mut read = paths.zip(known.small_files(io, &wanted, looked).await);
        let mut older_than = None;
        {
            let mut state = self.state.borrow_mut();
            if epochs.is_some()
                && let Some((path, file)) = read.next()
            {
                match EpochCache::read(&file?) {
                    Ok(epochs) => state.epochs = epochs,
                    Err(error) => tracing::warn!("{} is rebuilt: {error}", path.display()),
                }
            }
            if let Some(newest) = newest
                && let Some((path, file)) = read.next()
            {
                match producer_snapshot::read_snapshot(&file?, io.wall_clock()) {
                    Ok(producers) => {
                        state.producers = producers;
                        self.replayed_below.set(newest);
                    }
                    Err(error) => {
                        tracing::warn!("{} is not used: {error}", path.display());
                        older_than = Some(newest);
                    }
                }
            }
        }
        if let Some(Offset(newest)) = older_than {
            let (producers, from) = self.producers_before(Offset(newest.saturating_sub(1))).await?;
            self.state.borrow_mut().producers = producers;
            self.replayed_below.set(from);
            // The last segment is looked at from its begin then.
            return Ok(None);
        }
        Ok(index.as_ref().and_then(|_| read.next()?.1.ok()))
    }

    /// Takes what batches say whose segments are below the log start, and are not looked at: their producers go on.
    pub(super) fn remember_removed<'a>(&self, batches: impl Iterator<Item = &'a Bytes>) {
        let now = self.shared.io.wall_clock();
        let mut state = self.state.borrow_mut();
        for batch in batches {
            if let Some(header) = BatchHeader::read(batch)
                && header.base_offset() >= self.replayed_below.get()
            {
                let _ = state.producers.take(header, batch, now);
                take_epoch(&mut state.epochs, header);
            }
        }
    }
}
