//! Metrics. Everything is counted once a batch, by one [`Delta`]; nothing is counted event by event, and no label ever
//! holds a value that comes from an event.
//!
//! The equation `received = scored + late + dead_lettered + in_flight` is itself a metric, read under the same lock under which
//! a delta is added, so that it is exact at every scrape.

mod latency;
mod names;
mod register;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

pub use self::latency::LatencyCounts;
pub use self::names::*;

use self::latency::LatencyHistogram;
use self::register::{counter, counter_vec, float_counter_vec, gauge, gauge_vec, int_gauge, int_gauge_vec, register};
use crate::core::detect::NAMES as DETECTORS;
use crate::core::engine::Counts;
use crate::core::event::RejectReason;
use crate::core::output::Severity;
use crate::core::types::Partition;
use crate::error::{Error, Result};

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
    /// Of the engine. Received may be counted in one delta and settled in a later one.
    pub counts: Counts,
    /// Records taken in (positive) and settled (negative) beyond what `counts` settles.
    pub in_flight: i64,
    /// Threats, by [`Severity`].
    pub threats: [u64; Severity::ALL.len()],
    pub alerts: u64,
    pub resolved: u64,
    /// By the order of [`crate::core::detect::NAMES`].
    pub fired: [u64; DETECTORS.len()],
    pub surprise_nats: [f64; DETECTORS.len()],
    pub latency: LatencyCounts,
    pub evicted: u64,
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
}

/// The metrics of this process. Shared by the shards and the service.
pub struct Metrics {
    registry: Registry,
    /// Held while a delta is added and while everything is read, so that a scrape never sees half a batch.
    whole: Mutex<()>,
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
        let registry = Registry::new();
        let latency = LatencyHistogram::default();
        register(&registry, latency.clone());
        let build = int_gauge_vec(&registry, BUILD, "version");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            whole: Mutex::new(()),
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
            registry,
        };
        metrics.add(&Delta::default());
        metrics
    }

    /// Adds what one batch did.
    pub fn add(&self, delta: &Delta) {
        let _whole = self.lock();
        let counts = delta.counts;
        self.received.inc_by(counts.received);
        self.scored.inc_by(counts.scored);
        self.late.inc_by(counts.late);
        self.replayed.inc_by(counts.replayed);
        self.alerts.inc_by(delta.alerts);
        self.resolved.inc_by(delta.resolved);
        self.evicted.inc_by(delta.evicted);
        self.in_flight.add(delta.in_flight);
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

    /// State of the shards, beside the batches.
    pub fn set_entities(&self, resident: u64) {
        self.entities.set(i64::try_from(resident).unwrap_or(i64::MAX));
    }

    /// Share of the learning that is done; 1 with a bundle.
    pub fn set_learning(&self, progress: f64) {
        self.learning.set(progress);
    }

    pub fn set_partitions(&self, owned: u64) {
        self.partitions.set(i64::try_from(owned).unwrap_or(i64::MAX));
    }

    /// Lag and checkpoint age of a partition that is owned. The number of partitions bounds the labels.
    pub fn set_partition(&self, partition: Partition, lag_records: u64, checkpoint_age: Duration) {
        let label = partition.0.to_string();
        self.lag.with_label_values(&[label.as_str()]).set(i64::try_from(lag_records).unwrap_or(i64::MAX));
        self.checkpoint_age.with_label_values(&[label.as_str()]).set(checkpoint_age.as_secs_f64());
    }

    /// A partition that moved away takes its labels with it.
    pub fn forget_partition(&self, partition: Partition) {
        let label = partition.0.to_string();
        // Absent labels are what is wanted, whoever took them.
        drop(self.lag.remove_label_values(&[label.as_str()]));
        drop(self.checkpoint_age.remove_label_values(&[label.as_str()]));
    }

    /// 0 unless something was lost or counted twice.
    #[must_use]
    pub fn conservation(&self) -> i64 {
        let _whole = self.lock();
        self.balance()
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// `Bug`: the registry holds what cannot be written.
    pub fn to_text(&self) -> Result<String> {
        let _whole = self.lock();
        self.conservation.set(self.balance());
        let mut text = String::with_capacity(16 * 1024);
        let written = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        written.map_err(|failure| Error::bug("cannot write the metrics").because(failure))?;
        Ok(text)
    }

    fn balance(&self) -> i64 {
        let dead: u64 = REASONS.iter().map(|reason| self.dead_lettered.with_label_values(&[reason.as_str()]).get()).sum();
        let settled = self.scored.get() + self.late.get() + dead;
        self.received.get() as i64 - settled as i64 - self.in_flight.get()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
