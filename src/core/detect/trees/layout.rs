//! Trees as they are walked: flat, checked once, leaves as integers. Must never hold an index that can leave its array.
//!
//! A node looks at an input, not at a column: an input is a column with the side that its missing values take. Where that is the
//! right side they become infinity, which is at or above every threshold; else they stay NaN, which never is. One more input is
//! always NaN: a leaf looks at it and is its own left child, so that a walk needs no test for leaves.

use super::sketch::{Condition, Node, Sketch, SymmetricTree};
use crate::limits::{TREES_DEPTH_MAX, TREES_FEATURES_MAX, TREES_MAX, TREES_NODES_MAX, TREES_SYMMETRIC_DEPTH_MAX};

/// A column, with the side that its missing values take in the highest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input(u16);

const MISSING_RIGHT: u16 = 1 << 15;
const _: () = assert!(TREES_FEATURES_MAX < MISSING_RIGHT as usize, "two inputs a column and the leaves' own must be told apart in 16 bits");

/// A node: eight bytes, its right child beside its left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlatNode {
    /// Bits of the threshold, or of the leaf's integer.
    pub word: u32,
    /// Index into the inputs; one past them for a leaf.
    pub input: u16,
    /// The left child, counted from the tree's root; the node itself for a leaf.
    pub left: u16,
}

/// One level of a symmetric tree.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Level {
    pub threshold: f32,
    pub input: u32,
}

/// Where a tree lies in the arrays that all trees share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First node, or first leaf.
    pub start: u32,
    /// Nodes; of a symmetric tree leaves.
    pub len: u32,
    /// First level of a symmetric tree; 0 for others.
    pub level: u32,
    /// Steps to the deepest leaf.
    pub depth: u32,
}

/// The trees of a model, one shape for all.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Ordinary { nodes: Vec<FlatNode> },
    Symmetric { levels: Vec<Level>, leaves: Vec<i32> },
}

/// What [`super::Trees`] scores with.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub inputs: Vec<Input>,
    pub spans: Vec<Span>,
    pub shape: Shape,
    /// One for each node, or for each leaf of a symmetric tree.
    pub covers: Vec<f32>,
    /// A leaf's integer is its value times two to this power.
    pub exponent: i32,
}

impl Input {
    fn of(condition: &Condition) -> Self {
        Self(condition.feature as u16 | if condition.missing_right { MISSING_RIGHT } else { 0 })
    }
    #[must_use]
    pub fn feature(self) -> usize {
        usize::from(self.0 & !MISSING_RIGHT)
    }
    #[must_use]
    pub fn missing_right(self) -> bool {
        self.0 & MISSING_RIGHT != 0
    }
    /// What a node sees of a value.
    #[inline]
    #[must_use]
    pub fn seen(self, value: f32) -> f32 {
        if value.is_nan() && self.missing_right() { f32::INFINITY } else { value }
    }
}

/// Sums of leaves stay below this, so that they are exact in any order.
const SUM_MAX: f64 = (1_u32 << 30) as f64;

/// The largest exponent at which the leaves of all trees can be added up in 32 bits.
fn exponent_for(peaks: &[f64]) -> i32 {
    let total: f64 = peaks.iter().sum();
    if total <= 0.0 {
        return 0;
    }
    let (_, power) = libm::frexp(total);
    (30 - power).clamp(-1_000, 1_000)
}

impl Layout {
    /// Checks and lays out. `exponent` is chosen where none is given. The error says what is wrong with the trees.
    pub fn of(width: usize, sketch: &Sketch, exponent: Option<i32>) -> Result<Self, String> {
        if !(1..=TREES_FEATURES_MAX).contains(&width) {
            return Err(format!("{width} columns; 1 to {TREES_FEATURES_MAX} are possible"));
        }
        if sketch.len() > TREES_MAX {
            return Err(format!("{} trees; {TREES_MAX} are possible", sketch.len()));
        }
        let peaks = sketch.peaks();
        let exponent = exponent.unwrap_or_else(|| exponent_for(&peaks)).clamp(-1_000, 1_000);
        let most: f64 = peaks.iter().map(|peak| libm::ldexp(*peak, exponent) + 1.0).sum();
        if !most.is_finite() || most > SUM_MAX + peaks.len() as f64 {
            return Err("leaves that are not finite or cannot be added up".into());
        }
        match sketch {
            Sketch::Ordinary(trees) => ordinary(width, trees, exponent),
            Sketch::Symmetric(trees) => symmetric(width, trees, exponent),
        }
    }

    /// Value of a leaf's integer.
    #[must_use]
    pub fn value(&self, integer: i64) -> f64 {
        libm::ldexp(integer as f64, -self.exponent)
    }
}

fn integer(value: f64, exponent: i32) -> i32 {
    libm::round(libm::ldexp(value, exponent)) as i32
}

fn check_condition(condition: &Condition, width: usize) -> Result<(), String> {
    if condition.feature as usize >= width {
        return Err(format!("a condition on column {} of {width}", condition.feature));
    }
    if condition.threshold.is_nan() { Err("a threshold that is not a number".into()) } else { Ok(()) }
}

