//! Slow ramps raise an alarm and teach no more than the bound; what is ordinary is followed.

use super::*;
use crate::core::detect::NAMES;
use crate::core::features::row::Schema;
use crate::core::types::EntityKey;
use crate::models::forest_fit::ForestParams;
use crate::models::random::Random;
use crate::models::train::{TrainOptions, Trainer};

const BEHAVIOR: usize = 1;

fn columns() -> Vec<Column> {
    let weight = |name: &str| if name == NAMES[BEHAVIOR] { 1.0 } else { 0.0 };
    NAMES.map(|name| Column { name: name.to_owned(), weight: weight(name), evidence: false }).to_vec()
}

/// Scores of ordinary traffic, in nats, `times` as large.
fn scores(random: &mut Random, times: f32) -> [f32; PARTS] {
    let mut raw = [0.0; PARTS];
    raw[BEHAVIOR] = -times * libm::logf(random.unit().max(1e-12) as f32);
    raw
}

fn trained() -> Bundle {
    let mut options = TrainOptions::new("network", Schema::Network, columns(), 1);
    options.forest = ForestParams { trees: 4, sample: 32 };
    let (mut trainer, mut random) = (Trainer::new(options), Random::new(2));
    for event in 0..30_000 {
        let raw = scores(&mut random, 1.0);
        trainer.push(EventTime(event), &std::array::from_fn(|_| random.unit() as f32), &raw);
    }
    trainer.finish().unwrap()
}

fn surprise(bundle: &Bundle, raw: [f32; PARTS]) -> f32 {
    let (mut parts, mut combined) = ([0.0; PARTS], [0.0]);
    bundle.ensemble(&columns()).combine(&raw, &[], &mut parts, &mut combined);
    combined[0]
}

/// Traffic whose scores grow by `step` each window, up to `most` times; what happened at which factor.
fn ramp(step: f32, most: f32, seed: u64) -> (Bundle, Option<f32>, usize) {
    let trained = trained();
    let (mut present, mut alarm, mut versions) = (trained.clone(), None, 0);
    let (mut recent, mut random, mut times) = (Recent::new(Settings::default()), Random::new(seed), 1.0_f32);
    while times < most {
        while !recent.is_due() {
            let raw = scores(&mut random, times);
            let surprise = surprise(&present, raw);
            recent.push(raw, surprise, surprise > 9.2, false);
        }
        let Recalibrated { bundle, shifts } = recent.recalibrate(&trained, &present, &columns(), EventTime(1));
        if shifts.iter().any(|shift| shift.is_alarm) {
            alarm.get_or_insert(times);
        }
        versions += usize::from(bundle.is_some());
        present = bundle.unwrap_or(present);
        times *= step;
    }
    (present, alarm, versions)
}

#[test]
fn a_slow_ramp_raises_an_alarm_long_before_it_is_threefold_and_teaches_no_more_than_the_bound() {
    for step in [1.01, 1.03, 1.1, 1.4] {
        let (present, alarm, versions) = ramp(step, 3.0, 5);
        let alarm = alarm.unwrap();
        assert!(alarm < 2.0, "step {step}: alarm at {alarm}");
        assert!(versions > 0, "step {step}: small changes are followed");
        // An event that was one in 100,000 is still hardly less surprising: the ramp did not make it ordinary.
        let mut rare = [0.0; PARTS];
        rare[BEHAVIOR] = 11.5;
        let (before, after) = (surprise(&trained(), rare), surprise(&present, rare));
        assert!(after > before / 1.8 && after > 6.0, "step {step}: {before} has become {after}");
    }
}

#[test]
fn steady_traffic_raises_no_alarm_and_small_changes_are_followed() {
    for seed in 0..5 {
        let trained = trained();
        let (mut recent, mut random) = (Recent::new(Settings::default()), Random::new(seed));
        for _ in 0..20_000 {
            recent.push(scores(&mut random, 1.0), 1.0, false, false);
        }
        let steady = recent.recalibrate(&trained, &trained, &columns(), EventTime(1));
        assert!(steady.shifts.iter().all(|shift| !shift.is_alarm && !shift.is_refused), "{:?}", steady.shifts);
        assert_eq!(steady.bundle, None, "chance alone makes no version");
        for _ in 0..200_000 {
            recent.push(scores(&mut random, 1.15), 1.0, false, false);
        }
        let followed = recent.recalibrate(&trained, &trained, &columns(), EventTime(1)).bundle.unwrap();
        assert_ne!(followed.manifest.version, trained.manifest.version, "a version of its own");
        let origin = followed.manifest.recalibrated.as_ref().unwrap();
        assert_eq!((&origin.parent, origin.rows, origin.upto_micros), (&trained.manifest.version, 20_000, 1));
        let again = recent.recalibrate(&trained, &followed, &columns(), EventTime(2));
        assert_eq!(again.bundle, None, "what has been followed is not followed again: {:?}", again.shifts);
        let beyond = (0..50_000).filter(|_| surprise(&followed, scores(&mut random, 1.15)) >= 4.605).count();
        assert!((300..800).contains(&beyond), "1 % of 50,000: {beyond}");
    }
}

#[test]
fn threats_exempt_and_surprising_rows_teach_nothing_and_few_rows_neither() {
    let mut recent = Recent::new(Settings::default());
    for _ in 0..30_000 {
        recent.push([9.0; PARTS], 1.0, true, false);
        recent.push([9.0; PARTS], 1.0, false, true);
        recent.push([9.0; PARTS], 8.0, false, false);
        recent.push([9.0; PARTS], f32::NAN, false, false);
    }
    assert!(recent.is_empty() && !recent.is_due());
    let trained = trained();
    recent.push([1.0; PARTS], 0.1, false, false);
    assert_eq!(recent.recalibrate(&trained, &trained, &columns(), EventTime(1)), Recalibrated { bundle: None, shifts: vec![] });
}

#[test]
fn rows_of_who_is_found_to_be_an_attacker_are_forgotten_and_the_order_stays() {
    let whose = |number: u64| Whose { entity: EntityKey(u128::from(number % 2)), time: EventTime(number as i64) };
    let mut recent = Recent::new(Settings { capacity: 10, rows_min: 1, ..Settings::default() });
    (0..13).for_each(|number| recent.take([number as f32; PARTS], Some(whose(number))));
    recent.forget(|whose| whose.entity == EntityKey(1) && whose.time >= EventTime(5));
    let kept = |recent: &Recent| recent.rows.iter().map(|raw| raw[0] as u64).collect::<Vec<_>>();
    assert_eq!(kept(&recent), [3, 4, 6, 8, 10, 12]);
    (20..25).for_each(|number| recent.take([number as f32; PARTS], None));
    recent.forget(|_| true);
    assert_eq!(kept(&recent), [20, 21, 22, 23, 24], "of whom nothing is known, nothing is forgotten; the oldest had made room");
}
