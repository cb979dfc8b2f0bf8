//! How well scores tell attacks from benign rows: rank measures with exact ties, rates at a threshold, and their intervals.
//!
//! Must never interpolate between thresholds: a rate is one that some threshold really gives.

use std::collections::BTreeMap;

/// False-positive rates at which the true-positive rate is told.
pub const RATES: [(&str, f64); 4] = [("0.001", 0.001), ("0.008", 0.008), ("0.01", 0.01), ("0.05", 0.05)];
/// Below so many expected misses the logit interval means nothing.
const EVENTS_FOR_LOGIT: f64 = 5.0;
/// Of the normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The measures of one scorer, as they are written.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measures {
    pub roc_auc: f64,
    pub pr_auc: f64,
    pub tpr_at_fpr: BTreeMap<&'static str, f64>,
    pub deployed: Deployed,
    /// At the deployed threshold: the share of each attack class that is found, and of the benign class that is left alone.
    pub recall_by_class: BTreeMap<String, f64>,
    pub alerts_per_million: f64,
    pub interval95: Intervals,
}

/// What the threshold that was fixed on training data gives.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Deployed {
    pub threshold: f64,
    pub accuracy: f64,
    pub tpr: f64,
    pub fpr: f64,
}

/// 95 % intervals: `DeLong`'s for the area, Wilson's for rates, a logit one for the precision-recall area.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Intervals {
    pub roc_auc: [f64; 2],
    pub pr_auc: [f64; 2],
    pub tpr_at_fpr: BTreeMap<&'static str, [f64; 2]>,
    pub accuracy: [f64; 2],
    pub tpr: [f64; 2],
    pub fpr: [f64; 2],
}

/// The rows that are judged: which are attacks, and of what class.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub attack: Vec<bool>,
    pub class: Vec<u32>,
    pub classes: Vec<String>,
}

/// A threshold's counts: rows at or above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Point {
    attacks: u64,
    benign: u64,
}

/// Measures scores of which higher means more like an attack. Both classes must be there; scores must not be NaN.
#[must_use]
pub fn measure(scores: &[f32], truth: &Truth, threshold: f32) -> Measures {
    let alerts: Vec<bool> = scores.iter().map(|score| *score > threshold).collect();
    measure_alerts(scores, &alerts, truth, threshold)
}

/// As [`measure`], where the threshold moved: `alerts` are what it gave, and `threshold` is the one to tell.
#[must_use]
pub fn measure_alerts(scores: &[f32], alerts: &[bool], truth: &Truth, threshold: f32) -> Measures {
    assert!(scores.len() == truth.attack.len() && scores.len() == truth.class.len(), "one truth a score");
    assert_eq!(scores.len(), alerts.len(), "one verdict a score");
    let curve = curve(scores, &truth.attack);
    let end = curve.last().copied().unwrap_or_default();
    let found = |point: Point| point.attacks as f64 / end.attacks as f64;
    let at = |limit: f64| {
        let under = curve.iter().take_while(|point| point.benign as f64 <= limit * end.benign as f64);
        under.last().map_or(0, |point| point.attacks)
    };
    let (roc_auc, roc_interval) = area(scores, &truth.attack);
    let pr_auc = precision_area(&curve);
    let recall_by_class = recall_by_class(alerts, truth);
    let alerts = counted(alerts, &truth.attack);
    let right = alerts.attacks + end.benign - alerts.benign;
    let rows = scores.len() as u64;
    Measures {
        roc_auc,
        pr_auc,
        tpr_at_fpr: RATES.iter().map(|(name, limit)| (*name, at(*limit) as f64 / end.attacks as f64)).collect(),
        deployed: Deployed {
            threshold: f64::from(threshold),
            accuracy: right as f64 / rows as f64,
            tpr: found(alerts),
            fpr: alerts.benign as f64 / end.benign as f64,
        },
        recall_by_class,
        alerts_per_million: (alerts.attacks + alerts.benign) as f64 / rows as f64 * 1e6,
        interval95: Intervals {
            roc_auc: roc_interval,
            pr_auc: logit_interval(pr_auc, end.attacks),
            tpr_at_fpr: RATES.iter().map(|(name, limit)| (*name, wilson(at(*limit), end.attacks))).collect(),
            accuracy: wilson(right, rows),
            tpr: wilson(alerts.attacks, end.attacks),
            fpr: wilson(alerts.benign, end.benign),
        },
    }
}

