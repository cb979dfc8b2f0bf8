//! One step of the autoencoder: the definition of what every kernel must give.
//!
//! Plain loops over fixed-size arrays that compilers turn into vectors; each lane's sum runs in the order of its terms, by fused
//! multiplications, so the width of the vectors changes no bit. Must never panic on any row, and
//! allocates only for rows wider than a register.

use super::state::State;
use super::tanh::{sigmoid_of_twice, tanh};

/// Cells of the memory.
pub const HIDDEN: usize = 32;
/// Units of the bottleneck.
pub const CODE: usize = 8;
/// Features are handled in blocks of one vector register.
pub const LANES: usize = 16;
/// Standardised features are cut off here, so that no row can drive the memory anywhere.
pub const CLIP: f32 = 6.0;
/// Errors count with their square up to here and linearly beyond.
pub const QUADRATIC: f32 = 3.0;

const GATES: usize = 4;
/// Rows of weights that are added at a time.
const ROWS: usize = 8;

/// A vector of features, aligned for one load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

/// What one input adds to all gates: input, forget, output (halved, as `sigmoid_of_twice` wants them), candidate.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct GateWeights(pub [f32; GATES * HIDDEN]);

/// How one feature is standardised and its error judged, for 16 features at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaling {
    pub center: Lanes,
    pub inverse_spread: Lanes,
    pub inverse_error: Lanes,
}

/// A network's numbers as the kernels read them.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The features' number without padding.
    pub features: usize,
    /// Shown by every state, so that another network's is not taken for one of this.
    pub model: u32,
    pub scaling: Vec<Scaling>,
    /// The bias, then a row for each feature, then for each cell.
    pub gates: Vec<GateWeights>,
    /// The same rows for the bottleneck.
    pub squeeze: Vec<[f32; CODE]>,
    /// For each block of features: the bias, then a row for each unit of the bottleneck, then for each cell.
    pub decode: Vec<[Lanes; 1 + CODE + HIDDEN]>,
}

/// How far a row is from what the memory and the bottleneck make of it; then the memory takes it up.
///
/// `x` is scratch, one vector for each block; it holds the features' errors afterwards.
#[inline(always)]
pub fn step(packed: &Packed, state: &mut State, row: &[f32], x: &mut [[f32; LANES]]) -> f32 {
    let (hidden, cell) = state.unpack(packed.model);
    standardise(packed, row, x);
    let sums = gate_sums(packed, x.as_flattened(), &hidden);
    let code = squeeze(packed, x.as_flattened(), &hidden);
    let error = judge(packed, &code, &hidden, x);
    update(&sums, &cell, packed.model, state);
    error
}

#[inline(always)]
fn standardise(packed: &Packed, row: &[f32], x: &mut [[f32; LANES]]) {
    for ((x, values), scaling) in x.iter_mut().zip(row.chunks(LANES)).zip(&packed.scaling) {
        let mut padded = scaling.center.0;
        match values.first_chunk::<LANES>() {
            Some(whole) => padded = *whole,
            None => padded[..values.len()].copy_from_slice(values),
        }
        for (lane, x) in x.iter_mut().enumerate() {
            let value = (padded[lane] - scaling.center.0[lane]) * scaling.inverse_spread.0[lane];
            // A missing value is an ordinary one.
            let value = if value.is_nan() { 0.0 } else { value };
            let value = if value > -CLIP { value } else { -CLIP };
            *x = if value < CLIP { value } else { CLIP };
        }
    }
}

#[inline(always)]
fn gate_sums(packed: &Packed, x: &[f32], hidden: &[f32; HIDDEN]) -> [f32; GATES * HIDDEN] {
    let mut sums = packed.gates[0].0;
    let (from_features, from_cells) = packed.gates[1..].split_at(packed.features);
    accumulate(&mut sums, from_features, x, |weights| &weights.0);
    accumulate(&mut sums, from_cells, hidden, |weights| &weights.0);
    sums
}

