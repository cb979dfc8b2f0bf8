//! Loss and gradient of one stretch of sequences, by truncated back-propagation through time.
//!
//! The state at its start is a constant; the state at its end is where the next stretch begins. Must never look at an element
//! beyond a sequence's end: what is marked absent adds nothing to loss or gradient.

use super::product::{View, add_product, transpose};
use crate::core::detect::lstm::kernel::QUADRATIC;
use crate::core::detect::lstm::tanh::{sigmoid_of_twice, tanh};
use crate::core::detect::lstm::{Layers, Shape};

/// What the sequences consist of, step by step: all sequences' first elements, then all second ones.
#[derive(Clone, Debug)]
pub(super) enum Elements {
    /// Standardised rows; rebuilding them costs Huber's loss.
    Rows(Vec<f32>),
    /// Symbols; predicting them costs -ln of the probability they were given.
    Symbols(Vec<u32>),
}

/// A stretch of several sequences.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) elements: Elements,
    /// 1 where there is an element, 0 beyond a sequence's end.
    pub(super) present: Vec<f32>,
    pub(super) sequences: usize,
}

/// The state of several sequences: their outputs and cells.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) hidden: Vec<f32>,
    pub(super) cell: Vec<f32>,
}

impl Memory {
    pub(super) fn new(sequences: usize, hidden: usize) -> Self {
        Self { hidden: vec![0.0; sequences * hidden], cell: vec![0.0; sequences * hidden] }
    }
    /// Only the first so many sequences go on.
    pub(super) fn keep(&mut self, sequences: usize, hidden: usize) {
        self.hidden.truncate(sequences * hidden);
        self.cell.truncate(sequences * hidden);
    }
}

/// What the way there leaves for the way back. Step `t` of a list is `[t * sequences * width..]`.
struct Trace {
    /// Outputs before each step, and after the last.
    hidden: Vec<f32>,
    cells: Vec<f32>,
    /// Input, forget, output, candidate after their functions.
    gates: Vec<f32>,
    cell_tanh: Vec<f32>,
    code: Vec<f32>,
    /// What was predicted or rebuilt; then the loss's derivative.
    outputs: Vec<f32>,
}

/// Sum of the loss over all elements; where `gradient` is given, its derivative is added to it. `memory` moves on.
pub(super) fn run(layers: &Layers, stretch: &Stretch, memory: &mut Memory, gradient: Option<&mut [f32]>) -> f64 {
    let steps = stretch.present.len() / stretch.sequences.max(1);
    let mut trace = remember(layers, stretch, memory, steps);
    rebuild(layers, stretch, &mut trace);
    let loss = judge(layers.shape, stretch, &mut trace.outputs);
    let last = steps * stretch.sequences * layers.shape.hidden;
    memory.hidden.copy_from_slice(&trace.hidden[last..]);
    memory.cell.copy_from_slice(&trace.cells[last..]);
    if let Some(gradient) = gradient {
        back(layers, stretch, &trace, gradient);
    }
    loss
}

/// What is predicted or rebuilt, step by step.
#[cfg(test)]
pub(super) fn outputs(layers: &Layers, stretch: &Stretch, memory: &Memory) -> Vec<f32> {
    let mut trace = remember(layers, stretch, memory, stretch.present.len() / stretch.sequences);
    rebuild(layers, stretch, &mut trace);
    trace.outputs
}

/// `bias + inputs` for all steps of a layer whose matrix has the bias, the inputs and then others as rows.
fn from_inputs(matrix: &[f32], width: usize, inputs: usize, elements: &Elements, count: usize) -> Vec<f32> {
    let (bias, rows) = matrix.split_at(width);
    let mut sums = bias.repeat(count);
    match elements {
        Elements::Rows(x) => add_product(&mut sums, View::of(x, inputs), &rows[..inputs * width], (count, inputs, width)),
        Elements::Symbols(symbols) => {
            for (sums, symbol) in sums.chunks_exact_mut(width).zip(symbols) {
                let row = &rows[*symbol as usize * width..][..width];
                sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
            }
        }
    }
    sums
}

