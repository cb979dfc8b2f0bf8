//! One pipeline under test: its own topics, group, Redis, events and models, how its workers are started and its input is fed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use threatguard::edge::clock::{self, Deadline};
use threatguard::edge::kafka::{KafkaSettings, TopicSpec, ensure_topics};

use crate::follower::Follower;
use crate::length::size;
use crate::log::{self, Isolation};
use crate::process::{Running, finish, summary, threatguard};
use crate::support;
use crate::support::redis_server::RedisServer;
use crate::workbench::{ROLES, Services, Workbench};

/// Short, so that a dead worker's partitions are soon another's; still many heartbeats. What is long runs as it is shipped.
const SHORT_SESSION: &str = "kafka: { overrides: { session.timeout.ms: '3000', heartbeat.interval.ms: '300' } }\n";
const AS_SHIPPED: &str = "delivery: exactly_once\n";
/// What is long takes the longest simulation there is, of about eight million events; what is short has this many at most.
const SMALL_EVENTS: u64 = 120_000;

/// How long a worker may be silent before its partitions are another's.
pub fn session() -> Duration {
    Duration::from_secs(size(3, 12))
}

/// What a test needs beside the ordinary.
#[derive(Clone, Copy, Default)]
pub struct Plan<'a> {
    pub partitions: u32,
    pub events: u64,
    /// Arguments of its Redis.
    pub redis: &'a [&'a str],
    /// Bootstrap servers of a Kafka of its own.
    pub kafka: Option<&'a str>,
    pub replicas: Option<u16>,
}

pub struct Deployment {
    pub test: String,
    pub bench: Workbench,
    /// For the test's own clients.
    pub brokers: String,
    /// For the workers, who may have to come through a proxy.
    pub services: Services,
    pub redis: RedisServer,
    pub raw: String,
    pub partitions: u32,
    pub events: String,
    pub models: String,
    /// The log holds exactly the file of events, so an embedded run has to say the same.
    pub is_plain: bool,
    pipeline: PathBuf,
    config: String,
}

impl Deployment {
    /// None, said plainly, where there are no services.
    pub fn new(test: &str, plan: &Plan<'_>) -> Option<Self> {
        let brokers = support::kafka(test)?.brokers;
        let brokers = plan.kafka.map_or(brokers, str::to_owned);
        let redis = RedisServer::start(test, plan.redis)?;
        let bench = Workbench::new();
        let scenario: &[&str] = if plan.events > SMALL_EVENTS { &["--scenario", "month", "--scale", "2"] } else { &["--scale", "4"] };
        let events = bench.write("events.jsonl", "");
        simulate(&events, plan.events, scenario);
        let benign = bench.simulated("benign.jsonl", &["--benign", "--seed", "7", "--only", "network"]);
        let models = bench.trained("models", "network", &benign, "threatguard");
        let raw = support::fresh(test);
        let pipeline = bench.pipeline("network", &raw, &raw);
        let config = bench.write("service.yaml", size(SHORT_SESSION, AS_SHIPPED));
        let services = Services { brokers: brokers.clone(), redis: format!("redis://127.0.0.1:{}/0", redis.port()) };
        let new = Self {
            test: test.to_owned(),
            bench,
            brokers,
            services,
            redis,
            raw,
            partitions: plan.partitions,
            events,
            models,
            is_plain: true,
            pipeline,
            config,
        };
        let names = ROLES.iter().map(|role| new.topic(role)).chain([new.raw.clone()]);
        new.make_topics(names, plan.replicas);
        Some(new)
    }

    pub fn make_topics(&self, names: impl Iterator<Item = String>, replicas: Option<u16>) {
        let kafka = KafkaSettings { brokers: self.brokers.clone(), ..KafkaSettings::default() };
        let spec = |name| TopicSpec { partitions: Some(self.partitions), replication: replicas, ..TopicSpec::named(name) };
        ensure_topics(&kafka, &names.map(spec).collect::<Vec<_>>()).unwrap();
    }

    /// The topic of one of its outputs.
    pub fn topic(&self, role: &str) -> String {
        format!("{}.{role}", self.raw)
    }

    /// A worker of this name.
    pub fn command(&self, name: &str, more: &[&str]) -> Command {
        let given = ["--models", &self.models, "--config", &self.config, "--verdicts", "json", "--shards", "1", "--codec", "threatguard"];
        let paced = ["--checkpoint-interval", "500ms"];
        let mut command = self.services.command(&self.pipeline, &self.raw, &[given.as_slice(), &paced, more].concat());
        command.env("THREATGUARD_KAFKA_PARTITIONS", self.partitions.to_string()).env("THREATGUARD_INSTANCE", name);
        command
    }

