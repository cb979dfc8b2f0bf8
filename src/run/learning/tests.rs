//! Shards that learn side by side take exactly what is wanted, and exempt entities teach nothing.

use super::*;
use crate::config::pipeline::PipelineFile;
use crate::config::service::Verdicts;
use crate::core::settings::ExemptSettings;
use crate::core::types::{EventTime, Offset, Partition};
use crate::edge::Records;
use crate::run::outbox::Outbox;
use crate::run::render::Origin;
use crate::run::telemetry::Delta;
use crate::run::worker::{Out, Silent, Worker};

fn pipeline(events: u64, exempt: &[&str]) -> Arc<Pipeline> {
    let mut file = PipelineFile::plain();
    file.learning.events = events;
    let of = |entity: &&str| ExemptSettings { entity: (*entity).to_owned(), detectors: vec![], reason: "a test".to_owned() };
    file.exempt = exempt.iter().map(of).collect();
    Arc::new(Pipeline::open(file, None).unwrap())
}

fn worker(pipeline: &Arc<Pipeline>, learning: &Arc<Learning>) -> Worker {
    let origin = Origin { pipeline: "plain".to_owned(), topic: "input".to_owned() };
    let mut worker = Worker::new(Arc::clone(pipeline), Arc::clone(learning), origin, Verdicts::None, false, 1).unwrap();
    worker.engine().assign(Partition(0), Offset(0), &[]).unwrap();
    worker
}

/// Events of `source`, the next `count` of the worker's partition.
fn process(worker: &mut Worker, source: &str, count: u64) {
    let (mut records, first) = (Records::default(), worker.engine().next(Partition(0)).unwrap_or_default().0);
    for number in first..first + count {
        let time = EventTime(1_772_438_400_000_000 + number as i64 * 1_000_000);
        let text = format!(r#"{{"timestamp":"{time}","source_ip":"{source}","dest_ip":"10.9.9.9","port":443,"event_type":"flow"}}"#);
        records.push(Offset(number), Some(time), None, text.as_bytes());
    }
    let (mut outbox, mut delta) = (Outbox::default(), Delta::default());
    let mut out = Out { outbox: &mut outbox, listener: &mut Silent, delta: &mut delta };
    worker.process(Partition(0), &records, Offset(0), None, |_, _| Ok(()), &mut out).unwrap();
}

fn events(folder: &Path) -> u64 {
    bundle_files::load(folder).unwrap().manifest.created_from.events
}

#[test]
fn shards_that_learn_side_by_side_take_exactly_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("kept");
    let pipeline = pipeline(1_000, &[]);
    let learning = Arc::new(Learning::new(&pipeline, None, Some(&folder)).unwrap());
    drop(learning.reserve(700));
    let set_aside = learning.reserve(300);
    assert_eq!((set_aside.events(), learning.missing()), (300, 1_000), "another shard scores these at this moment");
    let mut shard = worker(&pipeline, &learning);
    process(&mut shard, "10.0.0.1", 900);
    assert_eq!((learning.missing(), learning.reserve(9).events(), learning.version()), (300, 0, 0), "the last 200 are not learned from");
    let effects: [Verdict; 0] = [];
    let none = ScoredPart { engine: shard.engine(), events: &[], verdicts: &effects };
    learning.offer(&pipeline, set_aside, none).unwrap();
    std::thread::scope(|scope| {
        for name in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
            let mut shard = worker(&pipeline, &learning);
            scope.spawn(move || process(&mut shard, name, 290));
        }
    });
    assert_eq!((learning.missing(), learning.version(), events(&folder)), (0, 1, 1_000), "what came to nothing is wanted again");
}

#[test]
fn exempt_events_alone_teach_nothing_and_end_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("kept");
    let pipeline = pipeline(100, &["ip:10.0.0.1"]);
    let learning = Arc::new(Learning::new(&pipeline, None, Some(&folder)).unwrap());
    let mut shard = worker(&pipeline, &learning);
    process(&mut shard, "10.0.0.1", 250);
    assert_eq!((learning.missing(), learning.version()), (FOREST_ROWS_MIN as u64, 0), "all were exempt");
    process(&mut shard, "10.0.0.2", 250);
    assert_eq!((learning.missing(), learning.version()), (0, 1));
    assert_eq!(bundle_files::load(&folder).unwrap().manifest.training.rows, FOREST_ROWS_MIN as u64);
}
