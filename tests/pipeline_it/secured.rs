//! Scenario: Kafka and Redis listen with TLS and want passwords or certificates; users give the right ones, and wrong ones.
//! Guarantees: with the right ones everything is as without; with wrong ones each verb ends within seconds, with an exit code that
//! says whose fault it is and a text that says what to change. No password is ever shown, at whatever log level.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use threatguard::edge::clock;

use crate::cluster::Cluster;
use crate::kafka_log;
use crate::process::{Done, finish, json, lines, summary, threatguard};
use crate::support::redis_server::RedisServer;
use crate::workbench::Workbench;

const PARTITIONS: u32 = 2;
/// Each attempt that cannot succeed ends after ten seconds or earlier; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(45);
const WRONG: &str = "wrong:%2f#hunter2";
const RAW: &str = "secured";

struct Site {
    cluster: Cluster,
    bench: Workbench,
    models: String,
}

/// A password as part of an address.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Site {
    fn tls(&self, file: &str) -> String {
        format!("{}/{file}", self.cluster.secured("TLS"))
    }

    /// A service file: Kafka's listener of this name, and what goes under `kafka`; Redis with its CA.
    fn service(&self, name: &str, listener: &str, kafka: &str) -> String {
        let text = format!(
            "brokers: {}\nkafka:\n  partitions: {PARTITIONS}\n  {kafka}\nredis_tls: {{ ca: {} }}\nverdicts: json\nshards: 1\n",
            self.cluster.secured(listener),
            self.tls("ca.pem")
        );
        self.bench.write(&format!("{name}.yaml"), text)
    }

    fn sasl(&self, mechanism: &str, user: &str, password: &str, ca: &str) -> String {
        format!("tls: {{ enabled: true{ca} }}\n  sasl: {{ mechanism: {mechanism}, username: {user}, password: '{password}' }}")
    }

    fn ca(&self) -> String {
        format!(", ca: {}", self.tls("ca.pem"))
    }

    fn redis(&self, scheme: &str, password: &str, database: u8) -> String {
        format!("{scheme}://{}:{}@{}/{database}", self.cluster.secured("USER"), encoded(password), self.cluster.secured("REDIS"))
    }

    /// The Redis that is right, under this number.
    fn database(&self, database: u8) -> String {
        self.redis("rediss", &self.cluster.secured("REDIS_PASSWORD"), database)
    }

    /// A verb under a service file, with Redis's address where only the process's owner can read it.
    fn command(&self, verb: &[&str], pipeline: &Path, service: &str, redis: &str) -> Command {
        let mut command = threatguard(verb);
        command.args(["--config", service, "--group-id", RAW]).arg("--pipeline").arg(pipeline).env("THREATGUARD_REDIS", redis);
        command
    }

    fn run(&self, pipeline: &Path, service: &str, redis: &str, more: &[&str]) -> Command {
        let mut command = self.command(&["run", "--once", "--codec", "threatguard"], pipeline, service, redis);
        command.args(["--listen", "127.0.0.1:0", "--models", &self.models]).args(more);
        command
    }

    /// No password in anything that was said, in whatever form.
    fn discreet(&self, done: &Done) {
        let passwords = [self.cluster.secured("KAFKA_PASSWORD"), self.cluster.secured("REDIS_PASSWORD"), WRONG.to_owned()];
        for password in &passwords {
            let tail = password.rsplit('#').next().unwrap();
            for said in [&done.out, &done.err] {
                assert!(!said.contains(tail) && !said.contains(&encoded(tail)), "a password is shown: {said}");
            }
        }
    }

    fn done(&self, mut command: Command) -> Done {
        let done = finish(&mut command, b"");
        self.discreet(&done);
        done
    }

    /// A whole run with the outputs where they belong, and looked at from outside.
    fn works(&self, name: &str, database: u8, service: &str, variables: &[(&str, &str)]) {
        let (pipeline, file) = (self.bench.pipeline("network", RAW, name), self.bench.path(&format!("{name}.json")));
        let redis = self.database(database);
        let with = |mut command: Command| {
            command.args(["--group-id", name]).envs(variables.iter().copied());
            self.done(command)
        };
        let verb = |verb: &[&str]| {
            let mut command = threatguard(verb);
            command.args(["--config", service]).arg("--pipeline").arg(&pipeline).env("THREATGUARD_REDIS", &redis);
            with(command).ok()
        };
        let mut run = threatguard(&["run", "--once", "--codec", "threatguard", "--listen", "127.0.0.1:0", "--models", &self.models]);
        run.args(["--config", service, "--summary", file.to_str().unwrap()]).arg("--pipeline").arg(&pipeline);
        run.env("THREATGUARD_REDIS", &redis);
        with(run).ok();
        let found = kafka_log::found(&self.cluster.brokers, name, summary(&file));
        let total = lines(&self.bench.path("events.jsonl")).len() as u64;
        assert_eq!((found.count("received"), found.count("deadLettered")), (total, 1), "{}", found.summary);
        assert_eq!(found.verdicts.len() as u64, found.count("scored"), "{}", found.summary);
        assert!(!found.threats.is_empty() && found.dead_letters.len() == 1, "{}", found.summary);
        assert_eq!(self.committed(&format!("{name}.network")), total);
        let state = json(&verb(&["state", "inspect", "--json"]).out);
        assert!(state.to_string().contains("checkpoint"), "{state}");
        verb(&["state", "verify"]);
        verb(&["verify"]);
    }

    /// Records before what the group has committed; transactions leave no marks in the input.
    fn committed(&self, group: &str) -> u64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.cluster.brokers).set("group.id", group).create().unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_range(RAW, 0, PARTITIONS as i32 - 1);
        let offsets = consumer.committed_offsets(list, BOUND).unwrap();
        offsets.elements().iter().map(|element| element.offset().to_raw().unwrap().unsigned_abs()).sum()
    }

    /// It ends in time with this code, says all of this and no password.
    fn fails(&self, command: Command, code: i32, said: &[&str]) {
        let begun = clock::now();
        self.done(command).fails(code, said);
        assert!(begun.elapsed() < BOUND, "{said:?} after {:?}", begun.elapsed());
    }
}

