//! How far traffic has moved away from what was learned: population stability index and Kolmogorov-Smirnov statistic of each feature
//! and each detector's score, and whether p-values come as often as they say.
//!
//! Counts only, in bounded memory. Must never judge a window of fewer rows than its noise allows.

use serde::{Deserialize, Serialize};

/// Points at which a reference knows its distribution.
const CUTS: usize = 40;
/// Groups of about equal share that the index is taken over: its noise grows with their number.
const GROUPS: usize = 10;
/// A group that is empty on one side counts as this many rows, so that the index stays finite.
const EMPTY_ROWS: f64 = 0.5;
/// P-values whose share is watched, and how many standard errors a share may be off by chance.
pub const NOMINAL: [f64; 2] = [1e-2, 1e-3];
const CHANCE_ERRORS: f64 = 4.0;

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
}

impl Reference {
    /// Of benign values, which it sorts; those that are no numbers are left out. `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f32>) -> Option<Self> {
        values.retain(|value| !value.is_nan());
        values.sort_unstable_by(f32::total_cmp);
        let rows = values.len();
        let mut cuts: Vec<f32> = (1..CUTS).filter_map(|cut| values.get(cut * rows / CUTS).copied()).collect();
        cuts.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let below = cuts.iter().map(|cut| values.partition_point(|value| value <= cut) as f64 / rows as f64).collect();
        (rows > 0).then(|| Self::compiled(Stored { rows: rows as u64, cuts, below }))
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
        let Stored { rows, cuts, below } = &stored;
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        if *rows == 0 || cuts.len() != below.len() || cuts.len() > CUTS {
            return Err(format!("a reference needs rows, and at most {CUTS} cuts with as many shares"));
        }
        if cuts.iter().any(|cut| cut.is_nan()) || !cuts.is_sorted() || !below.is_sorted() || !below.iter().all(is_share) {
            return Err("cuts and shares of a reference must ascend".to_owned());
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
}

/// Values of one column since the window began.
#[derive(Clone, Debug, PartialEq)]
struct Counts {
    bins: Vec<u64>,
    rows: u64,
}

/// What a window's columns are compared by.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDrift {
    pub column: String,
    pub psi: f64,
    pub ks: f64,
}

/// How often a p-value came, as a multiple of how often it should.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareError {
    pub nominal: f64,
    pub ratio: f64,
    /// More than chance explains.
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
    counts: Vec<Counts>,
    /// All rows, and those at or below each of [`NOMINAL`].
    rows: u64,
    surprising: [u64; NOMINAL.len()],
}

impl Window {
    /// For the columns that have a reference, in the order in which [`Self::add`] gets their values.
    #[must_use]
    pub fn new(columns: Vec<(String, Reference)>) -> Self {
        let (names, references): (Vec<String>, Vec<Reference>) = columns.into_iter().unzip();
        let counts = references.iter().map(|reference| Counts { bins: vec![0; reference.group_of.len()], rows: 0 }).collect();
        Self { names, references: std::sync::Arc::new(references), counts, rows: 0, surprising: [0; NOMINAL.len()] }
    }

