//! Learning again what ordinary scores are: each shard offers rows of little surprise, and whoever follows the registry judges them.
//!
//! Rows are taken by event time, one for each part of the window's span, so that neither a busy hour nor a flood fills the window. Analysts'
//! verdicts go over that: who was an attacker is forgotten, and a threat that was nothing is taken. Must
//! never change what scores by itself: what comes of it is a version of the registry like any other.

mod kept;

use std::collections::VecDeque;
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
use crate::models::feedback::{Told, Whose};
use crate::models::recalibrate::{Recalibrated, Recent, Settings, Shift};
use crate::run::pipeline::Pipeline;

/// Rows of entities that are known for less than this are no measure: what is learned of them has only begun.
const AGE_HOURS_MIN: f32 = 24.0;
/// Threats that are kept aside until an analyst may call them nothing.
const ASIDE_MAX: usize = 4_096;

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

/// A row that is offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    /// Event time by which the window goes on.
    pub reached: EventTime,
    pub raw: [f32; PARTS],
    pub whose: Whose,
    /// Only an analyst can make it ordinary.
    pub is_threat: bool,
}

struct Shared {
    recent: Recent,
    /// What analysts have said, and the newest threats, of which they may yet say something.
    told: Arc<Told>,
    aside: VecDeque<Offered>,
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
        let (told, aside) = (Arc::default(), VecDeque::new());
        let shared = Shared { recent: Recent::new(of), told, aside, present, first, newest, alarm_since: None };
        let (columns, surprise_max) = (pipeline.columns(), of.surprise_max);
        Self { settings, columns, trained, surprise_max, shards: AtomicI64::new(0), shared: Mutex::new(shared) }
    }

    /// The trained version that all calibrations are bound to.
    #[must_use]
    pub fn trained(&self) -> &str {
        &self.trained.manifest.version
    }

    /// Rows in the window.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shared().recent.len()
    }

    /// Another calibration of the same models scores from now on.
    pub fn set_present(&self, bundle: Arc<Bundle>) {
        self.shared().present = bundle;
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes rows: ordinary ones whose entity nobody has called an attacker, and threats that an analyst has called nothing.
    pub(super) fn offer(&self, rows: impl Iterator<Item = Offered>) {
        let mut shared = self.shared();
        for row in rows {
            if row.is_threat && !shared.told.is_benign(row.whose) {
                if shared.aside.len() == ASIDE_MAX {
                    shared.aside.pop_front();
                }
                shared.aside.push_back(row);
            } else if row.is_threat || !shared.told.is_suspect(row.whose) {
                shared.take(row);
            }
        }
    }

    /// Hears what analysts say now: also of rows that were offered before.
    pub fn hear(&self, told: &Arc<Told>) {
        let mut shared = self.shared();
        if shared.told == *told {
            return;
        }
        shared.told = Arc::clone(told);
        shared.recent.forget(|whose| told.is_suspect(whose) && !told.is_benign(whose));
        let (benign, aside) = std::mem::take(&mut shared.aside).into_iter().partition(|row| told.is_benign(row.whose));
        shared.aside = aside;
        let benign: VecDeque<Offered> = benign;
        benign.into_iter().for_each(|row| shared.take(row));
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

impl Shared {
    fn take(&mut self, row: Offered) {
        (self.first, self.newest) = (self.first.min(row.reached), self.newest.max(row.reached));
        self.recent.take(row.raw, Some(row.whose));
    }
}

/// One shard's part.
pub struct Feeding {
    rolling: Arc<Rolling>,
    /// Event time from which on the next row is taken.
    next: EventTime,
    rows: Vec<Offered>,
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

    /// Offers what is due of the rows that the engine has at hand: nothing that is surprising, no exempt or new entities; and all threats,
    /// to be kept aside.
    pub fn feed(&mut self, engine: &Engine, events: &[Event<'_>]) {
        let RecalibrationSettings { span, rows, .. } = self.rolling.settings;
        let spacing = span.micros / i64::try_from(rows).unwrap_or(i64::MAX).max(1) * self.rolling.shards.load(Ordering::Relaxed);
        for verdict in &engine.effects().verdicts {
            let (row, event) = (verdict.row as usize, &events[verdict.event as usize]);
            let (signals, reached) = (&engine.rows().signals[row], event.reached);
            let is_known = signals[Signal::Exempt as usize] == 0.0 && signals[Signal::AgeHours as usize] >= AGE_HOURS_MIN;
            let is_threat = verdict.severity.is_some();
            let is_due = reached >= self.next && verdict.surprise <= self.rolling.surprise_max;
            if !is_known || !(is_threat || is_due) {
                continue;
            }
            if !is_threat {
                self.next = EventTime(reached.0.saturating_add(spacing));
            }
            let whose = Whose::of(event.entity.kind, event.entity.name, event.time);
            self.rows.push(Offered { reached, raw: engine.scores().raw(row), whose, is_threat });
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
