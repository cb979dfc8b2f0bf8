//! The isolation forest as a detector. Its raw score is 0..1, not nats; without a trained forest it is 0 for every row.

use std::sync::Arc;

use super::{Forest, NAME};
use crate::core::detect::{Contribution, Detector, Explanation};
use crate::core::ensemble::Calibration;
use crate::core::features::row::{FeatureRows, ModelRow, Schema, SignalRow};

/// Features with a smaller share of the score are not worth an analyst's time.
const SHARE_MIN: f32 = 0.05;

/// A forest with what its explanations need.
#[derive(Clone, Debug)]
pub struct IsolationForest {
    forest: Option<Arc<Forest>>,
    version: String,
    /// Benign medians of the features.
    reference: ModelRow,
    schema: Schema,
    calibration: Option<Calibration>,
}

impl IsolationForest {
    #[must_use]
    pub fn new(
        forest: Option<Arc<Forest>>,
        version: String,
        reference: ModelRow,
        schema: Schema,
        calibration: Option<Calibration>,
    ) -> Self {
        Self { forest, version, reference, schema, calibration }
    }
}

impl Detector for IsolationForest {
    fn name(&self) -> &'static str {
        NAME
    }
    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        match &self.forest {
            Some(forest) => forest.score_rows(rows.model, out),
            None => out.fill(0.0),
        }
    }

    fn explain(&self, model: &ModelRow, _signals: &SignalRow, out: &mut Explanation) {
        let Some(forest) = &self.forest else { return };
        let mut score = [0.0];
        forest.score_rows(std::slice::from_ref(model), &mut score);
        let surprise = self.calibration.as_ref().map_or(score[0], |calibration| calibration.surprise(score[0]));
        let shares = forest.contributions(model, &self.reference);
        let mut order: [usize; super::layout::FEATURES] = std::array::from_fn(|i| i);
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        for feature in order.into_iter().filter(|f| shares[*f] >= SHARE_MIN) {
            out.contributions.push(Contribution {
                feature: self.schema.model_names()[feature],
                observed: model[feature],
                expected: self.reference[feature],
                weight: surprise * shares[feature],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::features::row::SIGNAL_WIDTH;
    use crate::models::forest_fit::ForestParams;
    use crate::models::random::Random;

    #[test]
    fn a_threat_is_explained_by_the_features_that_make_it_one() {
        let mut random = Random::new(4);
        let rows: Vec<ModelRow> = (0..2_000).map(|_| std::array::from_fn(|_| random.unit() as f32)).collect();
        let forest = Arc::new(Forest::fit(&rows, ForestParams::default(), 1).unwrap());
        let mut scores = vec![0.0; rows.len()];
        forest.score_rows(&rows, &mut scores);
        let calibration = Calibration::fit(&mut scores, crate::core::ensemble::Unit::ForestScore);
        let detector = IsolationForest::new(Some(forest), "v".into(), [0.5; 16], Schema::Network, Some(calibration));
        let mut row = [0.5; 16];
        (row[5], row[10]) = (9.0, 7.0);
        let mut explanation = Explanation::default();
        detector.explain(&row, &[0.0; SIGNAL_WIDTH], &mut explanation);
        let mut named: Vec<_> = explanation.contributions.iter().take(2).map(|c| (c.feature, c.observed, c.expected)).collect();
        named.sort_by_key(|c| c.0);
        assert_eq!(named, [("bytes", 9.0, 0.5), ("distinct_destinations", 7.0, 0.5)]);
    }

    #[test]
    fn without_a_forest_nothing_is_suspicious() {
        let detector = IsolationForest::new(None, String::new(), [0.0; 16], Schema::Network, None);
        let (model, signals) = ([[9.0; 16]; 2], [[0.0; SIGNAL_WIDTH]; 2]);
        let mut out = [7.0; 2];
        detector.score(FeatureRows { schema: Schema::Network, model: &model, signals: &signals }, &mut out);
        assert_eq!(out, [0.0, 0.0]);
        let mut explanation = Explanation::default();
        detector.explain(&model[0], &signals[0], &mut explanation);
        assert_eq!(explanation, Explanation::default());
    }
}
