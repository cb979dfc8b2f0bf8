//! Detectors and their ensemble, applied to the rows of a batch.

use std::sync::Arc;

use crate::core::detect::lstm::Network;
use crate::core::detect::{Detector, NAMES};
use crate::core::ensemble::{Ensemble, Severity, SeverityThresholds, Source};
use crate::core::features::prevalence::Prevalence;
use crate::core::features::row::{FeatureRows, ModelRow, RowView, Schema, SequenceStep, Signal, SignalRow};
use crate::core::output::ModelsVersion;

/// Number of detectors, and so of parts of a score.
pub const PARTS: usize = NAMES.len();

/// Rows that all detectors look at before the next ones: so many stay in the first-level cache.
const ROWS_AT_ONCE: usize = 64;

/// One version of everything that turns rows into scores. Changed only between batches, as a whole.
pub struct Scorer {
    /// In the order of [`NAMES`]; those that are off or not learned yet are missing.
    detectors: Vec<Box<dyn Detector>>,
    columns: Vec<usize>,
    ensemble: Ensemble,
    thresholds: SeverityThresholds,
    prevalence: Prevalence,
    /// Looks at each entity's rows in their order.
    network: Option<Arc<Network>>,
    /// No bundle yet: scores are the detectors' own, uncalibrated.
    learning: bool,
    models: Option<ModelsVersion>,
}

impl Scorer {
    /// `ensemble` has one member for each of [`NAMES`], in that order; the detectors may come in any.
    ///
    /// # Panics
    /// When it has not, or a detector has another name: a bug in the caller.
    #[must_use]
    pub fn new(mut detectors: Vec<Box<dyn Detector>>, ensemble: Ensemble, thresholds: SeverityThresholds, learning: bool) -> Self {
        assert!(ensemble.members().iter().map(|member| member.name.as_str()).eq(NAMES), "an ensemble has one member a detector");
        let place = |detector: &dyn Detector| NAMES.iter().position(|name| *name == detector.name()).expect("a declared detector");
        detectors.sort_by_key(|detector| place(detector.as_ref()));
        let columns = detectors.iter().map(|detector| place(detector.as_ref())).collect();
        Self { detectors, columns, ensemble, thresholds, prevalence: Prevalence::default(), network: None, learning, models: None }
    }
    /// With what the bundle knows of destinations.
    #[must_use]
    pub fn with_prevalence(mut self, prevalence: Prevalence) -> Self {
        self.prevalence = prevalence;
        self
    }
    /// With the network that the autoencoder among the detectors has.
    #[must_use]
    pub fn with_network(mut self, network: Option<Arc<Network>>) -> Self {
        self.network = network;
        self
    }
    /// As the models of this version, which verdicts name.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.models = version.as_bytes().try_into().ok();
        self
    }
    #[must_use]
    pub fn models(&self) -> Option<ModelsVersion> {
        self.models
    }
    #[must_use]
    pub fn network(&self) -> Option<&Arc<Network>> {
        self.network.as_ref()
    }
    #[must_use]
    pub fn prevalence(&self) -> &Prevalence {
        &self.prevalence
    }

    #[must_use]
    pub fn is_learning(&self) -> bool {
        self.learning
    }
    #[must_use]
    pub fn detectors(&self) -> &[Box<dyn Detector>] {
        &self.detectors
    }
    #[must_use]
    pub fn severity(&self, surprise: f32) -> Option<Severity> {
        self.thresholds.severity(surprise)
    }

    #[must_use]
    pub fn thresholds(&self) -> &SeverityThresholds {
        &self.thresholds
    }
    /// What each detector adds to the combination of a row, nats: its calibrated surprise times its weight.
    #[must_use]
    pub fn weighted(&self, mut parts: [f32; PARTS]) -> [f32; PARTS] {
        for (part, member) in parts.iter_mut().zip(self.ensemble.members()) {
            if let Source::Learned { weight, .. } = member.source {
                *part *= weight;
            }
        }
        parts
    }

    /// Stage 5: raw scores of every row.
    pub fn detect(&self, rows: FeatureRows<'_>, scores: &mut Scores) {
        let count = rows.len();
        scores.rows = count;
        scores.raw.clear();
        scores.raw.resize(count * PARTS, 0.0);
        for from in (0..count).step_by(ROWS_AT_ONCE) {
            let to = (from + ROWS_AT_ONCE).min(count);
            let sequence = rows.sequence.get(from..to).unwrap_or_default();
            let part = FeatureRows { schema: rows.schema, model: &rows.model[from..to], signals: &rows.signals[from..to], sequence };
            for (detector, column) in self.detectors.iter().zip(&self.columns) {
                detector.score(part, &mut scores.raw[column * count + from..column * count + to]);
            }
        }
        scores.exempt.clear();
        scores.exempt.extend(rows.signals.iter().map(|row| row[Signal::Exempt as usize] as u32));
    }

    /// Stage 6: calibrated surprises and their combination.
    pub fn combine(&self, scores: &mut Scores) {
        scores.parts.resize(scores.raw.len(), 0.0);
        scores.combined.resize(scores.rows, 0.0);
        self.ensemble.combine(&scores.raw, &scores.exempt, &mut scores.parts, &mut scores.combined);
    }
}

