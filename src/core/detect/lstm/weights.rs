//! What was learned, as it is kept: shapes and numbers, checked when they are read. Must never panic on numbers from outside.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::{LSTM_HIDDEN_MAX, LSTM_INPUTS_MAX};

/// Larger numbers are no weights of a network that was trained to any use; they keep all sums finite.
const WEIGHT_MAX: f32 = 1e4;

/// The sizes of a network's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Shape {
    /// Features of a row, or symbols of an alphabet.
    pub inputs: usize,
    /// Cells of the memory.
    pub hidden: usize,
    /// Units of the bottleneck; 0 for a network that only predicts.
    pub code: usize,
}

/// One list of numbers: three matrices, each with its bias as the first row.
///
/// - gates, `(1 + inputs + hidden) x 4 hidden`: input, forget, output, candidate;
/// - squeeze, `(1 + inputs + hidden) x code`;
/// - decode, `(1 + code + hidden) x inputs`.
impl Shape {
    #[must_use]
    pub fn gates(&self) -> Range<usize> {
        0..(1 + self.inputs + self.hidden) * 4 * self.hidden
    }
    #[must_use]
    pub fn squeeze(&self) -> Range<usize> {
        let start = self.gates().end;
        start..start + (1 + self.inputs + self.hidden) * self.code
    }
    #[must_use]
    pub fn decode(&self) -> Range<usize> {
        let start = self.squeeze().end;
        start..start + (1 + self.code + self.hidden) * self.inputs
    }
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.decode().end
    }

    fn check(&self) -> Result<()> {
        let sound = (1..=LSTM_INPUTS_MAX).contains(&self.inputs) && (1..=LSTM_HIDDEN_MAX).contains(&self.hidden);
        if sound && self.code <= self.hidden {
            return Ok(());
        }
        let Self { inputs, hidden, code } = self;
        Err(Error::config(format!(
            "LSTM is not usable: {inputs} inputs, {hidden} cells and {code} units between them; it may have {LSTM_INPUTS_MAX} inputs, \
             {LSTM_HIDDEN_MAX} cells and no more units than cells"
        )))
    }
}

/// The layers of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Layers {
    pub shape: Shape,
    /// As [`Shape`] describes.
    pub parameters: Vec<f32>,
}

impl Layers {
    /// The layers, if the numbers are those of such a network.
    pub fn checked(self) -> Result<Self> {
        self.shape.check()?;
        let expected = self.shape.parameters();
        if self.parameters.len() != expected {
            return Err(Error::config(format!("LSTM is not usable: {} numbers instead of {expected}", self.parameters.len())));
        }
        finite(&self.parameters, "a weight")?;
        Ok(self)
    }
}

/// Layers with how features are standardised before them and errors after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RowWeights {
    pub layers: Layers,
    /// What is taken from each feature, and what the rest is multiplied with.
    pub center: Vec<f32>,
    pub inverse_spread: Vec<f32>,
    /// What each feature's error is multiplied with.
    pub inverse_error: Vec<f32>,
}

impl RowWeights {
    pub fn checked(self) -> Result<Self> {
        let layers = self.layers.checked()?;
        for (name, values) in [("center", &self.center), ("spread", &self.inverse_spread), ("error", &self.inverse_error)] {
            if values.len() != layers.shape.inputs {
                return Err(Error::config(format!("LSTM is not usable: {} numbers for each feature's {name}", values.len())));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::config(format!("LSTM is not usable: a feature's {name} is not a number")));
            }
        }
        Ok(Self { layers, ..self })
    }
}

fn finite(values: &[f32], what: &str) -> Result<()> {
    if values.iter().all(|value| value.abs() <= WEIGHT_MAX) {
        return Ok(());
    }
    Err(Error::config(format!("LSTM is not usable: {what} is not a number within {WEIGHT_MAX}; train it again")))
}
