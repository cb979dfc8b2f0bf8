//! Regressions against numpy, and what they are for.

use super::*;
use crate::models::random::Random;

fn rows(values: &[[f32; 3]]) -> Matrix {
    let mut matrix = Matrix::new(3);
    values.iter().for_each(|row| matrix.push(row));
    matrix
}

/// Two columns that go together and one for itself.
fn bound(count: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let mut normal = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let mut matrix = Matrix::new(3);
    for _ in 0..count {
        let shared = normal();
        matrix.push(&[shared, shared + 0.1 * normal(), normal()].map(|v| v as f32));
    }
    matrix
}

#[test]
fn errors_are_those_of_numpy() {
    // numpy: x as below; P = inv(cov(x.T) + .7 I); e = (x - mean) P / diag(P); s = sqrt(e.var(0, ddof=1) + .02);
    // log1p((([4, 0, 1] - mean) P / diag(P) / s)^2 / .25).sum()
    let data = rows(&[[0.0, 0.0, 1.0], [1.0, 2.0, 0.0], [2.0, 1.0, 3.0], [3.0, 5.0, 1.0], [1.0, 1.0, 2.0]]);
    let got = Dependence::fit(&data).scores(&rows(&[[4.0, 0.0, 1.0]]))[0];
    assert!((f64::from(got) - 13.9312).abs() < 1e-4, "{got}");
}

#[test]
fn what_breaks_a_dependence_is_odder_than_what_lies_far_out_within_it() {
    let dependence = Dependence::fit(&bound(4_000, 1));
    let scores = dependence.scores(&rows(&[[2.5, 2.5, 0.0], [1.5, -1.5, 0.0], [0.0, 0.0, 0.0]]));
    assert!(scores[1] > scores[0] + 1.0 && scores[0] > scores[2], "{scores:?}");
}

#[test]
fn one_column_alone_does_not_decide() {
    let dependence = Dependence::fit(&bound(4_000, 1));
    let scores = dependence.scores(&rows(&[[0.0, 0.0, 6.0], [1.0, -1.0, 2.0]]));
    assert!(scores[1] > scores[0], "{scores:?}");
}

#[test]
fn few_rows_and_many_columns_are_no_trouble() {
    let mut wide = Matrix::new(600);
    for i in 0..20 {
        wide.push(&(0..600).map(|c| if c % 2 == 0 { 0.0 } else { (i * c % 7) as f32 }).collect::<Vec<_>>());
    }
    let dependence = Dependence::fit(&wide);
    assert!(dependence.columns.len() == WIDTH_MAX && dependence.scores(&wide).iter().all(|s| s.is_finite()));
    let single = rows(&[[1.0, 2.0, 3.0]]);
    assert!(Dependence::fit(&single).scores(&single)[0].is_finite());
}

#[test]
fn bytes_come_back_and_damage_is_refused() {
    let dependence = Dependence::fit(&bound(50, 2));
    let mut out = Writer::default();
    dependence.write(&mut out);
    let bytes = out.finish();
    assert_eq!(Dependence::read(&mut Reader::new(&bytes)).unwrap(), dependence);
    for cut in 0..bytes.len() {
        assert!(Dependence::read(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
    }
}
