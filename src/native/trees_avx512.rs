//! Symmetric trees on AVX-512: sixteen rows are one register, the 64 leaves of six levels are four.
//!
//! Must never give another sum than the portable `symmetric_sums`, nor be called on a machine without AVX-512F.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GE_OQ, _mm512_add_epi32, _mm512_cmp_ps_mask, _mm512_i32gather_epi32, _mm512_load_ps, _mm512_loadu_si512,
    _mm512_mask_blend_epi32, _mm512_mask_or_epi32, _mm512_permutex2var_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_test_epi32_mask,
};

use crate::core::detect::trees::kernel::{LANES, Lanes};
use crate::core::detect::trees::layout::{Level, Span};

#[target_feature(enable = "avx512f")]
pub(super) fn symmetric_sums(spans: &[Span], levels: &[Level], leaves: &[i32], block: &[Lanes], sums: &mut [i32; LANES]) {
    let mut total = load_leaves(sums);
    for span in spans {
        let levels = &levels[span.level as usize..][..span.depth as usize];
        let leaves = &leaves[span.start as usize..][..1 << span.depth];
        let reached = match (levels.as_array::<6>(), leaves.as_array::<64>()) {
            (Some(levels), Some(leaves)) => permuted(leaves, index_of(levels, block)),
            _ => gathered(leaves, index_of(levels, block)),
        };
        total = _mm512_add_epi32(total, reached);
    }
    // SAFETY: `sums` is sixteen integers.
    unsafe { _mm512_storeu_si512(std::ptr::from_mut(sums).cast(), total) };
}

/// The leaf of each row: one bit a level.
#[target_feature(enable = "avx512f")]
#[inline]
fn index_of(levels: &[Level], block: &[Lanes]) -> __m512i {
    let mut index = _mm512_setzero_si512();
    for (bit, level) in levels.iter().enumerate() {
        let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(load_lanes(&block[level.input as usize]), _mm512_set1_ps(level.threshold));
        index = _mm512_mask_or_epi32(index, right, index, _mm512_set1_epi32(1 << bit));
    }
    index
}

/// Leaves by indices below 64, without touching memory once a lane.
#[target_feature(enable = "avx512f")]
#[inline]
fn permuted(leaves: &[i32; 64], index: __m512i) -> __m512i {
    let part = |at: usize| leaves[16 * at..].first_chunk().expect("64 leaves are four times 16");
    let low = _mm512_permutex2var_epi32(load_leaves(part(0)), index, load_leaves(part(1)));
    let high = _mm512_permutex2var_epi32(load_leaves(part(2)), index, load_leaves(part(3)));
    _mm512_mask_blend_epi32(_mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), low, high)
}

/// Leaves of trees of any other depth.
#[target_feature(enable = "avx512f")]
#[inline]
fn gathered(leaves: &[i32], index: __m512i) -> __m512i {
    // SAFETY: an index has one bit for each level, and there are `1 << levels` leaves: the caller has just cut them so.
    unsafe { _mm512_i32gather_epi32::<4>(index, leaves.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_lanes(lanes: &Lanes) -> __m512 {
    // SAFETY: `Lanes` are 64 bytes, aligned to 64.
    unsafe { _mm512_load_ps(std::ptr::from_ref(lanes).cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_leaves(leaves: &[i32; 16]) -> __m512i {
    // SAFETY: sixteen integers are 64 bytes.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(leaves).cast()) }
}
