//! Typed settings of the Kafka clients, and the client configuration that follows from them. What delivery rests on cannot be
//! overridden.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};

use super::overrides::apply_overrides;
use crate::edge::TopicRole;
use crate::edge::secret::Secret;
use crate::error::{Error, Result};

/// Where Kafka is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    pub client_id: String,
    pub security: Security,
    /// How long to wait for the first answer, and for each administrative request.
    pub connect_timeout_ms: u64,
    /// Any other property of librdkafka by its name, for both clients.
    pub librdkafka: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "threatguard".to_owned(),
            security: Security::default(),
            connect_timeout_ms: 10_000,
            librdkafka: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }
    fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// TLS and SASL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    pub protocol: Protocol,
    /// PEM file of the authorities that sign the brokers' certificates; the system's own ones without it.
    pub ca: Option<PathBuf>,
    /// PEM files of this client's certificate and key, for mutual TLS.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub key_password: Option<Secret>,
    pub mechanism: SaslMechanism,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// Where a group starts that has never committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    #[default]
    Earliest,
    Latest,
}

/// The input side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerSettings {
    pub topic: String,
    pub group: String,
    /// Only for partitions without a committed offset. A committed one that the log no longer has is an error, never a silent jump.
    pub start_at: StartAt,
    /// Memory for records that the client has fetched ahead, over all channels.
    pub fetch_ahead_bytes: u64,
    /// Batches that wait in each channel before reading is held back.
    pub channel_batches: usize,
    /// Events of one batch over all its partitions. What is published does not depend on it.
    pub batch_events: usize,
    pub session_timeout_ms: u64,
    /// How long a revoked partition may take to settle before it is given away regardless.
    pub drain_timeout_ms: u64,
    /// A name that stays over restarts makes a quick restart free of rebalances.
    pub instance_id: Option<String>,
    /// Reports [`crate::edge::LogEvent::End`] whenever a partition is read to its end.
    pub report_end: bool,
    /// After this long without a record from a partition that has some, a warning is logged.
    pub stall_warning_ms: u64,
    pub librdkafka: BTreeMap<String, String>,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            topic: "security.events.raw".to_owned(),
            group: "threatguard".to_owned(),
            start_at: StartAt::Earliest,
            fetch_ahead_bytes: 32 * 1024 * 1024,
            channel_batches: 4,
            // Few enough that a batch is still in the caches when it is scored, enough to pay for handing it over.
            batch_events: 2_048,
            // Longer than a transaction may stay open, short enough that a dead worker's share is another's within 15 s.
            session_timeout_ms: 12_000,
            drain_timeout_ms: 10_000,
            instance_id: None,
            report_end: false,
            stall_warning_ms: 60_000,
            librdkafka: BTreeMap::new(),
        }
    }
}

/// Names of the output topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicNames {
    pub threats: String,
    pub alerts: String,
    pub analytics: String,
    pub dead_letters: String,
    pub verdicts: String,
    pub rekeyed: String,
}

impl Default for TopicNames {
    fn default() -> Self {
        let name = |role: TopicRole| role.default_topic().to_owned();
        Self {
            threats: name(TopicRole::Threats),
            alerts: name(TopicRole::Alerts),
            analytics: name(TopicRole::Analytics),
            dead_letters: name(TopicRole::DeadLetters),
            verdicts: name(TopicRole::Verdicts),
            rekeyed: name(TopicRole::Rekeyed),
        }
    }
}

impl TopicNames {
    #[must_use]
    pub fn of(&self, role: TopicRole) -> &str {
        match role {
            TopicRole::Threats => &self.threats,
            TopicRole::Alerts => &self.alerts,
            TopicRole::Analytics => &self.analytics,
            TopicRole::DeadLetters => &self.dead_letters,
            TopicRole::Verdicts => &self.verdicts,
            TopicRole::Rekeyed => &self.rekeyed,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    #[default]
    Lz4,
    Zstd,
    Snappy,
    Gzip,
}

impl Compression {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
        }
    }
}

/// The output side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProducerSettings {
    pub topics: TopicNames,
    /// How long a record may wait for others to travel with.
    pub linger_ms: u64,
    pub compression: Compression,
    /// Memory for records on their way.
    pub queue_bytes: u64,
    /// How long `publish` waits for room in a full queue.
    pub queue_full_wait_ms: u64,
    /// After this long without acknowledgement a record counts as lost, and the publisher fails.
    pub delivery_timeout_ms: u64,
    /// After this long the brokers abort a transaction. Longer than a commit takes, shorter than the group's session.
    pub transaction_timeout_ms: u64,
    pub librdkafka: BTreeMap<String, String>,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            topics: TopicNames::default(),
            linger_ms: 5,
            compression: Compression::Lz4,
            queue_bytes: 256 * 1024 * 1024,
            queue_full_wait_ms: 1_000,
            delivery_timeout_ms: 120_000,
            transaction_timeout_ms: 10_000,
            librdkafka: BTreeMap::new(),
        }
    }
}

