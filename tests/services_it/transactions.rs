//! Scenario: outputs and offsets are committed together, by one process, its zombie and its successor.
//! Guarantees: nothing of a transaction that did not end is ever read; a renewed name refuses its older life; a membership that is
//! over commits nothing; the note comes back with the offset; a commit does not wait in the client for longer than it has to.

use std::time::Duration;

use threatguard::core::types::{Generation, Offset, Partition};
use threatguard::edge::clock;
use threatguard::edge::kafka::{ConsumerSettings, KafkaSettings, KafkaSource, KafkaTransactions, ProducerSettings, TopicNames};
use threatguard::edge::{Commit, LogEvent, LogSource, Transactions};
use threatguard::error::{Error, Kind};

use crate::input::read_all;
use crate::output::{make_topic, to};
use crate::support;

const WAIT: Duration = Duration::from_secs(30);
const P: Partition = Partition(0);

fn transactions(kafka: &KafkaSettings, input: &str, output: &str, id: &str) -> KafkaTransactions {
    let topics = TopicNames { threats: output.to_owned(), ..TopicNames::default() };
    KafkaTransactions::open(kafka, &ProducerSettings { topics, linger_ms: 1, ..ProducerSettings::default() }, input, id).unwrap()
}

/// A group's member that owns the only partition of the input.
struct Owner {
    source: KafkaSource,
    generation: Generation,
}

impl Owner {
    fn join(kafka: &KafkaSettings, input: &str) -> Self {
        let settings = ConsumerSettings { topic: input.to_owned(), group: support::fresh("group"), ..ConsumerSettings::default() };
        let (source, events) = KafkaSource::open(kafka, &settings, 1).unwrap();
        match events[0].recv_timeout(WAIT).unwrap() {
            LogEvent::Assigned { generation, .. } => {
                // The channel has to stay open; nothing is started, so nothing comes.
                std::mem::forget(events);
                Self { source, generation }
            }
            other => panic!("{other:?}"),
        }
    }

    fn offset(&self, next: u64) -> Commit {
        Commit { partition: P, next: Offset(next), generation: self.generation, note: format!("tg1 o={next}") }
    }

    fn commit(&self, transactions: &mut KafkaTransactions, next: u64) -> Result<(), Error> {
        let member = self.source.member(&[(P, self.generation)]).unwrap();
        transactions.commit(&[self.offset(next)], &member)
    }

    fn committed(&self) -> Option<(u64, String)> {
        self.source.committed(P).unwrap().map(|committed| (committed.next.0, committed.note))
    }
}

fn texts(kafka: &KafkaSettings, topic: &str) -> Vec<String> {
    read_all(kafka, topic, 1).into_iter().map(|(_, _, payload)| String::from_utf8(payload).unwrap()).collect()
}

#[test]
fn outputs_and_offsets_are_seen_together_or_not_at_all() {
    let Some(kafka) = support::kafka("outputs_and_offsets_are_seen_together") else { return };
    let (input, output, id) = (make_topic(&kafka, "tx-in", 1), make_topic(&kafka, "tx-out", 1), support::fresh("tx"));
    let owner = Owner::join(&kafka, &input);
    assert_eq!(owner.committed(), None);
    let mut first = transactions(&kafka, &input, &output, &id);
    first.publish(&[to(0, b"one"), to(0, b"two")], &|| false).unwrap();
    owner.commit(&mut first, 2).unwrap();
    assert_eq!(owner.committed(), Some((2, "tg1 o=2".to_owned())));

    // An open transaction is ended by the next life of its name, whoever that is.
    first.publish(&[to(0, b"never")], &|| false).unwrap();
    first.renew().unwrap();
    first.publish(&[to(0, b"three")], &|| false).unwrap();
    owner.commit(&mut first, 3).unwrap();
    first.publish(&[to(0, b"of a zombie")], &|| false).unwrap();
    let mut second = transactions(&kafka, &input, &output, &id);
    let refused = owner.commit(&mut first, 99).unwrap_err();
    assert!(matches!(refused.kind, Kind::Transient | Kind::Fenced), "{refused}");
    assert_eq!(owner.committed(), Some((3, "tg1 o=3".to_owned())));
    second.publish(&[to(0, b"four")], &|| false).unwrap();
    owner.commit(&mut second, 4).unwrap();
    assert_eq!(texts(&kafka, &output), ["one", "two", "three", "four"]);

    // Offsets alone, and nothing at all.
    owner.commit(&mut second, 5).unwrap();
    second.commit(&[], &owner.source.member(&[]).unwrap()).unwrap();
    assert_eq!(owner.committed().map(|(next, _)| next), Some(5));
}

#[test]
fn a_membership_that_is_over_commits_nothing() {
    let Some(kafka) = support::kafka("a_membership_that_is_over") else { return };
    let (input, output) = (make_topic(&kafka, "tx-in", 1), make_topic(&kafka, "tx-out", 1));
    let owner = Owner::join(&kafka, &input);
    let mut transactions = transactions(&kafka, &input, &output, &support::fresh("tx"));
    let member = owner.source.member(&[(P, owner.generation)]).unwrap();
    assert_eq!(owner.source.member(&[(P, Generation(owner.generation.0 + 1))]).err().map(|error| error.kind), Some(Kind::Fenced));
    owner.source.released(P, owner.generation);
    drop(owner.source.close(WAIT));
    transactions.publish(&[to(0, b"too late")], &|| false).unwrap();
    let refused = transactions.commit(&[owner.offset(7)], &member).unwrap_err();
    assert!(matches!(refused.kind, Kind::Transient | Kind::Fenced), "{refused}");
    transactions.renew().unwrap();
    assert_eq!(texts(&kafka, &output), Vec::<String>::new());
}

#[test]
fn a_commit_does_not_wait_for_the_clients_own_steps() {
    let Some(kafka) = support::kafka("a_commit_does_not_wait") else { return };
    let (input, output) = (make_topic(&kafka, "tx-in", 1), make_topic(&kafka, "tx-out", 1));
    let owner = Owner::join(&kafka, &input);
    let mut transactions = transactions(&kafka, &input, &output, &support::fresh("tx"));
    let mut best = Duration::MAX;
    for next in 1..=20 {
        transactions.publish(&[to(0, b"in flight")], &|| false).unwrap();
        let begun = clock::now();
        owner.commit(&mut transactions, next).unwrap();
        best = best.min(begun.elapsed());
    }
    // The wrapper's flush takes 100 ms when anything is in flight, always: the best of many shows that, on a busy machine too.
    assert!(best < Duration::from_millis(90), "{best:?}");
}
