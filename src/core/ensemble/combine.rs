//! From the detectors' scores of an event to one surprise, with every part visible.
//!
//! Fisher's method: the surprises `-ln p` add up, those of ordinary events only in part (a truncated product, Zaykin et al. 2002), so
//! that five detectors which see nothing do not drown the one that does. Detectors depend on each other, so the sum is calibrated again against the sums
//! of benign events. Sums are taken in declared order, so that the same event has the same bits everywhere. Must never drop a
//! part, and never let a detector that was not calibrated count for more than its raw nats.

use std::collections::BTreeMap;

use super::calibrate::{Calibration, SURPRISE_NATS_MAX};
pub use crate::core::output::Severity;
use crate::core::settings::ThresholdSettings;

/// Before anything was learned a detector's own nats are believed by half: what is ordinary here is not known yet, and steady
/// keep-alives, for one, look like beacons.
const UNCALIBRATED_TRUST: f32 = 0.5;
/// A p-value of 1e-12 is a threat score of 100.
const THREAT_SCORE_FULL_DECADES: f32 = 12.0;
/// One event in twenty is this surprising to a detector; up to here its surprise counts this share.
const ORDINARY_NATS: f32 = 3.0;
const ORDINARY_SHARE: f32 = 0.1;

/// How a detector's raw score becomes surprise.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Calibrated against benign scores, once there are any; until then the raw score counts as nats. A weight of 0 shows the
    /// part without letting it count.
    Learned { calibration: Option<Calibration>, weight: f32 },
    /// The raw score is evidence in nats as it stands, such as a threat-intelligence hit. It adds to the calibrated sum.
    Evidence,
}

/// A detector's place in the ensemble.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub name: String,
    pub source: Source,
}

/// What an ensemble is declared from: a detector's name and how it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub weight: f32,
    /// Fixed evidence in nats: never calibrated, not weighted.
    pub evidence: bool,
}

/// The detectors in declared order and the calibration of their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    members: Vec<Member>,
    combined: Option<Calibration>,
    /// How far the detectors' own nats are believed while nothing is calibrated.
    trust: f32,
}

impl Ensemble {
    #[must_use]
    pub fn new(members: Vec<Member>, combined: Option<Calibration>) -> Self {
        Self { members, combined, trust: UNCALIBRATED_TRUST }
    }

    /// The declared detectors with the calibrations there are. The calibration of the sum only holds for the detectors it was
    /// learned with, so the caller passes `None` where those are others.
    #[must_use]
    pub fn declared(columns: &[Column], calibrations: &BTreeMap<String, Calibration>, combined: Option<Calibration>) -> Self {
        let member = |column: &Column| {
            let calibration = calibrations.get(&column.name).cloned();
            if column.evidence { Member::evidence(&column.name) } else { Member::learned(&column.name, calibration, column.weight) }
        };
        Self::new(columns.iter().map(member).collect(), combined)
    }

