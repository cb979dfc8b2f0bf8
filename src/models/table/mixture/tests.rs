//! Gaussian mixtures against closed forms and numpy.

use super::*;

fn rows(values: &[[f32; 2]]) -> Matrix {
    let mut matrix = Matrix::new(2);
    values.iter().for_each(|row| matrix.push(row));
    matrix
}

#[test]
fn one_cluster_is_the_gaussian_of_numpy() {
    // numpy: x = [[0,0],[1,2],[2,1],[3,5]]; S = cov(x.T) + .7 I; at [4, 0]: 0.5 * d' inv(S) d + 0.5 * log det S.
    let data = rows(&[[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [3.0, 5.0]]);
    let gaussian = gaussian(&data, &[0, 1, 2, 3]);
    let mut centred = vec![0.0; 8];
    let got = -log_density(&[gaussian], &[4.0, 0.0], &mut centred);
    assert!((got - 5.56204).abs() < 1e-4, "{got}");
}

#[test]
fn two_far_clusters_are_found_and_what_lies_between_is_odd() {
    let mut random = Random::new(3);
    let mut data = Matrix::new(3);
    for i in 0..600 {
        let centre = if i % 2 == 0 { -4.0 } else { 4.0 };
        data.push(&[0, 1, 2].map(|_| centre + random.unit() as f32));
    }
    let mixtures = Mixtures::fit(&data, 1);
    let mut probe = Matrix::new(3);
    probe.push(&[-3.5, -3.5, -3.5]);
    probe.push(&[0.0, 0.0, 0.0]);
    probe.push(&[4.5, 4.5, -3.5]);
    let scores = mixtures.scores(&probe);
    assert!(scores[1] > scores[0] + 5.0 && scores[2] > scores[0] + 5.0, "{scores:?}");
    assert_eq!(mixtures, Mixtures::fit(&data, 1));
}

#[test]
fn few_rows_constant_columns_and_many_columns_are_no_trouble() {
    let mut wide = Matrix::new(300);
    for i in 0..20 {
        wide.push(&(0..300).map(|c| if c % 2 == 0 { 0.0 } else { (i * c % 7) as f32 }).collect::<Vec<_>>());
    }
    let mixtures = Mixtures::fit(&wide, 5);
    assert!(mixtures.columns.len() == WIDTH_MAX && mixtures.scores(&wide).iter().all(|s| s.is_finite()));
    let single = rows(&[[1.0, 2.0]]);
    assert!(Mixtures::fit(&single, 5).scores(&single)[0].is_finite());
}

#[test]
fn bytes_come_back_and_damage_is_refused() {
    let data = rows(&[[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [3.0, 5.0]]);
    let mixtures = Mixtures::fit(&data, 2);
    let mut out = Writer::default();
    mixtures.write(&mut out);
    let bytes = out.finish();
    assert_eq!(Mixtures::read(&mut Reader::new(&bytes)).unwrap(), mixtures);
    for cut in 0..bytes.len() {
        assert!(Mixtures::read(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
    }
}
