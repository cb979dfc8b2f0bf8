//! Follows a registry while a pipeline runs: another champion takes over, another shadow is compared.
//!
//! What cannot be loaded is told once and changes nothing. Must never hold the pipeline back: it reads and loads on a thread of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::core::types::EventTime;
use crate::edge::clock;
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::comparison::Compared;
use crate::models::feedback::Told;
use crate::models::registry_files::Shelf;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::recalibration::{Judged, RecalibrationRecord, Rolling};
use crate::run::shadow::Shadow;
use crate::run::telemetry::{CHAMPION, Metrics, SHADOW};
use crate::run::verdicts;

/// Between two looks at the registry.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks at whether to end.
const STEP: Duration = Duration::from_millis(50);
/// Between two records of a comparison in the registry.
const RECORD: Duration = Duration::from_secs(30);
/// Between two times that recent rows are kept there.
const KEEP: Duration = Duration::from_secs(300);

/// How a shadow compares with a champion, as one process saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowRecord {
    pub champion: String,
    pub shadow: String,
    /// Name of the process.
    pub instance: String,
    #[serde(flatten)]
    pub compared: Compared,
}

/// What follows a registry for one pipeline.
pub struct Follower {
    shelf: Option<Shelf>,
    pipeline: Arc<Pipeline>,
    learning: Arc<Learning>,
    metrics: Arc<Metrics>,
    instance: String,
    /// What was told last, so that it is told once.
    told: String,
    recorded: Instant,
    kept: Instant,
    /// Recalibration is looked at by [`Self::recalibrate`] alone, and not at times of its own.
    is_told_when: bool,
    /// Where analysts' verdicts are, what they said last, and what was wrong with them.
    verdicts: Option<PathBuf>,
    heard: Arc<Told>,
    told_of_verdicts: String,
    /// Bytes of the file when it was read: it is only ever appended to.
    verdict_bytes: u64,
}

impl Follower {
    /// Without a registry it only shows which models there are.
    #[must_use]
    pub fn new(shelf: Option<Shelf>, pipeline: &Arc<Pipeline>, learning: &Arc<Learning>, metrics: &Arc<Metrics>, instance: &str) -> Self {
        Self {
            shelf,
            pipeline: Arc::clone(pipeline),
            learning: Arc::clone(learning),
            metrics: Arc::clone(metrics),
            instance: instance.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect(),
            told: String::new(),
            recorded: clock::now(),
            kept: clock::now(),
            is_told_when: false,
            verdicts: None,
            heard: Arc::default(),
            told_of_verdicts: String::new(),
            verdict_bytes: 0,
        }
    }

    /// Recent rows are believed as analysts say in this file, which may come to be later.
    pub fn hear_from(&mut self, verdicts: Option<PathBuf>) {
        self.verdicts = verdicts;
    }

    /// What analysts say now; what they said before where the file cannot be read.
    fn hear(&mut self, rolling: &Rolling) {
        let bytes = self.verdicts.as_deref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        if let Some(file) = self.verdicts.as_deref().filter(|_| bytes != self.verdict_bytes) {
            let read = verdicts::read(file);
            self.told_of_verdicts = read.as_ref().err().map(ToString::to_string).unwrap_or_default();
            self.verdict_bytes = bytes;
            match read {
                Ok(judgements) => self.heard = Arc::new(judgements.told()),
                Err(error) => tracing::warn!(%error, "analysts' verdicts cannot be read; going on with those before"),
            }
        }
        rolling.hear(&self.heard);
    }

    /// Leaves it to the caller when recent rows are judged: a run that must be repeatable does so at certain records.
    #[must_use]
    pub fn told_when(self) -> Self {
        Self { is_told_when: true, ..self }
    }

    /// Whether it will ever recalibrate.
    #[must_use]
    pub fn recalibrates(&self) -> bool {
        self.shelf.is_some() && self.pipeline.file.recalibration.enabled
    }

    /// Looks once, and acts on what has changed.
    pub fn look(&mut self) {
        if let Some(shelf) = self.shelf.clone() {
            let followed = self.follow(&shelf);
            self.tell(followed, "the registry's models cannot be taken; going on with those at hand");
            if !self.is_told_when {
                self.recalibrate();
            }
            if clock::since(self.recorded) >= RECORD {
                self.record();
            }
            if clock::since(self.kept) >= KEEP {
                self.kept = clock::now();
                self.keep_window();
            }
        }
        self.look_at_drift();
        self.metrics.models.set(CHAMPION, self.learning.bundle().as_deref());
        let shadow = self.learning.shadow();
        self.metrics.models.set(SHADOW, shadow.as_ref().map(|shadow| shadow.version()));
        self.metrics.models.set_compared(shadow.as_ref().map(|shadow| shadow.figures()).as_ref());
    }

    /// Says once what is wrong.
    fn tell(&mut self, done: Result<()>, what: &str) {
        let text = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if let (Err(error), true) = (&done, text != self.told) {
            tracing::warn!(%error, "{what}");
        }
        self.told = text;
    }

