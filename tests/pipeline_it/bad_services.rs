//! Scenario: brokers, topics and Redis that are absent, refuse, or go on the way.
//! Guarantees: an error in bounded time that names the address or topic and what to change, with exit code 2 where the configuration
//! is wrong and 3 where the other side is away; what was not settled comes again, nothing is lost.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use threatguard::edge::clock;

use crate::kafka_log::{self, Ends};
use crate::process::{Done, Running, finish, json, run, summary, threatguard, until};
use crate::service::get;
use crate::support;
use crate::support::redis_server::RedisServer;
use crate::workbench::{Services, Workbench, shipped};

const EVENT: &str = r#"{"source_ip":"10.0.0.1","event_type":"flow","timestamp":"2026-03-03T09:00:00Z"}"#;

/// A loopback address that nobody listens on.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn on_kafka(brokers: &str, more: &[&str]) -> Done {
    let pipeline = shipped("network");
    let given = ["run", "--once", "--listen", "127.0.0.1:0", "--pipeline", pipeline.to_str().unwrap(), "--brokers", brokers];
    run(&[&given, more].concat())
}

#[test]
fn an_absent_broker_is_named_in_bounded_time() {
    let address = nobody();
    let begun = clock::now();
    on_kafka(&address, &[]).fails(3, &[&address]);
    let bench = Workbench::new();
    let events = bench.write("events.jsonl", EVENT);
    run(&["replay", "--input", &events, "--codec", "threatguard", "--brokers", &address]).fails(3, &[&address]);
    assert!(begun.elapsed() < Duration::from_secs(60), "each gives up after about ten seconds");
}

#[test]
fn absent_topics_are_named_where_they_may_not_be_made() {
    let Some(services) = Services::find("absent_topics_are_named", 9) else { return };
    let (bench, raw) = (Workbench::new(), support::fresh("absent"));
    let pipeline = bench.pipeline("network", &raw, &raw);
    let mut command = services.command(&pipeline, &raw, &["--once"]);
    finish(command.env("THREATGUARD_KAFKA_CREATE_TOPICS", "false"), b"").fails(2, &[&raw]);
}

#[test]
fn a_redis_that_is_absent_or_unfit_is_named() {
    let test = "a_redis_that_is_absent_or_unfit";
    let nobody = nobody();
    let brokers = nobody.clone();
    on_kafka(&brokers, &["--redis", &format!("redis://:hush-hush@{nobody}/0")]).fails(3, &[&nobody]);
    let check = |arguments: &[&str], prepare: &[&str], user: &str, said: &str| {
        let Some(server) = RedisServer::start(test, arguments) else { return };
        if !prepare.is_empty() {
            server.command(prepare).unwrap();
        }
        let url = format!("redis://{user}127.0.0.1:{}/0", server.port());
        let done = on_kafka(&brokers, &["--redis", &url]).fails(2, &[said, &format!("127.0.0.1:{}", server.port())]);
        assert!(!done.err.contains("hush-hush"), "{}", done.err);
    };
    check(&["--maxmemory-policy", "allkeys-lru"], &[], "", "noeviction");
    check(&["--replicaof", "127.0.0.1 1"], &[], "", "read-only");
    let reader = ["ACL", "SETUSER", "reader", "on", ">hush-hush", "~*", "+@read", "+info", "+ping"];
    check(&[], &reader, "reader:hush-hush@", "lacks a right");
    check(&["--requirepass", "other"], &[], ":hush-hush@", "");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let pipeline = shipped("network");
    let on_kafka = run(&["run", "--pipeline", pipeline.to_str().unwrap(), "--brokers", &nobody(), "--listen", &address]);
    on_kafka.fails(2, &[&address]);
    let bench = Workbench::new();
    let events = bench.write("events.jsonl", EVENT);
    bench.embedded("out", &pipeline, &events, &["--listen", &address]).0.fails(2, &[&address]);
    on_wrong_address(&pipeline);
}

fn on_wrong_address(pipeline: &Path) {
    let done = run(&["run", "--pipeline", pipeline.to_str().unwrap(), "--brokers", "127.0.0.1:9", "--listen", "nowhere"]);
    done.fails(2, &["listen: write an address and a port"]);
}

#[test]
fn a_redis_that_turns_read_only_on_the_way_costs_nothing() {
    let test = "a_redis_that_turns_read_only";
    let Some(services) = Services::find(test, 0) else { return };
    let Some(server) = RedisServer::start(test, &[]) else { return };
    let services = Services { redis: format!("redis://127.0.0.1:{}/0", server.port()), ..services };
    let bench = Workbench::new();
    let input = bench.simulated("events.jsonl", &["--only", "network"]);
    let models = bench.trained("models", "network", &input, "threatguard");
    let raw = support::fresh("read-only");
    let pipeline = bench.pipeline("network", &raw, &raw);
    let all = crate::process::lines(Path::new(&input));
    let first = bench.write("first.jsonl", all[..1_000].join("\n"));
    let total = 1_000 + all.len();
    services.replay(&pipeline, &first, "threatguard", &raw, 1);
    let given = ["--models", &models, "--verdicts", "json", "--batch-events", "64", "--checkpoint-interval", "100ms"];

    let mut command = services.command(&pipeline, &raw, &given);
    let mut running = Running::start(command.env("THREATGUARD_KAFKA_PARTITIONS", "1"));
    // From here on it holds its connections; what it is told when it opens them is another test's matter.
    let listening = running.line_after("listening on http://").parse().unwrap();
    until("it is ready", || (get(listening, "/health/ready").0 == 200).then_some(()));
    let (ends, verdicts) = (Ends::new(&services.brokers), format!("{raw}.verdicts"));
    // What a fail-over looks like: the master becomes a replica and, later, a master again.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    services.replay(&pipeline, &input, "threatguard", &raw, 1);
    running.line_after("the state store is away");
    running.line_after("is a read-only replica");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    until("every verdict", || (ends.records(&verdicts, 1) >= total as u64).then_some(()));
    assert_eq!(running.terminate(Duration::from_secs(10)), Some(0), "{:#?}", running.said);

    let file = bench.path("summary.json");
    let again = [given.as_slice(), &["--once", "--summary", file.to_str().unwrap()]].concat();
    finish(services.command(&pipeline, &raw, &again).env("THREATGUARD_KAFKA_PARTITIONS", "1"), b"").ok();
    let found = kafka_log::found(&services.brokers, &raw, summary(&file));
    assert_eq!(found.count("received"), 0, "everything was stored and committed");
    let offsets: BTreeSet<u64> = found.verdicts.iter().map(|line| json(line)["position"]["offset"].as_u64().unwrap()).collect();
    assert_eq!((offsets.len(), found.verdicts.len()), (total, total), "one verdict for each event");
}

#[test]
fn a_run_without_any_input_says_what_to_give() {
    let pipeline = shipped("network");
    run(&["run", "--pipeline", pipeline.to_str().unwrap()]).fails(2, &["--input", "--brokers"]);
    let mut command = threatguard(&["run", "--pipeline", pipeline.to_str().unwrap(), "--brokers", "127.0.0.1:9", "--codec", "auto"]);
    finish(command.args(["--listen", "127.0.0.1:0"]), b"").fails(2, &["name the codec"]);
}
