//! Scenario: rows whose traffic drifts and whose attacks begin while nobody has named them, tested in their order.
//! Guarantees: nothing that was not known yet has any influence; the result is the same whatever the order of the jobs; what learns
//! finds what a model of the first rows cannot.

use super::*;
use crate::models::matrix::Matrix;
use crate::models::random::Random;
use crate::models::table::members::BOOSTED;
use crate::models::table::report::{Truth, measure_alerts};
use crate::models::trees_fit;

const WARM: usize = 400;
const DELAY: usize = 150;

fn protocol() -> Protocol {
    Protocol { warm_up_rows: WARM, label_delay: DELAY, refit_every: 40, nominal: 0.01, seed: 3 }
}

/// Benign rows whose level moves to where attacks were; every fifth row is an attack, of another kind from row 800 on.
fn rows(count: usize) -> (Matrix, Vec<bool>) {
    let mut random = Random::new(5);
    let (mut rows, mut attack) = (Matrix::new(4), Vec::new());
    for row in 0..count {
        let is_attack = row % 5 == 0;
        let drift = 3.0 * row as f64 / count as f64;
        let mut values = [0.0; 4].map(|level: f64| level + random.unit());
        values[0] += drift + if is_attack && row < 800 { 1.5 } else { 0.0 };
        values[1] += if is_attack && row >= 800 { 1.5 } else { 0.0 };
        rows.push(&values.map(|value| value as f32));
        attack.push(is_attack);
    }
    (rows, attack)
}

fn followed(rows: &Matrix, attack: &[bool], protocol: Protocol) -> Followed {
    let stream = Stream::new(rows, attack, protocol).unwrap();
    let done: Vec<Done> = (0..stream.jobs()).map(|job| stream.run(job).unwrap()).collect();
    stream.finish(&done).unwrap()
}

/// The bits of scores and thresholds and the alerts, scorer by scorer; alarms.
type Beginning = (Vec<(Vec<u32>, Vec<u32>, Vec<bool>)>, Vec<Alarm>);

/// All that is said of the first tested rows, and the alarms that were raised up to them.
fn beginning(followed: &Followed, rows: usize) -> Beginning {
    let bits = |values: &[f32]| -> Vec<u32> { values[..rows].iter().map(|value| value.to_bits()).collect() };
    let tracks = followed.members.iter().chain([&followed.ensemble]);
    let tracks: Vec<_> = tracks.map(|track| (bits(&track.scores), bits(&track.thresholds), track.alerts[..rows].to_vec())).collect();
    (tracks, followed.alarms.iter().filter(|alarm| alarm.row <= rows).copied().collect::<Vec<_>>())
}

#[test]
fn a_label_has_no_influence_before_it_has_come() {
    let (rows, attack) = rows(900);
    let before = followed(&rows, &attack, protocol());
    for changed in [WARM, 555, 700, 899] {
        let mut other = attack.clone();
        // A run of them, so that what comes of it later cannot be missed.
        other[changed..(changed + 40).min(900)].iter_mut().for_each(|attack| *attack = !*attack);
        let after = followed(&rows, &other, protocol());
        let same = (changed + DELAY - WARM).min(500);
        assert_eq!(beginning(&before, same), beginning(&after, same), "labels from row {changed}");
        if changed + DELAY + 100 < 900 {
            assert_ne!(beginning(&before, 500), beginning(&after, 500), "labels from row {changed} teach in the end");
        }
    }
}

