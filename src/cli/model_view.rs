//! How `threatguard model` looks to people. Pure: records in, text out.

use super::model::{Listed, Now, Shown};
use super::output::table;
use crate::core::printable::printable;
use crate::core::types::EventTime;
use crate::models::bundle::Origin;
use crate::models::compare::{Difference, FeatureDifference, Side};
use crate::models::recalibrate::Shift;
use crate::models::registry::Role;
use crate::run::recalibration::RecalibrationRecord;
use crate::run::succession::ShadowRecord;

/// Changes shown of a history, and features of a difference.
const CHANGES_SHOWN: usize = 10;
const FEATURES_SHOWN: usize = 8;

fn cells<const N: usize>(row: [&str; N]) -> Vec<String> {
    row.map(str::to_owned).to_vec()
}

fn or_none(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn number(value: Option<f32>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Champion => "champion",
        Role::Shadow => "shadow",
        Role::None => "",
    }
}

fn span(origin: &Origin) -> String {
    format!("{} .. {}", EventTime(origin.oldest_micros), EventTime(origin.newest_micros))
}

pub(super) fn list(found: &Listed) -> String {
    let mut rows = vec![cells(["version", "role", "events", "trained from", "detectors"])];
    rows.extend(found.versions.iter().map(|version| {
        let (events, from) = match (&version.trained_from, &version.problem) {
            (Some(origin), _) => (origin.events.to_string(), span(origin)),
            (None, problem) => ("-".to_owned(), problem.clone().unwrap_or_default()),
        };
        vec![version.version.clone(), role(version.role).to_owned(), events, from, version.detectors.join(" ")]
    }));
    let mut text = format!("pipeline {}\n\n{}", printable(&found.pipeline), table(&rows));
    if !found.history.is_empty() {
        let from = found.history.len().saturating_sub(CHANGES_SHOWN);
        let change = |change: &crate::models::registry::Change| {
            vec![
                change.at.clone(),
                change.action.as_str().to_owned(),
                or_none(change.version.as_deref()).to_owned(),
                format!("before: {}", or_none(change.before.as_deref())),
            ]
        };
        text.push_str(&format!("\n{}", table(&found.history[from..].iter().map(change).collect::<Vec<_>>())));
    }
    text
}

pub(super) fn now(now: &Now) -> String {
    format!(
        "pipeline {}: champion {}, shadow {}, a rollback leads to {}\n",
        printable(&now.pipeline),
        or_none(now.champion.as_deref()),
        or_none(now.shadow.as_deref()),
        or_none(now.before.as_deref())
    )
}

pub(super) fn shown(shown: &Shown) -> String {
    let manifest = &shown.manifest;
    let training = &manifest.training;
    let mut text = format!(
        "{} {}\npipeline {}, {} events, {}\n{} rows: {} for the forest, {} for calibration, {} left out as too odd; seed {}\n\n",
        manifest.version,
        role(shown.role),
        printable(&manifest.created_from.pipeline),
        manifest.created_from.events,
        span(&manifest.created_from),
        training.rows,
        training.fit_rows,
        training.calibration_rows,
        training.trimmed_rows,
        training.seed
    );
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.3} %", 100.0 * share));
    let mut rows = vec![cells(["detector", "samples", "median", "p99", "max", "benign at p <= 1 %", "at 0.1 %"])];
    rows.extend(manifest.detectors.iter().map(|(name, metrics)| {
        vec![
            name.clone(),
            metrics.samples.to_string(),
            number(Some(metrics.median)),
            number(Some(metrics.p99)),
            number(Some(metrics.max)),
            share(metrics.false_positives_at_1_percent),
            share(metrics.false_positives_at_01_percent),
        ]
    }));
    text.push_str(&table(&rows));
    if let Some(made) = &manifest.recalibrated {
        let (rows, upto) = (made.rows, EventTime(made.upto_micros));
        text.push_str(&format!(
            "\nmodels of {}, calibrated again on {rows} ordinary rows up to {upto}\n{}",
            made.parent,
            shifts(&made.shifts)
        ));
    }
    text.extend(shown.recalibration.iter().map(judgement));
    if !shown.comparisons.is_empty() {
        text.push_str(&format!("\n{}", comparisons(&shown.comparisons)));
    }
    text
}

/// What a process last found of recent ordinary rows.
fn judgement(record: &RecalibrationRecord) -> String {
    let alarm = record.alarm_since_micros.map_or_else(|| "no alarm".to_owned(), |since| format!("ALARM since {}", EventTime(since)));
    let (RecalibrationRecord { instance, rows, .. }, upto) = (record, EventTime(record.upto_micros));
    format!("\n{rows} ordinary rows up to {upto} in {}: {alarm}\n{}", printable(instance), shifts(&record.shifts))
}

fn shifts(shifts: &[Shift]) -> String {
    let mut rows = vec![cells(["detector", "ordinary scores beside the trained", ""])];
    rows.extend(shifts.iter().map(|shift| {
        let said = match (shift.is_refused, shift.is_alarm) {
            (true, _) => "alarm: past the bound, not followed",
            (_, true) => "alarm",
            _ => "",
        };
        vec![shift.detector.clone(), format!("{:.3}", shift.factor), said.to_owned()]
    }));
    table(&rows)
}

fn comparisons(records: &[ShadowRecord]) -> String {
    let mut rows = vec![cells([
        "shadow beside",
        "in",
        "rows",
        "both",
        "champion alone",
        "shadow alone",
        "difference: mean",
        "1 %",
        "50 %",
        "99 % nats",
    ])];
    rows.extend(records.iter().map(|record| {
        let compared = &record.compared;
        let counts = [compared.rows, compared.both, compared.champion_only, compared.shadow_only].map(|count| count.to_string());
        let nats = [compared.mean, compared.p1, compared.p50, compared.p99].map(|nats| format!("{nats:.2}"));
        [record.champion.clone(), record.instance.clone()].into_iter().chain(counts).chain(nats).collect()
    }));
    table(&rows)
}

fn side(side: &Side) -> String {
    format!("{}  {} events, {}, {} rows, seed {}", side.version, side.created_from.events, span(&side.created_from), side.rows, side.seed)
}

pub(super) fn difference(found: &Difference) -> String {
    let mut text = format!("from {}\nto   {}\n", side(&found.from), side(&found.to));
    if found.parts.is_empty() {
        return text + "the models are the same\n";
    }
    text.push_str(&format!("changed: {}\n\n", found.parts.join(" ")));
    let mut rows = vec![cells(["detector", "samples", "median", "score at p = 1 %", "at 0.1 %", "at 0.01 %"])];
    rows.extend(found.detectors.iter().map(|detector| {
        let samples = detector.samples.map(|samples| samples.map_or_else(|| "-".to_owned(), |samples| samples.to_string()));
        let mut row = vec![detector.detector.clone(), samples.join(" > "), detector.medians.map(number).join(" > ")];
        row.extend(detector.quantiles.iter().map(|quantile| quantile.scores.map(number).join(" > ")));
        row
    }));
    text.push_str(&table(&rows));
    let moved: Vec<&FeatureDifference> = found.features.iter().filter(|feature| feature.has_moved()).collect();
    if !moved.is_empty() {
        let mut rows = vec![cells(["feature", "median", "moved by deviations"])];
        rows.extend(moved.iter().take(FEATURES_SHOWN).map(|feature| {
            vec![feature.feature.clone(), feature.medians.map(|median| number(Some(median))).join(" > "), number(feature.deviations)]
        }));
        text.push_str(&format!("\n{}", table(&rows)));
    }
    text
}
