//! What the autoencoder remembers of one entity: 100 bytes. Must never be read as a state of another network.

use super::kernel::HIDDEN;

/// Bytes of a state wherever it is kept.
pub const STATE_BYTES: usize = 4 + 3 * HIDDEN;
/// Outputs of cells lie in -1..1: steps of 1/127.
const HIDDEN_STEPS: f32 = 127.0;
/// Cells are sums; what exceeds 8 is cut off, where tanh and so the output no longer change. Steps of 1/4096.
const CELL_STEPS: f32 = 4096.0;
const CELL_LIMIT: f32 = 32_767.0 / CELL_STEPS;
/// Adding this leaves the nearest whole number (ties to even) in the lowest bits of the mantissa.
const ROUNDER: f32 = 12_582_912.0;

/// The memory of one entity, quantised after every step, so that what is stored is what is computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// The network it belongs to; 0 for none yet.
    model: u32,
    cells: Cells,
}

/// A memory without the number of its network: 96 bytes, which end with a cache line where a state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cells {
    cell: [i16; HIDDEN],
    hidden: [i8; HIDDEN],
}

impl State {
    /// The memory of the network `model`; 0 for one that nothing is remembered in, whatever the cells.
    #[inline]
    #[must_use]
    pub fn of(model: u32, cells: Cells) -> Self {
        Self { model, cells: if model == 0 { Cells::default() } else { cells } }
    }
    /// The inverse of [`Self::of`].
    #[inline]
    #[must_use]
    pub fn parts(&self) -> (u32, &Cells) {
        (self.model, &self.cells)
    }

    /// Outputs and cells; zeros where the state is another network's.
    #[inline(always)]
    pub(super) fn unpack(&self, model: u32) -> ([f32; HIDDEN], [f32; HIDDEN]) {
        let known = if self.model == model { 1.0 } else { 0.0 };
        let (of_hidden, of_cell) = (known / HIDDEN_STEPS, known / CELL_STEPS);
        (self.cells.hidden.map(|h| f32::from(h) * of_hidden), self.cells.cell.map(|c| f32::from(c) * of_cell))
    }

    #[inline(always)]
    pub(super) fn pack(&mut self, model: u32, hidden: &[f32; HIDDEN], cell: &[f32; HIDDEN]) {
        self.model = model;
        for (kept, value) in self.cells.hidden.iter_mut().zip(hidden) {
            *kept = rounded(value * HIDDEN_STEPS) as i8;
        }
        for (kept, value) in self.cells.cell.iter_mut().zip(cell) {
            let value = if *value < CELL_LIMIT { *value } else { CELL_LIMIT };
            let value = if value > -CELL_LIMIT { value } else { -CELL_LIMIT };
            *kept = rounded(value * CELL_STEPS) as i16;
        }
    }

    /// Model, cells, outputs; little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        let (model, rest) = bytes.split_at_mut(4);
        let (cells, outputs) = rest.split_at_mut(2 * HIDDEN);
        model.copy_from_slice(&self.model.to_le_bytes());
        for (two, cell) in cells.as_chunks_mut::<2>().0.iter_mut().zip(self.cells.cell) {
            *two = cell.to_le_bytes();
        }
        for (byte, output) in outputs.iter_mut().zip(self.cells.hidden) {
            *byte = output.to_le_bytes()[0];
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`]. Every value is a state; one of another network counts as new when it is next used.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Self {
        let mut state = Self::default();
        let (model, rest) = bytes.split_at(4);
        let (cells, outputs) = rest.split_at(2 * HIDDEN);
        state.model = u32::from_le_bytes([model[0], model[1], model[2], model[3]]);
        for (cell, two) in state.cells.cell.iter_mut().zip(cells.as_chunks::<2>().0) {
            *cell = i16::from_le_bytes(*two);
        }
        for (output, byte) in state.cells.hidden.iter_mut().zip(outputs) {
            *output = i8::from_le_bytes([*byte]);
        }
        state
    }

    /// Whether no network has been used on it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.model == 0
    }

    /// Whether it was made by the network with this number.
    #[must_use]
    pub fn is_of(&self, model: u32) -> bool {
        self.model == model
    }
}

/// The nearest whole number of a value within +-2^21, ties to even.
#[inline(always)]
fn rounded(value: f32) -> i32 {
    ((value + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32)
}