/// How long a held producer keeps back what nobody asks for.
const HELD_MS: u64 = 1_000;

impl KafkaSettings {
    /// What every client shares. `Config` names what contradicts itself.
    pub(super) fn client(&self) -> Result<ClientConfig> {
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(Error::config("no Kafka broker is named: give `host:port`"));
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", &self.client_id);
        config.set("socket.keepalive.enable", "true").set("socket.nagle.disable", "true");
        // The client's own pause between two tries to reach a broker that is away grows to ten seconds, which all wait out when it is back.
        config.set("reconnect.backoff.max.ms", "1000");
        // A connection that went silent is given up after this; the client's own minute would be a minute without detection.
        config.set("socket.timeout.ms", "10000");
        config.set_log_level(RDKafkaLogLevel::Notice);
        self.security.apply(&mut config)?;
        apply_overrides(&mut config, &self.librdkafka)?;
        Ok(config)
    }

    /// A group member that reads in batches through `channels` queues. `Config` names what contradicts itself.
    pub fn consumer(&self, consumer: &ConsumerSettings, channels: usize) -> Result<ClientConfig> {
        let mut config = self.client()?;
        let number = |value: u64| value.to_string();
        // The bound holds for each queue that messages are taken from; librdkafka counts in kilobytes.
        let ahead_kilobytes = (consumer.fetch_ahead_bytes / 1024 / channels.max(1) as u64).clamp(1_024, 2_097_151);
        config.set("group.id", &consumer.group).set("group.protocol", "classic");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        // Start offsets are given with the assignment; an offset that the log no longer has must be seen.
        config.set("auto.offset.reset", "error").set("isolation.level", "read_committed");
        // In a batch an end-of-partition event would move the client's position one too far; see native/consume.rs.
        config.set("enable.partition.eof", "false");
        config.set("session.timeout.ms", number(consumer.session_timeout_ms));
        config.set("heartbeat.interval.ms", number((consumer.session_timeout_ms / 10).clamp(100, 3_000)));
        // At the defaults the client stops fetching for up to a second once 100,000 messages wait.
        config.set("fetch.queue.backoff.ms", "5").set("queued.min.messages", "1000000");
        config.set("queued.max.messages.kbytes", number(ahead_kilobytes));
        config.set("fetch.wait.max.ms", "100").set("fetch.error.backoff.ms", "100");
        config.set("fetch.message.max.bytes", number((ahead_kilobytes * 1024 / 4).clamp(256 * 1024, 2 * 1024 * 1024)));
        if let Some(instance) = &consumer.instance_id {
            config.set("group.instance.id", instance);
        }
        apply_overrides(&mut config, &self.librdkafka)?;
        apply_overrides(&mut config, &consumer.librdkafka)?;
        Ok(config)
    }

    /// The idempotent producer. `Config` names what contradicts itself.
    pub fn producer(&self, producer: &ProducerSettings) -> Result<ClientConfig> {
        let mut config = self.client()?;
        let number = |value: u64| value.to_string();
        config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
        config.set("compression.type", producer.compression.as_str()).set("linger.ms", number(producer.linger_ms));
        config.set("batch.size", "1000000").set("batch.num.messages", "10000");
        config.set("queue.buffering.max.messages", "1000000");
        config.set("queue.buffering.max.kbytes", number((producer.queue_bytes / 1024).clamp(1_024, 2_097_151)));
        config.set("delivery.timeout.ms", number(producer.delivery_timeout_ms));
        config.set("delivery.report.only.error", "false");
        apply_overrides(&mut config, &self.librdkafka)?;
        apply_overrides(&mut config, &producer.librdkafka)?;
        Ok(config)
    }

    /// A producer that sends full batches by itself and everything else when it is told to ([`super::Publisher::hurry`]).
    ///
    /// An idempotent client has one request a partition on its way, and polls without a pause for its answer as soon as another record
    /// has waited for `linger.ms`. So it must not come to that: whoever knows when enough has gathered says so.
    pub fn held_producer(&self, producer: &ProducerSettings) -> Result<ClientConfig> {
        self.producer(&ProducerSettings { linger_ms: producer.linger_ms.max(HELD_MS), ..producer.clone() })
    }

