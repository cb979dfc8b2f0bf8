//! From the members' surprises to one score, and the thresholds that it is judged by.
//!
//! Two ways, mixed by how far the anomaly members can be relied on, which is measured on held-out training rows:
//!
//! - **Carrying**: the dependence's surprise and the trees' up to a cap, the forest's and the density's up to one nat: these two order
//!   what is everyday, and find less of what is new. What is known of attacks carries to other days only so far, and where benign
//!   traffic drifts it is the trees that err, with full conviction; so they may raise a row but not decide alone below a false-positive
//!   rate of two thirds of a percent. Both limits are for what is new: near known attacks the trees count in full, and near known benign
//!   rows that the trees call benign the anomaly counts little.
//! - **Learned**: the trees' surprise, or all members' weighted by a logistic regression where that tells held-out rows clearly better.
//!
//! The first has no say where the anomaly members by themselves see less than half of the known attacks, and all of it from three
//! quarters. Without labels the anomaly members count alike, the forest only beyond the everyday. The members for sequences have a third
//! way: their answers' normal scores are added, below the middle as above it, so that none decides alone. Must never lower the score as
//! a member's surprise rises.

use crate::core::ensemble::Calibration;
use crate::models::matrix::Matrix;
use crate::models::table::members::{BOOSTED, DENSITY, DEPENDENCE, FOREST, Raw};
use crate::models::table::nearness::{Near, Nearness};
use crate::models::table::normal::NormalScores;

/// Surprise of a member that counting can back; beyond, the fitted tail counts by its logarithm.
const COUNTED_NATS: f32 = 12.0;
const BEYOND_MAX: f32 = 1.5;
/// The forest's surprise up to here is everyday and counts a tenth.
const EVERYDAY_NATS: f32 = 3.0;
const EVERYDAY_SHARE: f32 = 0.1;
/// The cap of the forest and of the density beside the dependence.
const ORDERING_NATS_MAX: f32 = 1.0;
/// The trees' cap where the anomaly members carry.
const TREES_NATS_MAX: f32 = 5.0;
/// What each nat beyond the cap is worth beside a known attack.
const CONVICTION: f32 = 2.0;
/// The share of an anomaly that familiar surroundings take away where the trees see nothing.
const FAMILIARITY: f32 = 0.8;
/// Known attacks seen by the anomaly members alone from which they have a say, and all of it.
const SAY_FROM: f64 = 0.5;
const SAY_FULL: f64 = 0.75;

/// How surprises become a score.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Combination {
    /// The say of the carrying way, 0 to 1.
    pub carrying: f32,
    /// The share of known attacks that the anomaly members see at the nominal rate; absent without labels.
    pub seen_by_anomaly: Option<f64>,
    /// Weights of the learned way, one a member; empty without labels.
    pub learned: Vec<f32>,
    /// Normal scores of the members' own scores, which are added in place of all else; only where they are those for sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<NormalScores>,
}

/// What a calibration says of a score, compressed where only the fitted tail speaks.
#[must_use]
pub fn surprise(calibration: &Calibration, score: f32) -> f32 {
    let nats = calibration.surprise(score);
    nats.min(COUNTED_NATS) + (0.5 * libm::logf(1.0 + (nats - COUNTED_NATS).max(0.0))).min(BEYOND_MAX)
}

/// What the anomaly members alone say where there are attacks to learn from, too.
#[must_use]
pub fn anomaly(parts: &[f32]) -> f32 {
    parts[DEPENDENCE] + parts[FOREST].min(ORDERING_NATS_MAX) + parts[DENSITY].min(ORDERING_NATS_MAX)
}

/// The carrying way, where there are trees.
fn carried(anomaly: f32, trees: f32, near: Near) -> f32 {
    let (capped, beyond) = (trees.min(TREES_NATS_MAX), (trees - TREES_NATS_MAX).max(0.0));
    let familiar = FAMILIARITY * near.benign * (1.0 - capped / TREES_NATS_MAX);
    anomaly * (1.0 - familiar) + capped + CONVICTION * near.attacks * beyond
}

