//! The engine with all models: what an event costs from its state to its verdict, and in each stage.
//!
//! Must never time the decoding of events or the fitting of models.

use std::sync::Arc;

use bumpalo::Bump;
use threatguard::core::decode::{Decoded, decode_batch};
use threatguard::core::features::row::{MODEL_WIDTH, ModelRow};
use threatguard::models::matrix::Matrix;
use threatguard::models::random::Random;
use threatguard::models::sample::Fitted;
use threatguard::models::{lstm_fit, trees_fit};

use crate::Figures;
use crate::support::subject::{PARTITION, Subject};
use crate::support::timed;
use crate::support::traffic::{Keys, Payloads, Traffic};

/// Events of a round, and of a batch.
const EVENTS: usize = 16_384;
const BATCH: usize = 1_024;
/// Rows the models are fitted to.
const ROWS: usize = 32_768;
/// Rows of one sequence of the network's training.
const SEQUENCE: usize = 64;
/// How fast a network is does not depend on how good it is.
const EPOCHS: usize = 2;

pub struct Whole {
    pub models: Fitted,
    pub rows: Vec<ModelRow>,
    pub labels: Vec<f32>,
    subject: Subject,
    traffic: Traffic,
    payloads: Payloads,
    arena: Bump,
    rounds: u64,
}

impl Whole {
    /// An engine that knows every entity, with models and calibrations learned from the traffic.
    pub fn learned(entities: u64) -> Result<Self, String> {
        let text = |error: threatguard::error::Error| error.to_string();
        let mut traffic = Traffic::new(1, entities, Keys::Uniform);
        let mut subject = Subject::new(2 * entities as usize).map_err(text)?;
        let (mut payloads, mut arena, mut rows) = (Payloads::default(), Bump::new(), vec![]);
        for from in (0..8 * entities).step_by(EVENTS) {
            traffic.fill(EVENTS, &mut payloads);
            arena.reset();
            subject.process(&payloads.records(), &arena);
            if from >= 7 * entities && rows.len() < ROWS {
                rows.extend_from_slice(&subject.engine.rows().model);
            }
        }
        rows.truncate(ROWS);
        let labels = labels(&rows);
        let models = fitted(&rows, &labels).map_err(text)?;
        subject.engine.set_scorer(subject.scorer_of(&models));
        let mut trainer = subject.trainer().with_models(models.clone());
        for _ in 0..(2 * entities).div_ceil(EVENTS as u64) {
            traffic.fill(EVENTS, &mut payloads);
            arena.reset();
            subject.process_and_learn(&payloads.records(), &arena, &mut trainer);
        }
        let scorer = subject.learned(&trainer).map_err(text)?;
        let names: Vec<&str> = scorer.detectors().iter().map(|detector| detector.name()).collect();
        println!("{entities} entities; detectors: {}", names.join(", "));
        subject.engine.set_scorer(Arc::clone(&scorer));
        Ok(Self { models, rows, labels, subject, traffic, payloads, arena, rounds: 0 })
    }

    /// Every second round times the whole, the others its stages.
    pub fn round(&mut self, figures: &mut Figures) {
        let Self { subject, traffic, payloads, arena, .. } = self;
        traffic.fill(EVENTS, payloads);
        let mut nanos = [0.0; 5];
        let [apply, observe, detect, combine, judge] = &mut nanos;
        let is_whole = self.rounds.is_multiple_of(2);
        for batch in payloads.records().chunks(BATCH) {
            arena.reset();
            let mut decoded = Decoded::default();
            decode_batch(&subject.codec, &subject.sanitizer, batch, arena, &mut decoded);
            let engine = &mut subject.engine;
            let add = |sum: &mut f64, time: std::time::Duration| *sum += time.as_nanos() as f64 / EVENTS as f64;
            if is_whole {
                add(apply, timed(|| _ = engine.apply(PARTITION, &decoded.events, &[])).1);
                continue;
            }
            add(observe, timed(|| engine.observe_only(PARTITION, &decoded.events)).1);
            add(detect, timed(|| engine.detect()).1);
            add(combine, timed(|| engine.combine()).1);
            add(judge, timed(|| engine.judge()).1);
        }
        let stages = ["state, features, step of the LSTM", "detectors", "combination", "verdict"];
        if is_whole {
            figures.add("all_models", nanos[0]);
        } else {
            stages.iter().zip(&nanos[1..]).for_each(|(stage, nanos)| figures.add(format!("all_models: {stage}"), *nanos));
        }
        self.rounds += 1;
    }
}

/// The traffic has no attacks; what trees are fitted to is made up so that they need every feature and all their levels.
fn labels(rows: &[ModelRow]) -> Vec<f32> {
    let mut random = Random::new(3);
    let mut sorted: Vec<Vec<f32>> = (0..MODEL_WIDTH).map(|feature| rows.iter().map(|row| row[feature]).collect()).collect();
    sorted.iter_mut().for_each(|column| column.sort_by(f32::total_cmp));
    let rank = |feature: usize, value: f32| sorted[feature].partition_point(|other| *other < value) as f64 / rows.len() as f64;
    let signs: [f64; MODEL_WIDTH] = std::array::from_fn(|_| random.unit() - 0.5);
    let mut label = |row: &ModelRow| {
        let sum: f64 = (0..MODEL_WIDTH).map(|f| signs[f] * rank(f, row[f]) * rank((f + 5) % MODEL_WIDTH, row[(f + 5) % MODEL_WIDTH])).sum();
        f32::from(u8::from(sum + 0.3 * random.unit() > 0.2))
    };
    rows.iter().map(&mut label).collect()
}

fn fitted(rows: &[ModelRow], labels: &[f32]) -> threatguard::error::Result<Fitted> {
    let mut matrix = Matrix::new(MODEL_WIDTH);
    rows.iter().for_each(|row| matrix.push(row));
    let sequences: Vec<Matrix> =
        (0..rows.len() / SEQUENCE).map(|sequence| matrix.select(sequence * SEQUENCE..(sequence + 1) * SEQUENCE)).collect();
    let (validation, train) = sequences.split_at(sequences.len() / 8);
    let settings = lstm_fit::Settings { epochs: EPOCHS, ..lstm_fit::Settings::default() };
    let network = lstm_fit::fit_rows(train, validation, &settings, 1, &mut |_, _| Ok(()))?;
    let trees = trees_fit::fit(&matrix, labels, None, &trees_fit::Settings::for_streams(), 1, &mut |_, _| Ok(()))?;
    Ok(Fitted { lstm: Some(Arc::new(network)), trees: Some(Arc::new(trees)) })
}
