//! What drift is measured against: features, scores and p-values of rows in order of time. Decides nothing about how rows are scored.

use std::collections::BTreeMap;

use super::Trainer;
use super::columns::Columns;
use super::figures;
use crate::core::ensemble::{Calibration, Column};
use crate::core::features::row::{ModelRow, Signal};
use crate::models::drift::{Reference, References, usual};

/// Entities known for less are left out: what they do is new to them, and only at the beginning are all of them new.
const AGE_HOURS: f32 = 24.0;
/// Unless less than this share of the rows would be left.
const SHARE_MIN: f64 = 0.25;

impl Trainer {
    /// From which age of their entities rows are compared.
    pub(super) fn compared_from(&self) -> f32 {
        let old = self.signals.iter().filter(|signals| signals[Signal::AgeHours as usize] >= AGE_HOURS).count();
        if self.rows.is_empty() || (old as f64) < SHARE_MIN * self.rows.len() as f64 { 0.0 } else { AGE_HOURS }
    }

    /// Whether a row is of an entity that is old enough.
    pub(super) fn is_compared(&self, row: usize, age_hours: f32) -> bool {
        age_hours <= 0.0 || self.signals.get(row).is_some_and(|signals| signals[Signal::AgeHours as usize] >= age_hours)
    }

    /// `in_time` are all rows, `all` those that calibrations were made of, and `surprises` what was made of those.
    pub(super) fn references(
        &self,
        in_time: &[usize],
        all: &Columns,
        calibrations: &BTreeMap<String, Calibration>,
        surprises: &[f32],
    ) -> References {
        let age_hours = self.compared_from();
        let rows: Vec<&ModelRow> = in_time.iter().filter(|row| self.is_compared(**row, age_hours)).map(|row| &self.rows[*row]).collect();
        let scores = |(index, column): (usize, &Column)| {
            calibrations.get(&column.name)?;
            let values: Vec<f32> = all.compared(&column.name).into_iter().map(|row| all.column(index)[row]).collect();
            Some((column.name.clone(), Reference::in_time(&values)?))
        };
        let nats: Vec<f32> = all.compared("").into_iter().map(|row| surprises[row]).collect();
        References {
            features: figures::features(&rows),
            detectors: self.options.columns.iter().enumerate().filter_map(scores).collect(),
            shares: usual::shares(&nats),
            age_hours,
        }
    }
}
