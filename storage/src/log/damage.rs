//! Damage that a read meets: named once, and stepped over, so that what lies behind it can still be read.

use std::ops::ControlFlow;

use super::checking::{Expected, Look};
use super::log::Log;
use crate::error::ReadError;
use crate::io::{Io, IoError};
use crate::record::batch::{BatchHeader, HEADER_BYTES};
use crate::segment::segment::{Segment, WINDOW_BYTES, to_u64, to_usize};
use crate::types::{Offset, Position};

/// So far behind damage the next batch is looked for byte by byte; further on only the index knows where one begins.
const SEARCH_BYTES_MAX: u64 = 4 << 20;

/// Something in a segment that is no good batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damage {
    /// Where it begins.
    pub(super) position: u64,
    /// The first offset that cannot be read; where only an index entry tells, the last one of its batch.
    pub(super) offset: Offset,
    /// What is wrong.
    pub(super) what: &'static str,
}

impl<I: Io> Log<I> {
    /// Counts and tells damage the first time that a read meets it; the error for who wanted it.
    pub(super) fn note_damage(&self, segment: &Segment<I>, damage: Damage) -> ReadError {
        let Damage { position, offset, what } = damage;
        let path = segment.path(".log");
        if segment.windows.note_damage(position) {
            self.shared.config.counters.damaged_batches.add(1);
            tracing::error!(
                file = %path.display(),
                position,
                %offset,
                partition = %format_args!("{}-{}", self.topic, self.key.partition),
                "a damaged batch is not served: {what}"
            );
        }
        ReadError::Damaged { path, position, offset, what }
    }

    /// Whether a batch begins where the index says and is damaged: from the entry before it good batches follow one
    /// another up to there, and none stands there, whatever its offsets. So a damaged batch costs a look at what lies
    /// between two entries, and not a new index.
    pub(super) async fn is_damaged_at(&self, segment: &Segment<I>, position: u64) -> Result<bool, IoError> {
        let before = segment.index.borrow().offsets().floor(Position(position.saturating_sub(1)));
        let (start, last) = before.map_or((0, None), |(offset, at)| (at.0, Some(offset)));
        let mut expected = self.expected(segment, segment.base_offset, last);
        let is_led_to = self
            .walk(segment, (start, position), &mut expected, |_, _, _| ControlFlow::Continue(()))
            .await?
            .is_none();
        let end = segment.size.get();
        Ok(is_led_to
            && self
                .walk(segment, (position, end), &mut expected, |_, _, _| ControlFlow::Break(()))
                .await?
                .is_some())
    }

    /// Where the first good batch behind damage begins, and its base offset: the damage is all before that.
    /// At the segment's end the base offset of the next segment. Of a sealed segment it is looked for once.
    pub(super) async fn behind_damage(
        &self,
        segment: &Segment<I>,
        position: u64,
        expected: &Expected,
    ) -> Result<(u64, Offset), IoError> {
        if let Some(known) = segment.windows.behind(position) {
            return Ok(known);
        }
        let behind = self.find_behind(segment, position, expected).await?;
        // While its index is being made it is not known where batches begin.
        if segment.sealed.get() && segment.index_from.get() == 0 {
            segment.windows.note_behind(position, behind);
        }
        Ok(behind)
    }

    async fn find_behind(
        &self,
        segment: &Segment<I>,
        position: u64,
        expected: &Expected,
    ) -> Result<(u64, Offset), IoError> {
        let size = segment.size.get();
        let entry = segment.index.borrow().offsets().above(Position(position));
        let anchor = match entry {
            Some((_, at)) => Some(at.0),
            // An index that is being made ends here, and the segment does not.
            None => (segment.index_from.get() == 0).then_some(size),
        };
        let stop = anchor.unwrap_or(size).min(position + SEARCH_BYTES_MAX);
        // With what the last batch needs to be looked at whole.
        let bytes = self.read_range(segment, position, size.min(stop + to_u64(HEADER_BYTES))).await?;
        let near = anchor.filter(|anchor| *anchor <= stop).map(|anchor| to_usize(anchor - position));
        if near.is_some() || anchor.is_none() {
            let room = to_usize(size - position);
            if let Some((at, base)) = expected.find_behind(&bytes, room, near) {
                return Ok((position + to_u64(at), base));
            }
        }
        let Some((last, at)) = entry else { return Ok((size, expected.end)) };
        // The entry's own batch may be damaged as well: then what lies before it is lost up to the last of its offsets.
        let header = self.header_at(segment, at.0).await?;
        let base = header.filter(|header| header.last_offset() == last).map(|header| header.base_offset());
        let base = base.filter(|base| *base > expected.next && *base <= last);
        Ok((at.0, base.unwrap_or(Offset(last.0.saturating_add(1)))))
    }

    /// Calls `each` with every batch from `position` on, up to `end`, where one ends, and with its position, until that
    /// says stop. Stops at damage, too, which it returns.
    pub(super) async fn walk(
        &self,
        segment: &Segment<I>,
        (mut position, end): (u64, u64),
        expected: &mut Expected,
        mut each: impl FnMut(&BatchHeader, u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Damage>, IoError> {
        let mut needs = 0;
        self.refresh(segment, expected);
        while position < end {
            let wanted = end.min(position + WINDOW_BYTES.max(needs));
            let bytes = self.read_range(segment, position, wanted).await?;
            let mut at = 0;
            loop {
                let rest = bytes.get(at..).unwrap_or_default();
                let here = position + to_u64(at);
                if here == end {
                    return Ok(None);
                }
                let what = match (expected.look(rest, to_usize(end - here)), BatchHeader::read(rest)) {
                    (Look::Good(size), Some(header)) => {
                        if each(header, here, rest.get(..size).unwrap_or_default()).is_break() {
                            return Ok(None);
                        }
                        expected.follow(header);
                        at += size;
                        continue;
                    }
                    (Look::Needs(count), _) if to_u64(bytes.len()) == wanted - position => {
                        needs = to_u64(count);
                        break;
                    }
                    (Look::Bad(what), _) => what,
                    _ => "the file is too short",
                };
                let offset = expected.last.unwrap_or(expected.next);
                return Ok(Some(Damage { position: here, offset, what }));
            }
            position += to_u64(at);
        }
        Ok(None)
    }
}
