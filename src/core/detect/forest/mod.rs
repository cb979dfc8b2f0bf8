//! Isolation forest: how few random cuts separate a row from benign ones.
//!
//! Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008. Inference only; growing trees is `models::forest_fit`. Path lengths are
//! integers, so a score has the same bits with every kernel, batch size and tree order. Must never panic on any row.

mod detector;
pub mod layout;
mod wire;

pub use detector::ForestDetector;

use crate::native::{Kernel, forest_path_sums};
use layout::{FEATURES, PATH_ONE, Row, Tree};

/// The detector's name in outputs, metrics and bundles.
pub const NAME: &str = crate::core::detect::NAMES[crate::core::detect::ISOLATION_FOREST];
/// Rows that are cleaned and walked at a time, on the stack.
const CHUNK: usize = 16;

/// A trained forest, ready to score.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    trees: Vec<Tree>,
    sample: u32,
    /// Multiplies an integer path sum to give `-E[h] / c(sample)`.
    exponent: f64,
}

impl Forest {
    /// A forest of trees grown from `sample` rows each.
    ///
    /// `None` without trees, with more than [`TREES_MAX`](crate::limits::FOREST_TREES_MAX), or with a sample outside `2..=256`.
    #[must_use]
    pub fn from_trees(trees: Vec<Tree>, sample: u32) -> Option<Self> {
        if trees.is_empty() || trees.len() > crate::limits::FOREST_TREES_MAX || !(2..=1 << layout::DEPTH_MAX).contains(&sample) {
            return None;
        }
        let exponent = -1.0 / (PATH_ONE * trees.len() as f64 * average_path(sample));
        Some(Self { trees, sample, exponent })
    }

    #[must_use]
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }
    /// Rows each tree was grown from.
    #[must_use]
    pub fn sample(&self) -> u32 {
        self.sample
    }

    /// Raw anomaly scores in `(0, 1)`: near 0.5 and below for ordinary rows, towards 1 for isolated ones.
    ///
    /// `out` is as long as `rows`. NaN counts as 0, infinities as the largest finite values.
    pub fn score_rows(&self, rows: &[[f32; FEATURES]], out: &mut [f32]) {
        self.score_rows_with(Kernel::best(), rows, out);
    }

    /// The same by a named kernel, for comparisons.
    pub fn score_rows_with(&self, kernel: Kernel, rows: &[[f32; FEATURES]], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len(), "one score a row");
        let mut clean = [Row([0.0; FEATURES]); CHUNK];
        let mut sums = [0; CHUNK];
        for (rows, out) in rows.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
            for (clean, row) in clean.iter_mut().zip(rows) {
                *clean = Row::of(row);
            }
            forest_path_sums(kernel, &self.trees, &clean[..rows.len()], &mut sums[..rows.len()]);
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = self.score_of(*sum);
            }
        }
    }

    /// How much each feature contributes to a row's score: shares that add up to 1, or all 0 where nothing raises the score.
    ///
    /// `reference` is an ordinary row (the benign medians). A feature's part is the mean of what the score loses when only this
    /// feature is ordinary and what it gains when only this feature is not: the first and the last term of its Shapley value,
    /// so that two features which tell the same are both named. Scores 34 rows; meant for threats only.
    #[must_use]
    pub fn contributions(&self, row: &[f32; FEATURES], reference: &[f32; FEATURES]) -> [f32; FEATURES] {
        let mut variants = [*row; 2 * FEATURES + 2];
        variants[FEATURES..2 * FEATURES].fill(*reference);
        variants[2 * FEATURES + 1] = *reference;
        for feature in 0..FEATURES {
            variants[feature][feature] = reference[feature];
            variants[FEATURES + feature][feature] = row[feature];
        }
        let mut scores = [0.0; 2 * FEATURES + 2];
        self.score_rows(&variants, &mut scores);
        let (of_row, of_reference) = (scores[2 * FEATURES], scores[2 * FEATURES + 1]);
        let mut parts: [f32; FEATURES] = std::array::from_fn(|i| ((of_row - scores[i]) + (scores[FEATURES + i] - of_reference)).max(0.0));
        let total: f32 = parts.iter().sum();
        if total > 0.0 {
            parts.iter_mut().for_each(|part| *part /= total);
        }
        parts
    }

    #[inline]
    fn score_of(&self, sum: u32) -> f32 {
        libm::exp2(f64::from(sum) * self.exponent) as f32
    }
}

/// Mean depth of an unsuccessful search in a binary search tree of `size` keys: `c(n)` of the paper, with exact harmonic numbers.
#[must_use]
pub fn average_path(size: u32) -> f64 {
    if size < 2 {
        return 0.0;
    }
    let harmonic: f64 = (1..size).map(|i| 1.0 / f64::from(i)).sum();
    2.0 * harmonic - 2.0 * f64::from(size - 1) / f64::from(size)
}
