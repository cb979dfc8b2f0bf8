//! Hints about memory: what will be read soon, and what is large. They change how long things take and nothing else.

/// Asks for the cache lines of `value` ahead of their use. Unlike a read this waits for nothing, so that many misses overlap.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_lines(value, 0..size_of::<T>().div_ceil(64));
}

/// [`prefetch`] of some lines only, counted from where the value begins.
#[inline(always)]
pub fn prefetch_lines<T>(value: &T, lines: std::ops::Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for line in lines {
            // SAFETY: prefetching is a hint that never faults; `wrapping_add` makes no claim about the pointer.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64 * line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, lines);
}

/// Asks the kernel to back the storage of a large vector with huge pages, before it is filled: random access to many small pages
/// costs a page walk each time.
pub fn use_huge_pages<T>(storage: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4_096;
        const MADV_HUGEPAGE: i32 = 14;
        unsafe extern "C" {
            fn madvise(address: *mut std::ffi::c_void, length: usize, advice: i32) -> i32;
        }
        let start = storage.as_ptr().addr().next_multiple_of(PAGE);
        let end = (storage.as_ptr().addr() + storage.capacity() * size_of::<T>()) / PAGE * PAGE;
        if start < end {
            // SAFETY: the range lies inside the vector's own allocation, and this advice never changes what memory holds. A kernel
            // without huge pages refuses it, which is no error here.
            let _refused = unsafe { madvise(storage.as_ptr().cast_mut().cast::<u8>().with_addr(start).cast(), end - start, MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = storage;
}

/// Keeps what is freed for `time` before it goes back to the system, unless the environment says otherwise
/// (`MIMALLOC_PURGE_DELAY`). Left to itself the allocator gives buffers back that are wanted again with the next records, and having
/// them zeroed anew was a tenth of all the time that streaming took.
#[cfg(feature = "app")]
pub fn keep_freed_for(time: std::time::Duration) {
    use std::ffi::{c_int, c_long};
    // Without this nothing may refer to the crate that brings the symbol.
    use mimalloc as _;
    /// `mi_option_purge_delay`, and `mi_option_arena_purge_mult`, by which it counts for large areas: another one in each major version.
    const PURGE_DELAY: c_int = 15;
    const ARENA_PURGE_MULT: c_int = 24;
    unsafe extern "C" {
        fn mi_option_set_default(option: c_int, value: c_long);
    }
    let millis = c_long::try_from(time.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: sets two numbers of the allocator's, under names that it knows; wrong ones change a pace and nothing else.
    unsafe {
        mi_option_set_default(PURGE_DELAY, millis);
        mi_option_set_default(ARENA_PURGE_MULT, 1);
    }
}
