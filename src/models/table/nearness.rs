//! How far a row lies from the nearest known attack and from the nearest known benign row.
//!
//! What trees say of a row is worth as much as the rows are alike that they learned it from: between known rows they cut at will, and
//! are as sure of what they never saw. Distances are Euclidean over logarithms of the columns, each in units of its spread. They are
//! compared with those of held-out rows of the same kind, so that no unit is left. Must never depend on the order of rows, nor say that
//! something is near because a value is missing everywhere.

use super::linear::squared_distance;
use super::wire::{Reader, Writer};
use crate::core::ensemble::{Calibration, Unit};
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::random::Random;

/// Values of the rows that are kept of each kind; more rows make distances a little smaller and take longer.
const VALUES_MAX: usize = 1 << 20;
/// Columns that vary less, beside their mean, are taken as not varying.
const SPREAD_MIN: f64 = 1e-12;

/// A row is near where as many held-out rows of the kind lie as far out: from the first share of them not at all, from the second fully.
const ATTACKS_FROM: f32 = 0.045;
const ATTACKS_FULL: f32 = 0.07;
const BENIGN_FROM: f32 = 0.02;
const BENIGN_FULL: f32 = 0.03;

/// Known rows of both kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    centre: Vec<f32>,
    unit: Vec<f32>,
    attacks: Neighbours,
    benign: Neighbours,
}

/// Distances of rows to the nearest known attack and the nearest known benign row; empty where none are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distances {
    pub attacks: Vec<f32>,
    pub benign: Vec<f32>,
}

/// What a row's distances mean, by held-out attacks and held-out benign rows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nearness {
    attacks: Calibration,
    benign: Calibration,
}

/// How far a row is like known ones, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Near {
    pub attacks: f32,
    pub benign: f32,
}

impl Distances {
    /// How near known rows are to a row; far where nothing is known of that.
    #[must_use]
    pub fn near(&self, nearness: Option<&Nearness>, row: usize) -> Near {
        let known = nearness.zip(self.attacks.get(row).zip(self.benign.get(row)));
        known.map_or_else(Near::default, |(nearness, (attacks, benign))| nearness.of(*attacks, *benign))
    }
}

impl Known {
    /// Keeps some rows of each kind; both must be there.
    #[must_use]
    pub fn fit(rows: &Matrix, attack: &[bool], seed: u64) -> Self {
        let (centre, unit) = spread(rows);
        let mut random = Random::new(seed);
        let mut of = |kind: bool| {
            let mut chosen: Vec<usize> = (0..attack.len()).filter(|row| attack[*row] == kind).collect();
            let most = (VALUES_MAX / rows.width()).max(1);
            for place in 0..most.min(chosen.len()) {
                let other = place + random.below((chosen.len() - place) as u64) as usize;
                chosen.swap(place, other);
            }
            chosen.truncate(most);
            let mut scaled = Matrix::new(rows.width());
            let mut row = vec![0.0; rows.width()];
            for place in chosen {
                scale(rows.row(place), &centre, &unit, &mut row);
                scaled.push(&row);
            }
            Neighbours::of(&scaled)
        };
        let (attacks, benign) = (of(true), of(false));
        Self { centre, unit, attacks, benign }
    }

    #[must_use]
    pub fn distances(&self, rows: &Matrix) -> Distances {
        assert_eq!(rows.width(), self.centre.len(), "rows of the known rows' width");
        let mut out = Distances::default();
        let (mut row, mut order) = (vec![0.0; rows.width()], Vec::new());
        for wide in rows.iter() {
            scale(wide, &self.centre, &self.unit, &mut row);
            out.attacks.push(self.attacks.nearest(&row, &mut order));
            out.benign.push(self.benign.nearest(&row, &mut order));
        }
        out
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.centre.len()
    }

    pub fn write(&self, out: &mut Writer) {
        out.floats(self.centre.iter().copied());
        out.floats(self.unit.iter().copied());
        self.attacks.write(out);
        self.benign.write(out);
    }

    /// # Errors
    /// `Config`: not what [`Self::write`] writes.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (centre, unit) = (from.floats()?, from.floats()?);
        let finite = centre.iter().chain(&unit).all(|v| v.is_finite());
        if !finite || centre.is_empty() || centre.len() != unit.len() {
            return Err(damaged());
        }
        let attacks = Neighbours::read(from, centre.len())?;
        let benign = Neighbours::read(from, centre.len())?;
        Ok(Self { centre, unit, attacks, benign })
    }
}

impl Nearness {
    /// Learns from the distances of held-out rows.
    #[must_use]
    pub fn learn(held_out: &Distances, attack: &[bool]) -> Self {
        let of = |distances: &[f32], kind: bool| {
            let mut own: Vec<f32> = distances.iter().zip(attack).filter(|(_, attack)| **attack == kind).map(|(d, _)| *d).collect();
            Calibration::fit(&mut own, Unit::Sum)
        };
        Self { attacks: of(&held_out.attacks, true), benign: of(&held_out.benign, false) }
    }

    #[must_use]
    pub fn of(&self, attacks: f32, benign: f32) -> Near {
        let gate = |calibration: &Calibration, distance: f32, from: f32, full: f32| {
            let share = libm::expf(-calibration.surprise(distance));
            ((share - from) / (full - from)).clamp(0.0, 1.0)
        };
        Near {
            attacks: gate(&self.attacks, attacks, ATTACKS_FROM, ATTACKS_FULL),
            benign: gate(&self.benign, benign, BENIGN_FROM, BENIGN_FULL),
        }
    }
}

