//! `threatguard model retrain` and `model jobs`.

use std::cell::RefCell;
use std::sync::Arc;

use super::args_model::RegistryFlags;
use super::args_retrain::RetrainArgs;
use super::output::table;
use super::progress::Progress;
use super::{Outcome, feedback, input, model, models, output};
use crate::config::pipeline::{self, PipelineFile};
use crate::core::printable::printable;
use crate::edge::clock;
use crate::error::{Error, Result};
use crate::models::registry_files::Shelf;
use crate::models::retrain::better::{Figures, Outcome as Compared};
use crate::models::retrain::job::{Configuration, Job, Stage, Status};
use crate::run::framed::FramedInput;
use crate::run::pipeline::Pipeline;
use crate::run::retrain::{Request, retrain};
use crate::run::training::{Source, Watch};

pub(super) fn run(args: &RetrainArgs) -> Result<Outcome> {
    if let (Some(model), Some(data)) = (&args.table.model, &args.table.data) {
        return super::retrain_table::run(args, model, data);
    }
    let (Some(registry), Some(file), Some(from)) = (&args.models, &args.pipeline, &args.input) else {
        return Err(Error::bug("neither a table's model nor a pipeline with its registry and input"));
    };
    let file = pipeline::load(file)?;
    let shelf = Shelf::of(models::depot(registry)?, &file.name)?;
    let request = request(args, from, &file)?;
    let open = again(from, &args.codec);
    let source = Source { limit: args.limit.unwrap_or(u64::MAX), ..Source::whole(file, &open, from.as_os_str() == "-") };
    let mut shown = Shown::new(true);
    let done = retrain(&shelf, &source, request, &mut shown);
    shown.end();
    let job = done?;
    if args.json {
        output::json(&job)?
    } else {
        output::print(&view(&job))?
    }
    let better = job.results.as_ref().is_some_and(|results| results.better);
    Ok(if better { Outcome::Clean } else { Outcome::Findings })
}

fn request(args: &RetrainArgs, from: &std::path::Path, file: &PipelineFile) -> Result<Request> {
    let text = |path: &std::path::Path| path.display().to_string();
    let configuration = Configuration {
        data_source: text(from),
        validation_split: args.validation_split,
        hold_out: args.hold_out.clone(),
        max_training_seconds: args.max_time,
        label: args.label.clone(),
        feedback: args.feedback.as_deref().map(text),
        promote: !args.no_promote,
        seed: args.seed.unwrap_or(file.learning.seed),
    };
    let judgements = feedback::read(args.feedback.as_deref())?;
    Ok(Request { configuration, trigger: args.trigger.clone(), benign: args.benign.clone(), judgements })
}

/// Opens an input again and again; its codec is found out, and told, once.
pub(super) fn again<'a>(path: &'a std::path::Path, codec: &'a str) -> impl Fn(PipelineFile) -> Result<(Arc<Pipeline>, FramedInput)> + 'a {
    let known = RefCell::new(codec.to_owned());
    move |file| {
        let codec = known.borrow().clone();
        let opened = input::open_for(file, path, Some(&codec), &Arc::default())?;
        opened.0.codec.name().clone_into(&mut known.borrow_mut());
        Ok(opened)
    }
}

/// Shows how far training is: a bar a stage, and for jobs a line where each begins.
pub(super) struct Shown {
    is_job: bool,
    bar: Option<(Stage, Progress)>,
}

impl Shown {
    pub fn new(is_job: bool) -> Self {
        Self { is_job, bar: None }
    }
    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish();
        }
    }
}

impl Watch for Shown {
    fn reached(&mut self, stage: Stage, share: f64) -> Result<()> {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            self.end();
            if self.is_job {
                output::notice(&format!("{:.2} {}", stage.progress(0.0), stage.as_str()));
            }
            self.bar = Some((stage, Progress::new(stage.as_str(), "%", Some(100))));
        }
        if let Some((_, bar)) = &mut self.bar {
            bar.set((100.0 * share) as u64);
        }
        Ok(())
    }
    fn notice(&mut self, text: &str) {
        output::notice(text);
    }
}

/// `model jobs`: all of them, or one.
pub(super) fn jobs(name: Option<&str>, flags: &RegistryFlags) -> Result<Outcome> {
    let (shelf, now) = (model::shelf(flags)?, clock::wall());
    if let Some(name) = name {
        let job = shelf.job(name, now)?;
        return model::print(flags, &job, || view(&job));
    }
    let jobs = shelf.jobs(now)?;
    model::print(flags, &jobs, || list(&jobs))
}

