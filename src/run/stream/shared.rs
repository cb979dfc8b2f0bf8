//! What the lanes of one source have in common, and what each of them reports at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::core::engine::Counts;
use crate::core::types::Partition;
use crate::edge::{LogSource, TopicId};
use crate::error::Result;
use crate::run::summary::Latencies;
use crate::run::telemetry::Metrics;

/// What all lanes of one source share.
pub struct Shared {
    pub source: Arc<dyn LogSource>,
    pub metrics: Arc<Metrics>,
    pub checkpoint_interval: Duration,
    /// Partitions of the source's topic.
    pub partitions: u32,
    /// Which topic that is, where the broker tells.
    pub topic: Option<TopicId>,
    pub exactly_once: bool,
    /// Partitions whose end was reached and has not moved since, for `--once`.
    pub ended: std::sync::Mutex<std::collections::BTreeSet<Partition>>,
    /// Waiting for brokers and stores that are away is over.
    pub give_up: Arc<AtomicBool>,
    /// The process was told to stop.
    pub stop: Arc<AtomicBool>,
    /// Batches handled by all lanes: a sign of life.
    pub batches: AtomicU64,
    /// Partitions that all lanes have taken over with their states.
    pub held: AtomicUsize,
}

impl Shared {
    /// A thread that fails does not wait for brokers or stores that may never come back.
    pub fn give_up_after<T>(&self, ended: &Result<T>) {
        self.give_up.fetch_or(ended.is_err(), Ordering::Relaxed);
    }

    /// Partitions that are read to their end.
    pub fn ended(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<Partition>> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What of a lane's work was committed. What was not comes again, and counts when it is.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    pub counts: Counts,
    pub alerts: u64,
    pub latencies: Latencies,
}

impl Settled {
    /// Adds what another lane settled beside this one.
    pub fn merge(&mut self, other: &Self) {
        self.counts.add(other.counts);
        self.alerts += other.alerts;
        self.latencies.merge(&other.latencies);
    }
}

/// How long a lane worked.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneReport {
    /// When its first record was read, and when the last partition that it gave away was published, committed and stored.
    pub begun: Option<Instant>,
    pub settled: Option<Instant>,
}

impl LaneReport {
    /// Takes in another lane that worked beside this one.
    pub fn merge(&mut self, other: &Self) {
        self.begun = [self.begun, other.begun].into_iter().flatten().min();
        self.settled = self.settled.max(other.settled);
    }
}
