//! Bundles come back as they were, and changed or newer ones are refused with what to do.

use std::collections::BTreeMap;

use super::*;
use crate::core::types::EventTime;
use crate::models::random::Random;
use crate::models::recalibrate::Shift;
use crate::models::train::{TrainOptions, Trainer};

pub(crate) fn columns() -> Vec<Column> {
    let column = |name: &str, weight: f32, evidence: bool| Column { name: name.into(), weight, evidence };
    vec![column(crate::core::detect::forest::NAME, 1.0, false), column("behavior", 0.5, false), column("threat_intel", 1.0, true)]
}

pub(crate) fn trainer(seed: u64, events: u64) -> Trainer {
    let mut options = TrainOptions::new("network", Schema::Network, columns(), seed);
    options.forest = ForestParams { trees: 10, sample: 64 };
    let mut trainer = Trainer::new(options);
    let mut random = Random::new(9);
    for event in 0..events {
        let row = std::array::from_fn(|_| (random.unit() + random.unit()) as f32);
        let behavior = -libm::log(random.unit().max(1e-12)) as f32;
        trainer.push(EventTime(1_000_000 * event as i64), &row, &[f32::NAN, behavior, 0.0]);
    }
    trainer
}

pub(crate) fn bundle() -> Bundle {
    trainer(1, 3_000).finish().unwrap()
}

/// A bundle of another version.
pub(crate) fn changed() -> Bundle {
    Bundle { references: None, ..bundle() }.sealed()
}

/// Its calibration, learned again.
pub(crate) fn recalibrated() -> Bundle {
    let (of, shift) = (bundle(), |factor: f32| Shift { detector: "behavior".to_owned(), factor, is_alarm: false, is_refused: false });
    let calibrations = of.calibrations.iter().map(|(name, before)| (name.clone(), before.stretched(1.2))).collect();
    let mut bundle = Bundle { calibrations, ..of.clone() };
    let origin = Recalibration { parent: of.manifest.version, rows: 5_000, upto_micros: 7, shifts: vec![shift(1.2)] };
    bundle.manifest.recalibrated = Some(origin);
    bundle.sealed()
}

fn read_back(files: &BTreeMap<&'static str, Vec<u8>>) -> Result<Bundle> {
    Bundle::from_files(|name| files.get(name).cloned().ok_or_else(|| Error::config(format!("{name} is missing"))))
}

#[test]
fn a_bundle_comes_back_exactly_and_its_version_is_its_content() {
    for bundle in [bundle(), changed(), recalibrated()] {
        let files: BTreeMap<_, _> = bundle.to_files().into_iter().collect();
        assert_eq!(read_back(&files).unwrap(), bundle);
    }
    assert_eq!(bundle().manifest.version, bundle().manifest.version);
    assert_ne!(bundle().manifest.version, changed().manifest.version);
    assert_eq!(bundle().manifest.version.len(), sealed::VERSION_DIGITS);
}

#[test]
fn what_is_changed_missing_or_newer_is_refused() {
    let good: BTreeMap<_, _> = bundle().to_files().into_iter().collect();
    let manifest = String::from_utf8(good[MANIFEST_FILE].clone()).unwrap();
    let check = |name: &'static str, content: Option<&str>, expected: &str| {
        let mut files = good.clone();
        match content {
            Some(content) => files.insert(name, content.into()),
            None => files.remove(name),
        };
        let error = read_back(&files).unwrap_err();
        assert!(error.kind == crate::error::Kind::Config && error.to_string().contains(expected), "{error}");
    };
    check(MANIFEST_FILE, None, "manifest.json is missing");
    check(FOREST_FILE, None, "forest.bin is missing");
    check(FOREST_FILE, Some("TGIF"), "forest.bin is not the one");
    check(CALIBRATION_FILE, Some("{}"), "calibration.json is not the one");
    check(REFERENCES_FILE, Some("[]"), "references.json is not the one");
    check(MANIFEST_FILE, Some("nonsense"), "manifest.json is not usable");
    check(MANIFEST_FILE, Some(r#"{"format": 5, "everything": "new"}"#), "upgrade threatguard, or train the bundle again");
    check(MANIFEST_FILE, Some(&manifest.replace("\"rows\": 3000", "\"rows\": 3001")), "was changed after it was written");
}

#[test]
fn a_part_that_nobody_reads_any_more_hinders_nothing() {
    let mut old = bundle();
    old.manifest.parts.insert("peer_groups.json".to_owned(), hash(b"[]"));
    old.manifest.version = version(&old.manifest);
    let files: BTreeMap<_, _> = old.to_files().into_iter().collect();
    assert_eq!(read_back(&files).unwrap(), old);
}

#[test]
fn a_recalibrated_bundle_needs_no_part_that_its_parent_has() {
    let (parent, bundle) = (bundle(), recalibrated());
    let names: Vec<&str> = bundle.files_beside(&parent.manifest).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [CALIBRATION_FILE, MANIFEST_FILE]);
    assert_eq!(parent.manifest.format, FORMAT_OF_WHOLE, "what a version before this can read stays so");
}

#[test]
fn features_of_another_version_are_refused() {
    let mut bundle = bundle();
    bundle.manifest.features[3] = "something_else".into();
    let files: BTreeMap<_, _> = bundle.sealed().to_files().into_iter().collect();
    assert!(read_back(&files).unwrap_err().to_string().contains("trained on other features"));
}

#[test]
fn the_sum_is_calibrated_only_for_the_detectors_it_was_learned_with() {
    let bundle = bundle();
    assert!(bundle.ensemble(&columns()).is_calibrated());
    assert!(bundle.ensemble(&columns()[..2]).is_calibrated(), "evidence is not in the sum");
    assert!(!bundle.ensemble(&columns()[1..]).is_calibrated());
    let mut heavier = columns();
    heavier[1].weight = 2.0;
    assert!(!bundle.ensemble(&heavier).is_calibrated());
}
