//! LSTM autoencoder: what an entity does, compared with what its own past makes probable.
//!
//! Source of the cell: Gers, Schmidhuber, Cummins, "Learning to Forget: Continual Prediction with LSTM", 2000. A row is rebuilt
//! from the memory before it and, where the network has one, from a narrow bottleneck of the row itself; without the latter it is a
//! prediction. The error is the score; then the memory takes the row up. One step an event, nothing is computed again. Inference
//! only; training is `models::lstm_fit`. Must never panic on any row.

mod detector;
pub mod kernel;
mod state;
mod symbols;
pub mod tanh;
mod weights;

#[cfg(test)]
mod tests;

pub use detector::LstmDetector;
pub use state::{Cells, STATE_BYTES, State};
pub use symbols::{SymbolNetwork, TraceState};
pub use weights::{Layers, RowWeights, Shape};

use crate::error::{Error, Result};
use crate::native::{Kernel, lstm_steps};
use kernel::{CODE, GateWeights, HIDDEN, LANES, Lanes, Packed, Scaling};

/// Two with the same weights are the same.
impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        self.weights == other.weights
    }
}

/// An autoencoder of rows, ready to score.
#[derive(Clone, Debug)]
pub struct Network {
    weights: RowWeights,
    packed: Packed,
    kernel: Kernel,
}

impl Network {
    /// Refuses weights that are not those of such a network: 32 cells, and a bottleneck of 8 units or none.
    pub fn new(weights: RowWeights) -> Result<Self> {
        let weights = weights.checked()?;
        let shape = weights.layers.shape;
        if shape.hidden != HIDDEN || ![0, CODE].contains(&shape.code) {
            return Err(Error::config(format!(
                "LSTM is not usable: {} cells and {} units between; a network of rows has {HIDDEN} and {CODE} or none",
                shape.hidden, shape.code
            )));
        }
        Ok(Self { packed: pack(&weights), weights, kernel: Kernel::best() })
    }

    #[must_use]
    pub fn weights(&self) -> &RowWeights {
        &self.weights
    }
    /// Features of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.packed.features
    }
    /// The number that states of this network carry, derived from its weights; never 0.
    #[must_use]
    pub fn model(&self) -> u32 {
        self.packed.model
    }
    /// The same network on a named kernel, for comparisons.
    #[must_use]
    pub fn on(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// The error of a row given what the entity did before; then the state takes the row up.
    ///
    /// About 1 for ordinary rows. NaN counts as ordinary. A state of another network counts as new.
    ///
    /// # Panics
    /// When the row has another width: a bug of the caller.
    pub fn step(&self, state: &mut State, row: &[f32]) -> f32 {
        let mut error = 0.0;
        self.steps(&mut [state], &[row], std::array::from_mut(&mut error));
        error
    }

    /// [`Self::step`] for several entities, each with its own row; the same bits.
    ///
    /// # Panics
    /// When the lists differ in length or a row in width.
    pub fn steps(&self, states: &mut [&mut State], rows: &[&[f32]], errors: &mut [f32]) {
        assert!(states.len() == rows.len() && rows.len() == errors.len(), "one row and one error a state");
        assert!(rows.iter().all(|row| row.len() == self.width()), "a row of another width");
        lstm_steps(self.kernel, &self.packed, states, rows, errors);
    }

    /// Each feature's error in units of its usual one, with its sign: what an explanation shows. The state stays as it is.
    ///
    /// # Panics
    /// When the row has another width.
    #[must_use]
    pub fn errors(&self, state: &State, row: &[f32]) -> Vec<f32> {
        assert_eq!(row.len(), self.width(), "a row of another width");
        let mut x = vec![[0.0; LANES]; self.packed.scaling.len()];
        let mut unused = *state;
        kernel::step(&self.packed, &mut unused, row, &mut x);
        x.as_flattened()[..self.width()].to_vec()
    }
}

/// What the network expected in place of each feature whose error is known, in the feature's own unit.
impl Network {
    #[must_use]
    pub fn expected(&self, errors: &[f32], row: &[f32]) -> Vec<f32> {
        let RowWeights { center, inverse_spread, inverse_error, .. } = &self.weights;
        let expected = |feature: usize| {
            if (inverse_spread[feature] * inverse_error[feature]).abs() <= 0.0 {
                // Not looked at: anything was as good.
                return row[feature];
            }
            let x = ((row[feature] - center[feature]) * inverse_spread[feature]).clamp(-kernel::CLIP, kernel::CLIP);
            let x = if x.is_nan() { 0.0 } else { x };
            center[feature] + (x - errors[feature] / inverse_error[feature]) / inverse_spread[feature]
        };
        (0..self.width().min(errors.len())).map(expected).collect()
    }
}

fn pack(weights: &RowWeights) -> Packed {
    let Layers { shape, parameters } = &weights.layers;
    let gates = parameters[shape.gates()].chunks_exact(4 * HIDDEN).map(|row| {
        // The sigmoid gates are halved, which is exact: `sigmoid_of_twice` doubles them again.
        GateWeights(std::array::from_fn(|sum| row[sum] * if sum < 3 * HIDDEN { 0.5 } else { 1.0 }))
    });
    let squeeze = parameters[shape.squeeze()].as_chunks::<CODE>().0.to_vec();
    let blocks = shape.inputs.div_ceil(LANES);
    let decode_rows: Vec<&[f32]> = parameters[shape.decode()].chunks_exact(shape.inputs).collect();
    let decode = (0..blocks).map(|block| {
        std::array::from_fn(|row| {
            // Without a bottleneck the rows of its units are zeros.
            let row =
                if row > CODE || shape.code > 0 { Some(row - if shape.code == 0 { CODE } else { 0 }) } else { (row == 0).then_some(0) };
            row.map_or(Lanes::default(), |row| lanes(decode_rows[row], block, 0.0))
        })
    });
    let scaling = (0..blocks).map(|block| Scaling {
        center: lanes(&weights.center, block, 0.0),
        inverse_spread: lanes(&weights.inverse_spread, block, 0.0),
        inverse_error: lanes(&weights.inverse_error, block, 0.0),
    });
    Packed {
        features: shape.inputs,
        model: model_of(weights),
        scaling: scaling.collect(),
        gates: gates.collect(),
        squeeze,
        decode: decode.collect(),
    }
}

/// 16 values of a block; what is beyond the features is `padding`.
fn lanes(values: &[f32], block: usize, padding: f32) -> Lanes {
    Lanes(std::array::from_fn(|lane| values.get(block * LANES + lane).copied().unwrap_or(padding)))
}

fn model_of(weights: &RowWeights) -> u32 {
    let mut hash = blake3::Hasher::new();
    let Shape { inputs, hidden, code } = weights.layers.shape;
    for size in [inputs, hidden, code] {
        hash.update(&(size as u64).to_le_bytes());
    }
    for list in [&weights.layers.parameters, &weights.center, &weights.inverse_spread, &weights.inverse_error] {
        for value in list {
            hash.update(&value.to_bits().to_le_bytes());
        }
    }
    let bytes = hash.finalize();
    let word = bytes.as_bytes().first_chunk::<4>().map_or(1, |four| u32::from_le_bytes(*four));
    word.max(1)
}
