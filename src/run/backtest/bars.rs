//! Bars as test cases: what was asked for, what came, and whether that is enough.

use serde::Serialize;

use super::report::Report;
use crate::config::backtest::Bars;

/// One bar, held against the measures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    pub name: &'static str,
    pub limit: f64,
    /// None where there is nothing to measure: such a bar is missed.
    pub value: Option<f64>,
    pub met: bool,
}

/// The bars that are set.
pub(super) fn cases(report: &Report, bars: &Bars) -> Vec<Case> {
    let case = |(name, limit): (&'static str, Option<f64>)| {
        let (limit, value) = (limit?, value(report, name));
        let met = value.is_some_and(|value| if name.starts_with("min_") { value >= limit } else { value <= limit });
        Some(Case { name, limit, value, met })
    };
    bars.list().into_iter().filter_map(case).collect()
}

fn value(report: &Report, name: &str) -> Option<f64> {
    let (events, incidents) = (&report.events.ensemble, &report.incidents.ensemble);
    let entities = report.entities.as_ref().map(|entities| &entities.ensemble);
    match name {
        "min_roc_auc" => Some(events.roc_auc),
        "min_pr_auc" => Some(events.pr_auc),
        "min_recall_at_1_percent" => events.tpr_at_fpr.get("0.01").copied(),
        "min_recall" => Some(events.deployed.tpr),
        "max_fpr" => Some(events.deployed.fpr),
        "max_alerts_per_million" => Some(events.alerts_per_million),
        "min_entity_recall" => entities.map(|entities| entities.deployed.tpr),
        "max_entity_fpr" => entities.map(|entities| entities.deployed.fpr),
        "min_incident_recall" => Some(incidents.recall),
        "max_seconds_to_threat" => incidents.seconds_to_first.map(|seconds| seconds.median),
        _ => None,
    }
}

impl Case {
    /// `min_recall 0.9: 0.83`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let value = self.value.map_or("not measurable here".to_owned(), |value| value.to_string());
        format!("{} {}: {value}", self.name, self.limit)
    }
}
