//! The arguments of every verb: the contract with those who type or script them. No logic but what a flag stands for.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::args_table::TableFlags;
use crate::config::pipeline::CODECS;
use crate::config::{FlagLayer, Resolved, environment};
use crate::error::Result;

/// Codecs as clap knows them.
pub(super) fn codecs() -> PossibleValuesParser {
    PossibleValuesParser::new(CODECS)
}

/// Settings of the service. A flag goes over `THREATGUARD_*`, that over the file, that over the default.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Service configuration")]
pub struct ServiceFlags {
    /// Service configuration; threatguard.yaml of the working folder where left out
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Kafka's bootstrap servers, host:port, separated by commas
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
    /// State store, redis://host:6379 or rediss:// for TLS
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Consumer group; the pipeline's name is added
    #[arg(long, value_name = "NAME")]
    pub group_id: Option<String>,
    /// Address of /health, /health/ready and /metrics; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Folder of model bundles, or a registry of them there or in s3://BUCKET/PREFIX; without one a pipeline learns from its first events
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Folder of the results in embedded mode
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Publish a verdict of every event: as JSON records, or packed as Arrow batches
    #[arg(long, value_name = "FORM", value_parser = ["none", "json", "arrow"])]
    pub verdicts: Option<String>,
    /// Threads that score; 0 is one a core
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<String>,
    /// What the state of all entities may take, such as 1GiB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// exactly_once: outputs and offsets in one transaction; at_least_once: a crash may repeat outputs, which show sooner
    #[arg(long, value_name = "PROMISE", value_parser = ["exactly_once", "at_least_once"])]
    pub delivery: Option<String>,
    /// How often outputs and offsets are committed, such as 50ms
    #[arg(long, value_name = "SPAN")]
    pub commit_interval: Option<String>,
    /// This worker's own name in its group, the same after a restart; the host's name without it
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// How often changed state is written behind, such as 5s
    #[arg(long, value_name = "SPAN")]
    pub checkpoint_interval: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as info,threatguard::edge=debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How logs are written to standard error
    #[arg(long, value_name = "FORM", value_parser = ["auto", "json", "pretty"])]
    pub log_format: Option<String>,
}

impl ServiceFlags {
    /// The configuration that holds; warnings about variables that are none are shown.
    ///
    /// # Errors
    /// `Config`: every problem of every layer.
    pub fn resolve(&self) -> Result<Resolved> {
        let resolved = Resolved::new(&self.layer(), &environment(), self.config.as_deref())?;
        resolved.warnings.iter().for_each(|warning| super::output::warning(warning));
        Ok(resolved)
    }

    fn layer(&self) -> FlagLayer {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut layer = FlagLayer::default();
        layer.set("brokers", self.brokers.as_ref());
        layer.set("redis", self.redis.as_ref());
        layer.set("group_id", self.group_id.as_ref());
        layer.set("listen", self.listen.as_ref());
        layer.set("models", path(&self.models));
        layer.set("output", path(&self.output));
        layer.set("verdicts", self.verdicts.as_ref());
        layer.set("shards", self.shards.as_ref());
        layer.set("memory", self.memory.as_ref());
        layer.set("delivery", self.delivery.as_ref());
        layer.set("commit_interval", self.commit_interval.as_ref());
        layer.set("instance", self.instance.as_ref());
        layer.set("checkpoint_interval", self.checkpoint_interval.as_ref());
        layer.set("log.level", self.log_level.as_ref());
        layer.set("log.format", self.log_format.as_ref());
        layer
    }
}

/// Run pipelines: from Kafka and Redis, or embedded on files
///
/// With --brokers (or brokers in the configuration) events come from Kafka, state is kept in Redis and results go to Kafka.
/// With --input the same engine reads files and writes threats.jsonl, alerts.jsonl, analytics.jsonl and dead-letters.jsonl,
/// in place of those of an earlier run.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard run --pipeline pipelines/network.yaml --brokers localhost:9092 --redis redis://localhost:6379
  threatguard run --pipeline pipelines/network.yaml --input conn.log.gz --codec zeek --output out --once
  zcat events.gz | threatguard run --pipeline pipelines/identity.yaml --input - --once --verdicts json
  threatguard run --pipeline pipelines/network.yaml --input logs/ --models models --summary summary.json --once

