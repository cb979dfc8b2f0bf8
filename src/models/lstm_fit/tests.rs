//! Gradients against finite differences and against PyTorch's; training that learns, ends and repeats itself.

use serde::Deserialize;

use super::pass::{Elements, Memory, Stretch, run};
use super::*;
use crate::core::detect::lstm::State;

fn stretch_of(elements: Elements, present: Vec<f32>, sequences: usize) -> Stretch {
    Stretch { elements, present, sequences }
}

/// Three sequences of five steps, one of which ends early.
fn example(symbols: bool, inputs: usize, random: &mut Random) -> Stretch {
    let elements = if symbols {
        Elements::Symbols((0..15).map(|_| random.below(inputs as u64) as u32).collect())
    } else {
        Elements::Rows((0..15 * inputs).map(|_| 4.0 * random.unit() as f32 - 2.0).collect())
    };
    let mut present = vec![1.0; 15];
    (present[11], present[14]) = (0.0, 0.0);
    stretch_of(elements, present, 3)
}

#[test]
fn features_that_are_left_out_change_no_score_and_explain_nothing() {
    let mut random = Random::new(11);
    let rows = |random: &mut Random| {
        let mut matrix = Matrix::new(3);
        (0..400).for_each(|row| matrix.push(&[(row % 4) as f32, random.unit() as f32, 2.0]));
        matrix
    };
    let (train, held_out) = (vec![rows(&mut random), rows(&mut random)], vec![rows(&mut random)]);
    let network = fit_rows(&train, &held_out, &Settings { ignored: 0b100, ..quick() }, 3, &mut |_, _| Ok(())).unwrap();
    let all = fit_rows(&train, &held_out, &quick(), 3, &mut |_, _| Ok(())).unwrap();
    let step = |network: &Network, last: f32| network.step(&mut State::default(), &[1.0, 0.5, last]);
    assert_eq!(step(&network, 2.0).to_bits(), step(&network, 6.0).to_bits());
    assert!(step(&all, 6.0) > step(&all, 2.0) + 1.0, "what never varied is odd when it does");
    let (row, errors) = ([1.0, 0.5, 6.0], network.errors(&State::default(), &[1.0, 0.5, 6.0]));
    assert!(errors[2].abs() < 1e-9 && (network.expected(&errors, &row)[2] - 6.0).abs() < 1e-6, "{errors:?}");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (symbols, code) in [(false, 0), (false, 3), (true, 0)] {
        let shape = Shape { inputs: 5, hidden: 6, code };
        let mut random = Random::new(7);
        let layers = Layers { shape, parameters: first_parameters(shape, symbols, &mut random).iter().map(|p| 2.0 * p).collect() };
        let stretch = example(symbols, 5, &mut random);
        let start = Memory { hidden: vec![0.3; 18], cell: vec![-0.4; 18] };
        let mut gradient = vec![0.0; shape.parameters()];
        run(&layers, &stretch, &mut start.clone(), Some(&mut gradient));
        for part in [shape.gates(), shape.squeeze(), shape.decode()].into_iter().filter(|part| !part.is_empty()) {
            for _ in 0..20 {
                let direction: Vec<f32> = part.clone().map(|_| 2.0 * random.unit() as f32 - 1.0).collect();
                let along = |by: f32| {
                    let mut moved = layers.clone();
                    moved.parameters[part.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += by * d);
                    run(&moved, &stretch, &mut start.clone(), None)
                };
                let step = 2e-3;
                let measured = (along(step) - along(-step)) / (2.0 * f64::from(step));
                let computed: f64 = gradient[part.clone()].iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                assert!((measured - computed).abs() < 2e-3 * (1.0 + computed.abs()), "{part:?}: {computed}, measured {measured}");
            }
        }
    }
}

#[derive(Deserialize)]
struct Vectors {
    rows: Case,
    symbols: Case,
}

