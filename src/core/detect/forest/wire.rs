//! A forest as bytes: a header and the words of every tree, little-endian. Must never panic on bytes from outside.

use super::Forest;
use super::layout::{BLOCKS, Block, FEATURES, LEAVES, NO_SPLIT, Tree};
use crate::error::{Error, Result};
use crate::limits::FOREST_TREES_MAX;

const MAGIC: [u8; 4] = *b"TGIF";
const FORMAT: u32 = 1;
const HEADER: usize = 20;
const TREE: usize = BLOCKS * 16 * 4 + LEAVES * 2;

impl Forest {
    /// Magic, format, features, sample, trees; then for each tree its 17 blocks of 16 words and its 256 leaves.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.trees.len() * TREE);
        bytes.extend(MAGIC);
        for word in [FORMAT, FEATURES as u32, self.sample, self.trees.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        for tree in &self.trees {
            bytes.extend(tree.blocks.iter().flat_map(|block| block.0).flat_map(u32::to_le_bytes));
            bytes.extend(tree.leaves.iter().copied().flat_map(u16::to_le_bytes));
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`]. Refuses what is not exactly such a forest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |why: &str| Error::config(format!("forest is not usable: {why}"));
        let Some((header, body)) = bytes.split_at_checked(HEADER) else {
            return Err(bad("shorter than its header"));
        };
        if header[..4] != MAGIC {
            return Err(bad("it does not begin with TGIF"));
        }
        let mut words = words(&header[4..]);
        let mut next = || words.next().unwrap_or(0);
        let (format, features, sample, count) = (next(), next(), next(), next() as usize);
        if format != FORMAT {
            return Err(bad(&format!("format {format}, this version reads {FORMAT}; train it again or use the version that wrote it")));
        }
        if features as usize != FEATURES {
            return Err(bad(&format!("{features} features instead of {FEATURES}")));
        }
        if count > FOREST_TREES_MAX || body.len() != count * TREE {
            return Err(bad(&format!("{count} trees do not fit {} bytes", body.len())));
        }
        let trees = body.chunks_exact(TREE).map(tree).collect::<Option<Vec<_>>>().ok_or_else(|| bad("a threshold is not a number"))?;
        Self::from_trees(trees, sample).ok_or_else(|| bad(&format!("{count} trees of {sample} rows")))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four))
}

/// Every word is a valid node by construction (its feature is four bits); only NaN, which no training writes, is refused.
fn tree(bytes: &[u8]) -> Option<Tree> {
    let (nodes, leaves) = bytes.split_at(BLOCKS * 16 * 4);
    let mut tree = Tree::leaf(0);
    for (slot, word) in tree.blocks.iter_mut().flat_map(|Block(slots)| slots).zip(words(nodes)) {
        *slot = word;
    }
    for (leaf, two) in tree.leaves.iter_mut().zip(leaves.as_chunks::<2>().0) {
        *leaf = u16::from_le_bytes(*two);
    }
    let sound = tree.blocks.iter().all(|block| block.0.iter().all(|word| !f32::from_bits(*word).is_nan()) && block.0[15] == NO_SPLIT);
    sound.then_some(tree)
}