/// The share of attacks found at a threshold that at most the share `limit` of the benign rows reach.
#[must_use]
pub fn found_at(scores: &[f32], attack: &[bool], limit: f64) -> f64 {
    let curve = curve(scores, attack);
    let end = curve.last().copied().unwrap_or_default();
    let under = curve.iter().take_while(|point| point.benign as f64 <= limit * end.benign as f64);
    under.last().map_or(0, |point| point.attacks) as f64 / end.attacks.max(1) as f64
}

/// Counts at every threshold that differs, from the highest down.
fn curve(scores: &[f32], attack: &[bool]) -> Vec<Point> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut points = vec![Point::default()];
    let mut so_far = Point::default();
    for (place, row) in order.iter().enumerate() {
        if attack[*row] {
            so_far.attacks += 1
        } else {
            so_far.benign += 1
        }
        let last_of_ties = order.get(place + 1).is_none_or(|next| scores[*next] < scores[*row]);
        if last_of_ties {
            points.push(so_far);
        }
    }
    points
}

fn counted(alerts: &[bool], attack: &[bool]) -> Point {
    let mut point = Point::default();
    for (alert, attack) in alerts.iter().zip(attack) {
        if *alert {
            if *attack { point.attacks += 1 } else { point.benign += 1 }
        }
    }
    point
}

fn recall_by_class(alerts: &[bool], truth: &Truth) -> BTreeMap<String, f64> {
    let mut counts = vec![(0_u64, 0_u64); truth.classes.len()];
    for ((alert, class), attack) in alerts.iter().zip(&truth.class).zip(&truth.attack) {
        let (right, all) = &mut counts[*class as usize];
        *all += 1;
        *right += u64::from(alert == attack);
    }
    let seen = truth.classes.iter().zip(counts).filter(|(_, (_, all))| *all > 0);
    seen.map(|(class, (right, all))| (class.clone(), right as f64 / all as f64)).collect()
}

/// Average precision: the sum over thresholds of the recall gained times the precision there.
fn precision_area(curve: &[Point]) -> f64 {
    let attacks = curve.last().map_or(1, |end| end.attacks).max(1) as f64;
    let gained = |pair: &[Point]| {
        let alerts = (pair[1].attacks + pair[1].benign).max(1) as f64;
        (pair[1].attacks - pair[0].attacks) as f64 / attacks * (pair[1].attacks as f64 / alerts)
    };
    curve.windows(2).map(gained).sum()
}

