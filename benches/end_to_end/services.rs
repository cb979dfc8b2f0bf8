//! A Kafka and a Redis for the bench: those that were named, or its own, which it ends again.
//!
//! Must never clear a service that it has not started: what the bench leaves in a named one, it removes by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use threatguard::edge::kafka::KafkaSettings;
use threatguard::edge::redis::RedisSettings;
use threatguard::edge::secret::Secret;

/// By then the broker has removed the files of a topic that is gone (`file.delete.delay.ms` in `tests/services`).
const DELETE_WAIT: Duration = Duration::from_secs(2);
/// A round writes 8 GB, and the load of the latency is as large.
const MEMORY_MIN_KIB: u64 = 16 << 20;
const METADATA_WAIT: Duration = Duration::from_secs(10);

/// Addresses, and what has to be ended.
pub struct Services {
    pub kafka: KafkaSettings,
    pub redis: RedisSettings,
    redis_url: String,
    folder: Option<tempfile::TempDir>,
}

impl Services {
    /// Takes what is named here or in `THREATGUARD_TEST_KAFKA` and `THREATGUARD_TEST_REDIS`, and starts the rest.
    pub fn open(brokers: &str, redis: &str) -> Result<Self, String> {
        let (mut brokers, mut redis) = (named(brokers, "THREATGUARD_TEST_KAFKA"), named(redis, "THREATGUARD_TEST_REDIS"));
        let mut folder = None;
        if brokers.is_empty() || redis.is_empty() {
            let started = tempfile::tempdir_in(place()).map_err(|error| format!("no folder for the services: {error}"))?;
            script("start", started.path(), &brokers, &redis)?;
            let text =
                std::fs::read_to_string(started.path().join("env")).map_err(|error| format!("the services left no addresses: {error}"))?;
            let value =
                |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned();
            (brokers, redis) = (value("THREATGUARD_TEST_KAFKA"), value("THREATGUARD_TEST_REDIS"));
            folder = Some(started);
        }
        let kafka = KafkaSettings { brokers, client_id: "threatguard-bench".to_owned(), ..KafkaSettings::default() };
        let settings = RedisSettings { url: Secret::new(redis.clone()), ..RedisSettings::default() };
        Ok(Self { kafka, redis: settings, redis_url: redis, folder })
    }

    /// Ends what was started.
    pub fn close(self) -> Result<(), String> {
        self.folder.map_or(Ok(()), |folder| script("stop", folder.path(), "", ""))
    }

    /// Bytes that Redis has been sent since it was started.
    #[allow(dead_code)] // Not every bench asks.
    pub fn redis_bytes(&self) -> Result<u64, String> {
        let text = |error: redis::RedisError| format!("Redis does not say what it was sent: {error}");
        let client = redis::Client::open(self.redis_url.as_str()).map_err(text)?;
        let mut connection = client.get_connection().map_err(text)?;
        let info: String = redis::cmd("INFO").arg("stats").query(&mut connection).map_err(text)?;
        let line = info.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
        line.and_then(|line| line.trim().parse().ok()).ok_or_else(|| "Redis does not say what it was sent".to_owned())
    }

    /// Waits until the disk has what was written: else that would be written while something else is measured.
    pub fn settle(&self) -> Result<(), String> {
        std::thread::sleep(DELETE_WAIT);
        let status = Command::new("sync").status().map_err(|error| format!("cannot run sync: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("sync failed: {status}")) }
    }

    /// Host and port of each partition's leader.
    pub fn leaders(&self, topic: &str) -> Result<Vec<String>, String> {
        let text = |error: rdkafka::error::KafkaError| format!("no metadata of {topic}: {error}");
        let metadata = self.admin().map_err(text)?.inner().fetch_metadata(Some(topic), METADATA_WAIT).map_err(text)?;
        let named = |id: i32| metadata.brokers().iter().find(|broker| broker.id() == id);
        let address = |id: i32| named(id).map(|broker| format!("{}:{}", broker.host(), broker.port()));
        let topic = metadata.topics().first().ok_or("the topic is not there")?;
        topic
            .partitions()
            .iter()
            .map(|partition| address(partition.leader()).ok_or_else(|| "a partition has no leader".to_owned()))
            .collect()
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, rdkafka::error::KafkaError> {
        rdkafka::ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create()
    }

    /// Removes topics; those that are absent are no trouble.
    pub fn delete_topics(&self, topics: &[&str]) -> Result<(), String> {
        let text = |error: rdkafka::error::KafkaError| format!("cannot remove the bench's topics: {error}");
        let admin = self.admin().map_err(text)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        runtime.block_on(admin.delete_topics(topics, &AdminOptions::new())).map(drop).map_err(text)
    }

    /// Removes the states of one pipeline, by the prefix of their keys.
    pub fn delete_states(&self, pipeline: &str) -> Result<(), String> {
        let text = |error: redis::RedisError| format!("cannot remove the bench's states: {error}");
        let client = redis::Client::open(self.redis_url.as_str()).map_err(text)?;
        let mut connection = client.get_connection().map_err(text)?;
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("tg:{{{pipeline}.*")).arg("COUNT").arg(5_000);
            let (next, keys): (u64, Vec<String>) = scan.query(&mut connection).map_err(text)?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec(&mut connection).map_err(text)?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// Where the log of a Kafka of ours lies: in memory, where there is enough. What a disk that is shared with others does to its
/// writers, several times a second when segments of hundreds of megabytes are written back, is not what is measured.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free_kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    let in_memory = memory.is_dir() && free_kib >= MEMORY_MIN_KIB;
    let place = if in_memory { memory.to_owned() } else { std::env::temp_dir() };
    println!("the log of Kafka is in {}", place.display());
    place
}

#[allow(clippy::disallowed_methods)] // The tests' services are named by the environment.
fn named(argument: &str, variable: &str) -> String {
    if argument.is_empty() { std::env::var(variable).unwrap_or_default() } else { argument.to_owned() }
}

fn script(verb: &str, folder: &Path, brokers: &str, redis: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
    let mut command = Command::new(script);
    command.arg(verb).arg(folder).env("THREATGUARD_TEST_KAFKA", brokers).env("THREATGUARD_TEST_REDIS", redis);
    let status = command.status().map_err(|error| format!("cannot run tests/services: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("tests/services {verb} failed: {status}")) }
}
