//! Learning again what ordinary scores are: each shard offers rows of little surprise, and whoever follows the registry judges them.
//!
//! Rows are taken by event time, one for each part of the window's span, so that neither a busy hour nor a flood fills the window. Must
//! never change what scores by itself: what comes of it is a version of the registry like any other.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::core::engine::{Engine, PARTS};
use crate::core::ensemble::Column;
use crate::core::event::Event;
use crate::core::features::row::Signal;
use crate::core::settings::RecalibrationSettings;
use crate::core::types::EventTime;
use crate::models::bundle::Bundle;
use crate::models::recalibrate::{Recalibrated, Recent, Settings, Shift};
use crate::run::pipeline::Pipeline;

/// Rows of entities that are known for less than this are no measure: what is learned of them has only begun.
const AGE_HOURS_MIN: f32 = 24.0;

/// What a judgement of the window came to, as one process saw it. Kept beside the bundles, for `model show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecalibrationRecord {
    /// The version that scores, and the trained one that the bound is around.
    pub version: String,
    pub trained: String,
    /// Name of the process.
    pub instance: String,
    /// Rows in the window, and the event time of the newest, microseconds since the Unix epoch.
    pub rows: u64,
    pub upto_micros: i64,
    /// Event time at which the alarm was raised that is still on.
    pub alarm_since_micros: Option<i64>,
    pub shifts: Vec<Shift>,
}

/// A judgement, and what follows from it.
pub struct Judged {
    pub record: RecalibrationRecord,
    /// The alarm was raised, or ended, just now.
    pub is_raised: bool,
    pub is_over: bool,
    /// A calibration that is due, made from `record.version`.
    pub bundle: Option<Bundle>,
}

/// The window of all shards of a process.
pub struct Rolling {
    settings: RecalibrationSettings,
    columns: Vec<Column>,
    trained: Arc<Bundle>,
    surprise_max: f32,
    /// Shards that offer rows: each takes its part of them.
    shards: AtomicI64,
    shared: Mutex<Shared>,
}

struct Shared {
    recent: Recent,
    present: Arc<Bundle>,
    /// Event time of the first row since the window began, and of the newest.
    first: EventTime,
    newest: EventTime,
    alarm_since: Option<EventTime>,
}

impl Rolling {
    /// For what was made from `trained`, which `present` may be itself.
    #[must_use]
    pub fn new(pipeline: &Pipeline, trained: Arc<Bundle>, present: Arc<Bundle>) -> Self {
        let (settings, of) = (pipeline.file.recalibration, Settings::of(&pipeline.file.recalibration));
        let (first, newest) = (EventTime(i64::MAX), EventTime(i64::MIN));
        let shared = Shared { recent: Recent::new(of), present, first, newest, alarm_since: None };
        let (columns, surprise_max) = (pipeline.columns(), of.surprise_max);
        Self { settings, columns, trained, surprise_max, shards: AtomicI64::new(0), shared: Mutex::new(shared) }
    }

    /// The trained version that all calibrations are bound to.
    #[must_use]
    pub fn trained(&self) -> &str {
        &self.trained.manifest.version
    }

    /// Another calibration of the same models scores from now on.
    pub fn set_present(&self, bundle: Arc<Bundle>) {
        self.shared().present = bundle;
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes ordinary rows: event time, raw scores, surprise.
    pub(super) fn offer(&self, rows: impl Iterator<Item = (EventTime, [f32; PARTS], f32)>) {
        let mut shared = self.shared();
        for (time, raw, surprise) in rows {
            (shared.first, shared.newest) = (shared.first.min(time), shared.newest.max(time));
            shared.recent.push(raw, surprise, false, false);
        }
    }

    /// Judges the window where it is full and enough of it is new; otherwise `None`.
    pub fn judge(&self, instance: &str) -> Option<Judged> {
        let mut shared = self.shared();
        if !shared.recent.is_due() {
            return None;
        }
        let (present, upto) = (Arc::clone(&shared.present), shared.newest);
        let Recalibrated { bundle, shifts } = shared.recent.recalibrate(&self.trained, &present, &self.columns, upto);
        let is_alarm = shifts.iter().any(|shift| shift.is_alarm);
        let was_alarm = shared.alarm_since.is_some();
        shared.alarm_since = is_alarm.then(|| shared.alarm_since.unwrap_or(upto));
        let last = present.manifest.recalibrated.as_ref().map_or(shared.first.0, |made| made.upto_micros);
        let is_due = upto.0.saturating_sub(last) >= self.settings.interval.micros;
        let record = RecalibrationRecord {
            version: present.manifest.version.clone(),
            trained: self.trained.manifest.version.clone(),
            instance: instance.to_owned(),
            rows: shared.recent.len() as u64,
            upto_micros: upto.0,
            alarm_since_micros: shared.alarm_since.map(|since| since.0),
            shifts,
        };
        let (is_raised, is_over) = (is_alarm && !was_alarm, was_alarm && !is_alarm);
        Some(Judged { record, is_raised, is_over, bundle: bundle.filter(|_| is_due) })
    }
}

/// One shard's part.
pub struct Feeding {
    rolling: Arc<Rolling>,
    /// Event time from which on the next row is taken.
    next: EventTime,
    rows: Vec<(EventTime, [f32; PARTS], f32)>,
}

impl Feeding {
    #[must_use]
    pub fn new(rolling: Arc<Rolling>) -> Self {
        rolling.shards.fetch_add(1, Ordering::Relaxed);
        Self { rolling, next: EventTime(i64::MIN), rows: vec![] }
    }

    /// Whether this is what it offers rows to.
    #[must_use]
    pub fn is_of(&self, rolling: &Arc<Rolling>) -> bool {
        Arc::ptr_eq(&self.rolling, rolling)
    }

    /// Offers what is due of the rows that the engine has at hand: no threats, nothing that is surprising, no exempt or new entities.
    pub fn feed(&mut self, engine: &Engine, events: &[Event<'_>]) {
        let RecalibrationSettings { span, rows, .. } = self.rolling.settings;
        let spacing = span.micros / i64::try_from(rows).unwrap_or(i64::MAX).max(1) * self.rolling.shards.load(Ordering::Relaxed);
        for verdict in &engine.effects().verdicts {
            let (row, time) = (verdict.row as usize, events[verdict.event as usize].reached);
            let signals = &engine.rows().signals[row];
            let is_known = signals[Signal::Exempt as usize] == 0.0 && signals[Signal::AgeHours as usize] >= AGE_HOURS_MIN;
            let is_ordinary = verdict.severity.is_none() && verdict.surprise <= self.rolling.surprise_max;
            if time < self.next || !is_ordinary || !is_known {
                continue;
            }
            self.next = EventTime(time.0.saturating_add(spacing));
            self.rows.push((time, engine.scores().raw(row), verdict.surprise));
        }
        if !self.rows.is_empty() {
            self.rolling.offer(self.rows.drain(..));
        }
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.rolling.shards.fetch_sub(1, Ordering::Relaxed);
    }
}
