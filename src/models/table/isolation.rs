//! An isolation forest for rows of any width. Growing looks at no label; the same rows and seed give the same trees.
//!
//! Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008. The streaming forest (`core::detect::forest`) is bound to 16 features; this
//! one trades its speed for width. Must never walk in a circle: children lie behind their parent.

use super::wire::{Reader, Writer};
use crate::core::detect::forest::average_path;
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::random::Random;

/// Trees, and rows that each is grown from.
pub const TREES: usize = 300;
pub const SAMPLE: usize = 4_096;
const LEAF: u32 = u32::MAX;

/// A node: rows with `row[column] < threshold` go to `child`, others to the one after it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    column: u32,
    threshold: f32,
    child: u32,
}

/// Trees whose nodes lie one behind the other. In a leaf `threshold` is the path length.
#[derive(Clone, Debug, PartialEq)]
pub struct WideForest {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    width: usize,
    norm: f64,
}

impl WideForest {
    /// Grows a forest from rows of finite numbers, at least two of them.
    #[must_use]
    pub fn fit(rows: &Matrix, trees: usize, sample: usize, seed: u64) -> Self {
        let sample = sample.min(rows.rows()).max(1);
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..rows.rows() as u32).collect();
        let mut grower = Grower { rows, nodes: Vec::new(), depth_max: sample.next_power_of_two().trailing_zeros(), scratch: Vec::new() };
        let mut roots = Vec::with_capacity(trees);
        for _ in 0..trees {
            for i in 0..sample {
                let other = i + random.below((order.len() - i) as u64) as usize;
                order.swap(i, other);
            }
            let mut chosen = order[..sample].to_vec();
            roots.push(grower.nodes.len() as u32);
            grower.nodes.push(Node { column: LEAF, threshold: 0.0, child: 0 });
            let root = grower.nodes.len() - 1;
            grower.grow(root, &mut chosen, 0, &mut random);
        }
        Self { nodes: grower.nodes, roots, width: rows.width(), norm: norm(sample, trees) }
    }

    /// Anomaly scores in `(0, 1)`; higher is odder.
    #[must_use]
    pub fn scores(&self, rows: &Matrix) -> Vec<f32> {
        assert_eq!(rows.width(), self.width, "rows of the forest's width");
        let path = |row: &[f32]| self.roots.iter().map(|root| f64::from(self.path(*root as usize, row))).sum::<f64>();
        rows.iter().map(|row| libm::exp2(-path(row) / self.norm) as f32).collect()
    }

    fn path(&self, mut at: usize, row: &[f32]) -> f32 {
        loop {
            let node = self.nodes[at];
            if node.column == LEAF {
                return node.threshold;
            }
            at = node.child as usize + usize::from(row[node.column as usize] >= node.threshold);
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.word(self.width as u32);
        out.double(self.norm);
        out.words(self.roots.iter().copied());
        out.words(self.nodes.iter().map(|node| node.column));
        out.words(self.nodes.iter().map(|node| node.child));
        out.floats(self.nodes.iter().map(|node| node.threshold));
    }

    /// # Errors
    /// `Config`: not what [`Self::write`] writes.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (width, norm) = (from.word()? as usize, from.double()?);
        let (roots, columns, children, thresholds) = (from.words()?, from.words()?, from.words()?, from.floats()?);
        let same = columns.len() == children.len() && columns.len() == thresholds.len();
        let nodes: Vec<Node> = columns
            .into_iter()
            .zip(children)
            .zip(thresholds)
            .map(|((column, child), threshold)| Node { column, threshold, child })
            .collect();
        let sound = |(at, node): (usize, &Node)| {
            node.threshold.is_finite()
                && (node.column == LEAF
                    || (node.column as usize) < width && node.child as usize > at && (node.child as usize) + 1 < nodes.len())
        };
        let rooted = roots.iter().all(|root| (*root as usize) < nodes.len()) && !roots.is_empty();
        let scaled = norm.is_finite() && norm > 0.0;
        if !(same && rooted && scaled && nodes.iter().enumerate().all(sound)) {
            return Err(Error::config("the isolation forest is damaged; train the model again"));
        }
        Ok(Self { nodes, roots, width, norm })
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
}

fn norm(sample: usize, trees: usize) -> f64 {
    average_path(sample as u32).max(1.0) * trees as f64
}

