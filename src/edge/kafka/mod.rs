//! Kafka through librdkafka: a group member that reads in batches, an idempotent producer, and the checks of topics at start.
//!
//! Two defaults of the client must never come back: `fetch.queue.backoff.ms=1000` (a factor of three in reading) and the wrapper's
//! `flush`, which waits in steps of 100 ms. Passwords never appear in a log line or an error.

mod admin;
mod channel;
mod consumer;
mod contact;
mod fetch;
mod group;
mod membership;
mod outside;
mod overrides;
mod producer;
mod reader;
mod settings;
mod tail;
mod transactions;
mod window;

pub use admin::{CleanupPolicy, Finding, Problem, TimestampType, TopicSpec, check_topics, ensure_topics, partition_count};
pub use consumer::{KafkaSource, SourceCounts};
pub use outside::{GroupOutside, GroupState, LogEnds, topic_id};
pub use overrides::RESERVED;
pub use producer::KafkaPublisher;
pub use settings::{
    Compression, ConsumerSettings, KafkaSettings, ProducerSettings, Protocol, SaslMechanism, Security, StartAt, TopicNames,
};
pub use tail::{Tail, existing, read_tail};
pub use transactions::KafkaTransactions;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::{Error, Kind};

/// Sends the client's own log lines where ours go. They name brokers and topics, never credentials.
fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(facility, "kafka client: {message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka client: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "kafka client: {message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka client: {message}"),
    }
}

/// The context of clients without callbacks of their own.
struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("kafka client: {error}: {reason}");
    }
}

impl ConsumerContext for QuietContext {}

/// What a code of the client or the broker means for us.
fn kind_of(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::MessageSizeTooLarge
        | Code::InvalidTopic
        | Code::PolicyViolation
        | Code::InvalidTimestamp
        | Code::SSL
        | Code::InvalidArgument => Kind::Config,
        Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedInstanceId | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            Kind::Fenced
        }
        _ => Kind::Transient,
    }
}

fn refuse(kind: Kind, what: String, error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(code @ RDKafkaErrorCode::InvalidTimestamp) => {
            let advice = "set this host's clock: the brokers refuse records from more than message.timestamp.after.max.ms ahead";
            Error::new(kind, format!("{what}: {code}; {advice}"))
        }
        Some(code) => Error::new(kind, format!("{what}: {code}")),
        None => Error::new(kind, format!("{what}: {error}")),
    }
}

/// No answer from the brokers, and what to look at.
fn unreachable(settings: &KafkaSettings, within_ms: u64, error: &KafkaError) -> Error {
    let brokers = &settings.brokers;
    let protocol = settings.security.protocol.as_str();
    let what = format!(
        "no Kafka broker at {brokers} answered within {within_ms} ms; check that it runs, that the address and port are its \
         listener's, that nothing blocks the way, and that it speaks {protocol}, as kafka.tls and kafka.sasl have it"
    );
    let kind = error
        .rdkafka_error_code()
        .map_or(Kind::Transient, |code| if kind_of(code) == Kind::Config { Kind::Config } else { Kind::Transient });
    refuse(kind, what, error)
}
