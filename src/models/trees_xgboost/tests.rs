//! Models that the library itself wrote, against its own predictions and contributions for the same rows; and what is not such a model.

use super::*;
use proptest::prelude::*;

macro_rules! vectors {
    ($name:literal) => {
        (
            include_str!(concat!("../../../tests/vectors/xgboost/", $name, ".json")),
            include_str!(concat!("../../../tests/vectors/xgboost/", $name, ".vectors.json")),
        )
    };
}

const LOGISTIC: &str = vectors!("logistic").0;

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<Vec<Option<f32>>>,
    margins: Vec<f32>,
    predictions: Vec<f32>,
    contributions: Vec<Vec<f32>>,
}

/// Equal within `tolerance`, relative where values are large.
#[track_caller]
fn close(what: &str, found: f64, expected: f32, tolerance: f64) {
    let expected = f64::from(expected);
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{what}: {found} instead of {expected}");
}

#[track_caller]
fn check((model, vectors): (&str, &str), link: Link) {
    let Imported { trees, .. } = read(model.as_bytes()).unwrap();
    let vectors: Vectors = serde_json::from_str(vectors).unwrap();
    let rows: Vec<f32> = vectors.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
    let mut margins = vec![0.0; vectors.rows.len()];
    trees.margins(&rows, &mut margins);
    assert_eq!(trees.link(), link);
    for (place, row) in rows.chunks_exact(trees.width()).enumerate() {
        close("margin", f64::from(margins[place]), vectors.margins[place], 1e-5);
        // The raw objective predicts the margin.
        let raw = vectors.predictions[place].to_bits() == vectors.margins[place].to_bits();
        if !raw {
            close("prediction", f64::from(trees.prediction(margins[place])), vectors.predictions[place], 1e-5);
        }
        let (base, columns) = vectors.contributions[place].split_last().unwrap();
        close("base value", trees.base_value(), *base, 1e-4);
        for (found, expected) in trees.contributions(row).iter().zip(columns) {
            close("contribution", f64::from(*found), *expected, 1e-4);
        }
    }
    assert!(vectors.rows.len() > 40 && trees.len() >= 15);
}

#[test]
fn predictions_are_those_of_the_library() {
    check(vectors!("logistic"), Link::Logistic);
    check(vectors!("logitraw"), Link::Logistic);
    check(vectors!("squared"), Link::Identity);
}

#[test]
fn predictions_are_those_of_the_library_before_base_scores_were_lists() {
    check(vectors!("logistic-old"), Link::Logistic);
    check(vectors!("logitraw-old"), Link::Logistic);
    check(vectors!("squared-old"), Link::Identity);
}

#[track_caller]
fn refused(model: &str, why: &str) {
    let error = read(model.as_bytes()).map(|read| read.trees.width()).unwrap_err();
    assert!(error.kind == crate::error::Kind::Config && error.to_string().contains(why), "{error}");
}

#[test]
fn other_models_are_refused_by_name() {
    refused(include_str!("../../../tests/vectors/xgboost/refused-dart.json"), "booster \"dart\"");
    refused(include_str!("../../../tests/vectors/xgboost/refused-linear.json"), "booster \"gblinear\"");
    refused(include_str!("../../../tests/vectors/xgboost/refused-classes.json"), "several outputs");
    refused(include_str!("../../../tests/vectors/xgboost/refused-categories.json"), "a split by categories");
    refused("", "not a model in XGBoost's JSON form");
    refused("{L\u{0}", "not a model in XGBoost's JSON form");
    refused("{\"learner\":{}}", "missing field");
}

/// One tree of three nodes with these parts.
fn tiny(base: &str, objective: &str, left: &str, right: &str, feature: &str) -> String {
    format!(
        r#"{{"learner":{{"learner_model_param":{{"base_score":{base},"num_class":"0","num_feature":"2"}},"objective":{{"name":"{objective}"}},
        "gradient_booster":{{"name":"gbtree","model":{{"trees":[{{"left_children":{left},"right_children":{right},"split_indices":[{feature},0,0],
        "split_conditions":[1.5,-0.25,0.5],"default_left":[true,false,false],"sum_hessian":[4,1,3]}}]}}}}}}}}"#
    )
}

#[test]
fn small_differences_of_writers_are_read() {
    for base in ["\"5E-1\"", "\"[5E-1]\"", "0.5", "\"0.5\"", "\" [ 0.5 ] \""] {
        let model = tiny(base, "binary:logistic", "[1,-1,-1]", "[2,-1,-1]", "1");
        let trees = read(model.as_bytes()).unwrap().trees;
        let mut out = [0.0; 3];
        trees.margins(&[9.0, 1.0, 9.0, 1.5, 9.0, f32::NAN], &mut out);
        assert_eq!(out.map(f32::to_bits), [-0.25_f32, 0.5, -0.25].map(f32::to_bits), "{base}");
    }
}

#[test]
fn broken_models_are_refused() {
    let (good_left, good_right) = ("[1,-1,-1]", "[2,-1,-1]");
    for base in ["\"[5E-1,5E-1]\"", "\"\"", "\"[]\"", "\"1\"", "\"nan\"", "\"inf\"", "\"-3\""] {
        refused(&tiny(base, "binary:logistic", good_left, good_right, "1"), "base_score");
    }
    refused(&tiny("\"0.5\"", "rank:ndcg", good_left, good_right, "1"), "objective \"rank:ndcg\"");
    refused(&tiny("\"0.5\"", "binary:logistic", good_left, good_right, "2"), "column 2 of 2");
    refused(&tiny("\"0.5\"", "binary:logistic", "[1,-1]", good_right, "1"), "different lengths");
    refused(&tiny("\"0.5\"", "binary:logistic", "[]", "[]", "1"), "different lengths");
    refused(&tiny("\"0.5\"", "binary:logistic", "[9,-1,-1]", good_right, "1"), "a child that is not there");
    refused(&tiny("\"0.5\"", "binary:logistic", "[0,-1,-1]", good_right, "1"), "several parents");
    refused(&tiny("\"0.5\"", "binary:logistic", "[-1,-1,-1]", good_right, "1"), "one child");
    refused(&tiny("\"0.5\"", "binary:logistic", "[-7,-1,-1]", good_right, "1"), "one child");
    refused(&LOGISTIC.replace("\"num_feature\":\"6\"", "\"num_feature\":\"4000000000\""), "num_feature");
    refused(&LOGISTIC.replacen("\"feature_names\":[]", "\"feature_names\":[\"a\"]", 1), "1 feature names for 6 columns");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..LOGISTIC.len(), byte in any::<u8>(), length in 0_usize..4) {
        let mut bytes = LOGISTIC.as_bytes().to_vec();
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, [byte]);
        if let Ok(Imported { trees, .. }) = read(&bytes) {
            let row = vec![f32::NAN; trees.width()];
            trees.margins(&row, &mut [0.0]);
            prop_assert_eq!(trees.contributions(&row).len(), trees.width());
        }
        prop_assert!(read(&bytes[..at]).is_err());
    }
}
