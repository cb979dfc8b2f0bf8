//! Metrics. Everything is counted once a batch, by one [`Delta`]; nothing is counted event by event, and no label ever
//! holds a value that comes from an event. Pipelines that share a process have metrics of their own ([`Metrics::of`]).
//!
//! The equation `received = scored + late + dead_lettered + in_flight` is itself a metric, read under the same lock under which
//! a delta is added, so that it is exact at every scrape.

mod latency;
mod models;
mod names;
mod register;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

pub use self::latency::LatencyCounts;
pub use self::models::{CHAMPION, ModelMetrics, SHADOW};
pub use self::names::*;

use self::latency::LatencyHistogram;
use self::register::{WELL_FORMED, counter, counter_vec, float_counter_vec, gauge, gauge_vec, int_gauge, int_gauge_vec, register};
use crate::core::detect::NAMES as DETECTORS;
use crate::core::engine::Counts;
use crate::core::event::RejectReason;
use crate::core::output::Severity;
use crate::core::types::Partition;
use crate::error::{Error, Result};
use crate::run::summary::Latencies;

const REASONS: [RejectReason; 9] = [
    RejectReason::Empty,
    RejectReason::TooLarge,
    RejectReason::InvalidUtf8,
    RejectReason::Malformed,
    RejectReason::Truncated,
    RejectReason::TooDeep,
    RejectReason::DuplicateKey,
    RejectReason::NotAnEvent,
    RejectReason::Panicked,
];

/// Where a batch's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Decode,
    Load,
    Score,
    Render,
    Publish,
    Store,
    Commit,
}

impl Stage {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Decode, "decode"),
        (Self::Load, "load"),
        (Self::Score, "score"),
        (Self::Render, "render"),
        (Self::Publish, "publish"),
        (Self::Store, "store"),
        (Self::Commit, "commit"),
    ];
}

/// What one batch adds. A shard keeps one and clears it after [`Metrics::add`].
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Of the engine: what was received and what became of it.
    pub counts: Counts,
    /// As many records as [`Metrics::take`] was told of for this batch: they are in flight no more.
    pub taken: u64,
    /// Threats, by [`Severity`].
    pub threats: [u64; Severity::ALL.len()],
    pub alerts: u64,
    pub resolved: u64,
    /// By the order of [`crate::core::detect::NAMES`].
    pub fired: [u64; DETECTORS.len()],
    pub surprise_nats: [f64; DETECTORS.len()],
    pub latency: LatencyCounts,
    reasons: [u64; REASONS.len()],
    stages: [Duration; Stage::ALL.len()],
}

impl Delta {
    pub fn dead_letter(&mut self, reason: RejectReason) {
        self.reasons[reason as usize] += 1;
    }
    pub fn spent(&mut self, stage: Stage, time: Duration) {
        self.stages[stage as usize] += time;
    }
    pub fn clear(&mut self) {
        *self = Self::default();
    }
    /// What is left of it when its results will never be published: the records come again, and the time was spent.
    #[must_use]
    pub fn given_back(self) -> Self {
        let counts = Counts { replayed: self.counts.replayed, ..Counts::default() };
        Self { counts, taken: self.taken, stages: self.stages, ..Self::default() }
    }
    pub fn merge(&mut self, other: &Self) {
        self.counts.add(other.counts);
        self.taken += other.taken;
        self.alerts += other.alerts;
        self.resolved += other.resolved;
        let Self { threats, fired, reasons, .. } = self;
        let counters = [(&mut threats[..], &other.threats[..]), (fired, &other.fired), (reasons, &other.reasons)];
        counters.into_iter().for_each(|(into, from)| into.iter_mut().zip(from).for_each(|(sum, more)| *sum += more));
        self.surprise_nats.iter_mut().zip(other.surprise_nats).for_each(|(sum, more)| *sum += more);
        self.stages.iter_mut().zip(other.stages).for_each(|(sum, more)| *sum += more);
        self.latency.merge(&other.latency);
    }
}

/// What one shard holds at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub partitions: u64,
    /// Entities whose state is in memory.
    pub entities: u64,
    /// Entities that left memory to make room since the shard began.
    pub evicted: u64,
}

/// What must not change while it is read: under the lock that a delta is added under, so that a scrape never sees half a batch.
#[derive(Debug, Default)]
struct Whole {
    shards: BTreeMap<usize, Held>,
    /// Records counted as received before the delta that says what became of them.
    in_flight: u64,
    /// Records counted as received that were given back; as many that come later are not counted again.
    credit: u64,
}

