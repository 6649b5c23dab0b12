//! What has to be true of a batch that is read back from a segment, before anybody gets it.
//!
//! A batch is good if and only if
//! 1. its magic is 2, and its length holds a header and ends within the segment;
//! 2. its CRC is that of its bytes;
//! 3. its base offset is not below the end of the batch before it, and its last offset lies within the segment; where
//!    an index entry told where it is, its last offset is the entry's;
//! 4. its leader epoch is the one that the log knows for its base offset, if it knows one;
//! 5. if there is a gap before it, as compaction leaves, the batch behind it does not begin below its end.
//!
//! Base offset, length and leader epoch lie outside the CRC. Rule 1 with 2 covers the length, 4 the epoch, 3 and 5 the base
//! offset: where there is no gap it can be only one number, and a number made larger by damage collides with the next batch.
//!
//! Pure; runs on the shard's thread and on helper threads.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::epoch_cache::EpochCache;
use crate::record::batch::{self, BatchHeader, HEADER_BYTES, MAGIC};
use crate::types::Offset;

/// So many bytes have their CRC computed when the next good batch is looked for: a record may be full of headers, and
/// each would have all that follows it checked. With one good batch after another it is more than is looked through.
const SEARCH_CRC_BYTES_MAX: usize = 16 << 20;

/// What the next batch of a segment may be. Follows a walk from batch to batch.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The lowest base offset it may have.
    pub(super) next: Offset,
    /// Its last offset, if an index entry tells it.
    pub(super) last: Option<Offset>,
    /// End of the segment's offsets.
    pub(super) end: Offset,
    /// The epochs of the log.
    pub(super) epochs: EpochCache,
}

/// What stands where a batch should begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// A good batch of so many bytes.
    Good(usize),
    /// So many bytes from the batch's start are needed to say.
    Needs(usize),
    /// No good batch; what is wrong.
    Bad(&'static str),
}

impl Expected {
    /// Looks at the batch at the start of `bytes`, with `room` bytes from there to the segment's end.
    pub(super) fn look(&self, bytes: &[u8], room: usize) -> Look {
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let Some(header) = BatchHeader::read(bytes) else {
            let is_cut = room < HEADER_BYTES;
            return if is_cut { Look::Bad("a batch is cut off") } else { Look::Needs(HEADER_BYTES) };
        };
        if header.magic() != MAGIC {
            return Look::Bad("there is no batch");
        }
        let Some(size) = header.batch_bytes().filter(|size| *size <= room) else {
            return Look::Bad("a batch ends beyond the segment");
        };
        if let Some(what) = self.contradicts(header) {
            return Look::Bad(what);
        }
        let Some(batch) = bytes.get(..size) else { return Look::Needs(size) };
        if batch::compute_crc(batch) != Some(header.crc()) {
            return Look::Bad("the CRC is wrong");
        }
        // A gap may be damage of the base offset: the batch behind it tells.
        let certain = self.last.is_some() || header.base_offset() == self.next;
        let behind = size.saturating_add(HEADER_BYTES);
        if certain || behind > room {
            return Look::Good(size);
        }
        match bytes.get(size..).and_then(BatchHeader::read) {
            None => Look::Needs(behind),
            Some(behind) if self.collides(header, behind.base_offset()) => {
                Look::Bad("the base offset is not what lies before the next batch")
            }
            Some(_) => Look::Good(size),
        }
    }

    /// Whether a batch behind a gap overlaps the next one and, moved down into the gap, would not.
    fn collides(&self, header: &BatchHeader, behind: Offset) -> bool {
        let offsets = header.next_offset().0.saturating_sub(header.base_offset().0);
        behind < header.next_offset() && behind.0 >= self.next.0.saturating_add(offsets)
    }

