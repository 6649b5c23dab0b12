//! What a log's files have to have when it is opened, told by those who know: the journal's checkpoint, Kafka's own files
//! after a clean stop, and the indexes beside the segments. What is missing is damage, and nothing is cut.

use std::collections::BTreeSet;
use std::path::Path;

use super::known::Known;
use super::log::Log;
use crate::error::OpenError;
use crate::io::{BLOCK_BYTES, Io, IoError, IoFile};
use crate::manager::{HIGH_WATERMARK_FILE, RECOVERY_POINT_FILE};
use crate::record::batch::{self, BatchHeader, HEADER_BYTES};
use crate::segment::segment::{Segment, to_u64};
use crate::segment::{offset_index, time_index};
use crate::types::Offset;

/// Looked through at a time for batches behind one that is damaged.
const WINDOW_BYTES: u64 = 1 << 20;

/// Damage of a file.
pub(super) fn damaged(path: &Path, what: String) -> OpenError {
    OpenError::Damaged { path: path.to_path_buf(), what }
}

impl Known<'_> {
    /// Whether nothing can be torn that the journal does not hold: what was acknowledged before this start stands
    /// synced in the segments.
    pub(super) fn is_settled(&self) -> bool {
        self.clean || self.checkpoint.is_some()
    }

    /// Whether Kafka's own files say all there is to say: nothing was appended since they were written.
    pub(super) fn is_settled_by_files(&self) -> bool {
        self.clean && self.checkpoint.is_none()
    }

    /// Whether all of that segment is on stable media, its length too.
    pub(super) fn is_below(&self, base: Offset) -> bool {
        self.checkpoint.map_or(self.clean, |checkpoint| base < checkpoint.recovery_point.segment_base)
    }

    /// Segments that have to be there and are not: `bases` are those that files or the journal have.
    pub(super) fn check_segments(
        &self,
        bases: &BTreeSet<Offset>,
        log_start: Offset,
        names: &[String],
    ) -> Result<(), OpenError> {
        let first = bases.first().copied().unwrap_or(log_start);
        let told = self.checkpoint.is_some() || self.clean && self.is_start_told;
        if told && log_start < first {
            let what = format!("the first segment begins at {first}, but the log at {log_start}");
            return Err(damaged(&self.directory, what));
        }
        if !self.is_settled() {
            return Ok(());
        }
        for name in names {
            let stem = name.strip_suffix(offset_index::SUFFIX).or(name.strip_suffix(time_index::SUFFIX));
            let Some(base) = stem.and_then(|digits| digits.parse().ok()).map(Offset) else { continue };
            if base >= log_start && !bases.contains(&base) {
                let what = format!("{name} is there, but its segment is not");
                return Err(damaged(&self.directory, what));
            }
        }
        Ok(())
    }

    /// Whether the log that was opened ends where it has to; `end` is what its files and the journal have.
    pub(super) fn check_end(&self, end: Offset) -> Result<(), OpenError> {
        if self.is_settled_by_files() {
            self.check_clean_end(end)?;
        }
        let needed = self.checkpoint.map_or(Offset(0), |checkpoint| checkpoint.state_offset);
        let needed = needed.max(self.log_start_offset);
        if end < needed {
            let what = format!("its segments end at {end}, but it was acknowledged up to {needed}");
            return Err(damaged(&self.directory, what));
        }
        Ok(())
    }

    /// The same after a clean stop, which wrote twice where the log ended, in files without a checksum: where they
    /// contradict each other the one that the segments agree with is believed.
    fn check_clean_end(&self, end: Offset) -> Result<(), OpenError> {
        let Some(told) = self.clean_end.filter(|told| *told != end) else { return Ok(()) };
        let (directory, teller) = (&self.directory, self.directory.with_file_name(RECOVERY_POINT_FILE));
        if self.clean_high_watermark != Some(end) {
            let teller = teller.display();
            let what = format!("its segments end at {end}, but {teller} says {told}: one of both is damaged");
            return Err(damaged(directory, what));
        }
        tracing::warn!(
            "{} says that {} ended at {told}, but its segments and {HIGH_WATERMARK_FILE} say {end}, which is believed",
            teller.display(),
            directory.display()
        );
        Ok(())
    }
}

