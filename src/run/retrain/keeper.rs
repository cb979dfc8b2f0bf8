//! Keeps a job's record up to date while the job is done, on a thread of its own: a job that falls silent has failed.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::edge::clock::{self, Deadline};
use crate::error::{Error, Result};
use crate::models::registry_files::Shelf;
use crate::models::retrain::better::Outcome;
use crate::models::retrain::job::{Job, Stage};
use crate::run::training::Watch;

/// Between two records.
const BEAT: Duration = Duration::from_secs(2);
/// Between two looks at the job that is waited for.
const LOOK: Duration = Duration::from_secs(2);

/// The record of a job that is being done.
pub(super) struct Keeper {
    shelf: Shelf,
    job: Arc<Mutex<Job>>,
    stop: Sender<()>,
    beating: JoinHandle<()>,
}

impl Keeper {
    /// Writes the first record.
    ///
    /// # Errors
    /// `Permanent`: the registry cannot be written to.
    pub fn begin(shelf: Shelf, job: Job) -> Result<Self> {
        shelf.change(|_| Ok(false))?;
        shelf.tidy_jobs()?;
        shelf.keep_job(&job)?;
        let job = Arc::new(Mutex::new(job));
        let (stop, stopped) = mpsc::channel();
        let (kept, place) = (Arc::clone(&job), shelf.clone());
        let beat = move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                let job = {
                    let mut job = lock(&kept);
                    job.heard_micros = clock::wall().0;
                    job.clone()
                };
                if let Err(error) = place.keep_job(&job) {
                    tracing::warn!(%error, "the record of the job cannot be kept");
                }
            }
        };
        let beating = std::thread::Builder::new().name("retraining".to_owned()).spawn(beat);
        let beating = beating.map_err(|error| Error::permanent("cannot start a thread").because(error))?;
        Ok(Self { shelf, job, stop, beating })
    }

    /// One job of a pipeline at a time, in the order of their names.
    pub fn wait_for_turn(&self) -> Result<()> {
        let name = lock(&self.job).job_id.clone();
        let is_before = |job: &Job| job.job_id < name && !job.is_over();
        while self.shelf.jobs(clock::wall())?.iter().any(is_before) {
            clock::sleep(LOOK);
        }
        Ok(())
    }

    /// Tells the record and `watch`; ends the job when it takes longer than `limit`.
    pub fn watching<'w>(&self, watch: &'w mut dyn Watch, limit: Option<Duration>) -> Watching<'w> {
        Watching { watch, job: Arc::clone(&self.job), deadline: limit.map(|limit| (limit, Deadline::after(limit))) }
    }

    /// Writes the last record.
    ///
    /// # Errors
    /// Of the job. `Permanent`: the record cannot be written.
    pub fn end(self, done: Result<Outcome>) -> Result<Job> {
        drop(self.stop);
        self.beating.join().map_err(|_| Error::bug("the thread that keeps a job's record panicked; its message is in the log"))?;
        let mut job = lock(&self.job).clone();
        match done {
            Ok(outcome) => {
                job.complete(outcome, clock::wall());
                self.shelf.keep_job(&job)?;
                Ok(job)
            }
            Err(error) => {
                job.fail(error.to_string(), clock::wall());
                // The first error is the one to tell.
                self.shelf.keep_job(&job).err().into_iter().for_each(|kept| tracing::warn!(error = %kept, "the job's record is not kept"));
                Err(error)
            }
        }
    }
}

/// Passes on how far a job is.
pub(super) struct Watching<'w> {
    watch: &'w mut dyn Watch,
    job: Arc<Mutex<Job>>,
    deadline: Option<(Duration, Deadline)>,
}

impl Watch for Watching<'_> {
    fn reached(&mut self, stage: Stage, share: f64) -> Result<()> {
        if let Some((limit, deadline)) = self.deadline
            && deadline.passed()
        {
            let message =
                format!("it took longer than the {} s it may take, at '{}': allow more, or cut the input", limit.as_secs(), stage.as_str());
            return Err(Error::permanent(message));
        }
        lock(&self.job).reached(stage, share);
        self.watch.reached(stage, share)
    }
    fn notice(&mut self, text: &str) {
        self.watch.notice(text);
    }
}

fn lock(job: &Mutex<Job>) -> MutexGuard<'_, Job> {
    job.lock().unwrap_or_else(PoisonError::into_inner)
}