/// What they say where there are none.
fn anomaly_alone(parts: &[f32]) -> f32 {
    let forest = (EVERYDAY_SHARE * parts[FOREST]).max(parts[FOREST] - (1.0 - EVERYDAY_SHARE) * EVERYDAY_NATS);
    forest + parts[DENSITY] + parts[DEPENDENCE]
}

/// The say of the anomaly members by the share of known attacks they see.
#[must_use]
pub fn say(seen: f64) -> f32 {
    ((seen - SAY_FROM) / (SAY_FULL - SAY_FROM)).clamp(0.0, 1.0) as f32
}

impl Combination {
    /// Without labels only the anomaly members speak.
    #[must_use]
    pub fn unsupervised() -> Self {
        Self { carrying: 1.0, seen_by_anomaly: None, learned: Vec::new(), added: None }
    }

    /// The members for sequences agree by their scores of held-out rows.
    #[must_use]
    pub fn agreeing(scores: &[Vec<f32>]) -> Self {
        let mut rows = Matrix::new(scores.len());
        for row in 0..scores.first().map_or(0, Vec::len) {
            rows.push(&scores.iter().map(|scores| scores[row]).collect::<Vec<_>>());
        }
        Self { added: Some(NormalScores::learn(&rows)), ..Self::unsupervised() }
    }

    /// The score of a row of which members said `raw`, with the surprises they mean.
    #[must_use]
    pub fn score_of(&self, raw: &Raw, row: usize, parts: &[f32], nearness: Option<&Nearness>) -> f32 {
        match &self.added {
            Some(normal) => normal.sum(raw.scores.iter().map(|scores| scores[row])),
            None => self.score(parts, raw.distances.near(nearness, row)),
        }
    }

    /// The score of a row by its members' surprises and by how near known rows are.
    #[must_use]
    pub fn score(&self, parts: &[f32], near: Near) -> f32 {
        let carried = parts.get(BOOSTED).map_or_else(|| anomaly_alone(parts), |trees| carried(anomaly(parts), *trees, near));
        let learned: f32 = self.learned.iter().zip(parts).map(|(weight, part)| weight * part).sum();
        self.carrying * carried + (1.0 - self.carrying) * learned
    }

    #[must_use]
    pub fn is_sound(&self, members: usize) -> bool {
        (0.0..=1.0).contains(&self.carrying)
            && (self.learned.is_empty() || self.learned.len() == members)
            && self.learned.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            && self.added.as_ref().is_none_or(|normal| normal.is_sound(members))
    }
}

/// The smallest threshold that at most this share of benign scores lies above. A row is an alert above its threshold.
#[must_use]
pub fn nominal_threshold(benign: &[f32], rate: f64) -> f32 {
    let mut sorted = benign.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let above = (benign.len() as f64 * rate) as usize;
    sorted.get(sorted.len().saturating_sub(above + 1)).copied().unwrap_or(f32::MAX)
}

/// Benign alerts that must be expected for a rate to be told from its half and its double. With fewer, up to the share that the rate
/// may well be the cause of are let through where that makes fewer errors: the rate itself would be a guess, and a costly one where
/// nearly all rows are attacks.
const ALERTS_MIN: f64 = 10.0;
/// Standard errors that the rate may well be the cause of: no more alerts come of it 99 times in a hundred, however few are expected.
const ERRORS_MAX: f64 = 3.0;

/// The share of the nominal rate that is kept free where anomaly members carry: they are relied on for other days, on which benign rows
/// lie farther out than those that were held out of the same days.
const OTHER_DAYS: f64 = 0.2;

