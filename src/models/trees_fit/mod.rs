//! Fitting boosted trees: gradient boosting by histograms, for labels of 0 and 1. Pure: same rows and seed, same bits everywhere.
//!
//! Sources: Friedman, "Greedy function approximation", 2001; Chen, Guestrin, "XGBoost", KDD 2016 (second-order gains, learned sides
//! for missing values); Prokhorenkova et al., "CatBoost", NeurIPS 2018 (symmetric trees). Sums are integers, so that the order
//! of rows shows nowhere. Must never look at the rows of its own validation part but to stop.

mod bins;
mod grow;
mod histogram;
mod split;

use crate::core::detect::trees::sketch::Sketch;
use crate::core::detect::trees::{Link, Trees};
use crate::error::{Error, Result};
use crate::limits::{TREES_FEATURES_MAX, TREES_MAX, TREES_ROWS_MAX, TREES_SYMMETRIC_DEPTH_MAX};
use crate::models::matrix::Matrix;
use crate::models::random::Random;
use bins::Binned;
use grow::{Ground, Grown, Pool};
use histogram::{Pair, Scale};
use split::Judge;

/// Depth of ordinary trees: 65,536 nodes are the most a tree can have.
const DEPTH_MAX: u32 = 15;

/// What trees look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Each node asks its own question.
    Ordinary,
    /// All nodes of a level ask the same: harder to overfit, far faster to score.
    Symmetric,
}

/// How trees are fitted.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    pub shape: Shape,
    /// Trees at most; fewer where the validation part no longer gains.
    pub trees: u32,
    /// Trees of one step, each grown from other rows and columns, of which the mean is taken: steadier where new rows are unlike old ones.
    pub trees_per_round: u32,
    /// Levels of a tree: at most 15, symmetric ones 8.
    pub depth: u32,
    pub learning_rate: f64,
    /// Bins of a column, 2 to 255.
    pub bins: u32,
    /// Added to a leaf's hessian: larger is more cautious.
    pub l2: f64,
    /// Least hessian of a leaf.
    pub child_hessian_min: f64,
    /// A split must gain more.
    pub gain_min: f64,
    /// Shares of the rows and of the columns that each tree is grown from.
    pub row_share: f64,
    pub column_share: f64,
    /// Share of the rows that is held back to see when to stop; 0 for no early stop.
    pub validation_share: f64,
    /// Rounds without a better validation loss after which to stop.
    pub patience: u32,
    /// Weighs both classes alike, however many rows they have.
    pub balanced: bool,
}

impl Default for Settings {
    /// What was best on most tables: symmetric trees of eight levels predict new rows of the same kind as well as ordinary ones or
    /// better, at a seventh of the time.
    fn default() -> Self {
        Self {
            shape: Shape::Symmetric,
            trees: 300,
            trees_per_round: 1,
            depth: 8,
            learning_rate: 0.1,
            bins: 255,
            l2: 1.0,
            child_hessian_min: 1.0,
            gain_min: 0.0,
            row_share: 1.0,
            column_share: 1.0,
            validation_share: 0.0,
            patience: 30,
            balanced: false,
        }
    }
}

impl Settings {
    /// Symmetric trees that score an event of a stream in time: 100 of 6 levels.
    #[must_use]
    pub fn for_streams() -> Self {
        Self { trees: 100, depth: 6, learning_rate: 0.2, ..Self::default() }
    }

    /// Few rounds of many deep trees, each from other rows and columns: better than the default where the rows to come are unlike
    /// the fitted ones and few false positives are allowed, a little worse where they are alike.
    #[must_use]
    pub fn for_shifts() -> Self {
        Self {
            shape: Shape::Ordinary,
            trees_per_round: 10,
            depth: 12,
            learning_rate: 0.3,
            row_share: 0.5,
            column_share: 0.6,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<()> {
        let depth_max = if self.shape == Shape::Symmetric { TREES_SYMMETRIC_DEPTH_MAX as u32 } else { DEPTH_MAX };
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let checks = [
            ((1..=TREES_MAX as u32).contains(&self.trees), format!("trees must be 1 to {TREES_MAX}")),
            ((1..=self.trees.max(1)).contains(&self.trees_per_round), "treesPerRound must be 1 to trees".into()),
            ((1..=depth_max).contains(&self.depth), format!("depth must be 1 to {depth_max}")),
            (self.learning_rate > 0.0 && self.learning_rate <= 1.0, "learningRate must be above 0 and at most 1".into()),
            ((2..=255).contains(&self.bins), "bins must be 2 to 255".into()),
            // A leaf whose rows are all certain has no hessian of its own.
            (self.l2 > 0.0 && self.l2.is_finite(), "l2 must be above 0".into()),
            (self.child_hessian_min >= 0.0 && self.child_hessian_min.is_finite(), "childHessianMin must be 0 or more".into()),
            (self.gain_min >= 0.0 && self.gain_min.is_finite(), "gainMin must be 0 or more".into()),
            (share(self.row_share) && share(self.column_share), "rowShare and columnShare must be above 0 and at most 1".into()),
            ((0.0..0.9).contains(&self.validation_share), "validationShare must be 0 to 0.9".into()),
        ];
        let wrong: Vec<String> = checks.into_iter().filter(|(holds, _)| !holds).map(|(_, message)| message).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error::config(format!("boosted trees: {}", wrong.join("; ")))) }
    }
}

