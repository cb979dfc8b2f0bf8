//! Conformal calibration: what a raw score means, by how many benign scores are at least as large.
//!
//! `p = (1 + #{benign >= s}) / (n + 1)` (Bates, Candes, Lei, Romano, Sesia, "Testing for outliers with conformal p-values", Annals
//! of Statistics 2023), a generalised Pareto tail where counting ends (Siffer et al., "Anomaly Detection in Streams with Extreme
//! Value Theory", KDD 2017), compiled into a table. Must never return NaN, fall as the score rises, or look at a clock or a file.

use super::tail::Pareto;

/// No surprise is larger: p = 8.8e-27.
pub const SURPRISE_NATS_MAX: f32 = 60.0;

/// Scores from this share upwards are the tail, if there are enough of them.
const TAIL_SHARE: f64 = 0.02;
const TAIL_SHARE_MAX: f64 = 0.1;
const EXCESSES_MIN: usize = 50;
const EXCESSES_MAX: usize = 2_000;
/// Different values a tail must have to be fitted: fewer are the levels of a discrete score.
const LEVELS_MIN: usize = 20;
/// The fitted tail may not claim clearly less probability than the reservoir shows, wherever it shows so many scores or more.
const ANCHORS_MIN: usize = 10;
/// A knot wherever the number of scores at least as large has shrunk by this factor.
const KNOT_FACTOR: f64 = 1.0 - 1.0 / 128.0;
/// More than any reservoir needs; a bound for files.
const KNOTS_MAX: usize = 16_384;
const CELLS: usize = 1_024;
/// Calibrated nats that a raw nat is worth at most, as far as benign scores go.
const AMPLIFICATION_MAX: f32 = 5.0;
/// Beyond everything seen, so many raw nats are worth one at least, and the further ones not much less.
const NATS_SCALE_MAX: f64 = 2.0;
const NATS_SHAPE_MAX: f64 = 0.1;
/// The same for sums of calibrated nats: independent ones would need one more each.
const SUM_SCALE_MAX: f64 = 1.5;
/// Scores beyond are taken as this, so that differences stay finite.
const SCORE_MAX: f32 = 1e30;

/// What a raw score is measured in: how far it must rise beyond everything seen before that alone is worth a nat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Surprise in nats, 0 for ordinary events: a bound of its own on how improbable the event is.
    Nats,
    /// A sum of calibrated surprises.
    Sum,
    /// The isolation forest's score between 0 and 1.
    ForestScore,
    /// An error in units of the ordinary one: 1 for most rows.
    Error,
}

impl Unit {
    /// The least that a score must rise to be worth a nat.
    #[must_use]
    pub fn scale_min(self) -> f64 {
        match self {
            Self::Nats | Self::Sum => 1.0,
            Self::ForestScore => 0.005,
            Self::Error => 0.1,
        }
    }
    /// Scale and shape beyond everything seen are at most these: nats bound their own probability, so that a few outliers of one
    /// kind among the benign scores do not make the tail heavy for all kinds.
    fn tail_max(self) -> (f64, f64) {
        match self {
            Self::Nats => (NATS_SCALE_MAX, NATS_SHAPE_MAX),
            Self::Sum => (SUM_SCALE_MAX, 0.0),
            Self::ForestScore | Self::Error => (f64::MAX, 1.0),
        }
    }
    /// The most that a score may mean. What a detector itself calls hardly surprising does not become so by
    /// being rare: near ties of a thousand alike scores would.
    fn most(self, score: f32) -> f32 {
        match self {
            Self::Nats => AMPLIFICATION_MAX * score.max(0.0),
            Self::Sum | Self::ForestScore | Self::Error => SURPRISE_NATS_MAX,
        }
    }
    fn everyday(self) -> f32 {
        match self {
            Self::Nats | Self::Sum => 0.0,
            Self::ForestScore => 0.5,
            Self::Error => 1.0,
        }
    }
}

/// From raw score to surprise `-ln p`, learned from benign scores.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Calibration {
    stored: Stored,
    /// First knot of each cell of a uniform grid over the knots, and one more for the end.
    first_of_cell: Vec<u32>,
    cells_per_score: f32,
}

/// What a bundle keeps of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    unit: Unit,
    /// Benign scores it was learned from, and those left out because they were not finite.
    samples: u64,
    rejected: u64,
    /// Ascending scores and the surprise at each; between them a straight line.
    scores: Vec<f32>,
    surprises: Vec<f32>,
    tail: Tail,
}

