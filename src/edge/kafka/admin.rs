//! Topics at start: makes those that are missing where that is allowed, and says in plain words what does not fit in the others.
//! It never changes or removes an existing topic.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::contact::Contact;
use super::settings::KafkaSettings;
use super::{QuietContext, kind_of, refuse};
use crate::error::{Error, Kind, Result};
use crate::limits::OUTPUT_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    Delete,
    Compact,
}

impl CleanupPolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// Whose time a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    /// The broker's: no producer can set the clock of event times with it.
    LogAppendTime,
}

impl TimestampType {
    fn as_str(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// What a topic should be. `None` accepts anything, and the broker's default when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: Option<u32>,
    pub replication: Option<u16>,
    pub cleanup: Option<CleanupPolicy>,
    pub timestamp: Option<TimestampType>,
    /// Whether our largest output has to fit.
    pub is_output: bool,
}

impl TopicSpec {
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication: None, cleanup: None, timestamp: None, is_output: false }
    }
}

/// What is wrong with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Missing,
    Created,
    Partitions,
    CleanupPolicy,
    TimestampType,
    MessageSize,
    /// Its settings may not be read.
    Unreadable,
}

impl Problem {
    /// Whether running on would lose or mix up records; the others are advice.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Missing | Self::Partitions | Self::MessageSize)
    }
}

/// One thing to know about a topic, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    pub problem: Problem,
    pub text: String,
}

impl Finding {
    fn new(topic: &str, problem: Problem, text: String) -> Self {
        Self { topic: topic.to_owned(), problem, text }
    }
}

struct Admin {
    client: AdminClient<QuietContext>,
    /// Answers where the other is only silent when it cannot connect.
    contact: Contact,
}

