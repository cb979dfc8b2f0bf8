//! What windows say of traffic that stays, that moves, and whose stretches always differ.

use super::*;
use crate::models::random::Random;

fn values(seed: u64, rows: usize, shift: f32, scale: f32) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..rows).map(|_| shift + scale * (0..12).map(|_| random.unit() as f32).sum::<f32>() - 6.0 * scale).collect()
}

fn judged(reference: Vec<f32>, now: &[f32]) -> ColumnDrift {
    let mut window = Window::new(vec![("x".to_owned(), Reference::of(reference).unwrap())], &[], 1.0);
    now.iter().for_each(|value| window.add([*value].into_iter()));
    window.report().columns.remove(0)
}

#[test]
fn alike_traffic_is_within_the_usual_bounds_and_moved_traffic_is_not() {
    let mut worst = (0.0_f64, 0.0_f64);
    for seed in 0..200 {
        let found = judged(values(1, 20_000, 0.0, 1.0), &values(seed + 2, 1_000, 0.0, 1.0));
        worst = (worst.0.max(found.psi), worst.1.max(found.ks));
    }
    assert!(worst.0 < 0.05 && worst.1 < 0.07, "{worst:?}");
    let moved = judged(values(1, 20_000, 0.0, 1.0), &values(2, 5_000, 0.5, 1.0));
    // Two normal distributions half a deviation apart: PSI is 0.25, KS is 0.197.
    assert!((moved.psi - 0.25).abs() < 0.05 && (moved.ks - 0.197).abs() < 0.02, "{moved:?}");
    let wider = judged(values(1, 20_000, 0.0, 1.0), &values(2, 5_000, 0.0, 3.0));
    assert!(wider.psi > 0.5 && wider.ks > 0.15, "{wider:?}");
}

#[test]
fn ties_missing_values_and_new_values_are_counted() {
    let mostly_zero: Vec<f32> = (0..1_000).map(|row| if row % 10 == 0 { row as f32 } else { 0.0 }).collect();
    let same = judged(mostly_zero.clone(), &mostly_zero);
    assert!(same.psi.abs() < 1e-9 && same.ks.abs() < 1e-9, "{same:?}");
    let constant = judged(vec![1.0; 500], &[1.0; 100]);
    assert!(constant.psi.abs() < 0.01 && constant.ks < 1e-9, "{constant:?}");
    let other = judged(vec![1.0; 500], &[2.0; 100]);
    assert!(other.ks > 0.99 && other.psi > 1.0, "what was never seen: {other:?}");
    let below = judged(vec![1.0; 500], &[0.0; 100]);
    assert!(below.psi.is_finite(), "{below:?}");
    assert!(Reference::of(vec![f32::NAN]).is_none());
    let mut window = Window::new(vec![("x".to_owned(), Reference::of(mostly_zero).unwrap())], &[], 1.0);
    window.add([f32::NAN].into_iter());
    assert!(window.report().columns.is_empty());
}

#[test]
fn lanes_add_up_and_shares_are_judged_against_chance() {
    let reference = Reference::of(values(1, 5_000, 0.0, 1.0)).unwrap();
    let text = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
    assert!(serde_json::from_str::<Reference>(&text.replace("\"rows\":5000", "\"rows\":0")).is_err());
    let new = || Window::new(vec![("x".to_owned(), reference.clone())], &[], 1.0);
    let (mut whole, mut parts) = (new(), [new(), new()]);
    for (row, value) in values(3, 10_000, 0.2, 1.0).into_iter().enumerate() {
        // 12 of 1,000 rows are beyond 1 %, 5 of 1,000 beyond 0.1 %.
        let nats = match row % 1_000 {
            0..5 => 8.0,
            5..12 => 5.0,
            _ => 0.5,
        };
        for window in [&mut whole, &mut parts[row % 2]] {
            window.add([value].into_iter());
            window.surprise(nats);
        }
    }
    let [mut sum, other] = parts;
    sum.merge(&other);
    assert_eq!(sum.report(), whole.report());
    let shares = whole.report().shares;
    assert!((shares[0].ratio - 1.2).abs() < 1e-9 && !shares[0].is_significant, "{shares:?}");
    assert!((shares[1].ratio - 5.0).abs() < 1e-9 && shares[1].is_significant, "{shares:?}");
    whole.clear();
    assert_eq!((whole.rows(), whole.report()), (0, Report::default()));
}

/// Scores of entities that have their own ways, each at work for a while and more of it by day: `times` as large.
struct Traffic {
    random: Random,
    hour: f32,
}