impl<I: Io> Log<I> {
    /// Cuts a segment to its length if a crash kept it from being cut. How long it is.
    pub(super) async fn cut_padding(
        &self,
        segment: &Segment<I>,
        known: &Known<'_>,
        next: Option<Offset>,
    ) -> Result<u64, IoError> {
        let recovered = known.checkpoint.map(|known| (known.recovery_point, known.recovery_offset));
        if let Some((point, offset)) = recovered
            && point.segment_base == segment.base_offset
            && let Some(end) = self.padded_from(segment, (point.position, offset), next).await?
        {
            let file = segment.file().await?;
            file.truncate(end).await?;
            file.sync().await?;
            segment.set_existing(end, false);
        }
        Ok(segment.size.get())
    }

    /// Where a segment ends whose last block was written padded, to seal it, and that a crash kept from being cut to its
    /// length; `next` is the segment behind it. It has batches up to `from` that end before that offset.
    async fn padded_from(
        &self,
        segment: &Segment<I>,
        (from, reached): (u64, Offset),
        next: Option<Offset>,
    ) -> Result<Option<u64>, IoError> {
        let size = segment.size.get();
        if from >= size || !size.is_multiple_of(to_u64(BLOCK_BYTES)) {
            return Ok(None);
        }
        let mut whole = Some((from, reached));
        self.scan(segment, from, size, |header, at, bytes| {
            let is_whole = header.magic() == batch::MAGIC && batch::compute_crc(bytes) == Some(header.crc());
            whole = whole.filter(|_| is_whole).map(|_| (at + to_u64(bytes.len()), header.next_offset()));
        })
        .await?;
        let Some((end, reached)) = whole else { return Ok(None) };
        if end == size || size - end >= to_u64(BLOCK_BYTES) || next.is_some_and(|next| next != reached) {
            return Ok(None);
        }
        let rest = segment.read_file(end, size).await?;
        Ok(rest.iter().all(|byte| *byte == 0).then_some(end))
    }

    /// Looks behind `end`, where no whole batch is: for one with offsets from `next` on. A torn tail has none.
    pub(super) async fn batch_behind(
        &self,
        segment: &Segment<I>,
        (end, next): (u64, Offset),
    ) -> Result<Option<u64>, IoError> {
        let size = segment.size.get();
        let mut from = end + 1;
        while from + to_u64(HEADER_BYTES) <= size {
            let to = size.min(from + WINDOW_BYTES + to_u64(HEADER_BYTES));
            let window = segment.read_file(from, to).await?;
            for at in 0..=window.len().saturating_sub(HEADER_BYTES) {
                let rest = window.get(at..).unwrap_or_default();
                let Some(len) = plausible(rest, next) else { continue };
                let position = from + to_u64(at);
                if position.saturating_add(to_u64(len)) > size {
                    continue;
                }
                let bytes = segment.read_file(position, position + to_u64(len)).await?;
                let Some(header) = BatchHeader::read(&bytes) else { continue };
                if bytes.len() == len && batch::compute_crc(&bytes) == Some(header.crc()) {
                    return Ok(Some(position));
                }
            }
            from += WINDOW_BYTES;
        }
        Ok(None)
    }
}

/// The length of the batch that may begin here, if its header could be that of a batch from `next` on.
fn plausible(bytes: &[u8], next: Offset) -> Option<usize> {
    let header = BatchHeader::read(bytes).filter(|header| header.magic() == batch::MAGIC)?;
    let span = header.base_offset().0.checked_sub(next.0)?;
    let fits = (0..=i64::from(i32::MAX)).contains(&span) && header.last_offset_delta() >= 0;
    header.batch_bytes().filter(|_| fits)
}
