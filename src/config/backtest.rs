//! What a backtest looks at and what it must reach: the `backtest` section of a pipeline file, and the same as flags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the pipeline is measured against labelled events, `threatguard backtest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BacktestSettings {
    /// The field of an event that holds its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The label of benign events; `benign`, `normal`, `0`, `false` and the like where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benign: Option<String>,
    /// Labels that say neither: such events are scored and not measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    pub bars: Bars,
}

/// What must be reached: each is a test case, and one that is missed makes the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, clap::Args)]
#[command(next_help_heading = "Bars")]
#[serde(deny_unknown_fields, default)]
pub struct Bars {
    /// Area under the ROC curve of events, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_roc_auc: Option<f64>,
    /// Area under the precision-recall curve of events, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pr_auc: Option<f64>,
    /// Share of attack events found where 1 % of the benign ones are, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_recall_at_1_percent: Option<f64>,
    /// Share of attack events that are threats at the pipeline's threshold, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_recall: Option<f64>,
    /// Share of benign events that are threats at the pipeline's threshold, at most
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fpr: Option<f64>,
    /// Threats in a million events, at most
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_alerts_per_million: Option<f64>,
    /// Share of attacking entities with a threat, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_entity_recall: Option<f64>,
    /// Share of benign entities with a threat, at most
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entity_fpr: Option<f64>,
    /// Share of incidents with a threat, at least
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_incident_recall: Option<f64>,
    /// Median of the seconds from the first event of a found incident to its first threat, at most
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds_to_threat: Option<f64>,
}

/// One bar: its name, and what it is where it is set.
pub type Bar = (&'static str, Option<f64>);

impl Bars {
    /// All, in the order they are shown.
    #[must_use]
    pub fn list(&self) -> [Bar; 10] {
        [
            ("min_roc_auc", self.min_roc_auc),
            ("min_pr_auc", self.min_pr_auc),
            ("min_recall_at_1_percent", self.min_recall_at_1_percent),
            ("min_recall", self.min_recall),
            ("max_fpr", self.max_fpr),
            ("max_alerts_per_million", self.max_alerts_per_million),
            ("min_entity_recall", self.min_entity_recall),
            ("max_entity_fpr", self.max_entity_fpr),
            ("min_incident_recall", self.min_incident_recall),
            ("max_seconds_to_threat", self.max_seconds_to_threat),
        ]
    }

    /// These where they are set, else those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            min_roc_auc: self.min_roc_auc.or(other.min_roc_auc),
            min_pr_auc: self.min_pr_auc.or(other.min_pr_auc),
            min_recall_at_1_percent: self.min_recall_at_1_percent.or(other.min_recall_at_1_percent),
            min_recall: self.min_recall.or(other.min_recall),
            max_fpr: self.max_fpr.or(other.max_fpr),
            max_alerts_per_million: self.max_alerts_per_million.or(other.max_alerts_per_million),
            min_entity_recall: self.min_entity_recall.or(other.min_entity_recall),
            max_entity_fpr: self.max_entity_fpr.or(other.max_entity_fpr),
            min_incident_recall: self.min_incident_recall.or(other.min_incident_recall),
            max_seconds_to_threat: self.max_seconds_to_threat.or(other.max_seconds_to_threat),
        }
    }

    /// Bars that nothing or everything meets: the name, and what to write instead.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let is_count = |name: &str| ["max_alerts_per_million", "max_seconds_to_threat"].contains(&name);
        let wrong = |(name, value): Bar| {
            let most = if is_count(name) { f64::MAX } else { 1.0 };
            let message = if is_count(name) { "write a number of at least 0" } else { "write a share between 0 and 1" };
            value.filter(|value| !(0.0..=most).contains(value)).map(|_| (name, message))
        };
        self.list().into_iter().filter_map(wrong).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_ranges_are_told() {
        let file: Bars = serde_norway::from_str("{min_recall: 0.9, max_fpr: 0.01}").unwrap();
        let flags = Bars { max_fpr: Some(0.5), max_seconds_to_threat: Some(-1.0), ..Bars::default() };
        let both = flags.or(&file);
        assert_eq!((both.min_recall, both.max_fpr), (Some(0.9), Some(0.5)));
        assert_eq!(both.problems(), [("max_seconds_to_threat", "write a number of at least 0")]);
        assert_eq!(Bars { min_recall: Some(f64::NAN), ..both }.problems().len(), 2);
        let every = Bars { max_alerts_per_million: Some(0.0), ..Bars::default() };
        assert!(every.list().iter().any(|bar| bar == &("max_alerts_per_million", Some(0.0))) && every.problems().is_empty());
    }

    #[test]
    fn no_bar_is_forgotten() {
        let text: String = Bars::default().list().iter().map(|(name, _)| format!("{name}: 0.5\n")).collect();
        let all: Bars = serde_norway::from_str(&text).unwrap();
        assert!(all.list().iter().all(|(_, value)| *value == Some(0.5)));
        assert_eq!((Bars::default().or(&all), all.or(&Bars::default())), (all, all));
        assert_eq!(serde_norway::to_string(&all).unwrap().lines().count(), all.list().len());
    }
}
