//! Scenario: records are published, some cannot be.
//! Guarantees: `delivered` covers an unbroken run only, the first loss is reported, and keys go where Java's producers send them.

use std::time::Duration;

use threatguard::core::types::Partition;
use threatguard::edge::kafka::{KafkaPublisher, KafkaSettings, ProducerSettings, TopicNames, TopicSpec, ensure_topics};
use threatguard::edge::{Outgoing, Publisher, Sequence, TopicRole};
use threatguard::error::Kind;

use crate::support;

const WAIT: Duration = Duration::from_secs(30);

pub fn make_topic(kafka: &KafkaSettings, stem: &str, partitions: u32) -> String {
    let name = support::fresh(stem);
    ensure_topics(kafka, &[TopicSpec { partitions: Some(partitions), ..TopicSpec::named(&name) }]).unwrap();
    name
}

pub fn publisher(kafka: &KafkaSettings, topic: &str) -> KafkaPublisher {
    let topics = TopicNames { threats: topic.to_owned(), ..TopicNames::default() };
    KafkaPublisher::open(kafka, &ProducerSettings { topics, ..ProducerSettings::default() }).unwrap()
}

pub fn to(partition: u32, payload: &[u8]) -> Outgoing<'_> {
    Outgoing { role: TopicRole::Threats, partition: Some(Partition(partition)), key: Some(b"key"), payload, time: None }
}

#[test]
fn delivered_reaches_what_was_produced() {
    let Some(kafka) = support::kafka("delivered_reaches_what_was_produced") else { return };
    let publisher = publisher(&kafka, &make_topic(&kafka, "out", 4));
    assert_eq!((publisher.produced(), publisher.delivered()), (Sequence(0), Sequence(0)));
    publisher.flush(WAIT).unwrap();
    for n in 1..=5_000 {
        assert_eq!(publisher.publish(to(n % 4, b"payload")).unwrap(), Sequence(u64::from(n)));
        assert!(publisher.delivered() <= publisher.produced());
    }
    publisher.flush(WAIT).unwrap();
    assert_eq!((publisher.produced(), publisher.delivered(), publisher.in_flight()), (Sequence(5_000), Sequence(5_000), 0));
    assert!(publisher.failure().is_none());
    let large = vec![b'x'; threatguard::limits::OUTPUT_BYTES_MAX + 1];
    assert_eq!(publisher.publish(to(0, &large)).unwrap_err().kind, Kind::Bug);
    publisher.publish(to(0, &large[1..])).unwrap();
    publisher.flush(WAIT).unwrap();
    assert_eq!(publisher.delivered(), Sequence(5_001));
}

#[test]
fn after_a_loss_nothing_more_counts_as_delivered() {
    let Some(kafka) = support::kafka("after_a_loss") else { return };
    let publisher = publisher(&kafka, &make_topic(&kafka, "loss", 1));
    publisher.publish(to(0, b"fine")).unwrap();
    publisher.flush(WAIT).unwrap();
    // There is no such partition: refused at once or when the topic is known.
    drop(publisher.publish(to(99, b"lost")));
    let error = publisher.flush(WAIT).err().or_else(|| publisher.failure()).unwrap();
    assert_eq!(error.kind, Kind::Config, "{error}");
    assert_eq!(publisher.publish(to(0, b"after")).unwrap_err().to_string(), publisher.failure().unwrap().to_string());
    assert!(publisher.delivered() <= Sequence(2));
}

#[test]
fn keys_go_where_java_clients_send_them() {
    let Some(kafka) = support::kafka("keys_go_where_java_clients_send_them") else { return };
    const PARTITIONS: u32 = 12;
    let topic = make_topic(&kafka, "keys", PARTITIONS);
    let publisher = publisher(&kafka, &topic);
    // murmur2 of these strings, from the tests of Kafka's own client.
    for (key, hash) in [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)] {
        let record = Outgoing { role: TopicRole::Threats, partition: None, key: Some(key.as_bytes()), payload: key.as_bytes(), time: None };
        publisher.publish(record).unwrap();
        publisher.flush(WAIT).unwrap();
        let expected = Partition((hash & 0x7fff_ffff) as u32 % PARTITIONS);
        let found = crate::input::read_all(&kafka, &topic, PARTITIONS);
        assert!(found.iter().any(|(partition, _, payload)| *partition == expected && payload == key.as_bytes()), "{key}: {found:?}");
    }
}
