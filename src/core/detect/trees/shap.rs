//! What each column adds to a margin: exact Shapley values of the trees, conditioned on the ways of the fitted rows.
//!
//! Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
//! Intelligence 2, 2020, algorithm 2 (path-dependent). Meant for threats only: it visits every leaf. Must never panic on any row.

use super::Trees;
use super::layout::{Layout, Shape, Span};

/// A column on the way to a node, with the shares of its subsets that lead there without and with it.
#[derive(Clone, Copy, Debug)]
struct Step {
    feature: usize,
    /// Share of the fitted rows that go this way when the column is unknown.
    zero: f64,
    /// One if the row itself goes this way, else zero.
    one: f64,
    /// Weight of subsets of as many columns as come before this step.
    weight: f64,
}

/// No column: the step before the root.
const NOTHING: usize = usize::MAX;

/// A node of either shape.
enum View {
    Leaf(f64),
    Split { input: usize, threshold: f32, left: usize, right: usize },
}

/// A tree of either shape as nodes with covers.
struct Walk<'a> {
    layout: &'a Layout,
    span: Span,
    /// Covers by node; of a symmetric tree in heap order, the leaves last.
    covers: Vec<f64>,
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout, span: Span) -> Self {
        let own = layout.covers[span.start as usize..][..span.len as usize].iter().copied().map(f64::from);
        let covers = match layout.shape {
            Shape::Ordinary { .. } => own.collect(),
            Shape::Symmetric { .. } => heap(own.collect(), span.depth),
        };
        Self { layout, span, covers }
    }

    fn view(&self, at: usize) -> View {
        match &self.layout.shape {
            Shape::Ordinary { nodes } => {
                let node = nodes[self.span.start as usize + at];
                let (input, left) = (usize::from(node.input), usize::from(node.left));
                if input == self.layout.inputs.len() {
                    return View::Leaf(self.layout.value(i64::from(node.word.cast_signed())));
                }
                View::Split { input, threshold: f32::from_bits(node.word), left, right: left + 1 }
            }
            Shape::Symmetric { levels, leaves } => {
                let depth = (at + 1).ilog2();
                if depth == self.span.depth {
                    let leaf = leaf_of(at, depth);
                    return View::Leaf(self.layout.value(i64::from(leaves[self.span.start as usize + leaf])));
                }
                let level = levels[(self.span.level + depth) as usize];
                View::Split { input: level.input as usize, threshold: level.threshold, left: 2 * at + 1, right: 2 * at + 2 }
            }
        }
    }

    /// Share of a node's rows that go on to a child; half where no fitted row came by.
    fn share(&self, node: usize, child: usize) -> f64 {
        if self.covers[node] > 0.0 { self.covers[child] / self.covers[node] } else { 0.5 }
    }

    /// Mean leaf of the fitted rows below a node.
    fn mean(&self, at: usize) -> f64 {
        match self.view(at) {
            View::Leaf(value) => value,
            View::Split { left, right, .. } => self.share(at, left) * self.mean(left) + self.share(at, right) * self.mean(right),
        }
    }
}

/// The leaf of a heap position in the last level: bit `l` of a leaf is the turn at level `l`, the heap has the first turn highest.
fn leaf_of(at: usize, depth: u32) -> usize {
    let place = (at + 1 - (1 << depth)) as u32;
    if depth == 0 { 0 } else { (place.reverse_bits() >> (32 - depth)) as usize }
}

/// Sums of covers from the leaves up.
fn heap(leaves: Vec<f64>, depth: u32) -> Vec<f64> {
    let first = (1 << depth) - 1;
    let mut heap = vec![0.0; first + leaves.len()];
    for at in (0..heap.len()).rev() {
        heap[at] = if at >= first { leaves[leaf_of(at, depth)] } else { heap[2 * at + 1] + heap[2 * at + 2] };
    }
    heap
}

impl Trees {
    /// The mean margin of the rows that the trees were fitted on: what contributions are added to.
    #[must_use]
    pub fn base_value(&self) -> f64 {
        let means = self.layout.spans.iter().map(|span| Walk::new(&self.layout, *span).mean(0));
        self.base + means.sum::<f64>()
    }

