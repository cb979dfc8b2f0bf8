//! Scenario: members of a group come, go and stand still while records arrive.
//! Guarantees: every record is handed over with its position, in order, under one generation; what was committed is where the next
//! owner starts; an old generation cannot commit; a full channel loses nothing and costs no membership.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::Receiver;
use threatguard::core::types::{Generation, Offset, Partition};
use threatguard::edge::clock::{self, Deadline};
use threatguard::edge::kafka::{ConsumerSettings, KafkaSettings, KafkaSource};
use threatguard::edge::{Commit, CommitMode, Delivery, LogEvent, LogSource, Publisher};
use threatguard::error::Kind;

use crate::output::{make_topic, publisher, to};
use crate::support;

const WAIT: Duration = Duration::from_secs(30);
const NOTE: &str = "tg1 o=1 what a committer may say";

fn settings(topic: &str) -> ConsumerSettings {
    ConsumerSettings { topic: topic.to_owned(), group: support::fresh("group"), report_end: true, ..ConsumerSettings::default() }
}

fn fill(kafka: &KafkaSettings, topic: &str, partitions: u32, records: u32) {
    let publisher = publisher(kafka, topic);
    for n in 0..records {
        publisher.publish(to(n % partitions, format!("record {n}").as_bytes())).unwrap();
    }
    publisher.flush(WAIT).unwrap();
}

/// One member and what it has seen so far.
struct Member {
    source: KafkaSource,
    events: Receiver<LogEvent>,
    owned: BTreeMap<Partition, (Generation, Option<Offset>)>,
    gone: BTreeMap<Partition, Generation>,
    delivery: BTreeMap<Partition, Delivery>,
    next: BTreeMap<Partition, Offset>,
    ended: BTreeMap<Partition, Offset>,
    records: Vec<(Partition, Offset, Vec<u8>)>,
}

impl Member {
    fn join(kafka: &KafkaSettings, settings: &ConsumerSettings) -> Self {
        let (source, mut events) = KafkaSource::open(kafka, settings, 1).unwrap();
        let events = events.pop().unwrap();
        let empty = BTreeMap::new;
        let (delivery, next, ended) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { source, events, owned: empty(), gone: BTreeMap::new(), delivery, next, ended, records: Vec::new() }
    }

    /// Takes one event if there is one within the wait, checking what holds for every event.
    fn step(&mut self, wait: Duration) -> Option<LogEvent> {
        let event = self.events.recv_timeout(wait).ok()?;
        match &event {
            LogEvent::Assigned { partition, generation, committed, start } => {
                assert!(self.gone.get(partition).is_none_or(|old| old < generation), "generations grow");
                let committed = committed.as_ref().map(|committed| committed.next);
                assert!(self.owned.insert(*partition, (*generation, committed)).is_none(), "assigned twice");
                self.next.remove(partition);
                self.delivery.insert(*partition, self.source.start(*partition, *generation, *start));
            }
            LogEvent::Batch(batch) => {
                assert_eq!(self.owned.get(&batch.partition).map(|(generation, _)| *generation), Some(batch.generation));
                if self.delivery.get(&batch.partition) != Some(&batch.delivery) {
                    return Some(event);
                }
                for record in batch.records.iter() {
                    assert!(self.next.get(&batch.partition).is_none_or(|next| *next == record.offset), "in order, none left out");
                    assert!(record.time.is_some());
                    assert_eq!(record.key, Some(&b"key"[..]));
                    self.next.insert(batch.partition, record.offset.next());
                    self.records.push((batch.partition, record.offset, record.payload.to_vec()));
                }
                assert!(batch.high_watermark >= self.next.get(&batch.partition).copied());
            }
            LogEvent::End { partition, next, .. } => drop(self.ended.insert(*partition, *next)),
            LogEvent::Revoked { partition, generation } => {
                assert_eq!(self.owned.get(partition).map(|(generation, _)| generation), Some(generation));
                self.commit(*partition, *generation).unwrap();
                self.owned.remove(partition);
                self.gone.insert(*partition, *generation);
                self.source.released(*partition, *generation);
            }
            LogEvent::Lost { partition, generation } => {
                self.owned.remove(partition);
                self.gone.insert(*partition, *generation);
            }
            LogEvent::Failed(error) => panic!("{error}"),
        }
        Some(event)
    }

    fn commit(&self, partition: Partition, generation: Generation) -> threatguard::error::Result<()> {
        let Some(next) = self.next.get(&partition) else { return Ok(()) };
        self.source.commit(&[Commit { partition, next: *next, generation, note: NOTE.to_owned() }], CommitMode::Wait)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Deadline::after(WAIT);
        while !done(self) {
            assert!(!deadline.passed(), "{what}: owned {:?}, {} records, ended {:?}", self.owned, self.records.len(), self.ended);
            self.step(Duration::from_millis(20));
        }
    }

