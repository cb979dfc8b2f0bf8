//! Test-then-train: models of tables whose rows come in time, whose labels come later, and whose traffic drifts.
//!
//! `stages` says what is known at which row. `jobs` fits what scores each stage, from nothing but that: `trees` to labelled rows and,
//! as weak attacks, to the newest rows without a label; `anomaly` to benign rows. `follow` goes through the scores in order, with
//! references and thresholds from rows whose label has come, and `watch` raises alarms. Must never let a row's score, its threshold
//! or an alarm before it depend on a later row, or on a label before it has come.

mod anomaly;
mod follow;
mod jobs;
mod memory;
mod stages;
mod trees;
mod watch;

pub use follow::{Followed, Track};
pub use jobs::{Done, Stream};
pub use watch::{Alarm, Cause};

/// What is tested how.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Rows at the beginning whose labels are known before anything is tested.
    pub warm_up_rows: usize,
    /// A row's label is known once so many rows have come after it.
    pub label_delay: usize,
    /// Rows that are scored by one fit.
    pub refit_every: usize,
    /// The share of benign rows that may become alerts.
    pub nominal: f64,
    pub seed: u64,
}

#[cfg(test)]
mod tests;
