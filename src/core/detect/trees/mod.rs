//! Boosted trees: a sum of small trees' leaves is the log-odds of an attack.
//!
//! Inference only; fitting is `models::trees_fit`, reading other libraries' models `models::trees_xgboost`. A model has ordinary
//! trees or symmetric ones (every node of a level asks the same), which score far faster. Leaves are integers, so a margin has the
//! same bits with every kernel and batch size. Must never panic on any row.

mod detector;
pub mod kernel;
pub mod layout;
mod shap;
pub mod sketch;
mod wire;

pub use detector::TreesDetector;

use crate::error::{Error, Result};
use crate::native::Kernel;
use layout::Layout;
use sketch::Sketch;

/// What a margin means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Log-odds.
    Logistic,
    /// The predicted value itself.
    Identity,
}

/// A model, ready to score.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    width: usize,
    link: Link,
    /// Margin before any tree.
    base: f64,
    layout: Layout,
}

impl Trees {
    /// Checks the trees and lays them out for rows of `width` columns.
    ///
    /// # Errors
    /// Of the kind `Config`: a base, leaf, threshold or cover that is not a number, a column or child that does not exist, nodes
    /// with several parents, or more of anything than `limits` allow.
    pub fn new(width: usize, link: Link, base: f64, sketch: &Sketch) -> Result<Self> {
        Self::with_exponent(width, link, base, sketch, None)
    }

    fn with_exponent(width: usize, link: Link, base: f64, sketch: &Sketch, exponent: Option<i32>) -> Result<Self> {
        let bad = |why: &str| Error::config(format!("trees are not usable: {why}"));
        if !base.is_finite() {
            return Err(bad("a base that is not a number"));
        }
        let layout = Layout::of(width, sketch, exponent).map_err(|why| bad(&why))?;
        Ok(Self { width, link, base, layout })
    }

    /// Columns of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }
    /// Trees of the model; none is possible, then every margin is the base.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.spans.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The margins of rows that lie one behind the other, NaN for a missing value.
    ///
    /// # Panics
    /// When `rows` does not hold `width` values for each of `out`: a bug of the caller, which encodes all rows by one schema.
    pub fn margins(&self, rows: &[f32], out: &mut [f32]) {
        self.margins_with(Kernel::best(), rows, out);
    }

    /// The same by a named kernel, for comparisons.
    ///
    /// # Panics
    /// As [`Self::margins`].
    pub fn margins_with(&self, kernel: Kernel, rows: &[f32], out: &mut [f32]) {
        assert_eq!(rows.len(), out.len() * self.width, "one margin a row");
        let unit = self.layout.value(1);
        let mut out = out.iter_mut();
        kernel::sums(kernel, &self.layout, self.width, rows, |sums| {
            for (sum, out) in sums.iter().zip(&mut out) {
                *out = (self.base + f64::from(*sum) * unit) as f32;
            }
        });
    }

    /// What a margin predicts: the probability of an attack, or the value itself.
    #[must_use]
    pub fn prediction(&self, margin: f32) -> f32 {
        match self.link {
            Link::Logistic => (1.0 / (1.0 + libm::exp(-f64::from(margin)))) as f32,
            Link::Identity => margin,
        }
    }
}

#[cfg(test)]
mod tests;
