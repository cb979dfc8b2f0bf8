//! Follows a registry while a pipeline runs: another champion takes over, another shadow is compared.
//!
//! What cannot be loaded is told once and changes nothing. Must never hold the pipeline back: it reads and loads on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::edge::clock;
use crate::error::{Error, Result};
use crate::models::comparison::Compared;
use crate::models::registry_files::Shelf;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::shadow::Shadow;
use crate::run::telemetry::{CHAMPION, Metrics, SHADOW};

/// Between two looks at the registry.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks at whether to end.
const STEP: Duration = Duration::from_millis(50);
/// Between two records of a comparison in the registry.
const RECORD: Duration = Duration::from_secs(30);

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
        }
    }

    /// Looks once, and acts on what has changed.
    pub fn look(&mut self) {
        if let Some(shelf) = self.shelf.clone() {
            match self.follow(&shelf) {
                Ok(()) => self.told.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != self.told {
                        tracing::warn!(%error, "the registry's models cannot be taken; going on with those at hand");
                        self.told = text;
                    }
                }
            }
            if clock::since(self.recorded) >= RECORD {
                self.record();
            }
        }
        self.look_at_drift();
        self.metrics.models.set(CHAMPION, self.learning.bundle().as_deref());
        let shadow = self.learning.shadow();
        self.metrics.models.set(SHADOW, shadow.as_ref().map(|shadow| shadow.version()));
        self.metrics.models.set_compared(shadow.as_ref().map(|shadow| shadow.figures()).as_ref());
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
        if let Some(version) = roles.champion.as_deref().filter(|_| is_new) {
            self.learning.offer_models(&self.pipeline, &shelf.load(version)?)?;
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
            && let Err(error) = write(shelf, &record)
        {
            tracing::debug!(%error, "the comparison is not kept in the registry");
        }
    }
}

fn record_file(record: &ShadowRecord) -> String {
    format!("{}{RECORDS}{}.json", record.shadow, record.instance)
}

/// Between version and instance in a record's name.
const RECORDS: &str = ".shadow.";

fn write(shelf: &Shelf, record: &ShadowRecord) -> Result<()> {
    let text = serde_json::to_vec_pretty(record).map_err(|error| Error::bug("a record is no JSON").because(error))?;
    shelf.keep_note(&record_file(record), &text)
}

/// What running pipelines have recorded of a version as a shadow.
#[must_use]
pub fn records(shelf: &Shelf, version: &str) -> Vec<ShadowRecord> {
    let is_record = |name: &String| name.starts_with(&format!("{version}{RECORDS}")) && name.ends_with(".json");
    let mut names = shelf.notes().unwrap_or_default();
    names.retain(is_record);
    names.sort();
    names.iter().filter_map(|name| serde_json::from_slice(&shelf.note(name).ok()??).ok()).collect()
}

/// A follower on its thread, until this is stopped.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Follower>,
}

impl Following {
    /// Looks once before it returns, so that a shadow sees the first event.
    ///
    /// # Errors
    /// `Permanent`: no thread can be started.
    pub fn start(mut follower: Follower) -> Result<Self> {
        follower.look();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let body = move || {
            let mut looked = clock::now();
            while !told.load(Ordering::Relaxed) {
                std::thread::sleep(STEP);
                if clock::since(looked) >= LOOK {
                    looked = clock::now();
                    follower.look();
                }
            }
            follower
        };
        let thread = std::thread::Builder::new().name("models".into()).spawn(body);
        let thread = thread.map_err(|error| Error::permanent("cannot start the thread that follows models").because(error))?;
        Ok(Self { stop, thread })
    }

    /// Ends it; what came of the comparison with a shadow is kept and returned.
    ///
    /// # Errors
    /// `Bug`: it panicked.
    pub fn finish(self) -> Result<Option<ShadowRecord>> {
        self.stop.store(true, Ordering::Relaxed);
        let follower = self.thread.join().map_err(|_| Error::bug("the thread that follows models panicked; its message is in the log"))?;
        follower.record();
        follower.look_at_drift();
        Ok(follower.compared())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pipeline::PipelineFile;
    use crate::models::bundle::tests::{bundle, changed};

    #[test]
    fn roles_are_followed_and_what_is_damaged_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), "network").unwrap();
        let (first, second) = (bundle(), changed());
        let [a, b] = [&first, &second].map(|bundle| bundle.manifest.version.clone());
        shelf.add(&first).unwrap();
        shelf.add(&second).unwrap();
        shelf.change(|roles| Ok(roles.promote(&a, "now"))).unwrap();
        let pipeline = Arc::new(Pipeline::open(PipelineFile::plain(), None).unwrap());
        let learning = Arc::new(Learning::new(&pipeline, Some(&first), None).unwrap());
        let metrics = Arc::new(Metrics::new());
        let mut follower = Follower::new(Some(shelf.clone()), &pipeline, &learning, &metrics, "host/1");
        follower.look();
        assert_eq!((learning.offered(), learning.shadows(), learning.bundle()), (0, 0, Some(a.clone())), "nothing to do");

        shelf.change(|roles| roles.set_shadow(Some(&b), "now")).unwrap();
        follower.look();
        follower.look();
        assert_eq!((learning.shadows(), learning.shadow().map(|shadow| shadow.version().to_owned())), (1, Some(b.clone())));
        let text = metrics.to_text().unwrap();
        assert!(text.contains(&format!("threatguard_model_info{{role=\"champion\",version=\"{a}\"}} 1")), "{text}");
        assert!(text.contains(&format!("threatguard_model_info{{role=\"shadow\",version=\"{b}\"}} 1")), "{text}");

        shelf.change(|roles| Ok(roles.promote(&b, "now"))).unwrap();
        follower.look();
        assert_eq!((learning.offered(), learning.bundle(), learning.shadow().is_none()), (1, Some(b.clone()), true));
        let text = metrics.to_text().unwrap();
        assert!(text.contains(&format!("role=\"champion\",version=\"{b}\"}} 1")) && !text.contains(&a), "{text}");

        std::fs::write(shelf.folder().join(&a).join("forest.bin"), "x").unwrap();
        shelf.change(|roles| Ok(roles.promote(&a, "now"))).unwrap();
        follower.look();
        assert_eq!((learning.offered(), learning.bundle()), (1, Some(b)), "as it was");
        assert!(follower.told.contains("forest.bin"), "{}", follower.told);
    }
}