/// The area under the ROC curve and its interval.
///
/// Source: `DeLong`, `DeLong`, Clarke-Pearson, Biometrics 44, 1988, by ranks as in Sun, Xu, IEEE Signal Processing Letters 21, 2014.
fn area(scores: &[f32], attack: &[bool]) -> (f64, [f64; 2]) {
    let side = |wanted: bool| -> Vec<f32> {
        let mut side: Vec<f32> = scores.iter().zip(attack).filter(|(_, a)| **a == wanted).map(|(s, _)| *s).collect();
        side.sort_unstable_by(f32::total_cmp);
        side
    };
    let (attacks, benign) = (side(true), side(false));
    // The share of the other side below a score, ties by half.
    let share = |other: &[f32], score: f32| {
        let (below, up_to) = (other.partition_point(|o| *o < score), other.partition_point(|o| *o <= score));
        (below + up_to) as f64 / 2.0 / other.len() as f64
    };
    let of_attacks: Vec<f64> = attacks.iter().map(|score| share(&benign, *score)).collect();
    let of_benign: Vec<f64> = benign.iter().map(|score| 1.0 - share(&attacks, *score)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let area = mean(&of_attacks);
    let variance = |values: &[f64]| {
        let centre = mean(values);
        let squares: f64 = values.iter().map(|v| (v - centre) * (v - centre)).sum();
        squares / (values.len() as f64 - 1.0).max(1.0) / values.len() as f64
    };
    let error = Z * libm::sqrt(variance(&of_attacks) + variance(&of_benign));
    (area, [(area - error).max(0.0), (area + error).min(1.0)])
}

/// Source: Wilson, Journal of the American Statistical Association 22, 1927.
#[must_use]
pub fn wilson(hits: u64, of: u64) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * libm::sqrt(p * (1.0 - p) / n + Z * Z / (4.0 * n * n));
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Source: Boyd, Eng, Page, "Area under the Precision-Recall Curve: Point Estimates and Confidence Intervals", ECML 2013. Near the ends
/// that interval is all of 0 to 1; there the area is taken as a share of the attacks.
fn logit_interval(area: f64, attacks: u64) -> [f64; 2] {
    if attacks as f64 * area * (1.0 - area) < EVENTS_FOR_LOGIT {
        let [low, high] = wilson(libm::round(area * attacks as f64) as u64, attacks);
        return [low.min(area), high.max(area)];
    }
    let (middle, error) = (libm::log(area / (1.0 - area)), 1.0 / libm::sqrt(attacks as f64 * area * (1.0 - area)));
    [middle - Z * error, middle + Z * error].map(|x| 1.0 / (1.0 + libm::exp(-x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(attack: &[u8]) -> Truth {
        let attack: Vec<bool> = attack.iter().map(|a| *a > 0).collect();
        Truth { class: attack.iter().map(|a| u32::from(*a)).collect(), attack, classes: vec!["normal".into(), "dos".into(), "none".into()] }
    }

    #[test]
    fn measures_are_those_of_scikit_learn() {
        // roc_auc_score, average_precision_score of scikit-learn; the variance of DeLong by an independent O(n^2) sum in numpy.
        let scores = [0.1, 0.4, 0.4, 0.8, 0.9, 0.4, 0.2, 0.7, 0.95, 0.3];
        let labels = [0, 0, 1, 1, 1, 0, 0, 0, 1, 1];
        let m = measure(&scores, &truth(&labels), 0.65);
        assert!((m.roc_auc - SKLEARN_AUC).abs() < 1e-9, "{}", m.roc_auc);
        assert!((m.pr_auc - SKLEARN_AP).abs() < 1e-9, "{}", m.pr_auc);
        assert!((m.interval95.roc_auc[0] - DELONG_LOW).abs() < 1e-6, "{:?}", m.interval95.roc_auc);
        assert!((m.deployed.tpr - 0.6).abs() < 1e-9 && (m.deployed.fpr - 0.2).abs() < 1e-9 && (m.deployed.accuracy - 0.7).abs() < 1e-9);
        assert!((m.tpr_at_fpr["0.05"] - 0.6).abs() < 1e-9, "three attacks above every benign row");
        assert!((m.alerts_per_million - 400_000.0).abs() < 1e-6);
        assert!((m.recall_by_class["dos"] - 0.6).abs() < 1e-9 && (m.recall_by_class["normal"] - 0.8).abs() < 1e-9);
        assert!(!m.recall_by_class.contains_key("none"), "a class without rows has no recall");
    }
    const SKLEARN_AUC: f64 = 0.8;
    const SKLEARN_AP: f64 = 0.839_285_714_285_714_3;
    const DELONG_LOW: f64 = 0.502_756_7;

    #[test]
    fn ties_are_neither_won_nor_lost_and_no_threshold_is_made_up() {
        let labels: Vec<u8> = (0..200).map(|i| u8::from(i % 2 == 0)).collect();
        let m = measure(&[0.5; 200], &truth(&labels), 0.5);
        assert!((m.roc_auc - 0.5).abs() < 1e-12 && (m.pr_auc - 0.5).abs() < 1e-12);
        assert!(m.tpr_at_fpr.values().all(|tpr| tpr.abs() < 1e-12) && m.deployed.tpr.abs() < 1e-12);
        // One benign row of 100 ties with the best attacks: TPR at 0.8 % is 0, at 1 % all of them.
        let scores: Vec<f32> = (0..200).map(|i| if i % 2 == 0 || i == 1 { 1.0 } else { 0.0 }).collect();
        let m = measure(&scores, &truth(&labels), 0.5);
        assert!(m.tpr_at_fpr["0.008"].abs() < 1e-12 && (m.tpr_at_fpr["0.01"] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn an_area_near_one_has_an_interval_near_one() {
        let [low, high] = logit_interval(1.0 - 1e-15, 500);
        assert!(low > 0.99 && high >= 1.0 - 1e-15, "{low} {high}");
        let [low, high] = logit_interval(0.9, 500);
        assert!((low - 0.871).abs() < 1e-3 && (high - 0.923).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn wilson_is_that_of_statsmodels() {
        for (hits, of, low, high) in [(5, 10, 0.236_593_1, 0.763_406_9), (0, 50, 0.0, 0.071_347_6), (998, 1_000, 0.992_737_2, 0.999_451_4)]
        {
            let [l, h] = wilson(hits, of);
            assert!((l - low).abs() < 1e-6 && (h - high).abs() < 1e-6, "{hits}/{of}: {l} {h}");
        }
    }
}
