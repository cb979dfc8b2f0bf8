//! `threatguard train --data`: fits a model to a table.

use std::path::Path;

use super::args_table::TableFlags;
use super::{Outcome, jobs, output};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::models::bundle_files;
use crate::models::table::frame::{Column, Frame};
use crate::models::table::leak;
use crate::models::table::model::{Facts, LabelRule, Manifest, TableModel};
use crate::models::table::plan::{Options, Plan};
use crate::models::table::report::Truth;
use crate::models::table::{symbols, truth};

pub(super) fn run(flags: &TableFlags, data: &Path, out: &Path) -> Result<Outcome> {
    bundle_files::check(out)?;
    let mut frame = read(data, flags.shape.columns.as_deref(), flags.shape.sequence.as_deref())?;
    let (rows, columns) = (frame.rows(), frame.columns().len());
    output::notice(&format!("read {rows} rows of {columns} columns from {}", data.display()));
    let label = flags.label.as_deref().map(|label| labelled(&mut frame, label, flags.benign.as_deref())).transpose()?;
    let group = flags.shape.group.as_deref().map(|group| frame.take(group)).transpose()?;
    for name in &flags.shape.drop {
        frame.take(name)?;
    }
    let (truth, benign) = label.unzip();
    let known = known(truth.as_ref(), benign.as_deref())?;
    let options = Options { seed: flags.seed, ..Options::default() };
    let plan = plan(&frame, flags.shape.sequence.as_deref(), known, group.as_ref(), options)?;
    for (name, why) in &plan.schema().left_out {
        output::notice(&format!("column '{name}' is left out: {why}"));
    }
    if let Some(truth) = &truth {
        for (name, share) in leak::columns(&frame, &truth.attack) {
            output::notice(&format!(
                "column '{name}' alone tells {:.1} % of the rows right: if it is known only afterwards, leave it out with --drop",
                share * 100.0
            ));
        }
    }
    let model = fit(plan)?;
    let rule = LabelRule { column: flags.label.clone(), benign };
    let (manifest, files) = model.to_files(rule);
    bundle_files::save_files(&files, out)?;
    output::print(&summary(&model, &manifest, out))?;
    Ok(Outcome::Clean)
}

/// A table to learn from, whose sequences stay text.
pub(super) fn read(data: &Path, columns: Option<&str>, sequence: Option<&str>) -> Result<Frame> {
    let names = columns.map(table::names).transpose()?;
    table::read(data, names.as_deref(), &|name| (sequence == Some(name)).then_some(true))
}

/// How to fit to the column of sequences where one is named, or is all there is, and to all columns otherwise.
pub(super) fn plan(frame: &Frame, sequence: Option<&str>, known: Option<&Truth>, group: Option<&Column>, options: Options) -> Result<Plan> {
    let found = symbols::found(frame);
    let column = sequence.or_else(|| found.filter(|_| frame.columns().len() == 1));
    let Some(column) = column else {
        if let Some(found) = found {
            output::notice(&format!(
                "column '{found}' looks like sequences of symbols: what comes after what is learned by --sequence {found}, with the other columns left out by --drop"
            ));
        }
        return Plan::new(frame, known, group, options);
    };
    let plan = Plan::of_sequence(frame, column, known, group, options)?;
    let symbols = plan.schema().sequence().map_or(0, |(_, symbols)| symbols.len());
    let (rows, attacks) = (plan.rows(), known.map_or(0, |truth| truth.attack.iter().filter(|attack| **attack).count()));
    let without = frame.rows() - rows - attacks;
    output::notice(&format!(
        "column '{column}' holds sequences of symbols, {symbols} different ones: learning from {rows}; left out are {attacks} attacks and {without} without symbols"
    ));
    Ok(plan)
}

pub(super) fn labelled(frame: &mut Frame, label: &str, benign: Option<&str>) -> Result<(Truth, String)> {
    let column: Column =
        frame.take(label).map_err(|error| Error::config(format!("{error}; a file without a header line needs --columns")))?;
    truth::read(&column, benign)
}

/// The labels that learning can use: none where no row is an attack.
pub(super) fn known<'a>(truth: Option<&'a Truth>, benign: Option<&str>) -> Result<Option<&'a Truth>> {
    let Some(truth) = truth else { return Ok(None) };
    if !truth.attack.contains(&false) {
        return Err(truth::no_benign(truth, benign.unwrap_or_default()));
    }
    if !truth.attack.contains(&true) {
        output::notice("no row is an attack: learning from benign rows alone");
        return Ok(None);
    }
    Ok(Some(truth))
}

/// Runs the plan's jobs. The members that are kept come first: they take longest.
pub(super) fn fit(plan: Plan) -> Result<TableModel> {
    let last = plan.jobs() - 1;
    let done = jobs::side_by_side("training", plan.jobs(), plan.steps(), |job, step| plan.run(last - job, step))?;
    plan.finish(done)
}

fn summary(model: &TableModel, manifest: &Manifest, out: &Path) -> String {
    let Facts { rows, distinct_rows, attacks, .. } = model.facts;
    let what = match model.schema.sequence() {
        Some((column, symbols)) => format!("{rows} rows, {distinct_rows} sequences of '{column}', {} symbols", symbols.len()),
        None => {
            format!("{rows} rows ({distinct_rows} different, {attacks} of them attacks), {} columns once encoded", model.schema.width())
        }
    };
    let mut text = format!("trained version {} on {what}\n", manifest.version);
    text.push_str(&match model.combination.seen_by_anomaly {
        None => "no attacks to learn from: the anomaly members decide\n".to_owned(),
        Some(seen) => format!(
            "anomaly members see {:.1} % of the known attacks by themselves: their say is {:.0} %\n",
            seen * 100.0,
            model.combination.carrying * 100.0
        ),
    });
    text.push_str(&format!("model in {}\n", out.display()));
    text
}