The service answers on --listen (default 127.0.0.1:3002); SIGTERM ends a run within ten seconds and loses nothing.")]
pub struct RunArgs {
    /// Pipeline file; several run side by side
    #[arg(long, short, value_name = "FILE", required = true)]
    pub pipeline: Vec<PathBuf>,
    /// File (plain, gzip or zstd), folder (its files as one log, by time), or - for standard input, instead of Kafka
    #[arg(long, short, value_name = "PATH", conflicts_with_all = ["brokers", "redis", "group_id"])]
    pub input: Option<PathBuf>,
    /// How the input is read, over what the pipeline file says; auto looks at the first lines and says what it chose
    #[arg(long, value_name = "NAME", value_parser = codecs())]
    pub codec: Option<String>,
    /// Stop at the end of what is there
    #[arg(long)]
    pub once: bool,
    /// Score everything of this time and later again, such as 2026-05-01T06:30:00Z. Outputs come again with the same ids, alerts too
    #[arg(long, value_name = "TIME", conflicts_with = "input")]
    pub from: Option<String>,
    /// With --from: begin with the state of then, from the snapshots in this folder or s3:// address, and not with none
    #[arg(long, value_name = "PLACE", requires = "from")]
    pub snapshot: Option<String>,
    /// Analysts' verdicts, for recalibration: who was a true threat teaches nothing, what was nothing is learned
    #[arg(long, value_name = "FILE")]
    pub feedback: Option<PathBuf>,
    /// Write received, scored, late, deadLettered, threats, rates and latencies as JSON at the end
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// About so many events are worked on at a time. Results do not depend on it; tests show that with this flag
    #[arg(long, value_name = "EVENTS", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_events: Option<u32>,
    #[command(flatten)]
    pub service: ServiceFlags,
}

/// Watch threats being found in simulated traffic
///
/// Runs the simulator through both built-in pipelines, with rates, latencies, newest threats and entity risk on the terminal, and
/// says at the end what was found of the campaigns that were hidden in it. Needs neither Kafka nor Redis nor any file.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard demo                                   three simulated days of a company of 300
  threatguard demo --scenario small --plain          quick, one line a second
  threatguard demo --seed 7 --output demo-7          another company; results stay in demo-7
  threatguard explain <threat id> --output demo-7    why

Keys: q or Ctrl-C ends.")]
pub struct DemoArgs {
    #[command(flatten)]
    pub scenario: ScenarioFlags,
    /// Pipeline file instead of the built-in ones
    #[arg(long, short, value_name = "FILE")]
    pub pipeline: Vec<PathBuf>,
    /// One line a second instead of the live view
    #[arg(long)]
    pub plain: bool,
    /// Write the summary as JSON at the end
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    #[command(flatten)]
    pub service: ServiceFlags,
}

/// What is simulated.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Scenario")]
pub struct ScenarioFlags {
    /// small: 2 days, 40 people; demo: 3 days, 300 people; month: 28 days, 300 people
    #[arg(long, value_name = "NAME", default_value = "demo", value_parser = ["small", "demo", "month"])]
    pub scenario: String,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub seed: u64,
    /// This many times the people and servers
    #[arg(long, value_name = "FACTOR")]
    pub scale: Option<f64>,
    /// Length in days, over the scenario's
    #[arg(long, value_name = "DAYS")]
    pub days: Option<f64>,
    /// No attacks: what to learn from
    #[arg(long)]
    pub benign: bool,
}

/// Write simulated traffic with labelled attack campaigns
///
/// Realistic enterprise traffic and user activity, one JSON event a line, byte-identical for each seed. Over it run brute force,
/// password spraying, port scan, beaconing, exfiltration, lateral movement, impossible travel, an insider at night and DNS
/// tunnelling, each loud and slow. --labels says which entity did what and when.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard simulate --scenario small | head -3
  threatguard simulate --out events.jsonl --labels labels.jsonl --seed 7
  threatguard simulate --benign --days 2 --out benign.jsonl --pipelines company
  threatguard simulate --only identity --out people.jsonl")]
pub struct SimulateArgs {
    #[command(flatten)]
    pub scenario: ScenarioFlags,
    /// File of the events; standard output where left out
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// File of the labels, one campaign a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Folder for the two pipeline files that come with ThreatGuard, told of this company's allowed scanners and VPN
    #[arg(long, value_name = "DIR")]
    pub pipelines: Option<PathBuf>,
    /// Write into this field of each event which campaign's kind it belongs to, or 'benign': for 'backtest' and 'train'
    #[arg(long, value_name = "FIELD", value_parser = super::simulate::new_field)]
    pub label: Option<String>,
    /// Only network traffic or only user activity
    #[arg(long, value_name = "FAMILY", value_parser = ["network", "identity"])]
    pub only: Option<String>,
}

