//! The step against the equations as papers write them, on every kernel; states as bytes; weights from outside.

use proptest::prelude::*;

use super::*;
use crate::models::random::Random;

fn weights(inputs: usize, code: usize, seed: u64) -> RowWeights {
    let shape = Shape { inputs, hidden: HIDDEN, code };
    let mut random = Random::new(seed);
    let mut list =
        |count: usize, from: f64, to: f64| -> Vec<f32> { (0..count).map(|_| (from + (to - from) * random.unit()) as f32).collect() };
    RowWeights {
        layers: Layers { shape, parameters: list(shape.parameters(), -0.4, 0.4) },
        center: list(inputs, -1.0, 1.0),
        inverse_spread: list(inputs, 0.5, 2.0),
        inverse_error: list(inputs, 0.5, 2.0),
    }
}

/// An exact memory, and the step in 64 bits by the platform's functions.
struct Exact {
    hidden: Vec<f64>,
    cell: Vec<f64>,
}

impl Exact {
    fn layer(matrix: &[f32], width: usize, values: &[f64]) -> Vec<f64> {
        let mut sums: Vec<f64> = matrix[..width].iter().copied().map(f64::from).collect();
        for (value, row) in values.iter().zip(matrix[width..].chunks_exact(width)) {
            sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * f64::from(*weight));
        }
        sums
    }

    fn step(&mut self, weights: &RowWeights, row: &[f32]) -> f64 {
        let Layers { shape, parameters } = &weights.layers;
        let x: Vec<f64> = (0..shape.inputs)
            .map(|i| {
                let value = (f64::from(row[i]) - f64::from(weights.center[i])) * f64::from(weights.inverse_spread[i]);
                if value.is_nan() { 0.0 } else { value.clamp(-6.0, 6.0) }
            })
            .collect();
        let both = [x.clone(), self.hidden.clone()].concat();
        let code: Vec<f64> = if shape.code == 0 {
            vec![]
        } else {
            Self::layer(&parameters[shape.squeeze()], shape.code, &both).into_iter().map(libm::tanh).collect()
        };
        let rebuilt = Self::layer(&parameters[shape.decode()], shape.inputs, &[code, self.hidden.clone()].concat());
        let costs = rebuilt.iter().zip(&x).zip(&weights.inverse_error).map(|((rebuilt, x), inverse)| {
            let size = ((x - rebuilt) * f64::from(*inverse)).abs();
            if size < 3.0 { size * size } else { 6.0 * size - 9.0 }
        });
        let error = costs.sum::<f64>() / shape.inputs as f64;
        let sums = Self::layer(&parameters[shape.gates()], 4 * HIDDEN, &both);
        let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        for unit in 0..HIDDEN {
            let [i, f, o] = [0, 1, 2].map(|gate| sigmoid(sums[gate * HIDDEN + unit]));
            self.cell[unit] = f * self.cell[unit] + i * libm::tanh(sums[3 * HIDDEN + unit]);
            self.hidden[unit] = o * libm::tanh(self.cell[unit]);
        }
        error
    }
}

#[test]
fn the_step_is_that_of_the_equations_but_for_the_states_steps() {
    for (inputs, code) in [(16, 8), (16, 0), (5, 8), (40, 0), (131, 8)] {
        let network = Network::new(weights(inputs, code, inputs as u64)).unwrap();
        let mut random = Random::new(9);
        let (mut state, mut exact) = (State::default(), Exact { hidden: vec![0.0; HIDDEN], cell: vec![0.0; HIDDEN] });
        for step in 0..200 {
            let row: Vec<f32> = (0..inputs).map(|_| (random.unit() * 6.0 - 3.0) as f32).collect();
            let (ours, theirs) = (f64::from(network.step(&mut state, &row)), exact.step(network.weights(), &row));
            // The first step sees no quantised state.
            let allowed = if step == 0 { 1e-4 } else { 0.02 };
            assert!((ours - theirs).abs() < allowed * theirs, "{inputs} inputs, step {step}: {ours}, exactly {theirs}");
        }
    }
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![8 => -10_f32..10.0, 1 => any::<u32>().prop_map(f32::from_bits), 1 => Just(f32::NAN)]
}