#[inline(always)]
fn squeeze(packed: &Packed, x: &[f32], hidden: &[f32; HIDDEN]) -> [f32; CODE] {
    let Some((bias, rows)) = packed.squeeze.split_first() else { return [0.0; CODE] };
    let (from_features, from_cells) = rows.split_at(packed.features);
    // Two chains of sums instead of one, so that they need not wait for one another.
    let (mut first, mut second) = (*bias, [0.0; CODE]);
    accumulate(&mut first, from_features, x, |weights| weights);
    accumulate(&mut second, from_cells, hidden, |weights| weights);
    std::array::from_fn(|unit| tanh(first[unit] + second[unit]))
}

/// Adds rows of weights times their values, in their order. Several rows at a time, so that sums are read and written less often.
#[inline(always)]
fn accumulate<T, const WIDTH: usize>(sums: &mut [f32; WIDTH], rows: &[T], values: &[f32], of: impl Fn(&T) -> &[f32; WIDTH]) {
    let (groups, rest) = rows.as_chunks::<ROWS>();
    let (group_values, rest_values) = values[..rows.len()].as_chunks::<ROWS>();
    for (rows, values) in groups.iter().zip(group_values) {
        for (unit, sum) in sums.iter_mut().enumerate() {
            *sum = rows.iter().zip(values).fold(*sum, |sum, (row, value)| of(row)[unit].mul_add(*value, sum));
        }
    }
    for (row, value) in rest.iter().zip(rest_values) {
        for (sum, weight) in sums.iter_mut().zip(of(row)) {
            *sum = weight.mul_add(*value, *sum);
        }
    }
}

/// Leaves each feature's error in `x` and gives their mean cost: Huber's, twice.
#[inline(always)]
fn judge(packed: &Packed, code: &[f32; CODE], hidden: &[f32; HIDDEN], x: &mut [[f32; LANES]]) -> f32 {
    let mut costs = [0.0_f32; LANES];
    for ((x, weights), scaling) in x.iter_mut().zip(&packed.decode).zip(&packed.scaling) {
        let (mut first, mut second) = (weights[0].0, [0.0; LANES]);
        let (from_code, from_cells) = weights[1..].split_at(CODE);
        accumulate(&mut first, from_code, code, |weights| &weights.0);
        accumulate(&mut second, from_cells, hidden, |weights| &weights.0);
        for lane in 0..LANES {
            let error = (x[lane] - (first[lane] + second[lane])) * scaling.inverse_error.0[lane];
            let size = error.abs();
            let small = if size < QUADRATIC { size } else { QUADRATIC };
            costs[lane] += small * (size + size - small);
            x[lane] = error;
        }
    }
    // Halves are added to halves, as vectors would.
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            costs[lane] += costs[lane + half];
        }
    }
    costs[0] / packed.features as f32
}

#[inline(always)]
fn update(sums: &[f32; GATES * HIDDEN], cell: &[f32; HIDDEN], model: u32, state: &mut State) {
    let mut next_cell = [0.0; HIDDEN];
    let mut next_hidden = [0.0; HIDDEN];
    for unit in 0..HIDDEN {
        let taken = sigmoid_of_twice(sums[unit]) * tanh(sums[3 * HIDDEN + unit]);
        next_cell[unit] = sigmoid_of_twice(sums[HIDDEN + unit]).mul_add(cell[unit], taken);
    }
    for unit in 0..HIDDEN {
        next_hidden[unit] = sigmoid_of_twice(sums[2 * HIDDEN + unit]) * tanh(next_cell[unit]);
    }
    state.pack(model, &next_hidden, &next_cell);
}

/// [`step`] for several entities, compiled for what every machine has.
pub fn steps_portable(packed: &Packed, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32]) {
    steps(packed, states, rows, errors);
}

/// The body of every kernel. Rows that are not as wide as the network are a bug of the caller.
#[inline(always)]
pub fn steps(packed: &Packed, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32]) {
    if let [_] = packed.scaling.as_slice() {
        let mut x = [[0.0; LANES]; 1];
        each(packed, states, rows, errors, &mut x);
    } else {
        let mut x = vec![[0.0; LANES]; packed.scaling.len()];
        each(packed, states, rows, errors, &mut x);
    }
}

#[inline(always)]
fn each(packed: &Packed, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32], x: &mut [[f32; LANES]]) {
    for ((state, row), error) in states.iter_mut().zip(rows).zip(errors) {
        *error = step(packed, state, row, x);
    }
}
