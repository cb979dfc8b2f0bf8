//! A pipeline on Kafka: the input log through the shards to the output topics, state in Redis, correlation beside it.
//!
//! ```text
//! input topic --> source thread --> lane 0..n: decode, score, render --> settling thread: publish, then commit outputs and offsets
//!                                     ^ rewind, claimed                      | what changed, once its outputs are committed
//!                                     +------------- stored ----------- storing thread --> Redis
//! raw topic --> source thread --> re-keying --> input topic      (where the input's key is not the pipeline's entity)
//! security.threats --> source thread --> correlation --> security.alerts
//! ```

pub mod correlate;
mod crash;
mod holding;
pub mod keep;
pub mod lane;
pub mod note;
pub mod orders;
mod pace;
mod poison;
pub mod rekey;
pub mod score;
pub mod settle;
pub mod shared;
mod store;
mod stores;
pub mod takeover;
#[cfg(test)]
mod takeover_tests;
pub mod task;
pub mod threads;
mod upkeep;
mod waiting;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use self::correlate::{Correlation, Rules};
use self::orders::Output;
use self::rekey::Rekeying;
use self::score::Scoring;
use self::shared::{LaneReport, Settled, Shared};
use self::stores::{Pair, Stores, in_memory};
use self::task::Task;
use self::threads::{LaneParts, Running};
use crate::config::service::Verdicts;
use crate::core::engine::Counts;
use crate::core::types::Partition;
use crate::edge::clock::{self, Deadline};
use crate::edge::kafka::{
    ConsumerSettings, KafkaPublisher, KafkaSettings, KafkaSource, KafkaTransactions, ProducerSettings, TopicSpec, topic_id,
};
use crate::edge::redis::RedisSettings;
use crate::edge::{LogEvent, LogSource};
use crate::error::{Error, Kind, Result};
use crate::native;
use crate::run::learning::Learning;
use crate::run::pipeline::Pipeline;
use crate::run::render::Origin;
use crate::run::summary::{Latencies, Summary};
use crate::run::telemetry::Metrics;
use crate::run::worker::Worker;
use crate::serve::{Readiness, State};

