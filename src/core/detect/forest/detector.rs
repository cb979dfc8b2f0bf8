//! The isolation forest as a detector. Its raw score is 0..1, not nats; must never score a row whose entity is exempt.

use super::{Forest, NAME};
use crate::core::detect::{Contribution, Detector, Explanation, ISOLATION_FOREST, is_exempt, threat_type};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, ModelRow, RowView, Schema};

/// Features with a smaller share of the score are not worth an analyst's time.
const SHARE_MIN: f32 = 0.05;

/// A forest with what its explanations need.
#[derive(Clone, Debug)]
pub struct ForestDetector {
    forest: Forest,
    version: String,
    schema: Schema,
    /// Benign medians of the features: the row that explanations compare with.
    ordinary: ModelRow,
}

impl ForestDetector {
    #[must_use]
    pub fn new(forest: Forest, version: String, schema: Schema, ordinary: ModelRow) -> Self {
        Self { forest, version, schema, ordinary }
    }
}

impl Detector for ForestDetector {
    fn name(&self) -> &'static str {
        NAME
    }
    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        self.forest.score_rows(rows.model, out);
        for (score, signals) in out.iter_mut().zip(rows.signals) {
            if is_exempt(signals, ISOLATION_FOREST) {
                *score = 0.0;
            }
        }
    }

    fn explain(&self, RowView { model, .. }: RowView<'_>, out: &mut Explanation) {
        out.threat_type = threat_type::ANOMALOUS_BEHAVIOR;
        let shares = self.forest.contributions(model, &self.ordinary);
        let mut order: [usize; MODEL_WIDTH] = std::array::from_fn(|i| i);
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        for feature in order.into_iter().filter(|f| shares[*f] >= SHARE_MIN) {
            out.contributions.push(Contribution {
                feature: self.schema.model_names()[feature],
                observed: model[feature],
                expected: self.ordinary[feature],
                // The verdict scales a detector's weights to its part of the score.
                weight: shares[feature],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::features::row::{SIGNAL_WIDTH, Signal};
    use crate::models::forest_fit::ForestParams;
    use crate::models::random::Random;

    fn detector() -> ForestDetector {
        let mut random = Random::new(4);
        let rows: Vec<ModelRow> = (0..2_000).map(|_| std::array::from_fn(|_| random.unit() as f32)).collect();
        ForestDetector::new(Forest::fit(&rows, ForestParams::default(), 1).unwrap(), "v1".into(), Schema::Network, [0.5; MODEL_WIDTH])
    }

    #[test]
    fn a_threat_is_explained_by_the_features_that_make_it_one() {
        let mut row = [0.5; MODEL_WIDTH];
        (row[5], row[10]) = (9.0, 7.0);
        let mut explanation = Explanation::default();
        detector().explain(RowView { model: &row, signals: &[0.0; SIGNAL_WIDTH], sequence: None }, &mut explanation);
        let mut named: Vec<_> = explanation.contributions.iter().take(2).map(|c| (c.feature, c.observed, c.expected)).collect();
        named.sort_by_key(|c| c.0);
        assert_eq!(named, [("bytes", 9.0, 0.5), ("distinct_destinations", 7.0, 0.5)]);
    }

    #[test]
    fn exempt_entities_are_not_scored() {
        let model = [[9.0; MODEL_WIDTH]; 2];
        let mut signals = [[0.0; SIGNAL_WIDTH]; 2];
        signals[0][Signal::Exempt as usize] = f32::from(1_u8 << ISOLATION_FOREST);
        let mut out = [7.0; 2];
        detector().score(FeatureRows { schema: Schema::Network, model: &model, signals: &signals, sequence: &[] }, &mut out);
        assert!(out[0].abs() < 1e-9 && out[1] > 0.6, "{out:?}");
    }
}
