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
    #[command(flatten)]
    pub shape: TableShape,
    /// The same seed gives the same model
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub seed: u64,
}

/// What the columns of a table to learn from are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "A model of a table")]
pub struct TableShape {
    /// Columns that are not looked at
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "data")]
    pub drop: Vec<String>,
    /// The one column that is looked at, and holds sequences: symbols with spaces or commas between, or a JSON list. Found out where all
    /// others are the label, the group or dropped
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub sequence: Option<String>,
    /// Rows with the same value of this column are never split between learning and checking; the column is not looked at otherwise
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub group: Option<String>,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE", requires = "data")]
    pub columns: Option<String>,
}

/// Measure a model of a table on labelled rows
///
/// ROC and precision-recall area, true-positive rates at fixed false-positive rates, and what the threshold that was fixed in training
/// gives: of the ensemble and of each of its members, with 95 % intervals. With --test-then-train the rows are taken as a stream that
/// drifts: each is scored by what was known before it, and learned from once its label has come.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard evaluate --model model --data test.csv.gz --label class --json measures.json
  threatguard evaluate --model model --data test.txt --columns names.csv --label label
  threatguard evaluate --test-then-train --data flows.csv.gz --label class --label-delay 1000 --json measures.json
  threatguard evaluate --test-then-train --model model --history train.csv --data later.csv --label class")]
pub struct EvaluateArgs {
    /// Folder that 'train --data' or 'model import' wrote; with --test-then-train it may be left out
    #[arg(long, value_name = "DIR", required_unless_present = "test_then_train")]
    pub model: Option<PathBuf>,
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
    #[command(flatten)]
    pub stream: StreamFlags,
}

/// Rows that come in time.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Test, then train")]
pub struct StreamFlags {
    /// Take the rows in their order: score each by what was known before it, then learn from it
    #[arg(long)]
    pub test_then_train: bool,
    /// Labelled rows that came before; without them the first rows of the data are taken
    #[arg(long, value_name = "FILE", requires = "test_then_train")]
    pub history: Option<PathBuf>,
    /// Share of the data that is known at the beginning and not tested
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, conflicts_with = "history")]
    pub warm_up: f64,
    /// Rows after which the label of a row is known; 0 for at once
    #[arg(long, value_name = "ROWS", default_value_t = 1_000)]
    pub label_delay: usize,
    /// Rows that are scored before learning again
    #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub refit_every: u32,
    /// Columns that are not looked at, where no model says so
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "test_then_train", conflicts_with = "model")]
    pub drop: Vec<String>,
    /// The same seed gives the same scores
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub seed: u64,
    /// Write each tested row's score, threshold and alert as CSV
    #[arg(long, value_name = "FILE", requires = "test_then_train")]
    pub scores: Option<PathBuf>,
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
    /// Folder that 'train --data' or 'model import' wrote
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
    /// With each alert, so many columns that speak loudest for it or against it: what they add to the trees' log-odds. JSON Lines only
    #[arg(long, value_name = "COLUMNS", default_value_t = 0)]
    pub contributions: usize,
}
