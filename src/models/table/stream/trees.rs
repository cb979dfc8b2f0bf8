//! Boosted trees that learn from rows before their labels have come.
//!
//! Labelled rows teach what they are. The newest rows, whose labels nobody knows, are taken as attacks of little weight, less the
//! older they are. Where they lie among benign rows, those outweigh them by far. Where many of them lie together in a place that
//! benign rows have never filled, they do not: what has just begun and is unlike all benign traffic looks like an attack, and stops
//! looking like one when labels say that it is benign. (Learning from positive and unlabelled rows: Elkan, Noto, KDD 2008.)
//! Must never look at a label that is not known in the stage.

use super::memory::remembered;
use super::stages::Stage;
use crate::error::Result;
use crate::models::matrix::Matrix;
use crate::models::trees_fit::{self, Settings};

/// Rows that are learned from: the newest ones, and a sample of older ones.
const BENIGN: (usize, usize) = (5_000, 5_000);
const ATTACKS: (usize, usize) = (2_500, 2_500);
/// The weight of the newest row without a label, and the rows after which it has fallen to a third.
const NEW_WEIGHT: f32 = 0.3;
const NEW_ROWS: f32 = 100.0;
/// Older rows without a label weigh nothing that could matter.
const NEW_ROWS_MAX: usize = 1_000;

/// Log-odds of the stage's rows; 0 while there is nothing to tell apart.
pub(super) fn margins(rows: &Matrix, attack: &[bool], stage: Stage, seed: u64) -> Result<Vec<f32>> {
    let of = |wanted: bool| -> Vec<usize> { (0..stage.labelled).filter(|row| attack[*row] == wanted).collect() };
    let benign = remembered(&of(false), BENIGN.0, BENIGN.1, seed);
    let attacks = remembered(&of(true), ATTACKS.0, ATTACKS.1, seed);
    let new = stage.labelled.max(stage.first.saturating_sub(NEW_ROWS_MAX))..stage.first;
    let mut margins = vec![0.0; stage.end - stage.first];
    if benign.is_empty() || attacks.is_empty() && new.is_empty() {
        return Ok(margins);
    }
    let weight = |row: usize| NEW_WEIGHT * libm::expf(-((stage.first - 1 - row) as f32) / NEW_ROWS);
    let known = benign.len() + attacks.len();
    let mut labels = vec![0.0; benign.len()];
    labels.resize(known + new.len(), 1.0);
    let mut weights = vec![1.0; known];
    weights.extend(new.clone().map(weight));
    let learned = rows.select(benign.into_iter().chain(attacks).chain(new));
    let trees = trees_fit::fit(&learned, &labels, Some(&weights), &settings(), seed, &mut |_, _| Ok(()))?;
    trees.margins(&rows.values()[stage.first * rows.width()..stage.end * rows.width()], &mut margins);
    Ok(margins)
}

/// Few rounds: they are fitted often.
fn settings() -> Settings {
    Settings::for_streams()
}