    /// Judges the rows that shards have offered. A calibration that is due becomes a version of the registry and its champion, unless
    /// another version has become that since: of several processes the first one wins, and the others follow it.
    pub fn recalibrate(&mut self) {
        let (Some(shelf), Some(rolling)) = (self.shelf.clone(), self.learning.rolling()) else { return };
        self.hear(&rolling);
        let Some(Judged { record, is_raised, is_over, bundle }) = rolling.judge(&self.instance) else { return };
        let made = bundle.as_ref().map(|bundle| bundle.manifest.recalibrated.as_ref().map_or(0, |made| made.upto_micros));
        self.metrics.models.set_recalibration(&record.shifts, made);
        let (pipeline, moved) = (&self.pipeline.file.name, record.moved());
        if is_raised {
            tracing::warn!(pipeline, moved, at = %EventTime(record.upto_micros), "ordinary scores have moved far from what was trained; look whether that is wanted, or train again");
        } else if is_over {
            tracing::info!(pipeline, at = %EventTime(record.upto_micros), "ordinary scores are again near what was trained");
        }
        if let Err(error) = record.write(&shelf) {
            tracing::debug!(%error, "the judgement is not kept in the registry");
        }
        let Some(bundle) = bundle else { return };
        let put = self.put(&shelf, &rolling, bundle, &record);
        self.tell(put, "a recalibrated version cannot be put into the registry; going on as before");
    }

    fn put(&self, shelf: &Shelf, rolling: &Arc<Rolling>, bundle: Bundle, record: &RecalibrationRecord) -> Result<()> {
        let (version, before) = (bundle.manifest.version.clone(), record.version.as_str());
        // Looked at first, so that nothing is written that will not be used.
        if !shelf.roles()?.may_recalibrate(before) {
            return Ok(());
        }
        shelf.add(&bundle)?;
        let roles = shelf.change(|roles| Ok(roles.recalibrate(&version, before, &clock::wall().to_string())))?;
        if roles.champion.as_ref() == Some(&version) {
            rolling.set_present(Arc::new(bundle.clone()));
            self.learning.offer_models(&self.pipeline, &bundle)?;
            let (pipeline, moved) = (&self.pipeline.file.name, record.moved());
            tracing::info!(pipeline, version, before, moved, "recalibrated; it takes over at the next barrier");
        }
        Ok(())
    }

    /// Lets shards offer rows for calibrations of these models, if they do not already.
    fn gather(&self, shelf: &Shelf, present: Bundle) -> Result<()> {
        if !self.pipeline.file.recalibration.enabled {
            return Ok(());
        }
        let trained = present.manifest.recalibrated.as_ref().map_or(&present.manifest.version, |made| &made.parent).clone();
        if let Some(rolling) = self.learning.rolling().filter(|rolling| rolling.trained() == trained) {
            rolling.set_present(Arc::new(present));
            return Ok(());
        }
        let parent = if trained == present.manifest.version { present.clone() } else { shelf.load(&trained)? };
        let rolling = Rolling::new(&self.pipeline, Arc::new(parent), Arc::new(present));
        // A run that is repeatable begins with none.
        if !self.is_told_when {
            rolling.take_up(shelf, &self.instance);
        }
        self.learning.set_rolling(Some(Arc::new(rolling)));
        Ok(())
    }

    /// Keeps the window for the next process of this name.
    fn keep_window(&self) {
        if let (Some(shelf), Some(rolling), false) = (&self.shelf, self.learning.rolling(), self.is_told_when) {
            rolling.keep(shelf, &self.instance);
        }
    }

    fn look_at_drift(&self) {
        if let Some(monitor) = self.learning.monitor() {
            monitor.show(&self.metrics.models);
        }
    }

    fn follow(&self, shelf: &Shelf) -> Result<()> {
        let roles = shelf.roles()?;
        let present = self.learning.bundle();
        let is_new = roles.champion.is_some() && roles.champion != present;
        if let Some(version) = roles.champion.as_deref().filter(|_| is_new || self.is_to_gather()) {
            let bundle = shelf.load(version)?;
            self.gather(shelf, bundle.clone())?;
            if is_new {
                self.learning.offer_models(&self.pipeline, &bundle)?;
            }
        }
        if let Some(version) = roles.champion.as_deref().filter(|_| is_new) {
            let before = present.as_deref().unwrap_or("none");
            tracing::info!(pipeline = self.pipeline.file.name, version, before, "another champion takes over at the next barrier");
        }
        let shadow = self.learning.shadow();
        if is_new || roles.shadow.as_deref() != shadow.as_ref().map(|shadow| shadow.version()) {
            self.record();
            let of = |version: &String| Ok::<_, Error>(Arc::new(Shadow::new(&self.pipeline, &shelf.load(version)?)?));
            let next = roles.shadow.as_ref().map(of).transpose()?;
            if next.is_some() || shadow.is_some() {
                let version = next.as_ref().map_or("none", |shadow| shadow.version());
                tracing::info!(pipeline = self.pipeline.file.name, version, "shadow changed");
                self.learning.set_shadow(next);
            }
        }
        Ok(())
    }