/// The metrics of this process, or of one pipeline of it. Shared by the shards and the service.
pub struct Metrics {
    registry: Registry,
    pipelines: Mutex<BTreeMap<String, Arc<Metrics>>>,
    whole: Mutex<Whole>,
    received: IntCounter,
    scored: IntCounter,
    late: IntCounter,
    replayed: IntCounter,
    alerts: IntCounter,
    resolved: IntCounter,
    evicted: IntCounter,
    dead_lettered: IntCounterVec,
    threats: IntCounterVec,
    fired: IntCounterVec,
    surprise: CounterVec,
    stages: CounterVec,
    in_flight: IntGauge,
    conservation: IntGauge,
    entities: IntGauge,
    partitions: IntGauge,
    learning: Gauge,
    lag: IntGaugeVec,
    checkpoint_age: GaugeVec,
    latency: LatencyHistogram,
    pub models: ModelMetrics,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero, every label of a closed set included, so that a rate never starts with a hole.
    #[must_use]
    pub fn new() -> Self {
        Self::labelled(None)
    }

    /// The metrics of one pipeline: every series of it bears the label `pipeline`. From then on, [`Metrics::to_text`] of `self` shows
    /// those of all its pipelines and none of its own. The pipelines named on the command line bound the labels.
    #[must_use]
    pub fn of(&self, pipeline: &str) -> Arc<Self> {
        Arc::clone(locked(&self.pipelines).entry(pipeline.to_owned()).or_insert_with(|| Arc::new(Self::labelled(Some(pipeline)))))
    }

