//! The arguments of `model importance`.

use std::path::PathBuf;

use clap::Args;

use super::args::codecs;

/// Which features a model lives on: permutation importance
///
/// Deals one feature's values out anew among labelled rows and tells how many fewer attacks are found at a false-positive rate of 0.8 %:
/// mean and spread over several repeats. For a table's model, or for the bundle of a pipeline, whose features are those of the learned
/// models; each of its other detectors counts as a whole.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard model importance --model model --data test.csv.gz --label class
  threatguard model importance --pipeline pipelines/network.yaml --models registry --input labelled.jsonl --label label --json")]
pub struct ImportanceArgs {
    /// Folder of a table's model, as 'train --data' wrote it
    #[arg(long, value_name = "DIR", required_unless_present = "pipeline", requires = "data", conflicts_with_all = ["pipeline", "models", "input"])]
    pub model: Option<PathBuf>,
    /// Table with labels: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE", requires = "model")]
    pub data: Option<PathBuf>,
    /// Names for a CSV file without a header line: a list, or a file
    #[arg(long, value_name = "LIST|FILE", requires = "data")]
    pub columns: Option<String>,
    /// Pipeline file
    #[arg(long, short, value_name = "FILE", requires = "models", requires = "input")]
    pub pipeline: Option<PathBuf>,
    /// Folder of a bundle, or of a registry, whose champion is meant
    #[arg(long, value_name = "DIR", requires = "pipeline")]
    pub models: Option<PathBuf>,
    /// Labelled events: file (plain, gzip or zstd), folder, or - for standard input
    #[arg(long, short, value_name = "PATH", requires = "pipeline")]
    pub input: Option<PathBuf>,
    /// How the input is read
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = codecs())]
    pub codec: String,
    /// Column, or field of an event, that holds the label; of a table, as in training where left out
    #[arg(long, value_name = "COLUMN|FIELD", required_unless_present = "model")]
    pub label: Option<String>,
    /// Label of benign rows; found out for the usual names
    #[arg(long, value_name = "VALUE")]
    pub benign: Option<String>,
    /// Each feature is dealt out so many times
    #[arg(long, value_name = "TIMES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// Attacks, and benign rows, that are taken at most
    #[arg(long, value_name = "ROWS", default_value_t = 20_000)]
    pub rows: usize,
    /// The same seed gives the same figures
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub seed: u64,
    /// For programs
    #[arg(long)]
    pub json: bool,
}
