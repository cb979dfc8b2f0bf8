//! The members of a table's ensemble: each sees encoded rows in the view it likes and gives one score, higher for odder.

use super::dependence::Dependence;
use super::isolation::{SAMPLE, TREES, WideForest};
use super::mixture::Mixtures;
use super::nearness::{Distances, Known};
use super::normal::NormalScores;
use super::wire::{Reader, Writer};
use crate::core::detect::trees::Trees;
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::trees_fit;

/// Names, in the order of the ensemble; the last needs labels.
pub const NAMES: [&str; 4] = ["isolation_forest", "density", "dependence", "boosted_trees"];
pub const FOREST: usize = 0;
pub const DENSITY: usize = 1;
pub const DEPENDENCE: usize = 2;
pub const BOOSTED: usize = 3;

const BOOSTERS: usize = 2;

/// One scorer of rows.
pub trait Member {
    fn name(&self) -> &'static str;
    /// One score a row.
    fn scores(&self, rows: &Views) -> Vec<f32>;
}

/// Rows as encoded, and as normal scores.
#[derive(Clone, Debug)]
pub struct Views {
    pub encoded: Matrix,
    pub normal: Matrix,
}

/// All members, fitted to the same rows.
#[derive(Clone, Debug)]
pub struct Members {
    normal: NormalScores,
    forest: WideForest,
    density: Mixtures,
    dependence: Dependence,
    /// Empty where there were no labels.
    boosted: Vec<Trees>,
    /// What the trees have seen; absent with them.
    known: Option<Known>,
}

/// What the members say of rows.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// Scores, member after member.
    pub scores: Vec<Vec<f32>>,
    pub distances: Distances,
}

/// Steps that [`Members::fit`] reports.
#[must_use]
pub fn steps(supervised: bool) -> usize {
    BOOSTED + if supervised { BOOSTERS + 1 } else { 0 }
}

impl Members {
    /// Fits the anomaly members to the benign rows and the trees to all, where some are attacks. At least one row is benign.
    ///
    /// # Errors
    /// `Config`: what the fitting of trees refuses.
    pub fn fit(rows: &Matrix, attack: &[bool], seed: u64, done: &mut dyn FnMut()) -> Result<Self> {
        let benign = rows.select((0..rows.rows()).filter(|row| !attack[*row]));
        let normal = NormalScores::learn(&benign);
        let scored = normal.apply(&benign);
        let forest = WideForest::fit(&scored, TREES, SAMPLE, seed);
        done();
        let density = Mixtures::fit(&scored, seed);
        done();
        let dependence = Dependence::fit(&scored);
        done();
        let (mut boosted, mut known) = (Vec::new(), None);
        if attack.contains(&true) {
            let labels: Vec<f32> = attack.iter().map(|attack| f32::from(u8::from(*attack))).collect();
            for settings in settings() {
                boosted.push(trees_fit::fit(rows, &labels, None, &settings, seed, &mut |_, _| Ok(()))?);
                done();
            }
            known = Some(Known::fit(rows, attack, seed));
            done();
        }
        Ok(Self { normal, forest, density, dependence, boosted, known })
    }

    #[must_use]
    pub fn views(&self, encoded: Matrix) -> Views {
        let normal = self.normal.apply(&encoded);
        Views { encoded, normal }
    }

    /// In the order of [`NAMES`]; without the trees where there were no labels.
    #[must_use]
    pub fn all(&self) -> Vec<&dyn Member> {
        let mut all: Vec<&dyn Member> = vec![&self.forest, &self.density, &self.dependence];
        if !self.boosted.is_empty() {
            all.push(&self.boosted);
        }
        all
    }

    /// The scores of every member and, where they are asked for, the distances to what is known.
    #[must_use]
    pub fn scores(&self, encoded: Matrix, with_distances: bool) -> Raw {
        let known = self.known.as_ref().filter(|_| with_distances);
        let distances = known.map_or_else(Distances::default, |known| known.distances(&encoded));
        let views = self.views(encoded);
        Raw { scores: self.all().iter().map(|member| member.scores(&views)).collect(), distances }
    }

