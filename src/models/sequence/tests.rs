//! Traces: what each member sees, and what they say together.
use super::calls::Apart;
use super::*;
use crate::models::random::Random;

/// A program that opens, reads and writes so many times, and closes; `first` is where its symbols begin.
fn program(first: u32, random: &mut Random) -> Vec<u32> {
    let mut trace = vec![1, 2, 3, 2, 3];
    for _ in 0..20 + random.below(60) {
        trace.extend([first, first + 1, first + 2]);
        if random.below(4) == 0 {
            trace.push(first + 3);
        }
    }
    trace.push(4);
    trace
}

fn ordinary(count: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut random = Random::new(seed);
    (0..count).map(|i| program(10 + 10 * (i as u32 % 3), &mut random)).collect()
}

fn shuffled(trace: &[u32], seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut trace = trace.to_vec();
    for last in (1..trace.len()).rev() {
        trace.swap(last, random.below(last as u64 + 1) as usize);
    }
    trace
}

fn part(judged: &Judged, member: &str) -> f64 {
    judged.parts[MEMBERS.iter().position(|name| *name == member).unwrap()]
}

#[test]
fn probabilities_of_all_symbols_add_up_to_one() {
    let traces = ordinary(30, 1);
    let alphabet = calls::set(&traces.concat());
    let mut histories = Histories::new(5, alphabet.len() + 1);
    for trace in &traces {
        (0..trace.len()).for_each(|at| histories.learn(trace, at));
    }
    for seed in 0..20 {
        let before = shuffled(&traces[seed as usize], seed)[..seed as usize].to_vec();
        // One symbol that was never seen stands for all of them.
        let total: f64 = alphabet
            .iter()
            .chain(&[99])
            .map(|symbol| {
                let trace: Vec<u32> = before.iter().copied().chain([*symbol]).collect();
                (-histories.surprise(&trace, before.len())).exp()
            })
            .sum();
        assert!((total - 1.0).abs() < 1e-9, "after {before:?}: {total}");
    }
}

#[test]
fn witten_and_bells_probabilities_by_hand() {
    let mut histories = Histories::new(1, 4);
    let trace = [7, 8, 7, 8, 7, 9];
    (0..trace.len()).for_each(|at| histories.learn(&trace, at));
    // Of six symbols three were 7, of three different ones; after 7 came 8 twice and 9 once.
    let alone = |count: f64| (count + 3.0 * 0.25) / 9.0;
    let after_seven = |count: f64, shorter: f64| (count + 2.0 * shorter) / 5.0;
    let close = |trace: &[u32], expected: f64| {
        let probability = (-histories.surprise(trace, trace.len() - 1)).exp();
        assert!((probability - expected).abs() < 1e-12, "{trace:?}: {probability}, not {expected}");
    };
    close(&[7, 8], after_seven(2.0, alone(2.0)));
    close(&[7, 7], after_seven(0.0, alone(3.0)));
    close(&[7, 5], after_seven(0.0, alone(0.0)));
    // 5 was never seen, so nothing is known of what follows it.
    close(&[5, 8], alone(2.0));
}