/// Surprise beyond the last knot: `jump` nats over the first `scale`, and the tail's own growth on top.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tail {
    /// Exceedances it was fitted to; 0 where the scores have no tail to fit and an exponential one is assumed.
    pub fitted_to: u64,
    pub scale: f32,
    pub shape: f32,
    pub jump: f32,
}

impl Calibration {
    /// Learns from benign scores, which it sorts. Ties count as at least as large. NaN and infinities are left out and counted.
    ///
    /// Without any scores the raw score is its own surprise.
    #[must_use]
    pub fn fit(scores: &mut [f32], unit: Unit) -> Self {
        scores.sort_unstable_by(f32::total_cmp);
        let finite: Vec<f32> = scores.iter().filter(|s| s.is_finite()).map(|s| s.clamp(-SCORE_MAX, SCORE_MAX)).collect();
        let rejected = (scores.len() - finite.len()) as u64;
        let tail = FittedTail::of(&finite);
        let (mut knots, mut surprises) = knots(&finite, tail.as_ref());
        let tail = match (&tail, finite.last()) {
            (Some(fitted), Some(last)) => fitted.beyond(*last, unit),
            (None, Some(_)) => discrete_tail(&finite, unit, surprises.last().copied().unwrap_or(0.0)),
            (_, None) => {
                knots.push(unit.everyday());
                surprises.push(0.0);
                Tail { fitted_to: 0, scale: unit.scale_min() as f32, shape: 0.0, jump: 0.0 }
            }
        };
        Self::compiled(Stored { unit, samples: finite.len() as u64, rejected, scores: knots, surprises, tail })
    }

    /// `-ln p` of a raw score, `0..=`[`SURPRISE_NATS_MAX`]; 0 for NaN.
    #[inline]
    #[must_use]
    pub fn surprise(&self, score: f32) -> f32 {
        self.counted(score).min(self.stored.unit.most(score))
    }

    #[inline]
    fn counted(&self, score: f32) -> f32 {
        let (scores, surprises) = (&self.stored.scores, &self.stored.surprises);
        if score.is_nan() || score <= scores[0] {
            return 0.0;
        }
        let last = scores.len() - 1;
        if score >= scores[last] {
            return self.beyond(score.min(SCORE_MAX) - scores[last], surprises[last]);
        }
        let cell = self.cell_of(score);
        let (from, to) = (self.first_of_cell[cell] as usize, self.first_of_cell[cell + 1] as usize);
        let above = from + scores[from..to].partition_point(|knot| *knot <= score);
        let (low, high) = (scores[above - 1], scores[above]);
        let (low_surprise, high_surprise) = (surprises[above - 1], surprises[above]);
        low_surprise + (high_surprise - low_surprise) * ((score - low) / (high - low)).min(1.0)
    }

    /// Calibrates a column; `out` is as long as `scores`.
    pub fn surprises(&self, scores: &[f32], out: &mut [f32]) {
        assert_eq!(scores.len(), out.len(), "one surprise a score");
        for (out, score) in out.iter_mut().zip(scores) {
            *out = self.surprise(*score);
        }
    }

