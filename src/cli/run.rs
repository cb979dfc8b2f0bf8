//! `threatguard run`: pipelines on Kafka and Redis, or embedded on files.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::args::RunArgs;
use super::progress::Progress;
use super::{Outcome, input, models, output, stop};
use crate::config::clients;
use crate::config::pipeline::{self, PipelineFile};
use crate::config::service::{Delivery, ServiceSettings, Verdicts, host_name};
use crate::core::correlate::Correlator;
use crate::edge::file::{Existing, JsonlSink};
use crate::edge::kafka::ConsumerSettings;
use crate::edge::{Publisher, TopicRole};
use crate::error::{Error, Result};
use crate::run::embedded::{Embedded, Quiet};
use crate::run::framed::FramedInput;
use crate::run::learning::Learning;
use crate::run::logs::start_logs;
use crate::run::pipeline::Pipeline;
use crate::run::stream::{self, Options, Surroundings};
use crate::run::succession::{Follower, Following};
use crate::run::summary::Summary;
use crate::run::telemetry::Metrics;
use crate::serve::{Readiness, Service, State};

/// Records read before they are worked on.
pub(super) const BATCH_RECORDS: usize = 2_048;

pub(super) fn run(args: &RunArgs) -> Result<Outcome> {
    let settings = args.service.resolve()?.settings;
    start_logs(&settings.log)?;
    let stop = stop::stop_flag()?;
    let summaries = match &args.input {
        Some(path) => vec![embedded(args, &settings, path, &stop)?],
        None if settings.brokers.0.is_empty() => {
            return Err(Error::config("nothing to read: give --input PATH for files, or --brokers LIST for Kafka"));
        }
        None => streams(args, &settings, &stop)?,
    };
    report(&summaries, args.summary.as_deref())?;
    Ok(Outcome::Clean)
}

/// Several pipelines sum up; the slowest percentiles count.
fn report(summaries: &[Summary], file: Option<&Path>) -> Result<()> {
    let Some(summary) = summaries.iter().cloned().reduce(Summary::beside) else { return Ok(()) };
    output::print(&summary.sentence())?;
    file.map_or(Ok(()), |file| summary.write(file))
}

fn embedded(args: &RunArgs, settings: &ServiceSettings, path: &Path, stop: &Arc<AtomicBool>) -> Result<Summary> {
    let [file] = args.pipeline.as_slice() else {
        return Err(Error::config("with --input give one --pipeline: each event has one key; run the input again for another"));
    };
    if settings.verdicts == Verdicts::Arrow {
        return Err(Error::config("--verdicts arrow is for Kafka; files hold JSON Lines: --verdicts json"));
    }
    let (pipeline, mut input) = input::open(file, path, args.codec.as_deref(), stop)?;
    let around = surroundings(&["pipeline"], Arc::default());
    let service = args.service.listen.as_ref().map(|_| serve(settings, &around)).transpose()?;
    let learning = Arc::new(models::learning(&pipeline, settings.models.as_deref(), &settings.output.join("models"), false)?);
    let sink = Arc::new(sink(&settings.output, settings.verdicts)?);
    let correlator = Correlator::new(&pipeline.file.name, &pipeline.file.routes.threats, pipeline.file.correlation);
    let lanes = vec![(Arc::clone(&pipeline), Arc::clone(&learning))];
    let metrics = around.metrics.of(&pipeline.file.name);
    // A run on files is repeatable: recent rows are judged at certain records and not at times.
    let following = Following::start(follower(args, settings, &pipeline, &learning, &metrics)?.told_when())?;
    let run = Embedded::new(lanes, settings.verdicts, Arc::clone(&sink) as Arc<dyn Publisher>, correlator, metrics)?;
    let mut run = run.looking(following.recalibrating());
    around.readiness.set("pipeline", State::Ok);
    let read = feed(&pipeline, &mut input, &mut run, batch_events(args).unwrap_or(BATCH_RECORDS), stop);
    let summary = run.finish()?.compared(following.finish()?);
    sink.sync()?;
    read?;
    service.into_iter().for_each(Service::stop);
    Ok(summary)
}

