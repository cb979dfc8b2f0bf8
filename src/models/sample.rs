//! Rows of whole entities in their order, for models that look at sequences or at labels: a bounded sample.
//!
//! Must never give another sample for the same events, hold more than its bound, or let trees see an entity that is held out while
//! there are enough others: those are what calibration judges them by.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lstm_fit;
use super::matrix::Matrix;
use super::trees_fit;
use crate::core::detect::Detector;
use crate::core::detect::lstm::{LstmDetector, Network};
use crate::core::detect::trees::{Trees, TreesDetector};
use crate::core::features::row::{MODEL_WIDTH, ModelRow, Schema};
use crate::core::numeric::hash_key;
use crate::core::types::EntityKey;
use crate::error::Result;

/// Rows kept over all entities, and of one entity.
const ROWS_MAX: usize = 200_000;
const ENTITY_ROWS_MAX: usize = 4_096;
/// One entity in so many is held out.
const HELD_OUT_PART: u64 = 4;
/// With fewer benign rows no network is fitted, with fewer of either class no trees.
const NETWORK_ROWS_MIN: usize = 1_000;
const TREES_ROWS_MIN: usize = 50;
/// One sequence in so many ends the training of the network.
const VALIDATION_PART: usize = 5;
/// A network of a stream is small; more epochs than this gain it next to nothing.
const EPOCHS: usize = 20;

/// Whether trees are not to be fitted on this entity's rows.
#[must_use]
pub fn is_held_out(entity: EntityKey) -> bool {
    spread(entity).is_multiple_of(HELD_OUT_PART)
}

/// A hash that has nothing to do with where the entity's state lies.
fn spread(entity: EntityKey) -> u64 {
    hash_key(entity.0 ^ 0x7370_7265_6164)
}

#[derive(Clone, Debug)]
struct Sequence {
    rows: Matrix,
    /// 1 for an attack, 0 for benign, NaN where nothing is said.
    labels: Vec<f32>,
}

/// The sample.
#[derive(Clone, Debug)]
pub struct Sample {
    sequences: BTreeMap<u64, Sequence>,
    rows: usize,
    /// Entities whose hash is beyond are left out: halved whenever the sample is full.
    most: u64,
    seen: u64,
    /// Features that a network leaves out, as a set of bits.
    ignored: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { sequences: BTreeMap::new(), rows: 0, most: u64::MAX, seen: 0, ignored: 0 }
    }
}

/// What was fitted to a sample.
#[derive(Clone, Debug, Default)]
pub struct Fitted {
    pub lstm: Option<Arc<Network>>,
    pub trees: Option<Arc<Trees>>,
}

impl Fitted {
    /// The models as detectors of the version `version`; `ordinary` are the benign medians that explanations compare with.
    #[must_use]
    pub fn detectors(&self, version: &str, schema: Schema, ordinary: &ModelRow) -> Vec<Box<dyn Detector>> {
        let mut detectors: Vec<Box<dyn Detector>> = vec![];
        if let Some(network) = &self.lstm {
            detectors.push(Box::new(LstmDetector::new(Arc::clone(network), version.to_owned(), schema)));
        }
        if let Some(trees) = &self.trees {
            detectors.push(Box::new(TreesDetector::new(Arc::clone(trees), version.to_owned(), schema, *ordinary)));
        }
        detectors
    }
}

impl Sample {
    /// Of rows of these features. A network leaves out those that move with the clock: a weekday that was not learned from would be the
    /// oddest of all.
    #[must_use]
    pub fn of(schema: Schema) -> Self {
        Self { ignored: schema.calendar(), ..Self::default() }
    }