struct Grower<'a> {
    rows: &'a Matrix,
    nodes: Vec<Node>,
    depth_max: u32,
    scratch: Vec<usize>,
}

impl Grower<'_> {
    fn grow(&mut self, at: usize, chosen: &mut [u32], depth: u32, random: &mut Random) {
        let cut = if depth < self.depth_max && chosen.len() > 1 { self.cut(chosen, random) } else { None };
        let Some((column, threshold)) = cut else {
            self.nodes[at].threshold = (f64::from(depth) + average_path(chosen.len() as u32)) as f32;
            return;
        };
        let mut left = 0;
        for i in 0..chosen.len() {
            if self.rows.row(chosen[i] as usize)[column] < threshold {
                chosen.swap(left, i);
                left += 1;
            }
        }
        let child = self.nodes.len();
        self.nodes[at] = Node { column: column as u32, threshold, child: child as u32 };
        self.nodes.extend([Node { column: LEAF, threshold: 0.0, child: 0 }; 2]);
        let (below, above) = chosen.split_at_mut(left);
        self.grow(child, below, depth + 1, random);
        self.grow(child + 1, above, depth + 1, random);
    }

    /// A uniform cut of a random column that still varies.
    fn cut(&mut self, chosen: &[u32], random: &mut Random) -> Option<(usize, f32)> {
        let mut rest = std::mem::take(&mut self.scratch);
        rest.clear();
        rest.extend(0..self.rows.width());
        let mut found = None;
        while !rest.is_empty() && found.is_none() {
            let column = rest.swap_remove(random.below(rest.len() as u64) as usize);
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for row in chosen {
                let value = self.rows.row(*row as usize)[column];
                (low, high) = (low.min(value), high.max(value));
            }
            let threshold = (f64::from(low) + random.unit() * (f64::from(high) - f64::from(low))) as f32;
            if low < high {
                // Rounding may put the cut on the lowest value, which would separate nothing.
                found = Some((column, if threshold > low { threshold } else { high }));
            }
        }
        self.scratch = rest;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(rows: usize, width: usize, seed: u64) -> Matrix {
        let mut random = Random::new(seed);
        let mut matrix = Matrix::new(width);
        let mut row = vec![0.0; width];
        for _ in 0..rows {
            row.iter_mut().for_each(|v| *v = (random.unit() + random.unit() + random.unit()) as f32);
            matrix.push(&row);
        }
        matrix
    }

    #[test]
    fn what_lies_outside_scores_higher_and_the_score_is_the_papers() {
        let rows = cloud(2_000, 30, 1);
        let forest = WideForest::fit(&rows, 100, 256, 7);
        let mut strange = Matrix::new(30);
        strange.push(&[1.5; 30]);
        strange.push(&[3.2; 30]);
        let scores = forest.scores(&strange);
        assert!(scores[0] < 0.5 && scores[1] > 0.65, "{scores:?}");
        let mean = forest.scores(&rows).iter().sum::<f32>() / 2_000.0;
        assert!((0.42..0.55).contains(&mean), "{mean}");
        assert_eq!(forest, WideForest::fit(&rows, 100, 256, 7), "same seed, same trees");
        assert_ne!(forest, WideForest::fit(&rows, 100, 256, 8));
    }

    #[test]
    fn rows_that_are_all_alike_are_one_leaf() {
        let mut rows = Matrix::new(2);
        (0..10).for_each(|_| rows.push(&[1.0, 2.0]));
        let forest = WideForest::fit(&rows, 5, 8, 1);
        assert_eq!(forest.nodes.len(), 5);
        assert!((forest.scores(&rows)[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn bytes_come_back_and_damage_is_refused() {
        let forest = WideForest::fit(&cloud(100, 3, 2), 4, 32, 3);
        let mut out = Writer::default();
        forest.write(&mut out);
        let bytes = out.finish();
        assert_eq!(WideForest::read(&mut Reader::new(&bytes)).unwrap(), forest);
        for cut in 0..bytes.len() {
            assert!(WideForest::read(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            // Whatever is accepted must score without a panic.
            if let Ok(forest) = WideForest::read(&mut Reader::new(&damaged))
                && forest.width() == 3
            {
                assert_eq!(forest.scores(&cloud(3, 3, 5)).len(), 3);
            }
        }
    }
}
