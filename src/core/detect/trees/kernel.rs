//! Walking the trees, without vector instructions by hand: the definition of what every other kernel must give.
//!
//! Sums of leaves are integers, so the order of trees and rows never shows. Must never panic on any row.

use super::layout::{FlatNode, Input, Layout, Level, Shape, Span};
use crate::native::{Kernel, trees_symmetric_sums};

/// Rows that go through the trees together.
pub const LANES: usize = 16;
/// One value of each of the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

/// Adds the leaves of symmetric trees to `sums`. `block` holds one entry for each input.
pub fn symmetric_sums_portable(spans: &[Span], levels: &[Level], leaves: &[i32], block: &[Lanes], sums: &mut [i32; LANES]) {
    for span in spans {
        let mut index = [0_u32; LANES];
        for (bit, level) in levels[span.level as usize..][..span.depth as usize].iter().enumerate() {
            let values = &block[level.input as usize].0;
            for (index, value) in index.iter_mut().zip(values) {
                *index |= u32::from(*value >= level.threshold) << bit;
            }
        }
        let leaves = &leaves[span.start as usize..][..span.len as usize];
        for (sum, index) in sums.iter_mut().zip(&index) {
            *sum = sum.wrapping_add(leaves[*index as usize]);
        }
    }
}

/// Rows that walk an ordinary tree side by side, so that one waits for memory while another goes on.
const SIDE: usize = 8;

/// Adds the leaves of ordinary trees to `sums`. `seen` holds `stride` values a row: its inputs and at least one NaN behind them.
fn ordinary_sums(spans: &[Span], nodes: &[FlatNode], seen: &[f32], stride: usize, sums: &mut [i32]) {
    for span in spans {
        let tree = &nodes[span.start as usize..][..span.len as usize];
        for (rows, sums) in seen.chunks(SIDE * stride).zip(sums.chunks_mut(SIDE)) {
            if let (Ok(sums), true) = (<&mut [i32; SIDE]>::try_from(&mut *sums), rows.len() == SIDE * stride) {
                add_walks(tree, span.depth, rows, stride, sums);
            } else {
                for (row, sum) in rows.chunks_exact(stride).zip(sums) {
                    add_walks(tree, span.depth, row, stride, std::array::from_mut(sum));
                }
            }
        }
    }
}

#[inline]
fn add_walks<const N: usize>(tree: &[FlatNode], depth: u32, rows: &[f32], stride: usize, sums: &mut [i32; N]) {
    let rows: [&[f32]; N] = std::array::from_fn(|row| &rows[row * stride..][..stride]);
    let mut at = [0_usize; N];
    for _ in 0..depth {
        for (at, row) in at.iter_mut().zip(&rows) {
            let node = tree[*at];
            *at = usize::from(node.left) + usize::from(row[usize::from(node.input)] >= f32::from_bits(node.word));
        }
    }
    for (sum, at) in sums.iter_mut().zip(&at) {
        *sum = sum.wrapping_add(tree[*at].word.cast_signed());
    }
}

/// Rows of one block of ordinary trees: their inputs stay in the first-level cache beside a tree.
const ROWS: usize = 32;

/// The sums of rows that lie one behind the other, `width` values each, given to `emit` block by block.
pub fn sums(kernel: Kernel, layout: &Layout, width: usize, rows: &[f32], mut emit: impl FnMut(&[i32])) {
    let Layout { inputs, spans, shape, .. } = layout;
    match shape {
        Shape::Ordinary { nodes } => {
            let stride = inputs.len() + 1;
            let mut seen = vec![f32::NAN; ROWS * stride];
            for rows in rows.chunks(ROWS * width) {
                for (row, seen) in rows.chunks_exact(width).zip(seen.chunks_exact_mut(stride)) {
                    for (seen, input) in seen.iter_mut().zip(inputs) {
                        *seen = input.seen(row[input.feature()]);
                    }
                }
                let (mut sums, count) = ([0; ROWS], rows.len() / width);
                ordinary_sums(spans, nodes, &seen[..count * stride], stride, &mut sums[..count]);
                emit(&sums[..count]);
            }
        }
        Shape::Symmetric { levels, leaves } => {
            let mut block = vec![Lanes([0.0; LANES]); inputs.len()];
            for rows in rows.chunks(LANES * width) {
                fill_block(inputs, width, rows, &mut block);
                let mut sums = [0; LANES];
                trees_symmetric_sums(kernel, spans, levels, leaves, &block, &mut sums);
                emit(&sums[..rows.len() / width]);
            }
        }
    }
}

/// Turns up to sixteen rows into one entry for each input; lanes without a row keep what they had.
fn fill_block(inputs: &[Input], width: usize, rows: &[f32], block: &mut [Lanes]) {
    for (lanes, input) in block.iter_mut().zip(inputs) {
        let column = rows.iter().skip(input.feature()).step_by(width);
        for (lane, value) in lanes.0.iter_mut().zip(column) {
            *lane = input.seen(*value);
        }
    }
}