    fn labelled(pipeline: Option<&str>) -> Self {
        let labels = pipeline.map(|name| ("pipeline".to_owned(), name.to_owned())).into_iter().collect();
        let registry = Registry::new_custom(None, Some(labels)).expect(WELL_FORMED);
        let latency = LatencyHistogram::default();
        register(&registry, latency.clone());
        let build = int_gauge_vec(&registry, BUILD, "version");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            pipelines: Mutex::default(),
            whole: Mutex::default(),
            received: counter(&registry, RECEIVED),
            scored: counter(&registry, SCORED),
            late: counter(&registry, LATE),
            replayed: counter(&registry, REPLAYED),
            alerts: counter(&registry, ALERTS),
            resolved: counter(&registry, RESOLVED),
            evicted: counter(&registry, EVICTED),
            dead_lettered: counter_vec(&registry, DEAD_LETTERED, "reason"),
            threats: counter_vec(&registry, THREATS, "severity"),
            fired: counter_vec(&registry, FIRED, "detector"),
            surprise: float_counter_vec(&registry, SURPRISE, "detector"),
            stages: float_counter_vec(&registry, STAGE_SECONDS, "stage"),
            in_flight: int_gauge(&registry, IN_FLIGHT),
            conservation: int_gauge(&registry, CONSERVATION),
            entities: int_gauge(&registry, ENTITIES),
            partitions: int_gauge(&registry, PARTITIONS),
            learning: gauge(&registry, LEARNING),
            lag: int_gauge_vec(&registry, LAG, "partition"),
            checkpoint_age: gauge_vec(&registry, CHECKPOINT_AGE, "partition"),
            latency,
            models: ModelMetrics::new(&registry),
            registry,
        };
        metrics.add(&Delta::default());
        metrics
    }

    /// Adds what one batch did.
    pub fn add(&self, delta: &Delta) {
        let mut whole = locked(&self.whole);
        let counts = delta.counts;
        whole.in_flight = whole.in_flight.saturating_sub(delta.taken);
        whole.credit += delta.taken.saturating_sub(counts.received);
        self.received.inc_by(counts.received.saturating_sub(delta.taken));
        self.in_flight.set(gauge_of(whole.in_flight));
        self.scored.inc_by(counts.scored);
        self.late.inc_by(counts.late);
        self.replayed.inc_by(counts.replayed);
        self.alerts.inc_by(delta.alerts);
        self.resolved.inc_by(delta.resolved);
        for (reason, count) in REASONS.iter().zip(delta.reasons) {
            self.dead_lettered.with_label_values(&[reason.as_str()]).inc_by(count);
        }
        for (severity, count) in Severity::ALL.iter().zip(delta.threats) {
            self.threats.with_label_values(&[severity.as_str()]).inc_by(count);
        }
        for ((detector, fired), nats) in DETECTORS.iter().zip(delta.fired).zip(delta.surprise_nats) {
            self.fired.with_label_values(&[*detector]).inc_by(fired);
            // A counter refuses what is negative or not a number; a detector's sum never is.
            self.surprise.with_label_values(&[*detector]).inc_by(nats.max(0.0));
        }
        for ((_, stage), time) in Stage::ALL.iter().zip(delta.stages) {
            self.stages.with_label_values(&[*stage]).inc_by(time.as_secs_f64());
        }
        self.latency.merge(&delta.latency);
    }

    /// What shard `shard` of the pipeline holds now; the sums over its shards are shown. Cheap enough for every batch.
    pub fn set_held(&self, shard: usize, held: Held) {
        let mut whole = locked(&self.whole);
        let before = whole.shards.insert(shard, held).unwrap_or_default();
        self.evicted.inc_by(held.evicted.saturating_sub(before.evicted));
        let sum = |of: fn(&Held) -> u64| gauge_of(whole.shards.values().map(of).sum());
        self.partitions.set(sum(|held| held.partitions));
        self.entities.set(sum(|held| held.entities));
    }

    /// Records that a lane has begun to work on. They count as received from now on, and are in flight until a delta that has them as
    /// `taken` says what became of them. One that says less means that they were given back, as after an abort or with a lost
    /// partition: as many that come later were counted already.
    pub fn take(&self, records: u64) {
        let mut whole = locked(&self.whole);
        let again = records.min(whole.credit);
        whole.credit -= again;
        whole.in_flight += records;
        self.received.inc_by(records - again);
        self.in_flight.set(gauge_of(whole.in_flight));
    }

    /// Share of the learning that is done; 1 with a bundle.
    pub fn set_learning(&self, progress: f64) {
        self.learning.set(progress);
    }

    /// Lag and checkpoint age of a partition that is owned. The number of partitions bounds the labels.
    pub fn set_partition(&self, partition: Partition, lag_records: u64, checkpoint_age: Duration) {
        let label = partition.0.to_string();
        self.lag.with_label_values(&[label.as_str()]).set(gauge_of(lag_records));
        self.checkpoint_age.with_label_values(&[label.as_str()]).set(checkpoint_age.as_secs_f64());
    }

    /// A partition that moved away takes its labels with it.
    pub fn forget_partition(&self, partition: Partition) {
        let label = partition.0.to_string();
        // Absent labels are what is wanted, whoever took them.
        drop(self.lag.remove_label_values(&[label.as_str()]));
        drop(self.checkpoint_age.remove_label_values(&[label.as_str()]));
    }

    /// Every latency so far, to three digits. The difference of two of these is what came between them ([`Latencies::since`]).
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        self.latency.latencies()
    }

    /// 0 unless something was lost or counted twice.
    #[must_use]
    pub fn conservation(&self) -> i64 {
        self.balance(&locked(&self.whole))
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// `Bug`: the registry holds what cannot be written.
    pub fn to_text(&self) -> Result<String> {
        let pipelines: Vec<Arc<Self>> = locked(&self.pipelines).values().cloned().collect();
        let families = if pipelines.is_empty() { self.gather() } else { merged(pipelines.iter().map(|pipeline| pipeline.gather())) };
        let mut text = String::with_capacity(16 * 1024);
        let written = TextEncoder::new().encode_utf8(&families, &mut text);
        written.map_err(|failure| Error::bug("cannot write the metrics").because(failure))?;
        Ok(text)
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let whole = locked(&self.whole);
        self.conservation.set(self.balance(&whole));
        self.registry.gather()
    }

    fn balance(&self, whole: &Whole) -> i64 {
        let dead: u64 = REASONS.iter().map(|reason| self.dead_lettered.with_label_values(&[reason.as_str()]).get()).sum();
        let settled = self.scored.get() + self.late.get() + dead + whole.credit;
        self.received.get() as i64 - settled as i64 - self.in_flight.get()
    }
}

/// One family for each name: its series of all registries, one behind the other.
fn merged(registries: impl Iterator<Item = Vec<MetricFamily>>) -> Vec<MetricFamily> {
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for mut family in registries.flatten() {
        match families.get_mut(family.name()) {
            Some(known) => known.mut_metric().extend(family.take_metric()),
            None => drop(families.insert(family.name().to_owned(), family)),
        }
    }
    families.into_values().collect()
}

fn gauge_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
