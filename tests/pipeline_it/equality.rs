//! Scenario: the same events through the embedded run and through Kafka and Redis, cut in every way a log can be cut, and with the
//! process killed on the way.
//! Guarantees: the same verdicts, threats and alerts whatever the batches, partitions and shards; with the same partitions the same
//! bytes, ids included; after kill -9 nothing missing, and what is delivered twice is identical.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::kafka_log::{self, Ends};
use crate::process::{Running, finish, json, summary};
use crate::support;
use crate::workbench::{Found, Services, Workbench, data, shipped};

/// One input and how it is read.
struct Case {
    bench: Workbench,
    name: &'static str,
    pipeline: &'static str,
    codec: &'static str,
    input: String,
    models: String,
}

impl Case {
    fn simulated(name: &'static str, pipeline: &'static str, only: Option<&str>) -> Self {
        let bench = Workbench::new();
        let only = only.map_or_else(Vec::new, |family| vec!["--only", family]);
        let input = bench.simulated("events.jsonl", &only);
        let benign = bench.simulated("benign.jsonl", &[&["--benign", "--seed", "7"], only.as_slice()].concat());
        let models = bench.trained("models", pipeline, &benign, "threatguard");
        Self { bench, name, pipeline, codec: "threatguard", input, models }
    }

    /// A file of the data folder, which is learned from as well.
    fn real(name: &'static str, pipeline: &'static str, codec: &'static str, input: PathBuf) -> Self {
        let (bench, input) = (Workbench::new(), input.to_str().unwrap().to_owned());
        let models = bench.trained("models", pipeline, &input, codec);
        Self { bench, name, pipeline, codec, input, models }
    }

    fn embedded(&self, name: &str, more: &[&str]) -> Found {
        let given = ["--codec", self.codec, "--models", &self.models];
        let (done, found) = self.bench.embedded(name, &shipped(self.pipeline), &self.input, &[&given, more].concat());
        done.ok();
        found
    }

    /// The file in a topic of its own; returns the topic and its pipeline file.
    fn replayed(&self, services: &Services, partitions: u32) -> (String, PathBuf) {
        let raw = support::fresh(self.name);
        let pipeline = self.bench.pipeline(self.pipeline, &raw, &raw);
        services.replay(&pipeline, &self.input, self.codec, &raw, partitions);
        (raw, pipeline)
    }

    /// A run to the end of topic `raw`, with outputs and a group under the name `out`.
    fn streamed(&self, services: &Services, raw: &str, out: &str, partitions: u32, more: &[&str]) -> Found {
        let pipeline = self.bench.pipeline(self.pipeline, raw, out);
        let file = self.bench.path(&format!("{out}.json"));
        let given = ["--once", "--verdicts", "json", "--codec", self.codec, "--models", &self.models, "--summary", file.to_str().unwrap()];
        let mut command = services.command(&pipeline, out, &[&given, more].concat());
        finish(command.env("THREATGUARD_KAFKA_PARTITIONS", partitions.to_string()), b"").ok();
        kafka_log::found(&services.brokers, out, summary(&file))
    }
}

/// What a verdict says, apart from where in the log its event was.
fn verdict(line: &str) -> String {
    let mut record = json(line);
    record.as_object_mut().unwrap().remove("position").unwrap();
    record.to_string()
}

/// A detected threat apart from its id and the place of its evidence. Resolved ones follow the clock of the threats log.
fn threat(line: &str) -> Option<String> {
    let mut record = json(line);
    let data = record["data"].as_object_mut().unwrap();
    data.remove("id").unwrap();
    data.remove("evidence").unwrap();
    (record["type"] == "threat.detected").then(|| record.to_string())
}

/// Alerts apart from their ids, which are places of threats in the threats log, with what is comparable of each of their threats.
fn alerts(found: &Found) -> Vec<String> {
    let id = |line: &str| json(line)["data"]["id"].to_string();
    let named: BTreeMap<String, String> = found.threats.iter().filter_map(|line| Some((id(line), threat(line)?))).collect();
    let comparable = |line: &String| {
        let mut record = json(line);
        let data = record["data"].as_object_mut().unwrap();
        data.remove("id").unwrap();
        for threat in data["threats"].as_array_mut().unwrap() {
            *threat = named[&threat.to_string()].as_str().into();
        }
        record.to_string()
    };
    found.alerts.iter().map(comparable).collect()
}

