//! Scenario: a pipeline on Kafka and Redis follows a registry, and other versions are promoted while events flow; once left alone, once
//! with kill -9 before, at and after each promotion.
//! Guarantees: nothing is lost and nothing comes twice; every verdict and every threat names its models; in each partition versions
//! change in the order of their promotion and never back; every verdict and threat is what the embedded run says with that version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use threatguard::models::bundle::Bundle;
use threatguard::models::bundle_files;

use crate::kafka_log::{self, Ends};
use crate::process::{Running, finish, json, lines, run, summary, until};
use crate::support;
use crate::workbench::{Found, Services, Workbench};

const PARTITIONS: u32 = 3;
/// Pieces of the input, produced one after the other, so that events flow for as long as a test takes.
const PIECES: usize = 24;

/// What is looked for in a log of verdicts or threats: the event, the version, and all that was said.
type Said = BTreeMap<(String, String), String>;

struct Site {
    bench: Workbench,
    services: Services,
    raw: String,
    pipeline: PathBuf,
    input: String,
    /// In the order of their promotion.
    versions: Vec<String>,
}

impl Site {
    /// `versions` makes bundles of the first one, which is trained here.
    fn new(services: Services, versions: impl Fn(&Workbench, &Bundle) -> Vec<Bundle>) -> Self {
        let bench = Workbench::new();
        let input = bench.simulated("events.jsonl", &["--only", "network"]);
        let benign = bench.simulated("benign.jsonl", &["--only", "network", "--benign", "--seed", "7"]);
        let folder = bench.trained("trained", "network", &benign, "threatguard");
        let trained = bundle_files::load(Path::new(&folder)).unwrap();
        let raw = support::fresh("swap");
        let pipeline = bench.pipeline("network", &raw, &raw);
        let bundles = [vec![trained.clone()], versions(&bench, &trained)].concat();
        let versions = bundles.iter().map(|bundle| bundle.manifest.version.clone()).collect();
        for bundle in &bundles {
            let folder = bench.path(&bundle.manifest.version);
            bundle_files::save(bundle, &folder).unwrap();
            run(&["model", "add", folder.to_str().unwrap(), "--models", &bench.text("registry")]).ok();
        }
        let site = Self { bench, services, raw, pipeline, input, versions };
        site.promote(0);
        // Before the first run, which would give the topic stamps of its own: events are to be stamped as in the embedded run.
        site.produce(&site.pieces()[0]);
        site
    }

    fn promote(&self, version: usize) {
        run(&["model", "promote", &self.versions[version], "--models", &self.bench.text("registry")]).ok();
    }

    fn start(&self, more: &[&str]) -> Running {
        let registry = self.bench.text("registry");
        let given = ["--models", &registry, "--verdicts", "json", "--checkpoint-interval", "200ms"];
        let mut command = self.services.command(&self.pipeline, &self.raw, &[&given, more].concat());
        Running::start(command.env("THREATGUARD_KAFKA_PARTITIONS", PARTITIONS.to_string()))
    }

    /// The input in pieces of whole lines.
    fn pieces(&self) -> Vec<String> {
        let all = lines(Path::new(&self.input));
        let pieces = all.chunks(all.len().div_ceil(PIECES)).enumerate();
        pieces.map(|(number, piece)| self.bench.write(&format!("piece-{number}.jsonl"), piece.join("\n") + "\n")).collect()
    }

    fn produce(&self, piece: &str) {
        self.services.replay(&self.pipeline, piece, "threatguard", &self.raw, PARTITIONS);
    }

    /// Runs to the end of the topic and reads everything that was published.
    fn rest(&self, more: &[&str]) -> Found {
        let (file, registry) = (self.bench.path("rest.json"), self.bench.text("registry"));
        let given = ["--once", "--verdicts", "json", "--models", &registry, "--summary", file.to_str().unwrap()];
        let mut command = self.services.command(&self.pipeline, &self.raw, &[&given, more].concat());
        finish(command.env("THREATGUARD_KAFKA_PARTITIONS", PARTITIONS.to_string()), b"").ok();
        kafka_log::found(&self.services.brokers, &self.raw, summary(&file))
    }

    /// What embedded runs say of the input, each with one version from beginning to end.
    fn expected(&self) -> (Said, Said, usize) {
        let (mut verdicts, mut threats, mut events) = (Said::new(), Said::new(), 0);
        for version in &self.versions {
            let models = self.bench.text(version);
            let given = ["--codec", "threatguard", "--models", &models];
            let (done, found) = self.bench.embedded(&format!("whole-{version}"), &self.pipeline, &self.input, &given);
            done.ok();
            events = found.verdicts.len();
            verdicts.extend(found.verdicts.iter().map(|line| verdict(&json(line))));
            threats.extend(threats_of(&found, version));
        }
        (verdicts, threats, events)
    }

