//! One pipeline with a topic, a group and a Redis of its own, and events that come in pieces.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;

use crate::kafka_log;
use crate::process::{Done, finish, json, lines, summary, threatguard};
use crate::support;
use crate::support::redis_server::RedisServer;
use crate::workbench::{Found, Services, Workbench};

pub const PARTITIONS: u32 = 2;
const PIECE_EVENTS: usize = 1_500;

/// Events and models that all tests share.
struct Made {
    bench: Workbench,
    models: String,
    events: Vec<String>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let bench = Workbench::new();
    let input = bench.simulated("events.jsonl", &["--only", "network"]);
    let models = bench.trained("models", "network", &input, "threatguard");
    let events = lines(&bench.path("events.jsonl"));
    Made { bench, models, events }
});

pub struct Site {
    pub bench: Workbench,
    pub redis: RedisServer,
    pub services: Services,
    pub raw: String,
    pub pipeline: PathBuf,
    pub group: String,
}

impl Site {
    /// None, said plainly, where the services are missing.
    pub fn open(test: &str) -> Option<Self> {
        let kafka = support::kafka(test)?;
        let redis = RedisServer::start(test, &[])?;
        let url = redis.settings().url.expose().to_owned();
        let (bench, raw) = (Workbench::new(), support::fresh("state"));
        let pipeline = bench.pipeline("network", &raw, &raw);
        let services = Services { brokers: kafka.brokers, redis: url };
        Some(Self { bench, redis, services, group: raw.clone(), raw, pipeline })
    }

    /// The same log, with another group, other outputs and another Redis.
    pub fn beside(&self, test: &str, out: &str) -> Option<Self> {
        let redis = RedisServer::start(test, &[])?;
        let services = Services { brokers: self.services.brokers.clone(), redis: redis.settings().url.expose().to_owned() };
        let (bench, out) = (Workbench::new(), format!("{}.{out}", self.raw));
        let pipeline = bench.pipeline("network", &self.raw, &out);
        Some(Self { bench, redis, services, raw: self.raw.clone(), pipeline, group: out })
    }

    /// Sends this piece of the events to the log.
    pub fn send(&self, piece: usize) {
        self.send_these(&MADE.events[piece * PIECE_EVENTS..(piece + 1) * PIECE_EVENTS]);
    }

    /// Sends all of them, attacks included, and says how many there are.
    pub fn send_all(&self) -> usize {
        self.send_these(&MADE.events);
        MADE.events.len()
    }

    fn send_these(&self, events: &[String]) {
        let file = self.bench.write("piece.jsonl", events.join("\n"));
        self.services.replay(&self.pipeline, &file, "threatguard", &self.raw, PARTITIONS);
    }

    pub fn command(&self, more: &[&str]) -> std::process::Command {
        let given = ["--models", &MADE.models, "--codec", "threatguard"];
        let mut command = self.services.command(&self.pipeline, &self.group, &[&given, more].concat());
        command.env("THREATGUARD_KAFKA_PARTITIONS", PARTITIONS.to_string());
        command
    }

    /// A run to the end of the log; what it said, and its summary.
    pub fn run(&self, more: &[&str]) -> (Done, Value) {
        let file = self.bench.path("summary.json");
        let done = finish(&mut self.command(&[&["--once", "--summary", file.to_str().unwrap()], more].concat()), b"").ok();
        (done, summary(&file))
    }

    /// Everything that was published.
    pub fn found(&self) -> Found {
        kafka_log::found(&self.services.brokers, &self.group, Value::Null)
    }

    /// Where the correlation stands in the threats log, all partitions together.
    pub fn correlated(&self) -> u64 {
        let group = format!("{}.correlate", self.group);
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.services.brokers).set("group.id", &group).create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&format!("{}.threats", self.group), 0, PARTITIONS as i32 - 1);
        let committed = consumer.committed_offsets(partitions, Duration::from_secs(30)).unwrap();
        committed.elements().iter().filter_map(|element| element.offset().to_raw()).map(|offset| offset.max(0).unsigned_abs()).sum()
    }

    pub fn verdicts(&self) -> Vec<String> {
        let mut found = self.found().verdicts;
        found.sort_unstable();
        found
    }

    fn call(&self, words: &[&str]) -> Done {
        let mut command = threatguard(words);
        command.args(["--brokers", &self.services.brokers, "--redis", &self.services.redis, "--group-id", &self.group]);
        finish(command.arg("--pipeline").arg(&self.pipeline), b"")
    }
    pub fn state(&self, words: &[&str]) -> Done {
        self.call(&[&["state"], words].concat())
    }
    pub fn verify(&self, words: &[&str]) -> Done {
        self.call(&[&["verify"], words].concat())
    }

    pub fn inspect(&self) -> Value {
        json(&self.state(&["inspect", "--json"]).ok().out)
    }
    /// A number of all partitions together.
    pub fn sum(&self, name: &str) -> u64 {
        let shown = self.inspect();
        shown["partitions"].as_array().unwrap().iter().map(|partition| partition[name].as_u64().unwrap_or(0)).sum()
    }

    /// The findings of `state verify` and their exit code.
    #[track_caller]
    pub fn codes(&self) -> Vec<String> {
        let done = self.state(&["verify", "--json"]);
        let findings = json(&done.out);
        let codes: Vec<String> = findings.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(done.code, Some(i32::from(!codes.is_empty())), "{}", done.err);
        codes
    }

    /// Keys of Redis that hold entities.
    pub fn entity_keys(&self) -> Vec<String> {
        let keys: Vec<String> = redis::from_redis_value(self.redis.command(&["KEYS", "*:e:*"]).unwrap()).unwrap();
        assert!(!keys.is_empty());
        keys
    }
}

/// The folder of the shared events lives as long as the process.
pub fn event(number: usize) -> &'static str {
    assert!(MADE.bench.path("events.jsonl").is_file());
    &MADE.events[number]
}