    /// Takes one event, those of an entity in their order. `attack` is its label, where there is one.
    pub fn push(&mut self, entity: EntityKey, row: &ModelRow, attack: Option<bool>) {
        self.seen += 1;
        let key = spread(entity);
        if key > self.most {
            return;
        }
        let sequence = self.sequences.entry(key).or_insert_with(|| Sequence { rows: Matrix::new(MODEL_WIDTH), labels: vec![] });
        if sequence.labels.len() >= ENTITY_ROWS_MAX {
            return;
        }
        sequence.rows.push(row);
        sequence.labels.push(attack.map_or(f32::NAN, |attack| f32::from(u8::from(attack))));
        self.rows += 1;
        while self.rows > ROWS_MAX {
            self.most /= 2;
            let beyond = self.sequences.split_off(&(self.most + 1));
            self.rows -= beyond.values().map(|sequence| sequence.labels.len()).sum::<usize>();
        }
    }

    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The models for which there is enough. `progress` is told the part that is done, of how many, and may end it.
    ///
    /// # Errors
    /// Training went astray, or `progress` ended it.
    pub fn fit(&self, threads: usize, seed: u64, progress: &mut dyn FnMut(&'static str, usize, usize) -> Result<()>) -> Result<Fitted> {
        let lstm = self.fit_network(threads, seed, &mut |done, of| progress("lstm_autoencoder", done, of))?;
        let trees = self.fit_trees(seed, &mut |done, of| progress("boosted_trees", done, of))?;
        Ok(Fitted { lstm: lstm.map(Arc::new), trees: trees.map(Arc::new) })
    }

    fn fit_network(&self, threads: usize, seed: u64, progress: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<Option<Network>> {
        let benign: Vec<Matrix> = self.sequences.values().map(Sequence::benign).filter(|rows| rows.rows() > 1).collect();
        if benign.iter().map(Matrix::rows).sum::<usize>() < NETWORK_ROWS_MIN {
            return Ok(None);
        }
        let (train, validation) = divided(benign);
        let settings = lstm_fit::Settings { epochs: EPOCHS, threads, ignored: self.ignored, ..lstm_fit::Settings::default() };
        lstm_fit::fit_rows(&train, &validation, &settings, seed, progress).map(Some)
    }

    fn fit_trees(&self, seed: u64, progress: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<Option<Trees>> {
        let mut tries = [false, true].map(|all| self.labelled(all)).into_iter();
        let Some((rows, labels)) = tries.find(|(_, labels)| are_enough(labels)) else { return Ok(None) };
        trees_fit::fit(&rows, &labels, None, &trees_fit::Settings::for_streams(), seed, progress).map(Some)
    }

    /// Rows with a label: of all entities, or without those that are held out.
    fn labelled(&self, all: bool) -> (Matrix, Vec<f32>) {
        let (mut rows, mut labels) = (Matrix::new(MODEL_WIDTH), vec![]);
        for (_, sequence) in self.sequences.iter().filter(|(key, _)| all || !key.is_multiple_of(HELD_OUT_PART)) {
            for (row, label) in sequence.rows.iter().zip(&sequence.labels).filter(|(_, label)| !label.is_nan()) {
                rows.push(row);
                labels.push(*label);
            }
        }
        (rows, labels)
    }
}

impl Sequence {
    /// Without the attacks: what an entity does of its own.
    fn benign(&self) -> Matrix {
        self.rows.select((0..self.labels.len()).filter(|index| self.labels[*index].is_nan() || self.labels[*index] < 0.5))
    }
}

fn are_enough(labels: &[f32]) -> bool {
    let attacks = labels.iter().filter(|label| **label > 0.5).count();
    attacks >= TREES_ROWS_MIN && labels.len() - attacks >= TREES_ROWS_MIN
}

/// Sequences to learn from and others to hold out; where there are few, the ends of each are held out.
fn divided(sequences: Vec<Matrix>) -> (Vec<Matrix>, Vec<Matrix>) {
    if sequences.len() >= 2 * VALIDATION_PART {
        let (mut train, mut validation) = (vec![], vec![]);
        for (index, sequence) in sequences.into_iter().enumerate() {
            if index % VALIDATION_PART == 0 { validation.push(sequence) } else { train.push(sequence) }
        }
        return (train, validation);
    }
    let cut = |sequence: &Matrix| sequence.rows() - sequence.rows() / VALIDATION_PART;
    let train = sequences.iter().map(|sequence| sequence.select(0..cut(sequence))).collect();
    let validation = sequences.iter().map(|sequence| sequence.select(cut(sequence)..sequence.rows())).collect();
    (train, validation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::random::Random;

    /// Every entity counts up its first feature; attacks jump.
    fn sample(entities: u64, events: u64, labelled: bool) -> Sample {
        let (mut sample, mut random) = (Sample::default(), Random::new(5));
        for number in 0..entities * events {
            let (entity, attack) = (EntityKey(u128::from(number % entities)), number % 21 == 20);
            let mut row: ModelRow = std::array::from_fn(|_| random.unit() as f32);
            row[0] = if attack { 9.0 } else { (number / entities % 4) as f32 };
            sample.push(entity, &row, labelled.then_some(attack));
        }
        sample
    }

    #[test]
    fn both_models_are_fitted_where_labels_are_and_find_what_jumps() {
        let fitted = sample(40, 200, true).fit(1, 1, &mut |_, _, _| Ok(())).unwrap();
        let (network, trees) = (fitted.lstm.unwrap(), fitted.trees.unwrap());
        let (mut memory, mut errors) = (crate::core::detect::lstm::State::default(), vec![]);
        for step in 0..40 {
            let mut row = [0.5; MODEL_WIDTH];
            row[0] = if step == 30 { 9.0 } else { (step % 4) as f32 };
            errors.push(network.step(&mut memory, &row));
        }
        let worst = (0..40).max_by(|a, b| errors[*a].total_cmp(&errors[*b]));
        assert_eq!(worst, Some(30), "{errors:?}");
        let mut margins = [0.0; 2];
        let mut rows = [[0.5; MODEL_WIDTH]; 2];
        rows[1][0] = 9.0;
        trees.margins(rows.as_flattened(), &mut margins);
        assert!(margins[0] < -2.0 && margins[1] > 2.0, "{margins:?}");
        assert!(sample(40, 200, false).fit(1, 1, &mut |_, _, _| Ok(())).unwrap().trees.is_none(), "without labels there are no trees");
        assert!(sample(4, 100, true).fit(1, 1, &mut |_, _, _| Ok(())).unwrap().lstm.is_none(), "too few rows");
    }

    #[test]
    fn the_sample_is_bounded_and_keeps_whole_entities() {
        let sample = sample(30_000, 10, false);
        assert!(sample.rows <= ROWS_MAX && sample.rows > ROWS_MAX / 4, "{}", sample.rows);
        assert!(sample.sequences.values().all(|sequence| sequence.labels.len() == 10));
        let held = (0..30_000).filter(|entity| is_held_out(EntityKey(*entity))).count();
        assert!((6_500..8_500).contains(&held), "{held}");
        let mut labelled = self::sample(40, 200, true);
        let (all, others) = (labelled.labelled(true).1.len(), labelled.labelled(false).1.len());
        assert!(all == 8_000 && others < all, "{others}");
        labelled.sequences.retain(|key, _| key.is_multiple_of(HELD_OUT_PART));
        assert!(labelled.fit(1, 1, &mut |_, _, _| Ok(())).unwrap().trees.is_some(), "where there are no others, all are taken");
    }
}
