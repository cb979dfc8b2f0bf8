//! Rows as members take them: of numbers, or each of them a sequence's symbols. Must never mix the two.

use std::cmp::Ordering;

use crate::models::matrix::Matrix;
use crate::models::sequence::Trace;

#[derive(Clone, Debug)]
pub enum Rows {
    Numbers(Matrix),
    /// With how many different symbols were learned.
    Traces {
        traces: Vec<Trace>,
        alphabet: usize,
    },
}

impl Rows {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(matrix) => matrix.rows(),
            Self::Traces { traces, .. } => traces.len(),
        }
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether there is nothing in a row.
    #[must_use]
    pub fn is_blank(&self, row: usize) -> bool {
        matches!(self, Self::Traces { traces, .. } if traces[row].is_empty())
    }
    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        match self {
            Self::Numbers(matrix) => Self::Numbers(matrix.select(rows)),
            Self::Traces { traces, alphabet } => {
                Self::Traces { traces: rows.into_iter().map(|row| traces[row].clone()).collect(), alphabet: *alphabet }
            }
        }
    }
    /// An order in which only the same rows are equal.
    #[must_use]
    pub fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Numbers(matrix) => {
                let bits = |row: usize| matrix.row(row).iter().map(|value| value.to_bits());
                bits(a).cmp(bits(b))
            }
            Self::Traces { traces, .. } => traces[a].cmp(&traces[b]),
        }
    }
}