    /// What a header says that cannot be.
    fn contradicts(&self, header: &BatchHeader) -> Option<&'static str> {
        let (base, last) = (header.base_offset(), header.last_offset());
        if base < self.next || last < base || last >= self.end {
            return Some("the offsets are not those that belong there");
        }
        if self.last.is_some_and(|expected| last != expected) {
            return Some("the offsets are not those of the index");
        }
        let epoch = self.epochs.epoch_for_offset(base);
        let wrong = epoch.is_some_and(|epoch| epoch != header.partition_leader_epoch());
        wrong.then_some("the leader epoch is not the one of its offsets")
    }

    /// Goes on behind a good batch.
    pub(super) fn follow(&mut self, header: &BatchHeader) {
        self.next = header.next_offset();
        self.last = None;
    }

    /// Where the first batch behind something bad begins in `bytes`, whose first is the bad one's, and its base
    /// offset. From there good batches have to follow one another up to `anchor`, where it is known that one begins
    /// or the segment ends; without one the first two have to be good.
    pub(super) fn find_behind(
        &self,
        bytes: &[u8],
        room: usize,
        anchor: Option<usize>,
    ) -> Option<(usize, Offset)> {
        let behind = Self { next: Offset(self.next.0.saturating_add(1)), last: None, ..self.clone() };
        let stop = anchor.unwrap_or(bytes.len());
        let mut crc_bytes = SEARCH_CRC_BYTES_MAX;
        (1..stop).find_map(|start| {
            let rest = bytes.get(start..)?;
            // The cheap question first: most places are none.
            BatchHeader::read(rest)
                .filter(|header| header.magic() == MAGIC && behind.contradicts(header).is_none())?;
            let base = BatchHeader::read(rest)?.base_offset();
            behind.chains(bytes, (start, room), anchor, &mut crc_bytes).then_some((start, base))
        })
    }

    /// Whether good batches follow one another from `start` up to the anchor, or two of them without one. Takes what it
    /// computes the CRC of from `crc_bytes`, and gives up when they are used up.
    fn chains(
        &self,
        bytes: &[u8],
        (start, room): (usize, usize),
        anchor: Option<usize>,
        crc_bytes: &mut usize,
    ) -> bool {
        let mut walk = self.clone();
        let (mut at, mut count) = (start, 0_usize);
        loop {
            if anchor == Some(at) || at == room && count > 0 || anchor.is_none() && count == 2 {
                return true;
            }
            if anchor.is_some_and(|anchor| at > anchor) {
                return false;
            }
            let Some(rest) = bytes.get(at..) else { return false };
            let Some(header) = BatchHeader::read(rest) else { return false };
            let size = header.batch_bytes().unwrap_or(0).min(rest.len());
            let Some(left) = crc_bytes.checked_sub(size) else { return false };
            *crc_bytes = left;
            let Look::Good(size) = walk.look(rest, room.saturating_sub(at)) else { return false };
            walk.follow(header);
            at = at.saturating_add(size);
            count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests"
    )]

    use bytes::BytesMut;

    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord};
    use crate::record::compression::Codec;
    use crate::types::LeaderEpoch;

    fn a_batch(base_offset: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..records {
            builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::default() }).unwrap();
        }
        let mut bytes = BytesMut::from(builder.build().unwrap().as_ref());
        batch::stamp(&mut bytes, Offset(base_offset), LeaderEpoch(3));
        bytes.to_vec()
    }

    fn expected(next: i64) -> Expected {
        let mut epochs = EpochCache::new();
        epochs.assign(LeaderEpoch(3), Offset(0));
        Expected { next: Offset(next), last: None, end: Offset(42), epochs }
    }

    /// Offsets that a walk finds good, and where it stopped and why.
    fn walk(bytes: &[u8], end: i64) -> (Vec<i64>, Look) {
        let (mut at, mut good) = (0, Vec::new());
        let mut expected = Expected { end: Offset(end), ..expected(10) };
        loop {
            let look = expected.look(&bytes[at..], bytes.len() - at);
            let Look::Good(size) = look else { return (good, look) };
            let header = BatchHeader::read(&bytes[at..]).unwrap();
            good.push(header.base_offset().0);
            expected.follow(header);
            at += size;
            if at == bytes.len() {
                return (good, look);
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_found_in_its_own_batch() {
        // Without gaps, and as compaction leaves them: before the second, and behind the third.
        for (bases, end) in [([10, 12, 14, 16], 18), ([10, 20, 22, 40], 50)] {
            let batches: Vec<_> = bases.iter().map(|base| a_batch(*base, 2)).collect();
            let size = batches[0].len();
            let mut whole = batches.concat();
            assert_eq!(walk(&whole, end).0, bases);
            for bit in 0..whole.len() * 8 {
                whole[bit / 8] ^= 1 << (bit % 8);
                let (good, look) = walk(&whole, end);
                let index = bit / 8 / size;
                // In and before a gap one offset is as good as another.
                let moves_in_gap = bit / 8 % size < 8 && {
                    let before = index.checked_sub(1).map_or(10, |before| bases[before] + 2);
                    let behind = bases.get(index + 1).map_or(end, |behind| *behind);
                    let base = BatchHeader::read(&whole[index * size..]).unwrap().base_offset().0;
                    (before..=behind - 2).contains(&base)
                };
                // Two that overlap where there is a gap before both: the first one is taken for the bad one.
                let overlaps = bit / 8 % size < 8 && index > 0 && bases[index - 1] != 10 && {
                    let before = index.checked_sub(2).map_or(10, |before| bases[before] + 2);
                    let base = BatchHeader::read(&whole[index * size..]).unwrap().base_offset().0;
                    bases[index - 1] > before && (before + 2..bases[index - 1] + 2).contains(&base)
                };
                if !moves_in_gap {
                    let first_bad = if overlaps { index - 1 } else { index };
                    assert_eq!(good, bases[..first_bad], "bit {bit} of {bases:?}");
                    assert!(matches!(look, Look::Bad(_)), "bit {bit}: {look:?}");
                }
                whole[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_batch_that_an_index_names_ends_where_it_says() {
        let batch = a_batch(10, 2);
        let named = |last| Expected { last: Some(Offset(last)), ..expected(0) };
        assert_eq!(named(11).look(&batch, batch.len()), Look::Good(batch.len()));
        assert!(matches!(named(12).look(&batch, batch.len()), Look::Bad(_)));
    }

    #[test]
    fn what_is_needed_is_told() {
        let batch = a_batch(10, 2);
        let look = |bytes: usize, next: i64| expected(next).look(&batch[..bytes], batch.len() + 500);
        assert_eq!(look(5, 10), Look::Needs(HEADER_BYTES));
        assert_eq!(look(HEADER_BYTES, 10), Look::Needs(batch.len()));
        assert_eq!(look(batch.len(), 10), Look::Good(batch.len()));
        // There is a gap before it: the batch behind it has to fit.
        assert_eq!(look(batch.len(), 9), Look::Needs(batch.len() + HEADER_BYTES));
    }

    #[test]
    fn what_follows_damage_is_found_and_no_batch_within_a_record() {
        let mut whole = [a_batch(10, 9), a_batch(19, 1), a_batch(20, 3)].concat();
        let second = a_batch(10, 9).len();
        whole[8..12].copy_from_slice(&7_i32.to_be_bytes());
        let find = |bytes: &[u8], anchor| expected(10).find_behind(bytes, bytes.len(), anchor);
        assert_eq!(find(&whole, Some(whole.len())), Some((second, Offset(19))));
        assert_eq!(find(&whole, None), Some((second, Offset(19))));
        // A batch as a record's value: it does not lead to where the next one is known to be.
        let mut builder = BatchBuilder::new(Codec::None);
        let inner = a_batch(15, 2);
        builder.push(&NewRecord { value: Some(&inner), ..NewRecord::default() }).unwrap();
        let mut outer = builder.build().unwrap().to_vec();
        let size = outer.len();
        outer[30] ^= 1;
        outer.extend(a_batch(11, 1));
        assert_eq!(find(&outer, Some(outer.len())), Some((size, Offset(11))));
    }
}
