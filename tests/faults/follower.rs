//! A consumer that reads the committed verdicts while faults happen, as a user's would. It knows when work has gone on again, and
//! afterwards whether it was ever shown something that is not there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::error::KafkaError;
use threatguard::edge::clock;

use crate::log::{self, Isolation, Topic};
use crate::support;

pub struct Follower {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Seen {
    topic: Topic,
    /// Past the last event that has a verdict, by partition.
    reached: Vec<i64>,
}

impl Follower {
    pub fn start(brokers: &str, topic: &str, partitions: u32) -> Self {
        let seen = Seen { topic: vec![vec![]; partitions as usize], reached: vec![0; partitions as usize] };
        let (seen, stop) = (Arc::new(Mutex::new(seen)), Arc::new(AtomicBool::new(false)));
        let consumer = log::client(brokers, Isolation::Committed, &support::fresh("follower"));
        log::assign(&consumer, topic, partitions);
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match consumer.poll(Duration::from_millis(20)) {
                    Some(Ok(message)) => {
                        let (entry, partition) = (log::entry(&message), message.partition() as usize);
                        let mut seen = shared.lock().unwrap();
                        seen.reached[partition] = seen.reached[partition].max(entry.event + 1);
                        seen.topic[partition].push(entry);
                    }
                    // Brokers that go are what is tested; the client comes back by itself.
                    Some(Err(KafkaError::MessageConsumptionFatal(error))) => panic!("the follower of verdicts: {error}"),
                    Some(Err(_)) | None => {}
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Records so far.
    pub fn records(&self) -> usize {
        self.seen.lock().unwrap().topic.iter().map(Vec::len).sum()
    }

    /// How long after `since` every partition has a verdict of an event at or past `targets`; none when not within `patience`.
    pub fn reached(&self, targets: &[i64], since: Instant, patience: Duration) -> Option<Duration> {
        while since.elapsed() < patience {
            let reached = self.seen.lock().unwrap().reached.iter().zip(targets).all(|(reached, target)| reached > target);
            if reached {
                return Some(since.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn lagging(&self, targets: &[i64]) -> String {
        format!("verdicts reach {:?}, wanted past {targets:?}", self.seen.lock().unwrap().reached)
    }

    /// Waits until it has seen as much as `found`, or long enough, and returns what it has seen.
    pub fn finish(mut self, found: &Topic) -> Topic {
        let begun = clock::now();
        let wanted = found.iter().map(Vec::len).sum();
        while self.records() < wanted && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // One that sees too much has a moment to do so.
        std::thread::sleep(Duration::from_millis(200));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).unwrap().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap().topic)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
