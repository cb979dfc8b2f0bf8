//! The arguments of `model`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args_import::ImportArgs;
use super::args_importance::ImportanceArgs;
use super::args_retrain::RetrainArgs;

/// Look at the model bundles of a registry, and say which of them scores
///
/// A registry is a folder, or a place in an object store, that keeps bundles by pipeline and version. One version is the champion: 'run
/// --models REGISTRY' scores with it, and changes over within seconds when another one becomes that. A shadow scores the same events
/// without outputs of its own.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:                                   (each with --models REGISTRY, and --pipeline NAME where it keeps several)
  threatguard model add trained/                       put a bundle of 'threatguard train' into the registry
  threatguard model list                               version, role, what it was trained from
  threatguard model shadow 5f2c                        compare it with the champion on the events that come; the first digits do
  threatguard model show 5f2c --json                   its manifest, and what came of the comparison
  threatguard model diff 91aa 5f2c                     what changed: data, detectors, what scores mean, features
  threatguard model promote 5f2c
  threatguard model rollback                           back to the champion before
  threatguard model retrain --pipeline p.yaml --input week.jsonl     a candidate, promoted only if it is better
  threatguard model jobs                               how far retraining is, and what came of it
  threatguard model importance --pipeline p.yaml --input labelled.jsonl --label label     what the champion looks at
  threatguard model import model.json --data benign.csv --out model  trees of XGBoost, or of an ONNX file, for 'score' and 'evaluate'")]
pub struct ModelArgs {
    #[command(subcommand)]
    pub verb: ModelVerb,
}

/// Which registry.
#[derive(Clone, Debug, Args)]
pub struct RegistryFlags {
    /// Registry: a folder, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "REGISTRY")]
    pub models: PathBuf,
    /// Name of the pipeline; not needed where the registry keeps bundles of one only
    #[arg(long, short, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ModelVerb {
    /// Every version: role, what it was trained from, detectors
    List {
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// One version: manifest, figures, comparisons; the champion where none is named
    Show {
        /// Version, or its first digits
        version: Option<String>,
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// Put a bundle into the registry, where it has no role yet
    Add {
        /// Folder of the bundle
        bundle: PathBuf,
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// Make a version the champion: running pipelines change over within seconds
    Promote {
        /// Version, or its first digits
        version: String,
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// Let a version score beside the champion, without outputs of its own, and be compared
    Shadow {
        /// Version, or its first digits
        #[arg(required_unless_present = "off")]
        version: Option<String>,
        /// No version any more
        #[arg(long, conflicts_with = "version")]
        off: bool,
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// Make the champion before the present one champion again
    Rollback {
        #[command(flatten)]
        flags: RegistryFlags,
    },
    Retrain(Box<RetrainArgs>),
    Importance(Box<ImportanceArgs>),
    Import(Box<ImportArgs>),
    /// Retraining jobs: how far each is, and what came of it
    Jobs {
        /// Id of one
        job: Option<String>,
        #[command(flatten)]
        flags: RegistryFlags,
    },
    /// What differs between two versions
    Diff {
        /// Version, or its first digits
        from: String,
        /// Version, or its first digits
        to: String,
        #[command(flatten)]
        flags: RegistryFlags,
    },
}
