//! A segment's blocks, allocated ahead of what is written: a write into them cannot lack space. The file's length
//! does not show them; sealing gives back what was not used.

use std::io::ErrorKind;

use super::segment::{BLOCK, Segment};
use crate::io::{Io, IoError, IoFile};
use crate::space::{Room, is_no_space};

/// The first step; a step is as much as there is already, so a small log takes little.
const STEP_BYTES_MIN: u64 = 64 << 10;
/// The largest step: some ten milliseconds of a fast device, and few extents.
const STEP_BYTES_MAX: u64 = 16 << 20;

impl<I: Io> Segment<I> {
    /// Whether the next step is due. `size_max` is where the segment will be rolled.
    pub(crate) fn wants_blocks(&self, size_max: u64) -> bool {
        self.allocated.get() < self.allocation_end(size_max, 2)
    }

    /// Where blocks should be there: a step, or a part of one, beyond what the segment has.
    fn allocation_end(&self, size_max: u64, part: u64) -> u64 {
        let size = self.size.get();
        let step = size.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX) / part;
        (size + step).min(size_max.max(size)).next_multiple_of(BLOCK)
    }

    /// Allocates the next step; makes the file if there is none. On a full device only what is pending.
    pub(crate) async fn allocate_ahead(&self, size_max: u64) -> Result<Room, IoError> {
        match self.allocate_to(self.allocation_end(size_max, 1)).await {
            Ok(()) => Ok(Room::Ample),
            Err(error) if is_no_space(&error) => {
                match self.allocate_to(self.size.get().next_multiple_of(BLOCK)).await {
                    Err(error) if !is_no_space(&error) => Err(error),
                    _ => Ok(Room::Short),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The error of whoever cannot wait for room.
    pub(crate) fn no_space(&self) -> IoError {
        IoError { operation: "allocate", path: self.path(".log"), source: ErrorKind::StorageFull.into() }
    }

    async fn allocate_to(&self, end: u64) -> Result<(), IoError> {
        let allocated = self.allocated.get();
        if allocated >= end {
            return Ok(());
        }
        let allocation = self.file().await?.allocate(allocated, end - allocated).await;
        match allocation {
            Ok(()) => {}
            // A file system without allocation: what it lacks shows when it is written.
            Err(error) if error.source.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
        self.allocated.set(end.max(self.allocated.get()));
        Ok(())
    }
}
