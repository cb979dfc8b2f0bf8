//! Flags of `threatguard backtest`.

use std::path::PathBuf;

use clap::Args;

use super::args::codecs;
use crate::config::backtest::{BacktestSettings, Bars};

/// Measure a pipeline against labelled events
///
/// Runs the pipeline over the input and holds its scores, threats and alerts against the labels: for each event, for each entity (its
/// worst event) and for each incident (attack events of one entity and class less than an hour apart), with each detector beside the
/// combination. Labels are read from a field that the pipeline itself does not know. Bars are given here or in the pipeline file.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard simulate --benign --out benign.jsonl --pipelines company
  threatguard train -p company/network.yaml -i benign.jsonl --out models
  threatguard simulate --label label --out labelled.jsonl
  threatguard backtest -p company/network.yaml --models models -i labelled.jsonl --label label --ignore background_scan
  threatguard backtest -p pipelines/network.yaml --models models -i conn.log.labeled.gz --label label \\
      --ignore Background --min-recall 0.9 --max-fpr 0.01 --junit backtest.xml

Without --models the pipeline learns from the first events, as 'run' does, and the others are measured.
Exit code 1 when a bar is missed.")]
pub struct BacktestArgs {
    /// Pipeline file
    #[arg(long, short, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// File (plain, gzip or zstd), folder, or - for standard input
    #[arg(long, short, value_name = "PATH")]
    pub input: PathBuf,
    /// How the input is read
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = codecs())]
    pub codec: String,
    /// Field of an event that holds its label
    #[arg(long, value_name = "FIELD")]
    pub label: Option<String>,
    /// File that says who attacked from when to when instead, as 'simulate --labels' writes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["label", "benign"])]
    pub labels: Option<PathBuf>,
    /// Label of benign events; benign, normal, 0, false and the like where left out
    #[arg(long, value_name = "VALUE")]
    pub benign: Option<String>,
    /// Labels of events that are scored and not measured
    #[arg(long, value_name = "VALUE", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Folder of the models
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// The first so many events only bring states up and are not measured
    #[arg(long, value_name = "EVENTS", default_value_t = 0)]
    pub warm_up: u64,
    /// Stop after so many events
    #[arg(long, value_name = "EVENTS")]
    pub limit: Option<u64>,
    /// Write all measures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the bars as test cases
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub bars: Bars,
}

impl BacktestArgs {
    /// The flags, and what the pipeline file says where they say nothing.
    #[must_use]
    pub fn settings(&self, file: &BacktestSettings) -> BacktestSettings {
        BacktestSettings {
            label: self.label.clone().or_else(|| file.label.clone()),
            benign: self.benign.clone().or_else(|| file.benign.clone()),
            ignore: if self.ignore.is_empty() { file.ignore.clone() } else { self.ignore.clone() },
            bars: self.bars.or(&file.bars),
        }
    }
}
