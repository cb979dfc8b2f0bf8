//! Retraining as a job: fits a candidate to one part of an input, measures champion and candidate on the other, and promotes the
//! candidate only where it is better. The job's record in the registry says how far it is and what came of it.
//!
//! Must never leave a model half added: a bundle appears whole or not at all, and becomes champion only after that.

mod keeper;
mod measure;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::core::types::Offset;
use crate::edge::{Records, clock};
use crate::error::{Error, Result};
use crate::models::bundle::Bundle;
use crate::models::feedback::Judgements;
use crate::models::registry_files::Shelf;
use crate::models::retrain::better::{Outcome, Side, check_split, decide};
use crate::models::retrain::job::{Configuration, Job, Stage};
use crate::run::labels::{HeldOut, Labels};
use crate::run::training::{self, Source, Watch};
use keeper::Keeper;
use measure::Measured;

/// Records that are counted at a time.
const BATCH_RECORDS: usize = 16_384;
/// Ways to hold out.
pub const BY_TIME: &str = "time";
pub const BY_ENTITIES: &str = "entities";

/// What is wanted.
pub struct Request {
    pub configuration: Configuration,
    pub trigger: String,
    /// The value of benign events.
    pub benign: Option<String>,
    pub judgements: Arc<Judgements>,
}

/// Does a job from its first record to its last.
///
/// # Errors
/// Of the job, which has failed then; its record says so too.
pub fn retrain(shelf: &Shelf, source: &Source<'_>, request: Request, watch: &mut dyn Watch) -> Result<Job> {
    check(&request.configuration, source)?;
    let now = clock::wall();
    let name = Job::name(now, std::process::id());
    let job = Job::new(name, shelf.pipeline(), &request.trigger, request.configuration.clone(), now);
    let limit = request.configuration.max_training_seconds.map(Duration::from_secs);
    let keeper = Keeper::begin(shelf.clone(), job)?;
    let done = keeper.wait_for_turn().and_then(|()| {
        let mut watch = keeper.watching(watch, limit);
        work(shelf, source, &request, &mut watch)
    });
    keeper.end(done)
}

fn check(configuration: &Configuration, source: &Source<'_>) -> Result<()> {
    if source.is_once {
        return Err(Error::config("retraining reads its input several times; give a file or a folder"));
    }
    check_split(configuration.validation_split)
}

fn work(shelf: &Shelf, source: &Source<'_>, request: &Request, watch: &mut dyn Watch) -> Result<Outcome> {
    let champion = champion(shelf, source, watch)?;
    let (held_out, said) = held_out(source, &request.configuration, watch)?;
    let labels = Labels {
        field: request.configuration.label.clone(),
        benign: request.benign.clone(),
        judgements: Arc::clone(&request.judgements),
        held_out,
    };
    let candidate = training::train(source, &labels, watch)?.bundle;
    let old = champion.as_ref().map(|champion| Measured::of(champion, source, &labels, Stage::MeasuringChampion, watch)).transpose()?;
    let new = Measured::of(&candidate, source, &labels, Stage::MeasuringCandidate, watch)?;
    if old.as_ref().is_some_and(|old| old.truths != new.truths) {
        return Err(Error::config("the input has changed while it was read; retrain from one that stays as it is"));
    }
    watch.reached(Stage::Deciding, 0.0)?;
    let old = champion.as_ref().zip(old.as_ref());
    let side = old.map(|(bundle, measured)| Side { version: &bundle.manifest.version, scored: &measured.scored });
    let candidate_side = Side { version: &candidate.manifest.version, scored: &new.scored };
    let outcome = decide(&new.truths, side, candidate_side, said, request.configuration.seed);
    watch.reached(Stage::Deciding, 0.5)?;
    settle(shelf, &candidate, champion.as_ref(), outcome, request.configuration.promote)
}

/// The version that scores now; one that this version of the pipeline cannot score with is none.
fn champion(shelf: &Shelf, source: &Source<'_>, watch: &mut dyn Watch) -> Result<Option<Bundle>> {
    let Some(version) = shelf.roles()?.champion else { return Ok(None) };
    let bundle = shelf.load(&version)?;
    let (pipeline, _) = source.again()?;
    if let Err(error) = pipeline.scorer(Some(&bundle)) {
        watch.notice(&format!("the champion {version} cannot score this pipeline any more, so there is nothing to compare with: {error}"));
        return Ok(None);
    }
    Ok(Some(bundle))
}

/// Which events are held out, and that in words.
fn held_out(source: &Source<'_>, configuration: &Configuration, watch: &mut dyn Watch) -> Result<(HeldOut, String)> {
    let share = configuration.validation_split;
    if configuration.hold_out == BY_ENTITIES {
        return Ok((HeldOut::Entities(share), format!("all events of {:.0} % of the entities", 100.0 * share)));
    }
    let records = count(source, watch)?;
    let first = (records as f64 * (1.0 - share)) as u64;
    Ok((HeldOut::From(Offset(first)), format!("the last {} of {records} records", records - first)))
}

fn count(source: &Source<'_>, watch: &mut dyn Watch) -> Result<u64> {
    watch.reached(Stage::Counting, 0.0)?;
    let (pipeline, mut input) = source.again()?;
    let (mut records, mut counted) = (Records::default(), 0);
    while counted < source.limit {
        records.clear();
        let read = input.read(&pipeline, &mut records, BATCH_RECORDS)? as u64;
        if read == 0 {
            break;
        }
        counted += read;
        watch.reached(Stage::Counting, training::share(&input))?;
    }
    Ok(counted.min(source.limit))
}

/// Adds the candidate, and makes it the champion if it is better than the one that is that still.
fn settle(shelf: &Shelf, candidate: &Bundle, champion: Option<&Bundle>, mut outcome: Outcome, promote: bool) -> Result<Outcome> {
    let version = &candidate.manifest.version;
    if champion.is_some_and(|champion| champion.manifest.version == *version) {
        outcome.better = false;
        outcome.reason = "it is the champion itself: the input taught nothing new".to_owned();
        return Ok(outcome);
    }
    shelf.add(candidate)?;
    if !outcome.better || !promote {
        return Ok(outcome);
    }
    let compared = champion.map(|champion| champion.manifest.version.clone());
    let mut is_same = false;
    shelf.change(|roles| {
        // One that cannot score any more was not compared, and gives way.
        is_same = compared.is_none() || roles.champion == compared;
        Ok(is_same && roles.promote(version, &clock::wall().to_string()))
    })?;
    outcome.promoted = is_same;
    if !is_same {
        outcome.reason.push_str("; but another version became champion meanwhile, so it was only added");
    }
    Ok(outcome)
}