    /// Counts a row's values; what is no number is left out.
    pub fn add(&mut self, values: impl Iterator<Item = f32>) {
        for ((value, reference), counts) in values.zip(self.references.iter()).zip(&mut self.counts) {
            if !value.is_nan() {
                counts.bins[reference.bin(value)] += 1;
                counts.rows += 1;
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
        let columns = columns.map(|((name, reference), counts)| ColumnDrift {
            column: name.clone(),
            psi: psi(reference, counts),
            ks: ks(reference, counts),
        });
        let shares = NOMINAL.into_iter().zip(self.surprising).filter(|_| self.rows > 0);
        let shares = shares.map(|(nominal, count)| {
            let expected = nominal * self.rows as f64;
            let chance = CHANCE_ERRORS * libm::sqrt(expected.max(1.0));
            ShareError { nominal, ratio: count as f64 / expected, is_significant: (count as f64 - expected).abs() > chance }
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
mod tests {
    use super::*;
    use crate::models::random::Random;

    fn values(seed: u64, rows: usize, shift: f32, scale: f32) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..rows).map(|_| shift + scale * (0..12).map(|_| random.unit() as f32).sum::<f32>() - 6.0 * scale).collect()
    }

    fn judged(reference: Vec<f32>, now: &[f32]) -> ColumnDrift {
        let mut window = Window::new(vec![("x".to_owned(), Reference::of(reference).unwrap())]);
        now.iter().for_each(|value| window.add([*value].into_iter()));
        window.report().columns.remove(0)
    }

    #[test]
    fn alike_traffic_is_within_the_usual_bounds_and_moved_traffic_is_not() {
        let mut worst = (0.0_f64, 0.0_f64);
        for seed in 0..200 {
            let found = judged(values(1, 20_000, 0.0, 1.0), &values(seed + 2, 1_000, 0.0, 1.0));
            worst = (worst.0.max(found.psi), worst.1.max(found.ks));
        }
        assert!(worst.0 < 0.05 && worst.1 < 0.07, "{worst:?}");
        let moved = judged(values(1, 20_000, 0.0, 1.0), &values(2, 5_000, 0.5, 1.0));
        // Two normal distributions half a deviation apart: PSI is 0.25, KS is 0.197.
        assert!((moved.psi - 0.25).abs() < 0.05 && (moved.ks - 0.197).abs() < 0.02, "{moved:?}");
        let wider = judged(values(1, 20_000, 0.0, 1.0), &values(2, 5_000, 0.0, 3.0));
        assert!(wider.psi > 0.5 && wider.ks > 0.15, "{wider:?}");
    }

    #[test]
    fn ties_missing_values_and_new_values_are_counted() {
        let mostly_zero: Vec<f32> = (0..1_000).map(|row| if row % 10 == 0 { row as f32 } else { 0.0 }).collect();
        let same = judged(mostly_zero.clone(), &mostly_zero);
        assert!(same.psi.abs() < 1e-9 && same.ks.abs() < 1e-9, "{same:?}");
        let constant = judged(vec![1.0; 500], &[1.0; 100]);
        assert!(constant.psi.abs() < 0.01 && constant.ks < 1e-9, "{constant:?}");
        let other = judged(vec![1.0; 500], &[2.0; 100]);
        assert!(other.ks > 0.99 && other.psi > 1.0, "what was never seen: {other:?}");
        let below = judged(vec![1.0; 500], &[0.0; 100]);
        assert!(below.psi.is_finite(), "{below:?}");
        assert!(Reference::of(vec![f32::NAN]).is_none());
        let mut window = Window::new(vec![("x".to_owned(), Reference::of(mostly_zero).unwrap())]);
        window.add([f32::NAN].into_iter());
        assert!(window.report().columns.is_empty());
    }

    #[test]
    fn lanes_add_up_and_shares_are_judged_against_chance() {
        let reference = Reference::of(values(1, 5_000, 0.0, 1.0)).unwrap();
        let text = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
        assert!(serde_json::from_str::<Reference>(&text.replace("\"rows\":5000", "\"rows\":0")).is_err());
        let new = || Window::new(vec![("x".to_owned(), reference.clone())]);
        let (mut whole, mut parts) = (new(), [new(), new()]);
        for (row, value) in values(3, 10_000, 0.2, 1.0).into_iter().enumerate() {
            // 12 of 1,000 rows are beyond 1 %, 5 of 1,000 beyond 0.1 %.
            let nats = match row % 1_000 {
                0..5 => 8.0,
                5..12 => 5.0,
                _ => 0.5,
            };
            for window in [&mut whole, &mut parts[row % 2]] {
                window.add([value].into_iter());
                window.surprise(nats);
            }
        }
        let [mut sum, other] = parts;
        sum.merge(&other);
        assert_eq!(sum.report(), whole.report());
        let shares = whole.report().shares;
        assert!((shares[0].ratio - 1.2).abs() < 1e-9 && !shares[0].is_significant, "{shares:?}");
        assert!((shares[1].ratio - 5.0).abs() < 1e-9 && shares[1].is_significant, "{shares:?}");
        whole.clear();
        assert_eq!((whole.rows(), whole.report()), (0, Report::default()));
    }
}
