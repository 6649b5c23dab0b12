//! When a segment is closed and the next one begins, as Kafka's `LogSegment.shouldRoll` says: by size, by age, when an
//! index is full, when offsets no longer fit.

use std::rc::Rc;

use super::log::Log;
use super::producer_snapshot::write_snapshot;
use crate::config::LogConfig;
use crate::io::Io;
use crate::record::batch::BatchHeader;
use crate::segment::segment::{Segment, to_u64};
use crate::types::Offset;

/// Bytes of an entry in Kafka's index files.
const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

impl<I: Io> Log<I> {
    /// The active segment, or a new one if this batch must not go into it.
    pub(super) fn segment_for(&self, header: &BatchHeader, config: &LogConfig) -> Rc<Segment<I>> {
        let active = self.state.borrow().segments.back().map(Rc::clone);
        match active {
            Some(active) if !self.must_roll(&active, header, config) => active,
            _ => self.roll(header.base_offset()),
        }
    }

    /// Begins an empty segment at the log's end, if that is still where it was and the active one is not empty.
    pub(super) fn roll_at(&self, end: Offset) -> bool {
        let empty = self.state.borrow().segments.back().is_none_or(|active| active.size.get() == 0);
        if empty || self.truncating.get() || self.offsets().log_end_offset != end {
            return false;
        }
        self.roll(end);
        true
    }

    fn roll(&self, base_offset: Offset) -> Rc<Segment<I>> {
        let segment = self.new_segment(base_offset, self.config.borrow().index_interval_bytes);
        {
            let mut state = self.state.borrow_mut();
            if !state.segments.is_empty() {
                *segment.snapshot.borrow_mut() = Some(write_snapshot(&state.producers));
            }
            state.segments.push_back(Rc::clone(&segment));
        }
        self.make_due();
        segment
    }

    /// A segment of this log that has nothing yet.
    pub(crate) fn new_segment(&self, base_offset: Offset, index_interval_bytes: u64) -> Rc<Segment<I>> {
        let shared = (self.shared.io.clone(), Rc::clone(&self.shared.open_files));
        Segment::new(shared, self.directory.clone(), base_offset, index_interval_bytes)
    }

    fn must_roll(&self, active: &Segment<I>, header: &BatchHeader, config: &LogConfig) -> bool {
        let bytes = to_u64(header.batch_bytes().unwrap_or(0));
        let first = active.first_timestamp.get();
        let waited = first.map_or(0, |first| header.max_timestamp().0.saturating_sub(first.0));
        let span = header.last_offset().0.saturating_sub(active.base_offset.0);
        active.size.get() > 0
            && (active.size.get() + bytes > config.segment_bytes
                || waited > self.segment_ms(active.base_offset, config)
                || span > i64::from(i32::MAX)
                || index_is_full(active, config))
    }

    /// How old the segment may become. What is taken off comes from what names it, and not from chance: it stays the
    /// same over a restart.
    fn segment_ms(&self, base_offset: Offset, config: &LogConfig) -> i64 {
        let jitter_ms = config.segment_jitter_ms.min(config.segment_ms);
        if jitter_ms <= 0 {
            return config.segment_ms;
        }
        let mut name = self.key.topic_id.0.to_vec();
        name.extend(self.key.partition.0.to_be_bytes());
        name.extend(base_offset.0.to_be_bytes());
        let part = (i128::from(crc32c::crc32c(&name)) * i128::from(jitter_ms)) >> u32::BITS;
        config.segment_ms - i64::try_from(part).unwrap_or(0)
    }
}

fn index_is_full<I: Io>(active: &Segment<I>, config: &LogConfig) -> bool {
    let index = active.index.borrow();
    // Kafka's time index keeps its last entry free for the one that sealing adds.
    index.offsets().count() >= config.index_bytes_max / OFFSET_ENTRY_BYTES
        || index.times().count() + 1 >= config.index_bytes_max / TIME_ENTRY_BYTES
}