    /// What each column adds to a row's margin; with [`Self::base_value`] they add up to it.
    ///
    /// # Panics
    /// When the row has not `width` values: a bug of the caller.
    #[must_use]
    pub fn contributions(&self, row: &[f32]) -> Vec<f32> {
        assert_eq!(row.len(), self.width, "a row of another width");
        let mut sums = vec![0.0; self.width];
        for span in &self.layout.spans {
            let walk = Walk::new(&self.layout, *span);
            descend(&walk, row, 0, Vec::new(), Step { feature: NOTHING, zero: 1.0, one: 1.0, weight: 0.0 }, &mut sums);
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

/// Visits the leaves below a node. The depth is bounded by `TREES_DEPTH_MAX`.
fn descend(walk: &Walk<'_>, row: &[f32], at: usize, mut path: Vec<Step>, last: Step, sums: &mut [f64]) {
    extend(&mut path, last);
    match walk.view(at) {
        View::Leaf(value) => {
            for index in 1..path.len() {
                let step = path[index];
                sums[step.feature] += unwound_sum(&path, index) * (step.one - step.zero) * value;
            }
        }
        View::Split { input, threshold, left, right } => {
            let input = walk.layout.inputs[input];
            let goes_right = input.seen(row[input.feature()]) >= threshold;
            let (hot, cold) = if goes_right { (right, left) } else { (left, right) };
            let (mut zero, mut one) = (1.0, 1.0);
            // A column that was asked before is one player, not two.
            if let Some(index) = path.iter().position(|step| step.feature == input.feature()) {
                (zero, one) = (path[index].zero, path[index].one);
                unwind(&mut path, index);
            }
            let step = |child, one| Step { feature: input.feature(), zero: zero * walk.share(at, child), one, weight: 0.0 };
            let (warm, frozen) = (step(hot, one), step(cold, 0.0));
            if warm.zero > 0.0 || warm.one > 0.0 {
                descend(walk, row, hot, path.clone(), warm, sums);
            }
            // Neither the row nor a fitted one comes by: nothing to share out.
            if frozen.zero > 0.0 {
                descend(walk, row, cold, path, frozen, sums);
            }
        }
    }
}

/// Adds a step: every subset so far counts once without it and once with it.
fn extend(path: &mut Vec<Step>, mut step: Step) {
    let length = path.len();
    step.weight = if length == 0 { 1.0 } else { 0.0 };
    path.push(step);
    let total = (length + 1) as f64;
    for i in (0..length).rev() {
        path[i + 1].weight += step.one * path[i].weight * (i + 1) as f64 / total;
        path[i].weight = step.zero * path[i].weight * (length - i) as f64 / total;
    }
}

/// Takes a step out again, as if it had never been added.
fn unwind(path: &mut Vec<Step>, index: usize) {
    let length = path.len() - 1;
    let (one, zero) = (path[index].one, path[index].zero);
    let total = path.len() as f64;
    let mut next = path[length].weight;
    for i in (0..length).rev() {
        if one > 0.0 {
            let kept = path[i].weight;
            path[i].weight = next * total / ((i + 1) as f64 * one);
            next = kept - path[i].weight * zero * (length - i) as f64 / total;
        } else {
            path[i].weight = path[i].weight * total / (zero * (length - i) as f64);
        }
    }
    for i in index..length {
        let (feature, zero, one) = (path[i + 1].feature, path[i + 1].zero, path[i + 1].one);
        path[i] = Step { feature, zero, one, weight: path[i].weight };
    }
    path.pop();
}

/// The sum of the weights of a path without one of its steps.
fn unwound_sum(path: &[Step], index: usize) -> f64 {
    let length = path.len() - 1;
    let (one, zero) = (path[index].one, path[index].zero);
    let total = path.len() as f64;
    let mut next = path[length].weight;
    let mut sum = 0.0;
    for i in (0..length).rev() {
        if one > 0.0 {
            let weight = next * total / ((i + 1) as f64 * one);
            sum += weight;
            next = path[i].weight - weight * zero * (length - i) as f64 / total;
        } else {
            sum += path[i].weight * total / (zero * (length - i) as f64);
        }
    }
    sum
}
