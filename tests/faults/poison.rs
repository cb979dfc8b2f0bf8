//! Scenario: records that nobody can read, or that were sent by somebody who knows neither keys nor limits, among good ones, while a
//! worker is killed.
//! Guarantees: each becomes one dead letter, the partition moves on, and a worker that met one before it died does not stumble again.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::deployment::{Deployment, Plan, pause};
use crate::fleet::{Fleet, Recoveries, now};
use crate::judge::judge;
use crate::length::size;
use crate::log::{self, Isolation};

/// Key and payload of one record; how many of them have to become dead letters is the last number.
type Poison = (Option<&'static [u8]>, Option<Vec<u8>>, bool);

fn poison() -> Vec<Poison> {
    let event = |from: &str| format!(r#"{{"source_ip":"{from}","event_type":"flow","timestamp":"2026-03-03T09:00:00Z"}}"#).into_bytes();
    let key: Option<&[u8]> = Some(b"ip:10.50.1.1");
    vec![
        (key, None, true),
        (key, Some(vec![]), true),
        (None, Some(b"not json".to_vec()), true),
        (key, Some(vec![0; 1_000]), true),
        (key, Some((0..=255).collect()), true),
        (key, Some(b"{\"source_ip\":\"10.50.1.1\",\"event_type\":\"fl".to_vec()), true),
        (key, Some("{\"a\":".repeat(100_000).into_bytes()), true),
        (key, Some(format!("\"{}\"", "a".repeat(900_000)).into_bytes()), true),
        (key, Some(b"{\"source_ip\":\"\xc0\xaf\"}".to_vec()), true),
        // Without a key, under another one, and with a time that no window may follow: events all the same.
        (None, Some(event("10.50.1.2")), false),
        (Some(b"somebody else"), Some(event("10.50.1.3")), false),
        (key, Some(br#"{"source_ip":"10.50.1.1","event_type":"flow","timestamp":"9999-12-31T23:59:59Z"}"#.to_vec()), false),
    ]
}

fn send(deployment: &Deployment, records: &[Poison]) -> u64 {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &deployment.brokers).set("enable.idempotence", "true").create().unwrap();
    for (number, (key, payload, _)) in records.iter().enumerate() {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&deployment.raw);
        (record.key, record.payload) = (*key, payload.as_deref());
        record.partition = Some(number as i32 % deployment.partitions as i32);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    records.iter().filter(|(_, _, dead)| *dead).count() as u64
}

#[test]
fn poison_becomes_dead_letters_once() {
    let test = "poison";
    let Some(mut deployment) = Deployment::new(test, &Plan { partitions: 3, events: size(40_000, 600_000), ..Plan::default() }) else {
        return;
    };
    deployment.is_plain = false;
    let follower = deployment.follow();
    let mut fleet = Fleet::start(&deployment, &["a", "b"]);
    let feed = deployment.feed(2_000);
    let (mut recoveries, mut dead) = (Recoveries::default(), 0);
    for round in 0..size(3, 30) {
        recoveries.measure(&mut fleet, &follower, now());
        dead += send(&deployment, &poison());
        if round % 3 == 1 {
            pause(Duration::from_millis(50));
            fleet.kill_and_restart(round % 2, Duration::ZERO);
        }
        // Everything behind the poison has to come through.
        recoveries.measure(&mut fleet, &follower, now());
    }
    feed.finish(Duration::from_secs(size(120, 900)));
    fleet.consume_all();
    fleet.stop();
    let topic = deployment.topic("dead-letters");
    let letters = log::read(&deployment.brokers, &topic, deployment.partitions, Isolation::Committed);
    let mut values: Vec<u128> = letters.iter().flatten().map(|entry| entry.value).collect();
    values.sort_unstable();
    values.dedup();
    println!("{test}: {dead} poisonous records, {} dead letters, {recoveries}", values.len());
    assert_eq!(values.len() as u64, dead);
    judge(&deployment, follower).check(test);
}
