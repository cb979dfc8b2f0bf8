//! The latency histogram: counted in buckets by each shard, summed up once a batch, exposed as Prometheus expects it.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};

use super::LATENCY;
use crate::core::types::MICROS_PER_SECOND;
use crate::run::summary::Latencies;

/// Upper bounds of the latency buckets, microseconds.
const LATENCY_BOUNDS_MICROS: [u64; 16] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 60_000_000];

/// Events by latency: one count a bucket and one for all beyond the last; and what was counted as it was, one entry a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    buckets: Buckets,
    /// Microseconds, and events that took them.
    samples: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Buckets {
    counts: [u64; LATENCY_BOUNDS_MICROS.len() + 1],
    sum_micros: u64,
}

impl LatencyCounts {
    /// Counts `events` that took `micros` each.
    pub fn add(&mut self, micros: u64, events: u64) {
        self.buckets.counts[LATENCY_BOUNDS_MICROS.partition_point(|bound| *bound < micros)] += events;
        self.buckets.sum_micros = self.buckets.sum_micros.saturating_add(micros.saturating_mul(events));
        self.samples.push((micros, events));
    }
    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets.merge(&other.buckets);
        self.samples.extend(&other.samples);
    }
}

impl Buckets {
    fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }
}

/// The latency histogram, which takes whole buckets of a batch and not one event after the other.
#[derive(Clone, Debug)]
pub(super) struct LatencyHistogram {
    total: Arc<Mutex<(Buckets, Latencies)>>,
    description: Desc,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let description = Desc::new(LATENCY.0.into(), LATENCY.1.into(), vec![], Default::default()).expect("the name is well formed");
        Self { total: Default::default(), description }
    }
}

impl LatencyHistogram {
    pub(super) fn merge(&self, counts: &LatencyCounts) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.merge(&counts.buckets);
        counts.samples.iter().for_each(|(micros, events)| total.1.add(*micros, *events));
    }

    /// All that was counted, to three digits.
    pub(super) fn latencies(&self) -> Latencies {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Collector for LatencyHistogram {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }
    fn collect(&self) -> Vec<MetricFamily> {
        let total = self.total.lock().unwrap_or_else(PoisonError::into_inner).0;
        let mut cumulative = 0;
        let buckets = LATENCY_BOUNDS_MICROS.iter().zip(total.counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / MICROS_PER_SECOND as f64);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(total.counts.iter().sum());
        histogram.set_sample_sum(total.sum_micros as f64 / MICROS_PER_SECOND as f64);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(LATENCY.0.into());
        family.set_help(LATENCY.1.into());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
