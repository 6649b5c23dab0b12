//! Offsets by timestamp (ListOffsets): the sparse time index finds the batch, its records the offset.

use std::ops::ControlFlow;
use std::rc::Rc;

use super::log::Log;
use crate::error::ReadError;
use crate::io::Io;
use crate::record::batch::BatchHeader;
use crate::record::record::BatchRecords;
use crate::segment::segment::Segment;
use crate::types::{Offset, Position, TimestampMs};

/// A batch may grow to this when it is decompressed for a lookup; a larger one is answered with its first offset.
const BATCH_BYTES_MAX: usize = 256 << 20;

impl<I: Io> Log<I> {
    /// First record below `end` whose timestamp is at least `at`: its timestamp and offset.
    pub async fn offset_for_timestamp(
        &self,
        at: TimestampMs,
        end: Offset,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        for segment in self.segments_from_start() {
            if segment.base_offset >= end {
                break;
            }
            if self.largest(&segment).await?.is_none_or(|(largest, _)| largest < at) {
                continue;
            }
            self.complete_index(&segment).await?;
            let from = {
                let index = segment.index.borrow();
                let offset = index.times().lookup(at).map_or(segment.base_offset, |(_, offset)| offset);
                index.offsets().lookup(offset).1.0
            };
            if let Some(found) = self.find_record(&segment, from, end, |timestamp| timestamp >= at).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp: its timestamp and offset.
    pub async fn max_timestamp(&self) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let mut best: Option<(TimestampMs, Offset, Rc<Segment<I>>)> = None;
        for segment in self.segments_from_start() {
            let Some((timestamp, offset)) = self.largest(&segment).await? else { continue };
            if best.as_ref().is_none_or(|(largest, ..)| timestamp > *largest) {
                best = Some((timestamp, offset, segment));
            }
        }
        let Some((largest, last_offset, segment)) = best else { return Ok(None) };
        self.complete_index(&segment).await?;
        let from = segment.index.borrow().offsets().lookup(Offset(last_offset.0 - 1)).1.0;
        let end = self.offsets.get().log_end_offset;
        let found = self.find_record(&segment, from, end, |timestamp| timestamp >= largest).await?;
        Ok(found.or(Some((largest, last_offset))))
    }

    fn segments_from_start(&self) -> Vec<Rc<Segment<I>>> {
        self.state.borrow().segments.iter().map(Rc::clone).collect()
    }

    async fn find_record(
        &self,
        segment: &Segment<I>,
        from: u64,
        end: Offset,
        wanted: impl Fn(TimestampMs) -> bool,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        let start = self.offsets.get().log_start_offset;
        let mut found = None;
        let last = segment.index.borrow().offsets().floor(Position(from)).map(|(offset, _)| offset);
        let mut expected = self.expected(segment, segment.base_offset, last);
        let each = |header: &BatchHeader, _, batch: &[u8]| {
            if !wanted(header.max_timestamp()) || header.last_offset() < start {
                return ControlFlow::Continue(());
            }
            found = match BatchRecords::open(batch, BATCH_BYTES_MAX) {
                Ok(records) => {
                    let mut records = records.iter().filter_map(Result::ok);
                    let found = records.find(|record| wanted(record.timestamp) && record.offset >= start);
                    found.map(|record| (record.timestamp, record.offset))
                }
                Err(_) => Some((header.max_timestamp(), header.base_offset().max(start))),
            };
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if let Some(damage) = self.walk(segment, (from, segment.size.get()), &mut expected, each).await? {
            // What is searched may stand in it.
            return Err(self.note_damage(segment, damage));
        }
        Ok(found.filter(|(_, offset)| *offset < end))
    }
}
