//! A block-aligned buffer for direct I/O. It owns its memory; nothing is pooled here.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::BLOCK_BYTES;

/// Memory at an address that is a multiple of [`BLOCK_BYTES`].
/// `len ≤ initialised ≤ capacity`; all count bytes, and capacity is a multiple of [`BLOCK_BYTES`].
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    capacity: usize,
    /// Bytes from the start that have a value.
    initialised: usize,
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
        Self { memory, capacity, initialised: capacity, len }
    }

    /// An empty buffer for a read of up to `capacity` bytes: zeroing what the kernel fills would cost as much as
    /// copying it.
    pub(super) fn for_reading(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        #[expect(unsafe_code, reason = "an allocation with alignment has no safe form")]
        // SAFETY: the layout has a size above zero.
        let raw = unsafe { alloc(layout) };
        let Some(memory) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { memory, capacity, initialised: 0, len: 0 }
    }

    /// Where a read may put bytes: from `start` to the capacity.
    pub(super) fn room_from(&mut self, start: usize) -> Option<(*mut u8, usize)> {
        let size = self.capacity.checked_sub(start)?;
        #[expect(unsafe_code, reason = "an address within the allocation")]
        // SAFETY: `start` is at most the capacity.
        Some((unsafe { self.memory.as_ptr().add(start) }, size))
    }

    /// Takes into view what a read has put there.
    ///
    /// # Safety
    /// The first `count` bytes have been written.
    #[expect(unsafe_code, reason = "the kernel wrote them, which no type says")]
    pub(super) unsafe fn filled(&mut self, count: usize) {
        assert!(count <= self.capacity, "filled within capacity");
        self.initialised = self.initialised.max(count);
        self.len = count;
    }

    /// Bytes that fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the length within what has a value; bytes that come into view keep what was there.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.initialised, "length within what has a value");
        self.len = len;
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "view of the owned memory")]
        // SAFETY: `initialised` bytes stand at `memory`, and `len` is within them.
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
        #[expect(unsafe_code, reason = "gives back what was allocated")]
        // SAFETY: allocated with this very layout, and dropped once.
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