fn remember(layers: &Layers, stretch: &Stretch, memory: &Memory, steps: usize) -> Trace {
    let Shape { inputs, hidden, .. } = layers.shape;
    let (b, count) = (stretch.sequences, stretch.present.len());
    let matrix = &layers.parameters[layers.shape.gates()];
    let mut gates = from_inputs(matrix, 4 * hidden, inputs, &stretch.elements, count);
    let recurrent = &matrix[(1 + inputs) * 4 * hidden..];
    let mut trace = Trace {
        hidden: memory.hidden.clone(),
        cells: memory.cell.clone(),
        gates: vec![],
        cell_tanh: vec![0.0; count * hidden],
        code: vec![],
        outputs: vec![],
    };
    trace.hidden.resize((steps + 1) * b * hidden, 0.0);
    trace.cells.resize((steps + 1) * b * hidden, 0.0);
    for step in 0..steps {
        let sums = &mut gates[step * b * 4 * hidden..][..b * 4 * hidden];
        let (before, after) = trace.hidden.split_at_mut((step + 1) * b * hidden);
        let before = &before[step * b * hidden..];
        add_product(sums, View::of(before, hidden), recurrent, (b, hidden, 4 * hidden));
        let (cells_before, cells_after) = trace.cells.split_at_mut((step + 1) * b * hidden);
        let cells_before = &cells_before[step * b * hidden..];
        let tanhs = &mut trace.cell_tanh[step * b * hidden..];
        for (sequence, sums) in sums.chunks_exact_mut(4 * hidden).enumerate() {
            let at = sequence * hidden;
            for sum in &mut sums[..3 * hidden] {
                *sum = sigmoid_of_twice(0.5 * *sum);
            }
            for sum in &mut sums[3 * hidden..] {
                *sum = tanh(*sum);
            }
            for unit in 0..hidden {
                let cell = sums[hidden + unit] * cells_before[at + unit] + sums[unit] * sums[3 * hidden + unit];
                cells_after[at + unit] = cell;
                tanhs[at + unit] = tanh(cell);
                after[at + unit] = sums[2 * hidden + unit] * tanhs[at + unit];
            }
        }
    }
    trace.gates = gates;
    trace
}

fn rebuild(layers: &Layers, stretch: &Stretch, trace: &mut Trace) {
    let Shape { inputs, hidden, code } = layers.shape;
    let count = stretch.present.len();
    let before = &trace.hidden[..count * hidden];
    if code > 0 {
        let matrix = &layers.parameters[layers.shape.squeeze()];
        trace.code = from_inputs(matrix, code, inputs, &stretch.elements, count);
        add_product(&mut trace.code, View::of(before, hidden), &matrix[(1 + inputs) * code..], (count, hidden, code));
        trace.code.iter_mut().for_each(|value| *value = tanh(*value));
    }
    let matrix = &layers.parameters[layers.shape.decode()];
    trace.outputs = matrix[..inputs].repeat(count);
    add_product(&mut trace.outputs, View::of(&trace.code, code), &matrix[inputs..], (count, code, inputs));
    add_product(&mut trace.outputs, View::of(before, hidden), &matrix[(1 + code) * inputs..], (count, hidden, inputs));
}

/// The loss; its derivative takes the place of the outputs.
fn judge(shape: Shape, stretch: &Stretch, outputs: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for (element, (outputs, present)) in outputs.chunks_exact_mut(shape.inputs).zip(&stretch.present).enumerate() {
        if *present <= 0.0 {
            outputs.fill(0.0);
            continue;
        }
        total += match &stretch.elements {
            Elements::Rows(x) => huber(outputs, &x[element * shape.inputs..]),
            Elements::Symbols(symbols) => cross_entropy(outputs, symbols[element] as usize),
        };
    }
    total
}

fn huber(outputs: &mut [f32], x: &[f32]) -> f64 {
    let share = 1.0 / outputs.len() as f32;
    let mut loss = 0.0;
    for (output, x) in outputs.iter_mut().zip(x) {
        let error = *output - x;
        let small = error.clamp(-QUADRATIC, QUADRATIC);
        loss += f64::from(small * (error - 0.5 * small));
        *output = small * share;
    }
    loss * f64::from(share)
}

fn cross_entropy(outputs: &mut [f32], symbol: usize) -> f64 {
    let largest = outputs.iter().copied().fold(f32::MIN, f32::max);
    let of_symbol = outputs[symbol] - largest;
    let mut total = 0.0_f32;
    for output in outputs.iter_mut() {
        *output = crate::core::numeric::exp_neg(largest - *output);
        total += *output;
    }
    outputs.iter_mut().for_each(|output| *output /= total);
    outputs[symbol] -= 1.0;
    libm::log(f64::from(total)) - f64::from(of_symbol)
}

/// Adds the derivative of a layer's weights: rows of bias, inputs, then `others`.
fn add_inputs(gradient: &mut [f32], width: usize, inputs: usize, elements: &Elements, sums: &[f32]) {
    let count = sums.len() / width.max(1);
    let (bias, rows) = gradient.split_at_mut(width);
    for sums in sums.chunks_exact(width) {
        bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum);
    }
    match elements {
        Elements::Rows(x) => {
            add_product(&mut rows[..inputs * width], View::of(x, inputs).transposed(), sums, (inputs, count, width));
        }
        Elements::Symbols(symbols) => {
            for (sums, symbol) in sums.chunks_exact(width).zip(symbols) {
                let row = &mut rows[*symbol as usize * width..][..width];
                row.iter_mut().zip(sums).for_each(|(weight, sum)| *weight += sum);
            }
        }
    }
}