impl Traffic {
    fn values(&mut self, rows: usize, times: impl Fn(usize) -> f32) -> Vec<f32> {
        let mut values = vec![];
        while values.len() < rows {
            self.hour += 0.1;
            let level = 1.0 + 0.5 * libm::cosf(self.hour * std::f32::consts::TAU / 24.0) + self.random.unit() as f32;
            let burst = 5 + self.random.below(60) as usize;
            for _ in 0..burst {
                values.push(times(values.len()) * level * -libm::logf(self.random.unit().max(1e-9) as f32));
            }
        }
        values.truncate(rows);
        values
    }

    fn passes(&self, reference: &Reference, part: f64, values: &[f32]) -> bool {
        let mut window = Window::new(vec![("x".to_owned(), reference.clone())], &[], part);
        values.iter().for_each(|value| window.add([*value].into_iter()));
        let column = window.report().columns.remove(0);
        column.passes_psi(0.25) || column.passes_ks(0.1)
    }
}

#[test]
fn bursts_and_nights_raise_no_alarm_and_a_slow_drift_does_before_it_is_threefold() {
    let (mut plain, mut false_alarms) = (0, 0);
    for seed in 0..8 {
        let mut traffic = Traffic { random: Random::new(seed), hour: 0.0 };
        let learned = traffic.values(50_000, |_| 1.0);
        let (known, unknown) = (Reference::in_time(&learned).unwrap(), Reference::of(learned).unwrap());
        let part = 2_000.0 / 50_000.0;
        for _ in 0..50 {
            let window = traffic.values(2_000, |_| 1.0);
            plain += usize::from(traffic.passes(&unknown, part, &window));
            false_alarms += usize::from(traffic.passes(&known, part, &window));
        }
        let grown = |step: usize| 1.0 + 2.0 * step as f32 / 60.0;
        let alarm = (0..60).find(|step| {
            let window = traffic.values(2_000, |_| grown(*step));
            traffic.passes(&known, part, &window)
        });
        assert!(alarm.is_some_and(|step| grown(step) < 2.7), "seed {seed}: {alarm:?}");
    }
    assert!(plain > 20 && false_alarms <= 2, "{plain} without knowing stretches, {false_alarms} of 400 with");
}

#[test]
fn shares_that_always_came_in_bursts_are_not_significant() {
    let mut random = Random::new(3);
    // One stretch of a hundred rows in thirty has all the surprising ones.
    let mut surprises = |rows: usize| -> Vec<f32> {
        let stretches = (0..rows / 100).map(|_| if random.below(30) == 0 { 30 } else { 0 }).collect::<Vec<usize>>();
        stretches.into_iter().flat_map(|many| (0..100).map(move |row| if row < many { 5.0 } else { 1.0 })).collect()
    };
    let usual = usual::shares(&surprises(40_000));
    let mut significant = [0, 0];
    for _ in 0..40 {
        let now = surprises(1_000);
        for (count, known) in significant.iter_mut().zip([&[][..], &usual]) {
            let mut window = Window::new(vec![], known, 1_000.0 / 40_000.0);
            now.iter().for_each(|nats| window.surprise(*nats));
            *count += usize::from(window.report().shares[0].is_significant);
        }
    }
    assert!(significant[0] >= 5 && significant[1] <= 1, "{significant:?}");
    let mut window = Window::new(vec![], &usual, 1_000.0 / 40_000.0);
    (0..1_000).for_each(|_| window.surprise(5.0));
    assert!(window.report().shares[0].is_significant, "all of them at once");
}

#[test]
fn what_is_known_of_stretches_is_kept_and_chosen_by_length() {
    let mut traffic = Traffic { random: Random::new(1), hour: 0.0 };
    let reference = Reference::in_time(&traffic.values(50_000, |_| 1.0)).unwrap();
    let text = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
    assert!(serde_json::from_str::<Reference>(&text.replace("\"parts\":256", "\"parts\":0")).is_err());
    let usual = &reference.stored.usual;
    let chosen = |part: f64| covered(usual, part).unwrap().parts;
    assert_eq!([0.001, 1.0 / 256.0, 0.03, 0.2, 1.0, 5.0].map(chosen), [256, 256, 64, 8, 4, 4]);
    assert!(usual.windows(2).all(|pair| pair[0].ks >= pair[1].ks), "longer stretches lie nearer: {usual:?}");
    assert!(Reference::in_time(&[1.0; 300]).unwrap().stored.usual.is_empty(), "too few rows to tell");
}
