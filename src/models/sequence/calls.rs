//! Which symbols a trace has, and whether traces that were learned from have the same. Must never look at order or number.

use std::collections::BTreeMap;

/// A set of symbols, sorted.
pub type Set = Vec<u32>;

#[must_use]
pub fn set(trace: &[u32]) -> Set {
    let mut set = trace.to_vec();
    set.sort_unstable();
    set.dedup();
    set
}

/// How far a set lies from those that were learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apart {
    /// The share of all symbols of both that only one has, for the nearest one (Jaccard's distance).
    pub unlike: f64,
    /// The share of its symbols that are not here, for the third of those that lack the fewest: one trace with next to no symbols,
    /// which lacks nothing anywhere, must not vouch for all.
    pub lacking: f64,
}

/// Where fewer sets are known, the last of them stands for the third.
const VOUCHERS: usize = 3;

/// The sets that were learned from, each once, with how often it was there.
#[derive(Clone, Debug)]
pub struct Known(Vec<(Set, usize)>);

impl Known {
    #[must_use]
    pub fn of(sets: impl Iterator<Item = Set>) -> Self {
        let mut counts: BTreeMap<Set, usize> = BTreeMap::new();
        sets.for_each(|set| *counts.entry(set).or_default() += 1);
        Self(counts.into_iter().collect())
    }

    /// Compares with each; with none of them everything is unlike and lacking.
    #[must_use]
    pub fn apart(&self, set: &[u32]) -> Apart {
        let mut unlike = 1.0_f64;
        let mut fewest: Vec<f64> = Vec::with_capacity(2 * VOUCHERS);
        for (other, count) in &self.0 {
            let shared = shared(set, other) as f64;
            let all = (set.len() + other.len()) as f64 - shared;
            unlike = unlike.min(1.0 - shared / all.max(1.0));
            let lacking = 1.0 - shared / (other.len() as f64).max(1.0);
            let place = fewest.partition_point(|few| *few <= lacking);
            fewest.splice(place..place, std::iter::repeat_n(lacking, (*count).min(VOUCHERS)));
            fewest.truncate(VOUCHERS);
        }
        Apart { unlike, lacking: fewest.last().copied().unwrap_or(1.0) }
    }
}

/// Symbols that both sorted sets have.
fn shared(a: &[u32], b: &[u32]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        count += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    count
}
