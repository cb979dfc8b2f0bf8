//! `threatguard train --data`: fits a model to a table.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::args_table::TableFlags;
use super::progress::Progress;
use super::{Outcome, output};
use crate::edge::table;
use crate::error::{Error, Result};
use crate::models::bundle_files;
use crate::models::table::frame::{Column, Frame};
use crate::models::table::leak;
use crate::models::table::model::{LabelRule, Manifest, TableModel};
use crate::models::table::plan::{Done, Options, Plan};
use crate::models::table::report::Truth;
use crate::models::table::truth;

pub(super) fn run(flags: &TableFlags, data: &Path, out: &Path) -> Result<Outcome> {
    bundle_files::check(out)?;
    let names = flags.columns.as_deref().map(table::names).transpose()?;
    let mut frame = table::read(data, names.as_deref(), &|_| None)?;
    let (rows, columns) = (frame.rows(), frame.columns().len());
    output::notice(&format!("read {rows} rows of {columns} columns from {}", data.display()));
    let label = flags.label.as_deref().map(|label| labelled(&mut frame, label, flags.benign.as_deref())).transpose()?;
    let group = flags.group.as_deref().map(|group| frame.take(group)).transpose()?;
    for name in &flags.drop {
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

/// Runs the jobs on as many threads as there are cores; the model does not depend on how many.
pub(super) fn fit(plan: Plan) -> Result<TableModel> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(plan.jobs());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::<Result<Done>>::new()));
    let (told, steps) = mpsc::channel();
    let mut progress = Progress::new("training", "steps", Some(plan.steps() as u64));
    thread::scope(|scope| {
        for _ in 0..threads {
            let told = told.clone();
            let (plan, next, results) = (&plan, &next, &results);
            scope.spawn(move || {
                // The members that are kept first: they take longest.
                while let Some(job) = plan.jobs().checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                    let done = plan.run(job, &mut || {
                        // It is listened to until every job has ended.
                        told.send(()).ok();
                    });
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(done);
                }
            });
        }
        drop(told);
        for () in &steps {
            progress.step();
        }
    });
    progress.finish();
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    plan.finish(results.into_iter().collect::<Result<Vec<_>>>()?)
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
