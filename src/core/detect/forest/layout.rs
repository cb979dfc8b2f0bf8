//! The forest as it is walked: blocks of 15 nodes that fill one cache line and one vector register.
//!
//! Trees have depth 8, no more: one block decides the upper four levels, one of 16 further blocks the lower four. A node is one
//! 32-bit word: a threshold whose four lowest mantissa bits are also the number of the feature it looks at. Training splits by
//! the threshold with those bits in it, so nothing is rounded at inference. Must never hold an index that can leave its array.

/// Features of a row: one vector register.
pub const FEATURES: usize = crate::core::features::row::MODEL_WIDTH;
const _: () = assert!(FEATURES == 16, "a feature is four bits of a node");
/// Depth of a tree, and so `log2` of the largest sample a tree is grown from.
pub const DEPTH_MAX: u32 = 8;
/// Blocks of a tree: the upper one and one for each of its 16 exits.
pub const BLOCKS: usize = 17;
/// Leaves of a full tree; a leaf higher up is repeated.
pub const LEAVES: usize = 256;
/// Leaf values are path lengths in units of 1/2048, so that their sum is exact in any order.
pub const PATH_ONE: f64 = 2048.0;

/// 15 nodes in heap order (children of `i` are `2i + 1` and `2i + 2`); the 16th word is [`NO_SPLIT`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [u32; 16]);

/// One tree: `leaves[16 * exit of the upper block + exit of the lower block]` is the path length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Tree {
    pub blocks: [Block; BLOCKS],
    pub leaves: [u16; LEAVES],
}

/// A row without NaN or infinities, aligned for one load.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Row(pub [f32; FEATURES]);

/// Infinity: no finite value goes right.
pub const NO_SPLIT: u32 = 0x7f80_0000;

/// Which of a block's 16 exits a row takes, by the mask of nodes at which it would go right.
pub static LEAF_OF_MASK: [u8; 1 << 15] = leaf_of_mask();

impl Row {
    /// Takes infinities as the largest finite values and NaN as 0.
    #[inline]
    #[must_use]
    pub fn of(values: &[f32; FEATURES]) -> Self {
        Self(values.map(|v| if v.is_nan() { 0.0 } else { v.clamp(f32::MIN, f32::MAX) }))
    }
}

impl Tree {
    /// A tree of one leaf.
    #[must_use]
    pub fn leaf(path: u16) -> Self {
        Self { blocks: [const { Block([NO_SPLIT; 16]) }; BLOCKS], leaves: [path; LEAVES] }
    }
}

/// The word of a node that sends values `>= threshold` right.
///
/// The threshold that results differs from `threshold` by less than 16 units in its last place.
#[must_use]
pub fn node(threshold: f32, feature: usize) -> u32 {
    debug_assert!(feature < FEATURES);
    threshold.to_bits() & !15 | feature as u32
}

/// The sums without vector instructions, and the definition of what every other kernel must give.
pub fn path_sums_portable(trees: &[Tree], rows: &[Row], sums: &mut [u32]) {
    for (row, sum) in rows.iter().zip(sums) {
        *sum = trees.iter().map(|tree| u32::from(path_of(tree, row))).sum();
    }
}

#[inline]
fn path_of(tree: &Tree, row: &Row) -> u16 {
    let upper = exit_of(&tree.blocks[0], row);
    let lower = exit_of(&tree.blocks[1 + upper], row);
    tree.leaves[upper * 16 + lower]
}

/// Four steps without a branch that depends on the row.
#[inline]
fn exit_of(block: &Block, row: &Row) -> usize {
    let mut at = 0;
    for _ in 0..4 {
        let word = block.0[at & 15];
        let right = row.0[(word & 15) as usize] >= f32::from_bits(word);
        at = 2 * at + 1 + usize::from(right);
    }
    (at - 15) & 15
}

const fn leaf_of_mask() -> [u8; 1 << 15] {
    let mut table = [0; 1 << 15];
    let mut mask = 0;
    while mask < table.len() {
        let mut at = 0;
        let mut level = 0;
        while level < 4 {
            at = 2 * at + 1 + (mask >> at & 1);
            level += 1;
        }
        table[mask] = (at - 15) as u8;
        mask += 1;
    }
    table
}
