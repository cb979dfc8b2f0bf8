//! How features are standardised before a network and errors after it. Quantiles, so that a few wild rows change nothing.

use crate::core::detect::lstm::{Layers, Network, RowWeights, State};
use crate::models::matrix::Matrix;

/// Rows that quantiles are taken from, spread evenly over all.
const ROWS_MAX: usize = 100_000;
/// The smallest error that counts as usual, in spreads of the feature: below it, a feature that is always predicted exactly would
/// drown all others by rounding alone.
const ERROR_MIN: f32 = 0.05;

/// Medians and spreads of the features; a feature that does not vary keeps its unit, and those of the set `ignored` become 0.
pub(super) fn of_features(sequences: &[Matrix], layers: Layers, ignored: u64) -> RowWeights {
    let width = layers.shape.inputs;
    let rows: Vec<&[f32]> = sequences.iter().flat_map(Matrix::iter).collect();
    let rows: Vec<&[f32]> = rows.iter().copied().step_by(rows.len().div_ceil(ROWS_MAX).max(1)).collect();
    let mut weights = RowWeights { layers, center: vec![], inverse_spread: vec![], inverse_error: vec![1.0; width] };
    for feature in 0..width {
        let mut values: Vec<f32> = rows.iter().map(|row| row[feature]).filter(|value| value.is_finite()).collect();
        values.sort_by(f32::total_cmp);
        let center = quantile(&values, 0.5);
        let mut sizes: Vec<f32> = values.iter().map(|value| (value - center).abs()).collect();
        sizes.sort_by(f32::total_cmp);
        // Two quantiles of a normal distribution's size, the larger: rare values of a feature that is mostly constant count too.
        let spread = (quantile(&sizes, 0.683)).max(quantile(&sizes, 0.954) / 2.0).max(quantile(&sizes, 0.999) / 6.0);
        weights.center.push(center);
        weights.inverse_spread.push(match spread {
            _ if is_in(ignored, feature) => 0.0,
            spread if spread > 1e-6 => 1.0 / spread,
            _ => 1.0,
        });
    }
    weights
}

/// What each feature's error is to be multiplied with, from the errors on sequences that were held out.
pub(super) fn of_errors(network: &Network, validation: &[Matrix], ignored: u64) -> Vec<f32> {
    let width = network.width();
    let mut sizes: Vec<Vec<f32>> = vec![vec![]; width];
    let total: usize = validation.iter().map(Matrix::rows).sum();
    let every = total.div_ceil(ROWS_MAX).max(1);
    let mut seen = 0;
    for sequence in validation {
        let mut state = State::default();
        for row in sequence.iter() {
            if seen % every == 0 {
                let errors = network.errors(&state, row);
                sizes.iter_mut().zip(errors).for_each(|(sizes, error)| sizes.push(error.abs()));
            }
            seen += 1;
            network.step(&mut state, row);
        }
    }
    let inverse = |sizes: &mut Vec<f32>| {
        sizes.sort_by(f32::total_cmp);
        1.0 / quantile(sizes, 0.683).max(quantile(sizes, 0.954) / 2.0).max(ERROR_MIN)
    };
    sizes.iter_mut().enumerate().map(|(feature, sizes)| if is_in(ignored, feature) { 0.0 } else { inverse(sizes) }).collect()
}

/// Whether a set of bits has the feature.
pub(super) fn is_in(set: u64, feature: usize) -> bool {
    feature < 64 && set >> feature & 1 == 1
}

/// 0 without values.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    sorted[(share * last as f64 + 0.5) as usize]
}
