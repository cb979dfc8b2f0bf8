//! Growing one tree on the gradients of a round. Must never look at a row that was not drawn for the round.

use super::bins::Binned;
use super::histogram::{Histogram, Pair};
use super::split::{Judge, Split, best, best_for_all};
use crate::core::detect::trees::sketch::{Node, SymmetricTree};

/// What a tree is grown from.
pub(super) struct Ground<'a> {
    pub judge: Judge<'a>,
    pub binned: &'a Binned,
    pub gradients: &'a [Pair],
    /// Columns that were drawn for the round, ascending.
    pub columns: &'a [usize],
}

/// A tree by bins, which the fitted rows walk, beside the same tree by values.
pub(super) enum Grown {
    Ordinary { nodes: Vec<Node>, splits: Vec<Option<Split>> },
    Symmetric { tree: SymmetricTree, splits: Vec<Split> },
}

impl Grown {
    /// The leaf value that a fitted row reaches.
    pub(super) fn value(&self, binned: &Binned, row: usize) -> f64 {
        match self {
            Self::Ordinary { nodes, splits } => {
                let mut at = 0;
                loop {
                    match (&nodes[at], &splits[at]) {
                        (Node::Split { left, right, .. }, Some(split)) => {
                            at = if split.goes_right(binned, row) { *right } else { *left } as usize;
                        }
                        (Node::Leaf { value, .. }, _) => return *value,
                        (Node::Split { .. }, None) => unreachable!("a split node has its split"),
                    }
                }
            }
            Self::Symmetric { tree, splits } => {
                let turns = splits.iter().enumerate();
                tree.leaves[turns.map(|(level, split)| usize::from(split.goes_right(binned, row)) << level).sum::<usize>()]
            }
        }
    }
}

/// Histograms that wait to be used again.
#[derive(Default)]
pub(super) struct Pool(Vec<Histogram>);

impl Pool {
    fn take(&mut self, binned: &Binned) -> Histogram {
        self.0.pop().unwrap_or_else(|| Histogram::new(binned.width()))
    }
    /// The histogram, or nothing where it is not wanted and waits here.
    fn keep(&mut self, histogram: Histogram, wanted: bool) -> Option<Histogram> {
        if wanted {
            return Some(histogram);
        }
        self.0.push(histogram);
        None
    }
}

/// Moves rows that go right behind the others, each side in its order, and says how many stay.
fn partition(rows: &mut [u32], scratch: &mut Vec<u32>, mut right: impl FnMut(usize) -> bool) -> usize {
    scratch.clear();
    let mut left = 0;
    for index in 0..rows.len() {
        let row = rows[index];
        if right(row as usize) {
            scratch.push(row);
        } else {
            rows[left] = row;
            left += 1;
        }
    }
    rows[left..].copy_from_slice(scratch);
    left
}

/// Histograms of both children from their parent's: the smaller one is counted, the other is the rest.
fn children(ground: &Ground<'_>, pool: &mut Pool, parent: Histogram, left: &[u32], right: &[u32]) -> [Histogram; 2] {
    let mut small = pool.take(ground.binned);
    let mut large = parent;
    small.fill(ground.binned, if left.len() <= right.len() { left } else { right }, ground.gradients);
    large.subtract(&small, ground.binned);
    if left.len() <= right.len() { [small, large] } else { [large, small] }
}

/// An ordinary tree, depth first.
pub(super) fn ordinary(ground: &Ground<'_>, rows: &mut [u32], pool: &mut Pool) -> Grown {
    let mut histogram = pool.take(ground.binned);
    histogram.fill(ground.binned, rows, ground.gradients);
    let total = Pair::sum(rows.iter().map(|row| ground.gradients[*row as usize]));
    let mut branch = Branch { ground, pool, scratch: vec![], nodes: vec![], splits: vec![] };
    branch.grow(rows, Some(histogram), total, ground.judge.settings.depth);
    Grown::Ordinary { nodes: branch.nodes, splits: branch.splits }
}

struct Branch<'a> {
    ground: &'a Ground<'a>,
    pool: &'a mut Pool,
    scratch: Vec<u32>,
    nodes: Vec<Node>,
    splits: Vec<Option<Split>>,
}

