//! How far each column lies from what the others say it should be, under the dependence that benign rows have.
//!
//! Every column is foretold by a ridge regression on all others: one inverse of the covariance of normal scores holds all of them. The
//! errors, each in units of its own spread, count by their logarithm, so that many columns that are a little off together weigh more
//! than one that is far off: drift moves single columns, attacks break what holds between them. Nothing is drawn at random. Must
//! never let one column decide.

use super::linear;
use super::wire::{Reader, Writer};
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;

/// Added to each variance of normal scores.
const RIDGE: f64 = 0.7;
/// Added to each error's variance: columns that the others foretell exactly are not infinitely sure.
const FLOOR: f64 = 0.02;
/// The squared error, in units of its variance, at which the logarithm takes over.
const BEND: f32 = 0.25;
/// Columns at most: those that vary most.
const WIDTH_MAX: usize = 512;

/// A regression for each column.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependence {
    width: usize,
    columns: Vec<u32>,
    centre: Vec<f32>,
    /// For each column the weights whose sum over a centred row is its error in units of its spread.
    weights: Vec<f32>,
}

impl Dependence {
    /// Fits to rows of finite numbers.
    #[must_use]
    pub fn fit(rows: &Matrix) -> Self {
        let columns = linear::widest(rows, WIDTH_MAX);
        let narrow = linear::chosen(rows, &columns);
        let all: Vec<usize> = (0..narrow.rows()).collect();
        let centre = linear::mean(&narrow, &all);
        let covariance = linear::covariance(&narrow, &all, &centre, RIDGE);
        let weights = weights(covariance, columns.len());
        Self { width: rows.width(), columns, centre: centre.iter().map(|c| *c as f32).collect(), weights }
    }

    /// Sums of logarithms of squared errors; higher is odder.
    #[must_use]
    pub fn scores(&self, rows: &Matrix) -> Vec<f32> {
        assert_eq!(rows.width(), self.width, "rows of the regressions' width");
        let (mut sums, mut centred) = (vec![0.0; self.columns.len()], vec![0.0; self.columns.len()]);
        rows.iter()
            .map(|row| {
                for ((d, c), column) in centred.iter_mut().zip(&self.centre).zip(&self.columns) {
                    *d = row[*column as usize] - c;
                }
                self.errors(&centred, &mut sums);
                sums.iter().map(|error| libm::log1pf(error * error / BEND)).sum()
            })
            .collect()
    }

    /// The weights are symmetric but for each column's unit, so a row of them is added for each value, which goes by vectors.
    fn errors(&self, centred: &[f32], sums: &mut [f32]) {
        sums.fill(0.0);
        for (value, weights) in centred.iter().zip(self.weights.chunks_exact(centred.len().max(1))) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.word(self.width as u32);
        out.words(self.columns.iter().copied());
        out.floats(self.centre.iter().copied());
        out.floats(self.weights.iter().copied());
    }

    /// # Errors
    /// `Config`: not what [`Self::write`] writes.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (width, columns, centre, weights) = (from.word()? as usize, from.words()?, from.floats()?, from.floats()?);
        let sized = columns.len() <= WIDTH_MAX && centre.len() == columns.len() && weights.len() == columns.len() * columns.len();
        let finite = centre.iter().chain(&weights).all(|v| v.is_finite());
        if !sized || !finite || columns.is_empty() || columns.iter().any(|c| *c as usize >= width) {
            return Err(Error::config("the dependence between columns is damaged; train the model again"));
        }
        Ok(Self { width, columns, centre, weights })
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
}

/// From the covariance, ridge included. With `P` its inverse, the error of column `j` is `sum_i P_ij x_i / P_jj`, and its variance
/// over the fitted rows is `(1 - ridge * sum_i P_ij^2 / P_jj) / P_jj`.
fn weights(mut covariance: Vec<f64>, width: usize) -> Vec<f32> {
    linear::cholesky(&mut covariance, width, RIDGE);
    let inverse = linear::inverted(&covariance, width);
    let mut precision = vec![0.0_f64; width * width];
    for k in 0..width {
        let row = &inverse[k * width..k * width + k + 1];
        for (i, factor) in row.iter().enumerate() {
            precision[i * width..i * width + i + 1].iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    for i in 0..width {
        for j in i + 1..width {
            precision[i * width + j] = precision[j * width + i];
        }
    }
    let unit: Vec<f64> = (0..width)
        .map(|j| {
            let own = precision[j * width + j];
            let squares: f64 = precision[j * width..(j + 1) * width].iter().map(|p| p * p).sum();
            let variance = ((1.0 - RIDGE * squares / own) / own).max(0.0);
            1.0 / (own * libm::sqrt(variance + FLOOR))
        })
        .collect();
    precision.chunks_exact(width).flat_map(|row| row.iter().zip(&unit).map(|(p, unit)| (p * unit) as f32)).collect()
}

#[cfg(test)]
mod tests;
