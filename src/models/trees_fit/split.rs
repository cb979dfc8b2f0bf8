//! The best split of a node, or of all nodes of a level. Must never prefer one by anything but gain, then order of columns.

use super::Settings;
use super::bins::Binned;
use super::histogram::{Histogram, Pair, Scale};
use crate::core::detect::trees::sketch::Condition;

/// Rows whose code is at least `first_right` go right, missing values where they are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    pub column: usize,
    pub first_right: u8,
    pub missing_right: bool,
    pub gain: f64,
}

impl Split {
    pub(super) fn goes_right(&self, binned: &Binned, row: usize) -> bool {
        let code = binned.code(row, self.column);
        if code == binned.missing(self.column) { self.missing_right } else { code >= self.first_right }
    }
    pub(super) fn condition(&self, binned: &Binned) -> Condition {
        let threshold = binned.threshold(self.column, self.first_right);
        Condition { feature: self.column as u32, threshold, missing_right: self.missing_right }
    }
    /// What of a node's sums goes left.
    pub(super) fn left(&self, binned: &Binned, histogram: &Histogram) -> Pair {
        let slots = histogram.column(self.column);
        let mut left = Pair::sum(slots[..usize::from(self.first_right)].iter().copied());
        if !self.missing_right {
            left.add(slots[usize::from(binned.missing(self.column))]);
        }
        left
    }
}

/// What a leaf is worth: half of it is how much the loss falls.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub scale: Scale,
    pub settings: &'a Settings,
    /// Share of the best step that a leaf takes.
    pub rate: f64,
}

impl Judge<'_> {
    pub(super) fn score(self, sums: Pair) -> f64 {
        let gradient = self.scale.gradient(sums);
        gradient * gradient / (self.scale.hessian(sums) + self.settings.l2)
    }
    pub(super) fn value(self, sums: Pair) -> f64 {
        -self.scale.gradient(sums) / (self.scale.hessian(sums) + self.settings.l2) * self.rate
    }
    /// Whether a node is large enough for two children.
    pub(super) fn can_split(self, sums: Pair) -> bool {
        let hessian = self.scale.hessian(sums);
        hessian > 0.0 && hessian >= 2.0 * self.settings.child_hessian_min
    }
    /// The score of both children, unless one is too small.
    #[inline]
    fn split_score(self, left: Pair, total: Pair) -> Option<f64> {
        let right = total.minus(left);
        let least = self.settings.child_hessian_min;
        (self.scale.hessian(left) >= least && self.scale.hessian(right) >= least).then(|| self.score(left) + self.score(right))
    }
}

/// Every way to cut a column: `visit(first_right, missing_right, left sums)`. Both sides for missing values where there are some.
#[inline]
fn cuts(slots: &[Pair], missing: u8, total: Pair, mut visit: impl FnMut(u8, bool, Pair)) {
    let absent = slots[usize::from(missing)];
    let has_missing = absent != Pair::default();
    let mut below = Pair::default();
    if has_missing {
        visit(0, false, absent);
    }
    for first_right in 1..missing {
        let bin = slots[usize::from(first_right) - 1];
        if bin == Pair::default() && first_right > 1 {
            continue; // the same rows as the cut before
        }
        below.add(bin);
        let mut with_missing = below;
        with_missing.add(absent);
        // Without a missing value to learn from, they go where more rows go.
        let heavier_right = total.minus(below).0[1] > below.0[1];
        if has_missing {
            visit(first_right, true, below);
            visit(first_right, false, with_missing);
        } else {
            visit(first_right, heavier_right, below);
        }
    }
}

/// The best split of one node.
pub(super) fn best(judge: Judge<'_>, binned: &Binned, histogram: &Histogram, total: Pair, columns: &[usize]) -> Option<Split> {
    let stay = judge.score(total);
    let mut best: Option<Split> = None;
    for column in columns.iter().copied() {
        cuts(histogram.column(column), binned.missing(column), total, |first_right, missing_right, left| {
            let Some(score) = judge.split_score(left, total) else { return };
            let gain = score - stay;
            if gain > best.map_or(judge.settings.gain_min, |best| best.gain) {
                best = Some(Split { column, first_right, missing_right, gain });
            }
        });
    }
    best
}

/// The best split of all nodes of a level that can be split, by one condition. A node with a child that is too small counts as not
/// split.
pub(super) fn best_for_all(judge: Judge<'_>, binned: &Binned, nodes: &[(&Histogram, Pair)], columns: &[usize]) -> Option<Split> {
    let mut best: Option<Split> = None;
    let mut gains = [[0.0; 2]; super::bins::SLOTS];
    for column in columns.iter().copied() {
        let missing = binned.missing(column);
        gains[..usize::from(missing)].fill([0.0; 2]);
        let mut weight_right = [0_i128; super::bins::SLOTS];
        let mut has_missing = false;
        for (histogram, total) in nodes {
            let slots = histogram.column(column);
            let absent = slots[usize::from(missing)];
            has_missing |= absent != Pair::default();
            let stay = judge.score(*total);
            let gain = |left| judge.split_score(left, *total).map_or(0.0, |score| score - stay);
            gains[0][0] += gain(absent);
            let mut below = Pair::default();
            for first_right in 1..usize::from(missing) {
                below.add(slots[first_right - 1]);
                let mut with_missing = below;
                with_missing.add(absent);
                gains[first_right][0] += gain(with_missing);
                gains[first_right][1] += if absent == Pair::default() { gain(with_missing) } else { gain(below) };
                weight_right[first_right] += i128::from(total.minus(below).0[1]) - i128::from(below.0[1]);
            }
        }
        for first_right in 0..missing {
            let place = usize::from(first_right);
            let [left, right] = gains[place];
            let missing_right = if has_missing { first_right > 0 && right > left } else { weight_right[place] > 0 };
            let gain = if missing_right { right } else { left };
            if gain > best.map_or(judge.settings.gain_min, |best| best.gain) && (first_right > 0 || has_missing) {
                best = Some(Split { column, first_right, missing_right, gain });
            }
        }
    }
    best
}
