//! The models in use, shared by all shards: given as a bundle, or learned from the first events and kept as one.
//!
//! Shards that learn at the same time set events aside before they score them, so that together they take exactly as many as are
//! wanted. Where fewer of those than a forest needs may be learned from (all others being exempt), learning goes on until they are.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::engine::{Engine, Scorer, Verdict};
use crate::core::event::Event;
use crate::core::features::row::Signal;
use crate::error::Result;
use crate::models::bundle::Bundle;
use crate::models::bundle_files;
use crate::models::forest_fit::ForestParams;
use crate::models::sample::{Fitted, Sample};
use crate::models::train::{FOREST_ROWS_MIN, TrainOptions, Trainer};
use crate::run::drift::Monitor;
use crate::run::labels::Labels;
use crate::run::loud::Loud;
use crate::run::pipeline::Pipeline;
use crate::run::recalibration::Rolling;
use crate::run::shadow::Shadow;

/// Which models score, and how far learning has come.
pub struct Learning {
    scorer: Mutex<Arc<Scorer>>,
    /// Grows with every change of the scorer; shards compare it before a batch.
    version: AtomicU64,
    /// Grows with every scorer that takes the place of another; shards take it where nothing before is unsettled.
    offered: AtomicU64,
    /// Version of the bundle that the scorer was made of.
    bundle: Mutex<Option<String>>,
    monitor: Mutex<Option<Arc<Monitor>>>,
    rolling: Mutex<Option<Arc<Rolling>>>,
    shadow: Mutex<Option<Arc<Shadow>>>,
    /// Grows with every change of the shadow.
    shadows: AtomicU64,
    open: Mutex<Option<Open>>,
    loud: Mutex<Loud>,
    wanted: u64,
    folder: Option<PathBuf>,
}

/// What events are collected for.
enum Lesson {
    /// A bundle, of events that are not labelled as attacks.
    Bundle(Box<Trainer>, Labels),
    /// Models that look at sequences or labels, which a bundle is then made with.
    Models(Box<Sample>, Labels),
}

/// Learning that is not done yet.
struct Open {
    lesson: Lesson,
    /// Events that shards have set aside and not offered yet.
    reserved: u64,
}

impl Open {
    fn missing(&self, wanted: u64) -> u64 {
        let Lesson::Bundle(trainer, _) = &self.lesson else { return wanted };
        let usable = wanted.min(FOREST_ROWS_MIN as u64).saturating_sub(trainer.kept() as u64);
        wanted.saturating_sub(trainer.seen()).max(usable)
    }
}

impl Learning {
    /// Scores with `bundle`; without one, learns from the first events and keeps the result in `folder`.
    ///
    /// # Errors
    /// `Config`: the bundle does not fit the pipeline.
    pub fn new(pipeline: &Pipeline, bundle: Option<&Bundle>, folder: Option<&Path>) -> Result<Self> {
        let scorer = Arc::new(pipeline.scorer(bundle)?);
        let lesson = bundle.is_none().then(|| Lesson::Bundle(Box::new(trainer(pipeline)), Labels::default()));
        let learning = Self::with(pipeline, scorer, lesson, folder.map(Path::to_owned));
        if let Some(bundle) = bundle {
            learning.note(pipeline, bundle);
        }
        Ok(learning)
    }

    /// Collects rows for the models that look at sequences or labels, see [`Learning::take_sample`].
    ///
    /// # Errors
    /// A setting that cannot be understood.
    pub fn sampling(pipeline: &Pipeline, labels: Labels) -> Result<Self> {
        let lesson = Lesson::Models(Box::new(Sample::of(pipeline.settings.features)), labels);
        Ok(Self::with(pipeline, Arc::new(pipeline.scorer(None)?), Some(lesson), None))
    }

    /// Learns a bundle with models that were fitted before, from events that are not labelled as attacks.
    ///
    /// # Errors
    /// A setting that cannot be understood.
    pub fn with_models(pipeline: &Pipeline, models: Fitted, labels: Labels) -> Result<Self> {
        let scorer = Arc::new(pipeline.scorer_of(&models)?);
        let lesson = Lesson::Bundle(Box::new(trainer(pipeline).with_models(models)), labels);
        Ok(Self::with(pipeline, scorer, Some(lesson), None))
    }

