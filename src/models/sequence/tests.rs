//! Traces: what each member sees, and what is kept of them. What they say together is tested in `models/table/scorers`.
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

fn bits(traces: &Traces, trace: &[u32]) -> [u32; 4] {
    traces.answers(trace).map(f32::to_bits)
}

fn fitted(learned: &[Trace]) -> Traces {
    Traces::fit(learned.to_vec(), calls::set(&learned.concat()).len()).unwrap()
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
    let known = |sets: &[&[u32]]| Known::of(sets.iter().map(|set| set.to_vec()));
    let four = known(&[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]]);
    assert_eq!(four.apart(&[1, 2, 3]), Apart { unlike: 0.0, lacking: 0.0 });
    // Nearest is {1, 2}, with one of three; lacking are none of {1}, none of {1, 2}, a third of {1, 2, 3}.
    let found = four.apart(&[1, 2, 9]);
    assert!((found.unlike - 1.0 / 3.0).abs() < 1e-12 && (found.lacking - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
    assert_eq!(four.apart(&[8, 9]), Apart { unlike: 1.0, lacking: 1.0 });
    assert_eq!(known(&[]).apart(&[1]), Apart { unlike: 1.0, lacking: 1.0 });
    // Who was there three times vouches three times.
    let lacking = |sets: &[&[u32]]| known(sets).apart(&[1]).lacking;
    assert!((lacking(&[&[1], &[1], &[1, 2]]) - 0.5).abs() < 1e-12 && lacking(&[&[1], &[1], &[1], &[1, 2]]).abs() < 1e-12);
    assert_eq!(calls::set(&[5, 3, 5, 3, 3]), vec![3, 5]);
}

#[test]
fn each_member_sees_what_it_asks_for() {
    let traces = fitted(&ordinary(150, 1));
    let others: Vec<[f32; 4]> = ordinary(90, 2).iter().map(|trace| traces.answers(trace)).collect();
    let usual = ordinary(6, 2).pop().unwrap();
    for (member, changed) in [
        ("order", usual.iter().rev().copied().collect::<Vec<_>>()),
        ("unlike", usual.iter().chain(&[90, 91, 92]).copied().collect()),
        ("lacking", [10, 20, 10, 20].repeat(30)),
        ("disorder", shuffled(&usual, 3)),
    ] {
        let place = MEMBERS.iter().position(|name| *name == member).unwrap();
        let answer = traces.answers(&changed)[place];
        let above = others.iter().filter(|other| other[place] >= answer).count();
        assert!(above <= 2, "{member}: {above} of 90 ordinary ones say {answer} or more");
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
fn the_order_of_traces_and_which_symbol_is_unknown_decide_nothing() {
    let plain = ordinary(60, 1);
    let traces = fitted(&plain);
    let trace = ordinary(7, 4).pop().unwrap();
    let strange = |symbol: u32| bits(&traces, &trace.iter().copied().chain([symbol]).collect::<Vec<_>>());
    assert_eq!(strange(77), strange(u32::MAX));
    let turned: Vec<Trace> = plain.into_iter().rev().collect();
    assert_eq!(bits(&traces, &trace), bits(&fitted(&turned), &trace));
    assert_eq!(bits(&traces, &[]), [0.0, 1.0, 1.0, 0.0].map(f32::to_bits));
}

#[test]
fn what_is_kept_answers_the_same_and_damage_is_refused() {
    let plain: Vec<Trace> = ordinary(30, 1);
    let traces = Traces::fit(plain.clone(), 50).unwrap();
    let mut out = Writer::default();
    traces.write(&mut out);
    let bytes = out.finish();
    let again = Traces::read(&mut Reader::new(&bytes), 50).unwrap();
    for trace in ordinary(9, 3) {
        assert_eq!(bits(&again, &trace), bits(&traces, &trace));
    }
    for cut in 0..bytes.len() {
        assert!(Traces::read(&mut Reader::new(&bytes[..cut]), 50).is_err(), "{cut}");
    }
    assert!(Traces::read(&mut Reader::new(&bytes), 32).is_err(), "33 is no symbol of 32");
    assert!(Traces::read(&mut Reader::new(&[1, 0, 0, 0, 0, 0, 0, 0]), 50).is_err(), "an empty one");
}

#[test]
fn too_much_to_learn_from_is_refused() {
    let error = Traces::fit(vec![vec![1; SEQUENCE_SYMBOLS_LEARNED_MAX], vec![1]], 1).unwrap_err().to_string();
    assert!(error.contains("4000001 symbols together"), "{error}");
    let (plain, short) = (vec![vec![1, 2, 3]], |most| Traces::within(vec![vec![1, 2, 3]], 3, most));
    let count = Traces::fit(plain, 3).unwrap().histories.count();
    assert!(short(count).is_ok());
    assert!(short(count - 1).unwrap_err().to_string().contains(&format!("more than {} different stretches", count - 1)));
}
