//! The arguments of `model retrain`, `model jobs` and `verdict`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::args::codecs;
use super::args_explain::ThreatFlags;
use super::args_table::TableShape;
use crate::core::settings::Span;
use crate::run::retrain::{BY_ENTITIES, BY_TIME};

/// Fit a candidate to newer events, and promote it only if it is better on events that were held out
///
/// Champion and candidate score the same held-out events: the last ones of the input, or all of some entities. Where events have labels
/// or analysts' verdicts, the candidate must surely find more attacks at a false-positive rate of 0.8 % (95 % interval of the difference
/// above 0), or no less there and more at the pipeline's thresholds; without, its p-values must come as often as they say, at least as
/// well as the champion's, and both must agree on what is odd. Otherwise it is added without a role, and the reason is told. A record in
/// the registry says how far the job is.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard model retrain --pipeline pipelines/network.yaml --models registry --input week.log.gz
  threatguard model retrain -p pipelines/network.yaml --models registry -i labelled.jsonl --label label --hold-out entities
  threatguard model retrain -p pipelines/network.yaml --models registry -i week.jsonl --feedback out/feedback.jsonl
  threatguard model jobs --models registry              how far it is, seen from elsewhere
  threatguard model retrain --model model --data newer.csv.gz --label class

Exit code 1 when the candidate is not better.")]
pub struct RetrainArgs {
    /// Registry: a folder, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "REGISTRY", required_unless_present = "data")]
    pub models: Option<PathBuf>,
    /// Pipeline file
    #[arg(long, short, value_name = "FILE", required_unless_present = "data")]
    pub pipeline: Option<PathBuf>,
    /// File (plain, gzip or zstd) or folder; it is read several times
    #[arg(long, short, value_name = "PATH", required_unless_present = "data")]
    pub input: Option<PathBuf>,
    /// How the input is read
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = codecs())]
    pub codec: String,
    /// Field of an event that holds its label
    #[arg(long, value_name = "FIELD")]
    pub label: Option<String>,
    /// Label of benign events; benign, normal, 0, false and the like where left out
    #[arg(long, value_name = "VALUE", requires = "label")]
    pub benign: Option<String>,
    /// Analysts' verdicts, as 'threatguard verdict' writes them; they go over labels
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub feedback: Option<PathBuf>,
    /// What is held out: the last events, or all events of some entities
    #[arg(long, value_name = "WHAT", default_value = BY_TIME, value_parser = [BY_TIME, BY_ENTITIES])]
    pub hold_out: String,
    /// Share that is held out
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    pub validation_split: f64,
    /// Give up after so long, such as 30m
    #[arg(long, value_name = "SPAN", requires = "pipeline", value_parser = seconds)]
    pub max_time: Option<u64>,
    /// Stop after so many events
    #[arg(long, value_name = "EVENTS", requires = "pipeline")]
    pub limit: Option<u64>,
    /// Only add the candidate, however good it is
    #[arg(long)]
    pub no_promote: bool,
    /// The same seed gives the same candidate; the pipeline file's where left out
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Who or what asks for it, for the record
    #[arg(long, value_name = "TEXT", default_value = "manual")]
    pub trigger: String,
    /// For programs: the job's record at its end
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: RetrainTableFlags,
}

/// A table's model instead of a pipeline's: the one in a folder, replaced only by a better one. There is no record of the job.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A model of a table")]
pub struct RetrainTableFlags {
    /// Folder of the model, as 'train --data' wrote it
    #[arg(long, value_name = "DIR", requires = "data", conflicts_with_all = ["pipeline", "models", "input"])]
    pub model: Option<PathBuf>,
    /// Table to learn from: CSV, JSON Lines or Parquet; plain, gzip or zstd
    #[arg(long, value_name = "FILE", requires = "model")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub shape: TableShape,
}

fn seconds(text: &str) -> Result<u64, String> {
    let span: Span = text.parse()?;
    let seconds = Duration::from_micros(span.micros.unsigned_abs()).as_secs();
    if seconds == 0 { Err("a second is the least".to_owned()) } else { Ok(seconds) }
}

/// Say what a threat is: true or benign
///
/// Appends a line to a file of verdicts, with the threat's evidence. 'train' and 'model retrain' take that file with --feedback: what is
/// benign is learned as such, what is true is learned from as an attack and kept out of what is ordinary. The last verdict on a threat
/// holds.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard verdict 3fa9c2 benign --output out --note 'backup of the file server'
  threatguard verdict 3fa9c2 true --by kim --threats out/threats.jsonl --feedback feedback.jsonl
  threatguard model retrain -p pipelines/network.yaml --models registry -i week.jsonl --feedback out/feedback.jsonl

Exit code 1 when no threat has that id; the nearest ones are named.")]
pub struct VerdictArgs {
    #[command(flatten)]
    pub threat: ThreatFlags,
    /// What it is
    #[arg(value_parser = ["true", "benign"])]
    pub verdict: String,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// File of verdicts; feedback.jsonl beside the threats where left out
    #[arg(long, value_name = "FILE")]
    pub feedback: Option<PathBuf>,
    /// The line that was written
    #[arg(long)]
    pub json: bool,
}
