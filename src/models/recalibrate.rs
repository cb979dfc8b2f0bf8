//! What scores mean, learned again from recent benign rows, while the models stay: bounded, so that nobody teaches it an attack.
//!
//! Only rows of little surprise are kept, never those of threats or exempt entities, but for what an analyst says; the oldest leave first. A calibration is the trained one, its scores
//! stretched by how much ordinary ones have moved. The bound is on that factor, and so around what was trained and not around the
//! calibration before: a ramp of many small steps leads no further than one large step. An alarm comes before the bound.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::feedback::Whose;
use super::train::COMBINED;
use crate::core::detect::index_of;
use crate::core::engine::PARTS;
use crate::core::ensemble::{Calibration, Column, Ensemble};
use crate::core::settings::RecalibrationSettings;
use crate::core::state::persist::Persist;
use crate::core::types::EventTime;

/// The scores of one recent row in ten are above the one that is compared: what is rarer may be an attack, or was left out as one.
const COMPARED: f64 = 0.1;
/// A stretch further than this is none.
const FACTOR_MAX: f32 = 100.0;
/// Ordinary scores that all lie within this part of what one nat is worth at least are too alike to be compared.
const SPREAD_MIN: f32 = 0.5;

/// How to recalibrate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Rows kept of the recent ones, those below which nothing is recalibrated, and new ones between two judgements.
    pub capacity: usize,
    pub rows_min: usize,
    pub fresh: usize,
    /// Rows that are more surprising than this, nats, teach nothing.
    pub surprise_max: f32,
    /// How far a score may move away from the trained one, as a multiple; an alarm comes from `alarm` on.
    pub bound: f32,
    pub alarm: f32,
    /// Scores that are nearer than this to what they are taken for stay so: chance moves them too.
    pub step: f32,
}

impl Default for Settings {
    fn default() -> Self {
        // One row in a thousand is left out at 6.9 nats: the tail is the trained one's in any case.
        Self { capacity: 20_000, rows_min: 5_000, fresh: 10_000, surprise_max: 6.9, bound: 1.5, alarm: 1.25, step: 1.05 }
    }
}

impl Settings {
    /// Of a pipeline file. A quarter of the window is enough to begin with, and a twentieth of new rows to look again.
    #[must_use]
    pub fn of(settings: &RecalibrationSettings) -> Self {
        let capacity = usize::try_from(settings.rows).unwrap_or(usize::MAX);
        Self {
            capacity,
            rows_min: capacity / 4,
            fresh: capacity / 20,
            surprise_max: -libm::log(settings.p_value_min) as f32,
            bound: settings.bound,
            alarm: settings.alarm,
            ..Self::default()
        }
    }
}

/// A detector whose scores have moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    pub detector: String,
    /// How far scores of recent rows lie above the least one, as a multiple of how far trained ones did.
    pub factor: f32,
    /// It has passed the alarm's bound: people should look whether that is what is wanted.
    pub is_alarm: bool,
    /// It would have gone further than is allowed, and keeps the calibration that it has.
    pub is_refused: bool,
}

/// Where a bundle came from whose calibration was learned again. The models are those of `parent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recalibration {
    /// The version that was trained: what the bound is around, and whose parts this one shares.
    pub parent: String,
    /// Recent benign rows it was learned from, and the event time of the newest, microseconds since the Unix epoch.
    pub rows: u64,
    pub upto_micros: i64,
    pub shifts: Vec<Shift>,
}

/// A new version of a bundle's calibration, and what has moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalibrated {
    /// `None` where every detector was refused, or nothing has changed.
    pub bundle: Option<Bundle>,
    pub shifts: Vec<Shift>,
}

/// The newest benign rows.
#[derive(Clone, Debug)]
pub struct Recent {
    settings: Settings,
    /// Raw scores of each kept row, and whose they are where that is known; the oldest is at `next` once there are as many as are kept.
    rows: Vec<[f32; PARTS]>,
    whose: Vec<Option<Whose>>,
    next: usize,
    /// Rows since the last recalibration.
    seen: u64,
}

