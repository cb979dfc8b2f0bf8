//! Fits that must find what is in the rows, and the same for the same seed, whatever the order of rows.

use super::*;

/// Rows of which the label is a known function, with a column of noise and one that is missing where its sign says so.
fn sample(seed: u64, count: usize) -> (Matrix, Vec<f32>) {
    let mut random = Random::new(seed);
    let (mut rows, mut labels) = (Matrix::new(5), vec![]);
    for _ in 0..count {
        let [a, b, c, d] = std::array::from_fn(|_| random.unit() as f32 * 2.0 - 1.0);
        let absent = if d > 0.4 { f32::NAN } else { d };
        let attack = (a * b > 0.0) != (absent.is_nan() && c > 0.0);
        rows.push(&[a, b, c, absent, random.unit() as f32]);
        labels.push(if attack { 1.0 } else { 0.0 });
    }
    (rows, labels)
}

fn fitted(rows: &Matrix, labels: &[f32], settings: &Settings, seed: u64) -> Trees {
    fit(rows, labels, None, settings, seed, &mut |_, _| Ok(())).unwrap()
}

fn error_share(trees: &Trees, rows: &Matrix, labels: &[f32]) -> f64 {
    let mut out = vec![0.0; rows.rows()];
    trees.margins(rows.values(), &mut out);
    out.iter().zip(labels).filter(|(margin, label)| (**margin > 0.0) != (**label > 0.5)).count() as f64 / out.len() as f64
}

fn shapes() -> [Settings; 2] {
    let ordinary = Settings { shape: Shape::Ordinary, trees: 80, depth: 5, ..Settings::default() };
    [ordinary.clone(), Settings { shape: Shape::Symmetric, ..ordinary }]
}

#[test]
fn interactions_and_missing_values_are_learned() {
    let (rows, labels) = sample(1, 6_000);
    let (new_rows, new_labels) = sample(2, 3_000);
    for settings in shapes() {
        let trees = fitted(&rows, &labels, &settings, 7);
        let errors = error_share(&trees, &new_rows, &new_labels);
        assert!(errors < 0.04, "{:?}: {errors}", settings.shape);
        let mut sums = [0.0; 5];
        for row in new_rows.iter().take(200) {
            sums.iter_mut().zip(trees.contributions(row)).for_each(|(sum, part)| *sum += part.abs());
        }
        assert!(sums[..4].iter().all(|sum| *sum > 3.0 * sums[4]), "noise contributes: {sums:?}");
    }
}

