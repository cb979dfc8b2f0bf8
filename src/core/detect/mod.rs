//! Stage 5/8: detectors. Pure functions from feature rows to one raw score an event.
//!
//! Scores are surprise in nats (0 ordinary, larger rarer) except for the isolation forest, whose score is in 0..1; the
//! ensemble turns each into a calibrated p-value. A detector never sees the state and never another entity's row.

pub mod forest;

use super::features::row::{FeatureRows, ModelRow, SignalRow};

/// A detector: called once a batch, infallible, deterministic.
pub trait Detector: Send + Sync {
    /// Stable name in outputs, metrics and bundles: `isolation_forest`, `behavior`, ...
    fn name(&self) -> &'static str;
    /// Version shown with every threat: the bundle's for learned models, the code's for the others.
    fn version(&self) -> &str;
    /// Writes one raw score for each row. `out` has as many places as there are rows.
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]);
    /// Explains one row of which this detector was a part. Called only for threats.
    fn explain(&self, model: &ModelRow, signals: &SignalRow, out: &mut Explanation);
}

/// What an analyst reads: named anomalies, and which observation weighed how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// Best type for the threat if this detector dominates (`brute_force`, `port_scan`, ...); empty when it has none to offer.
    pub threat_type: &'static str,
    pub anomalies: Vec<Anomaly>,
    /// Weights in nats; the verdict turns them into shares of the whole score.
    pub contributions: Vec<Contribution>,
}

/// A named anomaly: `impossible_travel`, `unusual_time`, `unusual_volume`, `unusual_resources`, ...
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    pub name: &'static str,
    /// One sentence with the figures, for a person.
    pub description: String,
    pub observed: f32,
    pub expected: f32,
    /// Nats.
    pub surprise: f32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    pub feature: &'static str,
    pub observed: f32,
    pub expected: f32,
    /// Nats.
    pub weight: f32,
}

pub const NAMES: [&str; 7] = ["isolation_forest", "behavior", "beaconing", "brute_force", "fan_out", "dns_tunnel", "threat_intel"];