    /// The smallest score, among those it was learned from, that means so much surprise; the largest where none does.
    #[must_use]
    pub fn score_at(&self, surprise: f32) -> f32 {
        let at = self.stored.surprises.partition_point(|known| *known < surprise);
        self.stored.scores.get(at).copied().unwrap_or_else(|| self.score_max())
    }
    /// The same meanings for scores that lie `factor` times as far above the least one.
    #[must_use]
    pub fn stretched(&self, factor: f32) -> Self {
        let mut stored = self.stored.clone();
        let least = stored.scores[0];
        stored.scores.iter_mut().for_each(|score| *score = least + (*score - least) * factor);
        stored.tail.scale *= factor;
        // Neighbours that rounding would make one stay as they are.
        if stored.scores.is_sorted_by(|a, b| a < b) { Self::compiled(stored) } else { self.clone() }
    }
    /// The factor by which `other` was stretched from this one.
    #[must_use]
    pub fn stretch_to(&self, other: &Self) -> f32 {
        let reach = |of: &Self| of.score_max() - of.stored.scores[0];
        let factor = reach(other) / reach(self);
        if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
    }
    /// Benign scores it was learned from: counting alone reaches no p-value below `1 / (samples + 1)`.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.stored.samples
    }
    /// Scores left out of the fit because they were not finite.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.stored.rejected
    }
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.stored.unit
    }
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.stored.tail
    }
    /// The largest benign score.
    #[must_use]
    pub fn score_max(&self) -> f32 {
        self.stored.scores.last().copied().unwrap_or(0.0)
    }

    #[cold]
    fn beyond(&self, excess: f32, at_last: f32) -> f32 {
        let Tail { scale, shape, jump, .. } = self.stored.tail;
        let grown = Pareto { scale: f64::from(scale), shape: f64::from(shape) }.surprise(f64::from(excess)) as f32;
        (at_last + jump * (excess / scale).min(1.0) + grown).min(SURPRISE_NATS_MAX)
    }

    #[inline]
    fn cell_of(&self, score: f32) -> usize {
        cell_of(score - self.stored.scores[0], self.cells_per_score)
    }

    fn compiled(stored: Stored) -> Self {
        let (first, last) = (stored.scores[0], stored.scores[stored.scores.len() - 1]);
        let cells_per_score = CELLS as f32 / (last - first);
        let mut first_of_cell = Vec::with_capacity(CELLS + 1);
        let mut knot = 0;
        for cell in 0..=CELLS {
            while knot < stored.scores.len() && cell_of(stored.scores[knot] - first, cells_per_score) < cell {
                knot += 1;
            }
            first_of_cell.push(knot as u32);
        }
        first_of_cell[CELLS] = stored.scores.len() as u32;
        Self { stored, first_of_cell, cells_per_score }
    }
}

/// Never falls as the difference rises, which is all that looking up needs.
#[inline]
fn cell_of(difference: f32, cells_per_score: f32) -> usize {
    ((difference * cells_per_score) as usize).min(CELLS - 1)
}

/// The generalised Pareto tail of a reservoir, in place.
struct FittedTail {
    /// Scores above this follow `pareto`; `at_start` is the surprise there.
    start: f32,
    at_start: f64,
    pareto: Pareto,
    /// Nats taken off so that the tail nowhere claims clearly less probability than the reservoir shows.
    lowered: f64,
    /// The surprise of a score above all of the reservoir, by counting.
    unseen: f64,
    count: usize,
}

impl FittedTail {
    /// `None` where the tail has too few scores or too few different ones.
    fn of(sorted: &[f32]) -> Option<Self> {
        let start = tail_start(sorted)?;
        let above = sorted.partition_point(|s| *s <= start);
        let excesses: Vec<f64> = sorted[above..].iter().map(|s| f64::from(*s) - f64::from(start)).collect();
        let levels = 1 + excesses.windows(2).filter(|pair| pair[0] < pair[1]).count();
        if excesses.len() < EXCESSES_MIN || levels < LEVELS_MIN {
            return None;
        }
        let pareto = Pareto::fit(&excesses)?;
        // The tail starts with the probability of exceeding `start`, its ties left out: they are the table's.
        let at_start = surprise_of_count(excesses.len(), sorted.len());
        let lowered = (0..=excesses.len() - ANCHORS_MIN)
            .map(|i| {
                let at_least = excesses.len() - i;
                // Two standard errors of the logarithm of a count are noise.
                let counted = surprise_of_count(at_least, sorted.len()) + 2.0 / libm::sqrt(at_least as f64);
                at_start + pareto.surprise(excesses[i]) - counted
            })
            .fold(0.0, f64::max);
        Some(Self { start, at_start, pareto, lowered, unseen: surprise_of_count(0, sorted.len()), count: excesses.len() })
    }

    fn surprise(&self, score: f32) -> f64 {
        let excess = f64::from(score) - f64::from(self.start);
        let fitted = self.at_start + self.pareto.surprise(excess) - self.lowered;
        // A tail with an end may put it at the largest score; there the reservoir has the last word.
        let most = if self.pareto.shape < 0.0 { self.unseen } else { f64::from(SURPRISE_NATS_MAX) };
        fitted.clamp(0.0, most)
    }

