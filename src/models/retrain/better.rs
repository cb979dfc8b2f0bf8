//! Whether a candidate is better than the champion on the same held-out rows, and why. A candidate is not believed to be.
//!
//! Its benign surprises must mean what they say, or no less than the champion's, in any case. With enough labels it must find more
//! attacks at a false-positive rate of 0.8 %, the 95 % interval of the difference above 0; or find no less there, and more at the
//! pipeline's own thresholds without more false threats, or where the champion's surprises have lost their meaning. Without labels its
//! surprises must mean at least as much as the champion's do, and both must agree on what is odd.

use std::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

use super::figures::{Difference, Scored, Truths, agreement, difference, difference_of_threats, found_at, share_of_threats};
use crate::error::{Error, Result};

/// The false-positive rate at which models are compared.
const RATE: f64 = 0.008;
/// Fewer labelled rows of a kind, or attacks of fewer entities and hours, say nothing.
const BENIGN_MIN: usize = 500;
const ATTACKS_MIN: usize = 20;
const ATTACK_CLUSTERS_MIN: usize = 5;
/// Fewer held-out rows calibrate nothing.
const ROWS_MIN: usize = 1_000;
/// The share of benign rows with p <= 1 % is at most this; with p <= 0.1 % at most that, where there are rows enough to tell. Less is
/// allowed: entities that are known by then are less odd than those that training met first.
const SHARE_AT_1_PERCENT_MAX: f64 = 0.02;
const SHARE_AT_01_PERCENT_MAX: f64 = 0.004;
const ROWS_FOR_01_PERCENT: usize = 5_000;
/// A candidate that finds so much less at most finds no less.
const LOSS_MAX: f64 = 0.01;
/// Of the champion's threats, and of its most surprising rows, the candidate shares at least this part.
const THREATS_SHARED_MIN: f64 = 0.8;
const THREATS_MIN: usize = 20;
const AGREEMENT_MIN: f64 = 0.5;

/// By what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The true-positive rate at a false-positive rate of 0.8 %, on labelled rows.
    TprAtFpr008,
    /// What surprises of unlabelled rows mean, and agreement.
    Calibration,
    /// There is no champion to be better than.
    NoChampion,
}

/// One model on the held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Figures {
    pub version: String,
    /// Of labelled rows: rightly judged at the pipeline's thresholds.
    pub accuracy: Option<f64>,
    pub tpr_at_fpr008: Option<f64>,
    /// Shares of the attacks and of the benign rows that are threats by those thresholds.
    pub recall: Option<f64>,
    pub false_positive_rate: Option<f64>,
    /// Shares of rows not known to be attacks with a p-value of at most 1 % and 0.1 %.
    pub share_at_1_percent: f64,
    pub share_at_01_percent: f64,
    pub threats: u64,
}

/// What came of a job, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// The candidate's.
    pub version: String,
    pub better: bool,
    pub promoted: bool,
    pub criterion: Criterion,
    pub reason: String,
    /// The candidate's accuracy, and how far it is above the champion's in percent of that; none without labels.
    pub new_accuracy: Option<f64>,
    pub improvement_percentage: Option<f64>,
    /// What was held out, for people.
    pub held_out: String,
    pub rows: u64,
    pub attacks: u64,
    pub benign: u64,
    pub champion: Option<Figures>,
    pub candidate: Figures,
    /// Of the true-positive rate at a false-positive rate of 0.8 %, candidate less champion.
    pub gain: Option<f64>,
    pub gain_interval95: Option<[f64; 2]>,
    /// Of the champion's most surprising 0.8 % of rows, the part that is among the candidate's.
    pub agreement: Option<f64>,
}

/// A model and its scores.
#[derive(Clone, Copy, Debug)]
pub struct Side<'s> {
    pub version: &'s str,
    pub scored: &'s Scored,
}

/// The share that may be held out.
pub const SPLIT: std::ops::RangeInclusive<f64> = 0.05..=0.9;

/// # Errors
/// `Config`: no share that can be held out.
pub fn check_split(share: f64) -> Result<()> {
    if SPLIT.contains(&share) {
        return Ok(());
    }
    Err(Error::config(format!("a validation split lies between {} and {}, such as 0.25", SPLIT.start(), SPLIT.end())))
}

