//! LSTM over symbols, such as a process's system calls: how improbable each is after those before it.
//!
//! Any alphabet and any number of cells; the state is not quantised, because traces are scored as a whole. Symbol 0 stands for
//! everything that was never seen in training. Must never panic on any trace.

use super::tanh::{sigmoid_of_twice, tanh};
use super::weights::Layers;
use crate::core::numeric::{exp_neg, ln};
use crate::error::{Error, Result};

/// A network of symbols, ready to score.
#[derive(Clone, Debug, PartialEq)]
pub struct SymbolNetwork {
    layers: Layers,
}

/// What it remembers of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceState {
    hidden: Vec<f32>,
    cell: Vec<f32>,
    sums: Vec<f32>,
    outputs: Vec<f32>,
}

impl SymbolNetwork {
    /// Refuses weights that are not those of such a network.
    pub fn new(layers: Layers) -> Result<Self> {
        let layers = layers.checked()?;
        if layers.shape.code != 0 {
            return Err(Error::config("LSTM is not usable: a network of symbols has no bottleneck"));
        }
        Ok(Self { layers })
    }

    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.layers
    }
    /// Symbols it tells apart, [0] being all others.
    #[must_use]
    pub fn alphabet(&self) -> usize {
        self.layers.shape.inputs
    }
    #[must_use]
    pub fn start(&self) -> TraceState {
        let hidden = self.layers.shape.hidden;
        TraceState { hidden: vec![0.0; hidden], cell: vec![0.0; hidden], sums: vec![0.0; 4 * hidden], outputs: vec![0.0; self.alphabet()] }
    }

    /// -ln of the probability that this symbol comes next; then the state takes it up.
    pub fn step(&self, state: &mut TraceState, symbol: u32) -> f32 {
        let symbol = if (symbol as usize) < self.alphabet() { symbol as usize } else { 0 };
        let shape = self.layers.shape;
        let parameters = &self.layers.parameters;
        let decode = &parameters[shape.decode()];
        accumulate(&mut state.outputs, decode, 0, &state.hidden);
        let surprise = surprise_of(&state.outputs, symbol);
        let gates = &parameters[shape.gates()];
        accumulate(&mut state.sums, gates, shape.inputs, &state.hidden);
        for (sum, weight) in state.sums.iter_mut().zip(&gates[(1 + symbol) * 4 * shape.hidden..]) {
            *sum += weight;
        }
        let (input, rest) = state.sums.split_at(shape.hidden);
        let (forget, rest) = rest.split_at(shape.hidden);
        let (output, candidate) = rest.split_at(shape.hidden);
        for unit in 0..shape.hidden {
            let taken = sigmoid_of_twice(0.5 * input[unit]) * tanh(candidate[unit]);
            state.cell[unit] = sigmoid_of_twice(0.5 * forget[unit]).mul_add(state.cell[unit], taken);
            state.hidden[unit] = sigmoid_of_twice(0.5 * output[unit]) * tanh(state.cell[unit]);
        }
        surprise
    }

    /// The surprise of each symbol of a whole trace.
    #[must_use]
    pub fn surprises(&self, trace: &[u32]) -> Vec<f32> {
        let mut state = self.start();
        trace.iter().map(|symbol| self.step(&mut state, *symbol)).collect()
    }
}

/// The bias, and the rows after `skipped` others times the values.
fn accumulate(sums: &mut [f32], matrix: &[f32], skipped: usize, values: &[f32]) {
    let width = sums.len();
    sums.copy_from_slice(&matrix[..width]);
    for (value, row) in values.iter().zip(matrix[(1 + skipped) * width..].chunks_exact(width)) {
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum = weight.mul_add(*value, *sum);
        }
    }
}

/// -ln softmax, without overflow.
fn surprise_of(outputs: &[f32], symbol: usize) -> f32 {
    let largest = outputs.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = outputs.iter().map(|output| exp_neg(largest - output)).sum();
    // The largest adds 1 to the total, but for the error of the exponential.
    ln(total.max(1.0)) + largest - outputs[symbol]
}