/// Makes what is missing, then checks everything. `Config`: the rights for it are lacking. `Transient`: no broker answered in time.
pub fn ensure_topics(kafka: &KafkaSettings, specs: &[TopicSpec]) -> Result<Vec<Finding>> {
    let admin = admin(kafka)?;
    let mut findings = Vec::new();
    let mut made = Vec::new();
    for spec in specs {
        if partitions(&admin, kafka, &spec.name)?.is_none() {
            create(&admin, kafka, spec)?;
            findings.push(Finding::new(&spec.name, Problem::Created, format!("topic {} was missing and has been created", spec.name)));
            made.push(&spec.name);
        }
    }
    // The brokers take a moment to tell one another, and each question may meet another of them.
    let deadline = crate::edge::clock::Deadline::after(timeout(kafka));
    loop {
        let checked = check_with(&admin, kafka, specs)?;
        let unseen = checked.iter().find(|finding| finding.problem == Problem::Missing && made.contains(&&finding.topic));
        match unseen {
            None => {
                findings.extend(checked);
                return Ok(findings);
            }
            Some(unseen) if deadline.passed() => {
                return Err(Error::transient(format!("topic {} was created but does not show up", unseen.topic)));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Checks without changing anything; a missing topic is a finding.
pub fn check_topics(kafka: &KafkaSettings, specs: &[TopicSpec]) -> Result<Vec<Finding>> {
    check_with(&admin(kafka)?, kafka, specs)
}

/// How many partitions a topic has; `None` when there is no such topic.
pub fn partition_count(kafka: &KafkaSettings, topic: &str) -> Result<Option<u32>> {
    partitions(&admin(kafka)?, kafka, topic)
}

/// As [`partition_count`], where the topic has to exist.
pub(super) fn partitions_of(kafka: &KafkaSettings, topic: &str) -> Result<u32> {
    partition_count(kafka, topic)?.ok_or_else(|| {
        let brokers = &kafka.brokers;
        Error::config(format!("there is no topic {topic:?} at {brokers}; create it, or correct its name in the source's settings"))
    })
}

fn timeout(kafka: &KafkaSettings) -> Duration {
    Duration::from_millis(kafka.connect_timeout_ms)
}

fn admin(kafka: &KafkaSettings) -> Result<Admin> {
    let made = kafka.client()?.create_with_context(QuietContext);
    let client = made.map_err(|error| refuse(Kind::Config, "the Kafka client's settings are refused".to_owned(), &error))?;
    Ok(Admin { client, contact: Contact::open(kafka)? })
}

fn partitions(admin: &Admin, kafka: &KafkaSettings, topic: &str) -> Result<Option<u32>> {
    let metadata = admin.contact.metadata(kafka, topic)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(found.partitions().len() as u32)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
        Some(code) => Err(Error::new(kind_of(code), format!("topic {topic} cannot be used: {code}"))),
    }
}

fn create(admin: &Admin, kafka: &KafkaSettings, spec: &TopicSpec) -> Result<()> {
    let replication = TopicReplication::Fixed(spec.replication.map_or(-1, i32::from));
    let mut topic = NewTopic::new(&spec.name, spec.partitions.map_or(-1, |count| count as i32), replication);
    if let Some(cleanup) = spec.cleanup {
        topic = topic.set("cleanup.policy", cleanup.as_str());
    }
    if let Some(timestamp) = spec.timestamp {
        topic = topic.set("message.timestamp.type", timestamp.as_str());
    }
    let options = AdminOptions::new().request_timeout(Some(timeout(kafka))).operation_timeout(Some(timeout(kafka)));
    let what = || format!("topic {} is missing and could not be created", spec.name);
    let results = block_on(admin.client.create_topics([&topic], &options))?.map_err(|error| refuse(Kind::Transient, what(), &error))?;
    match results.into_iter().next() {
        // Another process of ours may have been quicker.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(Error::new(kind_of(code), format!("{}: {code}", what()))),
        None => Err(Error::transient(what())),
    }
}

fn check_with(admin: &Admin, kafka: &KafkaSettings, specs: &[TopicSpec]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut present = Vec::new();
    for spec in specs {
        let name = &spec.name;
        let Some(count) = partitions(admin, kafka, name)? else {
            findings.push(Finding::new(name, Problem::Missing, format!("topic {name} does not exist at {}; create it", kafka.brokers)));
            continue;
        };
        present.push(spec);
        if let Some(expected) = spec.partitions
            && expected != count
        {
            findings.push(Finding::new(
                name,
                Problem::Partitions,
                format!(
                    "topic {name} has {count} partitions, not {expected}: state belongs to partitions, so the count may not change under it"
                ),
            ));
        }
    }
    let resources: Vec<_> = present.iter().map(|spec| ResourceSpecifier::Topic(&spec.name)).collect();
    if resources.is_empty() {
        return Ok(findings);
    }
    let options = AdminOptions::new().request_timeout(Some(timeout(kafka)));
    let described = block_on(admin.client.describe_configs(&resources, &options))?
        .map_err(|error| refuse(Kind::Transient, "the settings of topics could not be read".to_owned(), &error))?;
    for (spec, resource) in present.iter().zip(described) {
        match resource {
            Ok(resource) => check_config(spec, &resource, &mut findings),
            Err(code) => findings.push(Finding::new(
                &spec.name,
                Problem::Unreadable,
                format!("the settings of topic {} cannot be checked ({code}); allow DescribeConfigs on it", spec.name),
            )),
        }
    }
    Ok(findings)
}

fn check_config(spec: &TopicSpec, resource: &ConfigResource, findings: &mut Vec<Finding>) {
    let name = &spec.name;
    let value = |key: &str| resource.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or("");
    let cleanup = value("cleanup.policy");
    if let Some(expected) = spec.cleanup
        && cleanup != expected.as_str()
    {
        let expected = expected.as_str();
        let text =
            format!("topic {name} has cleanup.policy={cleanup}, not {expected}: compaction drops all but the newest record of a key");
        findings.push(Finding::new(name, Problem::CleanupPolicy, text));
    }
    let timestamp = value("message.timestamp.type");
    if let Some(expected) = spec.timestamp
        && timestamp != expected.as_str()
    {
        let expected = expected.as_str();
        let text = format!("topic {name} has message.timestamp.type={timestamp}; with {expected} no producer can shift the time of events");
        findings.push(Finding::new(name, Problem::TimestampType, text));
    }
    // A record carries a little more than its payload.
    let needed = OUTPUT_BYTES_MAX + 16 * 1024;
    if spec.is_output && value("max.message.bytes").parse::<usize>().is_ok_and(|bytes| bytes < needed) {
        let text = format!("topic {name} has max.message.bytes={}; our largest records need {needed}", value("max.message.bytes"));
        findings.push(Finding::new(name, Problem::MessageSize, text));
    }
}

/// The admin client answers from a thread of its own; this only waits for it. Every request has a timeout.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime.map_err(|error| Error::transient("cannot start a runtime").because(error))?.block_on(future))
}