fn dead_letter(line: &str) -> String {
    let record = json(line);
    format!("{} {} {}", record["reason"], record["detail"], record["raw"])
}

/// Equal as multisets; the first difference is shown, not all of them.
#[track_caller]
fn assert_same(what: &str, mut left: Vec<String>, mut right: Vec<String>) {
    left.sort_unstable();
    right.sort_unstable();
    let place = left.iter().zip(&right).position(|(a, b)| a != b).unwrap_or(left.len().min(right.len()));
    assert!(
        left == right,
        "{what}: {} and {} records, first difference\n{:?}\n{:?}",
        left.len(),
        right.len(),
        left.get(place),
        right.get(place)
    );
}

#[track_caller]
fn assert_same_results(what: &str, left: &Found, right: &Found) {
    for name in ["received", "scored", "late", "deadLettered", "threats", "alerts"] {
        assert_eq!(left.count(name), right.count(name), "{what}: {name}");
    }
    let verdicts = |found: &Found| found.verdicts.iter().map(|line| verdict(line)).collect();
    assert_same(&format!("{what}, verdicts"), verdicts(left), verdicts(right));
    let threats = |found: &Found| found.threats.iter().filter_map(|line| threat(line)).collect();
    assert_same(&format!("{what}, threats"), threats(left), threats(right));
    assert_same(&format!("{what}, alerts"), alerts(left), alerts(right));
    let dead = |found: &Found| found.dead_letters.iter().map(|line| dead_letter(line)).collect();
    assert_same(&format!("{what}, dead letters"), dead(left), dead(right));
}

/// The embedded run is the measure: nothing about the cutting of the log may change what is found.
fn check(test: &str, database: u8, case: impl FnOnce() -> Option<Case>) {
    let Some(services) = Services::find(test, database) else { return };
    let Some(case) = case() else { return };
    let whole = case.embedded("whole", &[]);
    assert!(whole.count("received") > 500 && whole.verdicts.len() as u64 == whole.count("scored"), "{}", whole.summary);
    let cut = case.embedded("cut", &["--batch-events", "100"]);
    assert_same_results("batches of 100 in files", &whole, &cut);
    // One partition either way: to the byte, ids included. Only when a decay is noticed depends on the batches.
    assert!(whole.verdicts == cut.verdicts && whole.alerts == cut.alerts && whole.analytics == cut.analytics, "files are equal");
    assert_same("batches of 100 in files, threats to the byte", whole.threats.clone(), cut.threats);
    for (partitions, shards, more) in [(1, "1", &[] as &[&str]), (4, "1", &["--batch-events", "37"]), (4, "3", &[])] {
        let (raw, _) = case.replayed(&services, partitions);
        let found = case.streamed(&services, &raw, &raw, partitions, &[&["--shards", shards], more].concat());
        let what = format!("{partitions} partitions, {shards} shards");
        assert_same_results(&what, &whole, &found);
        println!(
            "{test}: {} events, {} threats, {} alerts: equal on {partitions} partitions, {shards} shards {more:?}",
            found.count("received"),
            found.count("threats"),
            found.count("alerts"),
        );
    }
}

#[test]
fn simulated_traffic_is_judged_alike_however_the_log_is_cut() {
    check("simulated_traffic_is_judged_alike", 1, || Some(Case::simulated("sim", "network", None)));
}

#[test]
fn simulated_users_are_judged_alike_however_the_log_is_cut() {
    check("simulated_users_are_judged_alike", 2, || Some(Case::simulated("users", "identity", Some("identity"))));
}

#[test]
fn real_traffic_is_judged_alike_however_the_log_is_cut() {
    let test = "real_traffic_is_judged_alike";
    check(test, 3, || {
        let file = data(test)?.join("stratosphere-zeek/008-zeek-mixed/conn.log.labeled.gz");
        Some(Case::real("zeek", "network", "zeek", file))
    });
}

