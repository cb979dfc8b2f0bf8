//! From benign events to a bundle: a bounded sample of rows, a forest, and what every detector's scores look like.
//!
//! Must never calibrate the forest on rows it grew from, hold more rows than its capacity, or give another bundle for the same
//! rows in the same order with the same seed. Rows are taken as benign; a few that are not are trimmed or outvoted.

use std::collections::BTreeMap;

use super::bundle::{Bundle, DetectorMetrics, FORMAT, Manifest, Origin, Training, summed};
use super::drift::References;
use super::forest_fit::ForestParams;
use super::prevalence_count::PrevalenceCounter;
use super::random::Random;
use super::sample::{Fitted, is_held_out};
use crate::core::detect::forest::layout::Row;
use crate::core::detect::forest::{Forest, NAME as FOREST_NAME};
use crate::core::detect::{BOOSTED_TREES, LSTM_AUTOENCODER, index_of, rules};
use crate::core::ensemble::{Calibration, Column, Ensemble, Unit};
use crate::core::features::prevalence::Prevalence;
use crate::core::features::row::{FeatureRows, ModelRow, Schema, Signal, SignalRow};
use crate::core::settings::DetectorsSettings;
use crate::core::types::{EntityKey, EventTime};
use crate::error::{Error, Result};
use crate::limits::TRAINING_ROWS_MAX;
use columns::Columns;
use figures::centres;

/// The sample is cut into so many stretches of time, every third of which the forest grows from. Neighbouring rows are alike, so
/// stretches and not single rows are what keeps the calibration honest; many of them give both parts all hours.
const STRETCHES: usize = 60;
/// Name of the detectors' sum among the figures of detectors.
pub const COMBINED: &str = "combined";
/// Fewer rows than this grow no forest.
pub const FOREST_ROWS_MIN: usize = 64;
/// With fewer rows to calibrate on than this, they are not divided to judge themselves.
const CROSS_ROWS_MIN: usize = 200;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Name of the bundle and of the pipeline it is for.
    pub name: String,
    pub pipeline: String,
    pub schema: Schema,
    /// The detectors in declared order. `isolation_forest` is computed here; all others come with the rows.
    pub columns: Vec<Column>,
    pub forest: ForestParams,
    /// Rows kept, at most [`TRAINING_ROWS_MAX`].
    pub capacity: usize,
    /// Share of the rows the forest grows from that is left out as the most anomalous, against contamination. 0..0.5.
    pub trim: f64,
    pub seed: u64,
    /// The detectors' settings, for those whose scores depend on what is learned of destinations.
    pub detectors: DetectorsSettings,
}

impl TrainOptions {
    /// 50,000 rows, the most anomalous 0.5 % left out.
    #[must_use]
    pub fn new(name: &str, schema: Schema, columns: Vec<Column>, seed: u64) -> Self {
        let (name, pipeline) = (name.to_owned(), name.to_owned());
        Self {
            name,
            pipeline,
            schema,
            columns,
            forest: ForestParams::default(),
            capacity: 50_000,
            trim: 0.005,
            seed,
            detectors: DetectorsSettings::default(),
        }
    }
}

/// Collects rows for a bundle.
#[derive(Clone, Debug)]
pub struct Trainer {
    options: TrainOptions,
    random: Random,
    seen: u64,
    oldest: EventTime,
    newest: EventTime,
    /// When each kept row was seen, the row, and its raw scores: one for each column, rows one behind the other.
    order: Vec<u64>,
    rows: Vec<ModelRow>,
    raw: Vec<f32>,
    /// Signals and destination of each kept row; empty where none were given.
    signals: Vec<SignalRow>,
    places: Vec<u64>,
    /// Whether the kept row's entity is one that no model was fitted on.
    held_out: Vec<bool>,
    /// Fitted before, on other entities; their scores come with the rows.
    models: Fitted,
    prevalence: PrevalenceCounter,
}