    /// Whether distances to known rows can be told.
    #[must_use]
    pub fn knows(&self) -> bool {
        self.known.is_some()
    }

    /// What each encoded column adds to the log-odds that the trees give a row, by TreeSHAP; `None` without trees.
    #[must_use]
    pub fn contributions(&self, row: &[f32]) -> Option<Vec<f32>> {
        let mut sums = vec![0.0; row.len()];
        for trees in &self.boosted {
            sums.iter_mut().zip(trees.contributions(row)).for_each(|(sum, adds)| *sum += adds / self.boosted.len() as f32);
        }
        (!self.boosted.is_empty()).then_some(sums)
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&serde_json::to_vec(&self.normal).expect("ranks are numbers"));
        self.forest.write(&mut out);
        self.density.write(&mut out);
        self.dependence.write(&mut out);
        out.word(self.boosted.len() as u32);
        self.boosted.iter().for_each(|trees| out.bytes(&trees.to_bytes()));
        self.known.iter().for_each(|known| known.write(&mut out));
        out.finish()
    }

    /// # Errors
    /// `Config`: not what [`Self::to_bytes`] gives for rows of this width.
    pub fn from_bytes(bytes: &[u8], width: usize) -> Result<Self> {
        let damaged = || Error::config("the members of the model are damaged; train it again");
        let mut from = Reader::new(bytes);
        let normal: NormalScores = serde_json::from_slice(from.bytes()?).map_err(|error| damaged().because(error))?;
        let (forest, density) = (WideForest::read(&mut from)?, Mixtures::read(&mut from)?);
        let dependence = Dependence::read(&mut from)?;
        let count = from.word()?;
        let boosted = (0..count).map(|_| Trees::from_bytes(from.bytes()?)).collect::<Result<Vec<_>>>()?;
        let known = if boosted.is_empty() { None } else { Some(Known::read(&mut from)?) };
        let fits = normal.is_sound(width)
            && forest.width() == width
            && density.width() == width
            && dependence.width() == width
            && boosted.iter().all(|trees| trees.width() == width)
            && known.iter().all(|known| known.width() == width);
        if fits && from.is_at_end() { Ok(Self { normal, forest, density, dependence, boosted, known }) } else { Err(damaged()) }
    }
}

impl Member for WideForest {
    fn name(&self) -> &'static str {
        NAMES[FOREST]
    }
    fn scores(&self, rows: &Views) -> Vec<f32> {
        self.scores(&rows.normal)
    }
}

impl Member for Mixtures {
    fn name(&self) -> &'static str {
        NAMES[DENSITY]
    }
    fn scores(&self, rows: &Views) -> Vec<f32> {
        self.scores(&rows.normal)
    }
}

impl Member for Dependence {
    fn name(&self) -> &'static str {
        NAMES[DEPENDENCE]
    }
    fn scores(&self, rows: &Views) -> Vec<f32> {
        self.scores(&rows.normal)
    }
}

impl Member for Vec<Trees> {
    fn name(&self) -> &'static str {
        NAMES[BOOSTED]
    }
    /// The mean of the log-odds.
    fn scores(&self, rows: &Views) -> Vec<f32> {
        let mut sums = vec![0.0_f64; rows.encoded.rows()];
        let mut margins = vec![0.0_f32; sums.len()];
        for trees in self {
            trees.margins(rows.encoded.values(), &mut margins);
            sums.iter_mut().zip(&margins).for_each(|(sum, margin)| *sum += f64::from(*margin));
        }
        sums.iter().map(|sum| (sum / self.len() as f64) as f32).collect()
    }
}

/// Two kinds of boosting, whose mean carries further than either: one that is best where rows to come are like those seen, one that
/// is best where they are not.
fn settings() -> [trees_fit::Settings; BOOSTERS] {
    [trees_fit::Settings::default(), trees_fit::Settings::for_shifts()]
}
