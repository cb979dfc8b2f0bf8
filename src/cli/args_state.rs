//! The arguments of `state` and `verify`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::ServiceFlags;

/// Look at a pipeline's state, check it, keep snapshots of it, bring one back
///
/// State lies in Redis and belongs to the offsets that the pipeline's group has committed in Kafka. 'inspect', 'verify' and 'snapshot'
/// work beside a running pipeline; 'restore', 'drop' and 'adopt' only while its group has no members.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:                                   (each with --pipeline FILE --brokers LIST --redis URL)
  threatguard state inspect                                  R, C, owner, entities and bytes by partition
  threatguard state inspect --entity user:alice --json       what is remembered of one entity
  threatguard state verify                                   exit code 1 when something does not fit
  threatguard state snapshot --to /backup/threatguard        or s3://bucket/prefix (AWS_* variables say where and who)
  threatguard state restore --from-snapshot /backup/threatguard
  threatguard state restore --from-snapshot /backup/threatguard --to-offsets snapshot

A restore replays what the snapshot lacks without publishing anything. With '--to-offsets snapshot' the group goes back to the
snapshot's point in time: everything from there on is published again, with the same ids.")]
pub struct StateArgs {
    #[command(subcommand)]
    pub verb: StateVerb,
}

/// Which state.
#[derive(Clone, Debug, Args)]
pub struct StateFlags {
    /// Pipeline file
    #[arg(long, short, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// The state of the correlation of this pipeline's threats, instead of its own
    #[arg(long)]
    pub correlation: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub service: Box<ServiceFlags>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum StateVerb {
    /// Checkpoint, committed offset, owner, entities and bytes of each partition; or one entity; or the snapshots of a place
    Inspect {
        /// What is remembered of one entity: an address, user:NAME, host:NAME, or a name alone
        #[arg(long, value_name = "NAME", conflicts_with = "snapshot")]
        entity: Option<String>,
        /// List the snapshots in this folder or s3:// address instead
        #[arg(long, value_name = "PLACE")]
        snapshot: Option<String>,
        #[command(flatten)]
        flags: StateFlags,
    },
    /// Check that state, offsets and log fit together; exit code 1 when they do not
    Verify {
        #[command(flatten)]
        flags: StateFlags,
    },
    /// Keep all of it in a folder or an object store
    Snapshot {
        /// Folder, file:// or s3:// address
        #[arg(long, value_name = "PLACE")]
        to: String,
        #[command(flatten)]
        flags: StateFlags,
    },
    /// Bring a snapshot back; what is stored now is removed
    Restore {
        /// The place that snapshots were put in (the newest counts), or one of them
        #[arg(long, value_name = "PLACE")]
        from_snapshot: String,
        /// One of them by its name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Where the group goes on: where it is, or at the snapshot's point in time, publishing again from there
        #[arg(long, value_name = "WHERE", default_value = "keep", value_parser = ["keep", "snapshot"])]
        to_offsets: String,
        #[command(flatten)]
        flags: StateFlags,
    },
    /// Remove all of it; the next start makes it anew from the log where it can
    Drop {
        /// Yes, remove it
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        flags: StateFlags,
    },
    /// Take what is stored over for this group, after offsets were set by another tool or the group has another name
    Adopt {
        #[command(flatten)]
        flags: StateFlags,
    },
}

/// Check a deployment from outside: offsets, state, ids, gaps, lag, transactions
///
/// Reads what any other consumer can read, changes nothing, and may run beside the pipeline at any time.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "\
Examples:
  threatguard verify --pipeline pipelines/network.yaml --brokers localhost:9092 --redis redis://localhost:6379
  threatguard verify --pipeline pipelines/network.yaml --brokers localhost:9092 --since 2026-05-01T00:00:00Z --json

Exit code 0: all invariants hold; 1: findings; 2: wrong call or configuration; 3: brokers or Redis did not answer.")]
pub struct VerifyArgs {
    /// Pipeline file
    #[arg(long, short, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// Read outputs of this time and later (RFC 3339), at most --last of each topic
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Read at most so many of the latest records of each output topic
    #[arg(long, value_name = "RECORDS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub last: u64,
    /// A transaction that is open for so many seconds is hanging
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=900))]
    pub patience: u64,
    /// For programs
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub service: Box<ServiceFlags>,
}
