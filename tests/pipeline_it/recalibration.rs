//! Scenario: a company whose traffic grows threefold, slowly, through a run that recalibrates itself from recent ordinary rows.
//! Guarantees: the alarm comes before it is threefold, in the log, the metrics' source and `model show`; what is followed stays within
//! the bound; the registry names every version and where it came from; the same input gives the same bytes and versions, however it
//! is cut; without growth there is no alarm.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use threatguard::core::types::EventTime;

use crate::process::{json, run};
use crate::workbench::{Found, Workbench, shipped};

const MONDAY: i64 = 1_772_409_600;
const DAY: f64 = 86_400.0;

/// Numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    fn below(&mut self, count: f64) -> u64 {
        (self.unit() * count) as u64
    }
}

/// Flows of forty hosts from one day to another, an event in nine seconds, `times` as many and as large and to as many destinations.
fn flows(days: (f64, f64), times: impl Fn(f64) -> f64, seed: u64) -> String {
    let (mut dice, mut text, mut second) = (Dice(seed), String::new(), days.0 * DAY);
    while second < days.1 * DAY {
        let times = times(second / DAY);
        second -= dice.unit().max(1e-9).ln() * 9.0 / times;
        let host = dice.below(40.0);
        let place = if dice.unit() < 0.2 * times { (times / dice.unit().max(1e-3)) as u64 } else { host % 7 };
        let bytes = (7.0 + 0.5 * (dice.unit() + dice.unit() + dice.unit() - 1.5) * 4.0).exp() * times;
        let port = [443, 443, 443, 80, 22, 53][dice.below(6.0) as usize];
        let time = EventTime(MONDAY * 1_000_000 + (second * 1e6) as i64);
        writeln!(
            text,
            r#"{{"timestamp":"{time}","source_ip":"10.0.0.{}","dest_ip":"10.{}.1.{}","protocol":"tcp","port":{port},"bytes_transferred":{},"event_type":"flow"}}"#,
            host + 1,
            place / 250,
            place % 250 + 1,
            bytes as u64
        )
        .unwrap();
    }
    text
}

struct Site {
    bench: Workbench,
    pipeline: PathBuf,
    trained: String,
}

impl Site {
    fn new() -> Self {
        let bench = Workbench::new();
        let text = std::fs::read_to_string(shipped("network")).unwrap();
        let with = "\nrecalibration: {enabled: true, rows: 4000, span: 1d, interval: 6h}\ndetectors:";
        let pipeline = PathBuf::from(bench.write("network.yaml", text.replacen("\ndetectors:", with, 1)));
        let base = bench.write("base.jsonl", flows((0.0, 10.0), |_| 1.0, 1));
        let models = bench.text("models");
        run(&["train", "--pipeline", pipeline.to_str().unwrap(), "--input", &base, "--codec", "threatguard", "--out", &models]).ok();
        let manifest = json(&std::fs::read_to_string(bench.path("models/manifest.json")).unwrap());
        Self { bench, pipeline, trained: manifest["version"].as_str().unwrap().to_owned() }
    }

    /// A run over a file with a registry of its own, whose champion is what was trained.
    fn run(&self, name: &str, input: &str, batch: &str) -> (String, Found) {
        let registry = self.bench.text(&format!("{name}-registry"));
        run(&["model", "add", &self.bench.text("models"), "--models", &registry]).ok();
        run(&["model", "promote", &self.trained, "--models", &registry]).ok();
        let (done, found) =
            self.bench.embedded(name, &self.pipeline, input, &["--codec", "threatguard", "--models", &registry, "--batch-events", batch]);
        let log = done.err.clone();
        done.ok();
        (log, found)
    }

    fn show(&self, name: &str, version: &str) -> Value {
        let registry = self.bench.text(&format!("{name}-registry"));
        json(&run(&["model", "show", version, "--json", "--models", &registry]).ok().out)
    }

    fn roles(&self, name: &str) -> Value {
        json(&std::fs::read_to_string(self.bench.path(&format!("{name}-registry/network/roles.json"))).unwrap())
    }
}

fn alarm(shown: &Value) -> Option<i64> {
    shown["recalibration"][0]["alarmSinceMicros"].as_i64()
}

fn versions(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.len() == 16).collect();
    names.sort();
    names
}

#[test]
fn a_slow_ramp_through_a_run_raises_the_alarm_before_it_is_threefold() {
    let site = Site::new();
    let calm = flows((10.0, 14.0), |_| 1.0, 2);
    // From day 14 to day 20, evenly, to three times of everything.
    let times = |day: f64| 1.0 + (day - 14.0) / 3.0;
    let ramp = site.bench.write("ramp.jsonl", calm.clone() + &flows((14.0, 20.0), times, 3));
    let steady = site.bench.write("steady.jsonl", calm + &flows((14.0, 20.0), |_| 1.0, 3));

    let (log, found) = site.run("ramp", &ramp, "2048");
    let shown = site.show("ramp", &site.trained);
    let since = alarm(&shown).expect("an alarm");
    let at = times((since / 1_000_000 - MONDAY) as f64 / DAY);
    println!("alarm at {at:.2} times");
    assert!((1.0..2.5).contains(&at), "at {at} times: {shown}");
    assert!(log.contains("ordinary scores have moved far from what was trained"), "{log}");

    let champion = site.roles("ramp")["champion"].as_str().unwrap().to_owned();
    let made = site.show("ramp", &champion);
    assert_eq!(made["manifest"]["recalibrated"]["parent"], Value::from(site.trained.clone()), "{made}");
    assert_eq!(alarm(&made), Some(since), "the same alarm, from its child");
    for shift in made["manifest"]["recalibrated"]["shifts"].as_array().unwrap() {
        let (factor, refused) = (shift["factor"].as_f64().unwrap(), shift["isRefused"].as_bool().unwrap());
        assert!(refused || (1.0 / 1.5..1.5).contains(&factor), "{shift}");
    }
    let made: Vec<String> = versions(&site.bench.path("ramp-registry/network")).into_iter().filter(|name| *name != site.trained).collect();
    let is_named = |version: &String| found.threats.iter().any(|threat| threat.contains(version.as_str()));
    assert!(made.len() > 1 && made.iter().any(is_named), "threats name the version that found them");

    let (_, again) = site.run("again", &ramp, "377");
    assert!(again.verdicts == found.verdicts && again.threats == found.threats, "however it is cut, the same bytes");
    assert_eq!(versions(&site.bench.path("again-registry/network")), versions(&site.bench.path("ramp-registry/network")));

    site.run("steady", &steady, "2048");
    let shown = site.show("steady", &site.trained);
    assert_eq!(alarm(&shown), None, "{shown}");
}
