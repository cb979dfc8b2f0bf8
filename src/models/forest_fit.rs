//! Growing an isolation forest from rows. Must never look at a label, and gives the same trees for the same rows and seed.
//!
//! Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008: each tree from its own sample without replacement, a uniform cut of a
//! random feature that still varies, depth limited to `ceil(log2 sample)`, `c(size)` added where the limit stops a branch.

use super::random::Random;
use crate::core::detect::forest::layout::{DEPTH_MAX, FEATURES, PATH_ONE, Row, Tree, node};
use crate::core::detect::forest::{Forest, average_path};
use crate::error::{Error, Result};
use crate::limits::FOREST_TREES_MAX;

/// How a forest is grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ForestParams {
    pub trees: u32,
    /// Rows a tree is grown from, at most 256; all rows where there are fewer.
    pub sample: u32,
}

impl Default for ForestParams {
    fn default() -> Self {
        Self { trees: 100, sample: 256 }
    }
}

/// A tree as it grows: what the flat layout is made from, and what it is tested against.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Path length in units of `1 / PATH_ONE`.
    Leaf(u16),
    /// Rows with `row[word & 15] >= f32::from_bits(word)` go right.
    Split { word: u32, left: Box<Node>, right: Box<Node> },
}

impl Forest {
    /// Grows a forest. NaN counts as 0, infinities as the largest finite values.
    ///
    /// An error for fewer than two rows, no trees or too many, or a sample outside `2..=256`.
    pub fn fit(rows: &[[f32; FEATURES]], params: ForestParams, seed: u64) -> Result<Self> {
        if !(1..=FOREST_TREES_MAX as u32).contains(&params.trees) || !(2..=1 << DEPTH_MAX).contains(&params.sample) {
            return Err(Error::config(format!("a forest needs 1 to {FOREST_TREES_MAX} trees of 2 to {} rows", 1 << DEPTH_MAX)));
        }
        if rows.len() < 2 {
            return Err(Error::config(format!("a forest cannot grow from {} rows; give it at least 2, better 10,000", rows.len())));
        }
        let sample = params.sample.min(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let trees = grow(rows, params.trees, sample, seed).iter().map(flatten).collect();
        Self::from_trees(trees, sample).ok_or_else(|| Error::bug("a forest with checked parameters was refused"))
    }
}

/// The trees before they are flattened. `sample` is at most the number of rows.
pub(super) fn grow(rows: &[[f32; FEATURES]], trees: u32, sample: u32, seed: u64) -> Vec<Node> {
    let mut random = Random::new(seed);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    let depth_max = sample.next_power_of_two().trailing_zeros();
    let mut chosen = Vec::with_capacity(sample as usize);
    (0..trees)
        .map(|_| {
            // The first steps of a Fisher-Yates shuffle draw without replacement whatever order the last tree left behind.
            chosen.clear();
            for i in 0..sample as usize {
                let other = i + random.below((order.len() - i) as u64) as usize;
                order.swap(i, other);
                chosen.push(Row::of(&rows[order[i] as usize]));
            }
            branch(&mut chosen, 0, depth_max, &mut random)
        })
        .collect()
}

fn branch(rows: &mut [Row], depth: u32, depth_max: u32, random: &mut Random) -> Node {
    if depth < depth_max
        && rows.len() > 1
        && let Some(word) = cut(rows, random)
    {
        let middle = partition(rows, word);
        let (left, right) = rows.split_at_mut(middle);
        let left = Box::new(branch(left, depth + 1, depth_max, random));
        let right = Box::new(branch(right, depth + 1, depth_max, random));
        return Node::Split { word, left, right };
    }
    let path = f64::from(depth) + average_path(rows.len() as u32);
    Node::Leaf(libm::round(path * PATH_ONE) as u16)
}

/// A random cut that separates the rows, or `None` where they are all alike.
fn cut(rows: &[Row], random: &mut Random) -> Option<u32> {
    let (mut low, mut high) = (rows[0].0, rows[0].0);
    for row in rows {
        for feature in 0..FEATURES {
            low[feature] = low[feature].min(row.0[feature]);
            high[feature] = high[feature].max(row.0[feature]);
        }
    }
    let mut varying = [0; FEATURES];
    let mut count = 0;
    for feature in (0..FEATURES).filter(|f| low[*f] < high[*f]) {
        varying[count] = feature;
        count += 1;
    }
    while count > 0 {
        let pick = random.below(count as u64) as usize;
        let feature = varying[pick];
        let (low, high) = (f64::from(low[feature]), f64::from(high[feature]));
        if let Some(word) = separating(low as f32, high as f32, (low + random.unit() * (high - low)) as f32, feature) {
            return Some(word);
        }
        // The values differ by less than a node can tell apart.
        count -= 1;
        varying.swap(pick, count);
    }
    None
}

/// The node nearest to `threshold` that has `low` on its left and `high` on its right, if its precision allows one.
fn separating(low: f32, high: f32, threshold: f32, feature: usize) -> Option<u32> {
    let word = node(threshold, feature);
    [word, word.wrapping_add(16), word.wrapping_sub(16)].into_iter().find(|word| {
        let threshold = f32::from_bits(*word);
        low < threshold && threshold <= high
    })
}

/// Moves rows that go left to the front and says how many.
fn partition(rows: &mut [Row], word: u32) -> usize {
    let mut left = 0;
    for i in 0..rows.len() {
        if rows[i].0[(word & 15) as usize] < f32::from_bits(word) {
            rows.swap(left, i);
            left += 1;
        }
    }
    left
}

fn flatten(root: &Node) -> Tree {
    let mut tree = Tree::leaf(0);
    place(root, 0, 0, &mut tree);
    tree
}

/// Writes `node` and what is below it. `position` counts the nodes of its level from the left.
fn place(node: &Node, level: u32, position: usize, tree: &mut Tree) {
    match node {
        Node::Leaf(path) => {
            let width = 1 << (DEPTH_MAX - level);
            tree.leaves[position * width..(position + 1) * width].fill(*path);
        }
        Node::Split { word, left, right } => {
            let within = level % 4;
            let block = if level < 4 { 0 } else { 1 + (position >> within) };
            let slot = (1 << within) - 1 + (position & ((1 << within) - 1));
            tree.blocks[block].0[slot] = *word;
            place(left, level + 1, 2 * position, tree);
            place(right, level + 1, 2 * position + 1, tree);
        }
    }
}

#[cfg(test)]
mod tests;