/// The threshold by held-out rows: of the nominal rate, or higher where more rows are told right there, in the middle of all that are as
/// good. The more is left to anomaly members the less that counts: they are relied on for what is not in these rows.
#[must_use]
pub fn threshold(scores: &[f32], attack: &[bool], rate: f64, carrying: f32) -> f32 {
    let benign: Vec<f32> = scores.iter().zip(attack).filter(|(_, attack)| !**attack).map(|(score, _)| *score).collect();
    if !attack.contains(&true) {
        return nominal_threshold(&benign, rate);
    }
    let rate = rate * (1.0 - OTHER_DAYS * f64::from(carrying));
    let nominal = nominal_threshold(&benign, rate);
    let expected = rate * benign.len() as f64;
    let few = expected < ALERTS_MIN && expected > 0.0;
    let most = if few { rate * (1.0 + ERRORS_MAX / libm::sqrt(expected)) } else { rate };
    let (lowest, highest) = accurate_thresholds(scores, attack);
    let accurate = nominal_threshold(&benign, most).max(lowest.midpoint(highest));
    let low = nominal.min(accurate);
    low + (1.0 - carrying) * (accurate - low)
}

/// The highest threshold whose accuracy on these rows is not worse than the best by more than one standard error.
#[must_use]
pub fn accurate_threshold(scores: &[f32], attack: &[bool]) -> f32 {
    accurate_thresholds(scores, attack).1
}

