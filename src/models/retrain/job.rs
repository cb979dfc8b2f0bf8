//! The record of a retraining job, as programs read it: how far it is, what came of it.
//!
//! Whoever does a job says so again and again. Must never call a job running whose process has ended without a word.

use serde::{Deserialize, Serialize};

use super::better::Outcome;
use crate::core::types::EventTime;
use crate::error::{Error, Result};

/// Layout of the record. A reader refuses newer ones.
const FORMAT: u32 = 1;
/// A job that is not heard of for so long has ended.
pub const SILENCE_MICROS_MAX: i64 = 60 * 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for another job of the same pipeline.
    Queued,
    Running,
    Completed,
    Failed,
}

/// What a job does one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Queued,
    /// How many events there are, where the last ones are held out.
    Counting,
    Sequences,
    Fitting,
    Calibrating,
    MeasuringChampion,
    MeasuringCandidate,
    Deciding,
    Done,
}

/// The stages and the share of the work that each of them is, of 100.
const SHARES: [(Stage, u32); 9] = [
    (Stage::Queued, 0),
    (Stage::Counting, 10),
    (Stage::Sequences, 15),
    (Stage::Fitting, 30),
    (Stage::Calibrating, 20),
    (Stage::MeasuringChampion, 10),
    (Stage::MeasuringCandidate, 10),
    (Stage::Deciding, 5),
    (Stage::Done, 0),
];

impl Stage {
    /// The share of the whole work that is done when `share` of this stage is, 0..1.
    #[must_use]
    pub fn progress(self, share: f64) -> f64 {
        let own = SHARES.iter().find(|(stage, _)| *stage == self).map_or(0, |(_, own)| *own);
        let before: u32 = SHARES.iter().take_while(|(stage, _)| *stage != self).map(|(_, share)| share).sum();
        ((f64::from(before) + f64::from(own) * share.clamp(0.0, 1.0)) / 100.0).min(1.0)
    }

    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "waiting",
            Self::Counting => "counting events",
            Self::Sequences => "reading sequences",
            Self::Fitting => "fitting models",
            Self::Calibrating => "calibrating",
            Self::MeasuringChampion => "measuring the champion",
            Self::MeasuringCandidate => "measuring the candidate",
            Self::Deciding => "deciding",
            Self::Done => "done",
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// The input's name.
    pub data_source: String,
    /// Share of the events, or of the entities, that is held out.
    pub validation_split: f64,
    /// `time` or `entities`.
    pub hold_out: String,
    pub max_training_seconds: Option<u64>,
    /// Field of the labels, and the analysts' file; none where there are none.
    pub label: Option<String>,
    pub feedback: Option<String>,
    /// A candidate that is better becomes the champion.
    pub promote: bool,
    pub seed: u64,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    format: u32,
    pub job_id: String,
    pub pipeline: String,
    /// Who or what asked for it.
    pub trigger: String,
    pub status: Status,
    pub stage: Stage,
    /// 0..1, never less than before.
    pub progress: f64,
    /// RFC 3339.
    pub created_at: String,
    pub finished_at: Option<String>,
    /// When it was last heard of, microseconds since the Unix epoch.
    pub heard_micros: i64,
    pub configuration: Configuration,
    pub results: Option<Outcome>,
    pub error_message: Option<String>,
}

impl Job {
    #[must_use]
    pub fn new(job_id: String, pipeline: &str, trigger: &str, configuration: Configuration, now: EventTime) -> Self {
        Self {
            format: FORMAT,
            job_id,
            pipeline: pipeline.to_owned(),
            trigger: trigger.to_owned(),
            status: Status::Queued,
            stage: Stage::Queued,
            progress: 0.0,
            created_at: now.to_string(),
            finished_at: None,
            heard_micros: now.0,
            configuration,
            results: None,
            error_message: None,
        }
    }

    /// A name for a job begun now by this process; names sort by time.
    #[must_use]
    pub fn name(now: EventTime, process: u32) -> String {
        let time: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{}-{process:x}", time.to_ascii_lowercase())
    }

    /// Whether a text may be a job's name: nothing else becomes a file's.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }

    /// # Errors
    /// `Config`: it is no such record, or one of a newer format.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let unusable = |error| Error::config("it is no record of a job; remove it").because(error);
        let Form { format } = serde_json::from_slice(bytes).map_err(unusable)?;
        if format > FORMAT {
            return Err(Error::config(format!("it has format {format}, this version reads up to {FORMAT}: upgrade threatguard")));
        }
        serde_json::from_slice(bytes).map_err(unusable)
    }

    /// For people too: one field a line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a job is text and numbers under names");
        bytes.push(b'\n');
        bytes
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed)
    }

    /// How far it is. Progress never goes back.
    pub fn reached(&mut self, stage: Stage, share: f64) {
        self.status = if stage == Stage::Queued { Status::Queued } else { Status::Running };
        self.stage = stage;
        self.progress = self.progress.max(stage.progress(share));
    }

    pub fn complete(&mut self, results: Outcome, now: EventTime) {
        self.results = Some(results);
        (self.status, self.stage, self.progress) = (Status::Completed, Stage::Done, 1.0);
        self.end(now);
    }

    /// The stage stays the one that it failed in.
    pub fn fail(&mut self, why: String, now: EventTime) {
        self.error_message = Some(why);
        self.status = Status::Failed;
        self.end(now);
    }

    fn end(&mut self, now: EventTime) {
        self.finished_at = Some(now.to_string());
        self.heard_micros = now.0;
    }

    /// The job as it is now: one that has fallen silent has failed, whatever its record says.
    #[must_use]
    pub fn as_of(mut self, now: EventTime) -> Self {
        if !self.is_over() && now.0.saturating_sub(self.heard_micros) > SILENCE_MICROS_MAX {
            let heard = EventTime(self.heard_micros);
            self.error_message = Some(format!(
                "its process ended at '{}' and was last heard of at {heard}; 'model list' shows what is in the registry. Start it again",
                self.stage.as_str()
            ));
            self.status = Status::Failed;
            self.finished_at = Some(heard.to_string());
        }
        self
    }
}

#[cfg(test)]
pub(crate) mod tests;
