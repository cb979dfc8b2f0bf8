//! Isolation forest on AVX2: a block of 15 nodes is two registers, each feature is selected from the row's two halves.
//!
//! Must never give another sum than `path_sums_portable`, nor be called on a machine without AVX2 and BMI2.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GE_OQ, _mm256_blendv_ps, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_load_ps, _mm256_load_si256,
    _mm256_movemask_ps, _mm256_permutevar8x32_ps, _mm256_slli_epi32,
};

use crate::core::detect::forest::layout::{Block, LEAF_OF_MASK, Row, Tree};

/// Rows that share one pass over the trees.
const ROWS: usize = 8;

#[target_feature(enable = "avx2,bmi2")]
pub(super) fn path_sums(trees: &[Tree], rows: &[Row], sums: &mut [u32]) {
    for (rows, sums) in rows.chunks(ROWS).zip(sums.chunks_mut(ROWS)) {
        sums.fill(0);
        for tree in trees {
            for (row, sum) in rows.iter().zip(sums.iter_mut()) {
                let row = load_row(row);
                let upper = descend(&tree.blocks[0], row);
                let lower = descend(&tree.blocks[1 + upper], row);
                *sum += u32::from(tree.leaves[upper * 16 + lower]);
            }
        }
    }
}

/// The leaf, `0..16`, at which `row` leaves a block.
#[target_feature(enable = "avx2,bmi2")]
#[inline]
fn descend(block: &Block, row: (__m256, __m256)) -> usize {
    let (first, second) = load_block(block);
    let right = goes_right(first, row) | goes_right(second, row) << 8;
    usize::from(LEAF_OF_MASK[right & 0x7fff] & 15)
}

#[target_feature(enable = "avx2,bmi2")]
#[inline]
fn goes_right(nodes: __m256i, (low, high): (__m256, __m256)) -> usize {
    // The permutation reads the low three bits of a node; its fourth bit, moved to the sign, says which half of the row is meant.
    let in_high = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(nodes));
    let values = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, nodes), _mm256_permutevar8x32_ps(high, nodes), in_high);
    let right = _mm256_cmp_ps::<_CMP_GE_OQ>(values, _mm256_castsi256_ps(nodes));
    _mm256_movemask_ps(right) as usize
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_block(block: &Block) -> (__m256i, __m256i) {
    let start: *const __m256i = std::ptr::from_ref(block).cast();
    // SAFETY: a `Block` is 64 bytes, aligned to 64: two halves of 32.
    unsafe { (_mm256_load_si256(start), _mm256_load_si256(start.add(1))) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_row(row: &Row) -> (__m256, __m256) {
    let start: *const f32 = std::ptr::from_ref(row).cast();
    // SAFETY: a `Row` is 64 bytes, aligned to 64: two halves of 8 values.
    unsafe { (_mm256_load_ps(start), _mm256_load_ps(start.add(8))) }
}