#[test]
fn a_row_has_no_influence_on_those_before_it() {
    let (rows, attack) = rows(900);
    let before = followed(&rows, &attack, protocol());
    for changed in [WARM + 7, 555, 899] {
        let mut other = rows.select(0..changed);
        (changed..900).for_each(|row| other.push(&rows.row(row).iter().map(|value| 9.0 - value).collect::<Vec<_>>()));
        let same = changed - WARM;
        let after = followed(&other, &attack, protocol());
        assert_eq!(beginning(&before, same), beginning(&after, same), "rows from {changed}");
        assert_ne!(beginning(&before, same + 1), beginning(&after, same + 1), "row {changed} itself");
    }
    let cut = followed(&rows.select(0..700), &attack[..700], protocol());
    assert_eq!(beginning(&before, 300), beginning(&cut, 300), "rows that never come");
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_any_order_of_the_jobs() {
    let (rows, attack) = rows(700);
    let first = followed(&rows, &attack, protocol());
    let stream = Stream::new(&rows, &attack, protocol()).unwrap();
    let mut done: Vec<Done> = (0..stream.jobs()).rev().map(|job| stream.run(job).unwrap()).collect();
    assert_eq!(beginning(&first, 300), beginning(&stream.finish(&done).unwrap(), 300));
    assert_ne!(beginning(&first, 300), beginning(&followed(&rows, &attack, Protocol { seed: 4, ..protocol() }), 300));
    done.pop();
    assert!(stream.finish(&done).is_err(), "a job is missing");
}

#[test]
fn what_learns_finds_what_a_model_of_the_first_rows_cannot() {
    let (rows, attack) = rows(2_400);
    let truth = Truth {
        class: attack[WARM..].iter().map(|attack| u32::from(*attack)).collect(),
        attack: attack[WARM..].to_vec(),
        classes: vec!["normal".into(), "attack".into()],
    };
    let labels: Vec<f32> = attack.iter().map(|attack| f32::from(u8::from(*attack))).collect();
    let known = rows.select(0..WARM);
    let trees = trees_fit::fit(&known, &labels[..WARM], None, &trees_fit::Settings::for_streams(), 3, &mut |_, _| Ok(())).unwrap();
    let mut frozen = vec![0.0; 2_400 - WARM];
    trees.margins(&rows.values()[WARM * 4..], &mut frozen);
    let area = |scores: &[f32], alerts: &[bool]| measure_alerts(scores, alerts, &truth, 0.0);
    let frozen = area(&frozen, &truth.attack).roc_auc;
    let learning = followed(&rows, &attack, Protocol { refit_every: 50, ..protocol() });
    let measures = area(&learning.ensemble.scores, &learning.ensemble.alerts);
    assert!(measures.roc_auc > frozen + 0.2 && measures.roc_auc > 0.85, "{} after {frozen}", measures.roc_auc);
    assert!(measures.deployed.fpr < 0.05, "{:?}", measures.deployed);
}

#[test]
fn an_attack_that_begins_is_seen_before_anybody_names_it() {
    let (rows, mut attack) = rows(1_000);
    let mut changed = rows.select(0..700);
    // A flood far from all that benign rows have filled; labels come 150 rows later.
    (700..840).for_each(|row| changed.push(&rows.row(row).iter().map(|value| value + 7.0).collect::<Vec<_>>()));
    (840..1_000).for_each(|row| changed.push(rows.row(row)));
    attack[700..840].fill(true);
    let followed = followed(&changed, &attack, protocol());
    let trees = &followed.members[BOOSTED].scores;
    let mean = |rows: std::ops::Range<usize>| {
        let scores: Vec<f32> = rows.filter(|row| *row >= 700 || !attack[*row]).map(|row| trees[row - WARM]).collect();
        scores.iter().sum::<f32>() / scores.len() as f32
    };
    assert!(mean(740..840) > mean(450..700) + 3.0, "{} in the flood, {} before", mean(740..840), mean(450..700));
}

#[test]
fn too_little_to_learn_from_or_to_test_is_told() {
    let (rows, attack) = rows(60);
    for warm_up_rows in [0, 60, 100] {
        let error = Stream::new(&rows, &attack, Protocol { warm_up_rows, ..protocol() }).unwrap_err().to_string();
        assert!(error.contains("of 60 rows are known"), "{error}");
    }
    // One class at the beginning, or hardly any row: scores are there, and finite.
    for (warm_up_rows, attack) in [(1, attack.clone()), (30, vec![false; 60]), (30, vec![true; 60])] {
        let followed = followed(&rows, &attack, Protocol { warm_up_rows, ..protocol() });
        assert_eq!(followed.ensemble.scores.len(), 60 - warm_up_rows);
        assert!(followed.ensemble.scores.iter().all(|score| score.is_finite()));
    }
}
