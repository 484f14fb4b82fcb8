//! Memory. A check asks for a few small pieces and gives them back, so those that are given back are kept, by size, in front
//! of the allocator that Rust's own standard library has for WebAssembly.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;

/// Pieces are made as large as the next multiple of this.
const STEP: usize = 16;
/// So many sizes are kept, up to 64 bytes.
const SIZES: usize = 4;

struct Memory {
    /// The first of the kept pieces of each size; each piece begins with where the next one is.
    kept: [Cell<*mut u8>; SIZES],
    rest: dlmalloc::GlobalDlmalloc,
}

#[global_allocator]
static MEMORY: Memory =
    Memory { kept: [const { Cell::new(ptr::null_mut()) }; SIZES], rest: dlmalloc::GlobalDlmalloc };

#[allow(unsafe_code, reason = "there is one thread")]
unsafe impl Sync for Memory {}

#[inline]
fn kept_as(layout: Layout) -> Option<usize> {
    let size = layout.size().wrapping_sub(1) / STEP;
    (size < SIZES && layout.align() <= STEP).then_some(size)
}

#[allow(
    unsafe_code,
    reason = "an allocator: pieces of a size are as large, and as aligned, as any that is asked for there"
)]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = kept_as(layout) else { return unsafe { self.rest.alloc(layout) } };
        let first = self.kept[size].get();
        if first.is_null() {
            return unsafe { self.rest.alloc(Layout::from_size_align_unchecked((size + 1) * STEP, STEP)) };
        }
        self.kept[size].set(unsafe { first.cast::<*mut u8>().read() });
        first
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let Some(size) = kept_as(layout) else { return unsafe { self.rest.dealloc(piece, layout) } };
        unsafe { piece.cast::<*mut u8>().write(self.kept[size].get()) };
        self.kept[size].set(piece);
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let asked = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if kept_as(layout).is_none() && kept_as(asked).is_none() {
            return unsafe { self.rest.realloc(piece, layout, bytes) };
        }
        unsafe {
            let other = self.alloc(asked);
            if !other.is_null() {
                ptr::copy_nonoverlapping(piece, other, layout.size().min(bytes));
                self.dealloc(piece, layout);
            }
            other
        }
    }
}