    /// A producer of transactions under this name, which are flushed when they are committed. Failures alone are reported: a commit says that all went well.
    pub fn transactional_producer(&self, producer: &ProducerSettings, id: &str) -> Result<ClientConfig> {
        let mut config = self.held_producer(producer)?;
        let timeout_ms = producer.transaction_timeout_ms;
        config.set("transactional.id", id).set("transaction.timeout.ms", timeout_ms.to_string());
        config.set("delivery.timeout.ms", producer.delivery_timeout_ms.min(timeout_ms).to_string());
        config.set("delivery.report.only.error", "true");
        Ok(config)
    }
}

impl Security {
    fn apply(&self, config: &mut ClientConfig) -> Result<()> {
        config.set("security.protocol", self.protocol.as_str());
        let files = [
            ("ca", "ssl.ca.location", &self.ca),
            ("certificate", "ssl.certificate.location", &self.certificate),
            ("key", "ssl.key.location", &self.key),
        ];
        for (name, property, file) in files {
            let Some(path) = file else { continue };
            if !self.protocol.has_tls() {
                return Err(Error::config(format!("kafka security: `{name}` is given but the protocol is {}", self.protocol.as_str())));
            }
            std::fs::File::open(path)
                .map_err(|error| Error::config(format!("kafka security: cannot read `{name}` {}", path.display())).because(error))?;
            config.set(property, path.to_string_lossy());
        }
        if self.protocol.has_tls() && self.ca.is_none() {
            // The library's own TLS looks for authorities where it was built to be installed, which is nowhere.
            config.set("ssl.ca.location", "probe");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Error::config("kafka security: `certificate` and `key` belong together"));
        }
        if let Some(password) = &self.key_password {
            config.set("ssl.key.password", password.expose());
        }
        match (self.protocol.has_sasl(), &self.username, &self.password) {
            (true, Some(username), Some(password)) => {
                config.set("sasl.mechanism", self.mechanism.as_str());
                config.set("sasl.username", username).set("sasl.password", password.expose());
                Ok(())
            }
            (true, ..) => Err(Error::config(format!("kafka security: {} needs `username` and `password`", self.protocol.as_str()))),
            (false, None, None) => Ok(()),
            (false, ..) => {
                let protocol = self.protocol.as_str();
                Err(Error::config(format!("kafka security: a user is given but the protocol is {protocol}; did you mean sasl_ssl?")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut KafkaSettings), said: &str) {
        let mut settings = KafkaSettings::default();
        change(&mut settings);
        let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
        let text = settings.client().map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("hunter2") && !shown.contains("hunter2"), "{text} {shown}");
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let user = |s: &mut KafkaSettings| {
            s.security.username = Some("alice".to_owned());
            s.security.password = Some(Secret::new("hunter2"));
        };
        check(|_| (), "fine");
        check(|s| s.brokers = " ,".to_owned(), "no Kafka broker");
        check(|s| s.security.protocol = Protocol::SaslSsl, "needs `username` and `password`");
        check(user, "did you mean sasl_ssl");
        check(
            |s| {
                user(s);
                s.security.protocol = Protocol::SaslSsl;
            },
            "fine",
        );
        check(|s| s.security.ca = Some("/nowhere/ca.pem".into()), "protocol is plaintext");
        check(
            |s| {
                s.security.protocol = Protocol::Ssl;
                s.security.ca = Some("/nowhere/ca.pem".into());
            },
            "cannot read `ca` /nowhere/ca.pem",
        );
        check(|s| drop(s.librdkafka.insert("enable.auto.commit".to_owned(), "true".to_owned())), "cannot be overridden");
        check(|s| drop(s.librdkafka.insert("socket.timeout.ms".to_owned(), "9000".to_owned())), "fine");
    }

    #[test]
    fn the_client_accepts_every_property_that_we_set() {
        let mut settings = KafkaSettings::default();
        settings.security.protocol = Protocol::SaslSsl;
        settings.security.username = Some("alice".to_owned());
        settings.security.password = Some(Secret::new("hunter2"));
        let consumer = ConsumerSettings { instance_id: Some("one".to_owned()), ..ConsumerSettings::default() };
        settings.consumer(&consumer, 3).unwrap().create_native_config().unwrap();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip] {
            settings.producer(&ProducerSettings { compression, ..ProducerSettings::default() }).unwrap().create_native_config().unwrap();
        }
    }
}
