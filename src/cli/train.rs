//! `threatguard train`: fits a model bundle to ordinary traffic.

use std::sync::Arc;

use super::args::TrainArgs;
use super::progress::Progress;
use super::run::BATCH_RECORDS;
use super::{Outcome, input, output};
use crate::config::pipeline;
use crate::config::service::Verdicts;
use crate::core::correlate::Correlator;
use crate::edge::discard::Discard;
use crate::error::{Error, Result};
use crate::run::embedded::{Embedded, Quiet};
use crate::run::learning::Learning;
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
    let (pipeline, mut input) = input::open_for(file, from, Some(&args.codec), &Arc::default())?;
    let learning = Arc::new(Learning::new(&pipeline, None, None)?);
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(&pipeline), Arc::clone(&learning))];
    let mut run = Embedded::new(lanes, Verdicts::None, Arc::new(Discard::default()), correlator, Arc::new(Metrics::new()))?;
    read(&pipeline, &mut input, &mut run, args.limit.unwrap_or(u64::MAX))?;
    let counts = run.counts();
    let bundle = learning
        .finish_early(&pipeline)?
        .ok_or_else(|| Error::config("there is nothing to learn from: no event could be read; check the codec"))?;
    crate::models::bundle_files::save(&bundle, &args.out)?;
    let training = &bundle.manifest.training;
    output::print(&format!(
        "trained '{}' version {} on {} events ({} late, {} dead letters): {} rows for the forest, {} for calibration, {} left out as too odd\nbundle in {}\n",
        pipeline.file.name,
        bundle.manifest.version,
        counts.scored,
        counts.late,
        counts.dead_lettered,
        training.fit_rows,
        training.calibration_rows,
        training.trimmed_rows,
        args.out.display()
    ))?;
    Ok(Outcome::Clean)
}

fn read(
    pipeline: &crate::run::pipeline::Pipeline,
    input: &mut crate::run::framed::FramedInput,
    run: &mut Embedded,
    limit: u64,
) -> Result<()> {
    let mut progress = Progress::new("training", "bytes", input.progress().bytes_total);
    while run.counts().received < limit {
        let wanted = BATCH_RECORDS.min((limit - run.counts().received) as usize);
        if input.read(pipeline, run.records(0), wanted)? == 0 {
            break;
        }
        run.step(&mut Quiet)?;
        progress.set(input.progress().bytes_read);
    }
    progress.finish();
    Ok(())
}
