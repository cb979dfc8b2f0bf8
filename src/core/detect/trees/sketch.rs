//! Trees as they are fitted or read from a file: plain nodes, before they are checked and laid out. Must never be scored from.

/// A condition: values at or above the threshold go right, a missing value where it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    pub feature: u32,
    pub threshold: f32,
    pub missing_right: bool,
}

/// A node of an ordinary tree. Covers are the weight of the fitted rows that came by: what a contribution is measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    Leaf { value: f64, cover: f32 },
    Split { condition: Condition, left: u32, right: u32, cover: f32 },
}

/// A tree in which every node of a level asks the same: leaf `i` is reached when bit `l` of `i` says whether level `l` went right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SymmetricTree {
    pub levels: Vec<Condition>,
    /// `1 << levels` values, and as many covers.
    pub leaves: Vec<f64>,
    pub covers: Vec<f32>,
}

/// All trees of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Sketch {
    /// The root of each tree is its first node.
    Ordinary(Vec<Vec<Node>>),
    Symmetric(Vec<SymmetricTree>),
}

impl Condition {
    /// Whether a value goes right.
    #[must_use]
    pub fn is_right(&self, value: f32) -> bool {
        if value.is_nan() { self.missing_right } else { value >= self.threshold }
    }
}

impl Sketch {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Ordinary(trees) => trees.len(),
            Self::Symmetric(trees) => trees.len(),
        }
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn truncate(&mut self, trees: usize) {
        match self {
            Self::Ordinary(all) => all.truncate(trees),
            Self::Symmetric(all) => all.truncate(trees),
        }
    }

    /// Largest absolute leaf of each tree; infinite where a leaf is not a number.
    pub(super) fn peaks(&self) -> Vec<f64> {
        let peak = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(0.0, |peak: f64, value| if value.is_nan() { f64::INFINITY } else { peak.max(value.abs()) })
        };
        match self {
            Self::Ordinary(trees) => trees.iter().map(|tree| peak(&mut tree.iter().filter_map(Node::value))).collect(),
            Self::Symmetric(trees) => trees.iter().map(|tree| peak(&mut tree.leaves.iter().copied())).collect(),
        }
    }
}

impl Node {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Leaf { value, .. } => Some(*value),
            Self::Split { .. } => None,
        }
    }
    #[must_use]
    pub fn cover(&self) -> f32 {
        match self {
            Self::Leaf { cover, .. } | Self::Split { cover, .. } => *cover,
        }
    }
}