/// Scores of one batch, column by column.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    rows: usize,
    raw: Vec<f32>,
    exempt: Vec<u32>,
    parts: Vec<f32>,
    combined: Vec<f32>,
}

impl Scores {
    /// Deals one detector's raw scores out anew: row `i` has that of row `order[i]`. For asking how much the detector matters.
    pub fn permute(&mut self, part: usize, order: &[usize]) {
        let column = &mut self.raw[part * self.rows..(part + 1) * self.rows];
        let before = column.to_vec();
        column.iter_mut().zip(order).for_each(|(score, from)| *score = before[*from]);
    }
    /// Combined surprise of a row, nats.
    #[must_use]
    pub fn surprise(&self, row: usize) -> f32 {
        self.combined[row]
    }
    /// Raw scores of a row in the order of [`NAMES`].
    #[must_use]
    pub fn raw(&self, row: usize) -> [f32; PARTS] {
        std::array::from_fn(|part| self.raw[part * self.rows + row])
    }
    /// One detector's raw score of a row and its calibrated surprise, nats.
    #[inline]
    #[must_use]
    pub fn part(&self, part: usize, row: usize) -> (f32, f32) {
        (self.raw[part * self.rows + row], self.parts[part * self.rows + row])
    }
    /// Whether a detector says anything other than 0 of any row.
    #[must_use]
    pub fn is_heard(&self, part: usize) -> bool {
        let column = part * self.rows..(part + 1) * self.rows;
        let bits = |scores: &[f32]| scores.iter().fold(0, |bits, score| bits | score.to_bits());
        bits(&self.raw[column.clone()]) | bits(&self.parts[column]) != 0
    }
    /// Calibrated surprises of a row in the order of [`NAMES`], nats.
    #[must_use]
    pub fn parts(&self, row: usize) -> [f32; PARTS] {
        std::array::from_fn(|part| self.parts[part * self.rows + row])
    }
}

/// The feature rows of one batch, and which event each belongs to.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub schema: Schema,
    pub model: Vec<ModelRow>,
    pub signals: Vec<SignalRow>,
    /// As long as the others where a network looks at sequences, else empty.
    pub sequence: Vec<SequenceStep>,
    /// Index of the row's event in its batch.
    pub event: Vec<u32>,
    /// What the event's destination is counted as, see [`crate::core::features::prevalence::place_of`].
    pub places: Vec<u64>,
}

impl Rows {
    #[must_use]
    pub fn as_matrix(&self) -> FeatureRows<'_> {
        FeatureRows { schema: self.schema, model: &self.model, signals: &self.signals, sequence: &self.sequence }
    }
    /// One row, to be explained.
    #[must_use]
    pub fn view(&self, row: usize) -> RowView<'_> {
        RowView { model: &self.model[row], signals: &self.signals[row], sequence: self.sequence.get(row) }
    }
    pub fn clear(&mut self) {
        self.model.clear();
        self.signals.clear();
        self.sequence.clear();
        self.event.clear();
        self.places.clear();
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.event.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.event.is_empty()
    }
}