fn status(job: &Job) -> &'static str {
    match (job.status, &job.results) {
        (Status::Queued, _) => "queued",
        (Status::Running, _) => "running",
        (Status::Failed, _) => "failed",
        (Status::Completed, Some(results)) if results.promoted => "promoted",
        (Status::Completed, Some(results)) if results.better => "better",
        (Status::Completed, _) => "not better",
    }
}

fn list(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "no job yet; 'threatguard model retrain' does one\n".to_owned();
    }
    let mut lines = vec![["job", "", "done", "version", "what"].map(str::to_owned).to_vec()];
    lines.extend(jobs.iter().map(|job| {
        let version = job.results.as_ref().map_or("-", |results| results.version.as_str());
        let what = match (&job.error_message, &job.results) {
            (Some(error), _) => error.as_str(),
            (None, Some(results)) => results.reason.as_str(),
            (None, None) => job.stage.as_str(),
        };
        vec![job.job_id.clone(), status(job).to_owned(), format!("{:.2}", job.progress), version.to_owned(), what.to_owned()]
    }));
    table(&lines)
}

fn view(job: &Job) -> String {
    let mut text = format!(
        "job {} of pipeline {}: {} ({:.2}, {}), begun {}\n",
        job.job_id,
        printable(&job.pipeline),
        status(job),
        job.progress,
        job.stage.as_str(),
        printable(&job.created_at)
    );
    if let Some(error) = &job.error_message {
        text.push_str(&format!("{}\n", printable(error)));
    }
    text + &job.results.as_ref().map_or_else(String::new, results)
}

/// What came of comparing two models.
pub(super) fn results(results: &Compared) -> String {
    let mut text = format!(
        "held out: {}: {} rows, {} known attacks, {} known to be benign\n\n",
        printable(&results.held_out),
        results.rows,
        results.attacks,
        results.benign
    );
    let head = ["", "version", "at FPR 0.8 %", "recall", "FPR", "accuracy", "rows with p <= 1 %", "p <= 0.1 %", "threats"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(results.champion.iter().map(|figures| line("champion", figures)));
    lines.push(line("candidate", &results.candidate));
    text.push_str(&table(&lines));
    let what = match (results.promoted, results.better) {
        (true, _) => "promoted",
        (false, true) => "better, and not promoted",
        (false, false) => "not promoted",
    };
    text.push_str(&format!("\n{what}: {}\n", printable(&results.reason)));
    text
}

fn line(name: &str, figures: &Figures) -> Vec<String> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.4}"));
    let percent = |share: f64| format!("{:.3} %", 100.0 * share);
    vec![
        name.to_owned(),
        figures.version.clone(),
        rate(figures.tpr_at_fpr008),
        rate(figures.recall),
        rate(figures.false_positive_rate),
        rate(figures.accuracy),
        percent(figures.share_at_1_percent),
        percent(figures.share_at_01_percent),
        figures.threats.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::EventTime;
    use crate::models::retrain::better::{Side, decide};
    use crate::models::retrain::figures::{Scored, Truths};
    use crate::models::retrain::job::tests::job;

    #[test]
    fn people_see_how_far_jobs_are_and_why_a_candidate_was_not_promoted() {
        let mut jobs = vec![job(EventTime(0)), job(EventTime(1)), job(EventTime(2))];
        jobs[0].reached(Stage::Fitting, 0.5);
        let scored = Scored { surprise: vec![0.0; 10], threat: vec![false; 10] };
        let truths = Truths { attack: vec![None; 10], cluster: vec![0; 10] };
        let outcome = decide(&truths, None, Side { version: "abcd", scored: &scored }, "the last 10".to_owned(), 1);
        jobs[1].complete(outcome, EventTime(9));
        jobs[2].fail("a \u{1b}[31m line".to_owned(), EventTime(9));
        let text = list(&jobs);
        assert!(text.contains("running     0.40  -") && text.contains("not better  1.00  abcd") && text.contains("failed"), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("fitting models"));
        let text = view(&jobs[1]);
        assert!(text.contains("not promoted: only 10 held-out rows") && text.contains("candidate  abcd"), "{text}");
        assert!(list(&[]).contains("no job yet"));
    }
}
