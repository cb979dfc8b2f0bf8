//! Raw scores of some rows by detector, and what calibrations are made of them.

use std::collections::BTreeMap;

use crate::core::detect::forest::NAME as FOREST_NAME;
use crate::core::detect::{LSTM_AUTOENCODER, NAMES};
use crate::core::ensemble::{Calibration, Column, Ensemble, Unit};

/// Values of some rows, column after column.
pub(super) struct Columns {
    pub rows: usize,
    pub raw: Vec<f32>,
}

impl Columns {
    pub fn column(&self, index: usize) -> &[f32] {
        &self.raw[index * self.rows..(index + 1) * self.rows]
    }

    pub fn joined(halves: &[Self; 2], width: usize) -> Self {
        let raw = (0..width).flat_map(|c| halves.iter().flat_map(move |half| half.column(c))).copied().collect();
        Self { rows: halves.iter().map(|half| half.rows).sum(), raw }
    }

    /// `learned` says which columns have something to calibrate.
    pub fn fit(&self, columns: &[Column], learned: &[bool]) -> BTreeMap<String, Calibration> {
        let calibrated = columns.iter().enumerate().filter(|(index, _)| learned[*index]);
        calibrated
            .map(|(index, column)| {
                let unit = match column.name.as_str() {
                    FOREST_NAME => Unit::ForestScore,
                    name if name == NAMES[LSTM_AUTOENCODER] => Unit::Error,
                    _ => Unit::Nats,
                };
                (column.name.clone(), Calibration::fit(&mut self.column(index).to_vec(), unit))
            })
            .collect()
    }

    /// The surprises that an ensemble sees in these raw scores.
    pub fn judged_by(&self, ensemble: &Ensemble) -> Self {
        let mut parts = vec![0.0; self.raw.len()];
        ensemble.combine(&self.raw, &[], &mut parts, &mut vec![0.0; self.rows]);
        Self { rows: self.rows, raw: parts }
    }
}
