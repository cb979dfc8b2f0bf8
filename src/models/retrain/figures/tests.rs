//! Figures of two models on rows whose truth is known.

use super::*;

/// One row in ten is an attack; `skill` is how far attacks lie above.
pub fn scored(rows: usize, skill: f32, seed: u64) -> Scored {
    let mut random = Random::new(seed);
    let surprise: Vec<f32> =
        (0..rows).map(|row| -libm::logf(random.unit().max(1e-9) as f32) + if row % 10 == 0 { skill } else { 0.0 }).collect();
    let threat = surprise.iter().map(|nats| *nats >= 6.9).collect();
    Scored { surprise, threat }
}

pub fn truths(rows: usize) -> Truths {
    Truths { attack: (0..rows).map(|row| Some(row % 10 == 0)).collect(), cluster: (0..rows as u32).map(|row| row / 20).collect() }
}

#[test]
fn the_rate_is_that_of_a_threshold_which_exists() {
    let truths = Truths { attack: [true, false, true, true, false].map(Some).to_vec(), cluster: vec![0, 1, 2, 3, 4] };
    let scored = Scored { surprise: vec![5.0, 4.0, 3.0, 2.0, 2.0], threat: vec![false; 5] };
    let at = |limit: f64| found_at(&truths, &scored, limit);
    assert!((at(0.0) - 1.0 / 3.0).abs() < 1e-9 && (at(0.5) - 2.0 / 3.0).abs() < 1e-9);
    assert!((at(0.9) - 2.0 / 3.0).abs() < 1e-9, "two rows with the same score stand or fall together");
    assert!((at(1.0) - 1.0).abs() < 1e-9);
    let unknown = Truths { attack: vec![Some(true), None, Some(true), Some(true), Some(false)], cluster: vec![0, 1, 2, 3, 4] };
    assert!((found_at(&unknown, &scored, 0.0) - 2.0 / 3.0).abs() < 1e-9, "what is unknown does not count");
}

#[test]
fn a_difference_that_is_there_is_told_from_one_that_is_not() {
    let truths = truths(6_000);
    let better = difference(&truths, [&scored(6_000, 3.0, 1), &scored(6_000, 5.0, 2)], 0.008, 3);
    assert!(better.value > 0.3 && better.interval95[0] > 0.1 && better.interval95[1] > better.value, "{better:?}");
    let alike = difference(&truths, [&scored(6_000, 3.0, 1), &scored(6_000, 3.0, 2)], 0.008, 3);
    assert!(alike.interval95[0] < 0.0 && alike.interval95[1] > 0.0, "{alike:?}");
    let same = scored(6_000, 3.0, 1);
    assert_eq!(difference(&truths, [&same, &same], 0.008, 3), Difference { value: 0.0, interval95: [0.0; 2] });
}

#[test]
fn agreement_is_of_the_most_surprising_rows() {
    let (one, other) = (scored(5_000, 4.0, 1), scored(5_000, 4.0, 2));
    assert!((agreement(&one, &one, 0.008) - 1.0).abs() < 1e-9);
    assert!(agreement(&one, &other, 0.008) < 0.3);
}

#[test]
fn threats_are_counted_among_attacks_and_among_benign_rows() {
    let truths = Truths { attack: [true, true, false, false, false].map(Some).to_vec(), cluster: vec![0, 1, 2, 3, 4] };
    let scored = |threat: [bool; 5]| Scored { surprise: vec![0.0; 5], threat: threat.to_vec() };
    let (none, some) = (scored([false; 5]), scored([true, true, true, false, false]));
    assert!((share_of_threats(&truths, &some, false) - 1.0 / 3.0).abs() < 1e-9 && share_of_threats(&truths, &none, true) < 1e-9);
    let more = difference_of_threats(&truths, [&none, &some], 1);
    assert!((more.value - 1.0).abs() < 1e-9 && more.interval95[1] > 0.9, "{more:?}");
}