#[derive(Deserialize)]
struct Case {
    shape: Shape,
    parameters: Vec<f32>,
    sequences: usize,
    symbols: Vec<u32>,
    rows: Vec<f32>,
    present: Vec<f32>,
    losses: Vec<f64>,
    outputs: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

/// Largest difference as a share of the largest value.
fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let size = theirs.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    ours.iter().zip(theirs).fold(0.0_f32, |a, (x, y)| a.max((x - y).abs())) / size
}

fn check(case: &Case) {
    let layers = Layers { shape: case.shape, parameters: case.parameters.clone() }.checked().unwrap();
    let mut memory = Memory::new(case.sequences, case.shape.hidden);
    let halves = case.present.len() / 2;
    for half in 0..2 {
        let part = half * halves..(half + 1) * halves;
        let wide = part.start * case.shape.inputs..part.end * case.shape.inputs;
        let elements = if case.symbols.is_empty() {
            Elements::Rows(case.rows[wide.clone()].to_vec())
        } else {
            Elements::Symbols(case.symbols[part.clone()].to_vec())
        };
        let stretch = stretch_of(elements, case.present[part].to_vec(), case.sequences);
        let outputs = pass::outputs(&layers, &stretch, &memory);
        assert!(apart(&outputs, &case.outputs[wide]) < 1e-4, "outputs of half {half}");
        let mut gradient = vec![0.0; case.parameters.len()];
        let loss = run(&layers, &stretch, &mut memory, Some(&mut gradient));
        assert!((loss / case.losses[half] - 1.0).abs() < 1e-4, "loss {loss}, PyTorch {}", case.losses[half]);
        for part in [case.shape.gates(), case.shape.squeeze(), case.shape.decode()].into_iter().filter(|part| !part.is_empty()) {
            let far = apart(&gradient[part.clone()], &case.gradients[half][part.clone()]);
            assert!(far < 1e-4, "gradient of {part:?} in half {half}: {far}");
        }
    }
}

#[test]
fn outputs_losses_and_gradients_are_those_of_pytorch() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../../tests/vectors/lstm.json")).unwrap();
    check(&vectors.rows);
    check(&vectors.symbols);
}

/// Entities whose second feature follows the first one step later; the third is noise.
fn followers(count: usize, rows: usize, seed: u64) -> Vec<Matrix> {
    let mut random = Random::new(seed);
    let entity = |_| {
        let mut matrix = Matrix::new(3);
        let mut last = 0.0;
        for _ in 0..rows {
            let next = random.unit() as f32;
            matrix.push(&[next, last, random.unit() as f32]);
            last = next;
        }
        matrix
    };
    (0..count).map(entity).collect()
}

fn quick() -> Settings {
    Settings { epochs: 12, code: 0, ..Settings::default() }
}

#[test]
fn what_breaks_with_an_entitys_past_is_an_error() {
    let network = fit_rows(&followers(40, 120, 1), &followers(8, 120, 2), &quick(), 5, &mut |_, _| Ok(())).unwrap();
    let (mut ordinary, mut broken, mut count) = (0.0, 0.0, 0.0);
    for entity in followers(8, 120, 3) {
        let mut state = State::default();
        for (index, row) in entity.iter().enumerate() {
            let mut liar = row.to_vec();
            liar[1] = if row[1] > 0.5 { row[1] - 0.5 } else { row[1] + 0.5 };
            if index > 2 {
                broken += network.step(&mut state.clone(), &liar);
                ordinary += network.step(&mut state.clone(), row);
                count += 1.0;
                let errors = network.errors(&state, &liar);
                assert!(errors[1].abs() > errors[0].abs().max(errors[2].abs()), "{errors:?}");
            }
            network.step(&mut state, row);
        }
    }
    assert!(ordinary / count < 2.0 && broken > 3.0 * ordinary, "ordinary {}, broken {}", ordinary / count, broken / count);
}

#[test]
fn threads_change_nothing_and_seeds_do() {
    let (train, held_out) = (followers(12, 50, 1), followers(4, 50, 2));
    let fit = |threads, seed| {
        let settings = Settings { epochs: 2, threads, ..Settings::default() };
        fit_rows(&train, &held_out, &settings, seed, &mut |_, _| Ok(())).unwrap().weights().clone()
    };
    assert_eq!(fit(1, 5), fit(3, 5));
    assert_ne!(fit(1, 5).layers, fit(1, 6).layers);
}

