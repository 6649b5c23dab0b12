//! A block-aligned buffer for direct I/O. It owns its memory; nothing is pooled here.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::BLOCK_BYTES;

/// Memory at an address that is a multiple of [`BLOCK_BYTES`], zeroed when made.
/// `len ≤ capacity`; both count bytes, and capacity is a multiple of [`BLOCK_BYTES`].
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    capacity: usize,
    len: usize,
}

#[expect(unsafe_code, reason = "the buffer owns its allocation alone, like Box<[u8]>")]
// SAFETY: the memory is owned by this value and shared with nothing.
unsafe impl Send for AlignedBuffer {}

impl AlignedBuffer {
    fn layout(capacity: usize) -> Layout {
        #[expect(
            clippy::expect_used,
            reason = "only a size above isize::MAX fails, which no caller can hold"
        )]
        Layout::from_size_align(capacity, BLOCK_BYTES).expect("buffer size within isize")
    }

    /// A zeroed buffer of `len` bytes, its capacity rounded up to a whole block (at least one).
    pub fn zeroed(len: usize) -> Self {
        let capacity = len.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        #[expect(unsafe_code, reason = "an allocation with alignment has no safe form")]
        // SAFETY: the layout has a size above zero.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { memory, capacity, len }
    }

    /// Bytes that fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the length within the capacity; bytes that come into view keep what was there.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "length within capacity");
        self.len = len;
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "view of the owned memory")]
        // SAFETY: `capacity` initialised bytes stand at `memory`, and `len` is within them.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr(), self.len)
        }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        #[expect(unsafe_code, reason = "view of the owned memory")]
        // SAFETY: as in `deref`, and `&mut self` makes the view unique.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len)
        }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "gives back what `zeroed` took")]
        // SAFETY: allocated in `zeroed` with this very layout, and dropped once.
        unsafe {
            dealloc(self.memory.as_ptr(), Self::layout(self.capacity));
        }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
