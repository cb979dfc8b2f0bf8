//! How improbable a row is under a few Gaussian clusters of benign rows.
//!
//! Clusters by k-means; each with its full covariance and a ridge, which keeps directions in which benign rows hardly vary from
//! deciding alone. Several mixtures with different numbers of clusters are averaged. Must never meet a matrix that has no root:
//! the ridge prevents it.

use super::linear::{self, squared_distance};
use super::wire::{Reader, Writer};
use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::random::Random;

/// Clusters of the mixtures, as far as there are rows for them; each from other starts.
const CLUSTERS: [usize; 9] = [3, 4, 5, 3, 4, 5, 3, 4, 5];
/// Added to each variance of normal scores.
const RIDGE: f64 = 0.7;
/// Columns at most: those that vary most.
const WIDTH_MAX: usize = 256;
const ROUNDS_MAX: usize = 30;
/// Rows that clusters are looked for in; the covariances are of all rows.
const CLUSTER_ROWS_MAX: usize = 20_000;
const LANES: usize = 8;

/// Mixtures over the same columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixtures {
    width: usize,
    columns: Vec<u32>,
    mixtures: Vec<Vec<Gaussian>>,
}

/// A cluster: its centre, the inverse of its covariance's Cholesky factor by rows, and what its density begins with.
#[derive(Clone, Debug, PartialEq)]
struct Gaussian {
    centre: Vec<f32>,
    /// Lower triangle, row after row, each padded to whole lanes.
    whitener: Vec<f32>,
    log_weight: f64,
}

impl Mixtures {
    /// Fits to rows of finite numbers.
    #[must_use]
    pub fn fit(rows: &Matrix, seed: u64) -> Self {
        let columns = linear::widest(rows, WIDTH_MAX);
        let narrow = linear::chosen(rows, &columns);
        let mut random = Random::new(seed);
        let mixtures = CLUSTERS.iter().map(|k| fit(&narrow, *k, &mut random)).collect();
        Self { width: rows.width(), columns, mixtures }
    }

    /// Negative log-densities, averaged over the mixtures; higher is odder.
    #[must_use]
    pub fn scores(&self, rows: &Matrix) -> Vec<f32> {
        assert_eq!(rows.width(), self.width, "rows of the mixtures' width");
        let mut centred = vec![0.0; padded(self.columns.len())];
        let mut row = vec![0.0; self.columns.len()];
        rows.iter()
            .map(|wide| {
                row.iter_mut().zip(&self.columns).for_each(|(v, c)| *v = wide[*c as usize]);
                let sum: f64 = self.mixtures.iter().map(|mixture| log_density(mixture, &row, &mut centred)).sum();
                (-sum / self.mixtures.len() as f64) as f32
            })
            .collect()
    }

    pub fn write(&self, out: &mut Writer) {
        out.word(self.width as u32);
        out.words(self.columns.iter().copied());
        out.words(self.mixtures.iter().map(|mixture| mixture.len() as u32));
        for Gaussian { centre, whitener, log_weight } in self.mixtures.iter().flatten() {
            out.floats(centre.iter().copied());
            out.floats(whitener.iter().copied());
            out.double(*log_weight);
        }
    }

    /// # Errors
    /// `Config`: not what [`Self::write`] writes.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (width, columns, sizes) = (from.word()? as usize, from.words()?, from.words()?);
        let cells = (0..columns.len()).map(|row| padded(row + 1)).sum::<usize>();
        let mut mixtures = Vec::new();
        for size in &sizes {
            let mut mixture = Vec::new();
            for _ in 0..*size {
                let gaussian = Gaussian { centre: from.floats()?, whitener: from.floats()?, log_weight: from.double()? };
                let finite = gaussian.centre.iter().chain(&gaussian.whitener).all(|v| v.is_finite()) && gaussian.log_weight.is_finite();
                if gaussian.centre.len() != columns.len() || gaussian.whitener.len() != cells || !finite {
                    return Err(damaged());
                }
                mixture.push(gaussian);
            }
            mixtures.push(mixture);
        }
        let sound = columns.len() <= WIDTH_MAX && columns.iter().all(|c| (*c as usize) < width);
        if !sound || mixtures.is_empty() || mixtures.iter().any(Vec::is_empty) {
            return Err(damaged());
        }
        Ok(Self { width, columns, mixtures })
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
}

fn damaged() -> Error {
    Error::config("the Gaussian mixtures are damaged; train the model again")
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(LANES)
}

fn fit(rows: &Matrix, clusters: usize, random: &mut Random) -> Vec<Gaussian> {
    let centres = k_means(rows, clusters.min(rows.rows().div_ceil(8)).max(1), random);
    let of: Vec<usize> = rows.iter().map(|row| nearest(&centres, row)).collect();
    let mut mixture = Vec::new();
    for cluster in 0..centres.rows() {
        let members: Vec<usize> = (0..rows.rows()).filter(|row| of[*row] == cluster).collect();
        if members.len() >= 2 || centres.rows() == 1 {
            mixture.push(gaussian(rows, &members));
        }
    }
    if mixture.is_empty() { vec![gaussian(rows, &(0..rows.rows()).collect::<Vec<_>>())] } else { mixture }
}

