//! The pipeline as it is run in earnest: trained models, Redis, checkpoints, a group of its own, all outputs.
//!
//! Must never measure a shortened path: everything goes through `run::stream::run`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext};
use threatguard::config;
use threatguard::config::service::{ServiceSettings, Verdicts};
use threatguard::core::correlate::CorrelationSettings;
use threatguard::core::types::{Offset, Partition};
use threatguard::edge::Records;
use threatguard::edge::kafka::{ConsumerSettings, ProducerSettings, TopicNames, TopicSpec, ensure_topics};
use threatguard::error::{Error, Result};
use threatguard::native::produce::{BatchProducer, Piece};
use threatguard::run::learning::Learning;
use threatguard::run::outbox::Outbox;
use threatguard::run::pipeline::Pipeline;
use threatguard::run::render::Origin;
use threatguard::run::stream::{self, Options, Surroundings};
use threatguard::run::summary::Summary;
use threatguard::run::telemetry::{Delta, Metrics};
use threatguard::run::worker::{Out, Silent, Worker};
use threatguard::serve::Readiness;

use crate::services::Services;
use crate::traffic::Traffic;

pub const PARTITIONS: u32 = 4;
/// Sources and events of the training; each has about as many events as a source of the log.
const TRAIN_SOURCES: u64 = 6_000;
const TRAIN_EVENTS: u64 = 180_000;

/// A pipeline with models, ready to run.
pub struct Ready {
    pipeline: Arc<Pipeline>,
    learning: Arc<Learning>,
}

/// The pipeline file that newcomers start with, under a name of this process's own.
pub fn train(seed: u64) -> Result<Ready> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/network.yaml");
    let mut file = config::pipeline::load(&path).unwrap_or_else(|problems| panic!("{} is in order: {problems:?}", path.display()));
    file.name = format!("bench-{}", std::process::id());
    file.learning.events = TRAIN_EVENTS;
    let pipeline = Arc::new(Pipeline::open(file, None)?);
    let learning = Arc::new(Learning::new(&pipeline, None, None)?);
    let origin = Origin { pipeline: pipeline.file.name.clone(), topic: "training".to_owned() };
    let mut worker = Worker::new(Arc::clone(&pipeline), Arc::clone(&learning), origin, Verdicts::None, false, seed)?;
    worker.engine().assign(Partition(0), Offset(0), &[])?;
    let traffic = Traffic { seed: seed + 1, sources: TRAIN_SOURCES, attacks: false };
    let (mut payload, mut key, mut records) = (String::new(), String::new(), Records::default());
    let (mut outbox, mut delta) = (Outbox::default(), Delta::default());
    let mut number = 0;
    while learning.missing() > 0 {
        records.clear();
        outbox.clear();
        for _ in 0..1_024 {
            traffic.event(number, &mut payload, &mut key);
            records.push(Offset(number), None, Some(key.as_bytes()), payload.as_bytes());
            number += 1;
        }
        let mut out = Out { outbox: &mut outbox, listener: &mut Silent, delta: &mut delta };
        worker.process(Partition(0), &records, Offset(0), None, |_, _| Ok(()), &mut out)?;
    }
    Ok(Ready { pipeline, learning })
}

/// How one run differs from another.
pub struct Case<'c> {
    pub input: &'c str,
    /// Names the group and the output topics.
    pub name: &'c str,
    pub verdicts: Verdicts,
    pub linger_ms: u64,
    pub exactly_once: bool,
    pub commit_interval: Duration,
    pub shards: usize,
    /// Says where the shards' time went.
    pub explain: bool,
    pub metrics: Arc<Metrics>,
    /// Ends the run; without it, the end of the log does.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Ready {
    pub fn pipeline_name(&self) -> &str {
        &self.pipeline.file.name
    }

    /// Runs the case over the whole input and removes its topics and states afterwards.
    pub fn run(&self, services: &Services, case: &Case<'_>) -> Result<Summary> {
        let names = names(case.name);
        let spec = |name: &str, is_output| TopicSpec { partitions: Some(PARTITIONS), is_output, ..TopicSpec::named(name) };
        let outputs = [&names.threats, &names.alerts, &names.analytics, &names.dead_letters, &names.verdicts];
        let mut topics = vec![spec(case.input, false)];
        topics.extend(outputs.iter().map(|name| spec(name, true)));
        let service = ServiceSettings::default();
        let options = Options {
            kafka: services.kafka.clone(),
            consumer: ConsumerSettings { topic: case.input.to_owned(), group: case.name.to_owned(), ..ConsumerSettings::default() },
            producer: ProducerSettings { topics: names.clone(), linger_ms: case.linger_ms, ..ProducerSettings::default() },
            redis: Some(services.redis.clone()),
            topics,
            create_topics: true,
            shards: case.shards,
            checkpoint_interval: Duration::from_micros(service.checkpoint_interval.micros.unsigned_abs()),
            exactly_once: case.exactly_once,
            commit_interval: case.commit_interval,
            instance: "bench".to_owned(),
            shutdown: Duration::from_secs(60),
            verdicts: case.verdicts,
            once: case.stop.is_none(),
            correlate: true,
            correlate_group: format!("{}-correlate", case.name),
            correlation: CorrelationSettings::default(),
        };
        let stop = case.stop.clone().unwrap_or_default();
        let around = Surroundings { metrics: Arc::clone(&case.metrics), readiness: Arc::new(Readiness::new(&[])), stop };
        let summary = stream::run(&self.pipeline, &self.learning, &options, &around);
        if case.explain {
            let text = around.metrics.to_text()?;
            for line in text.lines().filter(|line| line.contains("stage") && line.contains("_sum") || line.contains("stage_seconds_total"))
            {
                eprintln!("  {line}");
            }
        }
        summary
    }

    /// Removes what a run has left.
    pub fn tidy(&self, services: &Services, name: &str) -> std::result::Result<(), String> {
        let names = names(name);
        services.delete_topics(&[&names.threats, &names.alerts, &names.analytics, &names.dead_letters, &names.verdicts])?;
        services.delete_states(self.pipeline_name())
    }
}