    fn with(pipeline: &Pipeline, scorer: Arc<Scorer>, lesson: Option<Lesson>, folder: Option<PathBuf>) -> Self {
        Self {
            scorer: Mutex::new(scorer),
            version: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            bundle: Mutex::default(),
            monitor: Mutex::default(),
            rolling: Mutex::default(),
            shadow: Mutex::default(),
            shadows: AtomicU64::new(0),
            loud: Mutex::default(),
            open: Mutex::new(lesson.map(|lesson| Open { lesson, reserved: 0 })),
            wanted: pipeline.settings.learning.events,
            folder,
        }
    }

    /// What people should know of the events that a bundle was learned from.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        lock(&self.loud).notices()
    }

    /// What [`Learning::sampling`] has collected.
    #[must_use]
    pub fn take_sample(&self) -> Sample {
        match lock(&self.open).take().map(|open| open.lesson) {
            Some(Lesson::Models(sample, _)) => *sample,
            _ => Sample::default(),
        }
    }

    #[must_use]
    pub fn scorer(&self) -> Arc<Scorer> {
        Arc::clone(&lock(&self.scorer))
    }
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered.load(Ordering::Acquire)
    }
    /// Offers other models: each shard takes them over where a replay does not cross the change.
    ///
    /// # Errors
    /// `Config`: the bundle does not fit the pipeline; then nothing changes.
    pub fn offer_models(&self, pipeline: &Pipeline, bundle: &Bundle) -> Result<()> {
        let scorer = Arc::new(pipeline.scorer(Some(bundle))?);
        *lock(&self.scorer) = scorer;
        self.note(pipeline, bundle);
        *lock(&self.open) = None;
        self.offered.fetch_add(1, Ordering::Release);
        Ok(())
    }
    fn note(&self, pipeline: &Pipeline, bundle: &Bundle) {
        *lock(&self.bundle) = Some(bundle.manifest.version.clone());
        let mut monitor = lock(&self.monitor);
        if !monitor.as_ref().is_some_and(|monitor| monitor.is_for(bundle)) {
            *monitor = Monitor::new(pipeline, bundle).map(Arc::new);
        }
    }
    /// Compares traffic with what the newest bundle was learned from.
    #[must_use]
    pub fn monitor(&self) -> Option<Arc<Monitor>> {
        lock(&self.monitor).clone()
    }
    /// Where shards offer ordinary rows; none where nothing is recalibrated. Shards take it with the models that it is set before.
    pub fn set_rolling(&self, rolling: Option<Arc<Rolling>>) {
        *lock(&self.rolling) = rolling;
    }
    #[must_use]
    pub fn rolling(&self) -> Option<Arc<Rolling>> {
        lock(&self.rolling).clone()
    }
    /// Version of the newest bundle; shards may still score with the one before.
    #[must_use]
    pub fn bundle(&self) -> Option<String> {
        lock(&self.bundle).clone()
    }
    /// Lets another bundle, or none, score beside the champion.
    pub fn set_shadow(&self, shadow: Option<Arc<Shadow>>) {
        *lock(&self.shadow) = shadow;
        self.shadows.fetch_add(1, Ordering::Release);
    }
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        lock(&self.shadow).clone()
    }
    #[must_use]
    pub fn shadows(&self) -> u64 {
        self.shadows.load(Ordering::Acquire)
    }
    /// Events still wanted, 0 once there are models.
    #[must_use]
    pub fn missing(&self) -> u64 {
        lock(&self.open).as_ref().map_or(0, |open| open.missing(self.wanted))
    }
    /// Sets at most `most` of the events still wanted aside for the caller, who then has to [`Learning::offer`] what came of them.
    pub fn reserve(&self, most: u64) -> Reserved<'_> {
        let mut held = lock(&self.open);
        let events = held.as_mut().map_or(0, |open| {
            let events = open.missing(self.wanted).saturating_sub(open.reserved).min(most);
            open.reserved += events;
            events
        });
        Reserved { learning: self, events }
    }
    /// Share of the wanted events that were seen; `None` once there are models.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        let seen = |open: &Open| match &open.lesson {
            Lesson::Bundle(trainer, _) => trainer.seen(),
            Lesson::Models(sample, _) => sample.seen(),
        };
        lock(&self.open).as_ref().map(|open| (seen(open) as f64 / self.wanted.max(1) as f64).min(1.0))
    }

    /// Offers what came of the events that were set aside: those of them that were scored are learned from. When there are
    /// enough, the models change; the bundle that was kept is returned.
    ///
    /// # Errors
    /// The bundle cannot be written, or nothing can be learned.
    pub fn offer(&self, pipeline: &Pipeline, mut reserved: Reserved<'_>, scored: ScoredPart<'_>) -> Result<Option<Arc<Bundle>>> {
        let mut held = lock(&self.open);
        let Some(open) = held.as_mut() else { return Ok(None) };
        open.reserved -= std::mem::take(&mut reserved.events);
        let ScoredPart { engine, events, verdicts } = scored;
        let mut loud = lock(&self.loud);
        for verdict in verdicts {
            open.lesson.take(engine, &events[verdict.event as usize], verdict.row as usize, &mut loud);
        }
        drop(loud);
        let Lesson::Bundle(trainer, _) = &open.lesson else { return Ok(None) };
        if open.missing(self.wanted) > 0 {
            return Ok(None);
        }
        let bundle = self.finish(pipeline, trainer)?;
        *held = None;
        self.notices().iter().for_each(|notice| tracing::warn!(pipeline = pipeline.file.name, "{notice}"));
        Ok(Some(bundle))
    }

    /// Learns from what there is, at the end of an input that is shorter than wanted.
    ///
    /// # Errors
    /// As for [`Learning::offer`].
    pub fn finish_early(&self, pipeline: &Pipeline) -> Result<Option<Arc<Bundle>>> {
        let Some(Lesson::Bundle(trainer, _)) = lock(&self.open).take().map(|open| open.lesson) else { return Ok(None) };
        if trainer.kept() == 0 {
            return Ok(None);
        }
        self.finish(pipeline, &trainer).map(Some)
    }

    fn finish(&self, pipeline: &Pipeline, trainer: &Trainer) -> Result<Arc<Bundle>> {
        let bundle = Arc::new(trainer.finish()?);
        if let Some(folder) = &self.folder {
            bundle_files::save(&bundle, folder)?;
        }
        *lock(&self.scorer) = Arc::new(pipeline.scorer(Some(&bundle))?);
        self.note(pipeline, &bundle);
        self.version.fetch_add(1, Ordering::Release);
        Ok(bundle)
    }
}

