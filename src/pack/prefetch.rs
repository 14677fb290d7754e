//! Sends for memory before it is read. Changes no value: a hint to the processor, which is all that this file is for.

/// Has the cache line with the octet `at` fetched; does nothing where there is no such octet, and on processors without the hint.
#[inline]
#[allow(unsafe_code)]
pub(super) fn prefetch(octets: &[u8], at: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(octet) = octets.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of every x86_64 and reads nothing that a program could see; the pointer is that of an octet which is borrowed here.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(octet).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (octets, at);
}
