//! Raw scores of some rows by detector, and what calibrations are made of them.

use std::collections::BTreeMap;

use crate::core::detect::forest::NAME as FOREST_NAME;
use crate::core::detect::{BOOSTED_TREES, LSTM_AUTOENCODER, NAMES};
use crate::core::ensemble::{Calibration, Column, Ensemble, Unit};

/// Rows of other entities that a calibration needs.
const UNSEEN_MIN: usize = 200;

/// Values of some rows, column after column.
pub(super) struct Columns {
    pub rows: usize,
    pub raw: Vec<f32>,
    /// Rows of entities that no model was fitted on.
    pub unseen: Vec<bool>,
    /// When each row was seen, and whether drift is measured against it.
    pub order: Vec<u64>,
    pub compared: Vec<bool>,
}

impl Columns {
    pub fn column(&self, index: usize) -> &[f32] {
        &self.raw[index * self.rows..(index + 1) * self.rows]
    }

    pub fn joined(halves: &[Self; 2], width: usize) -> Self {
        let raw = (0..width).flat_map(|c| halves.iter().flat_map(move |half| half.column(c))).copied().collect();
        let unseen = halves.iter().flat_map(|half| half.unseen.iter().copied()).collect();
        let order = halves.iter().flat_map(|half| half.order.iter().copied()).collect();
        let compared = halves.iter().flat_map(|half| half.compared.iter().copied()).collect();
        Self { rows: halves.iter().map(|half| half.rows).sum(), raw, unseen, order, compared }
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
                let mut scores = self.unseen_column(index, &column.name);
                (column.name.clone(), Calibration::fit(&mut scores, unit))
            })
            .collect()
    }

    /// Trees know the rows they were fitted to by heart: what they say of others is what counts, where there are enough of those.
    pub fn unseen_column(&self, index: usize, name: &str) -> Vec<f32> {
        if name != NAMES[BOOSTED_TREES] {
            return self.column(index).to_vec();
        }
        let unseen: Vec<f32> =
            self.column(index).iter().zip(&self.unseen).filter(|(_, unseen)| **unseen).map(|(score, _)| *score).collect();
        if unseen.len() >= UNSEEN_MIN { unseen } else { self.column(index).to_vec() }
    }

    /// The rows that drift is measured against, in order of time; of what trees say, those of entities that they were not fitted on.
    pub fn compared(&self, name: &str) -> Vec<usize> {
        let only_unseen = name == NAMES[BOOSTED_TREES] && self.unseen.iter().filter(|unseen| **unseen).count() >= UNSEEN_MIN;
        let mut rows: Vec<usize> = (0..self.rows).filter(|row| self.compared[*row] && (!only_unseen || self.unseen[*row])).collect();
        rows.sort_unstable_by_key(|row| self.order[*row]);
        rows
    }

    /// The surprises that an ensemble sees in these raw scores.
    pub fn judged_by(&self, ensemble: &Ensemble) -> Self {
        let mut parts = vec![0.0; self.raw.len()];
        ensemble.combine(&self.raw, &[], &mut parts, &mut vec![0.0; self.rows]);
        Self { rows: self.rows, raw: parts, unseen: self.unseen.clone(), order: self.order.clone(), compared: self.compared.clone() }
    }
}
