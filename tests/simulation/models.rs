//! The models behave as the real ones do where it matters: each of these is a property that a safeguard exists for.

use std::collections::BTreeSet;
use std::sync::Arc;

use threatguard::edge::TopicRole;

use super::broker::{Broker, Refused, Target, index_of};
use super::group::{Group, Status};
use super::life::Life;
use super::log::{PLAIN, Record};

const NOW: u64 = 1_000_000;
const SECOND: u64 = 1_000_000;
const NOBODY: (Option<u64>, i64) = (None, -1);

fn broker() -> Broker {
    let mut broker = Broker::new(1, Group::new(1, SECOND, 8 * SECOND), 2 * SECOND);
    broker.pass(NOW);
    broker
}

fn target() -> Target {
    (index_of(TopicRole::Verdicts), 0)
}

fn record(producer: u64, text: &str) -> Record {
    Record { producer, key: None, payload: Arc::from(text.as_bytes()), time: 0 }
}

fn produce(broker: &mut Broker, (producer, epoch): (u64, u32), text: &str) {
    broker.add_partition(producer, epoch, target(), NOW).unwrap();
    broker.produce(producer, epoch, target(), vec![record(producer, text)]).unwrap();
}

fn visible(broker: &Broker) -> Vec<(u64, String)> {
    let log = &broker.outputs[&target()];
    log.read(0, u64::MAX).0.into_iter().map(|(offset, record)| (offset, String::from_utf8_lossy(&record.payload).into_owned())).collect()
}

fn offsets(next: u64) -> Vec<(u32, u64, String)> {
    vec![(0, next, String::new())]
}

#[test]
fn readers_stop_at_what_is_open_and_pass_over_what_is_aborted() {
    let mut broker = broker();
    let (one, two) = (broker.init("one"), broker.init("two"));
    produce(&mut broker, one, "a");
    produce(&mut broker, two, "b");
    broker.end(two.0, two.1, true).unwrap();
    broker.finish_markers("two");
    assert_eq!(visible(&broker), [], "the first transaction is still open");
    broker.end(one.0, one.1, false).unwrap();
    broker.finish_markers("one");
    assert_eq!(visible(&broker), [(1, "b".to_owned())]);
    assert_eq!(broker.outputs[&target()].end(), 4, "each end takes an offset");
}

#[test]
fn a_late_end_takes_the_next_transaction_with_it() {
    let mut broker = broker();
    let one = broker.init("one");
    produce(&mut broker, one, "a");
    broker.end_late(one.0, one.1, true, NOW + 10);
    broker.end(one.0, one.1, true).unwrap();
    broker.finish_markers("one");
    produce(&mut broker, one, "half");
    broker.pass(NOW + 11);
    broker.finish_markers("one");
    assert_eq!(visible(&broker).len(), 2, "the second was committed by the end of the first");
    let renewed = broker.init("one");
    produce(&mut broker, renewed, "whole");
    broker.end_late(one.0, one.1, true, NOW + 20);
    broker.pass(NOW + 21);
    assert_eq!(visible(&broker).len(), 2, "a renewed producer is out of its reach");
    assert_eq!(broker.produce(one.0, one.1, target(), vec![]), Err(Refused::Fenced));
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let mut broker = broker();
    let one = broker.init("one");
    produce(&mut broker, one, "a");
    broker.pass(NOW + 3 * SECOND);
    assert_eq!(broker.end(one.0, one.1, true), Err(Refused::Fenced));
    broker.finish_markers("one");
    assert_eq!(visible(&broker), []);
}

#[test]
fn offsets_of_a_transaction_are_not_told_before_it_has_ended() {
    let mut broker = broker();
    let one = broker.init("one");
    broker.add_offsets(one.0, one.1, NOBODY, &offsets(7), NOW).unwrap();
    assert_eq!(broker.group.stable(0), Err(()));
    broker.end(one.0, one.1, true).unwrap();
    assert_eq!(broker.group.stable(0), Err(()), "decided, but its marker is on its way");
    broker.finish_markers("one");
    assert_eq!(broker.group.stable(0).unwrap().unwrap().next, 7);
}

#[test]
fn the_group_refuses_who_is_not_a_member_but_for_a_transaction_of_nobody() {
    let mut group = Group::new(1, SECOND, 8 * SECOND);
    let life = Arc::new(Life::default());
    let first = group.join(None, &life, BTreeSet::new(), NOW).unwrap();
    let generation = group.generation;
    assert_eq!(group.commit_in(5, (Some(first), generation), &offsets(1)), Ok(()));
    assert_eq!(group.commit_in(5, (Some(first), generation - 1), &offsets(1)), Err(Refused::Member));
    assert_eq!(group.commit_in(5, NOBODY, &offsets(1)), Ok(()));
    assert_eq!(group.commit(NOBODY, &offsets(1)), Err(Refused::Member));
    life.freeze(NOW + 10 * SECOND);
    group.expire(NOW + 2 * SECOND);
    assert_eq!(group.status(first), Status::Unknown);
    assert_eq!(group.commit_in(5, (Some(first), generation), &offsets(1)), Err(Refused::Member));
}

#[test]
fn what_moves_is_taken_away_before_it_is_given() {
    let mut group = Group::new(2, SECOND, 8 * SECOND);
    let life = Arc::new(Life::default());
    let first = group.join(None, &life, BTreeSet::new(), NOW).unwrap();
    let both = BTreeSet::from([0, 1]);
    assert_eq!(group.status(first), Status::Stable { generation: 1, assigned: both.clone() });
    let second = group.join(None, &life, BTreeSet::new(), NOW).unwrap();
    assert_eq!(group.status(first), Status::Rebalancing { joined: false });
    group.join(Some(first), &life, both, NOW).unwrap();
    assert_eq!(group.status(first), Status::Stable { generation: 2, assigned: BTreeSet::from([0]) });
    assert_eq!(group.status(second), Status::Stable { generation: 2, assigned: BTreeSet::new() });
    group.join(Some(first), &life, BTreeSet::from([0]), NOW).unwrap();
    group.join(Some(second), &life, BTreeSet::new(), NOW).unwrap();
    assert_eq!(group.status(second), Status::Stable { generation: 3, assigned: BTreeSet::from([1]) });
}

#[test]
fn plain_records_are_seen_at_once() {
    let mut broker = broker();
    broker.outputs.entry(target()).or_default().append(record(PLAIN, "a"));
    assert_eq!(visible(&broker), [(0, "a".to_owned())]);
}
