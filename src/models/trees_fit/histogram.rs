//! Sums of gradients by bin, as integers: exact, so that a sibling is a difference. Must never depend on the order of rows.

use super::bins::{Binned, SLOTS};

/// A row's gradient and hessian, or sums of them, in units of the fit's [`Scale`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair(pub [i64; 2]);

impl Pair {
    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.0[0] += other.0[0];
        self.0[1] += other.0[1];
    }
    #[inline]
    pub(super) fn minus(self, other: Self) -> Self {
        Self([self.0[0] - other.0[0], self.0[1] - other.0[1]])
    }
    pub(super) fn sum(pairs: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        pairs.for_each(|pair| sum.add(pair));
        sum
    }
}

/// Units of integer gradients: as fine as the weight of all rows allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    factor: f64,
}

impl Scale {
    /// For rows of which the gradients cannot add up to more than `total_weight`.
    pub(super) fn of(total_weight: f64) -> Self {
        let (_, power) = libm::frexp(total_weight);
        Self { factor: libm::ldexp(1.0, (60 - power).clamp(0, 50)) }
    }
    pub(super) fn pair(self, gradient: f64, hessian: f64) -> Pair {
        Pair([libm::rint(gradient * self.factor) as i64, libm::rint(hessian * self.factor) as i64])
    }
    #[inline]
    pub(super) fn gradient(self, pair: Pair) -> f64 {
        pair.0[0] as f64 / self.factor
    }
    #[inline]
    pub(super) fn hessian(self, pair: Pair) -> f64 {
        pair.0[1] as f64 / self.factor
    }
}

/// One pair for each slot of each column. The slot of a column's commonest code is filled by what is left of the total.
pub(super) struct Histogram(Vec<Pair>);

impl Histogram {
    pub(super) fn new(width: usize) -> Self {
        Self(vec![Pair::default(); width * SLOTS])
    }

    pub(super) fn column(&self, column: usize) -> &[Pair] {
        &self.0[column * SLOTS..][..SLOTS]
    }

    /// The sums of these rows.
    pub(super) fn fill(&mut self, binned: &Binned, rows: &[u32], gradients: &[Pair]) {
        for column in 0..binned.width() {
            self.0[column * SLOTS..][..=usize::from(binned.missing(column))].fill(Pair::default());
        }
        let mut total = Pair::default();
        for row in rows {
            let pair = gradients[*row as usize];
            total.add(pair);
            for slot in binned.rare(*row as usize) {
                self.0[*slot as usize].add(pair);
            }
        }
        for (column, common) in binned.common.iter().enumerate() {
            let slots = &mut self.0[column * SLOTS..][..=usize::from(binned.missing(column))];
            let others = Pair::sum(slots.iter().copied());
            slots[usize::from(*common)] = total.minus(others);
        }
    }

    /// Leaves what is not in `part`.
    pub(super) fn subtract(&mut self, part: &Self, binned: &Binned) {
        for column in 0..binned.width() {
            let slots = ..=usize::from(binned.missing(column));
            let whole = &mut self.0[column * SLOTS..][slots];
            for (whole, part) in whole.iter_mut().zip(&part.0[column * SLOTS..][slots]) {
                *whole = whole.minus(*part);
            }
        }
    }
}
