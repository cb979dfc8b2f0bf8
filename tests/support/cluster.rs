//! A Kafka of a test's own, whose brokers it may end and start again; `tests/services` does the work.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::workbench::PACKAGE;

pub struct Cluster {
    folder: TempDir,
    pub brokers: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: the broker hands its partitions over first.
    Clean,
    /// SIGKILL.
    Hard,
}

impl Cluster {
    /// So many brokers. With `proxied`, the one broker names this port as its address to whoever comes through it.
    /// None, said plainly, where tests run without services.
    pub fn start(test: &str, brokers: usize, proxied: Option<u16>) -> Option<Self> {
        support::kafka(test)?;
        let folder = tempfile::tempdir().unwrap();
        let count = brokers.to_string();
        let port = proxied.map(|port| port.to_string());
        let mut arguments = vec!["--brokers", &count];
        if let Some(port) = &port {
            arguments.extend(["--proxied", port]);
        }
        Some(Self::begin(folder, &arguments))
    }

    /// One broker that also listens with TLS and passwords, and a Redis that listens with nothing else. Where and how, see
    /// [`Self::secured`].
    pub fn start_secured(test: &str) -> Option<Self> {
        support::kafka(test)?;
        Some(Self::begin(tempfile::tempdir().unwrap(), &["--secured"]))
    }

    fn begin(folder: TempDir, arguments: &[&str]) -> Self {
        let mut cluster = Self { folder, brokers: String::new() };
        cluster.services("start", arguments);
        cluster.brokers = cluster.read("kafka.address");
        cluster
    }

    /// What `tests/services` says of this under THREATGUARD_TEST_SECURED_ and this name; of Redis, its address.
    pub fn secured(&self, name: &str) -> String {
        if name == "REDIS" {
            return self.read("redis.address").trim_start_matches("rediss://").trim_end_matches("/0").to_owned();
        }
        let (text, lead) = (self.read("secured"), format!("THREATGUARD_TEST_SECURED_{name}="));
        text.lines().find_map(|line| line.strip_prefix(&lead)).unwrap().trim_matches('\'').to_owned()
    }

    /// Where the proxied listener really is.
    pub fn behind(&self) -> String {
        self.read("kafka-1.behind")
    }

    pub fn halt(&self, node: usize, how: Stop) {
        let name = format!("kafka-{node}");
        let more: &[&str] = if how == Stop::Hard { &["--hard"] } else { &[] };
        self.services("halt", &[&[name.as_str()], more].concat());
    }

    pub fn resume(&self, node: usize) {
        self.services("resume", &[&format!("kafka-{node}")]);
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap().trim().to_owned()
    }

    fn services(&self, verb: &str, more: &[&str]) {
        let mut command = Command::new(Path::new(PACKAGE).join("tests/services"));
        command.arg(verb).arg(self.folder.path()).args(more);
        if more.contains(&"--secured") {
            command.env_remove("THREATGUARD_TEST_REDIS");
        }
        let done = command.env_remove("THREATGUARD_TEST_KAFKA").output().unwrap();
        assert!(done.status.success(), "tests/services {verb} {more:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.services("stop", &[]);
    }
}
