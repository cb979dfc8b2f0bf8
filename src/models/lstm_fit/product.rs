//! Products of small matrices, the work of training. Each sum runs in the order of its terms; must never allocate.

/// Columns that are summed in registers at a time.
const COLUMNS: usize = 16;
/// Rows that share what was read.
const ROWS: usize = 4;

/// A matrix to be read by rows or, with its strides exchanged, by columns.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> View<'a> {
    /// Row-major.
    pub(super) fn of(values: &'a [f32], width: usize) -> Self {
        Self { values, row: width, column: 1 }
    }
    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row + column * self.column]
    }
}

/// `out += a b`: `out` has `rows` rows of `width`, `b` has `inner` rows of `width`.
pub(super) fn add_product(out: &mut [f32], a: View<'_>, b: &[f32], (rows, inner, width): (usize, usize, usize)) {
    let mut row = 0;
    while row + ROWS <= rows {
        strip::<ROWS>(out, a, b, row, inner, width);
        row += ROWS;
    }
    while row < rows {
        strip::<1>(out, a, b, row, inner, width);
        row += 1;
    }
}

fn strip<const N: usize>(out: &mut [f32], a: View<'_>, b: &[f32], row: usize, inner: usize, width: usize) {
    let mut column = 0;
    while column < width {
        let count = COLUMNS.min(width - column);
        let mut sums = [[0.0_f32; COLUMNS]; N];
        for (i, sums) in sums.iter_mut().enumerate() {
            let start = (row + i) * width + column;
            sums[..count].copy_from_slice(&out[start..start + count]);
        }
        tile(&mut sums, a, &b[column..], row, inner, width);
        for (i, sums) in sums.iter().enumerate() {
            let start = (row + i) * width + column;
            out[start..start + count].copy_from_slice(&sums[..count]);
        }
        column += COLUMNS;
    }
}

#[inline(always)]
fn tile<const N: usize>(sums: &mut [[f32; COLUMNS]; N], a: View<'_>, b: &[f32], row: usize, inner: usize, width: usize) {
    for k in 0..inner {
        let from = k * width;
        let mut last = [0.0; COLUMNS];
        let weights = match b[from..].first_chunk::<COLUMNS>() {
            Some(weights) => weights,
            None => {
                // Beyond the last row there is nothing; what lies beyond a narrower column is computed and not used.
                last[..b.len() - from].copy_from_slice(&b[from..]);
                &last
            }
        };
        for (i, sums) in sums.iter_mut().enumerate() {
            let value = a.at(row + i, k);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = weight.mul_add(value, *sum);
            }
        }
    }
}

/// The transpose of a matrix of `width` columns.
pub(super) fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width.max(1);
    let mut out = vec![0.0; values.len()];
    for (r, row) in values.chunks_exact(width.max(1)).enumerate() {
        for (c, value) in row.iter().enumerate() {
            out[c * rows + r] = *value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::random::Random;

    #[test]
    fn products_are_those_of_the_definition() {
        let mut random = Random::new(3);
        let mut values = |n: usize| -> Vec<f32> { (0..n).map(|_| random.unit() as f32 - 0.5).collect() };
        for (rows, inner, width) in [(1, 1, 1), (4, 3, 16), (5, 7, 17), (9, 33, 40), (3, 2, 152)] {
            let (a, b, start) = (values(rows * inner), values(inner * width), values(rows * width));
            let turned = transpose(&a, inner);
            for view in [View::of(&a, inner), View::of(&turned, rows).transposed()] {
                let mut out = start.clone();
                add_product(&mut out, view, &b, (rows, inner, width));
                for r in 0..rows {
                    for c in 0..width {
                        let exact: f32 = start[r * width + c] + (0..inner).map(|k| a[r * inner + k] * b[k * width + c]).sum::<f32>();
                        assert!((out[r * width + c] - exact).abs() < 1e-5, "{rows}x{inner}x{width} at {r}, {c}");
                    }
                }
            }
        }
    }
}
