//! What is fed: events of a few entities a partition, some late, some broken, some within transactions that are aborted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use threatguard::config::pipeline::built_in;
use threatguard::config::service::Verdicts;
use threatguard::core::types::{EventTime, Offset, Partition};
use threatguard::edge::Records;
use threatguard::models::bundle::Bundle;
use threatguard::run::learning::Learning;
use threatguard::run::outbox::Outbox;
use threatguard::run::pipeline::Pipeline;
use threatguard::run::render::Origin;
use threatguard::run::telemetry::Delta;
use threatguard::run::worker::{Out, Silent, Worker};

use super::log::{Log, PLAIN, Record};
use super::rng::Rng;

/// 2026-01-01T00:00:00Z, in seconds.
const START: i64 = 1_767_225_600;
const UPSTREAM: u64 = 1;

/// A user whose events make the work panic.
pub const POISON: &str = "poison";

/// The records that do.
pub fn poison(records: &Records) -> BTreeSet<Offset> {
    let is_poison = |payload: &[u8]| payload.windows(POISON.len()).any(|window| window == POISON.as_bytes());
    records.iter().filter(|record| is_poison(record.payload)).map(|record| record.offset).collect()
}

/// One step of the producers of the input.
#[derive(Clone, Debug)]
pub enum Feed {
    Event(Record),
    /// The end of the upstream producer's transaction.
    End(bool),
}

impl Feed {
    pub fn apply(self, log: &mut Log) {
        match self {
            Self::Event(record) => log.append(record),
            Self::End(committed) => log.mark(UPSTREAM, committed),
        }
    }
}

/// Everything that a partition will hold.
pub fn script(rng: &mut Rng, partition: u32, events: u64) -> VecDeque<Feed> {
    let (mut feed, mut second) = (VecDeque::new(), START);
    let entities = rng.between(1, 9);
    let mut left = 0;
    for number in 0..events {
        second += *rng.pick(&[0, 1, 1, 2, 5, 30, 90]);
        if left == 0 && rng.chance(40) {
            left = rng.between(1, 5);
        }
        let producer = if left > 0 { UPSTREAM } else { PLAIN };
        let payload = Arc::from(event(rng, partition, entities, number, second).into_bytes());
        feed.push_back(Feed::Event(Record { producer, key: None, payload, time: second * 1_000_000 }));
        if left > 0 {
            left -= 1;
            if left == 0 {
                feed.push_back(Feed::End(rng.chance(600)));
            }
        }
    }
    if left > 0 {
        feed.push_back(Feed::End(true));
    }
    feed
}

fn event(rng: &mut Rng, partition: u32, entities: u64, number: u64, second: i64) -> String {
    if rng.chance(30) {
        return format!("{{\"broken\":{number}");
    }
    let entity = rng.below(entities);
    let second = if rng.chance(40) { second - 3_000 } else { second };
    let (host, port, bytes) = (rng.below(40), rng.pick(&[22, 53, 80, 443, 445, 3389]), rng.below(100_000));
    let kind = rng.pick(&["flow", "authentication", "dns"]);
    let result = rng.pick(&["success", "failure"]);
    let user = if rng.chance(6) { POISON.to_owned() } else { format!("u{number}") };
    format!(
        "{{\"timestamp\":{second},\"source_ip\":\"10.{partition}.0.{entity}\",\"dest_ip\":\"198.51.100.{host}\",\"port\":{port},\
         \"event_type\":\"{kind}\",\"bytes_transferred\":{bytes},\"user_id\":\"{user}\",\"action_result\":\"{result}\"}}"
    )
}

/// A pipeline with few entities, and models that do not change.
pub struct Scene {
    pub pipeline: Arc<Pipeline>,
    pub learning: Arc<Learning>,
}

pub const TOPIC: &str = "events";

static BUNDLE: LazyLock<Arc<Bundle>> = LazyLock::new(|| {
    let scene = pipeline(1_000);
    let learning = Arc::new(Learning::new(&scene, None, None).unwrap());
    let mut log = Log::default();
    script(&mut Rng::new(1), 0, 2_000).into_iter().for_each(|feed| feed.apply(&mut log));
    let mut worker = worker(&scene, &learning);
    worker.engine().assign(Partition(0), Offset(0), &[]).unwrap();
    let (mut outbox, mut delta) = (Outbox::default(), Delta::default());
    let mut out = Out { outbox: &mut outbox, listener: &mut Silent, delta: &mut delta };
    worker.process(Partition(0), &records(&log), Offset(0), None, |_, _| Ok(()), &mut out).unwrap();
    learning.finish_early(&scene).unwrap().unwrap()
});

fn pipeline(max_entities: usize) -> Arc<Pipeline> {
    let mut file = built_in("network").unwrap();
    file.state.max_entities = max_entities;
    file.detectors.isolation_forest.trees = 8;
    file.detectors.isolation_forest.sample = 64;
    // So that there are threats.
    file.thresholds.low = 0.2;
    Arc::new(Pipeline::open(file, Some("threatguard")).unwrap())
}

impl Scene {
    pub fn new(max_entities: usize) -> Self {
        let pipeline = pipeline(max_entities);
        let learning = Arc::new(Learning::new(&pipeline, Some(&BUNDLE), None).unwrap());
        Self { pipeline, learning }
    }
    pub fn worker(&self) -> Worker {
        worker(&self.pipeline, &self.learning)
    }
}

fn worker(pipeline: &Arc<Pipeline>, learning: &Arc<Learning>) -> Worker {
    let origin = Origin { pipeline: pipeline.file.name.clone(), topic: TOPIC.to_owned() };
    Worker::new(Arc::clone(pipeline), Arc::clone(learning), origin, Verdicts::Json, true, 7).unwrap()
}

/// All committed records of a log.
pub fn records(log: &Log) -> Records {
    let mut records = Records::default();
    for (offset, record) in log.read(0, u64::MAX).0 {
        records.push(Offset(offset), Some(EventTime(record.time)), record.key.as_deref(), &record.payload);
    }
    records
}