/// The highest threshold of that kind and, before it, the lowest from which on all up to it are. Where the best one lies between them is
/// chance.
fn accurate_thresholds(scores: &[f32], attack: &[bool]) -> (f32, f32) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut right = attack.iter().filter(|attack| !**attack).count() as i64;
    // Above the highest score nothing is an alert.
    let mut points = vec![(scores.get(order.first().copied().unwrap_or(0)).copied().unwrap_or(f32::MAX), right)];
    for (place, row) in order.iter().enumerate() {
        right += if attack[*row] { 1 } else { -1 };
        if let Some(next) = order.get(place + 1).filter(|next| scores[**next] < scores[*row]) {
            // Halfway, so that no row of these lies on it.
            points.push((scores[*next].midpoint(scores[*row]), right));
        }
    }
    let best = points.iter().map(|point| point.1).max().unwrap_or(0);
    let error = libm::sqrt((scores.len() as i64 - best).max(0) as f64);
    let is_as_good = |point: &&(f32, i64)| point.1 as f64 >= best as f64 - error;
    let mut as_good = points.iter().skip_while(|point| !is_as_good(point)).take_while(is_as_good).map(|point| point.0);
    let high = as_good.next().unwrap_or(f32::MAX);
    (as_good.last().unwrap_or(high), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_say_of_anomaly_members_follows_what_they_see() {
        assert!(say(0.3).abs() < 1e-6 && (say(0.8) - 1.0).abs() < 1e-6 && (say(0.625) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_score_never_falls_as_a_part_rises() {
        for (carrying, near) in [0.0, 0.4, 1.0].into_iter().flat_map(|c| [0.0, 0.5, 1.0].map(|n| (c, Near { attacks: n, benign: n }))) {
            let combination = Combination { carrying, learned: vec![0.1, 0.0, 0.3, 2.0], ..Combination::unsupervised() };
            for member in 0..4 {
                let mut last = f32::NEG_INFINITY;
                for step in 0..100 {
                    let mut parts = [2.0, 1.0, 3.0, 4.0];
                    parts[member] = step as f32 * 0.2;
                    let score = combination.score(&parts, near);
                    assert!(score >= last, "{carrying} {member} {step}");
                    last = score;
                }
            }
        }
        let capped = Combination::unsupervised();
        let far = Near::default();
        assert!((capped.score(&[0.0, 0.0, 0.0, 5.0], far) - capped.score(&[0.0, 0.0, 0.0, 13.0], far)).abs() < 1e-6);
        let (attack, benign) = (Near { attacks: 1.0, ..far }, Near { benign: 1.0, ..far });
        assert!((capped.score(&[0.0, 0.0, 0.0, 13.0], attack) - 21.0).abs() < 1e-5, "known attacks are left to the trees");
        assert!((capped.score(&[0.0, 0.0, 5.0, 0.0], benign) - 1.0).abs() < 1e-5, "known benign rows too");
        assert!((capped.score(&[0.0, 0.0, 5.0, 5.0], benign) - 10.0).abs() < 1e-5, "but not against them");
        assert!((capped.score(&[5.0, 2.0, 1.5], far) - (5.0 - 2.7 + 2.0 + 1.5)).abs() < 1e-5, "no trees");
    }

    #[test]
    fn thresholds_hold_what_they_promise() {
        let benign: Vec<f32> = (0..1_000).map(|i| i as f32).collect();
        for rate in [0.008, 0.0, 0.0101, 1.0] {
            let threshold = nominal_threshold(&benign, rate);
            let above = benign.iter().filter(|s| **s > threshold).count();
            assert!(above as f64 <= rate * 1_000.0 && (above as f64) > rate * 1_000.0 - 2.0, "{rate}: {above}");
        }
        assert!(nominal_threshold(&[1.0; 50], 0.008) >= 1.0, "ties are not alerts");
        let (scores, attack) = ([0.1, 0.2, 0.3, 0.9, 1.0], [false, false, false, true, true]);
        assert!((0.3..0.9).contains(&accurate_threshold(&scores, &attack)));
        // With 100 wrong at best, a threshold that has 5 more wrong but fewer alerts is taken.
        let mut many = vec![(5.0, true); 900];
        many.extend([(3.0, true); 5]);
        many.extend([(3.0, false); 5]);
        many.extend([(1.0, false); 900]);
        many.extend([(1.0, true); 100]);
        let (scores, attack): (Vec<f32>, Vec<bool>) = many.into_iter().unzip();
        assert!(accurate_threshold(&scores, &attack) > 3.0);
        assert!((threshold(&scores, &attack, 0.008, 0.0) - 3.0).abs() < 1e-6, "the middle of those that are as good");
    }

    #[test]
    fn few_benign_rows_do_not_cost_the_attacks() {
        // 250 benign rows, four of them above most of 5,000 attacks: 0.8 % are two.
        let mut rows: Vec<(f32, bool)> = (0..246).map(|i| (i as f32 / 246.0, false)).collect();
        rows.extend([(9.0, false); 4]);
        rows.extend((0..5_000).map(|i| (if i < 1_000 { 10.0 } else { 5.0 }, true)));
        let split = |rows: &[(f32, bool)]| -> (Vec<f32>, Vec<bool>) { rows.iter().copied().unzip() };
        let (scores, attack) = split(&rows);
        assert!(threshold(&scores, &attack, 0.008, 0.0) < 5.0 && threshold(&scores, &attack, 0.008, 1.0) < 5.0);
        // As many again for each of them, and the rate is no guess any more.
        let many: Vec<(f32, bool)> = (0..20).flat_map(|_| rows.clone()).collect();
        let (scores, attack) = split(&many);
        assert!(threshold(&scores, &attack, 0.008, 0.0) >= 9.0);
    }

    #[test]
    fn accuracy_on_known_attacks_counts_where_anomaly_members_do_not() {
        // Accuracy is best at 0.5; the nominal rate would allow 0.2.
        let mut rows: Vec<(f32, bool)> = (0..100_000).map(|i| (0.25 - i as f32 * 1e-6, false)).collect();
        rows.extend((0..1_000).map(|_| (1.0, true)));
        let (scores, attack): (Vec<f32>, Vec<bool>) = rows.into_iter().unzip();
        let at = |carrying| threshold(&scores, &attack, 0.008, carrying);
        assert!(at(0.0) > at(0.5) && at(0.5) > at(1.0));
        assert!((at(1.0) - 0.24936).abs() < 1e-5, "a fifth of the rate is left for other days");
        assert!((threshold(&scores, &vec![false; scores.len()], 0.5, 1.0) - 0.2).abs() < 1e-2, "no attacks, no accuracy");
    }
}