impl Lesson {
    fn take(&mut self, engine: &Engine, event: &Event<'_>, row: usize, loud: &mut Loud) {
        let rows = engine.rows();
        // An exempt entity does things on purpose that nobody else may do: learning from it would excuse everybody.
        let is_exempt = rows.signals[row][Signal::Exempt as usize] != 0.0;
        match self {
            // Asked of every event, because verdicts that are of none are told.
            Self::Bundle(trainer, labels) if labels.attack(event) == Some(true) || is_exempt || labels.is_held_out(event) => trainer.skip(),
            Self::Bundle(trainer, _) => {
                let raw = engine.scores().raw(row);
                loud.take(&event.entity, &raw);
                trainer.push_event(event.time, &rows.model[row], &raw, &rows.signals[row], event.entity.key, rows.places[row]);
            }
            Self::Models(_, labels) if is_exempt || labels.is_held_out(event) => {}
            Self::Models(sample, labels) => sample.push(event.entity.key, &rows.model[row], labels.lesson(event)),
        }
    }
}

/// Events set aside to be learned from. They are wanted again when this is dropped: work that panics must not keep them for ever.
#[must_use]
pub struct Reserved<'l> {
    learning: &'l Learning,
    events: u64,
}

impl Reserved<'_> {
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        // Nothing is left of what was offered, whoever holds the lock for that.
        if self.events > 0
            && let Some(open) = lock(&self.learning.open).as_mut()
        {
            open.reserved -= self.events;
        }
    }
}

/// A part of a batch, scored.
#[derive(Clone, Copy)]
pub struct ScoredPart<'p> {
    pub engine: &'p Engine,
    pub events: &'p [Event<'p>],
    pub verdicts: &'p [Verdict],
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

#[cfg(test)]
mod tests;
