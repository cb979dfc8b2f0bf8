//! Scenario: topics are missing, differ from what is expected, or there is no broker at all.
//! Guarantees: what is allowed is made, everything else is said within a bounded time, and nothing existing is changed.

use std::net::TcpListener;
use std::time::Duration;

use threatguard::edge::clock;
use threatguard::edge::kafka::{
    CleanupPolicy, ConsumerSettings, KafkaPublisher, KafkaSettings, KafkaSource, Problem, ProducerSettings, TimestampType, TopicSpec,
    check_topics, ensure_topics, partition_count,
};
use threatguard::error::{Error, Kind};

use crate::support;

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        partitions: Some(3),
        cleanup: Some(CleanupPolicy::Delete),
        timestamp: Some(TimestampType::LogAppendTime),
        is_output: true,
        ..TopicSpec::named(name)
    }
}

#[test]
fn topics_are_made_and_checked() {
    let Some(kafka) = support::kafka("topics_are_made_and_checked") else { return };
    let (name, other) = (support::fresh("made"), support::fresh("other"));
    let problems =
        |specs: &[TopicSpec]| -> Vec<Problem> { check_topics(&kafka, specs).unwrap().into_iter().map(|finding| finding.problem).collect() };
    assert_eq!(partition_count(&kafka, &name).unwrap(), None);
    assert_eq!(problems(&[spec(&name)]), [Problem::Missing]);
    let findings = ensure_topics(&kafka, &[spec(&name)]).unwrap();
    assert_eq!(findings.iter().map(|finding| finding.problem).collect::<Vec<_>>(), [Problem::Created]);
    assert!(ensure_topics(&kafka, &[spec(&name)]).unwrap().is_empty(), "the second time everything fits");
    assert_eq!(partition_count(&kafka, &name).unwrap(), Some(3));

    let made = TopicSpec { partitions: Some(5), cleanup: Some(CleanupPolicy::Compact), ..TopicSpec::named(&other) };
    ensure_topics(&kafka, std::slice::from_ref(&made)).unwrap();
    let findings = check_topics(&kafka, &[spec(&name), spec(&other)]).unwrap();
    let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
    assert!(findings.iter().all(|finding| finding.topic == other), "{texts:?}");
    assert_eq!(problems(&[spec(&name), spec(&other)]), [Problem::Partitions, Problem::CleanupPolicy, Problem::TimestampType]);
    for said in ["has 5 partitions, not 3", "cleanup.policy=compact, not delete", "message.timestamp.type=CreateTime"] {
        assert!(texts.iter().any(|text| text.contains(said)), "{said}: {texts:?}");
    }
}

#[test]
fn an_absent_topic_is_named() {
    let Some(kafka) = support::kafka("an_absent_topic_is_named") else { return };
    let topic = support::fresh("absent");
    let error = KafkaSource::open(&kafka, &ConsumerSettings { topic: topic.clone(), ..ConsumerSettings::default() }, 1).err().unwrap();
    assert!(error.kind == Kind::Config && error.to_string().contains(&topic) && error.to_string().contains(&kafka.brokers), "{error}");
}

#[test]
fn an_absent_broker_is_named_within_its_time() {
    // Bound, so that nobody else gets the port, but answering nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for brokers in [silent.local_addr().unwrap().to_string(), closed] {
        let kafka = KafkaSettings { brokers: brokers.clone(), connect_timeout_ms: 700, ..KafkaSettings::default() };
        let check = |what: &str, attempt: &dyn Fn() -> Option<Error>| {
            let start = clock::now();
            let error = attempt().unwrap_or_else(|| panic!("{what} came up without a broker"));
            assert!(clock::now().duration_since(start) < Duration::from_secs(20), "{what} took too long");
            let text = error.to_string();
            assert!(error.kind == Kind::Transient && text.contains(&brokers) && text.contains("700 ms"), "{what}: {text}");
        };
        check("source", &|| KafkaSource::open(&kafka, &ConsumerSettings::default(), 1).err());
        check("publisher", &|| KafkaPublisher::open(&kafka, &ProducerSettings::default()).err());
        check("topics", &|| ensure_topics(&kafka, &[TopicSpec::named("any")]).err());
    }
}