    /// Leaves, settling what is owned.
    fn leave(mut self) -> Self {
        std::thread::scope(|scope| {
            let source = &self.source;
            let closing = scope.spawn(|| source.close(WAIT));
            while let Ok(event) = self.events.recv() {
                if let LogEvent::Revoked { partition, generation } = event {
                    if let Some(next) = self.next.get(&partition) {
                        source.commit(&[Commit { partition, next: *next, generation, note: NOTE.to_owned() }], CommitMode::Wait).unwrap();
                    }
                    source.released(partition, generation);
                    self.gone.insert(partition, generation);
                }
            }
            closing.join().unwrap().unwrap();
        });
        self.owned.clear();
        self
    }
}

/// Everything in a topic, read by a group of its own.
pub fn read_all(kafka: &KafkaSettings, topic: &str, partitions: u32) -> Vec<(Partition, Offset, Vec<u8>)> {
    let (source, events) = KafkaSource::open(kafka, &settings(topic), 1).unwrap();
    let (mut found, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match events[0].recv_timeout(WAIT).unwrap() {
            LogEvent::Assigned { partition, generation, start, .. } => drop(source.start(partition, generation, start)),
            LogEvent::Batch(batch) => {
                found.extend(batch.records.iter().map(|record| (batch.partition, record.offset, record.payload.to_vec())));
            }
            LogEvent::End { .. } => ended += 1,
            LogEvent::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    drop(events);
    drop(source.close(WAIT));
    found
}

#[test]
fn records_come_with_their_positions_and_a_restart_goes_on_after_the_commit() {
    let Some(kafka) = support::kafka("records_come_with_their_positions") else { return };
    let topic = make_topic(&kafka, "in", 3);
    let before = clock::wall().0;
    fill(&kafka, &topic, 3, 3_000);
    let settings = settings(&topic);
    let mut member = Member::join(&kafka, &settings);
    member.until("everything is read", |member| member.records.len() == 3_000 && member.ended.len() == 3);
    assert!(member.owned.values().all(|(_, committed)| committed.is_none()));
    assert!(member.ended.values().all(|next| *next == Offset(1_000)));
    let mut texts: Vec<_> = member.records.iter().map(|(_, _, payload)| String::from_utf8(payload.clone()).unwrap()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 3_000);
    assert!(before > 0);

    // A commit in the background, and one of an owner that never was.
    let (partition, (generation, _)) = member.owned.first_key_value().map(|(p, o)| (*p, *o)).unwrap();
    let commit = Commit { partition, next: Offset(400), generation, note: NOTE.to_owned() };
    member.source.commit(std::slice::from_ref(&commit), CommitMode::Background).unwrap();
    let stale = Commit { generation: Generation(generation.0 + 1), ..commit.clone() };
    assert_eq!(member.source.commit(&[commit.clone(), stale], CommitMode::Wait).unwrap_err().kind, Kind::Fenced);
    let left = member.leave();
    assert_eq!(left.source.counts().commit_failures, 0);
    assert_eq!(left.source.commit(&[commit], CommitMode::Wait).unwrap_err().kind, Kind::Fenced, "after leaving nothing is owned");

    fill(&kafka, &topic, 3, 3);
    let mut again = Member::join(&kafka, &settings);
    again.until("the new records are read", |member| member.records.len() == 3);
    assert!(again.owned.values().all(|(_, committed)| *committed == Some(Offset(1_000))), "{:?}", again.owned);
    assert!(again.records.iter().all(|(_, offset, _)| *offset == Offset(1_000)));
    assert!(again.owned.values().all(|(newer, _)| *newer > generation), "generations grow over restarts");
    again.leave();
}

#[test]
fn a_second_member_takes_over_without_loss_and_the_first_can_no_longer_commit() {
    let Some(kafka) = support::kafka("a_second_member_takes_over") else { return };
    let topic = make_topic(&kafka, "rebalance", 4);
    fill(&kafka, &topic, 4, 4_000);
    let settings = settings(&topic);
    let mut first = Member::join(&kafka, &settings);
    first.until("the first has everything", |member| member.owned.len() == 4 && member.records.len() == 4_000);
    let kept_before = first.owned.clone();

    let mut second = Member::join(&kafka, &settings);
    let deadline = Deadline::after(WAIT);
    while second.owned.len() < 2 || first.owned.len() > 2 {
        assert!(!deadline.passed(), "{:?} {:?}", first.owned, second.owned);
        first.step(Duration::from_millis(5));
        second.step(Duration::from_millis(5));
    }
    for (partition, (generation, committed)) in &second.owned {
        let old = first.gone[partition];
        assert!(*generation > old, "a new owner has a larger generation");
        assert_eq!(*committed, Some(Offset(1_000)), "what was settled while revoked is where it goes on");
        let refused = first
            .source
            .commit(&[Commit { partition: *partition, next: Offset(1), generation: old, note: String::new() }], CommitMode::Wait);
        assert_eq!(refused.unwrap_err().kind, Kind::Fenced);
    }
    for (partition, owned) in &first.owned {
        assert_eq!(Some(owned), kept_before.get(partition), "what stays keeps its generation");
    }

    fill(&kafka, &topic, 4, 400);
    let deadline = Deadline::after(WAIT);
    while first.records.len() + second.records.len() < 4_400 {
        assert!(!deadline.passed(), "{} {}", first.records.len(), second.records.len());
        first.step(Duration::from_millis(5));
        second.step(Duration::from_millis(5));
    }
    assert_eq!(second.records.len(), 200, "nothing that was settled is read again");

    // The first leaves and the second inherits.
    let first = first.leave();
    second.until("the second has everything", |member| member.owned.len() == 4);
    for (partition, generation) in &first.gone {
        assert!(second.owned[partition].0 > *generation);
    }
    second.leave();
}

#[test]
fn a_full_channel_loses_nothing_and_keeps_the_membership() {
    let Some(kafka) = support::kafka("a_full_channel") else { return };
    const RECORDS: u32 = 60_000;
    let topic = make_topic(&kafka, "full", 2);
    fill(&kafka, &topic, 2, RECORDS);
    let poll_interval = Duration::from_millis(1_500);
    let mut settings = ConsumerSettings { channel_batches: 1, session_timeout_ms: 1_000, ..settings(&topic) };
    settings.librdkafka.insert("max.poll.interval.ms".to_owned(), poll_interval.as_millis().to_string());
    let mut member = Member::join(&kafka, &settings);
    member.until("it owns both", |member| member.owned.len() == 2 && !member.records.is_empty());
    // Nothing is received for longer than a member may go without polling: the wait itself is what is tested.
    let deadline = Deadline::after(poll_interval * 2);
    while !deadline.passed() {
        std::thread::sleep(deadline.left());
    }
    member.until("everything is read", |member| member.records.len() == RECORDS as usize);
    assert_eq!((member.source.counts().rebalances, member.gone.len()), (1, 0), "it never left");
    member.source.recycle(threatguard::edge::Records::default());
    member.leave();
}

#[test]
fn a_delivery_begins_where_it_is_told_to_as_often_as_it_is() {
    let Some(kafka) = support::kafka("a_delivery_begins_where_it_is_told_to") else { return };
    let topic = make_topic(&kafka, "again", 2);
    fill(&kafka, &topic, 2, 40_000);
    let mut member = Member::join(&kafka, &settings(&topic));
    member.until("both are read a little", |member| member.next.len() == 2);
    let generation = member.owned[&Partition(0)].0;
    // Back and forth, while records of the delivery before are still on their way.
    for from in [15_000, 3, 19_999, 0, 7_000] {
        member.next.remove(&Partition(0));
        member.records.retain(|(partition, ..)| *partition != Partition(0));
        member.delivery.insert(Partition(0), member.source.start(Partition(0), generation, Offset(from)));
        member.until("it comes from there", |member| member.next.contains_key(&Partition(0)));
        assert_eq!(
            member.records.iter().find(|(partition, ..)| *partition == Partition(0)).map(|(_, offset, _)| *offset),
            Some(Offset(from))
        );
    }
    member.ended.clear();
    member.until("everything is read", |member| member.next.values().all(|next| *next == Offset(20_000)));
    member.until("and its end is told", |member| member.ended.contains_key(&Partition(0)));
    let read = |member: &Member, partition| member.records.iter().filter(|record| record.0 == Partition(partition)).count();
    assert_eq!((read(&member, 0), read(&member, 1)), (13_000, 20_000), "each record of the last delivery once, and the other left alone");
    member.leave();
}

#[test]
fn a_committed_offset_that_the_log_does_not_have_is_an_error() {
    let Some(kafka) = support::kafka("a_committed_offset_that_the_log_does_not_have") else { return };
    let topic = make_topic(&kafka, "gap", 1);
    fill(&kafka, &topic, 1, 10);
    let settings = settings(&topic);
    let mut member = Member::join(&kafka, &settings);
    member.until("it owns the partition", |member| member.records.len() == 10);
    member.next.insert(Partition(0), Offset(1_000_000));
    member.leave();
    let (source, events) = KafkaSource::open(&kafka, &settings, 1).unwrap();
    let failure = loop {
        match events[0].recv_timeout(WAIT).unwrap() {
            LogEvent::Failed(error) => break error,
            LogEvent::Batch(batch) => panic!("read {} records from nowhere", batch.records.len()),
            LogEvent::Revoked { partition, generation } => source.released(partition, generation),
            LogEvent::Assigned { partition, generation, committed, start } => {
                assert_eq!(committed.map(|committed| committed.note), Some(NOTE.to_owned()), "the note comes back with the offset");
                source.start(partition, generation, start);
            }
            _ => {}
        }
    };
    assert!(failure.kind == Kind::Permanent && failure.to_string().contains("no longer has offset 1000000"), "{failure}");
    assert!(events[0].recv_timeout(WAIT).is_err(), "the failure is the last event");
    source.close(WAIT).unwrap();
}
