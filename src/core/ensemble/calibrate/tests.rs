//! What a calibration promises, on distributions whose truth is known.

use proptest::prelude::*;

use super::*;
use crate::models::random::Random;

#[derive(Clone, Copy, Debug)]
enum Shape {
    Exponential,
    Normal,
    HeavyTail,
    Bounded,
    MostlyZero,
    Levels,
}

const SHAPES: [Shape; 6] = [Shape::Exponential, Shape::Normal, Shape::HeavyTail, Shape::Bounded, Shape::MostlyZero, Shape::Levels];

fn draw(shape: Shape, random: &mut Random) -> f32 {
    let uniform = random.unit().max(1e-16);
    let value = match shape {
        Shape::Exponential => -libm::log(uniform),
        Shape::Normal => libm::sqrt(-2.0 * libm::log(uniform)) * libm::cos(std::f64::consts::TAU * random.unit()),
        Shape::HeavyTail => 2.0 * (libm::pow(uniform, -0.4) - 1.0),
        Shape::Bounded => 0.3 + 0.3 * (random.unit() + random.unit() + uniform) / 3.0,
        Shape::MostlyZero => {
            if random.unit() < 0.97 {
                0.0
            } else {
                -2.0 * libm::log(uniform)
            }
        }
        Shape::Levels => libm::floor(-2.0 * libm::log(uniform)),
    };
    value as f32
}

fn reservoir(shape: Shape, count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| draw(shape, &mut random)).collect()
}

/// Largest distance of the p-values from uniform, upwards (too many small ones) and downwards.
fn distances(mut p: Vec<f64>) -> (f64, f64) {
    p.sort_unstable_by(f64::total_cmp);
    let n = p.len() as f64;
    let step = |i: usize| (i as f64 + 1.0) / n;
    let too_small = p.iter().enumerate().map(|(i, p)| step(i) - p).fold(0.0, f64::max);
    let too_large = p.iter().enumerate().map(|(i, p)| p - i as f64 / n).fold(0.0, f64::max);
    (too_small, too_large)
}

#[test]
fn held_out_scores_have_uniform_p_values_and_the_promised_false_positives() {
    for shape in SHAPES {
        // What a detector of its own claims nothing of.
        let calibration = Calibration::fit(&mut reservoir(shape, 20_000, 1), Unit::ForestScore);
        let p: Vec<f64> = reservoir(shape, 200_000, 2).iter().map(|s| libm::exp(-f64::from(calibration.surprise(*s)))).collect();
        // A count of 20 in the reservoir is itself uncertain by a fifth.
        for (alpha, tolerance) in [(0.05, 0.1), (1e-2, 0.2), (1e-3, 0.6)] {
            let rate = p.iter().filter(|p| **p <= alpha).count() as f64 / p.len() as f64;
            assert!(rate <= alpha * (1.0 + tolerance), "{shape:?}: {rate} false positives at {alpha}");
            if !matches!(shape, Shape::Levels | Shape::MostlyZero) {
                assert!(rate >= alpha * (1.0 - tolerance), "{shape:?}: only {rate} at {alpha}");
            }
        }
        let (too_small, too_large) = distances(p);
        assert!(too_small < 0.015, "{shape:?}: {too_small}");
        if !matches!(shape, Shape::Levels | Shape::MostlyZero) {
            assert!(too_large < 0.015, "{shape:?}: {too_large}");
        }
    }
}

#[test]
fn a_tie_counts_as_at_least_as_large() {
    let mut scores: Vec<f32> = [vec![0.0; 900], vec![2.0; 90], vec![5.0; 9]].concat();
    let calibration = Calibration::fit(&mut scores, Unit::Nats);
    for (score, at_least) in [(0.0, 999.0), (2.0, 99.0), (5.0, 9.0)] {
        let expected = -libm::log((at_least + 1.0) / 1_000.0) as f32;
        assert!((calibration.surprise(score) - expected).abs() < 1e-5, "{score}");
    }
    assert!(calibration.surprise(1.9) <= -libm::logf(100.0 / 1_000.0), "between levels it stays below what counting gives");
    assert_eq!(calibration.tail().fitted_to, 0);
}

#[test]
fn beyond_the_largest_score_surprise_goes_on() {
    for shape in SHAPES {
        let unit = if matches!(shape, Shape::Bounded) { Unit::ForestScore } else { Unit::Nats };
        let calibration = Calibration::fit(&mut reservoir(shape, 5_000, 3), unit);
        let (last, scale) = (calibration.score_max(), calibration.tail().scale);
        let at = |scales: f32| calibration.surprise(last + scales * scale);
        assert!(at(2.0) > at(1.0) + 0.3 && at(1.0) > at(0.0) + 0.3, "{shape:?}: {} {} {}", at(0.0), at(1.0), at(2.0));
        assert!(at(3.0) > libm::logf(5_001.0) - 1.0, "{shape:?}: {}", at(3.0));
        assert!((calibration.surprise(f32::INFINITY) - SURPRISE_NATS_MAX).abs() < 1e-6, "{shape:?}");
        assert!(calibration.surprise(f32::NAN).abs() < 1e-9);
    }
}

#[test]
fn a_discrete_tail_follows_the_count_of_unseen_scores_and_one_nat_a_nat() {
    let calibration = Calibration::fit(&mut vec![0.0; 9_999], Unit::Nats);
    for (score, expected) in [(0.0, 0.0), (1e-6, 0.0), (1.0, 5.0), (2.5, 11.71), (5.0, 14.21), (100.0, 60.0)] {
        assert!((calibration.surprise(score) - expected).abs() < 0.01, "{score}: {}", calibration.surprise(score));
    }
}

