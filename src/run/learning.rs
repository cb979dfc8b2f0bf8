//! The models in use, shared by all shards: given as a bundle, or learned from the first events and kept as one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::engine::{Engine, Scorer, Verdict};
use crate::core::event::Event;
use crate::error::Result;
use crate::models::bundle::Bundle;
use crate::models::bundle_files;
use crate::models::forest_fit::ForestParams;
use crate::models::train::{TrainOptions, Trainer};
use crate::run::pipeline::Pipeline;

/// Which models score, and how far learning has come.
pub struct Learning {
    scorer: Mutex<Arc<Scorer>>,
    /// Grows with every change of the scorer; shards compare it before a batch.
    version: AtomicU64,
    trainer: Mutex<Option<Trainer>>,
    wanted: u64,
    folder: Option<PathBuf>,
}

impl Learning {
    /// Scores with `bundle`; without one, learns from the first events and keeps the result in `folder`.
    ///
    /// # Errors
    /// `Config`: the bundle does not fit the pipeline.
    pub fn new(pipeline: &Pipeline, bundle: Option<&Bundle>, folder: Option<&Path>) -> Result<Self> {
        let scorer = Arc::new(pipeline.scorer(bundle)?);
        let trainer = bundle.is_none().then(|| trainer(pipeline));
        Ok(Self {
            scorer: Mutex::new(scorer),
            version: AtomicU64::new(0),
            trainer: Mutex::new(trainer),
            wanted: pipeline.settings.learning.events,
            folder: folder.map(Path::to_owned),
        })
    }

    #[must_use]
    pub fn scorer(&self) -> Arc<Scorer> {
        Arc::clone(&lock(&self.scorer))
    }
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
    /// Events still wanted, 0 once there are models.
    #[must_use]
    pub fn missing(&self) -> u64 {
        lock(&self.trainer).as_ref().map_or(0, |trainer| self.wanted.saturating_sub(trainer.seen()))
    }
    /// Share of the wanted events that were seen; `None` once there are models.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        lock(&self.trainer).as_ref().map(|trainer| (trainer.seen() as f64 / self.wanted.max(1) as f64).min(1.0))
    }

    /// Offers scored events to learn from. When there are enough, the models change; the bundle that was kept is returned.
    ///
    /// # Errors
    /// The bundle cannot be written, or nothing can be learned.
    pub fn offer(&self, pipeline: &Pipeline, engine: &Engine, events: &[Event<'_>], verdicts: &[Verdict]) -> Result<Option<Arc<Bundle>>> {
        let mut held = lock(&self.trainer);
        let Some(trainer) = held.as_mut() else { return Ok(None) };
        for verdict in verdicts {
            let row = verdict.row as usize;
            let event = &events[verdict.event as usize];
            // An exempt entity does things on purpose that nobody else may do: learning from it would excuse everybody.
            if engine.rows().signals[row][crate::core::features::row::Signal::Exempt as usize] == 0.0 {
                let rows = engine.rows();
                let (raw, place) = (engine.scores().raw(row), rows.places[row]);
                trainer.push_event(event.time, &rows.model[row], &raw, &rows.signals[row], event.entity.key, place);
            } else {
                trainer.skip();
            }
        }
        if trainer.seen() < self.wanted {
            return Ok(None);
        }
        let bundle = self.finish(pipeline, trainer)?;
        *held = None;
        Ok(Some(bundle))
    }

    /// Learns from what there is, at the end of an input that is shorter than wanted.
    ///
    /// # Errors
    /// As for [`Learning::offer`].
    pub fn finish_early(&self, pipeline: &Pipeline) -> Result<Option<Arc<Bundle>>> {
        let mut held = lock(&self.trainer);
        let Some(trainer) = held.take().filter(|trainer| trainer.kept() > 0) else { return Ok(None) };
        self.finish(pipeline, &trainer).map(Some)
    }

    fn finish(&self, pipeline: &Pipeline, trainer: &Trainer) -> Result<Arc<Bundle>> {
        let bundle = Arc::new(trainer.finish()?);
        if let Some(folder) = &self.folder {
            bundle_files::save(&bundle, folder)?;
        }
        *lock(&self.scorer) = Arc::new(pipeline.scorer(Some(&bundle))?);
        self.version.fetch_add(1, Ordering::Release);
        Ok(bundle)
    }
}

/// A trainer for the pipeline's features and detectors.
#[must_use]
pub fn trainer(pipeline: &Pipeline) -> Trainer {
    let settings = &pipeline.settings;
    let mut options = TrainOptions::new(&pipeline.file.name, settings.features, pipeline.columns(), settings.learning.seed);
    let forest = settings.detectors.isolation_forest;
    options.detectors = settings.detectors.clone();
    options.forest = ForestParams { trees: forest.trees as u32, sample: forest.sample as u32 };
    Trainer::new(options)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
