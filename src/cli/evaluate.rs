//! `threatguard evaluate`: how well a model of a table does on labelled rows.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::args_table::EvaluateArgs;
use super::{Outcome, evaluate_stream, imported, output};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::models::bundle_files;
use crate::models::table::frame::Frame;
use crate::models::table::model::{Manifest, Scored, TableModel};
use crate::models::table::report::{Measures, Truth, measure};
use crate::models::table::truth;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub rows: u64,
    pub base_rate: f64,
    pub ensemble: Measures,
    pub members: BTreeMap<&'static str, Measures>,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<Outcome> {
    let Some(folder) = args.model.as_deref().filter(|_| !args.stream.test_then_train) else { return evaluate_stream::run(args) };
    if let Some(model) = imported::load(folder)? {
        return imported::evaluated(&model, args);
    }
    let (model, manifest) = load(folder)?;
    let mut frame = read(&model, &args.data, args.columns.as_deref())?;
    let truth = truth(&mut frame, args.label.as_deref(), args.benign.as_deref(), &manifest)?;
    let report = report(&model, &model.score(&frame)?, &truth);
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    output::print(&view(&report, &[]))?;
    Ok(Outcome::Clean)
}

pub(super) fn write_json(path: &Path, report: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(report).map_err(|failure| Error::bug("a report is no JSON").because(failure))?;
    text.push(b'\n');
    write(path, &text)
}

/// The model in a folder.
pub(super) fn load(folder: &Path) -> Result<(TableModel, Manifest)> {
    bundle_files::load_with(folder, |read| TableModel::from_files(read))
}

/// A table as the model needs it.
pub(super) fn read(model: &TableModel, data: &Path, columns: Option<&str>) -> Result<Frame> {
    let names = columns.map(table::names).transpose()?;
    table::read(data, names.as_deref(), &|name| model.schema.is_words(name))
}

/// Writes a file whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::permanent(format!("cannot write {}", path.display())).because(error))
}

/// Takes the label out of a table: as it is named here, or as in training. Both kinds of rows must be there.
pub(super) fn truth(frame: &mut Frame, name: Option<&str>, benign: Option<&str>, manifest: &Manifest) -> Result<Truth> {
    let (column, benign) = label(name, benign, Some(manifest))?;
    let (truth, benign) = labels(frame, column, benign)?;
    truth::both_classes(&truth, &benign)?;
    Ok(truth)
}

/// The label's column and its benign value, where one is named: the arguments', else the model's.
pub(super) fn label<'a>(
    name: Option<&'a str>,
    benign: Option<&'a str>,
    manifest: Option<&'a Manifest>,
) -> Result<(&'a str, Option<&'a str>)> {
    let rule = manifest.map(|manifest| &manifest.label);
    let column = name.or(rule.and_then(|rule| rule.column.as_deref()));
    let without = if manifest.is_some() { "the model was trained without a label; name" } else { "name" };
    let column = column.ok_or_else(|| Error::config(format!("{without} the column of the labels with --label")))?;
    Ok((column, benign.or(rule.and_then(|rule| rule.benign.as_deref()))))
}

/// Takes the labels out of a frame; with them comes the benign value.
pub(super) fn labels(frame: &mut Frame, column: &str, benign: Option<&str>) -> Result<(Truth, String)> {
    let column = frame.take(column).map_err(|error| Error::config(format!("{error}; a file without a header line needs --columns")))?;
    truth::read(&column, benign)
}

fn report(model: &TableModel, scored: &Scored, truth: &Truth) -> Report {
    let attacks = truth.attack.iter().filter(|attack| **attack).count();
    let members = model.names().iter().copied().zip(&scored.raw).zip(&model.thresholds);
    Report {
        rows: truth.attack.len() as u64,
        base_rate: attacks as f64 / truth.attack.len() as f64,
        ensemble: measure(&scored.scores, truth, model.threshold),
        members: members.map(|((name, scores), threshold)| (name, measure(scores, truth, *threshold))).collect(),
    }
}

/// The measures as a table; `others` are lines of scorers that are no members.
pub(super) fn view(report: &Report, others: &[(&str, &Measures)]) -> String {
    let head = ["", "ROC AUC", "PR AUC", "TPR@0.1%", "TPR@0.8%", "TPR@1%", "TPR@5%", "accuracy", "TPR", "FPR", "alerts/M"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let line = |name: &str, m: &Measures| {
        let mut cells = vec![name.to_owned(), format!("{:.4}", m.roc_auc), format!("{:.4}", m.pr_auc)];
        cells.extend(["0.001", "0.008", "0.01", "0.05"].map(|rate| format!("{:.4}", m.tpr_at_fpr[rate])));
        cells.extend([m.deployed.accuracy, m.deployed.tpr, m.deployed.fpr].map(|value| format!("{value:.4}")));
        cells.push(format!("{:.0}", m.alerts_per_million));
        cells
    };
    lines.push(line("ensemble", &report.ensemble));
    lines.extend(report.members.iter().map(|(name, measures)| line(name, measures)));
    lines.extend(others.iter().map(|(name, measures)| line(name, measures)));
    let [low, high] = report.ensemble.interval95.roc_auc;
    format!(
        "{} rows, {:.1} % of them attacks; ROC AUC within {low:.4} and {high:.4} (95 %)\n{}",
        report.rows,
        report.base_rate * 100.0,
        output::table(&lines)
    )
}
