//! Watches whether traffic still is what was learned from: each shard counts its rows, and whoever shows metrics judges them together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::detect::index_of;
use crate::core::engine::Engine;
use crate::core::features::row::{CALENDAR, Signal};
use crate::core::settings::DriftSettings;
use crate::models::bundle::{Bundle, REFERENCES_FILE};
use crate::models::drift::usual::PART_MIN;
use crate::models::drift::{Report, Window};
use crate::run::pipeline::Pipeline;
use crate::run::telemetry::ModelMetrics;

/// One row in so many is compared: all of them would cost as much as a detector.
const SAMPLED_PART: u64 = 8;
/// Columns that a log line names.
const NAMED_MAX: usize = 5;

/// What a bundle was learned from, and what has come since the window began.
pub struct Monitor {
    pipeline: String,
    settings: DriftSettings,
    /// Rows that a window compares: at least as many as the shortest stretch that is known of what was learned from had.
    rows: u64,
    /// Rows of entities known for a shorter time are not compared.
    age_hours: f32,
    /// Features among the columns.
    features: Vec<usize>,
    /// Detectors among the columns, by their place in the ensemble. All features come before them.
    detectors: Vec<usize>,
    empty: Window,
    /// Hash of what it compares with.
    references: Option<String>,
    shared: Mutex<Shared>,
}

struct Shared {
    window: Window,
    /// The window before had passed a bound: that was told.
    is_told: bool,
}

impl Monitor {
    /// `None` for a bundle that does not say what it was learned from.
    #[must_use]
    pub fn new(pipeline: &Pipeline, bundle: &Bundle) -> Option<Self> {
        let references = bundle.references.as_ref()?;
        let (mut columns, mut features, mut detectors) = (vec![], vec![], vec![]);
        for (index, (name, reference)) in bundle.manifest.features.iter().zip(&references.features).enumerate() {
            // A window is shorter than a week.
            if !CALENDAR.contains(&name.as_str()) {
                features.push(index);
                columns.push((name.clone(), reference.clone()));
            }
        }
        for (name, reference) in &references.detectors {
            if let Some(index) = index_of(name) {
                detectors.push(index);
                columns.push((name.clone(), reference.clone()));
            }
        }
        let settings = pipeline.file.drift;
        let learned = bundle.manifest.created_from.events.max(1) as f64;
        let rows = settings.rows.max((PART_MIN * learned) as u64 / SAMPLED_PART);
        let empty = Window::new(columns, &references.shares, (rows * SAMPLED_PART) as f64 / learned);
        let shared = Mutex::new(Shared { window: empty.clone(), is_told: false });
        let (name, age_hours, references) = (pipeline.file.name.clone(), references.age_hours, hash(bundle));
        Some(Self { pipeline: name, settings, rows, age_hours, features, detectors, empty, references, shared })
    }

    /// Whether the window may go on with this bundle: what it compares with is the same.
    #[must_use]
    pub fn is_for(&self, bundle: &Bundle) -> bool {
        self.references.is_some() && self.references == hash(bundle)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the window once it is full: metrics, and a line in the log when traffic moves away and when it comes back.
    pub fn show(&self, metrics: &ModelMetrics) -> Option<Report> {
        let mut shared = self.shared();
        if shared.window.rows() < self.rows {
            return None;
        }
        let report = shared.window.report();
        shared.window.clear();
        let passed = self.passed(&report);
        let (was_told, is_passed) = (shared.is_told, !passed.is_empty());
        shared.is_told = is_passed;
        drop(shared);
        metrics.set_drift(&report, &passed);
        if is_passed && !was_told {
            let (pipeline, statistics, columns) = (&self.pipeline, passed.join(" "), self.columns(&report));
            tracing::warn!(pipeline, statistics, columns, rows = report.rows, "traffic has moved away from what was learned; train again");
        } else if was_told && !is_passed {
            tracing::info!(pipeline = self.pipeline, rows = report.rows, "traffic is again as it was learned");
        }
        Some(report)
    }

    fn passed(&self, report: &Report) -> Vec<&'static str> {
        let DriftSettings { psi, ks, calibration, .. } = self.settings;
        let off = |ratio: f64| ratio >= calibration || ratio <= 1.0 / calibration;
        let all = [
            ("psi", report.columns.iter().any(|column| column.passes_psi(psi))),
            ("ks", report.columns.iter().any(|column| column.passes_ks(ks))),
            ("calibration", report.shares.iter().any(|share| share.is_significant && off(share.ratio))),
        ];
        all.into_iter().filter(|(_, is_passed)| *is_passed).map(|(name, _)| name).collect()
    }

