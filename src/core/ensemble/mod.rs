//! Stage 6/8: raw scores become calibrated surprises in nats and combine into one. Must never change a detector's raw score.

pub mod calibrate;
pub mod combine;
mod tail;

pub use calibrate::{Calibration, SURPRISE_NATS_MAX, Tail, Unit};
pub use combine::{Column, Ensemble, Member, Severity, SeverityThresholds, Source, fisher, p_value, risk_score, threat_score};