#[test]
fn a_contaminated_reservoir_still_sees_what_contaminates_it() {
    let mut scores = reservoir(Shape::Exponential, 20_000, 5);
    scores.extend([40.0; 3]);
    let calibration = Calibration::fit(&mut scores, Unit::Nats);
    assert!(calibration.surprise(40.0) > 13.0, "{}", calibration.surprise(40.0));
}

#[test]
fn hardly_surprising_scores_do_not_become_so_by_being_rare() {
    // A thousand near ties: the largest of them is the rarest and still nothing much.
    let mut scores: Vec<f32> = (0..20_000).map(|i| if i % 20 == 0 { 0.2 + 1e-5 * i as f32 / 20.0 } else { 0.0 }).collect();
    let calibration = Calibration::fit(&mut scores, Unit::Nats);
    assert!(calibration.surprise(0.2111) < 1.1, "{}", calibration.surprise(0.2111));
    assert!(calibration.surprise(4.0) > 10.0, "{}", calibration.surprise(4.0));
}

#[test]
fn outliers_of_one_kind_do_not_hide_another() {
    let mut random = Random::new(5);
    let mut scores: Vec<f32> = reservoir(Shape::MostlyZero, 20_000, 5);
    scores.extend((0..40).map(|_| 500.0 * random.unit() as f32));
    let calibration = Calibration::fit(&mut scores, Unit::Nats);
    assert!(calibration.surprise(560.0) > calibration.surprise(500.0) + 5.0);
}

#[test]
fn few_scores_and_bad_ones_do_not_panic_and_stay_cautious() {
    let none = Calibration::fit(&mut [], Unit::Nats);
    assert_eq!((none.samples(), none.surprise(3.0)), (0, 3.0));
    let one = Calibration::fit(&mut [2.0], Unit::Nats);
    assert!(one.surprise(2.0).abs() < 1e-6 && (one.surprise(3.0) - (libm::logf(2.0) + 1.0)).abs() < 1e-5);
    let bad = Calibration::fit(&mut [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN], Unit::Nats);
    assert_eq!((bad.samples(), bad.rejected()), (1, 4));
    let constant = Calibration::fit(&mut [0.5; 100], Unit::ForestScore);
    assert!(constant.surprise(0.5).abs() < 1e-6 && constant.surprise(0.6) > 10.0);
    let huge = Calibration::fit(&mut [f32::MIN, 0.0, f32::MAX], Unit::Sum);
    assert!(huge.surprise(0.0) > 0.0 && huge.surprise(f32::MAX).is_finite());
}

#[test]
fn stored_calibrations_come_back_exactly_and_broken_ones_are_refused() {
    let calibration = Calibration::fit(&mut reservoir(Shape::Normal, 3_000, 9), Unit::Nats);
    let json = serde_json::to_string(&calibration).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&json).unwrap(), calibration);
    let good = r#"{"unit":"nats","samples":2,"rejected":0,"scores":[0.0,1.0],"surprises":[0.0,1.0],"tail":{"fittedTo":0,"scale":1.0,"shape":0.0,"jump":0.0}}"#;
    assert!(serde_json::from_str::<Calibration>(good).is_ok());
    for (from, to) in [
        ("[0.0,1.0],\"surprises\"", "[1.0,1.0],\"surprises\""),
        ("[0.0,1.0],\"surprises\"", "[0.0,1e39],\"surprises\""),
        ("[0.0,1.0],\"surprises\"", "[],\"surprises\""),
        ("\"surprises\":[0.0,1.0]", "\"surprises\":[2.0,1.0]"),
        ("\"surprises\":[0.0,1.0]", "\"surprises\":[0.0,61.0]"),
        ("\"surprises\":[0.0,1.0]", "\"surprises\":[0.0]"),
        ("\"scale\":1.0", "\"scale\":0.0"),
        ("\"shape\":0.0", "\"shape\":-0.1"),
        ("\"jump\":0.0", "\"jump\":-1.0"),
        ("\"samples\":2", "\"samples\":2,\"more\":1"),
    ] {
        let broken = good.replacen(from, to, 1);
        assert_ne!(broken, good);
        assert!(serde_json::from_str::<Calibration>(&broken).is_err(), "{broken}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn surprise_never_falls_and_is_bounded(
        mut scores in proptest::collection::vec(prop_oneof![4 => -5_f32..50.0, 2 => (0_u8..5).prop_map(f32::from), 1 => any::<f32>()], 0..1_500),
        mut probes in proptest::collection::vec(prop_oneof![3 => -6_f32..80.0, 1 => any::<f32>()], 1..200),
    ) {
        let calibration = Calibration::fit(&mut scores, Unit::Nats);
        probes.extend(scores.iter().take(50));
        probes.retain(|p| !p.is_nan());
        probes.sort_unstable_by(f32::total_cmp);
        let surprises: Vec<f32> = probes.iter().map(|p| calibration.surprise(*p)).collect();
        prop_assert!(surprises.iter().all(|s| (0.0..=SURPRISE_NATS_MAX).contains(s)), "{surprises:?}");
        // A rounding error of the straight line at a knot is not a fall.
        prop_assert!(surprises.windows(2).all(|w| w[1] >= w[0] - 1e-5), "{surprises:?}");
    }
}
