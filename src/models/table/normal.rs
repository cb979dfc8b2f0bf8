//! Encoded columns as normal scores: where a value lies among benign ones, as a quantile of the normal distribution.
//!
//! Ties share the middle of their ranks, so that a value which nearly all benign rows have is 0 and a rare one lies far out, at
//! most where one row in as many as were seen would lie. Units, skew and outliers no longer matter to those that measure distances.
//! Must never give anything but finite numbers: a missing value is 0.

use crate::models::matrix::Matrix;

/// Values of a column whose rank is kept; between them ranks are interpolated.
const KNOTS_MAX: usize = 1_024;

/// The ranks of one column.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ranks {
    /// Ascending values, with the share of rows below each and at most at each.
    values: Vec<f32>,
    below: Vec<f32>,
    at_most: Vec<f32>,
    rows: u32,
}

/// The ranks of all columns.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NormalScores(Vec<Ranks>);

impl NormalScores {
    #[must_use]
    pub fn learn(rows: &Matrix) -> Self {
        let column = |c: usize| -> Vec<f32> { rows.iter().map(|row| row[c]).filter(|v| !v.is_nan()).collect() };
        Self((0..rows.width()).map(|c| Ranks::learn(column(c))).collect())
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn apply(&self, rows: &Matrix) -> Matrix {
        let mut out = Matrix::new(self.0.len());
        let mut scores = vec![0.0; self.0.len()];
        for row in rows.iter() {
            for ((score, ranks), value) in scores.iter_mut().zip(&self.0).zip(row) {
                *score = ranks.score(*value);
            }
            out.push(&scores);
        }
        out
    }

    /// The sum of a row's scores.
    #[must_use]
    pub fn sum(&self, row: impl Iterator<Item = f32>) -> f32 {
        self.0.iter().zip(row).map(|(ranks, value)| ranks.score(value)).sum()
    }

    /// Whether ranks read from a file can be looked up in.
    #[must_use]
    pub fn is_sound(&self, width: usize) -> bool {
        self.0.len() == width && self.0.iter().all(Ranks::is_sound)
    }
}

impl Ranks {
    fn learn(mut values: Vec<f32>) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let total = values.len().max(1) as f32;
        let mut levels: Vec<(f32, usize, usize)> = Vec::new();
        for (i, value) in values.iter().enumerate() {
            match levels.last_mut() {
                Some((last, _, end)) if *last >= *value => *end = i + 1,
                _ => levels.push((*value, i, i + 1)),
            }
        }
        // The outermost levels and those that enough rows lie at or between.
        let step = values.len() / KNOTS_MAX;
        let (mut kept, mut next) = (Vec::new(), 0);
        for (place, level) in levels.iter().enumerate() {
            if levels.len() <= KNOTS_MAX || level.2 > next || place + 1 == levels.len() {
                next = level.2 + step;
                kept.push(*level);
            }
        }
        Self {
            values: kept.iter().map(|level| level.0).collect(),
            below: kept.iter().map(|level| level.1 as f32 / total).collect(),
            at_most: kept.iter().map(|level| level.2 as f32 / total).collect(),
            rows: u32::try_from(values.len()).unwrap_or(u32::MAX),
        }
    }

    fn score(&self, value: f32) -> f32 {
        if value.is_nan() || self.values.is_empty() {
            return 0.0;
        }
        let above = self.values.partition_point(|v| *v <= value);
        let share = if above == 0 {
            0.0
        } else if self.values[above - 1] >= value {
            (self.below[above - 1] + self.at_most[above - 1]) / 2.0
        } else if above == self.values.len() {
            1.0
        } else {
            let (low, high) = (self.values[above - 1], self.values[above]);
            let (from, to) = (self.at_most[above - 1], self.below[above]);
            from + (to - from) * ((value - low) / (high - low))
        };
        let rows = f64::from(self.rows);
        normal_quantile((f64::from(share) * rows + 0.5) / (rows + 1.0)) as f32
    }

    fn is_sound(&self) -> bool {
        let share = |v: &f32| (0.0..=1.0).contains(v);
        self.values.len() == self.below.len()
            && self.values.len() == self.at_most.len()
            && self.values.is_sorted_by(|a, b| a < b)
            && self.below.iter().chain(&self.at_most).all(share)
    }
}

/// The inverse of the normal distribution function, relative error below 1.2e-9.
///
/// Source: Acklam, "An algorithm for computing the inverse normal cumulative distribution function", 2003.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -39.696_830_286_653_76,
        220.946_098_424_520_5,
        -275.928_510_446_968_7,
        138.357_751_867_269,
        -30.664_798_066_147_16,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] =
        [-54.476_098_798_224_06, 161.585_836_858_040_9, -155.698_979_859_886_6, 66.801_311_887_719_72, -13.280_681_552_885_72];
    const C: [f64; 6] = [
        -0.007_784_894_002_430_293,
        -0.322_396_458_041_136_5,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] = [0.007_784_695_709_041_462, 0.322_467_129_070_039_8, 2.445_134_137_142_996, 3.754_408_661_907_416];
    const LOW: f64 = 0.024_25;
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = libm::sqrt(-2.0 * libm::log(p.max(f64::MIN_POSITIVE)));
        horner(&C, q) / (horner(&D, q) * q + 1.0)
    };
    if p < LOW {
        tail(p)
    } else if p > 1.0 - LOW {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        horner(&A, r) * q / (horner(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> Matrix {
        let mut matrix = Matrix::new(1);
        values.iter().for_each(|v| matrix.push(&[*v]));
        matrix
    }

    #[test]
    fn quantiles_are_those_of_scipy() {
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.01, -2.326_347_874_040_841),
            (1e-6, -4.753_424_308_822_899),
            (0.9999, 3.719_016_485_455_709),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-7, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn ties_share_a_rank_and_the_unseen_lies_outside() {
        let mut values = vec![0.0; 98];
        values.extend([1.0, 2.0]);
        let scores = NormalScores::learn(&column(&values)).apply(&column(&[0.0, 1.0, 2.0, 9.0, -1.0, f32::NAN, 0.5]));
        let expected: Vec<f32> = [49.0, 98.5, 99.5, 100.0, 0.0].iter().map(|r| normal_quantile((r + 0.5) / 101.0) as f32).collect();
        for (got, want) in scores.values().iter().zip(expected) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
        assert!(scores.values()[5].abs() < 1e-9, "missing");
        assert!(scores.values()[6] > scores.values()[0] && scores.values()[6] <= scores.values()[1]);
    }

    #[test]
    fn many_values_are_thinned_with_little_error() {
        let values: Vec<f32> = (0..50_000).map(|i| i as f32).collect();
        let scores = NormalScores::learn(&column(&values));
        assert!(scores.0[0].values.len() <= KNOTS_MAX + 2 && scores.is_sound(1));
        for value in [3.0_f32, 777.5, 25_000.0, 49_990.0] {
            let exact = normal_quantile((f64::from(value) + 0.5) / 50_001.0);
            let got = scores.0[0].score(value);
            assert!((f64::from(got) - exact).abs() < 0.1, "{value}: {got} {exact}");
        }
        assert!(NormalScores::learn(&column(&[f32::NAN])).apply(&column(&[1.0])).values()[0].abs() < 1e-9);
    }
}
