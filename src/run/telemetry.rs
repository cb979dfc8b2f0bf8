//! Metrics. Everything is counted once a batch, by one [`Delta`]; nothing is counted event by event, and no label ever
//! holds a value that comes from an event.
//!
//! The equation `received = scored + late + dead_lettered + in_flight` is itself a metric, read under the same lock under which
//! a delta is added, so that it is exact at every scrape.

mod latency;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

pub use self::latency::LatencyCounts;

use self::latency::LatencyHistogram;
use crate::core::detect::NAMES as DETECTORS;
use crate::core::engine::Counts;
use crate::core::event::RejectReason;
use crate::core::output::Severity;
use crate::core::types::Partition;
use crate::error::{Error, Result};

/// A metric's name and what it says. All of them; the dashboard may use no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub &'static str, pub &'static str);

pub const RECEIVED: Name = Name("threatguard_events_received_total", "Records consumed.");
pub const SCORED: Name = Name("threatguard_events_scored_total", "Events that got a verdict.");
pub const LATE: Name = Name("threatguard_events_late_total", "Events older than the allowed lateness of their entity.");
pub const DEAD_LETTERED: Name = Name("threatguard_events_dead_lettered_total", "Records that could not be used, by reason.");
pub const REPLAYED: Name = Name("threatguard_events_replayed_total", "Records delivered again whose results were durable already.");
pub const IN_FLIGHT: Name = Name("threatguard_events_in_flight", "Records received and not settled yet.");
pub const CONSERVATION: Name =
    Name("threatguard_conservation", "received - scored - late - dead_lettered - in_flight: 0 unless something was lost.");
pub const THREATS: Name = Name("threatguard_threats_total", "Threats published, by severity.");
pub const ALERTS: Name = Name("threatguard_alerts_total", "Alerts published.");
pub const RESOLVED: Name = Name("threatguard_threats_resolved_total", "Threats resolved because the risk has decayed.");
pub const FIRED: Name = Name("threatguard_detector_fired_total", "Threats in which a detector had a part, by detector.");
pub const SURPRISE: Name =
    Name("threatguard_detector_surprise_nats_total", "Sum of the surprise a detector gave to all events, by detector.");
pub const STAGE_SECONDS: Name = Name("threatguard_stage_seconds_total", "Time spent, by stage.");
pub const LATENCY: Name = Name("threatguard_latency_seconds", "From consuming a record to publishing its verdict.");
pub const LAG: Name = Name("threatguard_lag_records", "Records of a partition that wait to be consumed, by partition.");
pub const CHECKPOINT_AGE: Name = Name("threatguard_checkpoint_age_seconds", "Age of the newest stored state, by partition.");
pub const ENTITIES: Name = Name("threatguard_entities_resident", "Entities whose state is in memory.");
pub const EVICTED: Name = Name("threatguard_entities_evicted_total", "Entities that left memory to make room.");
pub const LEARNING: Name = Name("threatguard_learning_progress", "Share of the learning that is done, 0 to 1.");
pub const PARTITIONS: Name = Name("threatguard_partitions_assigned", "Partitions that this process owns.");
pub const BUILD: Name = Name("threatguard_build_info", "1, with the version as a label.");

pub const NAMES: [Name; 21] = [
    RECEIVED,
    SCORED,
    LATE,
    DEAD_LETTERED,
    REPLAYED,
    IN_FLIGHT,
    CONSERVATION,
    THREATS,
    ALERTS,
    RESOLVED,
    FIRED,
    SURPRISE,
    STAGE_SECONDS,
    LATENCY,
    LAG,
    CHECKPOINT_AGE,
    ENTITIES,
    EVICTED,
    LEARNING,
    PARTITIONS,
    BUILD,
];

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

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect("every metric is registered once");
    metric
}

const WELL_FORMED: &str = "names and labels are constants";

fn counter(registry: &Registry, name: Name) -> IntCounter {
    register(registry, IntCounter::new(name.0, name.1).expect(WELL_FORMED))
}

fn int_gauge(registry: &Registry, name: Name) -> IntGauge {
    register(registry, IntGauge::new(name.0, name.1).expect(WELL_FORMED))
}

fn gauge(registry: &Registry, name: Name) -> Gauge {
    register(registry, Gauge::new(name.0, name.1).expect(WELL_FORMED))
}

fn counter_vec(registry: &Registry, name: Name, label: &str) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

