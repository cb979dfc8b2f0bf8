//! A pipeline on Kafka: the input log through the shards to the output topics, state in Redis, correlation beside it.
//!
//! ```text
//! input topic --> source thread --> shard 0..n: decode, score, render --> publisher --> output topics
//!                                     |  changed states                     | delivered
//!                                     +--> settling thread: publish -> store -> commit
//! raw topic --> source thread --> re-keying --> input topic      (where the input's key is not the pipeline's entity)
//! security.threats --> source thread --> correlation --> security.alerts
//! ```

pub mod correlate;
pub mod rekey;
pub mod settle;
pub mod shard;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;

use self::correlate::{Correlation, Rules};
use self::rekey::Rekeying;
use self::settle::Settler;
use self::shard::{Shard, ShardReport, Shared};
use crate::config::service::Verdicts;
use crate::core::types::Partition;
use crate::edge::clock::{self, Deadline};
use crate::edge::kafka::{ConsumerSettings, KafkaPublisher, KafkaSettings, KafkaSource, ProducerSettings, TopicSpec};
use crate::edge::memory::MemoryStore;
use crate::edge::redis::{RedisSettings, RedisStore};
use crate::edge::{LogEvent, LogSource, Publisher, StateStore};
use crate::error::{Error, Result};
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::render::Origin;
use crate::run::summary::Summary;
use crate::run::telemetry::Metrics;
use crate::run::worker::Worker;
use crate::serve::{Readiness, State};

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// At the end of `--once`, correlation has read everything when it has been at the end for so long after the last threat.
const QUIET: Duration = Duration::from_secs(1);

/// Where and how to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub kafka: KafkaSettings,
    pub consumer: ConsumerSettings,
    pub producer: ProducerSettings,
    /// Without Redis, states live in this process only and start anew with it.
    pub redis: Option<RedisSettings>,
    /// What topics must look like; missing ones are made when `create_topics`.
    pub topics: Vec<TopicSpec>,
    pub create_topics: bool,
    pub shards: usize,
    pub checkpoint_interval: Duration,
    /// How long a shutdown may take.
    pub shutdown: Duration,
    pub verdicts: Verdicts,
    /// Stop at the end of what is there.
    pub once: bool,
    /// Threats become alerts in this process too.
    pub correlate: bool,
    /// Group that reads the threats topic. All pipelines that publish to it share one, so that each threat is correlated once.
    pub correlate_group: String,
    pub correlation: crate::core::correlate::CorrelationSettings,
}