proptest! {
    #[test]
    fn every_kernel_and_batch_gives_the_same_bits(
        rows in proptest::collection::vec(proptest::collection::vec(value(), 16), 1..40),
        code in prop_oneof![Just(0), Just(CODE)],
        seed in any::<u64>(),
        bytes in proptest::collection::vec(any::<u8>(), STATE_BYTES),
    ) {
        let portable = Network::new(weights(16, code, seed)).unwrap().on(Kernel::Portable);
        let mut start: [u8; STATE_BYTES] = bytes.try_into().unwrap();
        if seed % 2 == 0 {
            start[..4].copy_from_slice(&portable.model().to_le_bytes());
        }
        let mut states = vec![State::from_bytes(&start); rows.len()];
        let expected: Vec<f32> = states.iter_mut().zip(&rows).map(|(state, row)| portable.step(state, row)).collect();
        prop_assert!(expected.iter().all(|error| error.is_finite() && *error >= 0.0));
        for kernel in Kernel::available() {
            let network = portable.clone().on(*kernel);
            let mut others = vec![State::from_bytes(&start); rows.len()];
            let mut errors = vec![0.0; rows.len()];
            let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            network.steps(&mut others.iter_mut().collect::<Vec<_>>(), &views, &mut errors);
            let same = errors.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "{:?} gives other bits", kernel);
            prop_assert_eq!(&others, &states);
        }
        for state in &states {
            prop_assert_eq!(State::from_bytes(&state.to_bytes()), *state);
        }
    }
}

#[test]
fn a_state_of_another_network_counts_as_new() {
    let (one, other) = (Network::new(weights(16, 8, 1)).unwrap(), Network::new(weights(16, 8, 2)).unwrap());
    assert_ne!(one.model(), other.model());
    let mut foreign = State::default();
    for i in 0..20 {
        other.step(&mut foreign, &[i as f32 * 0.1; 16]);
    }
    let mut fresh = State::default();
    assert!(foreign.is_of(other.model()) && !fresh.is_of(one.model()));
    let row = [0.3; 16];
    assert_eq!(one.errors(&foreign, &row), one.errors(&fresh, &row));
    assert_eq!(one.step(&mut foreign, &row).to_bits(), one.step(&mut fresh, &row).to_bits());
    assert_eq!(foreign, fresh);
    assert_eq!(size_of::<State>(), STATE_BYTES);
}

#[test]
fn errors_are_the_parts_of_the_score() {
    let network = Network::new(weights(20, 8, 3)).unwrap();
    let mut state = State::default();
    for step in 0..30 {
        let row: Vec<f32> = (0..20).map(|i| (i * step % 7) as f32 - 3.0).collect();
        let parts: f32 = network.errors(&state, &row).iter().map(|e| if e.abs() < 3.0 { e * e } else { 6.0 * e.abs() - 9.0 }).sum();
        let whole = network.step(&mut state, &row);
        assert!((parts / 20.0 - whole).abs() < 1e-4 * whole, "{parts} / 20 is not {whole}");
    }
}

#[test]
fn weights_survive_json_and_broken_ones_are_refused() {
    let good = weights(16, 8, 4);
    let text = serde_json::to_string(&good).unwrap();
    let again: RowWeights = serde_json::from_str(&text).unwrap();
    assert_eq!(Network::new(again).unwrap().model(), Network::new(good.clone()).unwrap().model());
    let refused = |change: &dyn Fn(&mut RowWeights), says: &str| {
        let mut weights = good.clone();
        change(&mut weights);
        let message = Network::new(weights).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    };
    refused(&|w| w.layers.parameters.truncate(99), "numbers instead of");
    refused(&|w| w.layers.parameters[7] = f32::NAN, "a weight is not a number");
    refused(&|w| w.layers.parameters[7] = 1e9, "a weight is not a number");
    refused(&|w| w.layers.shape.hidden = 16, "numbers instead of");
    refused(&|w| w.layers.shape.inputs = usize::MAX, "inputs");
    refused(&|w| w.center.truncate(15), "center");
    refused(&|w| w.inverse_error[3] = f32::INFINITY, "error is not a number");
    let shape = Shape { inputs: 4, hidden: 8, code: 0 };
    let small = Layers { shape, parameters: vec![0.0; shape.parameters()] };
    assert!(SymbolNetwork::new(small.clone()).is_ok());
    let rows = RowWeights { layers: small, center: vec![0.0; 4], inverse_spread: vec![1.0; 4], inverse_error: vec![1.0; 4] };
    assert!(Network::new(rows).unwrap_err().to_string().contains("8 cells"));
}

#[test]
fn symbols_without_knowledge_are_equally_likely() {
    let shape = Shape { inputs: 10, hidden: 24, code: 0 };
    let network = SymbolNetwork::new(Layers { shape, parameters: vec![0.0; shape.parameters()] }).unwrap();
    let uniform = libm::log(10.0) as f32;
    assert!(network.surprises(&[1, 2, 9, 10, u32::MAX]).iter().all(|surprise| (surprise - uniform).abs() < 1e-4));
}
