//! Isolation forest on AVX-512: one block of 15 nodes is one register, one compare decides four levels.
//!
//! Must never give another sum than `path_sums_portable`, nor be called on a machine without AVX-512F and BMI2.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GE_OQ, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_load_ps, _mm512_load_si512, _mm512_permutexvar_ps,
};

use crate::core::detect::forest::layout::{Block, LEAF_OF_MASK, Row, Tree};

/// Rows that share one pass over the trees, so that a tree is read from the second-level cache once for all of them.
const ROWS: usize = 8;

#[target_feature(enable = "avx512f,bmi2")]
pub(super) fn path_sums(trees: &[Tree], rows: &[Row], sums: &mut [u32]) {
    let (groups, rest) = rows.as_chunks::<ROWS>();
    let (group_sums, rest_sums) = sums.as_chunks_mut::<ROWS>();
    for (group, sums) in groups.iter().zip(group_sums) {
        *sums = sums_of(trees, group);
    }
    for (row, sum) in rest.iter().zip(rest_sums) {
        let [only] = sums_of(trees, std::array::from_ref(row));
        *sum = only;
    }
}

#[target_feature(enable = "avx512f,bmi2")]
#[inline]
fn sums_of<const N: usize>(trees: &[Tree], rows: &[Row; N]) -> [u32; N] {
    let mut sums = [0; N];
    for tree in trees {
        let top = load_block(&tree.blocks[0]);
        for (row, sum) in rows.iter().zip(&mut sums) {
            let row = load_row(row);
            let upper = descend(top, row);
            let lower = descend(load_block(&tree.blocks[1 + upper]), row);
            *sum += u32::from(tree.leaves[upper * 16 + lower]);
        }
    }
    sums
}

/// The leaf, `0..16`, at which `row` leaves a block.
///
/// The permutation reads the low four bits of each node, which are its feature, and nothing else of it.
#[target_feature(enable = "avx512f,bmi2")]
#[inline]
fn descend(block: __m512i, row: __m512) -> usize {
    let values = _mm512_permutexvar_ps(block, row);
    let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(values, _mm512_castsi512_ps(block));
    usize::from(LEAF_OF_MASK[usize::from(right & 0x7fff)] & 15)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: a `Block` is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(block).cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_row(row: &Row) -> __m512 {
    // SAFETY: a `Row` is 64 bytes, aligned to 64.
    unsafe { _mm512_load_ps(std::ptr::from_ref(row).cast()) }
}