impl Recent {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, rows: vec![], whose: vec![], next: 0, seen: 0 }
    }

    /// Takes a row's raw scores, unless it was a threat, its entity is exempt, or it was too surprising.
    pub fn push(&mut self, raw: [f32; PARTS], surprise: f32, is_threat: bool, is_exempt: bool) {
        if is_threat || is_exempt || surprise.is_nan() || surprise > self.settings.surprise_max {
            return;
        }
        self.take(raw, None);
    }

    /// Takes a row whatever it looks like: the caller knows that it is benign.
    pub fn take(&mut self, raw: [f32; PARTS], whose: Option<Whose>) {
        self.seen += 1;
        if self.rows.len() < self.settings.capacity {
            self.rows.push(raw);
            return self.whose.push(whose);
        }
        (self.rows[self.next], self.whose[self.next]) = (raw, whose);
        self.next = (self.next + 1) % self.rows.len();
    }

    /// Drops the rows that are no longer believed to be benign.
    pub fn forget(&mut self, is_suspect: impl Fn(Whose) -> bool) {
        self.rows.rotate_left(self.next);
        self.whose.rotate_left(self.next);
        self.next = 0;
        let stays: Vec<bool> = self.whose.iter().map(|whose| !whose.is_some_and(&is_suspect)).collect();
        let (mut of_rows, mut of_whose) = (stays.iter(), stays.iter());
        self.rows.retain(|_| of_rows.next().is_none_or(|stays| *stays));
        self.whose.retain(|_| of_whose.next().is_none_or(|stays| *stays));
    }

    /// Rows that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether there are enough rows, and enough new ones since the last recalibration.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.rows.len() >= self.settings.rows_min && self.seen >= self.settings.fresh as u64
    }

    /// Calibrates the detectors of `present` again, within the bounds around `trained`, which may be the same bundle. The newest row
    /// is one of `upto`.
    pub fn recalibrate(&mut self, trained: &Bundle, present: &Bundle, columns: &[Column], upto: EventTime) -> Recalibrated {
        self.seen = 0;
        let (mut calibrations, mut shifts) = (present.calibrations.clone(), vec![]);
        for (name, reference) in &trained.calibrations {
            let Some(index) = index_of(name) else { continue };
            let Some(factor) = self.factor(self.rows.iter().map(|row| row[index]).collect(), reference) else { continue };
            let shift = self.judge(name, factor);
            let moved = present.calibrations.get(name).map_or(1.0, |now| reference.stretch_to(now));
            if !shift.is_refused && self.is_step(factor / moved) {
                calibrations.insert(name.clone(), reference.stretched(factor));
            }
            shifts.push(shift);
        }
        // Where a detector has reached its bound, the sum must not go on in its place.
        let combined = if shifts.iter().any(|shift| shift.is_refused) {
            present.combined.clone()
        } else {
            self.combined(trained, present, columns, &calibrations, &mut shifts).or_else(|| present.combined.clone())
        };
        let is_new = calibrations != present.calibrations || combined != present.combined;
        let bundle = is_new.then(|| {
            let (rows, upto_micros, parent) = (self.rows.len() as u64, upto.0, trained.manifest.version.clone());
            let mut bundle = Bundle { calibrations, combined, ..trained.clone() };
            bundle.manifest.recalibrated = Some(Recalibration { parent, rows, upto_micros, shifts: shifts.clone() });
            bundle.sealed()
        });
        Recalibrated { bundle, shifts }
    }

    /// Rows since the last recalibration, and all that are kept, the oldest first.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.seen.write(out);
        (self.rows.len() as u32).write(out);
        for place in (self.next..self.rows.len()).chain(0..self.next) {
            self.rows[place].write(out);
            u8::from(self.whose[place].is_some()).write(out);
            self.whose[place].unwrap_or_default().write(out);
        }
    }

    /// Takes what [`Self::write`] wrote, of which the newest are kept; `None` where it is something else.
    pub fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        let (mut seen, mut count) = (0u64, 0u32);
        seen.read(input)?;
        count.read(input)?;
        for _ in 0..count {
            let (mut raw, mut is_known, mut whose) = ([0f32; PARTS], 0u8, Whose::default());
            raw.read(input)?;
            is_known.read(input)?;
            whose.read(input)?;
            self.take(raw, (is_known != 0).then_some(whose));
        }
        self.seen = seen;
        input.is_empty().then_some(())
    }

    fn is_step(&self, factor: f32) -> bool {
        factor >= self.settings.step || factor <= 1.0 / self.settings.step
    }

    /// How much further than trained ones recent scores lie above the least one; `None` where too few of them say anything.
    fn factor(&self, mut scores: Vec<f32>, reference: &Calibration) -> Option<f32> {
        scores.retain(|score| score.is_finite());
        if scores.len() < self.settings.rows_min.max(1) {
            return None;
        }
        let place = (((1.0 - COMPARED) * scores.len() as f64) as usize).min(scores.len() - 1);
        let now = *scores.select_nth_unstable_by(place, f32::total_cmp).1;
        let (least, then) = (reference.score_at(0.0), reference.score_at(-libm::log(COMPARED) as f32));
        if then - least < SPREAD_MIN * reference.unit().scale_min() as f32 {
            return None;
        }
        let factor = (now - least) / (then - least);
        (factor.is_finite() && (1.0 / FACTOR_MAX..=FACTOR_MAX).contains(&factor)).then_some(factor)
    }

    fn judge(&self, name: &str, factor: f32) -> Shift {
        let Settings { bound, alarm, .. } = self.settings;
        let passes = |limit: f32| factor >= limit || factor <= 1.0 / limit;
        Shift { detector: name.to_owned(), factor, is_alarm: passes(alarm), is_refused: passes(bound) }
    }

    /// The sum is calibrated anew on what the new calibrations make of the rows.
    fn combined(
        &self,
        trained: &Bundle,
        present: &Bundle,
        columns: &[Column],
        calibrations: &BTreeMap<String, Calibration>,
        shifts: &mut Vec<Shift>,
    ) -> Option<Calibration> {
        let reference = trained.combined.as_ref()?;
        let ensemble = Ensemble::declared(columns, calibrations, None);
        let raw: Vec<f32> = (0..PARTS).flat_map(|index| self.rows.iter().map(move |row| row[index])).collect();
        let (mut parts, mut sums) = (vec![0.0; raw.len()], vec![0.0; self.rows.len()]);
        ensemble.combine(&raw, &[], &mut parts, &mut sums);
        ensemble.sums(&parts, &mut sums);
        let factor = self.factor(sums, reference)?;
        let shift = self.judge(COMBINED, factor);
        let moved = present.combined.as_ref().map_or(1.0, |now| reference.stretch_to(now));
        let fitted = (!shift.is_refused && self.is_step(factor / moved)).then(|| reference.stretched(factor));
        shifts.push(shift);
        fitted
    }
}

#[cfg(test)]
mod tests;
