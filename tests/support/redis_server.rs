//! A private redis-server on a free port that a test may configure, kill and start again.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use threatguard::edge::clock::Deadline;
use threatguard::edge::redis::RedisSettings;
use threatguard::edge::secret::Secret;

pub struct RedisServer {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts with these arguments after ours; says so and returns none where redis-server is not installed.
    pub fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { child: None, folder: tempfile::tempdir().unwrap(), port, arguments };
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("{test}: skipped, redis-server is not installed; tests/run installs it");
            return None;
        }
        server.start_again();
        Some(server)
    }

    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Deadline::after(Duration::from_secs(10));
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(!deadline.passed(), "redis-server did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it by its process id, without a goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: Secret::new(format!("redis://127.0.0.1:{}/0", self.port)),
            connect_timeout_ms: 1_000,
            ..RedisSettings::default()
        }
    }

    /// Runs a command as an administrator would.
    pub fn command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.settings().url.expose()).unwrap().get_connection().unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