fn batch_events(args: &RunArgs) -> Option<usize> {
    args.batch_events.map(|events| events as usize)
}

/// Feeds an input through an embedded run, to its end or until told to stop: a live one then has an end, up to which it is read. A file that breaks off is reported at the end, after
/// everything that could be read was worked on.
pub(super) fn feed(pipeline: &Pipeline, input: &mut FramedInput, run: &mut Embedded, batch: usize, stop: &AtomicBool) -> Result<()> {
    let mut progress = Progress::new("reading", "bytes", input.progress().bytes_total);
    let mut broken = None;
    while !stop.load(Ordering::Relaxed) || input.is_live() {
        match input.read(pipeline, run.records(0), batch) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                output::error(&error);
                broken = Some(error);
            }
        }
        run.step(&mut Quiet)?;
        progress.set(input.progress().bytes_read);
    }
    progress.finish();
    broken.map_or(Ok(()), Err)
}

/// The folder of results, with a file for each kind of output.
pub(super) fn sink(folder: &Path, verdicts: Verdicts) -> Result<JsonlSink> {
    let mut roles = vec![TopicRole::Threats, TopicRole::Alerts, TopicRole::Analytics, TopicRole::DeadLetters];
    if verdicts == Verdicts::Json {
        roles.push(TopicRole::Verdicts);
    }
    JsonlSink::create(folder, &roles, Existing::Replace)
}

fn surroundings(components: &[&'static str], stop: Arc<AtomicBool>) -> Surroundings {
    Surroundings { metrics: Arc::new(Metrics::new()), readiness: Arc::new(Readiness::new(components)), stop }
}

fn serve(settings: &ServiceSettings, around: &Surroundings) -> Result<Service> {
    let address: SocketAddr =
        settings.listen.parse().map_err(|_| Error::config(format!("listen: '{}' is no address; write 127.0.0.1:3002", settings.listen)))?;
    let service = Service::start(address, Arc::clone(&around.metrics), Arc::clone(&around.readiness))?;
    output::notice(&format!("listening on http://{}", service.addr()));
    Ok(service)
}

/// One run for each pipeline, side by side. Their threats meet in one topic, which they correlate as one group.
fn streams(args: &RunArgs, settings: &ServiceSettings, stop: &Arc<AtomicBool>) -> Result<Vec<Summary>> {
    let around = surroundings(&["kafka", "redis", "partitions"], Arc::clone(stop));
    let files: Vec<PipelineFile> = args.pipeline.iter().map(|file| Ok(pipeline::load(file)?)).collect::<Result<_>>()?;
    let service = serve(settings, &around)?;
    let own = |file: PipelineFile| {
        let (metrics, readiness) = (around.metrics.of(&file.name), Arc::new(around.readiness.of(&file.name)));
        (file, Surroundings { metrics, readiness, ..around.clone() })
    };
    let files = files.into_iter().map(own).collect();
    let results = side_by_side(files, stop, |(file, around)| one_stream(args, settings, file, &around));
    service.stop();
    results.into_iter().collect()
}

/// One thread for each item. One that fails or panics tells the others to stop: an operator sees the error instead of half a service.
fn side_by_side<I: Send, T: Send>(items: Vec<I>, stop: &AtomicBool, run: impl Fn(I) -> Result<T> + Sync) -> Vec<Result<T>> {
    let run = &run;
    std::thread::scope(|scope| {
        let start = |item: I| {
            scope.spawn(move || {
                let panicked = |_| Err(Error::bug("a pipeline panicked; its message is in the log"));
                // What the run leaves behind is not looked at again: all of it is dropped or ends with the process.
                let ended = catch_unwind(AssertUnwindSafe(|| run(item))).unwrap_or_else(panicked);
                stop.fetch_or(ended.is_err(), Ordering::Relaxed);
                ended
            })
        };
        let threads: Vec<_> = items.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::bug("a pipeline panicked")))).collect()
    })
}