#[test]
fn real_log_ins_are_judged_alike_however_the_log_is_cut() {
    let test = "real_log_ins_are_judged_alike";
    check(test, 4, || Some(Case::real("auth", "identity", "syslog", data(test)?.join("syslog-auth/elastic_auth.log.gz"))));
}

/// What has to be the same to the byte. Alerts are but for their ids: those follow the threats log, whose order over partitions is free.
fn bytes(found: &Found) -> [(&'static str, &Vec<String>); 3] {
    [("verdicts", &found.verdicts), ("threats", &found.threats), ("dead letters", &found.dead_letters)]
}

fn detected(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !line.starts_with("{\"type\":\"threat.resolved\"")).cloned().collect()
}

#[test]
fn the_same_log_gives_the_same_bytes_and_ids_also_after_kill_9() {
    const PARTITIONS: u32 = 2;
    let Some(services) = Services::find("the_same_log_gives_the_same_bytes", 5) else { return };
    let case = Case::simulated("bytes", "network", None);
    let (raw, _) = case.replayed(&services, PARTITIONS);
    let first = case.streamed(&services, &raw, &format!("{raw}.first"), PARTITIONS, &[]);
    // Another group with a state of its own reads the same records.
    let second = case.streamed(&services.with_database(6), &raw, &format!("{raw}.second"), PARTITIONS, &["--batch-events", "300"]);
    for ((what, left), (_, right)) in bytes(&first).into_iter().zip(bytes(&second)) {
        assert_same(&format!("two runs, {what}"), detected(left), detected(right));
    }
    assert_same("two runs, alerts", alerts(&first), alerts(&second));
    assert!(!first.alerts.is_empty() && !detected(&first.threats).is_empty());
    killed_and_restarted(&case, &services.with_database(7), &raw, PARTITIONS, &first);
}

/// Kills a run at three places of the log, lets the next one go on, and compares with a run that was left alone.
fn killed_and_restarted(case: &Case, services: &Services, raw: &str, partitions: u32, whole: &Found) {
    let out = format!("{raw}.killed");
    let pipeline = case.bench.pipeline(case.pipeline, raw, &out);
    // A dead member's partitions are free after its session; the default of 12 s would be most of this test.
    let config =
        case.bench.write("short-session.yaml", "kafka: { overrides: { session.timeout.ms: '1500', heartbeat.interval.ms: '300' } }\n");
    let given = ["--codec", case.codec, "--models", &case.models, "--config", &config];
    let quick = ["--checkpoint-interval", "100ms", "--batch-events", "64", "--verdicts", "json"];
    let (ends, topic, total) = (Ends::new(&services.brokers), format!("{out}.verdicts"), whole.verdicts.len() as u64);
    for share in [10, 4, 2] {
        let mut command = services.command(&pipeline, &out, &[given.as_slice(), &quick].concat());
        let mut running = Running::start(command.env("THREATGUARD_KAFKA_PARTITIONS", partitions.to_string()));
        crate::process::until("verdicts before the kill", || (ends.records(&topic, partitions) >= total / share).then_some(()));
        running.kill();
    }
    let before = ends.records(&topic, partitions);
    let rest = case.streamed(services, raw, &out, partitions, &["--config", &config]);
    assert!(rest.count("received") > 0 && before < total, "killed on the way: {before} of {total} verdicts, then {}", rest.summary);
    for ((what, left), (_, right)) in bytes(whole).into_iter().zip(bytes(&rest)) {
        let (left, right): (BTreeSet<String>, BTreeSet<String>) =
            (detected(left).into_iter().collect(), detected(right).into_iter().collect());
        let lost = left.difference(&right).next();
        let other = right.difference(&left).next();
        assert!(left == right, "{what} after kill -9: lost {lost:?}, not the same {other:?}");
    }
    let set = |found| alerts(found).into_iter().collect::<BTreeSet<String>>();
    assert_eq!(set(whole), set(&rest), "alerts after kill -9");
    println!("kill -9 at a tenth, a quarter and half: {} verdicts for {total} events, duplicates identical", rest.verdicts.len());
}
