//! `threatguard train --data`: fits a model to a table.

use std::path::Path;

use super::args_table::TableFlags;
use super::{Outcome, jobs, output};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::models::bundle_files;
use crate::models::table::frame::{Column, Frame};
use crate::models::table::leak;
use crate::models::table::model::{LabelRule, Manifest, TableModel};
use crate::models::table::plan::{Options, Plan};
use crate::models::table::report::Truth;
use crate::models::table::truth;

pub(super) fn run(flags: &TableFlags, data: &Path, out: &Path) -> Result<Outcome> {
    bundle_files::check(out)?;
    let names = flags.shape.columns.as_deref().map(table::names).transpose()?;
    let mut frame = table::read(data, names.as_deref(), &|_| None)?;
    let (rows, columns) = (frame.rows(), frame.columns().len());
    output::notice(&format!("read {rows} rows of {columns} columns from {}", data.display()));
    let label = flags.label.as_deref().map(|label| labelled(&mut frame, label, flags.benign.as_deref())).transpose()?;
    let group = flags.shape.group.as_deref().map(|group| frame.take(group)).transpose()?;
    for name in &flags.shape.drop {
        frame.take(name)?;
    }
    let (truth, benign) = label.unzip();
    let plan =
        Plan::new(&frame, known(truth.as_ref(), benign.as_deref())?, group.as_ref(), Options { seed: flags.seed, ..Options::default() })?;
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
    let facts = &model.facts;
    let mut text = format!(
        "trained version {} on {} rows ({} different, {} of them attacks), {} columns once encoded\n",
        manifest.version,
        facts.rows,
        facts.distinct_rows,
        facts.attacks,
        model.schema.width()
    );
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
