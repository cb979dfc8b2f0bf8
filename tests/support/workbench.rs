//! A folder for one test, with what runs of the program need: pipeline files with topics of their own, simulated events, models.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Done, finish, json, lines, run, summary, threatguard};
use crate::support;

pub const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// A pipeline file of the project as it is.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(PACKAGE).join(format!("pipelines/{name}.yaml"))
}

/// The folder of the real data, or none, said plainly.
pub fn data(test: &str) -> Option<PathBuf> {
    let named = std::env::var("THREATGUARD_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|_| Path::new(PACKAGE).join("../shared/data"));
    if !folder.is_dir() {
        println!("{test}: skipped, there is no data folder (THREATGUARD_DATA)");
        return None;
    }
    Some(folder)
}

pub struct Workbench(TempDir);

impl Workbench {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// Events of the small simulated company.
    pub fn simulated(&self, name: &str, arguments: &[&str]) -> String {
        let file = self.text(name);
        run(&[&["simulate", "--scenario", "small", "--out", &file], arguments].concat()).ok();
        file
    }

    /// A bundle learned from a file, by the shipped pipeline of this name.
    pub fn trained(&self, name: &str, pipeline: &str, input: &str, codec: &str) -> String {
        let folder = self.text(name);
        let pipeline = shipped(pipeline);
        run(&["train", "--pipeline", pipeline.to_str().unwrap(), "--input", input, "--codec", codec, "--out", &folder]).ok();
        folder
    }

    /// An embedded run to the end of its input. Everything that it wrote is in the folder `name`.
    pub fn embedded(&self, name: &str, pipeline: &Path, input: &str, more: &[&str]) -> (Done, Found) {
        let folder = self.text(name);
        let summary_file = self.text(&format!("{name}.json"));
        let mut command = threatguard(&["run", "--once", "--verdicts", "json", "--output", &folder, "--summary", &summary_file]);
        command.arg("--pipeline").arg(pipeline).args(["--input", input]).args(more);
        let done = finish(&mut command, b"");
        let read = |file: &str| {
            let path = self.path(name).join(file);
            if path.is_file() { lines(&path) } else { vec![] }
        };
        let found = Found {
            verdicts: read("verdicts.jsonl"),
            threats: read("threats.jsonl"),
            alerts: read("alerts.jsonl"),
            analytics: read("analytics.jsonl"),
            dead_letters: read("dead-letters.jsonl"),
            summary: if self.path(&format!("{name}.json")).is_file() { summary(&self.path(&format!("{name}.json"))) } else { Value::Null },
        };
        (done, found)
    }

    /// A copy of a shipped pipeline that reads `raw` and writes to topics that begin with `out`.
    pub fn pipeline(&self, name: &str, raw: &str, out: &str) -> PathBuf {
        let text = std::fs::read_to_string(shipped(name)).unwrap();
        let mut routed = text.replace("security.events.raw", raw).replace("security.events.by-user", &format!("{raw}.by-user"));
        for role in ROLES {
            let (old, new) = (format!(": security.{role}\n"), format!(": {out}.{role}\n"));
            assert!(routed.contains(&old), "{role}");
            routed = routed.replace(&old, &new);
        }
        let file = self.path(&format!("{name}-{out}.yaml"));
        std::fs::write(&file, routed).unwrap();
        file
    }
}

pub const ROLES: [&str; 5] = ["threats", "alerts", "analytics", "verdicts", "dead-letters"];

/// Everything that a run published, a JSON record a line.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub verdicts: Vec<String>,
    pub threats: Vec<String>,
    pub alerts: Vec<String>,
    pub analytics: Vec<String>,
    pub dead_letters: Vec<String>,
    pub summary: Value,
}

impl Found {
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.summary))
    }
    /// How often each reason is among the dead letters.
    pub fn reasons(&self) -> std::collections::BTreeMap<String, usize> {
        let mut reasons = std::collections::BTreeMap::new();
        for line in &self.dead_letters {
            let reason = json(line)["reason"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
            *reasons.entry(reason).or_default() += 1;
        }
        reasons
    }
}

/// Where Kafka and Redis are, for the binary.
pub struct Services {
    pub brokers: String,
    pub redis: String,
}

impl Services {
    /// What `tests/run` has started, or none, said plainly. Each test takes a Redis database of its own.
    pub fn find(test: &str, database: u8) -> Option<Self> {
        let (kafka, redis) = (support::kafka(test)?, support::redis_url(test)?);
        let url = redis.expose();
        let server = url.rsplit_once('/').filter(|(server, _)| server.contains("://") && !server.ends_with('/')).map_or(url, |(s, _)| s);
        Some(Self { brokers: kafka.brokers, redis: format!("{server}/{database}") })
    }
    /// The same Redis, another database.
    pub fn with_database(&self, database: u8) -> Self {
        let server = self.redis.rsplit_once('/').unwrap().0;
        Self { brokers: self.brokers.clone(), redis: format!("{server}/{database}") }
    }

    /// Sends a file to a topic with this many partitions.
    pub fn replay(&self, file: &Path, input: &str, codec: &str, topic: &str, partitions: u32) {
        let mut command = threatguard(&["replay", "--brokers", &self.brokers, "--topic", topic, "--input", input, "--codec", codec]);
        command.arg("--pipeline").arg(file).env("THREATGUARD_KAFKA_PARTITIONS", partitions.to_string());
        finish(&mut command, b"").ok();
    }

    /// `run` on Kafka and Redis with a group of its own.
    pub fn command(&self, pipeline: &Path, group: &str, more: &[&str]) -> Command {
        let mut command = threatguard(&["run", "--brokers", &self.brokers, "--redis", &self.redis, "--group-id", group]);
        command.args(["--listen", "127.0.0.1:0"]).arg("--pipeline").arg(pipeline).args(more);
        command
    }
}
