//! From the members' scores, row after row, to one score, to thresholds that move, and to alarms.
//!
//! The score is the trees' log-odds and a quarter of what the anomaly members say in nats, of each at most three: so much can turn
//! the scale where the trees are in doubt, and cannot where they are sure. Log-odds of fits that follow one another can be compared
//! as they are; what an anomaly member says is its rank among benign rows that were scored lately, each when it came. Thresholds come
//! from the same rows and the newest attacks. Must never use a row's label in its own stage or before it has come.

use std::ops::Range;

use super::Protocol;
use super::stages::{Stage, rehearsal};
use super::watch::{Alarm, Cause, Watch};
use crate::models::table::combine::{accurate_threshold, nominal_threshold};
use crate::models::table::members::{BOOSTED, DENSITY, FOREST, NAMES};

/// Scored rows of each kind, the newest ones, that thresholds and ranks come from, however long ago they came. Attacks are fewer, so
/// that one that lasts does not make false alarms look cheap.
const BENIGN_ROWS: usize = 2_000;
const ATTACK_ROWS: usize = 500;
/// Fewer attacks say nothing of where they lie.
const ATTACKS_MIN: usize = 8;
/// What an anomaly member adds to the log-odds for each nat, and the nats that count.
const ANOMALY_WEIGHT: f32 = 0.25;
const ANOMALY_NATS_MAX: f32 = 3.0;

/// The tested rows' scores by one scorer, and what was an alert when it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    pub scores: Vec<f32>,
    pub alerts: Vec<bool>,
    /// The threshold of each row.
    pub thresholds: Vec<f32>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    pub ensemble: Track,
    /// In the order of the members' names.
    pub members: Vec<Track>,
    pub alarms: Vec<Alarm>,
    /// Fits of the trees on tested rows.
    pub refits: usize,
}

/// Follows the rows through the stages. `raw` holds a score of every row by every member.
pub(super) fn follow(raw: [Vec<f32>; NAMES.len()], attack: &[bool], stages: &[Stage], protocol: &Protocol) -> Followed {
    let warm = protocol.warm_up_rows;
    let start = rehearsal(protocol);
    let mut scores = vec![0.0; attack.len()];
    let mut tracks = vec![Track::default(); NAMES.len() + 1];
    let mut watches = Watches::default();
    let tested: Vec<Stage> = stages.iter().copied().filter(|stage| stage.first >= warm).collect();
    // The rehearsal lies wholly before the test, so its rows may be compared with all of it.
    combine(&raw, &newest(attack, false, start..warm), start..warm, &mut scores);
    for stage in &tested {
        let (benign, attacks) = (newest(attack, false, start..stage.labelled), newest(attack, true, start..stage.labelled));
        combine(&raw, &benign, stage.first..stage.end, &mut scores);
        for (track, scores) in tracks.iter_mut().zip(raw.iter().chain([&scores])) {
            track.extend(&scores[stage.first..stage.end], threshold(scores, &benign, &attacks, protocol.nominal));
        }
        watches.look(*stage, &tracks[NAMES.len()].alerts, attack, warm);
    }
    let ensemble = tracks.pop().unwrap_or_default();
    Followed { ensemble, members: tracks, alarms: watches.alarms, refits: tested.len() }
}

/// The newest rows of one kind in a range whose labels have come.
fn newest(attack: &[bool], wanted: bool, rows: Range<usize>) -> Vec<usize> {
    rows.rev().filter(|row| attack[*row] == wanted).take(if wanted { ATTACK_ROWS } else { BENIGN_ROWS }).collect()
}

/// The nominal threshold, or a higher one that is more accurate.
fn threshold(scores: &[f32], benign: &[usize], attacks: &[usize], nominal: f64) -> f32 {
    let mut reference: Vec<f32> = benign.iter().map(|row| scores[*row]).collect();
    let threshold = nominal_threshold(&reference, nominal);
    if attacks.len() < ATTACKS_MIN {
        return threshold;
    }
    reference.extend(attacks.iter().map(|row| scores[*row]));
    let is_attack: Vec<bool> = (0..reference.len()).map(|place| place >= benign.len()).collect();
    threshold.max(accurate_threshold(&reference, &is_attack))
}

