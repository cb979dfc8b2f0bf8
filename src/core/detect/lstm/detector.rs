//! The autoencoder as a detector. Its raw score is the error of the row, computed with the state; must never score a row whose entity
//! is exempt.

use std::sync::Arc;

use super::Network;
use crate::core::detect::{Contribution, Detector, Explanation, LSTM_AUTOENCODER, NAMES, is_exempt, threat_type};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, RowView, Schema};

/// Features with a smaller share of the error are not worth an analyst's time.
const SHARE_MIN: f32 = 0.05;

/// A network with what its explanations need.
#[derive(Clone, Debug)]
pub struct LstmDetector {
    network: Arc<Network>,
    version: String,
    schema: Schema,
}

impl LstmDetector {
    #[must_use]
    pub fn new(network: Arc<Network>, version: String, schema: Schema) -> Self {
        Self { network, version, schema }
    }
}

impl Detector for LstmDetector {
    fn name(&self) -> &'static str {
        NAMES[LSTM_AUTOENCODER]
    }
    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        out.fill(0.0);
        for ((step, signals), out) in rows.sequence.iter().zip(rows.signals).zip(out) {
            if !is_exempt(signals, LSTM_AUTOENCODER) {
                *out = step.error;
            }
        }
    }

    /// Each feature's part of the error; what the network expected stands beside what was observed.
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        out.threat_type = threat_type::ANOMALOUS_BEHAVIOR;
        let Some(step) = row.sequence else { return };
        let errors = self.network.errors(&step.before, row.model);
        let expected = self.network.expected(&errors, row.model);
        let costs: Vec<f32> = errors.iter().map(|error| error * error).collect();
        let whole: f32 = costs.iter().sum();
        let mut order: [usize; MODEL_WIDTH] = std::array::from_fn(|i| i);
        order.sort_by(|a, b| costs[*b].total_cmp(&costs[*a]));
        for feature in order.into_iter().filter(|f| costs[*f] >= SHARE_MIN * whole && whole > 0.0) {
            out.contributions.push(Contribution {
                feature: self.schema.model_names()[feature],
                observed: row.model[feature],
                expected: expected[feature],
                // The verdict scales a detector's weights to its part of the score.
                weight: costs[feature] / whole,
            });
        }
    }
}