fn site(test: &str) -> Option<Site> {
    let cluster = Cluster::start_secured(test)?;
    let bench = Workbench::new();
    let events = bench.simulated("events.jsonl", &["--only", "network"]);
    let models = bench.trained("models", "network", &events, "threatguard");
    let text = std::fs::read_to_string(&events).unwrap() + "no event\n";
    bench.write("events.jsonl", text);
    Some(Site { cluster, bench, models })
}

#[test]
fn kafka_and_redis_with_tls_and_passwords() {
    let Some(site) = site("kafka_and_redis_with_tls") else { return };
    let (user, password) = (site.cluster.secured("USER"), site.cluster.secured("KAFKA_PASSWORD"));
    let scram = site.service("scram", "SASL", &site.sasl("SCRAM-SHA-512", &user, &password, &site.ca()));
    let plain = site.service("plain", "SASL", &format!("tls: {{ enabled: true{} }}", site.ca()));
    let certificate = format!(", certificate: {}, key: {}", site.tls("client.pem"), site.tls("client.key"));
    let mutual = site.service("mutual", "MUTUAL", &format!("tls: {{ enabled: true{}{certificate} }}", site.ca()));
    let events = site.bench.text("events.jsonl");
    let mut replay = threatguard(&["replay", "--config", &scram, "--topic", RAW, "--input", &events, "--codec", "threatguard"]);
    replay.arg("--pipeline").arg(site.bench.pipeline("network", RAW, "replayed"));
    site.done(replay).ok();
    let given = [
        ("THREATGUARD_KAFKA_SASL_MECHANISM", "PLAIN"),
        ("THREATGUARD_KAFKA_SASL_USERNAME", user.as_str()),
        ("THREATGUARD_KAFKA_SASL_PASSWORD", password.as_str()),
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| site.works("scram-512", 1, &scram, &[]));
        scope.spawn(|| site.works("scram-256", 2, &scram, &[("THREATGUARD_KAFKA_SASL_MECHANISM", "SCRAM-SHA-256")]));
        scope.spawn(|| site.works("plain", 3, &plain, &given));
        scope.spawn(|| site.works("mutual", 4, &mutual, &[]));
        scope.spawn(|| refused_by_kafka(&site));
        scope.spawn(|| refused_by_redis(&site, &scram));
    });
    redis_wants_a_certificate(&site, &scram);
}

