//! How far traffic has moved away from what was learned: population stability index and Kolmogorov-Smirnov statistic of each feature
//! and each detector's score, and whether p-values come as often as they say.
//!
//! A window is held against how far stretches of what was learned from lay from the whole of it (`usual`), because rows of one entity and
//! of one hour come together. Counts only, in bounded memory. Must never judge a window of fewer rows than its noise allows.

use serde::{Deserialize, Serialize};

use usual::{UsualDistance, UsualShares, covered};

pub mod usual;

/// Points at which a reference knows its distribution.
const CUTS: usize = 40;
/// Groups of about equal share that the index is taken over: its noise grows with their number.
const GROUPS: usize = 10;
/// A group that is empty on one side counts as this many rows, so that the index stays finite.
const EMPTY_ROWS: f64 = 0.5;
/// What comes may differ by so much more from the whole than any stretch of the past did: the index is a square, the statistic is not.
const PSI_MARGIN: f64 = 1.5;
const KS_MARGIN: f64 = 1.25;
/// P-values whose share is watched, and how many standard errors a share may be off.
pub const NOMINAL: [f64; 2] = [1e-2, 1e-3];
const STANDARD_ERRORS: f64 = 4.0;

/// The distribution of one column of benign rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stored", into = "Stored")]
pub struct Reference {
    stored: Stored,
    /// The group that each bin belongs to, and the groups' shares.
    group_of: Vec<usize>,
    shares: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    rows: u64,
    /// Ascending values, and the share of rows at or below each.
    cuts: Vec<f32>,
    below: Vec<f64>,
    /// How far stretches lay from the whole; empty where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    usual: Vec<UsualDistance>,
}

impl Reference {
    /// Of benign values in order of time; those that are no numbers are left out. `None` without any.
    #[must_use]
    pub fn in_time(values: &[f32]) -> Option<Self> {
        let mut reference = Self::of(values.to_vec())?;
        reference.stored.usual = usual::distances(&reference, values);
        Some(reference)
    }

    /// Of benign values in any order, without anything being known of stretches.
    #[must_use]
    pub fn of(mut values: Vec<f32>) -> Option<Self> {
        values.retain(|value| !value.is_nan());
        values.sort_unstable_by(f32::total_cmp);
        let rows = values.len();
        let mut cuts: Vec<f32> = (1..CUTS).filter_map(|cut| values.get(cut * rows / CUTS).copied()).collect();
        cuts.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let below = cuts.iter().map(|cut| values.partition_point(|value| value <= cut) as f64 / rows as f64).collect();
        (rows > 0).then(|| Self::compiled(Stored { rows: rows as u64, cuts, below, usual: vec![] }))
    }

    /// Bins are gathered until each group has about its share: many rows of one value are one group.
    fn compiled(stored: Stored) -> Self {
        let (mut group_of, mut shares) = (vec![], vec![]);
        let (mut from, mut group) = (0.0, 0.0);
        for upto in stored.below.iter().copied().chain([1.0]) {
            group_of.push(shares.len());
            group += upto - from;
            from = upto;
            if group >= 1.0 / GROUPS as f64 - 1e-9 {
                shares.push(std::mem::take(&mut group));
            }
        }
        if group > 0.0 || shares.is_empty() || group_of.last().is_some_and(|last| *last >= shares.len()) {
            shares.push(group);
        }
        Self { stored, group_of, shares }
    }

    #[inline]
    fn bin(&self, value: f32) -> usize {
        self.stored.cuts.partition_point(|cut| *cut < value)
    }
}

impl From<Reference> for Stored {
    fn from(reference: Reference) -> Self {
        reference.stored
    }
}

impl TryFrom<Stored> for Reference {
    type Error = String;
    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { rows, cuts, below, usual } = &stored;
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        if *rows == 0 || cuts.len() != below.len() || cuts.len() > CUTS {
            return Err(format!("a reference needs rows, and at most {CUTS} cuts with as many shares"));
        }
        if cuts.iter().any(|cut| cut.is_nan()) || !cuts.is_sorted() || !below.is_sorted() || !below.iter().all(is_share) {
            return Err("cuts and shares of a reference must ascend".to_owned());
        }
        if !usual.iter().all(UsualDistance::is_sound) {
            return Err("what a reference calls usual must be finite and not negative".to_owned());
        }
        Ok(Self::compiled(stored))
    }
}

/// The references of a bundle, by column: the model features in their order, then detectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct References {
    pub features: Vec<Reference>,
    /// By name.
    pub detectors: std::collections::BTreeMap<String, Reference>,
    /// How much the shares of small p-values differ from stretch to stretch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<UsualShares>,
    /// Rows of entities known for a shorter time are not among what was counted, nor are they to be compared with it.
    #[serde(default)]
    pub age_hours: f32,
}

/// Values of one column since the window began.
#[derive(Clone, Debug, PartialEq)]
struct Counts {
    bins: Vec<u64>,
    rows: u64,
}

impl Counts {
    #[inline]
    fn add(&mut self, reference: &Reference, value: f32) {
        self.bins[reference.bin(value)] += 1;
        self.rows += 1;
    }
}

/// What a window's columns are compared by.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDrift {
    pub column: String,
    pub psi: f64,
    pub ks: f64,
    /// The most that stretches of what was learned from, as long as the window, lay from the whole; 0 where that is not known.
    pub usual_psi: f64,
    pub usual_ks: f64,
}

