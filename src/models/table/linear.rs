//! What Gaussians need of linear algebra: columns that vary, covariances, Cholesky factors and their inverses. Must never divide by
//! nothing: a ridge keeps every pivot above half of it.

use crate::models::matrix::Matrix;

const LANES: usize = 8;

/// All columns, or those with the largest mean square where there are too many.
pub(super) fn widest(rows: &Matrix, width_max: usize) -> Vec<u32> {
    let mut columns: Vec<u32> = (0..rows.width() as u32).collect();
    if columns.len() > width_max {
        let mut squares = vec![0.0_f64; rows.width()];
        for row in rows.iter() {
            squares.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v) * f64::from(*v));
        }
        columns.sort_by(|a, b| squares[*b as usize].total_cmp(&squares[*a as usize]));
        columns.truncate(width_max);
        columns.sort_unstable();
    }
    columns
}

/// These columns of all rows.
pub(super) fn chosen(rows: &Matrix, columns: &[u32]) -> Matrix {
    let mut narrow = Matrix::new(columns.len());
    let mut buffer = vec![0.0; columns.len()];
    for row in rows.iter() {
        buffer.iter_mut().zip(columns).for_each(|(v, c)| *v = row[*c as usize]);
        narrow.push(&buffer);
    }
    narrow
}

/// The mean of some rows.
pub(super) fn mean(rows: &Matrix, members: &[usize]) -> Vec<f64> {
    let mut centre = vec![0.0_f64; rows.width()];
    let count = members.len().max(1) as f64;
    for row in members {
        centre.iter_mut().zip(rows.row(*row)).for_each(|(c, v)| *c += f64::from(*v) / count);
    }
    centre
}

/// The lower triangle of the covariance of some rows, with the ridge on its diagonal.
pub(super) fn covariance(rows: &Matrix, members: &[usize], centre: &[f64], ridge: f64) -> Vec<f64> {
    let width = rows.width();
    let mut covariance = vec![0.0_f64; width * width];
    let mut centred = vec![0.0_f32; width];
    // Sums of short runs in single precision, which vectors twice as wide, are added up in double.
    let mut part = vec![0.0_f32; width * width];
    for run in members.chunks(64) {
        part.fill(0.0);
        for row in run {
            centred.iter_mut().zip(rows.row(*row)).zip(centre).for_each(|((d, v), c)| *d = (f64::from(*v) - c) as f32);
            for i in 0..width {
                let factor = centred[i];
                if factor.abs() > 0.0 {
                    part[i * width..i * width + i + 1].iter_mut().zip(&centred).for_each(|(s, v)| *s += factor * v);
                }
            }
        }
        covariance.iter_mut().zip(&part).for_each(|(sum, part)| *sum += f64::from(*part));
    }
    let divisor = (members.len() as f64 - 1.0).max(1.0);
    for i in 0..width {
        covariance[i * width..i * width + i + 1].iter_mut().for_each(|v| *v /= divisor);
        covariance[i * width + i] += ridge;
    }
    covariance
}

/// The lower triangle becomes its Cholesky factor; returns the logarithm of the factor's determinant.
pub(super) fn cholesky(matrix: &mut [f64], width: usize, ridge: f64) -> f64 {
    let mut log_root = 0.0;
    for j in 0..width {
        for i in j..width {
            let (upper, lower) = matrix.split_at(i * width);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let value =
                if i == j { lower[j] - dot(&lower[..j], &lower[..j]) } else { lower[j] - dot(&lower[..j], &upper[j * width..][..j]) };
            // Rounding apart, no pivot is below the ridge.
            matrix[i * width + j] = if i == j { libm::sqrt(value.max(ridge / 2.0)) } else { value / matrix[j * width + j] };
        }
        log_root += libm::log(matrix[j * width + j]);
    }
    log_root
}

/// The inverse of a lower triangle; what lies above is zero.
pub(super) fn inverted(lower: &[f64], width: usize) -> Vec<f64> {
    let mut inverse = vec![0.0_f64; width * width];
    for column in 0..width {
        inverse[column * width + column] = 1.0 / lower[column * width + column];
        for i in column + 1..width {
            let sum: f64 = (column..i).map(|k| lower[i * width + k] * inverse[k * width + column]).sum();
            inverse[i * width + column] = -sum / lower[i * width + i];
        }
    }
    inverse
}

/// The square of the distance of two rows of one width.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            sums[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_times_its_inverse_is_one() {
        let mut rows = Matrix::new(3);
        for row in [[1.0, 2.0, 0.0], [2.0, 1.0, 5.0], [4.0, 0.0, 1.0], [0.0, 3.0, 2.0]] {
            rows.push(&row);
        }
        let members = [0, 1, 2, 3];
        let centre = mean(&rows, &members);
        assert!((centre[0] - 1.75).abs() < 1e-9);
        let covariance = covariance(&rows, &members, &centre, 0.5);
        assert!((covariance[0] - (8.75 / 3.0 + 0.5)).abs() < 1e-6, "{covariance:?}");
        let mut factor = covariance.clone();
        let log_root = cholesky(&mut factor, 3, 0.5);
        assert!((libm::exp(log_root) - factor[0] * factor[4] * factor[8]).abs() < 1e-9);
        let inverse = inverted(&factor, 3);
        for i in 0..3 {
            for j in 0..=i {
                let product: f64 = (j..=i).map(|k| inverse[i * 3 + k] * factor[k * 3 + j]).sum();
                assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-9, "{i} {j}");
                let back: f64 = (0..=j).map(|k| factor[i * 3 + k] * factor[j * 3 + k]).sum();
                assert!((back - covariance[i * 3 + j]).abs() < 1e-9, "{i} {j}");
            }
        }
    }
}
