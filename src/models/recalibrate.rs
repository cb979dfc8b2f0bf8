//! What scores mean, learned again from recent benign rows, while the models stay: bounded, so that nobody teaches it an attack.
//!
//! Only rows of little surprise are kept, never those of threats or exempt entities, and the oldest leave first. A calibration is the trained one, its scores
//! stretched by how much ordinary ones have moved. The bound is on that factor, and so around what was trained and not around the
//! calibration before: a ramp of many small steps leads no further than one large step. An alarm comes before the bound.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::train::COMBINED;
use crate::core::detect::index_of;
use crate::core::engine::PARTS;
use crate::core::ensemble::{Calibration, Column, Ensemble};
use crate::core::settings::RecalibrationSettings;
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
    /// Raw scores of each kept row; the oldest is at `next` once there are as many as are kept.
    rows: Vec<[f32; PARTS]>,
    next: usize,
    /// Rows since the last recalibration.
    seen: u64,
}

impl Recent {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, rows: vec![], next: 0, seen: 0 }
    }

    /// Takes a row's raw scores, unless it was a threat, its entity is exempt, or it was too surprising.
    pub fn push(&mut self, raw: [f32; PARTS], surprise: f32, is_threat: bool, is_exempt: bool) {
        if is_threat || is_exempt || surprise.is_nan() || surprise > self.settings.surprise_max {
            return;
        }
        self.seen += 1;
        if self.rows.len() < self.settings.capacity {
            return self.rows.push(raw);
        }
        self.rows[self.next] = raw;
        self.next = (self.next + 1) % self.rows.len();
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
mod tests {
    use super::*;
    use crate::core::detect::NAMES;
    use crate::core::features::row::Schema;
    use crate::models::forest_fit::ForestParams;
    use crate::models::random::Random;
    use crate::models::train::{TrainOptions, Trainer};

    const BEHAVIOR: usize = 1;

    fn columns() -> Vec<Column> {
        let weight = |name: &str| if name == NAMES[BEHAVIOR] { 1.0 } else { 0.0 };
        NAMES.map(|name| Column { name: name.to_owned(), weight: weight(name), evidence: false }).to_vec()
    }

    /// Scores of ordinary traffic, in nats, `times` as large.
    fn scores(random: &mut Random, times: f32) -> [f32; PARTS] {
        let mut raw = [0.0; PARTS];
        raw[BEHAVIOR] = -times * libm::logf(random.unit().max(1e-12) as f32);
        raw
    }

    fn trained() -> Bundle {
        let mut options = TrainOptions::new("network", Schema::Network, columns(), 1);
        options.forest = ForestParams { trees: 4, sample: 32 };
        let (mut trainer, mut random) = (Trainer::new(options), Random::new(2));
        for event in 0..30_000 {
            let raw = scores(&mut random, 1.0);
            trainer.push(EventTime(event), &std::array::from_fn(|_| random.unit() as f32), &raw);
        }
        trainer.finish().unwrap()
    }

    fn surprise(bundle: &Bundle, raw: [f32; PARTS]) -> f32 {
        let (mut parts, mut combined) = ([0.0; PARTS], [0.0]);
        bundle.ensemble(&columns()).combine(&raw, &[], &mut parts, &mut combined);
        combined[0]
    }

    /// Traffic whose scores grow by `step` each window, up to `most` times; what happened at which factor.
    fn ramp(step: f32, most: f32, seed: u64) -> (Bundle, Option<f32>, usize) {
        let trained = trained();
        let (mut present, mut alarm, mut versions) = (trained.clone(), None, 0);
        let (mut recent, mut random, mut times) = (Recent::new(Settings::default()), Random::new(seed), 1.0_f32);
        while times < most {
            while !recent.is_due() {
                let raw = scores(&mut random, times);
                let surprise = surprise(&present, raw);
                recent.push(raw, surprise, surprise > 9.2, false);
            }
            let Recalibrated { bundle, shifts } = recent.recalibrate(&trained, &present, &columns(), EventTime(1));
            if shifts.iter().any(|shift| shift.is_alarm) {
                alarm.get_or_insert(times);
            }
            versions += usize::from(bundle.is_some());
            present = bundle.unwrap_or(present);
            times *= step;
        }
        (present, alarm, versions)
    }

    #[test]
    fn a_slow_ramp_raises_an_alarm_long_before_it_is_threefold_and_teaches_no_more_than_the_bound() {
        for step in [1.01, 1.03, 1.1, 1.4] {
            let (present, alarm, versions) = ramp(step, 3.0, 5);
            let alarm = alarm.unwrap();
            assert!(alarm < 2.0, "step {step}: alarm at {alarm}");
            assert!(versions > 0, "step {step}: small changes are followed");
            // An event that was one in 100,000 is still hardly less surprising: the ramp did not make it ordinary.
            let mut rare = [0.0; PARTS];
            rare[BEHAVIOR] = 11.5;
            let (before, after) = (surprise(&trained(), rare), surprise(&present, rare));
            assert!(after > before / 1.8 && after > 6.0, "step {step}: {before} has become {after}");
        }
    }

    #[test]
    fn steady_traffic_raises_no_alarm_and_small_changes_are_followed() {
        for seed in 0..5 {
            let trained = trained();
            let (mut recent, mut random) = (Recent::new(Settings::default()), Random::new(seed));
            for _ in 0..20_000 {
                recent.push(scores(&mut random, 1.0), 1.0, false, false);
            }
            let steady = recent.recalibrate(&trained, &trained, &columns(), EventTime(1));
            assert!(steady.shifts.iter().all(|shift| !shift.is_alarm && !shift.is_refused), "{:?}", steady.shifts);
            assert_eq!(steady.bundle, None, "chance alone makes no version");
            for _ in 0..200_000 {
                recent.push(scores(&mut random, 1.15), 1.0, false, false);
            }
            let followed = recent.recalibrate(&trained, &trained, &columns(), EventTime(1)).bundle.unwrap();
            assert_ne!(followed.manifest.version, trained.manifest.version, "a version of its own");
            let origin = followed.manifest.recalibrated.as_ref().unwrap();
            assert_eq!((&origin.parent, origin.rows, origin.upto_micros), (&trained.manifest.version, 20_000, 1));
            let again = recent.recalibrate(&trained, &followed, &columns(), EventTime(2));
            assert_eq!(again.bundle, None, "what has been followed is not followed again: {:?}", again.shifts);
            let beyond = (0..50_000).filter(|_| surprise(&followed, scores(&mut random, 1.15)) >= 4.605).count();
            assert!((300..800).contains(&beyond), "1 % of 50,000: {beyond}");
        }
    }

    #[test]
    fn threats_exempt_and_surprising_rows_teach_nothing_and_few_rows_neither() {
        let mut recent = Recent::new(Settings::default());
        for _ in 0..30_000 {
            recent.push([9.0; PARTS], 1.0, true, false);
            recent.push([9.0; PARTS], 1.0, false, true);
            recent.push([9.0; PARTS], 8.0, false, false);
            recent.push([9.0; PARTS], f32::NAN, false, false);
        }
        assert!(recent.is_empty() && !recent.is_due());
        let trained = trained();
        recent.push([1.0; PARTS], 0.1, false, false);
        assert_eq!(recent.recalibrate(&trained, &trained, &columns(), EventTime(1)), Recalibrated { bundle: None, shifts: vec![] });
    }
}