#[test]
fn sets_are_compared_with_the_nearest_and_the_third() {
    let known: Vec<Set> = vec![vec![1], vec![1, 2], vec![1, 2, 3], vec![1, 2, 3, 4]];
    let apart = |set: &[u32]| calls::apart(set, &known);
    assert_eq!(apart(&[1, 2, 3]), Apart { unlike: 0.0, lacking: 0.0 });
    // Nearest is {1, 2}, with one of three; lacking are none of {1}, none of {1, 2}, a third of {1, 2, 3}.
    let found = apart(&[1, 2, 9]);
    assert!((found.unlike - 1.0 / 3.0).abs() < 1e-12 && (found.lacking - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
    assert_eq!(apart(&[8, 9]), Apart { unlike: 1.0, lacking: 1.0 });
    assert_eq!(calls::apart(&[1], &[]), Apart { unlike: 1.0, lacking: 1.0 });
    assert_eq!(calls::set(&[5, 3, 5, 3, 3]), vec![3, 5]);
}

#[test]
fn each_member_sees_what_it_asks_for() {
    let traces = Traces::fit(&ordinary(150, 1)).unwrap();
    let usual = ordinary(6, 2).pop().unwrap();
    let judged = traces.judge(&usual);
    for (member, changed) in [
        ("order", usual.iter().rev().copied().collect::<Vec<_>>()),
        ("unlike", usual.iter().chain(&[90, 91, 92]).copied().collect()),
        ("lacking", [10, 20, 10, 20].repeat(30)),
        ("disorder", shuffled(&usual, 3)),
    ] {
        let of_changed = traces.judge(&changed);
        assert!(part(&of_changed, member) > part(&judged, member) + 0.3, "{member}: {judged:?}, then {of_changed:?}");
    }
}

#[test]
fn a_known_start_keeps_a_new_program_below_what_is_odd_throughout() {
    let calm = |trace: &[f64]| calmest(trace);
    let mut surprises = vec![5.0; 400];
    assert!((calm(&surprises) - 5.0).abs() < 1e-12);
    surprises[..WINDOW].fill(0.5);
    assert!((calm(&surprises) - 0.5).abs() < 1e-12);
    // A shorter trace is one window.
    assert!((calm(&[1.0, 3.0]) - 2.0).abs() < 1e-12);
    assert!(calm(&[]).abs() < f64::EPSILON);
}

#[test]
fn what_is_odd_in_every_respect_lies_beyond_nearly_all_that_is_ordinary() {
    let traces = Traces::fit(&ordinary(150, 1)).unwrap();
    let mut scores: Vec<f64> = ordinary(90, 2).iter().map(|trace| traces.judge(trace).score).collect();
    scores.sort_by(f64::total_cmp);
    let mut random = Random::new(5);
    for _ in 0..20 {
        let attack: Vec<u32> = (0..150).map(|_| [12, 21, 32, 40, 41][random.below(5) as usize]).collect();
        let judged = traces.judge(&attack);
        assert!(judged.score > scores[85], "{judged:?} beside {:?}", &scores[80..]);
        assert!(judged.p_value < 0.03, "{judged:?}");
    }
}

#[test]
fn p_values_of_ordinary_traces_are_spread_evenly() {
    let traces = Traces::fit(&ordinary(300, 1)).unwrap();
    let values: Vec<f64> = ordinary(300, 2).iter().map(|trace| traces.judge(trace).p_value).collect();
    for level in [0.05, 0.2, 0.5, 0.8] {
        let share = values.iter().filter(|value| **value <= level).count() as f64 / 300.0;
        assert!((share - level).abs() < 0.08, "{share} of ordinary traces at most {level}");
    }
}

#[test]
fn order_of_training_traces_and_unknown_symbols_decide_nothing_they_should_not() {
    let plain = ordinary(60, 1);
    let traces = Traces::fit(&plain).unwrap();
    let trace = ordinary(7, 4).pop().unwrap();
    let strange = |symbol: u32| traces.judge(&trace.iter().copied().chain([symbol]).collect::<Vec<_>>());
    assert_eq!(strange(77), strange(u32::MAX));
    assert_eq!(traces.judge(&trace), Traces::fit(&plain).unwrap().judge(&trace));
    // Folds are as they were if traces change places by whole folds.
    let mut turned = plain;
    turned.rotate_left(FOLDS);
    assert_eq!(traces.judge(&trace), Traces::fit(&turned).unwrap().judge(&trace));
    assert!(traces.judge(&[]).score.is_finite());
}

#[test]
fn too_few_or_empty_traces_are_refused() {
    assert!(Traces::fit(&ordinary(FOLDS - 1, 1)).unwrap_err().to_string().contains("at least 5"));
    let mut with_empty = ordinary(10, 1);
    with_empty[3].clear();
    assert!(Traces::fit(&with_empty).unwrap_err().to_string().contains("leave out"));
}
