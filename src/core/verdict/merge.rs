//! Merges what the detectors say about one event: anomalies, and contributions as shares of the whole score.

use crate::core::detect::{Anomaly, Explanation};

/// Contributions that a threat shows: more than an analyst reads.
pub const CONTRIBUTIONS_MAX: usize = 8;
/// Anomalies that a threat shows.
pub const ANOMALIES_MAX: usize = 8;

/// A feature's share of the score.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub feature: &'static str,
    pub observed: f32,
    pub expected: f32,
    /// 0..1; those of a threat sum to 1.
    pub share: f32,
}

/// One detector's explanation, and how much of the score is its.
pub(super) struct Part {
    pub(super) surprise: f32,
    pub(super) explanation: Explanation,
}

/// All anomalies, most surprising first; of two with one name the more surprising stays. Detectors that weigh nothing are left
/// out.
pub(super) fn anomalies(parts: &mut [Part]) -> Vec<Anomaly> {
    let mut all: Vec<Anomaly> = vec![];
    for part in parts.iter_mut().filter(|part| part.surprise > 0.0) {
        all.append(&mut part.explanation.anomalies);
    }
    // Stable: ties stay in declared order.
    all.sort_by(|a, b| b.surprise.total_cmp(&a.surprise));
    let mut kept: Vec<Anomaly> = vec![];
    for anomaly in all {
        if kept.len() < ANOMALIES_MAX && kept.iter().all(|known| known.name != anomaly.name) {
            kept.push(anomaly);
        }
    }
    kept
}

/// The strongest contributions. A detector's weights are scaled to its part of the score; one feature of two detectors adds up,
/// with the figures of the heavier one. Shares are multiples of 1/10,000 and sum to 1, or there are none.
pub(super) fn contributions(parts: &[Part]) -> Vec<Share> {
    let mut merged: Vec<(Share, f32)> = vec![];
    for part in parts {
        let weights = part.explanation.contributions.iter();
        let whole: f32 = weights.clone().map(|c| c.weight.max(0.0)).sum();
        if whole <= 0.0 || part.surprise <= 0.0 {
            continue;
        }
        for c in weights.filter(|c| c.weight > 0.0) {
            let weight = part.surprise * (c.weight / whole);
            add(&mut merged, Share { feature: c.feature, observed: c.observed, expected: c.expected, share: weight });
        }
    }
    let mut shares: Vec<Share> = merged.into_iter().map(|(share, _)| share).collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares.truncate(CONTRIBUTIONS_MAX);
    normalise(&mut shares);
    shares
}

/// Beside each share: the heaviest single weight in it, whose figures it shows.
fn add(merged: &mut Vec<(Share, f32)>, new: Share) {
    let weight = new.share;
    let Some((known, heaviest)) = merged.iter_mut().find(|(known, _)| known.feature == new.feature) else {
        merged.push((new, weight));
        return;
    };
    let share = known.share + weight;
    if weight > *heaviest {
        (*known, *heaviest) = (new, weight);
    }
    known.share = share;
}

fn normalise(shares: &mut Vec<Share>) {
    const STEPS: f32 = 10_000.0;
    let whole: f32 = shares.iter().map(|share| share.share).sum();
    if whole <= 0.0 {
        shares.clear();
        return;
    }
    let mut rest = STEPS;
    for share in shares.iter_mut() {
        share.share = (STEPS * (share.share / whole)).floor();
        rest -= share.share;
    }
    // What rounding left belongs to the strongest.
    if let Some(first) = shares.first_mut() {
        first.share += rest;
    }
    shares.iter_mut().for_each(|share| share.share /= STEPS);
    shares.retain(|share| share.share > 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::detect::Contribution;
    use proptest::prelude::*;

    const FEATURES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    fn part(surprise: f32, weights: &[(usize, f32)]) -> Part {
        let contributions = weights.iter().map(|(feature, weight)| Contribution {
            feature: FEATURES[*feature],
            observed: *weight,
            expected: 0.0,
            weight: *weight,
        });
        Part { surprise, explanation: Explanation { contributions: contributions.collect(), ..Explanation::default() } }
    }

    #[test]
    fn a_detector_has_its_part_of_the_score_whatever_its_weights() {
        let shares = contributions(&[part(3.0, &[(0, 100.0), (1, 200.0)]), part(1.0, &[(2, 0.5), (0, 0.5)]), part(0.0, &[(3, 9.0)])]);
        let text: Vec<(&str, f32, f32)> = shares.iter().map(|s| (s.feature, s.share, s.observed)).collect();
        assert_eq!(text, [("b", 0.5, 200.0), ("a", 0.375, 100.0), ("c", 0.125, 0.5)]);
        assert_eq!(contributions(&[part(3.0, &[])]), []);
    }

    #[test]
    fn anomalies_are_ordered_once_each_and_bounded() {
        let anomaly = |name, surprise| Anomaly { name, description: String::new(), observed: 0.0, expected: 0.0, surprise };
        let of = |anomalies| Part { surprise: 1.0, explanation: Explanation { anomalies, ..Explanation::default() } };
        let mut silent = of(vec![anomaly("silent", 99.0)]);
        silent.surprise = 0.0;
        let mut parts = vec![of(vec![anomaly("x", 1.0), anomaly("y", 3.0)]), of(vec![anomaly("x", 2.0), anomaly("z", 3.0)]), silent];
        let names: Vec<_> = anomalies(&mut parts).iter().map(|a| (a.name, a.surprise)).collect();
        assert_eq!(names, [("y", 3.0), ("z", 3.0), ("x", 2.0)]);
        let mut many = [of(FEATURES.map(|name| anomaly(name, 1.0)).to_vec())];
        assert_eq!(anomalies(&mut many).len(), ANOMALIES_MAX);
    }

    proptest! {
        #[test]
        fn shares_sum_to_one(weights in proptest::collection::vec((0usize..10, 0.0f32..1e6), 1..30), surprise in 0.01f32..60.0) {
            let shares = contributions(&[part(surprise, &weights), part(1.0, &weights[..1])]);
            let sum: f32 = shares.iter().map(|s| s.share).sum();
            prop_assert!(shares.is_empty() == weights.iter().all(|(_, w)| *w <= 0.0));
            prop_assert!(shares.is_empty() || (sum - 1.0).abs() < 1e-5);
            prop_assert!(shares.len() <= CONTRIBUTIONS_MAX && shares.iter().all(|s| s.share > 0.0 && s.share <= 1.0));
        }
    }
}