fn back(layers: &Layers, stretch: &Stretch, trace: &Trace, gradient: &mut [f32]) {
    let Shape { inputs, hidden, code } = layers.shape;
    let count = stretch.present.len();
    let before = View::of(&trace.hidden[..count * hidden], hidden);
    let outputs = trace.outputs.as_slice();

    // Decoder and bottleneck: all steps at once.
    let matrix = &layers.parameters[layers.shape.decode()];
    let back_to_hidden = transpose(&matrix[(1 + code) * inputs..], inputs);
    let mut of_hidden = vec![0.0; count * hidden];
    add_product(&mut of_hidden, View::of(outputs, inputs), &back_to_hidden, (count, inputs, hidden));
    let part = &mut gradient[layers.shape.decode()];
    for outputs in outputs.chunks_exact(inputs) {
        part[..inputs].iter_mut().zip(outputs).for_each(|(bias, output)| *bias += output);
    }
    add_product(&mut part[(1 + code) * inputs..], before.transposed(), outputs, (hidden, count, inputs));
    if code > 0 {
        add_product(&mut part[inputs..(1 + code) * inputs], View::of(&trace.code, code).transposed(), outputs, (code, count, inputs));
        let back_to_code = transpose(&matrix[inputs..(1 + code) * inputs], inputs);
        let mut of_code = vec![0.0; count * code];
        add_product(&mut of_code, View::of(outputs, inputs), &back_to_code, (count, inputs, code));
        of_code.iter_mut().zip(&trace.code).for_each(|(d, z)| *d *= 1.0 - z * z);
        let matrix = &layers.parameters[layers.shape.squeeze()];
        let back_to_hidden = transpose(&matrix[(1 + inputs) * code..], code);
        add_product(&mut of_hidden, View::of(&of_code, code), &back_to_hidden, (count, code, hidden));
        let part = &mut gradient[layers.shape.squeeze()];
        add_inputs(part, code, inputs, &stretch.elements, &of_code);
        add_product(&mut part[(1 + inputs) * code..], before.transposed(), &of_code, (hidden, count, code));
    }

    let of_gates = through_time(layers, stretch, trace, &mut of_hidden);
    let part = &mut gradient[layers.shape.gates()];
    add_inputs(part, 4 * hidden, inputs, &stretch.elements, &of_gates);
    add_product(&mut part[(1 + inputs) * 4 * hidden..], before.transposed(), &of_gates, (hidden, count, 4 * hidden));
}

/// The derivative of the gates' sums, from the last step to the first. `of_hidden` is that of the outputs before each step.
fn through_time(layers: &Layers, stretch: &Stretch, trace: &Trace, of_hidden: &mut [f32]) -> Vec<f32> {
    let Shape { inputs, hidden, .. } = layers.shape;
    let b = stretch.sequences;
    let matrix = &layers.parameters[layers.shape.gates()];
    let back_to_hidden = transpose(&matrix[(1 + inputs) * 4 * hidden..], 4 * hidden);
    let mut of_gates = vec![0.0; trace.gates.len()];
    let mut of_cell = vec![0.0; b * hidden];
    let mut of_output = vec![0.0; b * hidden];
    for step in (0..stretch.present.len() / b.max(1)).rev() {
        let gates = &trace.gates[step * b * 4 * hidden..][..b * 4 * hidden];
        let sums = &mut of_gates[step * b * 4 * hidden..][..b * 4 * hidden];
        let cells_before = &trace.cells[step * b * hidden..];
        let tanhs = &trace.cell_tanh[step * b * hidden..];
        for (sequence, (gates, sums)) in gates.chunks_exact(4 * hidden).zip(sums.chunks_exact_mut(4 * hidden)).enumerate() {
            let at = sequence * hidden;
            for unit in 0..hidden {
                let (i, f, o, g) = (gates[unit], gates[hidden + unit], gates[2 * hidden + unit], gates[3 * hidden + unit]);
                let (squashed, out) = (tanhs[at + unit], of_output[at + unit]);
                let cell = of_cell[at + unit] + out * o * (1.0 - squashed * squashed);
                sums[unit] = cell * g * i * (1.0 - i);
                sums[hidden + unit] = cell * cells_before[at + unit] * f * (1.0 - f);
                sums[2 * hidden + unit] = out * squashed * o * (1.0 - o);
                sums[3 * hidden + unit] = cell * i * (1.0 - g * g);
                of_cell[at + unit] = cell * f;
            }
        }
        let here = &mut of_hidden[step * b * hidden..][..b * hidden];
        add_product(here, View::of(sums, 4 * hidden), &back_to_hidden, (b, 4 * hidden, hidden));
        of_output.copy_from_slice(here);
    }
    of_gates
}
