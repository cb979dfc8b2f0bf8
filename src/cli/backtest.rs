//! `threatguard backtest`: a pipeline over labelled events, measured.

use std::path::Path;
use std::sync::Arc;

use super::args_backtest::BacktestArgs;
use super::progress::Progress;
use super::run::BATCH_RECORDS;
use super::{Outcome, input, models, output};
use crate::config::pipeline;
use crate::config::service::Verdicts;
use crate::core::correlate::Correlator;
use crate::core::printable::printable;
use crate::edge::clock;
use crate::edge::discard::Discard;
use crate::error::{Error, Result};
use crate::models::table::report::Measures;
use crate::run::backtest::Collector;
use crate::run::backtest::junit::junit;
use crate::run::backtest::report::{Found, Level, Report, Seconds, Subject};
use crate::run::backtest::spans::Spans;
use crate::run::embedded::Embedded;
use crate::run::framed::FramedInput;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::telemetry::Metrics;

pub(super) fn run(args: &BacktestArgs) -> Result<Outcome> {
    let begun = clock::now();
    let file = pipeline::load(&args.pipeline)?;
    let settings = args.settings(&file.backtest);
    if let Some((bar, problem)) = args.bars.problems().first() {
        return Err(Error::config(format!("--{}: {problem}", bar.replace('_', "-"))));
    }
    let spans = args.labels.as_deref().map(spans).transpose()?;
    let mut collector = Collector::new(&settings, spans, args.warm_up)?;
    let bundle = args.models.as_deref().map(|folder| models::load(folder, &file.name)).transpose()?;
    let (pipeline, mut input) = input::open_for(file, &args.input, Some(&args.codec), &Arc::default())?;
    let learning = Arc::new(Learning::new(&pipeline, bundle.as_ref(), None)?);
    pass(args, &pipeline, &mut input, learning, &mut collector)?;
    let subject = Subject { pipeline: pipeline.file.name.clone(), models: bundle.map(|bundle| bundle.manifest.version) };
    let report = collector.report(subject, &settings.bars)?;
    let written = |file: &Path, text: String| {
        std::fs::write(file, text).map_err(|failure| Error::permanent(format!("cannot write {}", file.display())).because(failure))
    };
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|failure| Error::bug("a report is no JSON").because(failure))?;
        written(file, json + "\n")?;
    }
    args.junit.as_deref().map_or(Ok(()), |file| written(file, junit(&report, begun.elapsed().as_secs_f64())))?;
    output::print(&text(&report))?;
    Ok(if report.bars.iter().all(|bar| bar.met) { Outcome::Clean } else { Outcome::Findings })
}

fn spans(file: &Path) -> Result<Spans> {
    let text =
        std::fs::read_to_string(file).map_err(|failure| Error::config(format!("cannot read {}", file.display())).because(failure))?;
    Spans::parse(&text)
}

fn pass(
    args: &BacktestArgs,
    pipeline: &Arc<Pipeline>,
    input: &mut FramedInput,
    learning: Arc<Learning>,
    collector: &mut Collector,
) -> Result<()> {
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(pipeline), learning)];
    let mut run = Embedded::new(lanes, Verdicts::None, Arc::new(Discard::default()), correlator, Arc::new(Metrics::new()))?;
    let mut progress = Progress::new("measuring", "bytes", input.progress().bytes_total);
    let limit = args.limit.unwrap_or(u64::MAX);
    while run.counts().received < limit {
        let wanted = BATCH_RECORDS.min((limit - run.counts().received) as usize);
        if input.read(pipeline, run.records(0), wanted)? == 0 {
            break;
        }
        run.step(collector)?;
        collector.check()?;
        progress.set(input.progress().bytes_read);
    }
    progress.finish();
    Ok(())
}

fn text(report: &Report) -> String {
    let fates = report.fates;
    let mut text = format!(
        "backtest of '{}', models {}: {} events measured, {} for learning or warming up, {} without a usable label\n",
        printable(&report.pipeline),
        report.models.as_deref().unwrap_or("learned from the first events"),
        fates.measured,
        fates.warming_up,
        fates.unlabelled
    );
    level("events", &report.events, &mut text);
    match &report.entities {
        Some(entities) => level("entities, by the worst event of each", entities, &mut text),
        None => text.push_str("\nentities: all attack or none does, so there is nothing to tell apart\n"),
    }
    recall(&report.events, &mut text);
    incidents(report, &mut text);
    for bar in &report.bars {
        let verdict = if bar.met { "ok" } else { "MISSED" };
        text.push_str(&format!("{} ... {verdict}\n", bar.sentence()));
    }
    text
}

fn level(name: &str, level: &Level, text: &mut String) {
    text.push_str(&format!("\n{name}: {}, of which {:.3} % attack\n", level.rows, 100.0 * level.base_rate));
    let head = ["", "ROC AUC", "PR AUC", "at FPR 0.1 %", "0.8 %", "1 %", "5 %", "recall", "FPR", "accuracy", "alerts/million"];
    let mut lines = vec![head.map(str::to_owned).to_vec(), line("combination", &level.ensemble)];
    lines.extend(level.members.iter().map(|(name, measures)| line(name, measures)));
    text.push_str(&output::table(&lines));
}

fn line(name: &str, measures: &Measures) -> Vec<String> {
    let mut cells = vec![name.to_owned(), format!("{:.4}", measures.roc_auc), format!("{:.4}", measures.pr_auc)];
    cells.extend(measures.tpr_at_fpr.values().map(|rate| format!("{rate:.3}")));
    let deployed = measures.deployed;
    cells.extend([deployed.tpr, deployed.fpr, deployed.accuracy].map(|share| format!("{share:.4}")));
    cells.push(format!("{:.0}", measures.alerts_per_million));
    cells
}

fn recall(events: &Level, text: &mut String) {
    text.push_str("\nevents rightly judged at the threshold, by label\n");
    let lines: Vec<Vec<String>> =
        events.ensemble.recall_by_class.iter().map(|(class, share)| vec![class.clone(), format!("{share:.4}")]).collect();
    text.push_str(&output::table(&lines));
}

fn incidents(report: &Report, text: &mut String) {
    let incidents = &report.incidents;
    text.push_str("\nincidents\n");
    let head = ["", "incidents", "found", "median seconds to the first", "90 %"].map(str::to_owned).to_vec();
    let mut lines = vec![head];
    let mut add = |name: String, found: &Found| {
        let seconds =
            |of: fn(&Seconds) -> f64| found.seconds_to_first.as_ref().map_or(String::new(), |seconds| format!("{:.1}", of(seconds)));
        lines.push(vec![name, found.incidents.to_string(), found.found.to_string(), seconds(|s| s.median), seconds(|s| s.p90)]);
    };
    add("combination".into(), &incidents.ensemble);
    add("alerts".into(), &incidents.alerts);
    incidents.by_class.iter().for_each(|(class, found)| add(format!("  {class}"), found));
    incidents.members.iter().for_each(|(name, found)| add((*name).to_owned(), found));
    text.push_str(&output::table(&lines));
    text.push('\n');
}