    /// Believes the detectors' own nats in full: for the tests inside pipeline files, which ask what the detectors see.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        self.trust = 1.0;
        self
    }

    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }
    /// Whether the sum is calibrated. Without it the combination assumes independent detectors.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.combined.is_some()
    }

    /// Combines a batch. Columns lie one behind the other in declared order: the raw score of member `m` for row `r` is
    /// `raw[m * rows + r]`, its surprise in nats goes to the same place of `parts`, and the combined surprise of the row, nats
    /// `0..=60`, to `combined[r]`, whose length is the number of rows.
    ///
    /// `exempt[r]` is a bit set of members that do not count for the row, whose part is 0; empty where there are none.
    pub fn combine(&self, raw: &[f32], exempt: &[u32], parts: &mut [f32], combined: &mut [f32]) {
        let rows = combined.len();
        assert_eq!(raw.len(), rows * self.members.len(), "one raw score a member and row");
        assert_eq!(parts.len(), raw.len(), "one part a raw score");
        if rows == 0 {
            return;
        }
        for (index, ((member, raw), parts)) in self.members.iter().zip(raw.chunks_exact(rows)).zip(parts.chunks_exact_mut(rows)).enumerate()
        {
            member.surprises(raw, parts);
            for (part, exempt) in parts.iter_mut().zip(exempt) {
                if exempt >> index & 1 == 1 {
                    *part = 0.0;
                }
            }
        }
        if self.combined.is_some() {
            self.sums(parts, combined);
        } else {
            combined.fill(0.0);
            for (weight, parts) in self.weighted(parts, rows) {
                for (sum, part) in combined.iter_mut().zip(parts) {
                    *sum += weight * part;
                }
            }
        }
        match &self.combined {
            Some(calibration) => combined.iter_mut().for_each(|sum| *sum = calibration.surprise(*sum)),
            None => self.uncalibrated(parts, combined),
        }
        for (member, parts) in self.members.iter().zip(parts.chunks_exact(rows)) {
            if member.source == Source::Evidence {
                for (surprise, part) in combined.iter_mut().zip(parts) {
                    *surprise = (*surprise + part).min(SURPRISE_NATS_MAX);
                }
            }
        }
    }

    /// The weighted sum of what the surprises of learned members count for each row: what `combined` is calibrated on. `parts` as in
    /// [`Self::combine`].
    pub fn sums(&self, parts: &[f32], sums: &mut [f32]) {
        sums.fill(0.0);
        for (weight, parts) in self.weighted(parts, sums.len()) {
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += weight * counted(*part);
            }
        }
    }

    fn weighted<'a>(&'a self, parts: &'a [f32], rows: usize) -> impl Iterator<Item = (f32, &'a [f32])> {
        self.members.iter().zip(parts.chunks_exact(rows.max(1))).filter_map(|(member, parts)| match member.source {
            Source::Learned { weight, .. } => Some((weight, parts)),
            Source::Evidence => None,
        })
    }

    /// Without a calibration of the sum: the better of two tests, Fisher's sum (many moderate parts) and the smallest p-value by
    /// Bonferroni (one strong part), which together cost a factor of two.
    fn uncalibrated(&self, parts: &[f32], combined: &mut [f32]) {
        let rows = combined.len();
        let (total, count) = self
            .weighted(parts, rows)
            .filter(|(weight, _)| *weight > 0.0)
            .fold((0.0, 0), |(total, count), (weight, _)| (total + weight, count + 1));
        if count == 0 {
            combined.fill(0.0);
            return;
        }
        let alternatives = libm::logf(count as f32);
        for (row, sum) in combined.iter_mut().enumerate() {
            if *sum <= 0.0 {
                continue;
            }
            let strongest = self.weighted(parts, rows).filter(|(weight, _)| *weight > 0.0).map(|(_, parts)| parts[row]).fold(0.0, f32::max);
            let best = fisher(*sum / (total / count as f32), count).max(strongest - alternatives);
            *sum = (self.trust * (best - std::f32::consts::LN_2)).clamp(0.0, SURPRISE_NATS_MAX);
        }
    }
}

impl Member {
    #[must_use]
    pub fn learned(name: impl Into<String>, calibration: Option<Calibration>, weight: f32) -> Self {
        Self { name: name.into(), source: Source::Learned { calibration, weight } }
    }
    #[must_use]
    pub fn evidence(name: impl Into<String>) -> Self {
        Self { name: name.into(), source: Source::Evidence }
    }

    fn surprises(&self, raw: &[f32], out: &mut [f32]) {
        match &self.source {
            Source::Learned { calibration: Some(calibration), .. } => calibration.surprises(raw, out),
            Source::Learned { calibration: None, .. } | Source::Evidence => {
                for (out, raw) in out.iter_mut().zip(raw) {
                    *out = if *raw > 0.0 { raw.min(SURPRISE_NATS_MAX) } else { 0.0 };
                }
            }
        }
    }
}

