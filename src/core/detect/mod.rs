//! Stage 5/8: detectors. Pure functions from feature rows to one raw score an event.
//!
//! Scores are surprise in nats (0 ordinary, larger rarer) except for the isolation forest, whose score is in 0..1; the
//! ensemble turns each into a calibrated p-value. A detector never sees the state and never another entity's row.

use super::features::row::{FeatureRows, RowView, Signal, SignalRow};
use super::settings::DetectorsSettings;

pub mod surprise;
pub mod threat_type;
pub mod words;

pub mod beaconing;
pub mod behavior;
pub mod brute_force;
pub mod dns_tunnel;
pub mod fan_out;
pub mod forest;
pub mod lstm;
pub mod threat_intel;
pub mod trees;

/// All detectors, in the order in which they are declared, summed and shown; an index into it is a bit of [`Signal::Exempt`].
pub const NAMES: [&str; 9] = [
    "isolation_forest",
    "behavior",
    "beaconing",
    "brute_force",
    "fan_out",
    "dns_tunnel",
    "threat_intel",
    "lstm_autoencoder",
    "boosted_trees",
];
pub const ISOLATION_FOREST: usize = 0;
pub const BEHAVIOR: usize = 1;
pub const BEACONING: usize = 2;
pub const BRUTE_FORCE: usize = 3;
pub const FAN_OUT: usize = 4;
pub const DNS_TUNNEL: usize = 5;
pub const THREAT_INTEL: usize = 6;
pub const LSTM_AUTOENCODER: usize = 7;
pub const BOOSTED_TREES: usize = 8;
/// Those that learn nothing.
pub const RULES: std::ops::RangeInclusive<usize> = BEHAVIOR..=THREAT_INTEL;
/// Those that exist once they were learned.
pub const LEARNED: [usize; 3] = [ISOLATION_FOREST, LSTM_AUTOENCODER, BOOSTED_TREES];

/// Version of the detectors that learn nothing.
pub const RULES_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Place of a detector in [`NAMES`].
#[must_use]
pub fn index_of(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The enabled detectors that learn nothing, in the order of [`NAMES`].
#[must_use]
pub fn rules(settings: &DetectorsSettings) -> Vec<Box<dyn Detector>> {
    let all: [(bool, Box<dyn Detector>); 6] = [
        (settings.behavior.enabled, Box::new(behavior::Behavior::new(&settings.behavior))),
        (settings.beaconing.enabled, Box::new(beaconing::Beaconing)),
        (settings.brute_force.enabled, Box::new(brute_force::BruteForce)),
        (settings.fan_out.enabled, Box::new(fan_out::FanOut)),
        (settings.dns_tunnel.enabled, Box::new(dns_tunnel::DnsTunnel)),
        (settings.threat_intel.enabled, Box::new(threat_intel::ThreatIntel)),
    ];
    all.into_iter().filter(|(enabled, _)| *enabled).map(|(_, detector)| detector).collect()
}

/// Whether this detector is switched off for the row's entity.
#[must_use]
#[inline]
pub fn is_exempt(row: &SignalRow, index: usize) -> bool {
    (row[Signal::Exempt as usize] as u32 >> index) & 1 != 0
}

/// One pass over a batch: 0 for exempt rows, `score` for the others, cut into what a score may be.
#[inline]
pub(crate) fn each_row(rows: FeatureRows<'_>, index: usize, out: &mut [f32], score: impl Fn(&SignalRow) -> f32) {
    assert_eq!(rows.signals.len(), out.len(), "one score a row");
    for (row, out) in rows.signals.iter().zip(out) {
        *out = if is_exempt(row, index) { 0.0 } else { surprise::bounded(score(row)) };
    }
}

/// A detector: called for many rows at a time, infallible, deterministic. A row's score depends on that row alone.
pub trait Detector: Send + Sync {
    /// Stable name in outputs, metrics and bundles: `isolation_forest`, `behavior`, ...
    fn name(&self) -> &'static str;
    /// Version shown with every threat: the bundle's for learned models, the code's for the others.
    fn version(&self) -> &str;
    /// Writes one raw score for each row. `out` has as many places as there are rows.
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]);
    /// Explains one row of which this detector was a part. Called only for threats.
    fn explain(&self, row: RowView<'_>, out: &mut Explanation);
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

impl Explanation {
    /// Adds an anomaly and, for the same figures, a contribution; nothing when there is no surprise in it.
    pub(crate) fn add(&mut self, name: &'static str, feature: &'static str, figures: Figures, text: impl FnOnce() -> String) {
        if figures.surprise > 0.0 {
            let Figures { observed, expected, surprise } = figures;
            self.anomalies.push(Anomaly { name, description: text(), observed, expected, surprise });
            self.contributions.push(Contribution { feature, observed, expected, weight: surprise });
        }
    }
    /// Adds a contribution that supports an anomaly already named.
    pub(crate) fn support(&mut self, feature: &'static str, figures: Figures) {
        if figures.surprise > 0.0 {
            let Figures { observed, expected, surprise } = figures;
            self.contributions.push(Contribution { feature, observed, expected, weight: surprise });
        }
    }
}

/// What was seen, what was expected (both in the natural unit), and how surprising that is (nats).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) observed: f32,
    pub(crate) expected: f32,
    pub(crate) surprise: f32,
}

#[cfg(test)]
mod tests;