fn damaged() -> Error {
    Error::config("the known rows are damaged; train the model again")
}

/// The logarithm of a value's size, with its sign.
fn logarithm(value: f32) -> f32 {
    libm::log1pf(value.abs()).copysign(value)
}

/// A row in units of spread; a missing value is the mean.
fn scale(row: &[f32], centre: &[f32], unit: &[f32], out: &mut [f32]) {
    for ((out, value), (centre, unit)) in out.iter_mut().zip(row).zip(centre.iter().zip(unit)) {
        *out = if value.is_nan() { 0.0 } else { (logarithm(*value) - centre) * unit };
    }
}

/// The mean of each column's logarithms, and one by their spread: nothing where they do not vary.
fn spread(rows: &Matrix) -> (Vec<f32>, Vec<f32>) {
    let width = rows.width();
    let (mut counts, mut sums, mut squares) = (vec![0.0_f64; width], vec![0.0_f64; width], vec![0.0_f64; width]);
    for row in rows.iter() {
        for (column, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let value = f64::from(logarithm(*value));
            counts[column] += 1.0;
            sums[column] += value;
            squares[column] += value * value;
        }
    }
    let mean = |column: usize| sums[column] / counts[column].max(1.0);
    let unit = |column: usize| {
        let mean = mean(column);
        let variance = squares[column] / counts[column].max(1.0) - mean * mean;
        // Rounding leaves a little variance where there is none.
        if variance > SPREAD_MIN * (1.0 + mean * mean) { (1.0 / libm::sqrt(variance)) as f32 } else { 0.0 }
    };
    ((0..width).map(|column| mean(column) as f32).collect(), (0..width).map(unit).collect())
}

/// Rows around as many centres as the root of their number, so that a search looks at few: a row that lies much nearer to a centre than
/// another, or much farther from it, cannot lie near that other.
#[derive(Clone, Debug, PartialEq)]
struct Neighbours {
    centres: Matrix,
    /// Rows centre after centre, each centre's by their distance to it.
    rows: Matrix,
    distances: Vec<f32>,
    starts: Vec<usize>,
}

impl Neighbours {
    /// Of at least one row.
    fn of(rows: &Matrix) -> Self {
        let count = (libm::sqrt(rows.rows() as f64) as usize).max(1);
        let centres = rows.select(0..count.min(rows.rows()));
        let mut places: Vec<(usize, f32, usize)> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let nearest = |best: (usize, f32), (centre, own): (usize, &[f32])| {
                    let square = squared_distance(own, row);
                    if square < best.1 { (centre, square) } else { best }
                };
                let (centre, square) = centres.iter().enumerate().fold((0, f32::INFINITY), nearest);
                (centre, libm::sqrtf(square), place)
            })
            .collect();
        places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let starts = (0..=centres.rows()).map(|centre| places.partition_point(|place| place.0 < centre)).collect();
        let distances = places.iter().map(|place| place.1).collect();
        Self { rows: rows.select(places.iter().map(|place| place.2)), centres, distances, starts }
    }

    /// The distance to the nearest row. `order` is room to work in.
    fn nearest(&self, row: &[f32], order: &mut Vec<(f32, usize)>) -> f32 {
        order.clear();
        order.extend(self.centres.iter().enumerate().map(|(centre, own)| (libm::sqrtf(squared_distance(own, row)), centre)));
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut best = f32::INFINITY;
        for (away, centre) in order.iter().copied() {
            let of = &self.distances[self.starts[centre]..self.starts[centre + 1]];
            let middle = of.partition_point(|distance| *distance < away);
            let look = |best: &mut f32, place: usize| -> bool {
                if (of[place] - away).abs() >= *best {
                    return false;
                }
                *best = best.min(libm::sqrtf(squared_distance(self.rows.row(self.starts[centre] + place), row)));
                true
            };
            (middle..of.len()).take_while(|place| look(&mut best, *place)).for_each(drop);
            (0..middle).rev().take_while(|place| look(&mut best, *place)).for_each(drop);
        }
        best
    }

    fn write(&self, out: &mut Writer) {
        out.words(self.starts.iter().map(|start| *start as u32));
        out.floats(self.centres.values().iter().copied());
        out.floats(self.rows.values().iter().copied());
        out.floats(self.distances.iter().copied());
    }

    fn read(from: &mut Reader<'_>, width: usize) -> Result<Self> {
        let starts: Vec<usize> = from.words()?.into_iter().map(|start| start as usize).collect();
        let (centres, rows, distances) = (from.floats()?, from.floats()?, from.floats()?);
        let sized = centres.len() + width == starts.len() * width && rows.len() == distances.len() * width && !distances.is_empty();
        let ordered = starts.first() == Some(&0) && starts.last() == Some(&distances.len()) && starts.is_sorted();
        if !sized || !ordered || centres.iter().chain(&rows).chain(&distances).any(|v| !v.is_finite()) {
            return Err(damaged());
        }
        let matrix = |values: &[f32]| {
            let mut matrix = Matrix::new(width);
            values.chunks_exact(width).for_each(|row| matrix.push(row));
            matrix
        };
        Ok(Self { centres: matrix(&centres), rows: matrix(&rows), distances, starts })
    }
}

#[cfg(test)]
mod tests;