/// Fits trees to `labels`, 0 or 1 for each row (a share in between is possible), weighted where weights are given.
///
/// `progress` is told the trees so far and at most, and may end it.
///
/// # Errors
/// Of the kind `Config`: settings out of range, no row, labels or weights that do not fit the rows, one class only. That of `progress`.
pub fn fit(
    rows: &Matrix,
    labels: &[f32],
    weights: Option<&[f32]>,
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Trees> {
    settings.check()?;
    check_rows(rows, labels, weights)?;
    let mut random = Random::new(seed);
    let weights = weights_of(labels, weights, settings.balanced)?;
    let binned = Binned::of(rows, settings.bins as usize, &mut random)?;
    let mut fit = Fit::new(&binned, labels, &weights, settings, random);
    let of = settings.trees as usize;
    while fit.sketch.len() < of {
        let goes_on = fit.round();
        progress(fit.sketch.len(), of)?;
        if !goes_on {
            break;
        }
    }
    Trees::new(rows.width(), Link::Logistic, fit.base, fit.finished())
}

fn check_rows(rows: &Matrix, labels: &[f32], weights: Option<&[f32]>) -> Result<()> {
    let count = rows.rows();
    let fail = |message: String| Err(Error::config(format!("boosted trees: {message}")));
    if count == 0 || count > TREES_ROWS_MAX {
        return fail(format!("{count} rows to fit on; 1 to {TREES_ROWS_MAX} are possible"));
    }
    if rows.width() > TREES_FEATURES_MAX {
        return fail(format!("{} columns; at most {TREES_FEATURES_MAX} are possible", rows.width()));
    }
    if labels.len() != count || weights.is_some_and(|weights| weights.len() != count) {
        return fail(format!("{count} rows need {count} labels and as many weights"));
    }
    if let Some(label) = labels.iter().find(|label| !(0.0..=1.0).contains(*label)) {
        return fail(format!("a label of {label}; 0 is benign, 1 an attack"));
    }
    if let Some(weight) = weights.into_iter().flatten().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        return fail(format!("a weight of {weight}; it must be 0 or more"));
    }
    Ok(())
}

/// Weights with a mean of one. With `balanced`, each class has half of the weight.
fn weights_of(labels: &[f32], given: Option<&[f32]>, balanced: bool) -> Result<Vec<f64>> {
    let mut weights: Vec<f64> = given.map_or_else(|| vec![1.0; labels.len()], |given| given.iter().copied().map(f64::from).collect());
    let total: f64 = weights.iter().sum();
    let attacks: f64 = weights.iter().zip(labels).map(|(weight, label)| weight * f64::from(*label)).sum();
    if attacks <= 0.0 || attacks >= total {
        return Err(Error::config("boosted trees: all rows are of one class; they need benign and attack rows to learn from"));
    }
    let count = labels.len() as f64;
    for (weight, label) in weights.iter_mut().zip(labels) {
        let label = f64::from(*label);
        let class = if balanced { label * 0.5 / attacks + (1.0 - label) * 0.5 / (total - attacks) } else { 1.0 / total };
        *weight *= class * count;
    }
    Ok(weights)
}

/// A fit under way.
struct Fit<'a> {
    binned: &'a Binned,
    labels: &'a [f32],
    weights: &'a [f64],
    settings: &'a Settings,
    random: Random,
    /// Rows to grow from, and rows to see when to stop.
    learned: Vec<u32>,
    held_back: Vec<u32>,
    base: f64,
    margins: Vec<f64>,
    gradients: Vec<Pair>,
    scale: Scale,
    pool: Pool,
    sketch: Sketch,
    /// Trees at the least validation loss so far, and that loss.
    best: (usize, f64),
}

