//! `threatguard train`: fits a model bundle to ordinary traffic.
//!
//! The input is read twice where it can be: first for the models that look at sequences or labels, then, with those at work, for
//! everything that calibrates them.

use std::path::Path;
use std::sync::Arc;

use super::args::TrainArgs;
use super::progress::Progress;
use super::run::BATCH_RECORDS;
use super::{Outcome, input, output};
use crate::config::pipeline::{self, PipelineFile};
use crate::config::service::Verdicts;
use crate::core::correlate::Correlator;
use crate::core::engine::Counts;
use crate::edge::discard::Discard;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::sample::Fitted;
use crate::run::embedded::{Embedded, Quiet};
use crate::run::labels::Labels;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::telemetry::Metrics;

pub(super) fn run(args: &TrainArgs) -> Result<Outcome> {
    if let Some(data) = &args.table.data {
        return super::train_table::run(&args.table, data, &args.out);
    }
    let (Some(file), Some(from)) = (&args.pipeline, &args.input) else {
        return Err(Error::bug("neither a table nor a pipeline with its input"));
    };
    let mut file = pipeline::load(file)?;
    // Everything is learned from: the sample that is kept of it is bounded.
    file.learning.events = u64::MAX;
    let from = Input { path: from, codec: &args.codec, limit: args.limit.unwrap_or(u64::MAX) };
    let labels = Labels { field: args.table.label.clone(), benign: args.table.benign.clone() };
    let models = fit_models(from, &file, &labels)?;
    let (pipeline, learning, counts) = pass(from, &file, "calibrating", |pipeline| Learning::with_models(pipeline, models, labels))?;
    let bundle = learning
        .finish_early(&pipeline)?
        .ok_or_else(|| Error::config("there is nothing to learn from: no event could be read; check the codec"))?;
    crate::models::bundle_files::save(&bundle, &args.out)?;
    output::print(&summary(&bundle, &pipeline.file.name, counts, args))?;
    Ok(Outcome::Clean)
}

/// What is read, twice.
#[derive(Clone, Copy)]
struct Input<'i> {
    path: &'i Path,
    codec: &'i str,
    limit: u64,
}

/// First pass: what looks at sequences and labels. Standard input is read once, so it cannot be had from there.
fn fit_models(from: Input<'_>, file: &PipelineFile, labels: &Labels) -> Result<Fitted> {
    let wanted = file.detectors.lstm_autoencoder.enabled || (file.detectors.boosted_trees.enabled && labels.field.is_some());
    if !wanted {
        return Ok(Fitted::default());
    }
    if from.path.as_os_str() == "-" {
        output::notice("standard input can be read only once: no LSTM autoencoder and no boosted trees; train from a file for those");
        return Ok(Fitted::default());
    }
    let labelled = labels.clone();
    let (pipeline, learning, _) = pass(from, file, "reading sequences", |pipeline| Learning::sampling(pipeline, labelled))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut shown: Option<(&str, Progress)> = None;
    let mut fitted = learning.take_sample().fit(threads, file.learning.seed, &mut |what, done, of| {
        if shown.as_ref().is_none_or(|(before, _)| *before != what) {
            shown = Some((what, Progress::new(&format!("fitting {what}"), "steps", Some(of as u64))));
        }
        if let Some((_, progress)) = &mut shown {
            progress.set(done as u64);
        }
    })?;
    let detectors = &pipeline.settings.detectors;
    fitted.lstm.take_if(|_| !detectors.lstm_autoencoder.enabled);
    fitted.trees.take_if(|_| !detectors.boosted_trees.enabled);
    if labels.field.is_some() && fitted.trees.is_none() && detectors.boosted_trees.enabled {
        output::notice("too few labelled events of both kinds for boosted trees: at least 50 of each are needed");
    }
    Ok(fitted)
}

/// Reads the whole input once.
fn pass(
    from: Input<'_>,
    file: &PipelineFile,
    what: &str,
    learning: impl FnOnce(&Pipeline) -> Result<Learning>,
) -> Result<(Arc<Pipeline>, Arc<Learning>, Counts)> {
    let (pipeline, mut input) = input::open_for(file.clone(), from.path, Some(from.codec), &Arc::default())?;
    let learning = Arc::new(learning(&pipeline)?);
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(&pipeline), Arc::clone(&learning))];
    let mut run = Embedded::new(lanes, Verdicts::None, Arc::new(Discard::default()), correlator, Arc::new(Metrics::new()))?;
    let mut progress = Progress::new(what, "bytes", input.progress().bytes_total);
    while run.counts().received < from.limit {
        let wanted = BATCH_RECORDS.min((from.limit - run.counts().received) as usize);
        if input.read(&pipeline, run.records(0), wanted)? == 0 {
            break;
        }
        run.step(&mut Quiet)?;
        progress.set(input.progress().bytes_read);
    }
    progress.finish();
    Ok((pipeline, learning, run.counts()))
}

fn summary(bundle: &Bundle, name: &str, counts: Counts, args: &TrainArgs) -> String {
    let training = &bundle.manifest.training;
    let models = [
        ("isolation forest", bundle.forest.is_some()),
        ("LSTM autoencoder", bundle.lstm.is_some()),
        ("boosted trees", bundle.trees.is_some()),
    ];
    let models: Vec<&str> = models.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
    format!(
        "trained '{name}' version {} on {} events ({} late, {} dead letters): {} rows for the forest, {} for calibration, {} left out as too odd\nmodels: {}\nbundle in {}\n",
        bundle.manifest.version,
        counts.scored,
        counts.late,
        counts.dead_lettered,
        training.fit_rows,
        training.calibration_rows,
        training.trimmed_rows,
        if models.is_empty() { "none, there were too few events".to_owned() } else { models.join(", ") },
        args.out.display()
    )
}