/// What a run shares with the service that shows it.
#[derive(Clone)]
pub struct Surroundings {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    /// Set by SIGTERM and Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

/// Runs until it is stopped, or to the end of what is there.
///
/// # Errors
/// `Config`: addresses, topics, rights. `Permanent`: what must be mended before a restart goes on from the last commit.
pub fn run(pipeline: &Arc<Pipeline>, learning: &Arc<Learning>, options: &Options, around: &Surroundings) -> Result<Summary> {
    let stores = Stores::open(pipeline, options)?;
    around.readiness.set("redis", State::Ok);
    prepare_topics(options)?;
    let publisher: Arc<dyn Publisher> = Arc::new(KafkaPublisher::open(&options.kafka, &options.producer)?);
    around.readiness.set("kafka", State::Ok);
    let begun = clock::now();
    let scoring = Scoring::start(pipeline, learning, options, around, &stores, &publisher)?;
    let correlating = options.correlate.then(|| Beside::correlating(options, around, &stores, &publisher)).transpose()?;
    let rekeyed = pipeline.file.source.rekey.as_ref();
    let rekeying = rekeyed.map(|_| Beside::rekeying(&pipeline.file.source.topic, pipeline, options, around, &publisher)).transpose()?;
    let give_up = Arc::clone(&scoring.shared.give_up);
    let beside: Vec<&Beside> = rekeying.iter().chain(&correlating).collect();
    watch(options, around, &scoring, &beside);
    let deadline = Deadline::after(options.shutdown);
    let was_rekeyed = rekeying.map(|rekeying| rekeying.finish(options, around, deadline, true)).transpose();
    if options.once && rekeyed.is_some() {
        wait_quiet(&scoring.source, &scoring.shared, around, || scoring.threads.iter().any(JoinHandle::is_finished));
    }
    let scored = scoring.finish(options, deadline);
    give_up.store(scored.is_err(), Ordering::Relaxed);
    let alerts = correlating.map(|correlating| correlating.finish(options, around, deadline, scored.is_ok())).transpose();
    was_rekeyed?;
    let report = scored?;
    // From the first record to the last commit: what the group took to form is no work done.
    let span = report.begun.zip(report.settled).map(|(begun, settled)| settled.saturating_duration_since(begun));
    Ok(Summary::new(report.counts, alerts?.unwrap_or(0), span.unwrap_or_else(|| begun.elapsed()), &report.latencies))
}

fn prepare_topics(options: &Options) -> Result<()> {
    let check = if options.create_topics { crate::edge::kafka::ensure_topics } else { crate::edge::kafka::check_topics };
    let findings = check(&options.kafka, &options.topics)?;
    for finding in &findings {
        tracing::warn!(topic = finding.topic, "{}", finding.text);
    }
    match findings.iter().find(|finding| finding.problem.is_fatal()) {
        Some(fatal) => Err(Error::config(fatal.text.clone())),
        None => Ok(()),
    }
}

/// Waits for a reason to end: told to, everything read, or a thread that ended by itself.
fn watch(options: &Options, around: &Surroundings, scoring: &Scoring, beside: &[&Beside]) {
    let is_over = || scoring.threads.iter().any(JoinHandle::is_finished) || beside.iter().any(|beside| beside.thread.is_finished());
    let mut assigned = false;
    while !around.stop.load(Ordering::Relaxed) && !is_over() {
        if !assigned && scoring.is_assigned() {
            assigned = true;
            around.readiness.set("partitions", State::Ok);
        }
        // The first of the chain is at its end for good; what follows it waits for what is still on its way.
        let first =
            beside.iter().find(|beside| beside.feeds_scoring).map_or((&scoring.source, &scoring.shared), |b| (&b.source, &b.shared));
        if options.once && is_at_end(first.0, first.1) {
            return;
        }
        around.metrics.set_learning(scoring.learning.progress().unwrap_or(1.0));
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Opens state stores: Redis, or memory of this process.
struct Stores<'o> {
    redis: Option<&'o RedisSettings>,
}

impl<'o> Stores<'o> {
    fn open(pipeline: &Pipeline, options: &'o Options) -> Result<Self> {
        let stores = Self { redis: options.redis.as_ref() };
        // Fails now rather than when the first partition is assigned.
        drop(stores.pair(&pipeline.file.name, &options.consumer.topic)?);
        if stores.redis.is_none() {
            tracing::warn!("no Redis: states live in this process only and start anew with it");
        }
        Ok(stores)
    }

    /// Two handles on one topic's states: one to load by, one to store by. `name` keeps the states of pipelines apart.
    fn pair(&self, name: &str, topic: &str) -> Result<(Box<dyn StateStore>, Box<dyn StateStore>)> {
        if let Some(settings) = self.redis {
            return Ok((Box::new(RedisStore::open(settings, name, topic)?), Box::new(RedisStore::open(settings, name, topic)?)));
        }
        let store = MemoryStore::default();
        Ok((Box::new(store.clone()), Box::new(store)))
    }
}

/// Name of the correlation in ids, state keys and thread names. It belongs to no pipeline: threats of all meet in it.
const CORRELATION: &str = "correlate";

/// The scoring side: one source, one thread a shard.
struct Scoring {
    source: Arc<KafkaSource>,
    shared: Arc<Shared>,
    learning: Arc<Learning>,
    threads: Vec<JoinHandle<Result<ShardReport>>>,
}

impl Scoring {
    fn start(
        pipeline: &Arc<Pipeline>,
        learning: &Arc<Learning>,
        options: &Options,
        around: &Surroundings,
        stores: &Stores<'_>,
        publisher: &Arc<dyn Publisher>,
    ) -> Result<Self> {
        let consumer = ConsumerSettings { report_end: options.once, ..options.consumer.clone() };
        let (source, channels) = KafkaSource::open(&options.kafka, &consumer, options.shards.max(1))?;
        let source = Arc::new(source);
        let shared = shared(publisher, Arc::clone(&source) as Arc<dyn LogSource>, options, around);
        let mut threads = vec![];
        for (number, events) in channels.into_iter().enumerate() {
            let (load, store) = stores.pair(&pipeline.file.name, &consumer.topic)?;
            let settler = settler(&format!("{number}"), store, &shared)?;
            let origin = Origin { pipeline: pipeline.file.name.clone(), topic: consumer.topic.clone() };
            let seed = clock::wall().0 as u64;
            let worker = Worker::new(Arc::clone(pipeline), Arc::clone(learning), origin, options.verdicts, options.redis.is_some(), seed)?;
            let shard = Shard::new(events, worker, load, options.redis.is_some(), settler, Arc::clone(&shared));
            threads.push(spawn(&format!("shard-{number}"), move || shard.run())?);
        }
        Ok(Self { source, shared, learning: Arc::clone(learning), threads })
    }

    /// The group has given this process its share, which may be nothing, and the states of all of it were taken over.
    fn is_assigned(&self) -> bool {
        self.source.counts().rebalances > 0 && self.shared.held.load(Ordering::Relaxed) >= self.source.owned()
    }

    fn finish(self, options: &Options, deadline: Deadline) -> Result<ShardReport> {
        close(self.source.as_ref(), &self.shared, options, deadline);
        let mut all = ShardReport::default();
        for thread in self.threads {
            all.merge(&join(thread, &self.shared, deadline)?);
        }
        Ok(all)
    }
}

/// What runs beside scoring with a source and a thread of its own: re-keying before it, correlation after it.
struct Beside {
    source: Arc<KafkaSource>,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<u64>>,
    feeds_scoring: bool,
}

impl Beside {
    fn correlating(options: &Options, around: &Surroundings, stores: &Stores<'_>, publisher: &Arc<dyn Publisher>) -> Result<Self> {
        let topic = options.producer.topics.threats.clone();
        let (source, shared, events) = Self::open(&topic, &options.correlate_group, options, around, publisher)?;
        let (load, store) = stores.pair(CORRELATION, &topic)?;
        let settler = settler(CORRELATION, store, &shared)?;
        let rules = Rules { name: CORRELATION.to_owned(), topic, settings: options.correlation };
        let correlation = Correlation::new(events, rules, load, settler, Arc::clone(&shared));
        let thread = spawn(CORRELATION, move || correlation.run())?;
        Ok(Self { source, shared, thread, feeds_scoring: false })
    }

    /// From `topic` to the topic that is scored. It has no state, so nothing of it is kept but its offsets.
    fn rekeying(
        topic: &str,
        pipeline: &Arc<Pipeline>,
        options: &Options,
        around: &Surroundings,
        publisher: &Arc<dyn Publisher>,
    ) -> Result<Self> {
        let group = format!("{}.rekey", options.consumer.group);
        let (source, shared, events) = Self::open(topic, &group, options, around, publisher)?;
        let settler = settler("rekey", Box::new(MemoryStore::default()), &shared)?;
        let rekeying = Rekeying::new(events, Arc::clone(pipeline), settler, Arc::clone(&shared));
        let thread = spawn("rekey", move || rekeying.run().map(|()| 0))?;
        Ok(Self { source, shared, thread, feeds_scoring: true })
    }

    fn open(
        topic: &str,
        group: &str,
        options: &Options,
        around: &Surroundings,
        publisher: &Arc<dyn Publisher>,
    ) -> Result<(Arc<KafkaSource>, Arc<Shared>, Receiver<LogEvent>)> {
        let consumer =
            ConsumerSettings { topic: topic.to_owned(), group: group.to_owned(), report_end: options.once, ..options.consumer.clone() };
        let (source, mut channels) = KafkaSource::open(&options.kafka, &consumer, 1)?;
        let source = Arc::new(source);
        let shared = shared(publisher, Arc::clone(&source) as Arc<dyn LogSource>, options, around);
        let events = channels.pop().ok_or_else(|| Error::bug("a source without a channel"))?;
        Ok((source, shared, events))
    }

    /// With `--once`, after everything that was published for it has come by; `is_fed` is false when what feeds it has failed.
    fn finish(self, options: &Options, around: &Surroundings, deadline: Deadline, is_fed: bool) -> Result<u64> {
        if options.once && is_fed {
            wait_quiet(&self.source, &self.shared, around, || self.thread.is_finished());
        }
        close(self.source.as_ref(), &self.shared, options, deadline);
        join(self.thread, &self.shared, deadline)
    }
}

fn is_at_end(source: &KafkaSource, shared: &Shared) -> bool {
    source.counts().rebalances > 0 && shared.ended().len() >= source.owned()
}

/// Waits until a log that was written to just now has been at its end for a while, or there is a reason not to wait.
fn wait_quiet(source: &KafkaSource, shared: &Shared, around: &Surroundings, is_over: impl Fn() -> bool) {
    let mut quiet_since = clock::now();
    while !is_over() && !around.stop.load(Ordering::Relaxed) {
        if !is_at_end(source, shared) {
            quiet_since = clock::now();
        } else if quiet_since.elapsed() >= QUIET {
            return;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn shared(publisher: &Arc<dyn Publisher>, source: Arc<dyn LogSource>, options: &Options, around: &Surroundings) -> Arc<Shared> {
    Arc::new(Shared {
        publisher: Arc::clone(publisher),
        source,
        metrics: Arc::clone(&around.metrics),
        checkpoint_interval: options.checkpoint_interval,
        ended: Arc::new(Mutex::new(BTreeSet::<Partition>::new())),
        give_up: Arc::new(AtomicBool::new(false)),
        stop: Arc::clone(&around.stop),
        batches: AtomicU64::new(0),
        held: AtomicUsize::new(0),
    })
}

fn settler(name: &str, store: Box<dyn StateStore>, shared: &Arc<Shared>) -> Result<Settler> {
    let parts = settle::Parts {
        store,
        publisher: Arc::clone(&shared.publisher),
        source: Arc::clone(&shared.source),
        give_up: Arc::clone(&shared.give_up),
    };
    Settler::start(name, parts)
}

/// Leaves the group. When that takes too long, waiting for brokers and stores ends: what is not settled comes again next time.
fn close(source: &dyn LogSource, shared: &Shared, options: &Options, deadline: Deadline) {
    let is_stopped = shared.stop.load(Ordering::Relaxed);
    let wait = if options.once && !is_stopped { Duration::from_secs(600) } else { deadline.left().mul_f64(0.8) };
    if let Err(error) = source.close(wait) {
        tracing::warn!(%error, "not everything was settled in time; it is delivered again at the next start");
        shared.give_up.store(true, Ordering::Relaxed);
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> Result<T> + Send + 'static) -> Result<JoinHandle<Result<T>>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| Error::permanent(format!("cannot start the thread {name}")).because(error))
}

/// Waits for a thread; once the process was told to stop, not beyond the deadline: the thread then ends with the process.
fn join<T>(thread: JoinHandle<Result<T>>, shared: &Shared, deadline: Deadline) -> Result<T> {
    while !thread.is_finished() {
        if shared.stop.load(Ordering::Relaxed) && deadline.passed() {
            return Err(Error::transient("stopped before everything was settled; it is delivered again at the next start"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    thread.join().unwrap_or_else(|_| Err(Error::bug("a shard panicked; its message is in the log")))
}