fn refused_by_kafka(site: &Site) {
    let (user, password) = (site.cluster.secured("USER"), site.cluster.secured("KAFKA_PASSWORD"));
    let pipeline = site.bench.pipeline("network", RAW, "refused");
    let redis = site.database(9);
    let config = |name: &str, listener: &str, kafka: &str| site.service(name, listener, kafka);
    let sasl = |mechanism: &str, user: &str, password: &str, ca: &str| site.sasl(mechanism, user, password, ca);
    let run = |service: &str| site.run(&pipeline, service, &redis, &[]);
    let address = site.cluster.secured("SASL");
    let refuses = [address.as_str(), "refuses user", "kafka.sasl"];
    let untrusted = [address.as_str(), "is not trusted", "kafka.tls.ca"];
    let no_tls = ["no TLS with Kafka", "kafka.tls"];
    let stranger = format!(", ca: {}", site.tls("stranger.pem"));

    let wrong = config("wrong", "SASL", &sasl("SCRAM-SHA-512", &user, WRONG, &site.ca()));
    let wrong_plain = config("wrong-plain", "SASL", &sasl("PLAIN", &user, WRONG, &site.ca()));
    let nobody = config("nobody", "SASL", &sasl("SCRAM-SHA-512", "nobody", &password, &site.ca()));
    let unknown = config("unknown", "SASL", &sasl("SCRAM-SHA-512", &user, &password, &stranger));
    let default = config("default", "SASL", &sasl("SCRAM-SHA-512", &user, &password, ""));
    let unprotected = config("unprotected", "SASL", "linger: 5ms");
    let bare = config("bare", "MUTUAL", &format!("tls: {{ enabled: true{} }}", site.ca()));
    let text = std::fs::read_to_string(&wrong).unwrap().replace(&address, &site.cluster.brokers);
    let open = site.bench.write("open.yaml", text);
    std::thread::scope(|scope| {
        scope.spawn(|| site.fails(run(&wrong), 2, &refuses));
        scope.spawn(|| site.fails(run(&wrong_plain), 2, &refuses));
        scope.spawn(|| site.fails(run(&nobody), 2, &[address.as_str(), "refuses user", "nobody"]));
        scope.spawn(|| site.fails(run(&unknown), 2, &untrusted));
        scope.spawn(|| site.fails(run(&unprotected), 3, &[address.as_str(), "speaks plaintext", "kafka.tls"]));
        scope.spawn(|| site.fails(run(&bare), 2, &no_tls));
        scope.spawn(|| site.fails(run(&open), 3, &["speaks sasl_ssl", "PLAINTEXT"]));
        scope.spawn(|| site.fails(site.command(&["verify"], &pipeline, &wrong, &redis), 2, &refuses));
        scope.spawn(|| site.fails(site.command(&["state", "inspect"], &pipeline, &unknown, &redis), 2, &untrusted));
        scope.spawn(|| loudly(site, &pipeline, &default, &wrong));
    });
}