    /// The columns that have moved furthest.
    fn columns(&self, report: &Report) -> String {
        let mut columns: Vec<_> =
            report.columns.iter().filter(|c| c.passes_psi(self.settings.psi) || c.passes_ks(self.settings.ks)).collect();
        columns.sort_by(|a, b| b.psi.total_cmp(&a.psi));
        let named = columns.iter().take(NAMED_MAX).map(|c| format!("{} (psi {:.2}, ks {:.2})", c.column, c.psi, c.ks));
        named.collect::<Vec<_>>().join(", ")
    }
}

fn hash(bundle: &Bundle) -> Option<String> {
    bundle.manifest.parts.get(REFERENCES_FILE).cloned()
}

/// One shard's part.
pub struct Watching {
    monitor: Arc<Monitor>,
    window: Window,
    rows: u64,
}

impl Watching {
    #[must_use]
    pub fn new(monitor: Arc<Monitor>) -> Self {
        Self { window: monitor.empty.clone(), monitor, rows: 0 }
    }

    /// Counts the rows that the engine has at hand, but for those of exempt entities, from which nothing was learned, and of new ones.
    pub fn watch(&mut self, engine: &Engine) {
        let (rows, scores) = (engine.rows(), engine.scores());
        for verdict in &engine.effects().verdicts {
            let row = verdict.row as usize;
            let signals = &rows.signals[row];
            if signals[Signal::Exempt as usize] != 0.0 || signals[Signal::AgeHours as usize] < self.monitor.age_hours {
                continue;
            }
            self.window.surprise(verdict.surprise);
            self.rows += 1;
            if self.rows.is_multiple_of(SAMPLED_PART) {
                let row_of = &rows.model[row];
                let raw = self.monitor.detectors.iter().map(|detector| scores.part(*detector, row).0);
                self.window.add(self.monitor.features.iter().map(|feature| row_of[*feature]).chain(raw));
            }
        }
        self.monitor.shared().window.merge(&self.window);
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::core::features::row::MODEL_WIDTH;
    use crate::models::bundle::tests::{bundle, recalibrated, trainer};
    use crate::models::random::Random;
    use crate::run::telemetry::Metrics;

    #[test]
    fn a_window_is_judged_once_full_and_an_alarm_says_which_bound_was_passed() {
        let mut file = PipelineFile::plain();
        file.drift.rows = 1_000;
        let pipeline = Pipeline::open(file, None).unwrap();
        let bundle = bundle();
        let monitor = Monitor::new(&pipeline, &bundle).unwrap();
        assert!(Monitor::new(&pipeline, &Bundle { references: None, ..bundle }).is_none(), "an older bundle");
        let again = recalibrated();
        assert!(monitor.is_for(&again) && !monitor.is_for(&trainer(5, 900).finish().unwrap()), "a calibration changes no reference");
        let metrics = Metrics::new();
        let mut random = Random::new(3);
        // The bundle was learned from sums of two uniform numbers.
        let mut feed = |rows: usize, shift: f32, nats: f32| {
            let mut window = monitor.empty.clone();
            for _ in 0..rows {
                window.add(std::iter::repeat_with(|| (random.unit() + random.unit()) as f32 + shift).take(MODEL_WIDTH - CALENDAR.len()));
                window.surprise(nats);
            }
            monitor.shared().window.merge(&window);
        };
        feed(999, 0.0, 0.5);
        assert!(monitor.show(&metrics.models).is_none(), "one is missing");
        feed(1, 0.0, 0.5);
        assert_eq!(monitor.show(&metrics.models).unwrap().rows, 1_000);
        let text = metrics.to_text().unwrap();
        assert!(!text.contains("hour_of_day") && !text.contains("day_of_week"), "the clock is no drift");
        assert!(text.contains("threatguard_drift{column=\"") && !text.contains("threatguard_drift_alarms_total{"), "{text}");
        feed(1_000, 0.6, 5.0);
        let report = monitor.show(&metrics.models).unwrap();
        assert!(report.columns.iter().all(|column| column.psi > 0.25 && column.ks > 0.1), "{report:?}");
        let text = metrics.to_text().unwrap();
        for statistic in ["psi", "ks", "calibration"] {
            assert!(text.contains(&format!("threatguard_drift_alarms_total{{statistic=\"{statistic}\"}} 1")), "{statistic} in {text}");
        }
        assert!(text.contains("threatguard_calibration_ratio{p_value=\"0.01\"} 100"), "{text}");
    }
}
