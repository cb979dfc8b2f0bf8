//! The arguments of the verbs for models of tables. No logic.

use std::path::PathBuf;

use clap::Args;

/// A model of a table instead of a pipeline's.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "A model of a table")]
pub struct TableFlags {
    /// Table to learn from: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pipeline", "input"])]
    pub data: Option<PathBuf>,
    /// Column, or field of a pipeline's events, that says what a row is; without it, or without attacks, learning is unsupervised
    #[arg(long, value_name = "COLUMN|FIELD")]
    pub label: Option<String>,
    /// The label of benign rows; found out for the usual names
    #[arg(long, value_name = "VALUE", requires = "label")]
    pub benign: Option<String>,
    /// Columns that are not looked at
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "data")]
    pub drop: Vec<String>,
    /// Rows with the same value of this column are never split between learning and checking; the column is not looked at otherwise
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub group: Option<String>,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE", requires = "data")]
    pub columns: Option<String>,
    /// The same seed gives the same model
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub seed: u64,
}

/// Measure a model of a table on labelled rows
///
/// ROC and precision-recall area, true-positive rates at fixed false-positive rates, and what the threshold that was fixed in training
/// gives: of the ensemble and of each of its members, with 95 % intervals.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard evaluate --model model --data test.csv.gz --label class --json measures.json
  threatguard evaluate --model model --data test.txt --columns names.csv --label label")]
pub struct EvaluateArgs {
    /// Folder that 'train --data' wrote
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Table with labels: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Column that says what a row is; as in training where left out
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// The label of benign rows; as in training where left out
    #[arg(long, value_name = "VALUE")]
    pub benign: Option<String>,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE")]
    pub columns: Option<String>,
    /// Write the measures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Score the rows of a table
///
/// Writes for every row its score, its p-value, whether it is an alert, and what each member says in nats of surprise.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard score --model model --data today.parquet --out scores.csv
  threatguard score --model model --data today.csv --out scores.jsonl

The file is CSV where its name ends in .csv, and JSON Lines otherwise.")]
pub struct ScoreArgs {
    /// Folder that 'train --data' wrote
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Table: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE")]
    pub columns: Option<String>,
    /// File of the scores
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
}
