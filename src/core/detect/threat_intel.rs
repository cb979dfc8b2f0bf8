//! Threat-intelligence match: an address, domain or hash of the event is on a list. Looks nothing up: the row says what matched.
//!
//! A hit is knowledge and not statistics, so its surprise is fixed by the list's confidence and is not calibrated.

use super::surprise::share;
use super::{Detector, Explanation, Figures, THREAT_INTEL, each_row, threat_type, words};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};

/// Nats of a hit on a list of confidence 1. With the default thresholds 1.0 is critical, 0.9 high, 0.6 medium and 0.45 low.
pub const NATS_FULL: f32 = 26.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct ThreatIntel;

#[inline]
fn nats(row: &SignalRow) -> f32 {
    if signal(row, Signal::IntelList) > 0.0 { NATS_FULL * share(signal(row, Signal::IntelConfidence)) } else { 0.0 }
}

impl Detector for ThreatIntel {
    fn name(&self) -> &'static str {
        super::NAMES[THREAT_INTEL]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, THREAT_INTEL, out, nats);
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        let confidence = signal(row, Signal::IntelConfidence);
        let figures = Figures { observed: confidence, expected: 0.0, surprise: nats(row) };
        out.threat_type = threat_type::THREAT_INTEL_MATCH;
        out.add("threat_intel_match", "intel_confidence", figures, || {
            format!("The event names something that is on a threat-intelligence list of {} confidence.", words::percent(confidence))
        });
    }
}
