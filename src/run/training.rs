//! Fitting a pipeline's models to an input that can be read again: for `train` and for retraining. Says how far it is, prints nothing.
//!
//! The input is read twice where it can be: first for the models that look at sequences or labels, then, with those at work, for
//! everything that calibrates them.

use std::sync::Arc;

use crate::config::pipeline::PipelineFile;
use crate::config::service::Verdicts;
use crate::core::correlate::Correlator;
use crate::core::detect::trees::Trees;
use crate::core::engine::Counts;
use crate::edge::discard::Discard;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::retrain::job::Stage;
use crate::models::sample::Fitted;
use crate::run::embedded::{Embedded, Observer, Quiet};
use crate::run::framed::FramedInput;
use crate::run::labels::{HeldOut, Labels};
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::telemetry::Metrics;

/// Records that are worked on at a time.
const BATCH_RECORDS: usize = 2_048;
/// The network's share of fitting; the trees have the rest.
const NETWORK_SHARE: f64 = 0.8;

/// Hears how far it is.
pub trait Watch {
    /// So much of a stage is done, 0..1.
    ///
    /// # Errors
    /// It is to end.
    fn reached(&mut self, stage: Stage, share: f64) -> Result<()>;
    /// Something that people should know.
    fn notice(&mut self, text: &str);
}

/// An input that can be opened again and again.
pub struct Source<'s> {
    /// The pipeline that reads it.
    pub file: PipelineFile,
    pub open: &'s dyn Fn(PipelineFile) -> Result<(Arc<Pipeline>, FramedInput)>,
    /// Standard input can be had only once.
    pub is_once: bool,
    /// Events to stop after.
    pub limit: u64,
    /// Trees that were fitted elsewhere.
    pub trees: Option<Arc<Trees>>,
}

impl<'s> Source<'s> {
    /// All of an input. Everything is learned from: the sample that is kept of it is bounded.
    #[must_use]
    pub fn whole(mut file: PipelineFile, open: &'s dyn Fn(PipelineFile) -> Result<(Arc<Pipeline>, FramedInput)>, is_once: bool) -> Self {
        file.learning.events = u64::MAX;
        Self { file, open, is_once, limit: u64::MAX, trees: None }
    }

    /// Opens it once more.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn again(&self) -> Result<(Arc<Pipeline>, FramedInput)> {
        (self.open)(self.file.clone())
    }
}

/// What came of one reading.
pub struct Passed {
    pub pipeline: Arc<Pipeline>,
    pub learning: Arc<Learning>,
    pub counts: Counts,
}

/// A bundle, and what it was fitted to.
pub struct Trained {
    pub bundle: Arc<Bundle>,
    pub counts: Counts,
}

/// Fits a bundle to the events that are not held out.
///
/// # Errors
/// The input cannot be read, or there is nothing to learn from.
pub fn train(source: &Source<'_>, labels: &Labels, watch: &mut dyn Watch) -> Result<Trained> {
    let mut models = fit_models(source, labels, watch)?;
    models.trees = source.trees.clone().or(models.trees);
    let learn = |pipeline: &Pipeline| Learning::with_models(pipeline, models, labels.clone());
    let Passed { pipeline, learning, counts } = pass(source, Stage::Calibrating, watch, learn, &mut Quiet)?;
    let bundle = learning.finish_early(&pipeline)?.ok_or_else(|| nothing_learned(labels, counts))?;
    learning.notices().iter().for_each(|notice| watch.notice(notice));
    let judgements = &labels.judgements;
    if judgements.unmet() > 0 {
        watch.notice(&format!(
            "{} of {} verdicts are of events that this input does not have; give the events that the threats were found in",
            judgements.unmet(),
            judgements.len()
        ));
    }
    Ok(Trained { bundle, counts })
}

fn nothing_learned(labels: &Labels, counts: Counts) -> Error {
    Error::config(match (counts.scored, labels.held_out) {
        (0, _) => "there is nothing to learn from: no event could be read; check the codec",
        (_, HeldOut::None) => "there is nothing to learn from: every event is an attack or exempt",
        _ => "there is nothing to learn from: every event is held out, an attack or exempt; hold out less, or by --hold-out time",
    })
}

/// First pass: what looks at sequences and labels.
fn fit_models(source: &Source<'_>, labels: &Labels, watch: &mut dyn Watch) -> Result<Fitted> {
    let file = &source.file;
    let fits_trees = file.detectors.boosted_trees.enabled && labels.tell_attacks() && source.trees.is_none();
    let wanted = file.detectors.lstm_autoencoder.enabled || fits_trees;
    if !wanted {
        return Ok(Fitted::default());
    }
    if source.is_once {
        watch.notice("standard input can be read only once: no LSTM autoencoder and no boosted trees; train from a file for those");
        return Ok(Fitted::default());
    }
    let sample = |pipeline: &Pipeline| Learning::sampling(pipeline, labels.clone());
    let Passed { pipeline, learning, .. } = pass(source, Stage::Sequences, watch, sample, &mut Quiet)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut fitted = learning.take_sample().fit(threads, file.learning.seed, &mut |what, done, of| {
        let share = done as f64 / of.max(1) as f64;
        let is_network = what == "lstm_autoencoder";
        let share = if is_network { NETWORK_SHARE * share } else { NETWORK_SHARE + (1.0 - NETWORK_SHARE) * share };
        watch.reached(Stage::Fitting, share)
    })?;
    let detectors = &pipeline.settings.detectors;
    fitted.lstm.take_if(|_| !detectors.lstm_autoencoder.enabled);
    fitted.trees.take_if(|_| !detectors.boosted_trees.enabled);
    if fits_trees && fitted.trees.is_none() {
        watch.notice("too few labelled events of both kinds for boosted trees: at least 50 of each are needed");
    }
    Ok(fitted)
}

/// Reads the whole input once.
///
/// # Errors
/// The input cannot be read, or `watch` ends it.
pub fn pass(
    source: &Source<'_>,
    stage: Stage,
    watch: &mut dyn Watch,
    learning: impl FnOnce(&Pipeline) -> Result<Learning>,
    observer: &mut dyn Observer,
) -> Result<Passed> {
    watch.reached(stage, 0.0)?;
    let (pipeline, mut input) = source.again()?;
    let learning = Arc::new(learning(&pipeline)?);
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(&pipeline), Arc::clone(&learning))];
    let mut run = Embedded::new(lanes, Verdicts::None, Arc::new(Discard::default()), correlator, Arc::new(Metrics::new()))?;
    while run.counts().received < source.limit {
        let wanted = BATCH_RECORDS.min((source.limit - run.counts().received) as usize);
        if input.read(&pipeline, run.records(0), wanted)? == 0 {
            break;
        }
        run.step(observer)?;
        watch.reached(stage, share(&input))?;
    }
    watch.reached(stage, 1.0)?;
    Ok(Passed { pipeline, learning, counts: run.counts() })
}

/// How much of an input was read; nothing is known of standard input.
#[must_use]
pub fn share(input: &FramedInput) -> f64 {
    let progress = input.progress();
    progress.bytes_total.map_or(0.0, |total| progress.bytes_read as f64 / total.max(1) as f64)
}