fn nearest(centres: &Matrix, row: &[f32]) -> usize {
    let mut best = (0, f32::INFINITY);
    for (place, centre) in centres.iter().enumerate() {
        let distance = squared_distance(centre, row);
        if distance < best.1 {
            best = (place, distance);
        }
    }
    best.0
}

/// Centres by Lloyd's rounds from k-means++ starts (Arthur, Vassilvitskii, SODA 2007), on a sample.
fn k_means(rows: &Matrix, clusters: usize, random: &mut Random) -> Matrix {
    let sample = if rows.rows() > CLUSTER_ROWS_MAX {
        rows.select((0..CLUSTER_ROWS_MAX).map(|_| random.below(rows.rows() as u64) as usize).collect::<Vec<_>>())
    } else {
        rows.clone()
    };
    let mut centres = Matrix::new(sample.width());
    centres.push(sample.row(random.below(sample.rows() as u64) as usize));
    let mut distances: Vec<f64> = vec![f64::INFINITY; sample.rows()];
    while centres.rows() < clusters {
        let last = centres.row(centres.rows() - 1).to_vec();
        for (distance, row) in distances.iter_mut().zip(sample.iter()) {
            *distance = distance.min(f64::from(squared_distance(&last, row)));
        }
        let mut left = random.unit() * distances.iter().sum::<f64>();
        let pick = distances.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        let Some(pick) = pick else { break };
        centres.push(sample.row(pick));
    }
    let mut of = vec![usize::MAX; sample.rows()];
    for _ in 0..ROUNDS_MAX {
        let mut sums = vec![0.0_f64; centres.rows() * sample.width()];
        let mut counts = vec![0_u32; centres.rows()];
        let mut moved = false;
        for (row, of) in sample.iter().zip(&mut of) {
            let place = nearest(&centres, row);
            moved |= *of != place;
            *of = place;
            counts[place] += 1;
            sums[place * row.len()..][..row.len()].iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        if !moved {
            break;
        }
        let mut next = Matrix::new(sample.width());
        for (place, (sum, count)) in sums.chunks_exact(sample.width()).zip(&counts).enumerate() {
            let mean: Vec<f32> = sum.iter().map(|s| (s / f64::from((*count).max(1))) as f32).collect();
            next.push(if *count == 0 { centres.row(place) } else { &mean });
        }
        centres = next;
    }
    centres
}

fn gaussian(rows: &Matrix, members: &[usize]) -> Gaussian {
    let width = rows.width();
    let centre = linear::mean(rows, members);
    let mut covariance = linear::covariance(rows, members, &centre, RIDGE);
    let log_root = linear::cholesky(&mut covariance, width, RIDGE);
    let whitener = in_lanes(&linear::inverted(&covariance, width), width);
    let log_weight = libm::log(members.len().max(1) as f64 / rows.rows().max(1) as f64) - log_root;
    Gaussian { centre: centre.iter().map(|c| *c as f32).collect(), whitener, log_weight }
}

/// A lower triangle's rows, each padded to whole lanes.
fn in_lanes(lower: &[f64], width: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for i in 0..width {
        rows.extend(lower[i * width..i * width + i + 1].iter().map(|v| *v as f32));
        rows.resize(rows.len().next_multiple_of(LANES), 0.0);
    }
    rows
}

/// `ln sum w_i N(row; i)` without the constant of the normal density.
fn log_density(mixture: &[Gaussian], row: &[f32], centred: &mut [f32]) -> f64 {
    let mut densities = [f64::NEG_INFINITY; 16];
    for (density, gaussian) in densities.iter_mut().zip(mixture) {
        centred.iter_mut().zip(row).zip(&gaussian.centre).for_each(|((d, v), c)| *d = v - c);
        *density = gaussian.log_weight - f64::from(whitened_square(gaussian, centred, row.len())) / 2.0;
    }
    let highest = densities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    highest + libm::log(densities.iter().map(|density| libm::exp(density - highest)).sum::<f64>())
}

fn whitened_square(gaussian: &Gaussian, centred: &[f32], width: usize) -> f32 {
    let mut whitener = gaussian.whitener.as_chunks::<LANES>().0;
    let centred = centred.as_chunks::<LANES>().0;
    let mut square = 0.0;
    for row in 0..width {
        let (line, rest) = whitener.split_at(padded(row + 1) / LANES);
        whitener = rest;
        let mut sums = [0.0_f32; LANES];
        for (a, b) in line.iter().zip(centred) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let sum: f32 = sums.iter().sum();
        square += sum * sum;
    }
    square
}

#[cfg(test)]
mod tests;