    fn beyond(&self, last: f32, unit: Unit) -> Tail {
        let beyond = self.pareto.beyond(f64::from(last) - f64::from(self.start));
        let (scale_max, shape_max) = unit.tail_max();
        let (scale, shape) = (beyond.scale.clamp(unit.scale_min(), scale_max), beyond.shape.min(shape_max));
        Tail { fitted_to: self.count as u64, scale: scale as f32, shape: shape as f32, jump: 0.0 }
    }
}

/// The score from which on the tail is fitted, `None` for a reservoir too small to have one.
fn tail_start(sorted: &[f32]) -> Option<f32> {
    let share = ((sorted.len() as f64 * TAIL_SHARE) as usize).clamp(EXCESSES_MIN, EXCESSES_MAX);
    if share as f64 > sorted.len() as f64 * TAIL_SHARE_MAX {
        return None;
    }
    sorted.get(sorted.len() - share - 1).copied()
}

/// Nothing to fit: the last level as it was counted, then `1 / (n + 1)` reached over one scale, then one nat a scale.
fn discrete_tail(sorted: &[f32], unit: Unit, at_last: f32) -> Tail {
    let top = &sorted[sorted.len() - sorted.len().div_ceil(10)..];
    let mean_excess = top.iter().map(|s| f64::from(*s) - f64::from(top[0])).sum::<f64>() / top.len() as f64;
    let unseen = libm::log(sorted.len() as f64 + 1.0).min(f64::from(SURPRISE_NATS_MAX)) as f32;
    Tail {
        fitted_to: 0,
        scale: mean_excess.clamp(unit.scale_min(), unit.tail_max().0) as f32,
        shape: 0.0,
        jump: (unseen - at_last).max(0.0),
    }
}

/// `-ln((1 + at_least) / (n + 1))`.
fn surprise_of_count(at_least: usize, n: usize) -> f64 {
    -libm::log((at_least as f64 + 1.0) / (n as f64 + 1.0))
}

/// Scores and their surprises: counted below the tail, fitted in it.
///
/// A knot is the first of its ties, so a score that occurs often has exactly the surprise that counting all of them gives, and
/// the straight line to the next knot stays below what counting would say of the scores between.
fn knots(sorted: &[f32], tail: Option<&FittedTail>) -> (Vec<f32>, Vec<f32>) {
    let (mut scores, mut surprises) = (Vec::new(), Vec::new());
    let mut due = f64::INFINITY;
    let mut highest = 0.0_f32;
    for (i, score) in sorted.iter().enumerate() {
        let at_least = sorted.len() - i;
        let first_of_its_ties = i == 0 || sorted[i - 1] < *score;
        let is_last = *score >= sorted[sorted.len() - 1];
        if !first_of_its_ties || (at_least as f64 > due && !is_last) {
            continue;
        }
        due = at_least as f64 * KNOT_FACTOR;
        let surprise = match tail {
            Some(tail) if *score > tail.start => tail.surprise(*score),
            _ => surprise_of_count(at_least, sorted.len()),
        };
        highest = highest.max((surprise as f32).clamp(0.0, SURPRISE_NATS_MAX));
        scores.push(*score);
        surprises.push(highest);
    }
    (scores, surprises)
}

impl From<Calibration> for Stored {
    fn from(calibration: Calibration) -> Self {
        calibration.stored
    }
}

impl TryFrom<Stored> for Calibration {
    type Error = String;
    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { scores, surprises, tail, .. } = &stored;
        if scores.is_empty() || scores.len() != surprises.len() || scores.len() > KNOTS_MAX {
            return Err(format!("a calibration needs 1 to {KNOTS_MAX} scores and as many surprises"));
        }
        if !scores.iter().all(|s| s.abs() <= SCORE_MAX) || !scores.is_sorted_by(|a, b| a < b) {
            return Err("a calibration's scores must be finite and rise".into());
        }
        if !surprises.iter().all(|s| (0.0..=SURPRISE_NATS_MAX).contains(s)) || !surprises.is_sorted() {
            return Err(format!("a calibration's surprises must not fall and lie in 0..={SURPRISE_NATS_MAX}"));
        }
        let sound = tail.scale.is_finite()
            && tail.scale > 0.0
            && (0.0..=1.0).contains(&tail.shape)
            && (0.0..=SURPRISE_NATS_MAX).contains(&tail.jump);
        if !sound {
            return Err("a calibration's tail needs a scale above 0, a shape in 0..=1 and a jump in nats".into());
        }
        Ok(Self::compiled(stored))
    }
}

#[cfg(test)]
mod tests;