impl Trainer {
    #[must_use]
    pub fn new(mut options: TrainOptions) -> Self {
        options.capacity = options.capacity.clamp(1, TRAINING_ROWS_MAX);
        options.trim = options.trim.clamp(0.0, 0.5);
        let random = Random::new(options.seed);
        let (oldest, newest) = (EventTime(i64::MAX), EventTime(i64::MIN));
        Self {
            options,
            random,
            seen: 0,
            oldest,
            newest,
            order: vec![],
            rows: vec![],
            raw: vec![],
            signals: vec![],
            places: vec![],
            held_out: vec![],
            models: Fitted::default(),
            prevalence: PrevalenceCounter::default(),
        }
    }

    /// With models that were fitted before and have scored the events that are taken.
    #[must_use]
    pub fn with_models(self, models: Fitted) -> Self {
        Self { models, ..self }
    }

    /// Takes one event: its row and the raw score of each column in declared order; what stands for the forest is not read.
    ///
    /// Keeps a uniform sample of all events (Vitter, "Random Sampling with a Reservoir", ACM TOMS 11, 1985, algorithm R).
    pub fn push(&mut self, time: EventTime, row: &ModelRow, raw: &[f32]) {
        self.keep(time, row, raw);
    }

    /// [`Self::push`] of an event whose entity and destination (see [`crate::core::features::prevalence::place_of`]) are known, so
    /// that it is learned how many entities use which destination. Detectors then score the kept rows anew with what was learned.
    /// Use either this or `push` for all events.
    pub fn push_event(&mut self, time: EventTime, row: &ModelRow, raw: &[f32], signals: &SignalRow, entity: EntityKey, place: u64) {
        self.prevalence.add(place, entity.0 as u64);
        let Some(kept) = self.keep(time, row, raw) else { return };
        if kept == self.signals.len() {
            self.signals.push(*signals);
            self.places.push(place);
            self.held_out.push(is_held_out(entity));
        } else {
            (self.signals[kept], self.places[kept], self.held_out[kept]) = (*signals, place, is_held_out(entity));
        }
    }

    /// Where the row was kept, if it was.
    fn keep(&mut self, time: EventTime, row: &ModelRow, raw: &[f32]) -> Option<usize> {
        let width = self.options.columns.len();
        assert_eq!(raw.len(), width, "one raw score a column");
        (self.oldest, self.newest) = (self.oldest.min(time), self.newest.max(time));
        let row = Row::of(row).0;
        let kept = if self.rows.len() < self.options.capacity {
            self.order.push(self.seen);
            self.rows.push(row);
            self.raw.extend_from_slice(raw);
            Some(self.rows.len() - 1)
        } else {
            let place = self.random.below(self.seen + 1) as usize;
            (place < self.rows.len()).then(|| {
                self.order[place] = self.seen;
                self.rows[place] = row;
                self.raw[place * width..(place + 1) * width].copy_from_slice(raw);
                place
            })
        };
        self.seen += 1;
        kept
    }

    /// Counts an event that is not to be learned from.
    pub fn skip(&mut self) {
        self.seen += 1;
    }

