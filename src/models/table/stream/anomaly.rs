//! The anomaly members, fitted to benign rows whose label has come. Must never see an attack or a row without a label.

use super::memory::remembered;
use super::stages::Stage;
use crate::models::matrix::Matrix;
use crate::models::table::dependence::Dependence;
use crate::models::table::isolation::{SAMPLE, TREES, WideForest};
use crate::models::table::members::{DENSITY, DEPENDENCE, FOREST};
use crate::models::table::mixture::Mixtures;
use crate::models::table::normal::NormalScores;

/// Rows that are learned from: the newest ones, and a sample of older ones.
const BENIGN: (usize, usize) = (3_000, 3_000);
/// Fewer say nothing of what is usual.
const BENIGN_MIN: usize = 20;

/// Members and what they say of the rows from the stage's first up to `end`; 0 while there is nothing to learn from.
pub(super) fn scores(rows: &Matrix, attack: &[bool], stage: Stage, end: usize, seed: u64) -> Vec<(usize, Vec<f32>)> {
    let benign: Vec<usize> = (0..stage.labelled).filter(|row| !attack[*row]).collect();
    if benign.len() < BENIGN_MIN {
        return [FOREST, DENSITY, DEPENDENCE].map(|member| (member, vec![0.0; end - stage.first])).into();
    }
    let benign = rows.select(remembered(&benign, BENIGN.0, BENIGN.1, seed));
    let normal = NormalScores::learn(&benign);
    let usual = normal.apply(&benign);
    let tested = normal.apply(&rows.select(stage.first..end));
    vec![
        (FOREST, WideForest::fit(&usual, TREES, SAMPLE, seed).scores(&tested)),
        (DENSITY, Mixtures::fit(&usual, seed).scores(&tested)),
        (DEPENDENCE, Dependence::fit(&usual).scores(&tested)),
    ]
}