fn names(name: &str) -> TopicNames {
    let named = |what: &str| format!("{name}-{what}");
    TopicNames {
        threats: named("threats"),
        alerts: named("alerts"),
        analytics: named("analytics"),
        dead_letters: named("dead-letters"),
        verdicts: named("verdicts"),
        rekeyed: named("rekeyed"),
    }
}

/// Makes `topic` with the partitions of an input.
pub fn make_topic(services: &Services, topic: &str) -> Result<()> {
    let spec = TopicSpec { partitions: Some(PARTITIONS), ..TopicSpec::named(topic) };
    ensure_topics(&services.kafka, &[spec]).map(drop)
}

/// Waits until a run has read `events`, or is over.
#[allow(dead_code)] // Not every bench waits.
pub fn wait_for(metrics: &Metrics, events: u64, stop: &AtomicBool) -> Result<()> {
    let received = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("threatguard_events_received_total "))?;
        line.parse::<f64>().ok()
    };
    while received(&metrics.to_text()?).unwrap_or(0.0) < events as f64 && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What the filling producer waits to fill a batch, whatever the pipeline waits: it stands for many producers elsewhere.
const FILL_LINGER_MS: u64 = 5;
/// Events handed over at a time.
const FILL_EVENTS: u64 = 4_096;

/// Writes events `numbers` of the traffic to `topic`, as fast as it goes. Returns events and bytes.
pub fn fill(services: &Services, topic: &str, traffic: Traffic, numbers: std::ops::Range<u64>) -> Result<(u64, u64)> {
    let producer = Filling::open(services, topic)?;
    let (mut payload, mut key, mut bytes, mut events) = (String::new(), String::new(), 0, vec![]);
    let mut next = numbers.start;
    while next < numbers.end {
        events.clear();
        let until = (next + FILL_EVENTS).min(numbers.end);
        for number in next..until {
            traffic.event(number, &mut payload, &mut key);
            events.push((key.clone(), payload.clone()));
        }
        let records = events.iter().map(|(key, payload)| (key.as_bytes(), payload.as_bytes()));
        bytes += producer.send(&records.collect::<Vec<_>>())?;
        next = until;
    }
    producer.close()?;
    Ok((next - numbers.start, bytes))
}

/// Counts what is lost and nothing else: the client itself knows what is on its way.
#[derive(Default)]
pub struct Bare {
    lost: AtomicU64,
}

impl Bare {
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl ClientContext for Bare {}
impl ProducerContext for Bare {
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        self.lost.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }
}

/// Not a producer of the pipeline's: an idempotent one polls for its answers.
struct Filling(BatchProducer<Bare>);

impl Filling {
    fn open(services: &Services, topic: &str) -> Result<Self> {
        let settings = ProducerSettings { linger_ms: FILL_LINGER_MS, ..ProducerSettings::default() };
        let mut config = services.kafka.producer(&settings)?;
        config.set("enable.idempotence", "false");
        let producer = config.create_with_context(Bare::default()).map_err(failed)?;
        BatchProducer::new(producer, &[topic]).map(Self).map_err(failed)
    }

    /// Hands all over, each by its key; waits where the queue is full. Returns the bytes of the payloads.
    fn send(&self, mut records: &[(&[u8], &[u8])]) -> Result<u64> {
        let bytes = records.iter().map(|(_, payload)| payload.len() as u64).sum();
        while let Err(refused) = self.0.produce(0, None, records.iter().map(|(key, payload)| Piece { key: Some(key), payload }), 0) {
            if refused.code != RDKafkaErrorCode::QueueFull {
                return Err(failed(refused.code));
            }
            records = &records[refused.index..];
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(bytes)
    }

    /// Waits until all is acknowledged.
    fn close(&self) -> Result<()> {
        let all = self.0.flush(Duration::from_secs(60));
        let lost = self.0.producer().context().lost();
        if all && lost == 0 { Ok(()) } else { Err(failed(format!("{lost} records were lost"))) }
    }
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::permanent(format!("the log could not be filled: {why}"))
}
