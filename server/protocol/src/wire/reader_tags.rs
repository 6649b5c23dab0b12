//! Tagged fields (KIP-482): a count, then for each its tag, its size and that many bytes, at the end of a
//! struct of a flexible version.

use super::{DecodeError, DecodeProblem, Element, Reader};

/// The end of the surrounding value while a tagged field is read. The reader is confined to the field until
/// [`Reader::end_tag`] gives the end back.
#[derive(Debug)]
#[must_use = "the reader stays confined to the tagged field until this is given back"]
pub struct TagFrame {
    outer_end: usize,
}

impl Reader {
    /// How many tagged fields follow. Each takes two bytes at least.
    pub fn tag_count(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let count = self.uvarint(field)?;
        let remaining = self.remaining();
        let count_bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(2);
        if count_bytes > remaining {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            return Err(DecodeError { field, problem: DecodeProblem::Count { count, remaining } });
        }
        Ok(count)
    }

    /// Reads the tag and the size of a tagged field and confines the reader to its content.
    pub fn begin_tag(&mut self, field: &'static str) -> Result<(u32, TagFrame), DecodeError> {
        let tag = self.uvarint(field)?;
        let size = usize::try_from(self.uvarint(field)?).unwrap_or(usize::MAX);
        let remaining = self.remaining();
        if size > remaining {
            let problem = DecodeProblem::Truncated { needed: size, remaining };
            return Err(DecodeError { field, problem });
        }
        let outer_end = self.end;
        self.end = outer_end.saturating_sub(remaining.saturating_sub(size));
        Ok((tag, TagFrame { outer_end }))
    }

    /// Steps over the content of a tagged field nobody here knows.
    pub fn skip_tag(&mut self, field: &'static str) -> Result<(), DecodeError> {
        self.skip(self.remaining(), field)
    }

    /// Leaves a tagged field, which must have been read to its end.
    #[expect(clippy::needless_pass_by_value, reason = "a frame is taken, so that it ends once")]
    pub fn end_tag(&mut self, frame: TagFrame, field: &'static str) -> Result<(), DecodeError> {
        let left = self.remaining();
        self.end = frame.outer_end;
        if left == 0 { Ok(()) } else { Err(DecodeError { field, problem: DecodeProblem::TagSize { left } }) }
    }

    /// Steps over all tagged fields of a struct that has none of its own.
    pub fn skip_tags(&mut self, field: &'static str) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count(field)? {
            self.uvarint(field)?;
            let size = usize::try_from(self.uvarint(field)?).unwrap_or(usize::MAX);
            self.skip(size, field)?;
        }
        Ok(())
    }

    /// A nullable struct as the content of a tagged field: a varint says whether it is there.
    pub fn nullable_tagged_struct<T: Element>(
        &mut self,
        field: &'static str,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if self.uvarint(field)? == 0 { Ok(None) } else { T::read(self, version).map(Some) }
    }
}
