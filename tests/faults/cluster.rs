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
        let mut cluster = Self { folder, brokers: String::new() };
        cluster.services("start", &arguments);
        cluster.brokers = cluster.read("kafka.address");
        Some(cluster)
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
        let done = command.env_remove("THREATGUARD_TEST_KAFKA").output().unwrap();
        assert!(done.status.success(), "tests/services {verb} {more:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.services("stop", &[]);
    }
}
