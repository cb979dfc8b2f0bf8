//! Reads topics as any other consumer would, each time as a group of its own.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use threatguard::edge::kafka::{ConsumerSettings, KafkaSettings, KafkaSource};
use threatguard::edge::{LogEvent, LogSource};

use crate::support;
use crate::workbench::Found;

const WAIT: Duration = Duration::from_secs(60);

/// The payloads of everything in a topic.
fn payloads(brokers: &str, topic: &str) -> Vec<String> {
    let kafka = KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() };
    let settings =
        ConsumerSettings { topic: topic.to_owned(), group: support::fresh("reader"), report_end: true, ..ConsumerSettings::default() };
    let (source, events) = KafkaSource::open(&kafka, &settings, 1).unwrap();
    let (mut found, mut ended) = (vec![], 0);
    while ended < source.partitions() {
        match events[0].recv_timeout(WAIT).unwrap() {
            LogEvent::Assigned { partition, generation, start, .. } => drop(source.start(partition, generation, start)),
            LogEvent::Batch(batch) => {
                found.extend(batch.records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()));
            }
            LogEvent::End { .. } => ended += 1,
            LogEvent::Failed(error) => panic!("{topic}: {error}"),
            _ => {}
        }
    }
    drop(events);
    drop(source.close(WAIT));
    found
}

/// What a run has published to the topics that begin with `out`.
pub fn found(brokers: &str, out: &str, summary: serde_json::Value) -> Found {
    let of = |role: &str| payloads(brokers, &format!("{out}.{role}"));
    Found {
        verdicts: of("verdicts"),
        threats: of("threats"),
        alerts: of("alerts"),
        analytics: of("analytics"),
        dead_letters: of("dead-letters"),
        summary,
    }
}

/// Looks at the ends of topics, without reading them.
pub struct Ends(BaseConsumer);

impl Ends {
    pub fn new(brokers: &str) -> Self {
        Self(ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "ends").create().unwrap())
    }
    /// Records ever written to the topic's partitions; 0 while it does not exist.
    pub fn records(&self, topic: &str, partitions: u32) -> u64 {
        let end = |partition| self.0.fetch_watermarks(topic, partition as i32, WAIT).map_or(0, |(_, high)| high.unsigned_abs());
        (0..partitions).map(end).sum()
    }
}
