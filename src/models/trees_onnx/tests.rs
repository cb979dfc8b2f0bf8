//! Files that exporters wrote, against what onnxruntime predicts for the same rows; and what is not such a file.

use super::*;
use proptest::prelude::*;

macro_rules! model {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/vectors/onnx/", $name, ".onnx")).as_slice()
    };
}
macro_rules! vectors {
    ($name:literal) => {
        (model!($name), include_str!(concat!("../../../tests/vectors/onnx/", $name, ".vectors.json")))
    };
}

const XGBOOST: &[u8] = model!("xgboost");

#[derive(serde::Deserialize)]
struct Vectors {
    rows: Vec<Vec<Option<f32>>>,
    predictions: Vec<f32>,
}

#[track_caller]
fn check((model, vectors): (&[u8], &str), trees_min: usize) {
    let trees = read(model).unwrap();
    let vectors: Vectors = serde_json::from_str(vectors).unwrap();
    let rows: Vec<f32> = vectors.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
    let mut margins = vec![0.0; vectors.rows.len()];
    trees.margins(&rows, &mut margins);
    for ((margin, expected), row) in margins.iter().zip(&vectors.predictions).zip(rows.chunks_exact(trees.width())) {
        let found = trees.prediction(*margin);
        assert!((found - expected).abs() <= 1e-5, "{found} instead of {expected}");
        let total = trees.base_value() + trees.contributions(row).into_iter().map(f64::from).sum::<f64>();
        assert!((total - f64::from(*margin)).abs() <= 1e-4, "{total} against {margin}");
    }
    assert!(vectors.rows.len() == 40 && trees.len() >= trees_min);
}

#[test]
fn predictions_are_those_of_the_runtime() {
    check(vectors!("gradient-boosting"), 15);
    check(vectors!("random-forest"), 5);
    check(vectors!("forest-of-values"), 5);
    check(vectors!("xgboost"), 15);
}

#[track_caller]
fn refused(model: &[u8], why: &str) {
    let error = read(model).map(|trees| trees.width()).unwrap_err();
    assert!(error.kind == crate::error::Kind::Config && error.to_string().contains(why), "{error}");
}

#[test]
fn other_files_are_refused() {
    refused(model!("refused-scaler"), "operator \"Scaler\" beside the trees");
    refused(model!("refused-classes"), "3 classes");
    refused(b"", "no graph");
    refused(b"{\"learner\":{}}", "not an ONNX file");
    refused(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "not an ONNX file");
    refused(&[0xff; 20], "not an ONNX file");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..XGBOOST.len(), byte in any::<u8>(), length in 0_usize..4) {
        let mut bytes = XGBOOST.to_vec();
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, [byte]);
        if let Ok(trees) = read(&bytes) {
            let row = vec![f32::NAN; trees.width()];
            trees.margins(&row, &mut [0.0]);
            prop_assert_eq!(trees.contributions(&row).len(), trees.width());
        }
    }
}