impl<'a> Fit<'a> {
    fn new(binned: &'a Binned, labels: &'a [f32], weights: &'a [f64], settings: &'a Settings, mut random: Random) -> Self {
        let (mut learned, mut held_back) = (vec![], vec![]);
        for row in 0..labels.len() as u32 {
            let back = settings.validation_share > 0.0 && random.unit() < settings.validation_share;
            if back { held_back.push(row) } else { learned.push(row) }
        }
        // A part without both classes would teach nothing; so few rows cannot spare any.
        let both = |rows: &[u32]| {
            let attacks = rows.iter().filter(|row| labels[**row as usize] >= 0.5).count();
            attacks > 0 && attacks < rows.len()
        };
        if !(both(&learned) && both(&held_back)) {
            (learned, held_back) = ((0..labels.len() as u32).collect(), vec![]);
        }
        let total: f64 = learned.iter().map(|row| weights[*row as usize]).sum();
        let attacks: f64 = learned.iter().map(|row| weights[*row as usize] * f64::from(labels[*row as usize])).sum();
        let share = (attacks / total).clamp(1e-6, 1.0 - 1e-6);
        let base = libm::log(share / (1.0 - share));
        let sketch = match settings.shape {
            Shape::Ordinary => Sketch::Ordinary(vec![]),
            Shape::Symmetric => Sketch::Symmetric(vec![]),
        };
        Self {
            binned,
            labels,
            weights,
            settings,
            random,
            learned,
            held_back,
            base,
            margins: vec![base; labels.len()],
            gradients: vec![Pair::default(); labels.len()],
            scale: Scale::of(weights.iter().sum()),
            pool: Pool::default(),
            sketch,
            best: (0, f64::INFINITY),
        }
    }

    /// Grows the trees of one step; says whether another one is worth it.
    fn round(&mut self) -> bool {
        self.derive();
        let count = (self.settings.trees_per_round as usize).min(self.settings.trees as usize - self.sketch.len());
        let grown: Vec<Grown> = (0..count).map(|_| self.tree(1.0 / count as f64)).collect();
        for tree in grown {
            for (row, margin) in self.margins.iter_mut().enumerate() {
                *margin += tree.value(self.binned, row);
            }
            match (&mut self.sketch, tree) {
                (Sketch::Ordinary(trees), Grown::Ordinary { nodes, .. }) => trees.push(nodes),
                (Sketch::Symmetric(trees), Grown::Symmetric { tree, .. }) => trees.push(tree),
                _ => unreachable!("one shape a fit"),
            }
        }
        self.held_back.is_empty() || self.still_gains()
    }

    /// One tree from its own rows and columns, with this share of a step.
    fn tree(&mut self, share: f64) -> Grown {
        let mut rows: Vec<u32> = self.drawn_rows();
        let columns = self.drawn_columns();
        let judge = Judge { scale: self.scale, settings: self.settings, rate: self.settings.learning_rate * share };
        let ground = Ground { judge, binned: self.binned, gradients: &self.gradients, columns: &columns };
        match self.settings.shape {
            Shape::Ordinary => grow::ordinary(&ground, &mut rows, &mut self.pool),
            Shape::Symmetric => grow::symmetric(&ground, &mut rows, &mut self.pool),
        }
    }

    /// First and second derivative of the log loss, for the rows to grow from.
    fn derive(&mut self) {
        for row in self.learned.iter().map(|row| *row as usize) {
            let probability = logistic(self.margins[row]);
            let gradient = probability - f64::from(self.labels[row]);
            let hessian = (probability * (1.0 - probability)).max(1e-16);
            self.gradients[row] = self.scale.pair(gradient * self.weights[row], hessian * self.weights[row]);
        }
    }

    fn drawn_rows(&mut self) -> Vec<u32> {
        if self.settings.row_share >= 1.0 {
            return self.learned.clone();
        }
        let (random, share) = (&mut self.random, self.settings.row_share);
        self.learned.iter().copied().filter(|_| random.unit() < share).collect()
    }

    /// As many columns as the share says, at least one, ascending.
    fn drawn_columns(&mut self) -> Vec<usize> {
        let width = self.binned.width();
        let mut columns: Vec<usize> = (0..width).collect();
        let count = (libm::ceil(width as f64 * self.settings.column_share) as usize).clamp(1, width);
        if count < width {
            for place in 0..count {
                let other = place + self.random.below((width - place) as u64) as usize;
                columns.swap(place, other);
            }
            columns.truncate(count);
            columns.sort_unstable();
        }
        columns
    }

    fn still_gains(&mut self) -> bool {
        let loss: f64 = self.held_back.iter().map(|row| self.loss(*row as usize)).sum();
        let trees = self.sketch.len();
        if loss < self.best.1 {
            self.best = (trees, loss);
        }
        trees < self.best.0 + self.settings.patience as usize * self.settings.trees_per_round as usize
    }

    fn loss(&self, row: usize) -> f64 {
        let margin = self.margins[row];
        let softplus = margin.max(0.0) + libm::log1p(libm::exp(-margin.abs()));
        (softplus - f64::from(self.labels[row]) * margin) * self.weights[row]
    }

    fn finished(&mut self) -> &Sketch {
        if !self.held_back.is_empty() {
            self.sketch.truncate(self.best.0);
        }
        &self.sketch
    }
}

fn logistic(margin: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-margin))
}

#[cfg(test)]
mod tests;
