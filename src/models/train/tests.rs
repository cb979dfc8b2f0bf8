//! What the trainer promises: bounded, repeatable, calibrated on rows the forest has not seen, and robust to a few bad rows.

use super::*;
use crate::models::bundle::tests::{bundle, columns, trainer};

fn row(random: &mut Random) -> ModelRow {
    std::array::from_fn(|_| (random.unit() + random.unit() + random.unit()) as f32)
}

/// Combined surprises of rows under a bundle, with nothing from the other detectors.
fn surprises(bundle: &Bundle, rows: &[ModelRow], behavior: &[f32]) -> Vec<f32> {
    let mut raw = vec![0.0; rows.len() * 3];
    bundle.forest.as_ref().unwrap().score_rows(rows, &mut raw[..rows.len()]);
    raw[rows.len()..2 * rows.len()].copy_from_slice(behavior);
    let (mut parts, mut combined) = (vec![0.0; raw.len()], vec![0.0; rows.len()]);
    bundle.ensemble(&columns()).combine(&raw, &[], &mut parts, &mut combined);
    combined
}

#[test]
fn the_combination_has_the_promised_false_positives_also_when_detectors_depend_on_each_other() {
    let mut random = Random::new(21);
    let mut trainer = Trainer::new(TrainOptions::new("network", Schema::Network, columns(), 3));
    // The behaviour score follows a feature that the forest sees too.
    let mut draw = || {
        let row = row(&mut random);
        let behavior = (row.iter().map(|v| (v - 1.5).abs()).fold(0.0, f32::max) * 3.0 + random.unit() as f32).max(0.0);
        (row, behavior)
    };
    for event in 0..40_000 {
        let (row, behavior) = draw();
        trainer.push(EventTime(event), &row, &[0.0, behavior, 0.0]);
    }
    let bundle = trainer.finish().unwrap();
    let (rows, behavior): (Vec<ModelRow>, Vec<f32>) = (0..60_000).map(|_| draw()).unzip();
    let combined = surprises(&bundle, &rows, &behavior);
    for (alpha, tolerance) in [(1e-2, 0.25), (1e-3, 0.6)] {
        let bound = -libm::logf(alpha);
        let rate = combined.iter().filter(|s| **s >= bound).count() as f32 / combined.len() as f32;
        assert!((rate / alpha - 1.0).abs() < tolerance, "{rate} at {alpha}");
    }
    for (name, metrics) in &bundle.manifest.detectors {
        if let Some(rate) = metrics.false_positives_at_1_percent {
            assert!((0.005..0.015).contains(&rate), "{name}: {rate}");
        }
    }
    let far = surprises(&bundle, &[[9.0; 16]], &[30.0]);
    assert!(far[0] > 15.0, "{far:?}");
}

#[test]
fn training_is_repeatable_and_depends_on_its_seed() {
    assert_eq!(bundle(), bundle());
    assert_ne!(trainer(2, 3_000).finish().unwrap().manifest.version, bundle().manifest.version);
}

#[test]
fn the_sample_is_bounded_and_uniform() {
    let mut options = TrainOptions::new("network", Schema::Network, columns(), 5);
    options.capacity = 1_000;
    let mut trainer = Trainer::new(options);
    for event in 0..20_000 {
        trainer.push(EventTime(event), &[event as f32; 16], &[0.0; 3]);
    }
    assert_eq!((trainer.kept(), trainer.seen()), (1_000, 20_000));
    let mean = trainer.rows().iter().map(|row| f64::from(row[0])).sum::<f64>() / 1_000.0;
    assert!((mean / 10_000.0 - 1.0).abs() < 0.06, "early and late events are kept alike: {mean}");
    let bundle = trainer.finish().unwrap();
    let origin = &bundle.manifest.created_from;
    assert_eq!((origin.events, origin.oldest_micros, origin.newest_micros), (20_000, 0, 19_999));
    let training = &bundle.manifest.training;
    assert_eq!(training.fit_rows + training.trimmed_rows + training.calibration_rows, 1_000);
    assert!(training.calibration_rows > 600 && training.trimmed_rows >= 1);
}

#[test]
fn a_few_attacks_among_the_rows_do_not_make_attacks_ordinary() {
    let mut random = Random::new(8);
    let mut trainer = Trainer::new(TrainOptions::new("network", Schema::Network, columns(), 3));
    for event in 0..30_000 {
        let attack = event % 1_000 == 0;
        let row = if attack { [8.0; 16] } else { row(&mut random) };
        trainer.push(EventTime(event), &row, &[0.0; 3]);
    }
    let bundle = trainer.finish().unwrap();
    let seen = surprises(&bundle, &[[8.0; 16], [1.5; 16]], &[0.0; 2]);
    assert!(seen[0] > -libm::logf(2e-3) && seen[1] < 3.0, "{seen:?}");
    assert!(bundle.manifest.medians.iter().all(|m| (m - 1.5).abs() < 0.1));
    assert!(bundle.manifest.deviations.iter().all(|m| (0.2..0.6).contains(m)));
}

#[test]
fn few_rows_learn_what_they_can() {
    assert!(
        Trainer::new(TrainOptions::new("network", Schema::Network, columns(), 5))
            .finish()
            .unwrap_err()
            .to_string()
            .contains("nothing to learn")
    );
    for events in [1, 2, 59, 60, 250, 700] {
        let bundle = trainer(1, events).finish().unwrap();
        assert_eq!(bundle.forest.is_some(), events >= 250, "{events} events");
        assert_eq!(bundle.calibrations.len(), 2);
        assert_eq!(bundle.calibrations["behavior"].samples(), bundle.manifest.training.calibration_rows);
        assert_eq!(bundle.manifest.medians.len(), 16);
    }
    let mut odd = trainer(1, 100);
    odd.push(EventTime(5), &[f32::NAN; 16], &[f32::NAN, f32::INFINITY, f32::NAN]);
    let bundle = odd.finish().unwrap();
    assert!(bundle.manifest.medians.iter().all(|m| m.is_finite()));
}