fn check_cover(cover: f32) -> Result<(), String> {
    if cover.is_finite() && cover >= 0.0 { Ok(()) } else { Err("a cover that is negative or not a number".into()) }
}

/// The inputs in order of their columns, so that equal models have equal layouts.
fn inputs_of<'a>(conditions: impl Iterator<Item = &'a Condition>, width: usize) -> Result<Vec<Input>, String> {
    let mut inputs = vec![];
    for condition in conditions {
        check_condition(condition, width)?;
        inputs.push(Input::of(condition));
        if inputs.len() > 1 << 17 {
            inputs.sort_unstable();
            inputs.dedup();
        }
    }
    inputs.sort_unstable();
    inputs.dedup();
    Ok(inputs)
}

fn place_of(inputs: &[Input], condition: &Condition) -> usize {
    inputs.binary_search(&Input::of(condition)).expect("the inputs were made from all conditions")
}

fn ordinary(width: usize, trees: &[Vec<Node>], exponent: i32) -> Result<Layout, String> {
    let total: usize = trees.iter().map(Vec::len).sum();
    if total > TREES_NODES_MAX {
        return Err(format!("{total} nodes; {TREES_NODES_MAX} are possible"));
    }
    let conditions = trees.iter().flatten().filter_map(|node| match node {
        Node::Split { condition, .. } => Some(condition),
        Node::Leaf { .. } => None,
    });
    let inputs = inputs_of(conditions, width)?;
    let (mut nodes, mut covers, mut spans) = (Vec::with_capacity(total), Vec::with_capacity(total), Vec::with_capacity(trees.len()));
    for tree in trees {
        let start = nodes.len() as u32;
        let depth = flatten(tree, &inputs, exponent, &mut nodes, &mut covers)?;
        spans.push(Span { start, len: tree.len() as u32, level: 0, depth });
    }
    Ok(Layout { inputs, spans, shape: Shape::Ordinary { nodes }, covers, exponent })
}

/// Appends a tree level by level and gives its depth.
fn flatten(tree: &[Node], inputs: &[Input], exponent: i32, nodes: &mut Vec<FlatNode>, covers: &mut Vec<f32>) -> Result<u32, String> {
    if !(1..=1 << 16).contains(&tree.len()) {
        return Err(format!("a tree of {} nodes; 1 to {} are possible", tree.len(), 1 << 16));
    }
    let mut queue = vec![(0_u32, 0_u32)];
    let mut deepest = 0;
    let mut next = 0;
    while let Some((index, depth)) = queue.get(next).copied() {
        let node = tree.get(index as usize).ok_or("a child that is not there")?;
        check_cover(node.cover())?;
        covers.push(node.cover());
        deepest = deepest.max(depth);
        match node {
            Node::Leaf { value, .. } => {
                nodes.push(FlatNode { word: integer(*value, exponent).cast_unsigned(), input: inputs.len() as u16, left: next as u16 });
            }
            Node::Split { condition, left, right, .. } => {
                // A shared child or a circle makes the queue longer than the tree.
                if depth as usize >= TREES_DEPTH_MAX || queue.len() + 2 > tree.len() {
                    return Err(format!("a tree with more than {TREES_DEPTH_MAX} levels, or nodes with several parents"));
                }
                let input = place_of(inputs, condition) as u16;
                nodes.push(FlatNode { word: condition.threshold.to_bits(), input, left: queue.len() as u16 });
                queue.extend([(*left, depth + 1), (*right, depth + 1)]);
            }
        }
        next += 1;
    }
    if queue.len() == tree.len() { Ok(deepest) } else { Err("nodes that no way leads to".into()) }
}

fn symmetric(width: usize, trees: &[SymmetricTree], exponent: i32) -> Result<Layout, String> {
    for tree in trees {
        if tree.levels.len() > TREES_SYMMETRIC_DEPTH_MAX {
            return Err(format!("a symmetric tree of {} levels; {TREES_SYMMETRIC_DEPTH_MAX} are possible", tree.levels.len()));
        }
        if tree.leaves.len() != 1 << tree.levels.len() || tree.covers.len() != tree.leaves.len() {
            return Err(format!("{} leaves below {} levels", tree.leaves.len(), tree.levels.len()));
        }
        tree.covers.iter().try_for_each(|cover| check_cover(*cover))?;
    }
    let inputs = inputs_of(trees.iter().flat_map(|tree| &tree.levels), width)?;
    let (mut levels, mut leaves, mut covers, mut spans) = (vec![], vec![], vec![], vec![]);
    for tree in trees {
        let (start, len) = (leaves.len() as u32, tree.leaves.len() as u32);
        spans.push(Span { start, len, level: levels.len() as u32, depth: tree.levels.len() as u32 });
        levels.extend(tree.levels.iter().map(|level| Level { threshold: level.threshold, input: place_of(&inputs, level) as u32 }));
        leaves.extend(tree.leaves.iter().map(|value| integer(*value, exponent)));
        covers.extend_from_slice(&tree.covers);
    }
    Ok(Layout { inputs, spans, shape: Shape::Symmetric { levels, leaves }, covers, exponent })
}
