//! The arguments of `explain`, and those that name a threat. No logic.

use std::path::PathBuf;

use clap::Args;

/// Explain a threat: what was observed, what was expected, and how much it weighed
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard explain 3fa9c2 --output out           the beginning of an id is enough
  threatguard explain 3fa9c2e1... --threats out/threats.jsonl
  threatguard explain 3fa9c2 --brokers localhost:9092          from the topic of threats
  threatguard explain 3fa9c2 --json | jq .evidence

Exit code 1 when no threat has that id; the nearest ones are named.")]
pub struct ExplainArgs {
    #[command(flatten)]
    pub threat: ThreatFlags,
    /// The record itself
    #[arg(long)]
    pub json: bool,
}

/// Which threat, and where it is looked for.
#[derive(Clone, Debug, Args)]
pub struct ThreatFlags {
    /// Id of the threat, or its beginning
    pub id: String,
    /// File of threats, instead of threats.jsonl in --output
    #[arg(long, value_name = "FILE", conflicts_with = "brokers")]
    pub threats: Option<PathBuf>,
    /// Folder of the results; what the configuration says where left out
    #[arg(long, value_name = "DIR", conflicts_with = "brokers")]
    pub output: Option<PathBuf>,
    /// Kafka's bootstrap servers: look in the topic of threats instead of a file
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
    /// The topic of threats
    #[arg(long, value_name = "NAME", default_value = "security.threats")]
    pub topic: String,
    /// Service configuration; threatguard.yaml of the working folder where left out
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
