//! A reader of verdicts that sees what is committed, and holds against it when each event was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use threatguard::edge::clock::{self, Deadline};
use threatguard::edge::kafka::{ConsumerSettings, KafkaSettings, KafkaSource};
use threatguard::edge::{LogEvent, LogSource};
use threatguard::run::summary::{Latencies, Percentiles};

use crate::paced::Paced;
use crate::services::Services;

/// One verdict in so many is looked at: reading must not take the cores that it measures.
const SAMPLE: u64 = 16;
/// What is written before counts as warming up: the broker compiles itself anew for a load that it has not met.
pub const WARM_UP: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Partition and offset of an event, and when its verdict came.
type Seen = Vec<(u64, u64, Instant)>;

/// Reads a topic on a thread of its own, noting when it has seen each position.
pub struct Subscriber {
    seen: JoinHandle<Result<Seen, String>>,
    count: Arc<std::sync::atomic::AtomicU64>,
    stop: Arc<AtomicBool>,
    first: Instant,
}

impl Subscriber {
    pub fn open(services: &Services, topic: &str) -> Result<Self, String> {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::atomic::AtomicU64::new(0)));
        let (kafka, topic, ended, counted) = (services.kafka.clone(), topic.to_owned(), Arc::clone(&stop), Arc::clone(&count));
        let seen = std::thread::spawn(move || read(&kafka, &topic, &ended, &counted));
        Ok(Self { seen, count, stop, first: clock::now() + WARM_UP })
    }

    /// Once everything that was written is read.
    pub fn finish(self, load: &Paced) -> Result<Percentiles, String> {
        let deadline = Deadline::after(Duration::from_secs(60));
        while self.count.load(Ordering::Relaxed) < load.len() && !deadline.passed() && !self.seen.is_finished() {
            std::thread::sleep(LOOK_AGAIN);
        }
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.seen.join().map_err(|_| "the subscriber panicked".to_owned())??;
        if deadline.passed() {
            return Err("not every verdict arrived".to_owned());
        }
        let mut latencies = Latencies::default();
        for (partition, offset, at) in seen {
            let due = load.due(partition, offset).ok_or("a verdict of an event that was not written")?;
            if due >= self.first {
                latencies.add(at.saturating_duration_since(due).as_micros() as u64, 1);
            }
        }
        Ok(latencies.percentiles())
    }
}

fn read(kafka: &KafkaSettings, topic: &str, stop: &AtomicBool, count: &std::sync::atomic::AtomicU64) -> Result<Seen, String> {
    let settings = ConsumerSettings { topic: topic.to_owned(), group: format!("{topic}-reader"), ..ConsumerSettings::default() };
    let deadline = Deadline::after(Duration::from_secs(30));
    // The pipeline makes the topic.
    let (source, events) = loop {
        match KafkaSource::open(kafka, &settings, 1) {
            Ok(open) => break open,
            Err(error) if deadline.passed() => return Err(error.to_string()),
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    };
    let mut seen = vec![];
    while !stop.load(Ordering::Relaxed) {
        match events[0].recv_timeout(LOOK_AGAIN) {
            Ok(LogEvent::Assigned { partition, generation, start, .. }) => drop(source.start(partition, generation, start)),
            Ok(LogEvent::Batch(batch)) => {
                let now = clock::now();
                for record in batch.records.iter().filter(|record| record.offset.0 % SAMPLE == 0) {
                    let verdict: serde_json::Value = serde_json::from_slice(record.payload).map_err(|error| error.to_string())?;
                    let part = |name: &str| verdict["position"][name].as_u64().ok_or_else(|| format!("a verdict without {name}"));
                    seen.push((part("partition")?, part("offset")?, now));
                }
                count.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
                source.recycle(batch.records);
            }
            Ok(LogEvent::Failed(error)) => return Err(error.to_string()),
            _ => {}
        }
    }
    drop(events);
    drop(source.close(Duration::from_secs(5)));
    Ok(seen)
}