/// What a detector's surprise counts in a sum that is calibrated: a tenth up to the knee, all of it beyond.
#[inline]
fn counted(part: f32) -> f32 {
    (ORDINARY_SHARE * part).max(part - (1.0 - ORDINARY_SHARE) * ORDINARY_NATS)
}

/// Surprise of a sum of `count` independent surprises: `-ln` of the chi-square survival of `2 * sum` with `2 * count` degrees of
/// freedom, which for even degrees is `exp(-sum) * (1 + sum + sum^2 / 2! + ...)` with `count` terms.
///
/// Source: Fisher, "Statistical Methods for Research Workers", 1932.
#[must_use]
pub fn fisher(sum: f32, count: usize) -> f32 {
    let x = f64::from(sum.max(0.0));
    let series = (1..count).rev().fold(1.0, |inner, i| 1.0 + inner * x / i as f64);
    ((x - libm::log(series)).max(0.0) as f32).min(SURPRISE_NATS_MAX)
}

/// 0..100, linear in the decades of the p-value: 1e-6 is 50, 1e-12 and below 100.
#[must_use]
pub fn threat_score(surprise: f32) -> f32 {
    (100.0 * surprise / (THREAT_SCORE_FULL_DECADES * std::f32::consts::LN_10)).clamp(0.0, 100.0)
}

/// 0..10: a tenth of the threat score.
#[must_use]
pub fn risk_score(surprise: f32) -> f32 {
    threat_score(surprise) / 10.0
}

/// The p-value of a surprise.
#[must_use]
pub fn p_value(surprise: f32) -> f64 {
    libm::exp(-f64::from(surprise))
}

/// The surprises from which each severity starts, compiled from p-values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeverityThresholds([(f32, Severity); 4]);

impl SeverityThresholds {
    /// P-values above 1 or not above 0 never lower the bound of a severity below 0 or make it unreachable: they are taken as 1
    /// and as the smallest p-value there is.
    #[must_use]
    pub fn new(p: &ThresholdSettings) -> Self {
        let nats = |p: f64| if p > 0.0 { (-libm::log(p) as f32).clamp(0.0, SURPRISE_NATS_MAX) } else { SURPRISE_NATS_MAX };
        Self([
            (nats(p.critical), Severity::Critical),
            (nats(p.high), Severity::High),
            (nats(p.medium), Severity::Medium),
            (nats(p.low), Severity::Low),
        ])
    }

    /// Surprise from which an event is a threat.
    #[must_use]
    pub fn lowest(&self) -> f32 {
        self.0.iter().map(|(bound, _)| *bound).fold(f32::INFINITY, f32::min)
    }