/// Fit a model bundle to ordinary traffic
///
/// Reads benign events through the pipeline, fits what is learned (isolation forest, calibration) and writes a bundle folder with a
/// manifest. 'run --models DIR' uses it.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard train --pipeline pipelines/network.yaml --input benign.log.gz --codec zeek --out models
  threatguard simulate --benign --out benign.jsonl --pipelines company
  threatguard train --pipeline company/identity.yaml --input benign.jsonl --codec threatguard --out models
  threatguard train --pipeline pipelines/network.yaml --input benign.jsonl --trees model.json --out models
  threatguard train --data flows.csv.gz --label class --benign normal --out model
  threatguard train --data traces.csv --label class --benign normal --sequence calls --out model")]
pub struct TrainArgs {
    /// Pipeline file
    #[arg(long, short, value_name = "FILE", required_unless_present = "data", requires = "input")]
    pub pipeline: Option<PathBuf>,
    /// File (plain, gzip or zstd), folder, or - for standard input
    #[arg(long, short, value_name = "PATH", requires = "pipeline")]
    pub input: Option<PathBuf>,
    /// How the input is read
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = codecs())]
    pub codec: String,
    /// Folder that the bundle is put into
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Boosted trees (XGBoost's JSON, or ONNX) that were fitted to the 'features' of Arrow verdicts, whose names a bundle's manifest has
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub trees: Option<PathBuf>,
    /// Stop after so many events
    #[arg(long, value_name = "EVENTS", requires = "pipeline")]
    pub limit: Option<u64>,
    /// Analysts' verdicts on threats in these events, as 'verdict' writes them; they go over labels
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub feedback: Option<PathBuf>,
    #[command(flatten)]
    pub table: TableFlags,
}

/// Send a file to Kafka at a chosen rate
///
/// Each record is framed as 'run --input' frames it, so that the log holds self-contained records, and keyed by the pipeline's entity.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard replay --input conn.log.gz --codec zeek --brokers localhost:9092 --rate 5000
  threatguard simulate | threatguard replay --input - --brokers localhost:9092")]
pub struct ReplayArgs {
    /// File (plain, gzip or zstd), folder, or - for standard input
    #[arg(long, short, value_name = "PATH")]
    pub input: PathBuf,
    /// How the input is read
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = codecs())]
    pub codec: String,
    /// Pipeline file, whose entity becomes the records' key; the source address where left out
    #[arg(long, short, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Topic that is written to
    #[arg(long, value_name = "NAME", default_value = "security.events.raw")]
    pub topic: String,
    /// Events a second; as fast as Kafka takes them where left out
    #[arg(long, value_name = "EVENTS")]
    pub rate: Option<f64>,
    /// Stop after so many events
    #[arg(long, value_name = "EVENTS")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub service: ServiceFlags,
}

/// Check pipeline files and the service configuration
///
/// Names every problem at once with its line and the nearest valid name. Connects to nothing.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard validate                              pipelines/*.yaml and the service configuration
  threatguard validate pipelines/network.yaml
  threatguard validate --config production.yaml my-pipeline.yaml

Exit code 1 when there are problems.")]
pub struct ValidateArgs {
    /// Pipeline files; pipelines/*.yaml where left out
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Service configuration; threatguard.yaml of the working folder where left out
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Run the tests inside pipeline files
///
/// Each test feeds its records to its pipeline as if they had been consumed, and compares what comes of them.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard test                                  pipelines/*.yaml
  threatguard test pipelines/network.yaml --only 'port scan'

Exit code 1 when a test fails.")]
pub struct TestArgs {
    /// Pipeline files; pipelines/*.yaml where left out
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only tests with this in their name
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Use this bundle instead of none
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// Show the configuration that holds, or its JSON Schema
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard config show                           and where each value comes from; secrets are masked
  threatguard config show --pipeline pipelines/network.yaml
  threatguard config schema pipeline > pipeline.schema.json

In an editor: put '# yaml-language-server: $schema=pipeline.schema.json' on top of a pipeline file.")]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// The configuration that holds, with secrets masked
    Show {
        /// This pipeline too, with every default filled in
        #[arg(long, short, value_name = "FILE")]
        pipeline: Vec<PathBuf>,
        #[command(flatten)]
        service: Box<ServiceFlags>,
    },
    /// The JSON Schema
    Schema {
        /// Of which file
        #[arg(default_value = "service", value_parser = ["service", "pipeline"])]
        of: String,
    },
}
