//! `threatguard demo`: the simulator through the whole pipeline, watched live, judged at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::args::DemoArgs;
use super::live::{Live, RISKS_MAX};
use super::run::{BATCH_RECORDS, sink};
use super::{Outcome, company, models, output, stop};
use crate::config::pipeline::{self, PipelineFile};
use crate::config::service::{ServiceSettings, Verdicts};
use crate::core::correlate::{Correlated, Correlator};
use crate::core::output::{AlertRecord, ThreatRecord};
use crate::core::types::{EventTime, Offset};
use crate::edge::{Publisher, clock};
use crate::error::{Error, Result};
use crate::run::embedded::{Embedded, Observer};
use crate::run::logs::start_logs;
use crate::run::pipeline::Pipeline;
use crate::run::summary::Summary;
use crate::run::telemetry::Metrics;
use crate::simulate::evaluate::{Evaluator, Finding, Period};
use crate::simulate::{Scenario, Simulator};

/// The view is brought up to date once in so many steps.
const STEPS_BETWEEN_VIEWS: u64 = 4;

pub(super) fn run(args: &DemoArgs) -> Result<Outcome> {
    let mut settings = args.service.resolve()?.settings;
    if args.service.log_level.is_none() {
        settings.log.level = "warn".into();
    }
    start_logs(&settings.log)?;
    let scenario = args.scenario.scenario();
    let files = if args.pipeline.is_empty() {
        company::pipelines()?
    } else {
        args.pipeline.iter().map(|file| Ok(pipeline::load(file)?)).collect::<Result<_>>()?
    };
    let stop = stop::stop_flag()?;
    let live = Arc::new(Live::new(&format!("ThreatGuard demo, scenario {} seed {}", args.scenario.scenario, args.scenario.seed)));
    let show = Arc::clone(&live);
    let ended = std::thread::scope(|scope| {
        let body = || {
            let ended = simulate(&settings, &scenario, files, &live, &stop);
            live.finish();
            ended
        };
        let thread = std::thread::Builder::new().name("demo".into()).spawn_scoped(scope, body);
        let thread = thread.map_err(|error| Error::permanent("cannot start the run").because(error))?;
        let watched = show.watch(args.plain);
        stop.fetch_or(watched.is_err(), Ordering::Relaxed);
        let ended = thread.join().unwrap_or_else(|_| Err(Error::bug("the demo panicked")));
        watched.and(ended)
    })?;
    output::print(&ended.report(&settings))?;
    args.summary.as_deref().map_or(Ok(()), |file| ended.summary.write(file))?;
    Ok(Outcome::Clean)
}

struct Ended {
    summary: Summary,
    quality: String,
    example: Option<String>,
    stopped: bool,
}

impl Ended {
    fn report(&self, settings: &ServiceSettings) -> String {
        let folder = settings.output.display();
        let mut text = self.summary.sentence();
        if !self.stopped {
            text.push_str(&self.quality);
        }
        text.push_str(&format!("\nResults are in {folder}: threats.jsonl, alerts.jsonl, analytics.jsonl; models in {folder}/models.\n"));
        if let Some(id) = &self.example {
            text.push_str(&format!("Why, for one of them:  threatguard explain {} --output {folder}\n", &id[..12]));
        }
        text
    }
}

fn simulate(settings: &ServiceSettings, scenario: &Scenario, files: Vec<PipelineFile>, live: &Live, stop: &AtomicBool) -> Result<Ended> {
    let sink = Arc::new(sink(&settings.output, settings.verdicts)?);
    if settings.verdicts == Verdicts::Arrow {
        return Err(Error::config("--verdicts arrow is for Kafka; files hold JSON Lines: --verdicts json"));
    }
    let rules = files.first().map(|file| file.correlation).unwrap_or_default();
    let mut lanes = vec![];
    let ordinary = ordinary_events(scenario)?;
    for mut file in files {
        file.learning.events = ordinary;
        let pipeline = Arc::new(Pipeline::open(file, Some("threatguard"))?);
        let learning = models::learning(&pipeline, settings.models.as_deref(), &settings.output.join("models"), false)?;
        lanes.push((pipeline, Arc::new(learning)));
    }
    let correlator = Correlator::new("demo", "security.threats", rules);
    let publisher = Arc::clone(&sink) as Arc<dyn Publisher>;
    let mut run = Embedded::new(lanes, settings.verdicts, publisher, correlator, Arc::new(Metrics::new()))?;
    let mut simulator = Simulator::new(scenario)?;
    let mut watcher = Watcher { live, alerts: vec![], example: None };
    feed(&mut simulator, scenario, &mut run, &mut watcher, stop)?;
    let Watcher { alerts, example, .. } = watcher;
    let summary = run.finish()?;
    sink.sync()?;
    let quality = quality(&simulator, scenario, &alerts);
    Ok(Ended { summary, quality, example, stopped: stop.load(Ordering::Relaxed) || live.has_quit() })
}