    /// `None` below every threshold: not a threat.
    #[inline]
    #[must_use]
    pub fn severity(&self, surprise: f32) -> Option<Severity> {
        self.0.iter().find(|(bound, _)| surprise >= *bound).map(|(_, severity)| *severity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ensemble::calibrate::Unit;

    fn calibration(scores: &[f32]) -> Calibration {
        Calibration::fit(&mut scores.to_vec(), Unit::Nats)
    }

    fn combined(ensemble: &Ensemble, raw: &[f32]) -> (Vec<f32>, f32) {
        let (mut parts, mut out) = (vec![0.0; raw.len()], [0.0]);
        ensemble.combine(raw, &[], &mut parts, &mut out);
        (parts, out[0])
    }

    #[test]
    fn fisher_is_the_chi_square_survival() {
        // -ln of scipy.stats.chi2.sf(2 * sum, 2 * count).
        for (sum, count, expected) in
            [(3.0, 1, 3.0), (5.0, 2, 3.208_240_5), (20.0, 4, 12.651_198), (40.0, 6, 26.213_396), (0.0, 3, 0.0), (200.0, 3, 60.0)]
        {
            assert!((fisher(sum, count) - expected).abs() < 1e-3, "{sum} {count}: {}", fisher(sum, count));
        }
    }

    #[test]
    fn before_anything_is_learned_raw_nats_count_and_nan_does_not() {
        let ensemble = Ensemble::new(vec![Member::learned("a", None, 1.0), Member::learned("b", None, 1.0)], None);
        assert_eq!(combined(&ensemble, &[5.0, f32::NAN]).0, [5.0, 0.0]);
        assert!(
            (combined(&ensemble, &[5.0, 0.0]).1 - UNCALIBRATED_TRUST * (5.0 - 2.0 * std::f32::consts::LN_2)).abs() < 1e-3,
            "one strong part"
        );
        assert!(
            (combined(&ensemble, &[5.0, 5.0]).1 - UNCALIBRATED_TRUST * (fisher(10.0, 2) - std::f32::consts::LN_2)).abs() < 1e-3,
            "two parts that agree"
        );
        assert!((combined(&ensemble, &[-7.0, -1.0]).1).abs() < 1e-6);
        assert!(!ensemble.is_calibrated());
    }

    #[test]
    fn evidence_adds_to_what_was_learned() {
        let benign: Vec<f32> = (0..999).map(|i| -libm::logf((i as f32 + 0.5) / 999.0)).collect();
        let members = vec![Member::learned("a", Some(calibration(&benign)), 1.0), Member::evidence("intel")];
        let ensemble = Ensemble::new(members, Some(calibration(&benign)));
        let (_, without) = combined(&ensemble, &[3.0, 0.0]);
        let (parts, with) = combined(&ensemble, &[3.0, 14.0]);
        assert!((with - without - 14.0).abs() < 1e-5 && (parts[1] - 14.0).abs() < 1e-6);
        assert!((combined(&ensemble, &[1e9, 1e9]).1 - SURPRISE_NATS_MAX).abs() < 1e-6);
    }

    #[test]
    fn a_batch_is_its_rows_one_by_one_and_exempt_members_do_not_count() {
        let ensemble = Ensemble::new(vec![Member::learned("a", None, 2.0), Member::learned("b", None, 0.5), Member::evidence("c")], None);
        let rows = [[1.0, 4.0, 0.0], [9.0, 0.0, 5.0], [0.0, 30.0, 0.0]];
        let raw: Vec<f32> = (0..3).flat_map(|m| rows.map(|row| row[m])).collect();
        let (mut parts, mut out) = (vec![0.0; 9], [0.0; 3]);
        ensemble.combine(&raw, &[], &mut parts, &mut out);
        for (row, out) in rows.iter().zip(out) {
            assert_eq!(combined(&ensemble, row).1.to_bits(), out.to_bits());
        }
        ensemble.combine(&raw, &[0b001, 0b101, 0b010], &mut parts, &mut out);
        assert_eq!(parts, [0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(out[0] > 0.0 && out[1].abs() < 1e-9 && out[2].abs() < 1e-9);
        ensemble.combine(&[], &[], &mut [], &mut []);
    }

    #[test]
    fn scores_and_severities_follow_the_p_value() {
        let nats = |p: f64| -libm::log(p) as f32;
        for (p, threat) in [(1.0, 0.0), (1e-3, 25.0), (1e-6, 50.0), (1e-12, 100.0), (1e-20, 100.0)] {
            assert!((threat_score(nats(p)) - threat).abs() < 1e-3);
            assert!((risk_score(nats(p)) - threat / 10.0).abs() < 1e-4);
            assert!((p_value(nats(p)) / p - 1.0).abs() < 1e-5);
        }
        let thresholds = SeverityThresholds::new(&ThresholdSettings { low: 1e-4, medium: 1e-5, high: 1e-7, critical: 0.0 });
        for (p, severity) in [
            (1e-3, None),
            (0.99e-4, Some(Severity::Low)),
            (0.99e-5, Some(Severity::Medium)),
            (1e-8, Some(Severity::High)),
            (1e-27, Some(Severity::Critical)),
        ] {
            assert_eq!(thresholds.severity(nats(p).min(SURPRISE_NATS_MAX)), severity, "{p}");
        }
    }
}