fn combine(raw: &[Vec<f32>], benign: &[usize], rows: Range<usize>, scores: &mut [f32]) {
    scores[rows.clone()].copy_from_slice(&raw[BOOSTED][rows.clone()]);
    for member in [FOREST, DENSITY] {
        let mut reference: Vec<f32> = benign.iter().map(|row| raw[member][*row]).collect();
        reference.sort_unstable_by(f32::total_cmp);
        for row in rows.clone() {
            scores[row] += ANOMALY_WEIGHT * surprise(&reference, raw[member][row]).min(ANOMALY_NATS_MAX);
        }
    }
}

/// Minus the logarithm of the share of benign rows that score as high, this one among them.
fn surprise(reference: &[f32], score: f32) -> f32 {
    let as_high = reference.len() - reference.partition_point(|other| *other < score);
    -libm::logf((as_high + 1) as f32 / (reference.len() + 1) as f32)
}

impl Track {
    fn extend(&mut self, scores: &[f32], threshold: f32) {
        self.scores.extend(scores);
        self.alerts.extend(scores.iter().map(|score| *score > threshold));
        self.thresholds.resize(self.scores.len(), threshold);
    }
}

#[derive(Debug, Default)]
struct Watches {
    alerts: Watch,
    mistakes: Watch,
    /// Tested rows whose label was looked at.
    labelled: usize,
    alarms: Vec<Alarm>,
}

impl Watches {
    /// Looks at labels that had come when a stage began, then at the alerts in it. `alerts` are those of tested rows.
    fn look(&mut self, stage: Stage, alerts: &[bool], attack: &[bool], warm: usize) {
        let known = stage.labelled.saturating_sub(warm);
        for row in self.labelled..known {
            self.mistakes.observe(alerts[row] != attack[warm + row]);
            if self.mistakes.has_risen() {
                self.alarms.push(Alarm { row: stage.first - warm + 1, cause: Cause::Mistakes });
            }
        }
        self.labelled = known.max(self.labelled);
        for (row, alert) in alerts.iter().enumerate().skip(stage.first - warm) {
            self.alerts.observe(*alert);
            if self.alerts.has_risen() {
                self.alarms.push(Alarm { row: row + 2, cause: Cause::Alerts });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_is_the_share_of_benign_rows_as_high() {
        let reference = [1.0, 2.0, 2.0, 3.0];
        assert!(surprise(&reference, 0.0).abs() < 1e-6 && surprise(&[], 5.0).abs() < 1e-6);
        assert!((surprise(&reference, 2.0) - libm::logf(5.0 / 4.0)).abs() < 1e-6, "ties are as high");
        assert!((surprise(&reference, 4.0) - libm::logf(5.0)).abs() < 1e-6);
    }

    #[test]
    fn alarms_come_with_the_alerts_and_with_the_labels() {
        let alerts: Vec<bool> = (0..3_000).map(|row| row >= 2_000 && row % 2 == 0).collect();
        let (mut watches, attack) = (Watches::default(), vec![false; 3_000]);
        for first in (0..3_000_usize).step_by(100) {
            let stage = Stage { first, end: first + 100, labelled: first.saturating_sub(299) };
            watches.look(stage, &alerts[..stage.end], &attack, 0);
        }
        let row = |cause| watches.alarms.iter().find(|alarm| alarm.cause == cause).map_or(0, |alarm| alarm.row);
        let (alerts, mistakes) = (row(Cause::Alerts), row(Cause::Mistakes));
        assert!((2_001..2_200).contains(&alerts) && (2_300..2_600).contains(&mistakes), "{:?}", watches.alarms);
        assert_eq!(watches.alarms.len(), 2, "each is told once");
    }
}
