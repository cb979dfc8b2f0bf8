//! Values as bins: at most 255 a column, one more for missing ones. Must never put two values in an order that they do not have.

use crate::error::{Error, Result};
use crate::models::matrix::Matrix;
use crate::models::random::Random;

/// Slots of a column's histogram: 255 bins and one for missing values.
pub(super) const SLOTS: usize = 256;
/// Rows whose values the cuts are chosen from, at most.
const CUT_ROWS_MAX: usize = 1 << 18;

/// A matrix by bins.
pub(super) struct Binned {
    width: usize,
    /// For each column its cuts, ascending: the bin of a value is how many cuts are at or below it.
    pub cuts: Vec<Vec<f32>>,
    /// Row-major; the last code of a column stands for a missing value.
    codes: Vec<u8>,
    /// The commonest code of each column, which [`Self::rare`] leaves out.
    pub common: Vec<u8>,
    /// For each row the slots, `column * SLOTS + code`, of its codes that are not the commonest ones.
    rare: Vec<u32>,
    starts: Vec<usize>,
}

impl Binned {
    /// Cuts from the rows of `matrix`, exact where a column has few distinct values.
    pub(super) fn of(matrix: &Matrix, bins: usize, random: &mut Random) -> Result<Self> {
        let (width, rows) = (matrix.width(), matrix.rows());
        let bins = bins.clamp(2, SLOTS - 1);
        let chosen: Vec<usize> = if rows <= CUT_ROWS_MAX {
            (0..rows).collect()
        } else {
            (0..CUT_ROWS_MAX).map(|_| random.below(rows as u64) as usize).collect()
        };
        let mut values = Vec::with_capacity(chosen.len());
        let cuts: Vec<Vec<f32>> = (0..width)
            .map(|column| {
                values.clear();
                values.extend(chosen.iter().map(|row| matrix.row(*row)[column]).filter(|value| !value.is_nan()));
                // Zeros of both signs are one value.
                values.iter_mut().for_each(|value| *value += 0.0);
                values.sort_unstable_by(f32::total_cmp);
                cuts_of(&values, bins)
            })
            .collect();
        u32::try_from(width * SLOTS).map_err(|_| Error::config(format!("{width} columns are too many for trees; drop some")))?;
        let codes = codes_of(matrix, &cuts);
        Ok(Self::with_codes(width, cuts, codes))
    }

    fn with_codes(width: usize, cuts: Vec<Vec<f32>>, codes: Vec<u8>) -> Self {
        let mut counts = vec![[0_u32; SLOTS]; width];
        for row in codes.chunks_exact(width) {
            for (counts, code) in counts.iter_mut().zip(row) {
                counts[usize::from(*code)] += 1;
            }
        }
        let commonest = |counts: &[u32; SLOTS]| (0..SLOTS).max_by_key(|code| (counts[*code], SLOTS - code)).unwrap_or(0) as u8;
        let common: Vec<u8> = counts.iter().map(commonest).collect();
        let (mut rare, mut starts) = (vec![], vec![0]);
        for row in codes.chunks_exact(width) {
            let others = row.iter().zip(&common).enumerate().filter(|(_, (code, common))| code != common);
            rare.extend(others.map(|(column, (code, _))| (column * SLOTS + usize::from(*code)) as u32));
            starts.push(rare.len());
        }
        Self { width, cuts, codes, common, rare, starts }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }
    pub(super) fn code(&self, row: usize, column: usize) -> u8 {
        self.codes[row * self.width + column]
    }
    pub(super) fn rare(&self, row: usize) -> &[u32] {
        &self.rare[self.starts[row]..self.starts[row + 1]]
    }
    /// The code of missing values; smaller ones are bins.
    pub(super) fn missing(&self, column: usize) -> u8 {
        (self.cuts[column].len() + 1) as u8
    }
    /// The threshold between the bins below `first_right` and the others.
    pub(super) fn threshold(&self, column: usize, first_right: u8) -> f32 {
        if first_right == 0 { f32::NEG_INFINITY } else { self.cuts[column][usize::from(first_right) - 1] }
    }
}

fn codes_of(matrix: &Matrix, cuts: &[Vec<f32>]) -> Vec<u8> {
    let mut codes = Vec::with_capacity(matrix.values().len());
    for row in matrix.iter() {
        codes.extend(row.iter().zip(cuts).map(|(value, cuts)| {
            let code = if value.is_nan() { cuts.len() + 1 } else { cuts.partition_point(|cut| cut <= value) };
            code as u8
        }));
    }
    codes
}

/// Cuts between sorted values: between all distinct ones where they are few, else so that bins hold about equally many rows. A
/// value that alone would fill a bin has one to itself.
fn cuts_of(values: &[f32], bins: usize) -> Vec<f32> {
    let groups: Vec<(f32, usize)> = values.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(|group| (group[0], group.len())).collect();
    let mut cuts = vec![];
    let (mut left, mut inside) = (values.len(), 0);
    for (index, pair) in groups.windows(2).enumerate() {
        let ((value, count), (next, next_count)) = (pair[0], pair[1]);
        let free = bins - 1 - cuts.len();
        if free == 0 {
            break;
        }
        inside += count;
        let fair = left.div_ceil(free + 1);
        if groups.len() - 1 - index <= free || inside >= fair || next_count >= fair {
            cuts.push(between(value, next));
            left -= inside;
            inside = 0;
        }
    }
    cuts
}

/// A number above `low` and at most `high`, in the middle where there is one.
fn between(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if low < middle && middle <= high { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_exactly_and_many_evenly() {
        assert_eq!(cuts_of(&[1.0, 1.0, 2.0, 4.0, 4.0], 255), [1.5, 3.0]);
        assert_eq!(cuts_of(&[], 255), [] as [f32; 0]);
        assert_eq!(cuts_of(&[3.0; 9], 255), [] as [f32; 0]);
        let many: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let cuts = cuts_of(&many, 101);
        assert_eq!(cuts.len(), 100);
        let widths: Vec<f32> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(widths.iter().all(|width| (90.0..=110.0).contains(width)), "{widths:?}");
    }

    #[test]
    fn a_common_value_takes_no_more_than_its_bin() {
        let mut values = vec![0.0; 100_000];
        values.extend((1..=1_000).map(|i| i as f32));
        let cuts = cuts_of(&values, 101);
        assert_eq!((cuts.len(), cuts[0]), (100, 0.5));
    }

    #[test]
    fn neighbours_and_infinities_are_told_apart() {
        let low = 1.0_f32;
        for (low, high) in [(low, low.next_up()), (f32::NEG_INFINITY, 0.0), (f32::MAX, f32::INFINITY), (f32::MIN, f32::MAX)] {
            let cut = between(low, high);
            assert!(low < cut && cut <= high, "{low} {high}: {cut}");
        }
    }

    #[test]
    fn codes_and_thresholds_agree() {
        let mut matrix = Matrix::new(2);
        for row in [[1.0, f32::NAN], [2.0, -0.0], [f32::INFINITY, 0.0], [f32::NAN, 5.0]] {
            matrix.push(&row);
        }
        let binned = Binned::of(&matrix, 255, &mut Random::new(1)).unwrap();
        for (row, values) in matrix.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let code = binned.code(row, column);
                assert_eq!(code == binned.missing(column), value.is_nan());
                for first_right in 0..binned.missing(column) {
                    assert_eq!(!value.is_nan() && code >= first_right, *value >= binned.threshold(column, first_right));
                }
            }
        }
        assert_eq!(binned.cuts[1], [2.5], "both zeros are one value");
    }
}