    /// Events taken so far, the skipped ones included.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }
    /// Rows kept of them.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.rows.len()
    }
    /// The kept rows, in no order: for what else is learned from them, such as peer groups.
    #[must_use]
    pub fn rows(&self) -> &[ModelRow] {
        &self.rows
    }

    /// Learns from what was taken. May be called again after more events.
    ///
    /// An error where there was nothing to learn from, or the forest's parameters are out of range.
    pub fn finish(&self) -> Result<Bundle> {
        if self.rows.is_empty() {
            return Err(Error::config("there is nothing to learn from: no event had features; check the input and its codec"));
        }
        let mut in_time: Vec<usize> = (0..self.rows.len()).collect();
        in_time.sort_unstable_by_key(|i| self.order[*i]);
        let stretch = |place: usize| place * STRETCHES / in_time.len();
        let few = in_time.len() < STRETCHES;
        let (fit, calibrate): (Vec<usize>, Vec<usize>) = (0..in_time.len()).partition(|place| !few && stretch(*place) % 3 == 0);
        let fit_rows: Vec<ModelRow> = fit.iter().map(|place| self.rows[in_time[*place]]).collect();
        let (forest, trimmed) = self.grow(fit_rows)?;

        let prevalence = self.prevalence.finish();
        let raw = self.raw_with(&prevalence);
        let (first, second): (Vec<usize>, Vec<usize>) = calibrate.iter().copied().partition(|place| stretch(*place) % 3 == 1);
        let halves = [first, second].map(|half| half.iter().map(|place| in_time[*place]).collect::<Vec<_>>());
        let halves = halves.map(|half| self.columns_of(&half, &raw, forest.as_ref()));
        let learned = self.calibrate(halves, &in_time);
        let (medians, deviations) = centres(&self.rows);
        let training = Training {
            seed: self.options.seed,
            forest: self.options.forest,
            rows: self.rows.len() as u64,
            fit_rows: (fit.len() - trimmed) as u64,
            trimmed_rows: trimmed as u64,
            calibration_rows: calibrate.len() as u64,
            summed: summed(&self.options.columns),
        };
        let manifest = self.manifest(training, learned.metrics.clone(), medians, deviations);
        let Learned { calibrations, combined, references, .. } = learned;
        let references = Some(references);
        let Fitted { lstm, trees } = self.models.clone();
        let combined = Some(combined);
        let bundle = Bundle { manifest, forest, lstm, trees, calibrations, combined, prevalence, references };
        Ok(bundle.sealed())
    }

    fn manifest(
        &self,
        training: Training,
        detectors: BTreeMap<String, DetectorMetrics>,
        medians: ModelRow,
        deviations: ModelRow,
    ) -> Manifest {
        Manifest {
            format: FORMAT,
            name: self.options.name.clone(),
            version: String::new(),
            created_from: Origin {
                pipeline: self.options.pipeline.clone(),
                events: self.seen,
                oldest_micros: self.oldest.0,
                newest_micros: self.newest.0,
            },
            schema: self.options.schema,
            features: self.options.schema.model_names().map(str::to_owned).to_vec(),
            training,
            detectors,
            medians,
            deviations,
            parts: BTreeMap::new(),
            recalibrated: None,
        }
    }

    /// Grows the forest twice: the rows the first one finds most anomalous are not in the second. Returns how many those were.
    fn grow(&self, mut rows: Vec<ModelRow>) -> Result<(Option<Forest>, usize)> {
        if rows.len() < FOREST_ROWS_MIN || !self.options.columns.iter().any(|c| c.name == FOREST_NAME) {
            return Ok((None, 0));
        }
        let first = Forest::fit(&rows, self.options.forest, self.options.seed)?;
        let trimmed = (rows.len() as f64 * self.options.trim) as usize;
        if trimmed == 0 {
            return Ok((Some(first), 0));
        }
        let mut scores = vec![0.0; rows.len()];
        first.score_rows(&rows, &mut scores);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        order.truncate(rows.len() - trimmed);
        order.sort_unstable();
        rows = order.into_iter().map(|i| rows[i]).collect();
        Ok((Some(Forest::fit(&rows, self.options.forest, self.options.seed)?), trimmed))
    }

    /// The raw scores as they are once it is known how many entities use which destination.
    fn raw_with(&self, prevalence: &Prevalence) -> Vec<f32> {
        let mut raw = self.raw.clone();
        if self.signals.len() != self.rows.len() {
            return raw;
        }
        let mut signals = self.signals.clone();
        for (row, place) in signals.iter_mut().zip(&self.places) {
            row[Signal::DestinationCommon as usize] = prevalence.common(*place);
        }
        let rows = FeatureRows { schema: self.options.schema, model: &self.rows, signals: &signals, sequence: &[] };
        let width = self.options.columns.len();
        let mut scores = vec![0.0; self.rows.len()];
        for detector in rules(&self.options.detectors) {
            let Some(column) = self.options.columns.iter().position(|column| column.name == detector.name()) else { continue };
            detector.score(rows, &mut scores);
            scores.iter().enumerate().for_each(|(row, score)| raw[row * width + column] = *score);
        }
        raw
    }

    /// Which columns are calibrated: all but evidence and models that there are not.
    fn learned_columns(&self) -> Vec<bool> {
        let is_there = |name: &str| match index_of(name) {
            Some(LSTM_AUTOENCODER) => self.models.lstm.is_some(),
            Some(BOOSTED_TREES) => self.models.trees.is_some(),
            _ => true,
        };
        self.options.columns.iter().map(|column| !column.evidence && is_there(&column.name)).collect()
    }

    /// Raw scores of the chosen rows, column after column.
    fn columns_of(&self, chosen: &[usize], raw_scores: &[f32], forest: Option<&Forest>) -> Columns {
        let width = self.options.columns.len();
        let mut raw = Vec::with_capacity(chosen.len() * width);
        for (index, column) in self.options.columns.iter().enumerate() {
            match forest {
                Some(forest) if column.name == FOREST_NAME => {
                    let rows: Vec<ModelRow> = chosen.iter().map(|i| self.rows[*i]).collect();
                    let from = raw.len();
                    raw.resize(from + rows.len(), 0.0);
                    forest.score_rows(&rows, &mut raw[from..]);
                }
                None if column.name == FOREST_NAME => raw.resize(raw.len() + chosen.len(), 0.0),
                _ => raw.extend(chosen.iter().map(|i| raw_scores[i * width + index])),
            }
        }
        let unseen = chosen.iter().map(|i| self.held_out.get(*i).is_some_and(|held_out| *held_out)).collect();
        let age_hours = self.compared_from();
        let order = chosen.iter().map(|i| self.order[*i]).collect();
        let compared = chosen.iter().map(|i| self.is_compared(*i, age_hours)).collect();
        Columns { rows: chosen.len(), raw, unseen, order, compared }
    }

    /// Calibrates each detector on all rows, and their sum on what those calibrations say of the same rows.
    ///
    /// A row is among those that are at least as large as itself, as a new row is in `(1 + count) / (n + 1)`: so the sums of new rows are
    /// distributed as these. Sums judged by calibrations without the row's stretch of time were tried: an hour in which one entity does what
    /// nobody else does is then beyond everything, and so many alike rows leave no surprise for what really is.
    fn calibrate(&self, halves: [Columns; 2], in_time: &[usize]) -> Learned {
        let columns = &self.options.columns;
        let all = Columns::joined(&halves, columns.len());
        let learned = self.learned_columns();
        let of_all = all.fit(columns, &learned);
        let ensemble = Ensemble::declared(columns, &of_all, None);
        let mut sums = vec![0.0; all.rows];
        ensemble.sums(&all.judged_by(&ensemble).raw, &mut sums);
        let combined = Calibration::fit(&mut sums.clone(), Unit::Sum);
        let mut surprises = vec![0.0; all.rows];
        combined.surprises(&sums, &mut surprises);
        let references = self.references(in_time, &all, &of_all, &surprises);
        // Each half as the other half's calibrations see it: how far a detector's p-values can be trusted.
        let crossed = halves.iter().all(|half| half.rows >= CROSS_ROWS_MIN).then(|| {
            let [first, second] = halves.each_ref().map(|half| Ensemble::declared(columns, &half.fit(columns, &learned), None));
            Columns::joined(&[halves[0].judged_by(&second), halves[1].judged_by(&first)], columns.len())
        });

        let mut metrics = BTreeMap::from([(COMBINED.to_owned(), figures::metrics(sums, &combined, None))]);
        for (index, column) in columns.iter().enumerate() {
            if let Some(calibration) = of_all.get(&column.name) {
                let surprises = crossed.as_ref().map(|crossed| crossed.column(index));
                metrics.insert(column.name.clone(), figures::metrics(all.column(index).to_vec(), calibration, surprises));
            }
        }
        Learned { calibrations: of_all, combined, metrics, references }
    }
}

struct Learned {
    calibrations: BTreeMap<String, Calibration>,
    combined: Calibration,
    metrics: BTreeMap<String, DetectorMetrics>,
    references: References,
}

mod columns;
mod figures;
mod past;
#[cfg(test)]
mod tests;
