//! The arguments of `model import`. No logic.

use std::path::PathBuf;

use clap::Args;

/// Take over boosted trees that another library fitted to a table
///
/// Reads XGBoost's JSON (`save_model("model.json")`) and tree ensembles in ONNX, as the exporters of scikit-learn, XGBoost and LightGBM
/// write them, and writes a folder that 'evaluate' and 'score' take as they take a model of 'train --data'. Predictions are those of
/// the library. With benign rows, best such as the model was not fitted to, come p-values, and a threshold at which 0.8 % of those rows
/// are alerts. For a pipeline, 'train --pipeline FILE --trees MODEL' puts such trees into its bundle instead.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard model import model.json --data benign.csv --out model
  threatguard model import model.onnx --features bytes,packets,port --data flows.csv --label class --out model
  threatguard score --model model --data today.csv --out scores.csv
  threatguard evaluate --model model --data labelled.csv --label class --json measures.json")]
pub struct ImportArgs {
    /// Model: XGBoost's JSON, or ONNX
    pub file: PathBuf,
    /// Folder that the model is put into
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// The columns that the model was fitted to, in its order: a list, or a file; the model's own names where left out
    #[arg(long, value_name = "LIST|FILE")]
    pub features: Option<String>,
    /// Table to calibrate on: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Column of that table that says what a row is; only benign rows are looked at. Without it all rows are benign
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub label: Option<String>,
    /// The label of benign rows; found out for the usual names
    #[arg(long, value_name = "VALUE", requires = "label")]
    pub benign: Option<String>,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE", requires = "data")]
    pub columns: Option<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}