/// Buffers of records come and go; what a flood of entities took goes back after this.
pub const MEMORY_KEPT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a share of nothing has to last before `--once` takes it for the whole.
const EMPTY_SHARE: Duration = Duration::from_secs(5);
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
    /// Outputs and offsets in one transaction; otherwise outputs may come again after a crash.
    pub exactly_once: bool,
    /// How often offsets are committed, and with them outputs.
    pub commit_interval: Duration,
    /// Names this process among those of its group. Part of the transactional ids: no two may share it.
    pub instance: String,
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
    native::keep_freed_for(MEMORY_KEPT);
    let Some(stores) = Stores::open(pipeline, options, around)? else {
        return Ok(Summary::new(Counts::default(), 0, Duration::ZERO, &Latencies::default()));
    };
    around.readiness.set("redis", State::Ok);
    prepare_topics(options)?;
    let begun = clock::now();
    let scoring = scoring(pipeline, learning, options, around, &stores)?;
    around.readiness.set("kafka", State::Ok);
    let correlating = options.correlate.then(|| correlating(options, around, &stores)).transpose()?;
    let rekeying = pipeline.file.source.rekey.is_some().then(|| rekeying(pipeline, options, around)).transpose()?;
    let give_up = Arc::clone(&scoring.shared.give_up);
    let beside: Vec<&Group> = rekeying.iter().chain(&correlating).collect();
    watch(options, around, learning, &scoring, &beside);
    let deadline = Deadline::after(options.shutdown);
    let is_rekeyed = rekeying.is_some();
    let was_rekeyed = rekeying.map(|rekeying| rekeying.finish(options, around, deadline, true)).transpose();
    if options.once && is_rekeyed {
        scoring.wait_quiet(around);
    }
    let scored = scoring.finish(options, around, deadline, false);
    give_up.store(scored.is_err(), Ordering::Relaxed);
    let alerts = correlating.map(|correlating| correlating.finish(options, around, deadline, scored.is_ok())).transpose();
    was_rekeyed?;
    let (report, settled) = scored?;
    // From the first record to the last commit: what the group took to form is no work done.
    let span = report.begun.zip(report.settled).map(|(begun, settled)| settled.saturating_duration_since(begun));
    let alerts = alerts?.map_or(0, |(_, settled)| settled.alerts);
    Ok(Summary::new(settled.counts, alerts, span.unwrap_or_else(|| begun.elapsed()), &settled.latencies))
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
fn watch(options: &Options, around: &Surroundings, learning: &Learning, scoring: &Group, beside: &[&Group]) {
    let is_over = || scoring.is_over() || beside.iter().any(|group| group.is_over());
    let mut assigned = false;
    while !around.stop.load(Ordering::Relaxed) && !is_over() {
        if !assigned && scoring.is_assigned() {
            assigned = true;
            around.readiness.set("partitions", State::Ok);
        }
        // The first of the chain is at its end for good; what follows it waits for what is still on its way.
        let first = beside.iter().find(|group| group.feeds_scoring).map_or(scoring, |group| *group);
        if options.once && first.is_at_end() {
            return;
        }
        around.metrics.set_learning(learning.progress().unwrap_or(1.0));
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Name of the correlation in ids, state keys and thread names. It belongs to no pipeline: threats of all meet in it.
const CORRELATION: &str = "correlate";

fn scoring(
    pipeline: &Arc<Pipeline>,
    learning: &Arc<Learning>,
    options: &Options,
    around: &Surroundings,
    stores: &Stores<'_>,
) -> Result<Group> {
    let (topic, group) = (&options.consumer.topic, &options.consumer.group);
    let task = || {
        let origin = Origin { pipeline: pipeline.file.name.clone(), topic: topic.clone() };
        let seed = clock::wall().0 as u64;
        let worker = Worker::new(Arc::clone(pipeline), Arc::clone(learning), origin, options.verdicts, options.redis.is_some(), seed)?;
        Ok(Scoring::new(worker))
    };
    let plan = Plan {
        name: "shard",
        topic,
        group,
        lanes: options.shards.max(1),
        durable: options.redis.is_some(),
        feeds_scoring: false,
        is_scoring: true,
    };
    Group::start(&plan, options, around, task, || stores.pair(&pipeline.file.name, topic))
}

fn correlating(options: &Options, around: &Surroundings, stores: &Stores<'_>) -> Result<Group> {
    let topic = &options.producer.topics.threats;
    let group = &options.correlate_group;
    let rules = || Rules { name: CORRELATION.to_owned(), topic: topic.clone(), settings: options.correlation };
    let plan =
        Plan { name: CORRELATION, topic, group, lanes: 1, durable: options.redis.is_some(), feeds_scoring: false, is_scoring: false };
    Group::start(&plan, options, around, || Ok(Correlation::new(rules())), || stores.pair(CORRELATION, topic))
}

/// From the pipeline's source to the topic that is scored. It has no state, so nothing of it is kept but its offsets.
fn rekeying(pipeline: &Arc<Pipeline>, options: &Options, around: &Surroundings) -> Result<Group> {
    let group = format!("{}.rekey", options.consumer.group);
    let plan = Plan {
        name: "rekey",
        topic: &pipeline.file.source.topic,
        group: &group,
        lanes: 1,
        durable: false,
        feeds_scoring: true,
        is_scoring: false,
    };
    Group::start(&plan, options, around, || Ok(Rekeying::new(Arc::clone(pipeline))), || Ok(in_memory()))
}

/// What one group reads, and by how many lanes.
struct Plan<'p> {
    name: &'p str,
    topic: &'p str,
    group: &'p str,
    lanes: usize,
    durable: bool,
    feeds_scoring: bool,
    is_scoring: bool,
}

/// A source with its lanes.
struct Group {
    source: Arc<KafkaSource>,
    shared: Arc<Shared>,
    lanes: Vec<Running>,
    feeds_scoring: bool,
    /// Rebalances seen, and since when there was no further one without a share.
    settled: Mutex<(u64, Instant)>,
}

impl Group {
    fn start<T: Task + 'static>(
        plan: &Plan<'_>,
        options: &Options,
        around: &Surroundings,
        task: impl Fn() -> Result<T>,
        stores: impl Fn() -> Result<Pair>,
    ) -> Result<Self> {
        let consumer = ConsumerSettings {
            topic: plan.topic.to_owned(),
            group: plan.group.to_owned(),
            report_end: options.once,
            ..options.consumer.clone()
        };
        // Before the group is joined: a broker that is away shows here.
        let outputs: Vec<Output> = (0..plan.lanes).map(|lane| output(plan, options, lane)).collect::<Result<_>>()?;
        let (source, channels) = KafkaSource::open(&options.kafka, &consumer, plan.lanes)?;
        let source = Arc::new(source);
        let shared = Arc::new(Shared {
            source: Arc::clone(&source) as Arc<dyn LogSource>,
            metrics: Arc::clone(&around.metrics),
            checkpoint_interval: options.checkpoint_interval,
            partitions: source.partitions(),
            topic: topic_id(&options.kafka, plan.topic)?,
            exactly_once: options.exactly_once,
            ended: Mutex::new(BTreeSet::<Partition>::new()),
            give_up: Arc::new(AtomicBool::new(false)),
            stop: Arc::clone(&around.stop),
            batches: AtomicU64::new(0),
            held: AtomicUsize::new(0),
        });
        let lane = |((number, events), output): ((usize, Receiver<LogEvent>), Output)| {
            threads::start(LaneParts {
                name: format!("{}-{number}", plan.name),
                task: task()?,
                events,
                stores: stores()?,
                durable: plan.durable,
                shown: plan.is_scoring.then_some(number),
                output,
                commit_interval: options.commit_interval,
                shared: Arc::clone(&shared),
            })
        };
        let lanes = channels.into_iter().enumerate().zip(outputs).map(lane).collect::<Result<_>>()?;
        Ok(Self { source, shared, lanes, feeds_scoring: plan.feeds_scoring, settled: Mutex::new((0, clock::now())) })
    }

    fn is_over(&self) -> bool {
        self.lanes.iter().any(Running::is_finished)
    }

    /// The group has given this process its share, which may be nothing, and the states of all of it were taken over.
    fn is_assigned(&self) -> bool {
        self.source.counts().rebalances > 0 && self.shared.held.load(Ordering::Relaxed) >= self.source.owned()
    }

    /// A share of nothing is believed only when it stays so: a client that has not heard of a new topic yet is given nothing at first.
    fn is_at_end(&self) -> bool {
        let (rebalances, owned) = (self.source.counts().rebalances, self.source.owned());
        let mut settled = self.settled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if settled.0 != rebalances || owned > 0 {
            *settled = (rebalances, clock::now());
        }
        let has_share = owned > 0 || settled.1.elapsed() >= EMPTY_SHARE;
        rebalances > 0 && has_share && self.shared.ended().len() >= owned
    }

    /// Waits until a log that was written to just now has been at its end for a while, or there is a reason not to wait.
    fn wait_quiet(&self, around: &Surroundings) {
        let mut quiet_since = clock::now();
        while !self.is_over() && !around.stop.load(Ordering::Relaxed) {
            if !self.is_at_end() {
                quiet_since = clock::now();
            } else if quiet_since.elapsed() >= QUIET {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// With `--once`, after everything that was published for it has come by; `is_fed` is false when what feeds it has failed.
    fn finish(self, options: &Options, around: &Surroundings, deadline: Deadline, is_fed: bool) -> Result<(LaneReport, Settled)> {
        if options.once && is_fed {
            self.wait_quiet(around);
        }
        close(self.source.as_ref(), &self.shared, options, deadline);
        let (mut report, mut settled) = (LaneReport::default(), Settled::default());
        let mut first: Result<()> = Ok(());
        for lane in self.lanes {
            match lane.join(deadline) {
                Ok((lane, its)) => {
                    report.merge(&lane);
                    settled.merge(&its);
                }
                // A lane that ends takes the source along, and the others report that: what it said itself counts.
                Err(error) => match &first {
                    Err(before) if before.kind != Kind::Bug || error.kind == Kind::Bug => {}
                    _ => first = Err(error),
                },
            }
        }
        first.map(|()| (report, settled))
    }
}

/// One producer a lane: each has its own threads in the client, and each transaction its own pace.
fn output(plan: &Plan<'_>, options: &Options, lane: usize) -> Result<Output> {
    if !options.exactly_once {
        let publisher = Arc::new(KafkaPublisher::open_held(&options.kafka, &options.producer)?);
        return Ok(Output::AtLeastOnce { publisher, linger: Duration::from_millis(options.producer.linger_ms) });
    }
    let id = format!("{}.{}.{}-{lane}", plan.group, options.instance, plan.name);
    let transactions = KafkaTransactions::open(&options.kafka, &options.producer, plan.topic, &id)?;
    Ok(Output::ExactlyOnce(Box::new(transactions)))
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
