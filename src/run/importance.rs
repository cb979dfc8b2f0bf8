//! Permutation importance of a pipeline's models: rows of labelled events as they were scored, scored again with features dealt anew.
//!
//! The learned models look at model features; every other detector counts as a whole, by its score. A network sees the row that is
//! changed with the memory that it had: what later rows would remember of it is left out.

use crate::core::detect::{LEARNED, NAMES, index_of};
use crate::core::engine::{Scorer as Models, Scores};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, ModelRow, Schema, SequenceStep, SignalRow};
use crate::error::{Error, Result};
use crate::models::importance::{Chosen, Kind, Scorer};
use crate::run::embedded::Observer;
use crate::run::labels::Labels;
use crate::run::learning::ScoredPart;

/// A row as it was scored.
struct Row {
    model: ModelRow,
    signals: SignalRow,
    step: Option<SequenceStep>,
}

/// Hears a run over labelled events.
pub struct Collector {
    labels: Labels,
    chosen: Chosen<Row>,
}

impl Collector {
    /// Keeps at most `most` rows of each kind.
    #[must_use]
    pub fn new(labels: Labels, most: usize, seed: u64) -> Self {
        Self { labels, chosen: Chosen::new(most, seed) }
    }

    /// The rows as they were scored with these models, and which are attacks.
    ///
    /// # Errors
    /// `Config`: there are only attacks, or none.
    pub fn into_rows(self, models: &Models, schema: Schema) -> Result<(Permuting<'_>, Vec<bool>)> {
        let (rows, attack) = self.chosen.into_rows();
        if !attack.contains(&true) || !attack.contains(&false) {
            return Err(Error::config(
                "both attacks and benign events must be labelled; name the field with --label, the benign value with --benign",
            ));
        }
        let is_rule = |part: &usize| !LEARNED.contains(part);
        let rules = models.detectors().iter().filter_map(|detector| index_of(detector.name())).filter(is_rule).collect();
        Ok((Permuting { models, schema, rows, rules, scores: Scores::default() }, attack))
    }
}

impl Observer for Collector {
    fn scored(&mut self, part: ScoredPart<'_>) {
        let rows = part.engine.rows();
        for verdict in part.verdicts {
            let Some(attack) = self.labels.attack(&part.events[verdict.event as usize]) else { continue };
            let at = verdict.row as usize;
            let row = || Row { model: rows.model[at], signals: rows.signals[at], step: rows.sequence.get(at).copied() };
            self.chosen.push(attack, row);
        }
    }
}

/// Scores the rows again and again.
pub struct Permuting<'m> {
    models: &'m Models,
    schema: Schema,
    rows: Vec<Row>,
    /// Detectors that are not learned, by their place among all.
    rules: Vec<usize>,
    scores: Scores,
}

impl Permuting<'_> {
    fn model(&self, permuted: Option<(usize, &[usize])>) -> Vec<ModelRow> {
        let mut model: Vec<ModelRow> = self.rows.iter().map(|row| row.model).collect();
        if let Some((feature, order)) = permuted {
            model.iter_mut().zip(order).for_each(|(row, from)| row[feature] = self.rows[*from].model[feature]);
        }
        model
    }

    fn sequence(&self, model: &[ModelRow]) -> Vec<SequenceStep> {
        let Some(network) = self.models.network() else { return vec![] };
        let step = |(row, model): (&Row, &ModelRow)| {
            let before = row.step?.before;
            let error = network.step(&mut before.clone(), model);
            Some(SequenceStep { error, before })
        };
        self.rows.iter().zip(model).filter_map(step).collect()
    }
}

impl Scorer for Permuting<'_> {
    fn features(&self) -> Vec<(String, Kind)> {
        let model = self.schema.model_names().iter().map(|name| ((*name).to_owned(), Kind::Feature));
        model.chain(self.rules.iter().map(|part| (NAMES[*part].to_owned(), Kind::Detector))).collect()
    }

    fn scores(&mut self, permuted: Option<(usize, &[usize])>) -> Result<Vec<f32>> {
        let model = self.model(permuted.filter(|(feature, _)| *feature < MODEL_WIDTH));
        let sequence = self.sequence(&model);
        let signals: Vec<SignalRow> = self.rows.iter().map(|row| row.signals).collect();
        let rows = FeatureRows { schema: self.schema, model: &model, signals: &signals, sequence: &sequence };
        self.models.detect(rows, &mut self.scores);
        if let Some((feature, order)) = permuted.filter(|(feature, _)| *feature >= MODEL_WIDTH) {
            self.scores.permute(self.rules[feature - MODEL_WIDTH], order);
        }
        self.models.combine(&mut self.scores);
        Ok((0..self.rows.len()).map(|row| self.scores.surprise(row)).collect())
    }
}