#[test]
fn the_presets_fit() {
    let (rows, labels) = sample(1, 3_000);
    let (new_rows, new_labels) = sample(2, 3_000);
    // Trees of some of the columns cannot see what takes four of five.
    for (settings, most) in [(Settings::default(), 0.03), (Settings::for_streams(), 0.05), (Settings::for_shifts(), 0.25)] {
        let errors = error_share(&fitted(&rows, &labels, &settings, 1), &new_rows, &new_labels);
        assert!(errors < most, "{settings:?}: {errors}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_one_others() {
    let (rows, labels) = sample(1, 2_000);
    for shape in shapes() {
        let settings = Settings { row_share: 0.7, column_share: 0.6, validation_share: 0.2, ..shape };
        let [a, b, c] = [3, 3, 4].map(|seed| fitted(&rows, &labels, &settings, seed).to_bytes());
        assert!(a == b && a != c);
    }
}

#[test]
fn trees_of_one_round_are_a_mean_of_one_step() {
    let (rows, labels) = sample(1, 2_000);
    for shape in shapes() {
        let one = Settings { trees: 1, ..shape };
        let three = Settings { trees: 3, trees_per_round: 3, ..one.clone() };
        let [mut a, mut b] = [vec![0.0; 2_000], vec![0.0; 2_000]];
        fitted(&rows, &labels, &one, 3).margins(rows.values(), &mut a);
        fitted(&rows, &labels, &three, 3).margins(rows.values(), &mut b);
        assert!(a.iter().zip(&b).all(|(one, mean)| (one - mean).abs() < 1e-6), "the same rows and columns give the same tree three times");
    }
}

#[test]
fn the_order_of_rows_shows_nowhere() {
    let (rows, labels) = sample(1, 3_000);
    let turned = rows.select((0..rows.rows()).rev());
    let turned_labels: Vec<f32> = labels.iter().rev().copied().collect();
    for settings in shapes() {
        assert_eq!(fitted(&rows, &labels, &settings, 3).to_bytes(), fitted(&turned, &turned_labels, &settings, 3).to_bytes());
    }
}

#[test]
fn weights_count_as_copies_of_rows() {
    let (fine, labels) = sample(5, 800);
    let mut rows = Matrix::new(5);
    for row in fine.iter() {
        // Few values, so that the cuts do not depend on how often each one occurs.
        rows.push(&row.iter().map(|value| (value * 3.0).round()).collect::<Vec<_>>());
    }
    let weights: Vec<f32> = (0..800).map(|row| (row % 3) as f32).collect();
    let copies = || (0..800).flat_map(|row| std::iter::repeat_n(row, row % 3));
    let copied_labels: Vec<f32> = copies().map(|row| labels[row]).collect();
    for settings in shapes() {
        // Weights have a mean of one, so what a leaf needs and is shrunk by is stated for as many rows.
        let share = copied_labels.len() as f64 / 800.0;
        let settings = Settings { trees: 10, ..settings };
        let scaled = Settings { l2: settings.l2 / share, child_hessian_min: settings.child_hessian_min / share, ..settings.clone() };
        let weighted = fit(&rows, &labels, Some(&weights), &scaled, 1, &mut |_, _| Ok(())).unwrap();
        let plain = fitted(&rows.select(copies()), &copied_labels, &settings, 1);
        let [mut a, mut b] = [vec![0.0; 800], vec![0.0; 800]];
        weighted.margins(rows.values(), &mut a);
        plain.margins(rows.values(), &mut b);
        let most = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-4, "{:?}: {most}", settings.shape);
    }
}

#[test]
fn classes_weigh_alike_when_asked_to() {
    let (rows, _) = sample(1, 2_000);
    let labels: Vec<f32> = rows.iter().map(|row| if row[0] > 0.9 { 1.0 } else { 0.0 }).collect();
    let settings = Settings { trees: 1, depth: 1, learning_rate: 1e-9, ..Settings::default() };
    let plain = fitted(&rows, &labels, &settings, 1).base_value();
    let balanced = fitted(&rows, &labels, &Settings { balanced: true, ..settings }, 1).base_value();
    assert!(plain < -2.0 && balanced.abs() < 1e-6, "{plain} {balanced}");
}

#[test]
fn noise_stops_early() {
    let (rows, _) = sample(1, 2_000);
    let mut random = Random::new(9);
    let labels: Vec<f32> = (0..2_000).map(|_| random.below(2) as f32).collect();
    let settings = Settings { validation_share: 0.3, patience: 5, ..Settings::default() };
    let mut rounds = 0;
    let mut hear = |done: usize, of: usize| {
        rounds = done.min(of);
        Ok(())
    };
    let trees = fit(&rows, &labels, None, &settings, 1, &mut hear).unwrap();
    assert!(trees.len() < 10 && rounds == trees.len() + 5, "{} trees after {rounds} rounds", trees.len());
    let mut end = |done: usize, _: usize| if done == 2 { Err(Error::permanent("enough")) } else { Ok(()) };
    assert!(fit(&rows, &labels, None, &settings, 1, &mut end).unwrap_err().to_string().contains("enough"));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (rows, labels) = sample(1, 50);
    let refused = |rows: &Matrix, labels: &[f32], weights: Option<&[f32]>, settings: &Settings, why: &str| {
        let error = fit(rows, labels, weights, settings, 1, &mut |_, _| Ok(())).unwrap_err();
        assert!(error.kind == crate::error::Kind::Config && error.to_string().contains(why), "{error}");
    };
    let plain = Settings::default();
    refused(&Matrix::new(3), &[], None, &plain, "0 rows");
    refused(&rows, &labels[1..], None, &plain, "50 labels");
    refused(&rows, &[1.0; 50], None, &plain, "one class");
    refused(&rows, &[0.0; 50], None, &plain, "one class");
    refused(&rows, &[f32::NAN; 50], None, &plain, "a label of NaN");
    refused(&rows, &labels, Some(&[-1.0; 50]), &plain, "a weight of -1");
    refused(&rows, &labels, Some(&[0.0; 50]), &plain, "one class");
    refused(&rows, &labels, None, &Settings { trees: 0, bins: 256, ..plain.clone() }, "trees must be 1 to 10000; bins must be 2 to 255");
    refused(&rows, &labels, None, &Settings { shape: Shape::Symmetric, depth: 9, ..plain.clone() }, "depth must be 1 to 8");
    refused(&rows, &labels, None, &Settings { learning_rate: f64::NAN, ..plain }, "learningRate");
}

#[test]
fn columns_without_a_value_and_with_one_do_no_harm() {
    let (mut rows, labels) = (Matrix::new(3), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    for row in 0..6 {
        rows.push(&[f32::NAN, 4.0, if row % 2 == 0 { f32::NAN } else { f32::INFINITY }]);
    }
    for settings in shapes() {
        let settings = Settings { child_hessian_min: 0.1, ..settings };
        let trees = fitted(&rows, &labels, &settings, 1);
        assert!(error_share(&trees, &rows, &labels) < 1e-9);
    }
}