    /// Everything that the guarantees say.
    fn check(&self, found: &Found) {
        let (verdicts, threats, events) = self.expected();
        assert_eq!(found.verdicts.len(), events, "one verdict an event");
        let (mut places, mut by_partition) = (BTreeSet::new(), BTreeMap::<u64, BTreeMap<u64, String>>::new());
        let mut threatening = BTreeMap::new();
        for line in &found.verdicts {
            let record = json(line);
            let (partition, offset) = place(&record["position"]);
            assert!(places.insert((partition, offset)), "twice: {line}");
            let (key, said) = verdict(&record);
            assert_eq!(verdicts.get(&key), Some(&said), "what the embedded run says with these models");
            if record["threat"] == true {
                threatening.insert((partition, offset), key.1.clone());
            }
            by_partition.entry(partition).or_default().insert(offset, key.1);
        }
        let mut changes = 0;
        for (partition, versions) in &by_partition {
            let mut order: Vec<usize> = vec![];
            for version in versions.values() {
                let number = self.versions.iter().position(|known| known == version).unwrap();
                if order.last() != Some(&number) {
                    order.push(number);
                }
            }
            println!("partition {partition}: versions {order:?} over {} events", versions.len());
            assert!(order.is_sorted(), "partition {partition} went back: {order:?}");
            changes += order.len() - 1;
        }
        assert!(changes > 0, "models have changed while events flowed");
        let mut seen = BTreeSet::new();
        for line in found.threats.iter().filter(|line| line.starts_with("{\"type\":\"threat.detected\"")) {
            let record = json(line);
            let at = place(&record["data"]["evidence"]);
            let version = threatening.get(&at).unwrap_or_else(|| panic!("no verdict says so: {line}"));
            assert!(seen.insert(at), "twice: {line}");
            let (key, said) = threat(&record, version);
            assert_eq!(threats.get(&key), Some(&said), "what the embedded run says with these models");
        }
        assert_eq!(seen.len(), threatening.len(), "a threat for each verdict that says so");
        println!("{events} events, {} threats, {changes} changes of models", seen.len());
    }
}

fn place(record: &Value) -> (u64, u64) {
    (record["partition"].as_u64().unwrap(), record["offset"].as_u64().unwrap())
}

/// By event and version; where in the log it was is left out.
fn verdict(record: &Value) -> ((String, String), String) {
    let mut record = record.clone();
    record.as_object_mut().unwrap().remove("position").unwrap();
    let version = record["models"].as_str().unwrap_or_else(|| panic!("no models: {record}")).to_owned();
    let event = format!("{} {} {}", record["entity"], record["timestamp"], record["detectors"]["isolation_forest"][0]);
    ((event, version), record.to_string())
}

fn threat(record: &Value, version: &str) -> ((String, String), String) {
    let mut record = record.clone();
    let data = record["data"].as_object_mut().unwrap();
    data.remove("id").unwrap();
    data.remove("evidence").unwrap();
    let event = format!("{} {} {}", data["entity"], data["timestamp"], data["threatScore"]);
    ((event, version.to_owned()), record.to_string())
}

fn threats_of(found: &Found, version: &str) -> Said {
    let detected = found.threats.iter().map(|line| json(line)).filter(|record| record["type"] == "threat.detected");
    detected.map(|record| threat(&record, version)).collect()
}

/// The same models, each with calibrations of its own: what is remembered of entities goes on.
fn stretched(trained: &Bundle, factor: f32) -> Bundle {
    let calibrations = trained.calibrations.iter().map(|(name, of)| (name.clone(), of.stretched(factor))).collect();
    Bundle { calibrations, ..trained.clone() }.sealed()
}

#[test]
fn another_champion_takes_over_while_events_flow() {
    let Some(services) = Services::find("another_champion_takes_over", 12) else { return };
    // The other one has no network, whose memories would begin anew: so the embedded run is the measure for both.
    let site = Site::new(services, |bench, _| {
        let benign = bench.simulated("other.jsonl", &["--only", "network", "--benign", "--seed", "8"]);
        let folder = bench.trained("other", "network", &benign, "threatguard");
        vec![Bundle { lstm: None, ..bundle_files::load(Path::new(&folder)).unwrap() }.sealed()]
    });
    let mut running = site.start(&[]);
    let ends = Ends::new(&site.services.brokers);
    for (number, piece) in site.pieces().iter().enumerate().skip(1) {
        site.produce(piece);
        if number == PIECES / 4 {
            until("verdicts before the promotion", || (ends.records(&format!("{}.verdicts", site.raw), PARTITIONS) > 0).then_some(()));
            site.promote(1);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(running.terminate(Duration::from_secs(20)), Some(0), "{:#?}", running.said);
    site.check(&site.rest(&[]));
}

#[test]
fn kill_9_around_promotions_loses_nothing_and_no_version_comes_back() {
    let Some(services) = Services::find("kill_9_around_promotions", 13) else { return };
    let site = Site::new(services, |_, trained| [1.1, 0.9, 1.2, 0.8, 1.3].map(|factor| stretched(trained, factor)).to_vec());
    let config =
        site.bench.write("short-session.yaml", "kafka: { overrides: { session.timeout.ms: '1500', heartbeat.interval.ms: '300' } }\n");
    let more = ["--config", config.as_str(), "--batch-events", "64"];
    let pieces = site.pieces();
    let mut given = pieces[1..].chunks(PIECES / 6);
    // How long after the promotion the process dies: before it has looked, while it looks or waits for the barrier, and after.
    for (round, delay_ms) in [0, 1_950, 2_050, 2_200, 3_500].into_iter().enumerate() {
        let mut running = site.start(&more);
        std::thread::scope(|scope| {
            let now = given.next().unwrap_or_default();
            scope.spawn(|| now.iter().for_each(|piece| site.produce(piece)));
            running.line_after("partition taken over");
            site.promote(round + 1);
            std::thread::sleep(Duration::from_millis(delay_ms));
            running.kill();
        });
    }
    given.flatten().for_each(|piece| site.produce(piece));
    site.check(&site.rest(&more));
}