/// Whatever is told of the clients' doings, no password is; and the authorities of the system are looked for where they are.
fn loudly(site: &Site, pipeline: &Path, default: &str, wrong: &str) {
    let loud = |service: &str| {
        let text = std::fs::read_to_string(service).unwrap();
        let louder = text.replace("  partitions", "  overrides: { debug: 'security,broker,conf,protocol' }\n  partitions");
        let file = format!("{service}.loud.yaml");
        std::fs::write(&file, louder + "log: { level: trace }\n").unwrap();
        file
    };
    let system = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    let found: &[&str] = if system.is_file() { &["is not trusted", "/etc/ssl/certs"] } else { &["is not trusted"] };
    let redis = site.database(9);
    site.fails(site.run(pipeline, &loud(default), &redis, &[]), 2, found);
    site.fails(site.run(pipeline, &loud(wrong), &redis, &[]), 2, &["refuses user", "SASL"]);
    let mut show = threatguard(&["config", "show", "--config", wrong]);
    show.env("THREATGUARD_REDIS", &redis);
    let shown = site.done(show).ok().out;
    assert!(shown.contains("rediss://***@") && shown.contains("SCRAM-SHA-512"), "{shown}");
}

fn refused_by_redis(site: &Site, service: &str) {
    let pipeline = site.bench.pipeline("network", RAW, "no-redis");
    let (address, password) = (site.cluster.secured("REDIS"), site.cluster.secured("REDIS_PASSWORD"));
    let Some(open) = RedisServer::start("redis-without-tls", &[]) else { return };
    let without_tls = format!("rediss://:{}@127.0.0.1:{}/0", encoded(WRONG), open.port());
    let strange = std::fs::read_to_string(service).unwrap().replace("redis_tls: { ca: ", "redis_tls: { ca: STRANGER");
    let strange = strange.replace(&format!("STRANGER{}", site.tls("ca.pem")), &site.tls("stranger.pem"));
    let strange = site.bench.write("strange.yaml", strange);
    let bare: String = std::fs::read_to_string(service)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("redis_tls"))
        .fold(String::new(), |all, line| all + line + "\n");
    let bare = site.bench.write("bare-redis.yaml", bare);
    let untrusted = [address.as_str(), "certificate is not trusted", "redis_tls.ca"];
    let run = |service: &str, redis: &str| site.run(&pipeline, service, redis, &[]);
    std::thread::scope(|scope| {
        scope.spawn(|| site.fails(run(service, &site.redis("rediss", WRONG, 0)), 2, &[&address, "user or password"]));
        scope.spawn(|| site.fails(run(&strange, &site.database(0)), 2, &untrusted));
        scope.spawn(|| site.fails(run(&bare, &site.database(0)), 2, &untrusted));
        scope.spawn(|| site.fails(run(&bare, &site.redis("redis", &password, 0)), 3, &[&address, "rediss://"]));
        scope.spawn(|| site.fails(run(service, &site.redis("redis", &password, 0)), 2, &["redis_tls", "rediss://"]));
        scope.spawn(|| site.fails(run(service, &without_tls), 2, &["does not speak TLS", "redis://"]));
        scope.spawn(|| site.fails(site.command(&["state", "inspect"], &pipeline, &strange, &site.database(0)), 2, &untrusted));
    });
}

fn redis_wants_a_certificate(site: &Site, service: &str) {
    let client = redis::Client::build_with_tls(
        site.database(0),
        redis::TlsCertificates { client_tls: None, root_cert: Some(std::fs::read(site.tls("ca.pem")).unwrap()) },
    );
    let mut connection = client.unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "tls-auth-clients", "yes"]).exec(&mut connection).unwrap();
    let pipeline = site.bench.pipeline("network", RAW, "scram-512");
    let inspect = |service: &str| {
        let mut command = threatguard(&["state", "inspect", "--config", service, "--group-id", "scram-512"]);
        command.arg("--pipeline").arg(&pipeline).env("THREATGUARD_REDIS", site.database(1));
        command
    };
    // Its refusal may be overtaken by the end of the connection, which a start of Redis looks like too.
    let refused = site.done(inspect(service));
    assert!(matches!(refused.code, Some(2 | 3)) && refused.err.contains("`certificate` and `key` under redis_tls"), "{}", refused.err);
    let text = std::fs::read_to_string(service).unwrap();
    let certificate = format!("redis_tls: {{ certificate: {}, key: {}, ca", site.tls("client.pem"), site.tls("client.key"));
    let known = site.bench.write("known.yaml", text.replace("redis_tls: { ca", &certificate));
    site.done(inspect(&known)).ok();
}
