//! Aborted transactions of a log: what a reader of committed records has to leave out. The transaction index of each
//! segment keeps them, as Kafka's `TransactionIndex` and `ProducerStateManager` do.
//!
//! They are known from the markers when those are appended or replayed. Until a segment's `.txnindex` is synced the
//! journal's checkpoint keeps its part; a segment that was sealed before the start is asked for its file on first use.

use std::ops::Range;
use std::rc::Rc;

use super::log::Log;
use super::producer_snapshot;
use super::producer_state::ProducerState;
use crate::error::ReadError;
use crate::io::{Io, IoError};
use crate::segment::segment::{Segment, base_offset_of_stem, file_name};
use crate::segment::txn_index::{self, AbortedTransaction};
use crate::space::is_no_space;
use crate::types::Offset;

/// Files are refused above this: four million transactions in one segment.
const FILE_BYTES_MAX: usize = 128 << 20;
/// Snapshots of producers are refused above this.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

impl<I: Io> Log<I> {
    /// Transactions with records in `[range.start, range.end)` that were aborted, by the offset of their marker, as far as
    /// readers may see that. Some may begin before the range and end behind it.
    pub async fn aborted(&self, range: Range<Offset>) -> Result<Vec<AbortedTransaction>, ReadError> {
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let above = state.segments.partition_point(|segment| segment.base_offset <= range.start);
            state.segments.iter().skip(above.saturating_sub(1)).map(Rc::clone).collect()
        };
        let mut found = Vec::new();
        for segment in segments {
            self.load_aborted(&segment).await?;
            let aborted = segment.aborted.borrow();
            let visible = self.offsets.get().high_watermark;
            for one in aborted.iter().flatten().filter(|one| one.last_offset < visible) {
                if one.last_offset >= range.start && one.first_offset < range.end {
                    found.push(*one);
                }
                if one.last_stable_offset >= range.end {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Has a segment know its aborted transactions. Does not wait if it does.
    pub(super) async fn load_aborted(&self, segment: &Rc<Segment<I>>) -> Result<(), ReadError> {
        if segment.aborted.borrow().is_some() {
            return Ok(());
        }
        match self.read_txn_index(segment).await {
            Ok(aborted) => *segment.aborted.borrow_mut() = Some(aborted),
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => {
                tracing::warn!("{error}: it is made anew from the log");
                self.rebuild_txn_index(segment).await?;
            }
            Err(error) => return Err(error.into()),
        }
        segment.hold();
        Ok(())
    }

    /// What a segment's `.txnindex` says; none if there is none. Of what is no such file: `InvalidData`.
    pub(super) async fn read_txn_index(
        &self,
        segment: &Segment<I>,
    ) -> Result<Vec<AbortedTransaction>, IoError> {
        let path = segment.path(txn_index::SUFFIX);
        let file = match self.shared.io.read_file(&path, FILE_BYTES_MAX).await {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        txn_index::read(segment.base_offset, &file).map_err(|error| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            IoError { operation: "read", path, source }
        })
    }

    /// What is known at a start of a segment's aborted transactions before its batches are looked at: what the checkpoint
    /// kept of it; without one that knows them, what its file says of those below where batches are looked at.
    /// `next` is the segment behind it; if it is sealed it is not looked at, and asked for its file later.
    pub(super) async fn begin_aborted(
        &self,
        segment: &Segment<I>,
        kept: Option<&[AbortedTransaction]>,
        (next, is_sealed): (Option<Offset>, bool),
    ) -> Result<(), IoError> {
        let here = |one: &&AbortedTransaction| {
            one.last_offset >= segment.base_offset && next.is_none_or(|next| one.last_offset < next)
        };
        let found: Vec<_> = kept.unwrap_or_default().iter().filter(here).copied().collect();
        let has_file = segment.has_txn_index.get();
        let (aborted, is_due) = if !found.is_empty() {
            (Some(found), true)
        } else if !has_file {
            (Some(found), false)
        } else if is_sealed {
            (None, false)
        } else if kept.is_some() {
            (Some(found), true)
        } else {
            self.believed(segment).await?
        };
        *segment.aborted.borrow_mut() = aborted;
        segment.is_txn_index_due.set(is_due);
        Ok(())
    }

    /// The part of a segment's file that no batch which is looked at tells again, and whether there was more. Of a file
    /// that cannot be read nothing.
    async fn believed(
        &self,
        segment: &Segment<I>,
    ) -> Result<(Option<Vec<AbortedTransaction>>, bool), IoError> {
        match self.read_txn_index(segment).await {
            Ok(mut aborted) => {
                let all = aborted.len();
                aborted.retain(|one| one.last_offset < self.replayed_below.get());
                let is_less = aborted.len() < all;
                Ok((Some(aborted), is_less))
            }
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => {
                tracing::warn!("{error}: it is made anew from the log");
                Ok((None, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what a segment says of producers that is newer than the snapshot a start began with.
    pub(super) async fn take_producers(&self, segment: &Segment<I>) -> Result<(), IoError> {
        let mut producers = std::mem::take(&mut self.state.borrow_mut().producers);
        let from = self.replayed_below.get();
        let taken = self.take_transactions(segment, from, &mut producers, &mut Vec::new()).await;
        self.state.borrow_mut().producers = producers;
        taken
    }

    /// Makes a segment's transaction index from the log: from the newest snapshot of producers before it on.
    pub(super) async fn rebuild_txn_index(&self, segment: &Rc<Segment<I>>) -> Result<(), IoError> {
        let (mut producers, from) = self.producers_before(segment.base_offset).await?;
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let above = state.segments.partition_point(|segment| segment.base_offset <= from);
            let upto = state.segments.iter().take_while(|other| other.base_offset <= segment.base_offset);
            upto.skip(above.saturating_sub(1)).map(Rc::clone).collect()
        };
        let mut aborted = Vec::new();
        for other in segments {
            aborted.clear();
            self.take_transactions(&other, from, &mut producers, &mut aborted).await?;
        }
        *segment.aborted.borrow_mut() = Some(aborted);
        segment.is_txn_index_due.set(true);
        if segment.sealed.get()
            && let Err(error) = self.write_txn_index(segment).await
        {
            tracing::warn!("the checkpoint keeps it: {error}");
        }
        Ok(())
    }

    /// Takes the batches of a segment from an offset on into `producers`, and what they aborted.
    pub(super) async fn take_transactions(
        &self,
        segment: &Segment<I>,
        from: Offset,
        producers: &mut ProducerState,
        aborted: &mut Vec<AbortedTransaction>,
    ) -> Result<(), IoError> {
        let now = self.shared.io.wall_clock();
        self.scan(segment, 0, segment.size.get(), |header, _, batch| {
            if header.base_offset() >= from {
                aborted.extend(producers.take(header, batch, now));
            }
        })
        .await?;
        Ok(())
    }

    /// What was known of producers at `offset` or before, by the newest snapshot that can be read, and as of which offset;
    /// without one nobody is known at the log's start.
    pub(super) async fn producers_before(&self, offset: Offset) -> Result<(ProducerState, Offset), IoError> {
        let io = &self.shared.io;
        let names = io.list_directory(&self.directory).await?;
        let stems = names.iter().filter_map(|name| name.strip_suffix(producer_snapshot::SUFFIX));
        // Between one that is older than the first segment and that batches may be missing.
        let first = self.state.borrow().segments.front().map_or(Offset(0), |segment| segment.base_offset);
        let counts = |at: &Offset| (first..=offset).contains(at);
        let mut offsets: Vec<_> = stems.filter_map(base_offset_of_stem).filter(counts).collect();
        offsets.sort_unstable();
        while let Some(at) = offsets.pop() {
            let path = self.directory.join(file_name(at, producer_snapshot::SUFFIX));
            let Ok(file) = io.read_file(&path, SNAPSHOT_BYTES_MAX).await else { continue };
            if let Ok(producers) = producer_snapshot::read_snapshot(&file, io.wall_clock()) {
                return Ok((producers, at));
            }
        }
        Ok((ProducerState::new(), Offset(0)))
    }

    /// Makes a segment's `.txnindex` say what is known, durably; what is empty has none.
    pub(super) async fn write_txn_index(&self, segment: &Segment<I>) -> Result<(), IoError> {
        if !segment.is_txn_index_due.get() {
            return Ok(());
        }
        let (count, file) = {
            let aborted = segment.aborted.borrow();
            let aborted = aborted.as_deref().unwrap_or_default();
            (aborted.len(), txn_index::write(aborted))
        };
        let (io, path) = (&self.shared.io, segment.path(txn_index::SUFFIX));
        if count > 0 {
            io.replace_file(&path, file).await?;
        } else if segment.has_txn_index.get() {
            match io.remove_file(&path).await {
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            io.sync_directory(&self.directory).await?;
        }
        segment.has_txn_index.set(count > 0);
        let is_all = segment.aborted.borrow().as_ref().is_none_or(|aborted| aborted.len() == count);
        segment.is_txn_index_due.set(!is_all);
        Ok(())
    }

    /// The same where the journal's checkpoint can keep what finds no room.
    pub(super) async fn write_txn_index_if_room(&self, segment: &Segment<I>) -> Result<(), IoError> {
        match self.write_txn_index(segment).await {
            Err(error) if is_no_space(&error) => {
                tracing::warn!("the journal keeps it until a stop: {error}");
                Ok(())
            }
            written => written,
        }
    }
}