/// Decides. `held_out` says in words which rows these are.
#[must_use]
pub fn decide(truths: &Truths, champion: Option<Side<'_>>, candidate: Side<'_>, held_out: String, seed: u64) -> Outcome {
    let [attacks, benign] = truths.counts();
    let has_labels = attacks >= ATTACKS_MIN && benign >= BENIGN_MIN && truths.attack_clusters() >= ATTACK_CLUSTERS_MIN;
    let new = figures(truths, candidate, has_labels);
    let old = champion.map(|champion| figures(truths, champion, has_labels));
    let gain = champion.filter(|_| has_labels).map(|old| difference(truths, [old.scored, candidate.scored], RATE, seed));
    let shared = champion.map(|old| agreement(old.scored, candidate.scored, RATE));
    let (criterion, said) = match (&old, champion) {
        (Some(old), Some(side)) => match gain {
            Some(gain) => {
                let threats = difference_of_threats(truths, [side.scored, candidate.scored], seed);
                (Criterion::TprAtFpr008, by_labels([&new, old], gain, threats, rows_of(truths)))
            }
            None => (Criterion::Calibration, without_labels(&new, old, [side.scored, candidate.scored], shared, rows_of(truths))),
        },
        _ => (
            Criterion::NoChampion,
            sound(&new, rows_of(truths)).map(|()| "there is no champion, and its surprises mean what they say".to_owned()),
        ),
    };
    let better = said.is_ok();
    let accuracies = new.accuracy.zip(old.as_ref().and_then(|old| old.accuracy));
    Outcome {
        version: new.version.clone(),
        better,
        promoted: false,
        criterion,
        reason: said.unwrap_or_else(|why| why),
        new_accuracy: new.accuracy,
        improvement_percentage: accuracies.filter(|(_, old)| *old > 0.0).map(|(new, old)| 100.0 * (new - old) / old),
        held_out,
        rows: truths.attack.len() as u64,
        attacks: attacks as u64,
        benign: benign as u64,
        champion: old,
        candidate: new,
        gain: gain.map(|gain| gain.value),
        gain_interval95: gain.map(|gain| gain.interval95),
        agreement: shared,
    }
}

/// Rows not known to be attacks.
fn rows_of(truths: &Truths) -> usize {
    truths.attack.iter().filter(|attack| **attack != Some(true)).count()
}

fn figures(truths: &Truths, Side { version, scored }: Side<'_>, has_labels: bool) -> Figures {
    let ordinary =
        || truths.attack.iter().zip(&scored.surprise).filter(|(attack, _)| **attack != Some(true)).map(|(_, nats)| f64::from(*nats));
    let share = |decades: f64| ordinary().filter(|nats| *nats >= decades * LN_10).count() as f64 / rows_of(truths).max(1) as f64;
    let labelled = || truths.attack.iter().zip(&scored.threat).filter_map(|(attack, threat)| Some((*attack)? == *threat));
    let right = labelled().filter(|right| *right).count() as f64;
    Figures {
        version: version.to_owned(),
        accuracy: has_labels.then(|| right / labelled().count().max(1) as f64),
        tpr_at_fpr008: has_labels.then(|| found_at(truths, scored, RATE)),
        recall: has_labels.then(|| share_of_threats(truths, scored, true)),
        false_positive_rate: has_labels.then(|| share_of_threats(truths, scored, false)),
        share_at_1_percent: share(2.0),
        share_at_01_percent: share(3.0),
        threats: scored.threat.iter().filter(|threat| **threat).count() as u64,
    }
}

/// Whether surprises mean what they say: benign rows are not odd more often.
fn sound(figures: &Figures, rows: usize) -> Result<(), String> {
    let Figures { share_at_1_percent: one, share_at_01_percent: tenth, .. } = figures;
    if rows < ROWS_MIN {
        return Err(format!(
            "only {rows} held-out rows are not attacks, at least {ROWS_MIN} are needed: give a longer input, or hold out more"
        ));
    }
    if *one > SHARE_AT_1_PERCENT_MAX {
        return Err(format!(
            "{:.2} % of the held-out rows have p <= 1 %; at most {:.0} % is allowed: is the input ordinary traffic?",
            100.0 * one,
            100.0 * SHARE_AT_1_PERCENT_MAX
        ));
    }
    if rows >= ROWS_FOR_01_PERCENT && *tenth > SHARE_AT_01_PERCENT_MAX {
        return Err(format!(
            "{:.2} % of the held-out rows have p <= 0.1 %; at most {:.1} % is allowed: is the input ordinary traffic?",
            100.0 * tenth,
            100.0 * SHARE_AT_01_PERCENT_MAX
        ));
    }
    Ok(())
}

