//! `threatguard model import`, and measuring and scoring with what it wrote.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::args_import::ImportArgs;
use super::args_table::{EvaluateArgs, ScoreArgs};
use super::{Outcome, evaluate, output, train_table};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::limits::TREES_IMPORT_BYTES_MAX;
use crate::models::imported::{Foreign, Imported, columns, read};
use crate::models::table::frame::Frame;
use crate::models::table::model::LabelRule;
use crate::models::table::report::measure;
use crate::models::{bundle_files, table::truth};

/// The name of the trees among members.
const MEMBER: &str = "boosted_trees";

pub(super) fn import(args: &ImportArgs) -> Result<Outcome> {
    bundle_files::check(&args.out)?;
    let foreign = foreign(&args.file)?;
    let named = args.features.as_deref().map(table::names).transpose()?;
    let mut rule = LabelRule::default();
    let benign = args.data.as_deref().map(|data| benign(args, data, &mut rule)).transpose()?;
    let columns = columns(&foreign, named, benign.as_ref())?;
    let mut model = Imported::new(foreign, columns);
    model.manifest.label = rule;
    if let Some(benign) = &benign {
        model.calibrate(benign)?;
    }
    let (manifest, files) = model.to_files();
    bundle_files::save_files(&files, &args.out)?;
    if args.json {
        output::json(&manifest)?;
        return Ok(Outcome::Clean);
    }
    let how = match &benign {
        Some(benign) => format!("calibrated on {} benign rows", benign.rows()),
        None => "not calibrated: no p-values, and the library's own threshold; give benign rows with --data".to_owned(),
    };
    let (trees, width, folder) = (model.trees.len(), model.trees.width(), args.out.display());
    output::print(&format!("imported version {}: {trees} trees on {width} columns, {how}\nmodel in {folder}\n", manifest.version))?;
    Ok(Outcome::Clean)
}

/// A model that another library wrote.
pub(super) fn foreign(file: &Path) -> Result<Foreign> {
    let cannot = |error| Error::config(format!("cannot read {}", file.display())).because(error);
    let bytes = std::fs::metadata(file).map_err(cannot)?.len();
    if bytes > TREES_IMPORT_BYTES_MAX as u64 {
        return Err(Error::config(format!("{} has {bytes} bytes; {TREES_IMPORT_BYTES_MAX} are possible", file.display())));
    }
    let bytes = std::fs::read(file).map_err(cannot)?;
    read(&bytes).map_err(|error| Error::new(error.kind, file.display().to_string()).because(error))
}

/// The benign rows of a table: all of them where it has no label.
fn benign(args: &ImportArgs, data: &Path, rule: &mut LabelRule) -> Result<Frame> {
    let names = args.columns.as_deref().map(table::names).transpose()?;
    let mut frame = table::read(data, names.as_deref(), &|_| None)?;
    let label = args.label.as_deref().map(|label| train_table::labelled(&mut frame, label, args.benign.as_deref())).transpose()?;
    let Some((truth, benign)) = label else { return Ok(frame) };
    let rows: Vec<usize> = (0..frame.rows()).filter(|row| !truth.attack[*row]).collect();
    if rows.is_empty() {
        return Err(truth::no_benign(&truth, &benign));
    }
    *rule = LabelRule { column: args.label.clone(), benign: Some(benign) };
    Ok(frame.select(&rows))
}

/// The imported model in a folder; none where that holds a model of our own.
pub(super) fn load(folder: &Path) -> Result<Option<Imported>> {
    bundle_files::load_with(folder, |read| Imported::from_files(read))
}

fn table_of(model: &Imported, data: &Path, names: Option<&str>) -> Result<Frame> {
    let names = names.map(table::names).transpose()?;
    table::read(data, names.as_deref(), &|name| model.manifest.columns.iter().any(|column| column == name).then_some(false))
}

pub(super) fn evaluated(model: &Imported, args: &EvaluateArgs) -> Result<Outcome> {
    let mut frame = table_of(model, &args.data, args.columns.as_deref())?;
    let rule = &model.manifest.label;
    let column = args.label.as_deref().or(rule.column.as_deref());
    let column = column.ok_or_else(|| Error::config("name the column of the labels with --label"))?;
    let (truth, benign) = evaluate::labels(&mut frame, column, args.benign.as_deref().or(rule.benign.as_deref()))?;
    truth::both_classes(&truth, &benign)?;
    let measures = measure(&model.margins(&frame)?, &truth, model.manifest.threshold);
    let attacks = truth.attack.iter().filter(|attack| **attack).count();
    let report = evaluate::Report {
        rows: truth.attack.len() as u64,
        base_rate: attacks as f64 / truth.attack.len() as f64,
        ensemble: measures.clone(),
        members: BTreeMap::from([(MEMBER, measures)]),
    };
    if let Some(path) = &args.json {
        evaluate::write_json(path, &report)?;
    }
    output::print(&evaluate::view(&report, &[]))?;
    Ok(Outcome::Clean)
}

pub(super) fn scored(model: &Imported, args: &ScoreArgs) -> Result<Outcome> {
    let margins = model.margins(&table_of(model, &args.data, args.columns.as_deref())?)?;
    let is_csv = args.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let mut text = if is_csv { format!("row,score,p_value,alert,{MEMBER}\n") } else { String::new() };
    for (row, margin) in margins.iter().enumerate() {
        let (score, p_value, alert) = (model.trees.prediction(*margin), model.p_value(*margin), *margin > model.manifest.threshold);
        // Writing to a string cannot fail.
        if is_csv {
            let p_value = p_value.map_or_else(String::new, |p| format!("{p:e}"));
            writeln!(text, "{},{score},{p_value},{},{margin}", row + 1, u8::from(alert)).ok();
        } else {
            let parts = json!({ MEMBER: margin });
            writeln!(text, "{}", json!({"row": row + 1, "score": score, "pValue": p_value, "alert": alert, "parts": parts})).ok();
        }
    }
    evaluate::write(&args.out, text.as_bytes())?;
    let alerts = margins.iter().filter(|margin| **margin > model.manifest.threshold).count();
    output::print(&format!("{} rows, {alerts} alerts; scores in {}\n", margins.len(), args.out.display()))?;
    Ok(Outcome::Clean)
}
