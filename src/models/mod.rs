//! What is learned: training, bundles and their files. Pure but for `bundle_files` and `registry_files`, which the `app` feature adds.

pub mod bundle;
#[cfg(feature = "app")]
pub mod bundle_files;
pub mod compare;
pub mod comparison;
pub mod drift;
pub mod feedback;
pub mod forest_fit;
pub mod lstm_fit;
pub mod matrix;
pub mod prevalence_count;
pub mod random;
pub mod recalibrate;
pub mod registry;
#[cfg(feature = "app")]
pub mod registry_files;
pub mod retrain;
pub mod sample;
pub mod sealed;
pub mod table;
pub mod train;
pub mod trees_fit;
pub mod trees_onnx;
pub mod trees_xgboost;