fn one_stream(args: &RunArgs, settings: &ServiceSettings, file: PipelineFile, around: &Surroundings) -> Result<Summary> {
    let codec = args.codec.as_deref().unwrap_or(&file.source.codec).to_owned();
    if codec == "auto" {
        return Err(Error::config("codec auto looks at the first lines of a file; for Kafka name the codec"));
    }
    let pipeline = Arc::new(Pipeline::open(file, Some(&codec))?);
    let learning: Arc<Learning> = Arc::new(models::learning(&pipeline, settings.models.as_deref(), &settings.output.join("models"), true)?);
    let options = options(args, settings, &pipeline);
    if let Some(time) = &args.from {
        super::verify::rewind(settings, &pipeline.file, time, args.snapshot.as_deref())?;
    }
    let following = Following::start(follower(args, settings, &pipeline, &learning, &around.metrics)?)?;
    let ended = stream::run(&pipeline, &learning, &options, around);
    let compared = following.finish()?;
    Ok(ended?.compared(compared))
}

/// Follows the registry where models come from one.
fn follower(
    args: &RunArgs,
    settings: &ServiceSettings,
    pipeline: &Arc<Pipeline>,
    learning: &Arc<Learning>,
    metrics: &Arc<Metrics>,
) -> Result<Follower> {
    let shelf = settings.models.as_deref().map(|place| models::shelf(place, &pipeline.file.name)).transpose()?.flatten();
    let instance = settings.instance.clone().unwrap_or_else(host_name);
    let mut follower = Follower::new(shelf, pipeline, learning, metrics, &instance);
    if args.feedback.is_some() && !follower.recalibrates() {
        let name = &pipeline.file.name;
        output::notice(&format!("--feedback: '{name}' does not recalibrate; it needs recalibration.enabled and a registry of models"));
    }
    follower.hear_from(args.feedback.clone());
    Ok(follower)
}

fn options(args: &RunArgs, settings: &ServiceSettings, pipeline: &Pipeline) -> Options {
    let span = |span: crate::core::settings::Span| Duration::from_micros(span.micros.unsigned_abs());
    let consumer = clients::consumer(settings, &pipeline.file);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Options {
        kafka: clients::connection(settings),
        consumer: ConsumerSettings { batch_events: batch_events(args).unwrap_or(consumer.batch_events), ..consumer },
        producer: clients::producer(settings, &pipeline.file),
        redis: clients::redis(settings),
        topics: clients::topics(settings, &pipeline.file),
        create_topics: settings.kafka.create_topics,
        shards: if settings.shards == 0 { cores } else { settings.shards },
        checkpoint_interval: span(settings.checkpoint_interval),
        exactly_once: settings.delivery == Delivery::ExactlyOnce,
        commit_interval: span(settings.commit_interval),
        instance: settings.instance.clone().unwrap_or_else(host_name),
        shutdown: span(settings.shutdown),
        verdicts: settings.verdicts,
        once: args.once,
        correlate: true,
        correlate_group: format!("{}.correlate", settings.group_id),
        correlation: pipeline.file.correlation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic)] // what is tested
    fn a_pipeline_that_panics_or_fails_takes_the_others_along() {
        for panics in [true, false] {
            let stop = AtomicBool::new(false);
            let waits = || {
                let deadline = crate::edge::clock::Deadline::after(Duration::from_secs(60));
                while !stop.load(Ordering::Relaxed) && !deadline.passed() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert!(!deadline.passed(), "nobody told it to stop");
            };
            let ended = side_by_side(vec![0, 1, 2], &stop, |number| match number {
                1 if panics => panic!("as told"),
                1 => Err(Error::permanent("as told")),
                other => {
                    waits();
                    Ok(other)
                }
            });
            let shown: Vec<Option<i32>> = ended.iter().map(|ended| ended.as_ref().ok().copied()).collect();
            assert_eq!(shown, [Some(0), None, Some(2)]);
        }
    }
}
