//! The summary of a run (`--summary FILE`): what came in, what came of it, how fast. Knows nothing of how it was run.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::core::engine::Counts;
use crate::error::{Error, Result};
use crate::run::succession::ShadowRecord;

/// The figures of one run, with the field names that scripts read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub received: u64,
    pub scored: u64,
    pub late: u64,
    pub dead_lettered: u64,
    /// Delivered again although their results were committed; not part of `received`.
    pub replayed: u64,
    pub threats: u64,
    pub alerts: u64,
    pub elapsed_seconds: f64,
    pub events_per_second: f64,
    pub latency_micros: Percentiles,
    /// How shadows compare with their champions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowRecord>,
}

/// Latency, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Summary {
    #[must_use]
    pub fn new(counts: Counts, alerts: u64, elapsed: Duration, latencies: &Latencies) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            received: counts.received,
            scored: counts.scored,
            late: counts.late,
            dead_lettered: counts.dead_lettered,
            replayed: counts.replayed,
            threats: counts.threats,
            alerts,
            elapsed_seconds: seconds,
            events_per_second: if seconds > 0.0 { counts.received as f64 / seconds } else { 0.0 },
            latency_micros: latencies.percentiles(),
            shadows: vec![],
        }
    }

    /// With what came of the comparison with a shadow.
    #[must_use]
    pub fn compared(mut self, record: Option<ShadowRecord>) -> Self {
        self.shadows.extend(record);
        self
    }

    /// Two runs that went on side by side: counts add up, the longer time and the slower percentiles count.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        self.shadows.extend(other.shadows);
        let elapsed_seconds = self.elapsed_seconds.max(other.elapsed_seconds);
        let received = self.received + other.received;
        let (a, b) = (self.latency_micros, other.latency_micros);
        Self {
            received,
            scored: self.scored + other.scored,
            late: self.late + other.late,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            replayed: self.replayed + other.replayed,
            threats: self.threats + other.threats,
            alerts: self.alerts + other.alerts,
            elapsed_seconds,
            events_per_second: if elapsed_seconds > 0.0 { received as f64 / elapsed_seconds } else { 0.0 },
            latency_micros: Percentiles { p50: a.p50.max(b.p50), p99: a.p99.max(b.p99), p999: a.p999.max(b.p999), max: a.max.max(b.max) },
            shadows: self.shadows,
        }
    }

    /// For a person, with a line feed.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Percentiles { p50, p99, .. } = self.latency_micros;
        let mut text = format!(
            "{} received = {} scored + {} late + {} dead letters; {} threats, {} alerts; {:.1} s, {:.0} events/s, latency p50 {:.1} ms, p99 {:.1} ms\n",
            self.received,
            self.scored,
            self.late,
            self.dead_lettered,
            self.threats,
            self.alerts,
            self.elapsed_seconds,
            self.events_per_second,
            p50 as f64 / 1_000.0,
            p99 as f64 / 1_000.0
        );
        if self.replayed > 0 {
            let records = self.replayed;
            text.push_str(&format!("{records} records were read again whose results were committed before; they only made states anew\n"));
        }
        for ShadowRecord { champion, shadow, compared, .. } in &self.shadows {
            text.push_str(&format!(
                "shadow {shadow} beside {champion}: {} rows; threats of both {}, of the champion alone {}, of the shadow alone {}; difference of surprise mean {:.2}, median {:.2}, 1 % {:.2}, 99 % {:.2} nats\n",
                compared.rows, compared.both, compared.champion_only, compared.shadow_only, compared.mean, compared.p50, compared.p1, compared.p99
            ));
        }
        text
    }

    /// Writes the summary as JSON, through a neighbour, so that nobody ever reads half of it.
    ///
    /// # Errors
    /// `Permanent`: the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a summary is plain data") + "\n";
        let mut neighbour = file.as_os_str().to_owned();
        neighbour.push(".part");
        let failed = |failure| Error::permanent(format!("cannot write the summary {}", file.display())).because(failure);
        std::fs::write(&neighbour, text).map_err(failed)?;
        std::fs::rename(&neighbour, file).map_err(failed)
    }
}

/// Latencies of a run, to three digits, without averaging the tail away. One for each shard, merged at the end.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are in order"))
    }
}

impl Latencies {
    /// Counts `events` that took `micros` each.
    pub fn add(&mut self, micros: u64, events: u64) {
        self.0.saturating_record_n(micros.max(1), events);
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// What was counted after `earlier`, which is an earlier state of this.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.0.subtract(&earlier.0).expect("what was counted earlier is part of it");
        self
    }

    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: self.0.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_the_names_and_figures_that_scripts_read() {
        let mut latencies = Latencies::default();
        latencies.add(100, 985);
        let mut other = Latencies::default();
        other.add(2_000, 14);
        other.add(50_000, 1);
        other.add(0, 0);
        latencies.merge(&other);
        let counts = Counts { received: 1_000, scored: 990, late: 4, dead_lettered: 6, threats: 3, replayed: 5 };
        let summary = Summary::new(counts, 1, Duration::from_millis(500), &latencies);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summary.json");
        summary.write(&file).unwrap();
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let expected = serde_json::json!({
            "received": 1_000, "scored": 990, "late": 4, "deadLettered": 6, "replayed": 5, "threats": 3, "alerts": 1,
            "elapsedSeconds": 0.5, "eventsPerSecond": 2_000.0,
            "latencyMicros": { "p50": 100, "p99": 2_000, "p999": 2_000, "max": read["latencyMicros"]["max"] },
        });
        assert_eq!(read, expected);
        assert!((50_000..50_100).contains(&read["latencyMicros"]["max"].as_u64().unwrap()), "three digits");
        assert!(summary.write(&folder.path().join("absent/summary.json")).is_err());
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
        let earlier = latencies.clone();
        latencies.add(7, 10);
        assert_eq!(latencies.since(&earlier).percentiles(), Percentiles { p50: 7, p99: 7, p999: 7, max: 7 }, "what came between");
    }
}