    fn is_to_gather(&self) -> bool {
        self.recalibrates() && self.learning.rolling().is_none()
    }

    /// What came of the present comparison.
    #[must_use]
    pub fn compared(&self) -> Option<ShadowRecord> {
        let shadow = self.learning.shadow()?;
        let champion = self.learning.bundle().unwrap_or_default();
        Some(ShadowRecord { champion, shadow: shadow.version().to_owned(), instance: self.instance.clone(), compared: shadow.figures() })
    }

    /// Keeps it beside the bundles, for `model show`. A registry that cannot be written to is none the worse for it.
    fn record(&self) {
        let (Some(shelf), Some(record)) = (&self.shelf, self.compared()) else { return };
        if record.compared.rows > 0
            && let Err(error) = write(shelf, &record_file(&record.shadow, RECORDS, &record.instance), &record)
        {
            tracing::debug!(%error, "the comparison is not kept in the registry");
        }
    }
}

fn record_file(version: &str, kind: &str, instance: &str) -> String {
    format!("{version}{kind}{instance}.json")
}

/// Between version and instance in a record's name.
const RECORDS: &str = ".shadow.";
const JUDGEMENTS: &str = ".recalibration.";

impl RecalibrationRecord {
    fn write(&self, shelf: &Shelf) -> Result<()> {
        write(shelf, &record_file(&self.trained, JUDGEMENTS, &self.instance), self)
    }

    /// For a line in a log.
    fn moved(&self) -> String {
        self.shifts.iter().map(|shift| format!("{} ({:.2} times)", shift.detector, shift.factor)).collect::<Vec<_>>().join(", ")
    }
}

fn write(shelf: &Shelf, name: &str, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(record).map_err(|error| Error::bug("a record is no JSON").because(error))?;
    shelf.keep_note(name, &text)
}

/// What running pipelines have recorded of a version as a shadow.
#[must_use]
pub fn records(shelf: &Shelf, version: &str) -> Vec<ShadowRecord> {
    recorded(shelf, version, RECORDS)
}

/// What running pipelines have last found of the rows that a trained version is recalibrated from.
#[must_use]
pub fn judgements(shelf: &Shelf, trained: &str) -> Vec<RecalibrationRecord> {
    recorded(shelf, trained, JUDGEMENTS)
}

fn recorded<T: for<'a> Deserialize<'a>>(shelf: &Shelf, version: &str, kind: &str) -> Vec<T> {
    let is_record = |name: &String| name.starts_with(&format!("{version}{kind}")) && name.ends_with(".json");
    let mut names = shelf.notes().unwrap_or_default();
    names.retain(is_record);
    names.sort();
    names.iter().filter_map(|name| serde_json::from_slice(&shelf.note(name).ok()??).ok()).collect()
}

/// A follower on its thread, until this is stopped.
pub struct Following {
    stop: Arc<AtomicBool>,
    follower: Arc<Mutex<Follower>>,
    thread: JoinHandle<()>,
}

impl Following {
    /// Looks once before it returns, so that a shadow sees the first event.
    ///
    /// # Errors
    /// `Permanent`: no thread can be started.
    pub fn start(mut follower: Follower) -> Result<Self> {
        follower.look();
        let (stop, follower) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(follower)));
        let (told, looking) = (Arc::clone(&stop), Arc::clone(&follower));
        let body = move || {
            let mut looked = clock::now();
            while !told.load(Ordering::Relaxed) {
                std::thread::sleep(STEP);
                if clock::since(looked) >= LOOK {
                    looked = clock::now();
                    locked(&looking).look();
                }
            }
        };
        let thread = std::thread::Builder::new().name("models".into()).spawn(body);
        let thread = thread.map_err(|error| Error::permanent("cannot start the thread that follows models").because(error))?;
        Ok(Self { stop, follower, thread })
    }

    /// What a run calls at certain records where it says itself when recent rows are judged; `None` where they never are.
    #[must_use]
    pub fn recalibrating(&self) -> Option<Box<dyn FnMut() + Send>> {
        let follower = Arc::clone(&self.follower);
        let recalibrates = locked(&follower).recalibrates();
        recalibrates.then(|| Box::new(move || locked(&follower).recalibrate()) as Box<dyn FnMut() + Send>)
    }

    /// Ends it; what came of the comparison with a shadow is kept and returned.
    ///
    /// # Errors
    /// `Bug`: it panicked.
    pub fn finish(self) -> Result<Option<ShadowRecord>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::bug("the thread that follows models panicked; its message is in the log"))?;
        let follower = locked(&self.follower);
        follower.record();
        follower.keep_window();
        follower.look_at_drift();
        Ok(follower.compared())
    }
}

fn locked(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