impl ColumnDrift {
    /// Whether the index is at least `bound` and more than what is usual.
    #[must_use]
    pub fn passes_psi(&self, bound: f64) -> bool {
        self.psi >= bound.max(PSI_MARGIN * self.usual_psi)
    }
    /// The same for the statistic.
    #[must_use]
    pub fn passes_ks(&self, bound: f64) -> bool {
        self.ks >= bound.max(KS_MARGIN * self.usual_ks)
    }
}

/// How often a p-value came, as a multiple of how often it should.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareError {
    pub nominal: f64,
    pub ratio: f64,
    /// More than chance and bursts explain.
    pub is_significant: bool,
}

/// A window judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub rows: u64,
    pub columns: Vec<ColumnDrift>,
    pub shares: Vec<ShareError>,
}

/// Rows of a stretch of traffic, counted against the references.
#[derive(Clone, Debug)]
pub struct Window {
    names: Vec<String>,
    references: std::sync::Arc<Vec<Reference>>,
    /// Standard deviations, beyond chance, of how often a p-value comes, as multiples of how often it should.
    spreads: [f64; NOMINAL.len()],
    /// The window's length as a part of what was learned from.
    part: f64,
    counts: Vec<Counts>,
    /// All rows, and those at or below each of [`NOMINAL`].
    rows: u64,
    surprising: [u64; NOMINAL.len()],
}

impl Window {
    /// For the columns that have a reference, in the order in which [`Self::add`] gets their values; what is usual is taken of stretches as
    /// long as this `part` of what was learned from.
    #[must_use]
    pub fn new(columns: Vec<(String, Reference)>, shares: &[UsualShares], part: f64) -> Self {
        let (names, references): (Vec<String>, Vec<Reference>) = columns.into_iter().unzip();
        let counts = references.iter().map(|reference| Counts { bins: vec![0; reference.group_of.len()], rows: 0 }).collect();
        let spreads = covered(shares, part).map_or([0.0; NOMINAL.len()], |usual| usual.spreads);
        let references = std::sync::Arc::new(references);
        Self { names, references, spreads, part, counts, rows: 0, surprising: [0; NOMINAL.len()] }
    }

    /// Counts a row's values; what is no number is left out.
    pub fn add(&mut self, values: impl Iterator<Item = f32>) {
        for ((value, reference), counts) in values.zip(self.references.iter()).zip(&mut self.counts) {
            if !value.is_nan() {
                counts.add(reference, value);
            }
        }
    }

    /// Counts the surprise of a row, nats; also of rows that are not sampled for [`Self::add`].
    pub fn surprise(&mut self, nats: f32) {
        self.rows += 1;
        for (count, nominal) in self.surprising.iter_mut().zip(NOMINAL) {
            *count += u64::from(f64::from(nats) >= -libm::log(nominal));
        }
    }

    /// Rows that were compared.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.iter().map(|counts| counts.rows).max().unwrap_or(0)
    }

    /// Adds what another lane counted against the same references.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.surprising.iter_mut().zip(other.surprising).for_each(|(mine, its)| *mine += its);
        for (mine, its) in self.counts.iter_mut().zip(&other.counts) {
            mine.rows += its.rows;
            mine.bins.iter_mut().zip(&its.bins).for_each(|(mine, its)| *mine += its);
        }
    }

    pub fn clear(&mut self) {
        (self.rows, self.surprising) = (0, [0; NOMINAL.len()]);
        for counts in &mut self.counts {
            counts.rows = 0;
            counts.bins.fill(0);
        }
    }

    #[must_use]
    pub fn report(&self) -> Report {
        let columns = self.names.iter().zip(self.references.iter()).zip(&self.counts).filter(|(_, counts)| counts.rows > 0);
        let columns = columns.map(|((name, reference), counts)| {
            let usual = covered(&reference.stored.usual, self.part).copied().unwrap_or_default();
            let (psi, ks) = (psi(reference, counts), ks(reference, counts));
            ColumnDrift { column: name.clone(), psi, ks, usual_psi: usual.psi, usual_ks: usual.ks }
        });
        let shares = NOMINAL.into_iter().zip(self.surprising).zip(self.spreads).filter(|_| self.rows > 0);
        let shares = shares.map(|((nominal, count), spread)| {
            let expected = nominal * self.rows as f64;
            let (ratio, chance) = (count as f64 / expected, expected.max(1.0) / (expected * expected));
            ShareError { nominal, ratio, is_significant: (ratio - 1.0).abs() > STANDARD_ERRORS * libm::sqrt(chance + spread * spread) }
        });
        Report { rows: self.rows(), columns: columns.collect(), shares: shares.collect() }
    }
}

/// Sum over groups of `(now - then) * ln(now / then)`.
fn psi(reference: &Reference, counts: &Counts) -> f64 {
    let mut now = vec![0; reference.shares.len()];
    for (group, count) in reference.group_of.iter().zip(&counts.bins) {
        now[*group] += count;
    }
    let share = |count: f64, rows: u64| count.max(EMPTY_ROWS) / rows as f64;
    let term = |(then, now): (&f64, &u64)| {
        let (then, now) = (share(then * reference.stored.rows as f64, reference.stored.rows), share(*now as f64, counts.rows));
        (now - then) * libm::log(now / then)
    };
    reference.shares.iter().zip(&now).map(term).sum()
}

/// The largest difference of the two distributions at the reference's cuts.
fn ks(reference: &Reference, counts: &Counts) -> f64 {
    let mut below = 0;
    let differences = reference.stored.below.iter().zip(&counts.bins).map(|(then, count)| {
        below += count;
        (below as f64 / counts.rows as f64 - then).abs()
    });
    differences.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests;
