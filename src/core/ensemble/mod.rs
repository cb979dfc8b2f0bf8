//! Stage 6/8: raw scores become calibrated surprises in nats and combine into one. Must never change a detector's raw score.

pub mod calibrate;
pub mod combine;
mod tail;

pub use calibrate::{Calibration, Unit};
pub use combine::{Ensemble, Member, Severity, SeverityThresholds, Source, risk_score, threat_score};
