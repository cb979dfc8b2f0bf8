//! Metrics of models: which ones score, how a shadow compares, how far traffic has moved away from what was learned.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::names::{
    CALIBRATION_RATIO, DRIFT, DRIFT_ALARMS, MODEL_INFO, RECALIBRATED, RECALIBRATION_ALARM, RECALIBRATION_FACTOR, SHADOW_DIFFERENCE,
    SHADOW_THREATS,
};
use super::register::{WELL_FORMED, counter_vec, gauge, gauge_vec, int_gauge, int_gauge_vec, register};
use crate::core::types::MICROS_PER_SECOND;
use crate::models::comparison::Compared;
use crate::models::drift::{ColumnDrift, Report};
use crate::models::recalibrate::Shift;

/// Who scores.
pub const CHAMPION: &str = "champion";
pub const SHADOW: &str = "shadow";

pub struct ModelMetrics {
    info: IntGaugeVec,
    shadow_threats: IntGaugeVec,
    shadow_difference: GaugeVec,
    drift: GaugeVec,
    calibration: GaugeVec,
    alarms: IntCounterVec,
    factor: GaugeVec,
    moved: IntGauge,
    recalibrated: Gauge,
    /// Version by role.
    shown: Mutex<BTreeMap<&'static str, String>>,
}

impl ModelMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let info = IntGaugeVec::new(Opts::new(MODEL_INFO.0, MODEL_INFO.1), &["role", "version"]).expect(WELL_FORMED);
        let drift = GaugeVec::new(Opts::new(DRIFT.0, DRIFT.1), &["column", "statistic"]).expect(WELL_FORMED);
        Self {
            info: register(registry, info),
            shadow_threats: int_gauge_vec(registry, SHADOW_THREATS, "found_by"),
            shadow_difference: gauge_vec(registry, SHADOW_DIFFERENCE, "figure"),
            drift: register(registry, drift),
            calibration: gauge_vec(registry, CALIBRATION_RATIO, "p_value"),
            alarms: counter_vec(registry, DRIFT_ALARMS, "statistic"),
            factor: gauge_vec(registry, RECALIBRATION_FACTOR, "detector"),
            moved: int_gauge(registry, RECALIBRATION_ALARM),
            recalibrated: gauge(registry, RECALIBRATED),
            shown: Mutex::default(),
        }
    }

    /// Shows which version has a role; a version that had it before is not shown any more.
    pub fn set(&self, role: &'static str, version: Option<&str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.get(role).map(String::as_str) == version {
            return;
        }
        if let Some(before) = shown.remove(role) {
            // Absent labels are what is wanted.
            drop(self.info.remove_label_values(&[role, &before]));
        }
        if let Some(version) = version {
            self.info.with_label_values(&[role, version]).set(1);
            shown.insert(role, version.to_owned());
        }
    }

    /// A window of traffic beside what was learned, and the statistics of which a bound was passed.
    pub fn set_drift(&self, report: &Report, passed: &[&'static str]) {
        for ColumnDrift { column, psi, ks, .. } in &report.columns {
            self.drift.with_label_values(&[column.as_str(), "psi"]).set(*psi);
            self.drift.with_label_values(&[column.as_str(), "ks"]).set(*ks);
        }
        for share in &report.shares {
            self.calibration.with_label_values(&[share.nominal.to_string().as_str()]).set(share.ratio);
        }
        passed.iter().for_each(|statistic| self.alarms.with_label_values(&[*statistic]).inc());
    }

    /// How far recent ordinary scores have moved; up to which event time a calibration was made of them, where one was.
    pub fn set_recalibration(&self, shifts: &[Shift], made_micros: Option<i64>) {
        for shift in shifts {
            self.factor.with_label_values(&[shift.detector.as_str()]).set(f64::from(shift.factor));
        }
        let moved = shifts.iter().filter(|shift| shift.is_alarm).count();
        self.moved.set(i64::try_from(moved).unwrap_or(i64::MAX));
        if let Some(micros) = made_micros {
            self.recalibrated.set(micros as f64 / MICROS_PER_SECOND as f64);
        }
    }

    /// What the present shadow has come to; nothing where there is none.
    pub fn set_compared(&self, compared: Option<&Compared>) {
        let Some(Compared { rows: _, both, champion_only, shadow_only, mean, p1, p50, p99 }) = compared else {
            self.shadow_threats.reset();
            self.shadow_difference.reset();
            return;
        };
        for (who, count) in [("both", both), (CHAMPION, champion_only), (SHADOW, shadow_only)] {
            self.shadow_threats.with_label_values(&[who]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        for (figure, nats) in [("mean", mean), ("p1", p1), ("p50", p50), ("p99", p99)] {
            self.shadow_difference.with_label_values(&[figure]).set(*nats);
        }
    }
}