/// Whether surprises mean what they say, or at least as much as the champion's: what is odd about an input is odd to both.
fn as_sound(new: &Figures, old: &Figures, rows: usize) -> Result<(), String> {
    let is_no_worse = new.share_at_1_percent <= old.share_at_1_percent && new.share_at_01_percent <= old.share_at_01_percent;
    if rows >= ROWS_MIN && is_no_worse { Ok(()) } else { sound(new, rows) }
}

fn by_labels([new, old]: [&Figures; 2], gain: Difference, threats: Difference, rows: usize) -> Result<String, String> {
    as_sound(new, old, rows)?;
    let Difference { value, interval95: [low, high] } = gain;
    let percent = |share: Option<f64>| 100.0 * share.unwrap_or_default();
    let rates = format!(
        "{:.1} % of the attacks at 0.8 % false positives, the champion {:.1} % (difference {:+.1}, 95 % within {:+.1} and {:+.1})",
        percent(new.tpr_at_fpr008),
        percent(old.tpr_at_fpr008),
        100.0 * value,
        100.0 * low,
        100.0 * high
    );
    if low > 0.0 {
        return Ok(format!("it finds {rates}"));
    }
    let no_less = low >= -LOSS_MAX;
    let false_threats = new.false_positive_rate.unwrap_or_default() <= old.false_positive_rate.unwrap_or_default().max(RATE);
    if no_less && threats.interval95[0] > 0.0 && false_threats {
        return Ok(format!(
            "it finds {rates}, and {:.1} % instead of {:.1} % at the pipeline's thresholds, with {:.2} % false threats",
            percent(new.recall),
            percent(old.recall),
            percent(new.false_positive_rate)
        ));
    }
    if no_less && sound(old, rows).is_err() && sound(new, rows).is_ok() {
        return Ok(format!("it finds {rates}, and its surprises mean what they say while the champion's do not any more"));
    }
    Err(format!("it does not surely find more: {rates}"))
}

/// How far the share at 1 % is from 1 %, as a factor's logarithm.
fn error(figures: &Figures) -> f64 {
    libm::log(figures.share_at_1_percent.max(1e-6) / 0.01).abs()
}

