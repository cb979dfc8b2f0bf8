//! The service configuration: brokers, Redis, where it listens, how much it may use. Flag over environment over file over default.
//!
//! Secrets never appear in what is shown, logged or serialized.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Path, Problem};
use crate::core::settings::Span;
use crate::edge::kafka::{Compression, RESERVED, SaslMechanism};
use crate::edge::secret::{Secret, redact_url};

/// Where and how ThreatGuard runs: `threatguard.yaml`, `THREATGUARD_*` and flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// Kafka's bootstrap servers, `host:port`. Without any, ThreatGuard runs embedded: files in, files out.
    pub brokers: Brokers,
    /// `redis://[user:password@]host:port[/database]`, or `rediss://` for TLS.
    pub redis: Option<RedisUrl>,
    pub redis_tls: RedisTls,
    /// Kafka's consumer group is this and the pipeline's name.
    pub group_id: String,
    pub kafka: KafkaSettings,
    /// Address of `/health`, `/health/ready` and `/metrics`. Port 0 takes any free one and prints it.
    pub listen: String,
    /// Folder of model bundles. Without one a pipeline learns from its first events.
    pub models: Option<PathBuf>,
    /// Folder of the results in embedded mode.
    pub output: PathBuf,
    /// Whether a verdict of every event is published, and how.
    pub verdicts: Verdicts,
    /// Threads that score, each with its own partitions; 0 is one a core.
    pub shards: usize,
    /// What the state of all entities may take.
    pub memory: Bytes,
    /// What a crash may do to the outputs: nothing, or repeat some.
    pub delivery: Delivery,
    /// How often outputs and offsets are committed; readers that skip what is not committed see outputs so much later.
    pub commit_interval: Span,
    /// Names this process among those of its group, the same after a restart. No two may share it. The host's name where left out.
    pub instance: Option<String>,
    /// How often changed state is written behind.
    pub checkpoint_interval: Span,
    /// How long a shutdown may take.
    pub shutdown: Span,
    pub log: LogSettings,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            brokers: Brokers(vec![]),
            redis: None,
            redis_tls: RedisTls::default(),
            group_id: "threatguard".into(),
            kafka: KafkaSettings::default(),
            listen: "127.0.0.1:3002".into(),
            models: None,
            output: PathBuf::from("threatguard-out"),
            verdicts: Verdicts::None,
            shards: 0,
            memory: Bytes(1 << 30),
            delivery: Delivery::ExactlyOnce,
            commit_interval: Span { micros: 50_000 },
            instance: None,
            checkpoint_interval: Span::seconds(5),
            shutdown: Span::seconds(10),
            log: LogSettings::default(),
        }
    }
}

/// The Kafka client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// How long the producer waits to fill a batch.
    pub linger: Span,
    pub compression: Compression,
    /// Make missing topics at the start.
    pub create_topics: bool,
    /// Partitions of every topic. Where left out, new ones get the broker's default and others may have any number.
    pub partitions: Option<u32>,
    /// Replicas of topics that are made; the broker's default where left out.
    pub replication: Option<u16>,
    pub tls: TlsSettings,
    pub sasl: SaslSettings,
    /// Any other setting of librdkafka, such as `client.rack: eu-1a`.
    pub overrides: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            linger: Span { micros: 5_000 },
            compression: Compression::Lz4,
            create_topics: true,
            partitions: None,
            replication: None,
            tls: TlsSettings::default(),
            sasl: SaslSettings::default(),
            overrides: BTreeMap::new(),
        }
    }
}

/// TLS towards Kafka. The broker's name is always verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    pub enabled: bool,
    /// PEM file of the authorities to trust; the system's where left out.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub key_password: Option<Secret>,
}

/// TLS towards Redis, where its address begins with `rediss://`. The server's name is always verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTls {
    /// PEM file of the authorities to trust; public ones where left out.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// SASL towards Kafka.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SaslSettings {
    pub mechanism: Option<SaslMechanism>,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// What Kafka's readers may rely on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Outputs, dead letters and offsets in one transaction: readers with `isolation.level=read_committed` see each output once.
    #[default]
    ExactlyOnce,
    /// Outputs, then offsets: after a crash the same outputs, with the same ids, may come again. Outputs show sooner.
    AtLeastOnce,
}

/// The host's name, which a stateful deployment keeps.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "threatguard".to_owned())
}

/// How a verdict of every event is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdicts {
    /// Not at all.
    #[default]
    None,
    /// One JSON record an event.
    Json,
    /// Arrow IPC record batches.
    Arrow,
}

/// Structured logs, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,threatguard::edge=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Json,
    Pretty,
}

/// Bootstrap servers: a list, or one text with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "ListOrText")]
pub struct Brokers(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum ListOrText {
    List(Vec<String>),
    Text(String),
}

impl<'de> Deserialize<'de> for Brokers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = match ListOrText::deserialize(deserializer)? {
            ListOrText::List(list) => list,
            ListOrText::Text(text) => text.split(',').map(String::from).collect(),
        };
        Ok(Self(list.into_iter().map(|broker| broker.trim().to_owned()).filter(|broker| !broker.is_empty()).collect()))
    }
}

