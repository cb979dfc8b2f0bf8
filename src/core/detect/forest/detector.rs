//! The forest as a detector of the ensemble: scores rows by the bundle's trees, explains them by Shapley-like occlusion.

use super::Forest;
use crate::core::detect::{Contribution, Detector, Explanation, ISOLATION_FOREST, NAMES, is_exempt, threat_type};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, ModelRow, Schema, SignalRow};

/// A fitted forest with what is ordinary for it.
pub struct ForestDetector {
    forest: Forest,
    version: String,
    schema: Schema,
    /// Benign medians: the row that explanations compare with.
    ordinary: [f32; MODEL_WIDTH],
}

impl ForestDetector {
    #[must_use]
    pub fn new(forest: Forest, version: String, schema: Schema, ordinary: [f32; MODEL_WIDTH]) -> Self {
        Self { forest, version, schema, ordinary }
    }
}

impl Detector for ForestDetector {
    fn name(&self) -> &'static str {
        NAMES[ISOLATION_FOREST]
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
    fn explain(&self, model: &ModelRow, _signals: &SignalRow, out: &mut Explanation) {
        out.threat_type = threat_type::ANOMALOUS_BEHAVIOR;
        let shares = self.forest.contributions(model, &self.ordinary);
        let names = self.schema.model_names();
        for (feature, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (observed, expected) = (model[feature], self.ordinary[feature]);
            out.contributions.push(Contribution { feature: names[feature], observed, expected, weight: *share });
        }
    }
}