#[test]
fn symbols_that_follow_a_rule_are_learned() {
    let trace =
        |start: usize, length: usize| -> Vec<u32> { [1, 2, 1, 3, 1, 4, 1, 5].into_iter().cycle().skip(start).take(length).collect() };
    let traces: Vec<_> = (0..60).map(|i| trace(i, 30 + i)).collect();
    let settings = Settings { hidden: 24, epochs: 40, batch: 8, learning_rate: 1e-2, ..Settings::symbols() };
    let mut said = vec![];
    let mut hear = |done, of| {
        said.push((done, of));
        Ok(())
    };
    let network = fit_symbols(&traces, &traces[..6], 8, &settings, 1, &mut hear).unwrap();
    let mean = |trace: &[u32]| network.surprises(trace).iter().skip(10).sum::<f32>() / (trace.len() - 10) as f32;
    let mut wrong = trace(3, 50);
    wrong[20..].reverse();
    assert!(mean(&trace(3, 50)) < 0.3 && mean(&wrong) > 1.0, "{} and {}", mean(&trace(3, 50)), mean(&wrong));
    assert!(network.surprises(&[9_999, u32::MAX]).iter().all(|surprise| surprise.is_finite()));
    assert!(said.iter().enumerate().all(|(number, (done, of))| *done == number + 1 && done <= of), "each part once, in order");
}

#[test]
fn training_ends_when_held_out_sequences_gain_nothing() {
    let mut random = Random::new(1);
    let mut noise = || -> Vec<Vec<u32>> { (0..10).map(|_| (0..40).map(|_| 1 + random.below(5) as u32).collect()).collect() };
    let (train, held_out) = (noise(), noise());
    let mut share = 0.0;
    let settings = Settings { hidden: 32, epochs: 200, patience: 3, ..Settings::symbols() };
    let mut hear = |done: usize, of: usize| {
        share = done as f64 / of as f64;
        Ok(())
    };
    fit_symbols(&train, &held_out, 6, &settings, 1, &mut hear).unwrap();
    assert!(share < 0.5, "{share} of the epochs on noise");
}

#[test]
fn whoever_hears_of_the_progress_may_end_it() {
    let mut heard = 0;
    let mut end = |done: usize, of: usize| {
        heard = done;
        if 2 * done > of { Err(Error::permanent("enough")) } else { Ok(()) }
    };
    let settings = Settings { epochs: 1, batch: 4, ..quick() };
    let ended = fit_rows(&followers(40, 120, 1), &followers(8, 120, 2), &settings, 5, &mut end);
    assert!(ended.unwrap_err().to_string().contains("enough") && heard == 6, "in the middle of the first epoch: {heard}");
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let say = |result: Result<Network>| result.unwrap_err().to_string();
    let some = followers(2, 20, 1);
    assert!(say(fit_rows(&[], &some, &quick(), 1, &mut |_, _| Ok(()))).contains("one width"));
    assert!(say(fit_rows(&some, &[], &quick(), 1, &mut |_, _| Ok(()))).contains("others to hold out"));
    assert!(say(fit_rows(&some, &some, &Settings { hidden: 16, ..quick() }, 1, &mut |_, _| Ok(()))).contains("16 cells"));
    assert!(say(fit_rows(&some, &some, &Settings { learning_rate: f32::NAN, ..quick() }, 1, &mut |_, _| Ok(()))).contains("above 0"));
    let mut missing = Matrix::new(3);
    (0..30).for_each(|_| missing.push(&[f32::NAN, 1.0, f32::INFINITY]));
    let network = fit_rows(&[missing.clone()], &[missing], &quick(), 1, &mut |_, _| Ok(())).unwrap();
    assert!(network.step(&mut State::default(), &[f32::NAN, 1.0, f32::NEG_INFINITY]).is_finite());
}