/// An address of Redis. Shown without its password.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// With the password, for the client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A size: `512MiB`, `1GiB`, `2GB`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 7] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("", 1)];

impl std::str::FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let scale = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, scale)| *scale);
        let count = digits.trim_end().parse::<u64>().ok();
        let bytes = scale.zip(count).and_then(|(scale, count)| count.checked_mul(scale));
        bytes.map(Self).ok_or_else(|| format!("'{}' is not a size: write 512MiB, 1GiB or a number of bytes", text.escape_debug()))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().filter(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale)).max_by_key(|(_, scale)| *scale);
        let (name, scale) = unit.unwrap_or(&("", 1));
        write!(f, "{}{name}", self.0 / scale)
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(bytes) => Ok(Self(bytes)),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"], "minimum": 0, "description": "A size: 512MiB, 1GiB or a number of bytes." })
    }
}

/// What the types cannot say. Paths are keys of the service configuration.
#[must_use]
pub(super) fn problems(set: &ServiceSettings) -> Vec<Problem> {
    let mut found = vec![];
    let mut require = |fine: bool, keys: &str, message: &str| {
        if !fine {
            found.push(Problem::new(keys.split('.').fold(Path::default(), |path, key| path.key(key)), message));
        }
    };
    let host_port = |text: &String| text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    require(set.brokers.0.iter().all(host_port), "brokers", "write every broker as host:port");
    let redis = set.redis.as_ref().map_or("redis://", RedisUrl::expose);
    require(
        ["redis://", "rediss://"].iter().any(|scheme| redis.starts_with(scheme)),
        "redis",
        "write redis://host:6379 or rediss://host:6379",
    );
    require(set.listen.parse::<std::net::SocketAddr>().is_ok(), "listen", "write an address and a port, such as 127.0.0.1:3002 or [::1]:0");
    let group = &set.group_id;
    require(!group.is_empty() && group.len() <= 200 && !group.contains(char::is_control), "group_id", "write 1 to 200 characters");
    let is_name = |name: &String| !name.is_empty() && name.len() <= 100 && !name.contains(char::is_control);
    require(set.instance.as_ref().is_none_or(is_name), "instance", "write 1 to 100 characters");
    require(set.shards <= 1_024, "shards", "write at most 1024");
    require(set.memory >= Bytes(64 << 20), "memory", "write at least 64MiB");
    let spans = [
        ("checkpoint_interval", set.checkpoint_interval, 100_000, 600_000_000, "write 100ms to 10m"),
        ("commit_interval", set.commit_interval, 5_000, 5_000_000, "write 5ms to 5s"),
        ("shutdown", set.shutdown, 1_000_000, 600_000_000, "write 1s to 10m"),
        ("kafka.linger", set.kafka.linger, 0, 1_000_000, "write 0ms to 1s"),
    ];
    for (keys, span, least, most, message) in spans {
        require((least..=most).contains(&span.micros), keys, message);
    }
    require(set.kafka.partitions.is_none_or(|count| (1..=10_000).contains(&count)), "kafka.partitions", "write 1 to 10000");
    require(set.kafka.replication.is_none_or(|count| (1..=16).contains(&count)), "kafka.replication", "write 1 to 16");
    let sasl = &set.kafka.sasl;
    let complete = sasl.mechanism.is_some() == (sasl.username.is_some() && sasl.password.is_some());
    require(complete, "kafka.sasl", "mechanism, username and password go together");
    let tls = &set.kafka.tls;
    require(tls.certificate.is_some() == tls.key.is_some(), "kafka.tls", "certificate and key go together");
    let redis_tls = &set.redis_tls;
    require(redis_tls.certificate.is_some() == redis_tls.key.is_some(), "redis_tls", "certificate and key go together");
    let is_used = set.redis.is_none() || redis.starts_with("rediss://");
    require(is_used || *redis_tls == RedisTls::default(), "redis_tls", "needs a `redis` that begins with rediss://");
    let files = [
        ("kafka.tls.ca", &tls.ca),
        ("kafka.tls.certificate", &tls.certificate),
        ("kafka.tls.key", &tls.key),
        ("redis_tls.ca", &redis_tls.ca),
        ("redis_tls.certificate", &redis_tls.certificate),
        ("redis_tls.key", &redis_tls.key),
    ];
    for (keys, file) in files {
        require(file.as_ref().is_none_or(|file| file.is_file()), keys, "there is no such file");
    }
    for reserved in set.kafka.overrides.keys().filter(|key| RESERVED.contains(&key.as_str())) {
        found
            .push(Problem::new(Path::default().key("kafka").key("overrides").key(reserved), "is set by ThreatGuard and not to be changed"));
    }
    if let Err(failure) = tracing_subscriber::EnvFilter::try_new(&set.log.level) {
        found.push(Problem::new(Path::default().key("log").key("level"), format!("is no level or filter: {failure}")));
    }
    found
}