/// Events before the first campaign begins: what an operator would let the pipelines learn from.
fn ordinary_events(scenario: &Scenario) -> Result<u64> {
    let mut simulator = Simulator::new(scenario)?;
    let (mut count, mut line) = (0, vec![]);
    while let Some(emitted) = simulator.next(&mut line) {
        line.clear();
        if emitted.time >= scenario.learned() {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// Hands each event to every pipeline, as they would all read the same topic.
fn feed(simulator: &mut Simulator, scenario: &Scenario, run: &mut Embedded, watcher: &mut Watcher<'_>, stop: &AtomicBool) -> Result<()> {
    let begun = clock::now();
    let lanes = run.lanes();
    let (mut line, mut next, mut waiting, mut steps) = (vec![], Offset(0), 0, 0);
    let mut time = scenario.start;
    while let Some(emitted) = simulator.next(&mut line) {
        for lane in 0..lanes {
            run.records(lane).push(next, Some(emitted.time), None, &line);
        }
        line.clear();
        next = next.next();
        waiting += 1;
        time = emitted.time;
        if waiting == BATCH_RECORDS {
            waiting = 0;
            steps += 1;
            run.step(watcher)?;
            if steps % STEPS_BETWEEN_VIEWS == 1 {
                view(run, watcher.live, scenario, time, begun);
            }
            if stop.load(Ordering::Relaxed) || watcher.live.has_quit() {
                break;
            }
        }
    }
    run.step(watcher)?;
    view(run, watcher.live, scenario, time, begun);
    Ok(())
}

fn view(run: &mut Embedded, live: &Live, scenario: &Scenario, time: EventTime, begun: Instant) {
    let (entities, _) = run.entities();
    let (counts, alerts, learning) = (run.counts(), run.alerts(), run.learning());
    let (latency, risks) = (run.latencies().percentiles(), run.top_risks(time, RISKS_MAX));
    let length = (scenario.end().0 - scenario.start.0).max(1) as f64;
    live.update(|state| {
        state.counts = counts;
        state.alerts = alerts;
        state.events_per_second = counts.received as f64 / begun.elapsed().as_secs_f64().max(1e-3);
        state.latency = latency;
        state.entities = entities as u64;
        state.risks = risks;
        state.simulated = Some(time);
        state.learning = learning;
        state.progress = Some(((time.0 - scenario.start.0) as f64 / length).clamp(0.0, 1.0));
    });
}

struct Watcher<'l> {
    live: &'l Live,
    alerts: Vec<AlertRecord>,
    /// The most severe threat so far.
    example: Option<String>,
}

impl Observer for Watcher<'_> {
    fn threat(&mut self, threat: &ThreatRecord) {
        self.live.update(|state| state.add_threat(threat));
        self.example = Some(threat.id.clone());
    }
    fn correlated(&mut self, output: &Correlated) {
        if let Correlated::Alert(alert) = output {
            self.alerts.push(alert.clone());
        }
    }
}

/// How good the alerts were, by the simulator's own labels.
fn quality(simulator: &Simulator, scenario: &Scenario, alerts: &[AlertRecord]) -> String {
    let mut evaluator = Evaluator::new(simulator.campaigns(), Period::after_learning(scenario));
    for alert in alerts {
        let kind = alert.threat_types.first().map_or("", String::as_str);
        let p = libm::pow(10.0, -12.0 * alert.risk_score / 10.0);
        evaluator.add(&Finding { time: alert.last_seen, entity: &alert.entity, kind, severity: alert.severity.as_str(), p });
    }
    let report = evaluator.report();
    let mut text = String::from("\nDetection, by the simulator's labels (alerts):\n");
    text.push_str(&output::table(&report.table()));
    text.push_str(&report.summary());
    text.push('\n');
    text
}