fn without_labels(new: &Figures, old: &Figures, [was, is]: [&Scored; 2], shared: Option<f64>, rows: usize) -> Result<String, String> {
    as_sound(new, old, rows)?;
    let shares = format!(
        "{:.2} % of the held-out rows have p <= 1 %, by the champion {:.2} %",
        100.0 * new.share_at_1_percent,
        100.0 * old.share_at_1_percent
    );
    if error(new) > error(old) {
        return Err(format!("its surprises mean less than the champion's: {shares}"));
    }
    let threats = was.threat.iter().filter(|threat| **threat).count();
    let both = was.threat.iter().zip(&is.threat).filter(|(was, is)| **was && **is).count();
    if threats >= THREATS_MIN && (both as f64) < THREATS_SHARED_MIN * threats as f64 {
        return Err(format!(
            "it finds only {both} of the champion's {threats} threats among the held-out rows; label them, or judge them by 'threatguard verdict'"
        ));
    }
    let shared = shared.unwrap_or_default();
    if shared < AGREEMENT_MIN {
        return Err(format!(
            "only {:.0} % of the champion's oddest rows are among its oddest: without labels nobody knows which of them is right",
            100.0 * shared
        ));
    }
    Ok(format!("{shares}; {:.0} % of the champion's oddest rows are among its oddest", 100.0 * shared))
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{scored, truths};
    use super::*;

    fn judged(truths: &Truths, old: Option<&Scored>, new: &Scored) -> Outcome {
        let side = |version, scored| Side { version, scored };
        decide(truths, old.map(|old| side("old", old)), side("new", new), "the last quarter".to_owned(), 1)
    }

    fn unlabelled(rows: usize) -> Truths {
        Truths { attack: vec![None; rows], ..truths(rows) }
    }

    /// Its surprises are `times` as large.
    fn swollen(scored: &Scored, times: f32) -> Scored {
        let surprise: Vec<f32> = scored.surprise.iter().map(|nats| nats * times).collect();
        let threat = surprise.iter().map(|nats| *nats >= 6.9).collect();
        Scored { surprise, threat }
    }

    #[test]
    fn with_labels_only_who_surely_finds_more_is_better() {
        let truths = truths(6_000);
        let (weak, strong) = (scored(6_000, 3.0, 1), scored(6_000, 5.0, 2));
        let up = judged(&truths, Some(&weak), &strong);
        assert!(up.better && up.criterion == Criterion::TprAtFpr008 && up.reason.contains("it finds"), "{up:?}");
        assert!(up.improvement_percentage.unwrap() > 0.0 && up.new_accuracy > up.champion.unwrap().accuracy);
        assert!(up.gain.unwrap() > up.gain_interval95.unwrap()[0]);
        let down = judged(&truths, Some(&strong), &weak);
        assert!(!down.better && down.reason.contains("not surely") && down.improvement_percentage.unwrap() < 0.0, "{down:?}");
        let alike = judged(&truths, Some(&weak), &scored(6_000, 3.0, 7));
        assert!(!alike.better && alike.reason.contains("not surely"), "{alike:?}");
        let loud = judged(&truths, Some(&weak), &swollen(&strong, 3.0));
        assert!(!loud.better && loud.reason.contains("have p <= 1 %"), "a ranking alone is not enough: {loud:?}");
        let silent = Scored { threat: vec![false; 6_000], ..strong.clone() };
        let louder = judged(&truths, Some(&silent), &strong);
        assert!(louder.better && louder.reason.contains("at the pipeline's thresholds"), "{louder:?}");
        let everywhere = Scored { threat: vec![true; 6_000], ..strong.clone() };
        assert!(!judged(&truths, Some(&silent), &everywhere).better, "false threats are no gain");
        let mended = judged(&truths, Some(&swollen(&strong, 3.0)), &strong);
        assert!(mended.better && mended.reason.contains("do not any more"), "{mended:?}");
    }

    #[test]
    fn without_labels_surprises_must_mean_something_and_both_must_agree() {
        let truths = unlabelled(6_000);
        let ordinary = scored(6_000, 0.0, 1);
        let (quiet, loud) = (swollen(&ordinary, 0.8), swollen(&ordinary, 1.1));
        let up = judged(&truths, Some(&quiet), &ordinary);
        assert!(up.better && up.criterion == Criterion::Calibration && up.new_accuracy.is_none(), "{up:?}");
        let down = judged(&truths, Some(&ordinary), &loud);
        assert!(!down.better && down.reason.contains("mean less"), "{down:?}");
        let other = judged(&truths, Some(&swollen(&scored(6_000, 0.0, 9), 0.7)), &ordinary);
        assert!(!other.better && other.reason.contains("nobody knows"), "{other:?}");
        let blind = Scored { threat: vec![false; 6_000], ..ordinary.clone() };
        let seeing = Scored { threat: (0..6_000).map(|row| row % 100 == 0).collect(), ..quiet };
        let missed = judged(&truths, Some(&seeing), &blind);
        assert!(!missed.better && missed.reason.contains("0 of the champion's 60 threats"), "{missed:?}");
    }

    #[test]
    fn the_first_one_needs_no_champion_but_rows_that_are_ordinary() {
        let truths = unlabelled(6_000);
        let ordinary = scored(6_000, 0.0, 1);
        let first = judged(&truths, None, &ordinary);
        assert!(first.better && first.criterion == Criterion::NoChampion && first.champion.is_none(), "{first:?}");
        assert!(!judged(&truths, None, &swollen(&ordinary, 2.0)).better);
        let few = judged(&unlabelled(900), None, &scored(900, 0.0, 1));
        assert!(!few.better && few.reason.contains("at least 1000"), "{few:?}");
        let text = serde_json::to_string(&few).unwrap();
        assert!(text.contains("\"newAccuracy\":null") && text.contains("\"improvementPercentage\":null"), "{text}");
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), few);
    }
}
