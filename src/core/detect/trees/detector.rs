//! Boosted trees as a detector of a stream. Its raw score is the nats by which the trees doubt that a row is benign; must never score
//! a row whose entity is exempt.

use std::sync::Arc;

use super::Trees;
use crate::core::detect::{BOOSTED_TREES, Contribution, Detector, Explanation, NAMES, is_exempt, surprise, threat_type};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, ModelRow, RowView, Schema};

/// Features that raise the margin by a smaller share of all that raise it are not worth an analyst's time.
const SHARE_MIN: f32 = 0.05;

/// Trees with what their explanations need.
#[derive(Clone, Debug)]
pub struct TreesDetector {
    trees: Arc<Trees>,
    version: String,
    schema: Schema,
    /// Benign medians of the features, shown as expected.
    ordinary: ModelRow,
}

impl TreesDetector {
    #[must_use]
    pub fn new(trees: Arc<Trees>, version: String, schema: Schema, ordinary: ModelRow) -> Self {
        Self { trees, version, schema, ordinary }
    }
}

impl Detector for TreesDetector {
    fn name(&self) -> &'static str {
        NAMES[BOOSTED_TREES]
    }
    fn version(&self) -> &str {
        &self.version
    }

    /// `-ln(1 - p)` of the predicted probability.
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        self.trees.margins(rows.model.as_flattened(), out);
        for (out, signals) in out.iter_mut().zip(rows.signals) {
            *out = if is_exempt(signals, BOOSTED_TREES) { 0.0 } else { surprise::bounded(softplus(*out)) };
        }
    }

    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        out.threat_type = threat_type::ANOMALOUS_BEHAVIOR;
        let raised: Vec<f32> = self.trees.contributions(row.model).iter().map(|share| share.max(0.0)).collect();
        let whole: f32 = raised.iter().take(MODEL_WIDTH).sum();
        let mut order: [usize; MODEL_WIDTH] = std::array::from_fn(|i| i);
        order.sort_by(|a, b| raised[*b].total_cmp(&raised[*a]));
        for feature in order.into_iter().filter(|f| raised[*f] >= SHARE_MIN * whole && whole > 0.0) {
            out.contributions.push(Contribution {
                feature: self.schema.model_names()[feature],
                observed: row.model[feature],
                expected: self.ordinary[feature],
                // The verdict scales a detector's weights to its part of the score.
                weight: raised[feature] / whole,
            });
        }
    }
}

/// `ln(1 + e^x)`, without overflow.
fn softplus(margin: f32) -> f32 {
    let margin = f64::from(margin);
    (margin.max(0.0) + libm::log1p(libm::exp(-margin.abs()))) as f32
}