fn float_counter_vec(registry: &Registry, name: Name, label: &str) -> CounterVec {
    register(registry, CounterVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

fn int_gauge_vec(registry: &Registry, name: Name, label: &str) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

fn gauge_vec(registry: &Registry, name: Name, label: &str) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a line of the exposition.
    fn value(text: &str, series: &str) -> f64 {
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_batch_is_counted_once_and_conserved() {
        let metrics = Metrics::new();
        let mut delta = Delta { counts: Counts { received: 10, ..Counts::default() }, in_flight: 10, ..Delta::default() };
        metrics.add(&delta);
        assert_eq!(metrics.conservation(), 0, "received and in flight");
        delta.clear();
        delta.counts = Counts { scored: 7, late: 1, dead_lettered: 2, replayed: 3, threats: 1, ..Counts::default() };
        delta.in_flight = -10;
        delta.dead_letter(RejectReason::TooDeep);
        delta.dead_letter(RejectReason::Panicked);
        delta.threats[Severity::High as usize] = 1;
        delta.fired[1] = 1;
        delta.surprise_nats[1] = 2.5;
        delta.spent(Stage::Publish, Duration::from_millis(1_500));
        delta.latency.add(900, 6);
        delta.latency.add(99_000_000, 1);
        metrics.add(&delta);
        let text = metrics.to_text().unwrap();
        for (series, expected) in [
            ("threatguard_events_received_total", 10.0),
            ("threatguard_events_scored_total", 7.0),
            ("threatguard_events_replayed_total", 3.0),
            ("threatguard_events_in_flight", 0.0),
            ("threatguard_conservation", 0.0),
            ("threatguard_events_dead_lettered_total{reason=\"too_deep\"}", 1.0),
            ("threatguard_events_dead_lettered_total{reason=\"empty\"}", 0.0),
            ("threatguard_threats_total{severity=\"high\"}", 1.0),
            ("threatguard_detector_fired_total{detector=\"behavior\"}", 1.0),
            ("threatguard_detector_surprise_nats_total{detector=\"behavior\"}", 2.5),
            ("threatguard_stage_seconds_total{stage=\"publish\"}", 1.5),
            ("threatguard_latency_seconds_bucket{le=\"0.0005\"}", 0.0),
            ("threatguard_latency_seconds_bucket{le=\"0.001\"}", 6.0),
            ("threatguard_latency_seconds_bucket{le=\"60\"}", 6.0),
            ("threatguard_latency_seconds_bucket{le=\"+Inf\"}", 7.0),
            ("threatguard_latency_seconds_count", 7.0),
        ] {
            assert!((value(&text, series) - expected).abs() < 1e-9, "{series} in\n{text}");
        }
        metrics.add(&Delta { counts: Counts { received: 2, scored: 1, ..Counts::default() }, ..Delta::default() });
        assert_eq!(metrics.conservation(), 1, "a lost record shows");
    }

    #[test]
    fn every_name_is_exposed_and_partitions_come_and_go() {
        let metrics = Metrics::new();
        metrics.set_partition(Partition(3), 17, Duration::from_secs(2));
        metrics.set_learning(0.25);
        metrics.set_entities(5);
        metrics.set_partitions(1);
        let text = metrics.to_text().unwrap();
        for name in NAMES {
            assert!(text.contains(&format!("# TYPE {} ", name.0)), "{} is not exposed", name.0);
        }
        assert!((value(&text, "threatguard_lag_records{partition=\"3\"}") - 17.0).abs() < 1e-9);
        metrics.forget_partition(Partition(3));
        metrics.forget_partition(Partition(4));
        assert!(!metrics.to_text().unwrap().contains("partition=\"3\""));
    }

    #[test]
    fn reasons_and_stages_stand_where_their_index_says() {
        for (index, reason) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, (stage, _)) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, index);
        }
    }

    /// Names of metrics in a text: what begins like ours and goes on like a name.
    fn names_in(text: &str) -> std::collections::BTreeSet<String> {
        let ends = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
        text.split(ends).filter(|word| word.starts_with("threatguard_")).map(str::to_owned).collect()
    }

    #[test]
    fn dashboard_and_alerts_use_metrics_that_exist_and_show_them_all() {
        let dashboard = include_str!("../../docker/grafana/dashboards/threatguard.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(parsed["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
        let text = format!("{dashboard}{}", include_str!("../../docker/alerts.yaml"));
        let used = names_in(&text);
        // A histogram is read by its series.
        let base = |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned();
        for name in &used {
            assert!(NAMES.iter().any(|known| known.0 == base(name)), "{name} is no metric");
        }
        for known in NAMES {
            assert!(used.iter().any(|name| base(name) == known.0), "{} is on no panel", known.0);
        }
    }
}