impl Branch<'_> {
    /// Appends the node of these rows and all below it. A node on the last level needs no histogram.
    fn grow(&mut self, rows: &mut [u32], histogram: Option<Histogram>, total: Pair, levels: u32) {
        let Ground { judge, binned, columns, .. } = *self.ground;
        let cover = judge.scale.hessian(total) as f32;
        let at = self.nodes.len();
        self.nodes.push(Node::Leaf { value: judge.value(total), cover });
        self.splits.push(None);
        let Some(histogram) = histogram else { return };
        let split = if levels == 0 { None } else { best(judge, binned, &histogram, total, columns) };
        let Some(split) = split else {
            self.pool.0.push(histogram);
            return;
        };
        let left_total = split.left(binned, &histogram);
        let middle = partition(rows, &mut self.scratch, |row| split.goes_right(binned, row));
        let (left_rows, right_rows) = rows.split_at_mut(middle);
        let [left_histogram, right_histogram] = if levels > 1 {
            children(self.ground, self.pool, histogram, left_rows, right_rows).map(Some)
        } else {
            self.pool.0.push(histogram);
            [None, None]
        };
        self.splits[at] = Some(split);
        let left = self.nodes.len() as u32;
        self.grow(left_rows, left_histogram, left_total, levels - 1);
        let right = self.nodes.len() as u32;
        self.grow(right_rows, right_histogram, total.minus(left_total), levels - 1);
        self.nodes[at] = Node::Split { condition: split.condition(binned), left, right, cover };
    }
}

/// Nodes of one level of a symmetric tree: where each one's rows lie, what they add up to, and how by bin, for those that can be split.
struct Growing {
    start: usize,
    end: usize,
    total: Pair,
    histogram: Option<Histogram>,
}

/// A symmetric tree, level by level.
pub(super) fn symmetric(ground: &Ground<'_>, rows: &mut [u32], pool: &mut Pool) -> Grown {
    let Ground { judge, binned, columns, gradients } = *ground;
    let mut histogram = pool.take(binned);
    histogram.fill(binned, rows, gradients);
    let total = Pair::sum(rows.iter().map(|row| gradients[*row as usize]));
    let mut nodes = vec![Growing { start: 0, end: rows.len(), total, histogram: Some(histogram) }];
    let (mut splits, mut scratch): (Vec<Split>, _) = (vec![], vec![]);
    while (splits.len() as u32) < judge.settings.depth {
        let seen: Vec<(&Histogram, Pair)> = nodes.iter().filter_map(|node| Some((node.histogram.as_ref()?, node.total))).collect();
        let Some(split) = best_for_all(judge, binned, &seen, columns) else { break };
        splits.push(split);
        let is_last = splits.len() as u32 == judge.settings.depth;
        let mut right_nodes = Vec::with_capacity(nodes.len());
        for node in &mut nodes {
            let own = &mut rows[node.start..node.end];
            let middle = partition(own, &mut scratch, |row| split.goes_right(binned, row));
            let (left, right) = own.split_at(middle);
            let (left_total, parent) = match node.histogram.take() {
                Some(parent) => (split.left(binned, &parent), Some(parent)),
                None => (Pair::sum(left.iter().map(|row| gradients[*row as usize])), None),
            };
            let right_total = node.total.minus(left_total);
            let live = [left_total, right_total].map(|total| !is_last && judge.can_split(total));
            let [left_histogram, right_histogram] = match parent {
                Some(parent) if live != [false; 2] => {
                    let both = children(ground, pool, parent, left, right);
                    let mut kept = both.into_iter().zip(live).map(|(histogram, live)| pool.keep(histogram, live));
                    [kept.next().flatten(), kept.next().flatten()]
                }
                parent => {
                    pool.0.extend(parent);
                    [None, None]
                }
            };
            let (start, end) = (node.start + middle, node.end);
            right_nodes.push(Growing { start, end, total: right_total, histogram: right_histogram });
            (node.end, node.total, node.histogram) = (start, left_total, left_histogram);
        }
        // Bit `level` of a leaf's index is set for those that went right.
        nodes.extend(right_nodes);
    }
    let tree = SymmetricTree {
        levels: splits.iter().map(|split| split.condition(binned)).collect(),
        leaves: nodes.iter().map(|node| judge.value(node.total)).collect(),
        covers: nodes.iter().map(|node| judge.scale.hessian(node.total) as f32).collect(),
    };
    pool.0.extend(nodes.into_iter().filter_map(|node| node.histogram));
    Grown::Symmetric { tree, splits }
}
