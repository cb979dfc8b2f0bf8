//! Figures of a training run for the manifest: what scores looked like, where features lie. Decide nothing.

use crate::core::ensemble::Calibration;
use crate::core::features::row::{MODEL_WIDTH, ModelRow};
use crate::models::bundle::DetectorMetrics;
use crate::models::drift::Reference;

/// What a detector's raw scores looked like; `surprises` are those of calibrations that did not see the rows.
pub(super) fn metrics(mut scores: Vec<f32>, calibration: &Calibration, surprises: Option<&[f32]>) -> DetectorMetrics {
    scores.retain(|s| s.is_finite());
    scores.sort_unstable_by(f32::total_cmp);
    let quantile = |q: f64| scores.get(((scores.len() as f64 * q) as usize).min(scores.len().saturating_sub(1))).copied().unwrap_or(0.0);
    let at = |nats: f64| surprises.map(|all| all.iter().filter(|s| f64::from(**s) >= nats).count() as f64 / all.len().max(1) as f64);
    DetectorMetrics {
        samples: calibration.samples(),
        rejected: calibration.rejected(),
        median: quantile(0.5),
        p99: quantile(0.99),
        max: quantile(1.0),
        tail: calibration.tail(),
        false_positives_at_1_percent: at(std::f64::consts::LN_10 * 2.0),
        false_positives_at_01_percent: at(std::f64::consts::LN_10 * 3.0),
    }
}

/// How each feature is distributed, of rows in order of time.
pub(super) fn features(rows: &[&ModelRow]) -> Vec<Reference> {
    let column = |feature: usize| Reference::in_time(&rows.iter().map(|row| row[feature]).collect::<Vec<f32>>());
    (0..MODEL_WIDTH).filter_map(column).collect()
}

/// Median and median absolute deviation of each feature.
pub(super) fn centres(rows: &[ModelRow]) -> (ModelRow, ModelRow) {
    let (mut medians, mut deviations) = ([0.0; MODEL_WIDTH], [0.0; MODEL_WIDTH]);
    for feature in 0..MODEL_WIDTH {
        let mut values: Vec<f32> = rows.iter().map(|row| row[feature]).collect();
        medians[feature] = median(&mut values);
        values.iter_mut().for_each(|v| *v = (*v - medians[feature]).abs().min(f32::MAX));
        deviations[feature] = median(&mut values);
    }
    (medians, deviations)
}

/// The upper median of at least one value.
fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