    /// The same pipeline over the same log, with a group, a Redis and outputs of its own, to the end and undisturbed.
    pub fn undisturbed(&self) -> (String, RedisServer) {
        let out = format!("{}.whole", self.raw);
        let redis = RedisServer::start(&self.test, &[]).unwrap();
        let services = Services { brokers: self.brokers.clone(), redis: format!("redis://127.0.0.1:{}/0", redis.port()) };
        let pipeline = self.bench.pipeline("network", &self.raw, &out);
        let (file, ends) = (self.bench.text("whole.json"), self.input_ends());
        let given =
            ["--models", &self.models, "--verdicts", "json", "--codec", "threatguard", "--once", "--shards", "2", "--summary", &file];
        let mut command = services.command(&pipeline, &out, &given);
        let done = finish(command.env("THREATGUARD_KAFKA_PARTITIONS", self.partitions.to_string()), b"").ok();
        let received = &summary(std::path::Path::new(&file))["received"];
        assert_eq!(*received, ends.iter().sum::<i64>(), "the undisturbed run stopped early, of {ends:?}: {}", done.err);
        (out, redis)
    }

    /// Digests of the verdicts of an embedded run over the file of events, without their positions.
    pub fn embedded_verdicts(&self) -> Option<Vec<u128>> {
        let folder = self.is_plain.then(|| self.bench.text("embedded"))?;
        let given = ["run", "--once", "--verdicts", "json", "--codec", "threatguard", "--listen", "127.0.0.1:0"];
        let mut command = threatguard(&given);
        command.arg("--pipeline").arg(&self.pipeline).args(["--models", &self.models, "--input", &self.events, "--output", &folder]);
        finish(&mut command, b"").ok();
        let file = std::fs::File::open(std::path::Path::new(&folder).join("verdicts.jsonl")).unwrap();
        let lines = std::io::BufRead::split(std::io::BufReader::new(file), b'\n');
        Some(lines.map(|line| log::body(&line.unwrap())).collect())
    }

    pub fn follow(&self) -> Follower {
        Follower::start(&self.brokers, &self.topic("verdicts"), self.partitions)
    }

    /// Sends its events at so many a second.
    pub fn feed(&self, per_second: u64) -> Feed {
        self.feed_file(&self.events, per_second)
    }

    pub fn feed_file(&self, file: &str, per_second: u64) -> Feed {
        let rate = per_second.to_string();
        let mut command = threatguard(&["replay", "--brokers", &self.brokers, "--topic", &self.raw, "--input", file, "--rate", &rate]);
        command.args(["--codec", "threatguard"]).arg("--pipeline").arg(&self.pipeline);
        command.env("THREATGUARD_KAFKA_PARTITIONS", self.partitions.to_string());
        Feed(Running::start(&mut command))
    }

    /// The ends of the input log now.
    pub fn input_ends(&self) -> Vec<i64> {
        log::ends(&self.brokers, &self.raw, self.partitions, Isolation::Committed)
    }

    /// Whether more comes into every partition of the input log within `patience`.
    pub fn grows_past(&self, ends: &[i64], patience: Duration) -> bool {
        let deadline = Deadline::after(patience);
        loop {
            if self.input_ends().iter().zip(ends).all(|(now, then)| now > then) {
                return true;
            }
            if deadline.passed() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the group has committed.
    pub fn committed(&self) -> Vec<i64> {
        let consumer = log::client(&self.brokers, Isolation::Committed, &format!("{}.network", self.raw));
        log::committed(&consumer, &self.raw, self.partitions)
    }
}

/// The first so many events of the simulator; it stops when nobody reads on.
fn simulate(file: &str, events: u64, scenario: &[&str]) {
    let mut simulator = threatguard(&[&["simulate", "--only", "network", "--seed", "11"], scenario].concat()).spawn().unwrap();
    let from = std::io::BufReader::new(simulator.stdout.take().unwrap());
    let mut to = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let mut written = 0;
    for line in std::io::BufRead::lines(from).map_while(Result::ok).take(events as usize) {
        std::io::Write::write_all(&mut to, line.as_bytes()).and_then(|()| std::io::Write::write_all(&mut to, b"\n")).unwrap();
        written += 1;
    }
    simulator.kill().ok();
    simulator.wait().unwrap();
    assert_eq!(written, events, "the simulator has fewer");
}

/// The replay that is under way.
pub struct Feed(Running);

impl Feed {
    pub fn is_over(&mut self) -> bool {
        self.0.child.try_wait().unwrap().is_some()
    }

    /// Waits until everything is in the log.
    pub fn finish(mut self, patience: Duration) {
        let deadline = Deadline::after(patience);
        while !self.is_over() {
            assert!(!deadline.passed(), "the replay takes too long: {:#?}", self.0.heard());
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = self.0.child.wait().unwrap();
        assert!(status.success(), "the replay failed: {:#?}", self.0.heard());
    }
}

/// Sleeps in a test's thread; faults need time to be felt.
pub fn pause(time: Duration) {
    let begun = clock::now();
    while begun.elapsed() < time {
        std::thread::sleep((time - begun.elapsed().min(time)).min(Duration::from_millis(50)));
    }
}
