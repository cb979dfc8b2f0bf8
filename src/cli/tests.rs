//! What the console accepts, shows and returns. Hostile text reaches no terminal unescaped.

use std::path::Path;

use clap::{Args, Command, CommandFactory, FromArgMatches};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::args::{DemoArgs, ReplayArgs, RunArgs, ServiceFlags, TestArgs, TrainArgs};
use super::explain::Threats;
use super::live::{Live, LiveState, THREATS_MAX};
use super::{Cli, explain_view, live_view};
use crate::core::output::{EvidenceRecord, Severity, ThreatRecord, ThreatStatus};
use crate::core::printable::is_unsafe;
use crate::core::types::{EventTime, Position};
use crate::run::summary::Percentiles;

const HOSTILE: &str = "\x1b]0;pwn\x07\x1b[2J\u{202e}gpj.exe\r\n\u{9b}31m";

fn parse<A: Args + FromArgMatches>(line: &str) -> Result<A, String> {
    let command = A::augment_args(Command::new("verb"));
    command.clone().debug_assert();
    let matches =
        command.try_get_matches_from(std::iter::once("verb").chain(line.split_whitespace())).map_err(|error| error.to_string())?;
    A::from_arg_matches(&matches).map_err(|error| error.to_string())
}

#[test]
fn the_verbs_take_the_flags_of_the_contract() {
    Cli::command().debug_assert();
    let run: RunArgs = parse("--pipeline a.yaml --pipeline b.yaml --brokers k:9092 --redis redis://r:6379 --once --models m --verdicts arrow --listen 127.0.0.1:0 --summary s.json").unwrap();
    assert_eq!((run.pipeline.len(), run.once, run.service.brokers.as_deref()), (2, true, Some("k:9092")));
    let run: RunArgs = parse("--pipeline a.yaml --input - --codec zeek --output out --verdicts json").unwrap();
    assert_eq!((run.input.as_deref(), run.codec.as_deref()), (Some(Path::new("-")), Some("zeek")));
    parse::<TrainArgs>("--pipeline p --input i --codec syslog --out o").unwrap();
    let train: TrainArgs = parse("--data d.csv --label l --benign normal --drop a,b --group g --columns n --out o").unwrap();
    assert_eq!(train.table.shape.drop, ["a", "b"]);
    parse::<ReplayArgs>("--input i --brokers k:1 --rate 1000 --topic t").unwrap();
    parse::<DemoArgs>("--plain --seed 7 --scenario small --output o").unwrap();
    parse::<TestArgs>("a.yaml b.yaml --only scan").unwrap();
    for (wrong, message) in [
        ("--input x", "--pipeline"),
        ("--pipeline a --input x --brokers k:1", "cannot be used with"),
        ("--pipeline a --input x --codec zeke", "zeek"),
        ("--pipeline a --input x --verdict json", "--verdicts"),
    ] {
        let error = parse::<RunArgs>(wrong).map(drop).unwrap_err();
        assert!(error.contains(message), "{wrong}: {error}");
    }
}

#[test]
fn flags_name_settings_that_exist() {
    let flags: ServiceFlags = parse("--brokers a:1 --redis redis://r --group-id g --listen 127.0.0.1:0 --models m --output o --verdicts json --shards 2 --memory 1GiB --checkpoint-interval 5s --log-level debug --log-format json").unwrap();
    let resolved = flags.resolve().unwrap();
    assert_eq!(resolved.origins.values().filter(|origin| origin.starts_with("flag --")).count(), 12);
    let every_flag = ServiceFlags::augment_args(Command::new("verb"));
    for origin in resolved.origins.values() {
        let flag = origin.trim_start_matches("flag --");
        assert!(every_flag.get_arguments().any(|known| known.get_long() == Some(flag)), "{origin} is no flag");
    }
}

#[test]
fn every_verb_teaches_by_example() {
    for verb in Cli::command().get_subcommands_mut() {
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Examples:") && help.contains("threatguard "), "{help}");
    }
}

fn threat(text: &str) -> ThreatRecord {
    ThreatRecord {
        id: "0123456789abcdef0123456789abcdef".into(),
        threat_type: "port_scan".into(),
        severity: Severity::High,
        threat_score: 87.5,
        risk_score: 6.25,
        confidence: 0.9,
        status: ThreatStatus::Detected,
        timestamp: EventTime(1_772_496_000_000_000),
        source: text.into(),
        target: text.into(),
        entity: format!("user:{text}"),
        description: text.into(),
        anomalies: vec![],
        contributions: vec![],
        detectors: vec![],
        mitre: vec![],
        recommendations: vec![text.into()],
        evidence: EvidenceRecord::new("input", Position::default()),
        metadata: [(text.to_owned(), json!({ text: text }))].into(),
    }
}

fn hostile_record() -> Value {
    let mut record = serde_json::to_value(threat(HOSTILE)).unwrap();
    record["contributions"] = json!([
        { "feature": "ports", "observed": 500.0, "expected": 5.2, "share": 0.75 },
        { "feature": HOSTILE, "observed": 1e300, "expected": null, "share": 99.0 },
    ]);
    record["anomalies"] = json!([{ "name": HOSTILE, "description": HOSTILE, "severity": HOSTILE }]);
    record["detectors"] = json!([{ "name": "fan_out", "modelVersion": HOSTILE, "score": 12.0, "pValue": 1e-12 }]);
    record["mitre"] = json!([{ "technique": "T1046", "name": "Network Service Discovery", "tactic": "discovery" }, HOSTILE]);
    record["type"] = json!(HOSTILE);
    record["severity"] = json!(HOSTILE);
    record
}

#[test]
fn an_explanation_is_complete_and_inert() {
    let shown = explain_view::render(&hostile_record(), false);
    assert!(shown.chars().all(|character| character == '\n' || !is_unsafe(character)), "{shown}");
    for part in [
        "Why\n",
        "  ports                        ",
        "[###############-----]  75 %",
        "Anomalies\n",
        "score 12, p = 1.00e-12",
        "T1046      Network Service Discovery (discovery)",
        "What to do\n  1. \\u{1b}",
        "input, partition 0, offset 0",
        "threat score[##################--] 87.50 of 100",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(explain_view::render(&hostile_record(), true).contains("status      resolved"));
    for odd in [json!({}), json!(null), json!({ "contributions": 5, "mitre": [[]], "evidence": "x", "threatScore": "high" })] {
        assert!(!explain_view::render(&odd, false).is_empty());
    }
}

#[test]
fn a_threat_is_found_by_its_id_or_the_beginning_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("threats.jsonl");
    let line = |id: &str, kind: &str| {
        let mut record = serde_json::to_value(threat("x")).unwrap();
        record["id"] = json!(id);
        json!({ "type": kind, "data": record }).to_string()
    };
    let lines = [
        line("aaaa1111", "threat.detected"),
        "not JSON".into(),
        line("aaaa2222", "threat.detected"),
        line("bbbb3333", "threat.detected"),
        line("aaaa2222", "threat.resolved"),
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let resolved = |id: &str| Threats::File(file.clone()).search(id).unwrap().chosen().map(|found| found.resolved);
    assert_eq!(resolved("aaaa2222"), Some(true));
    assert_eq!(resolved("aaaa1"), Some(false));
    assert_eq!(resolved("aaaa"), None, "two of them");
    assert_eq!(resolved("b"), None, "too short to mean one");
    let hints = |id: &str| Threats::File(file.clone()).search(id).unwrap().hints(id, "threats.jsonl");
    assert!(
        hints("aaaa").starts_with("2 threats begin with aaaa; write more of the id (4 looked at)\n  aaaa1111  high port_scan of user:x")
    );
    let unknown = hints("bbbb4\x1b");
    assert!(unknown.starts_with("no threat has the id bbbb4\\u{1b} in ") && unknown.contains("\n  bbbb3333  "), "{unknown}");
    assert_eq!(Threats::File("/absent".into()).search("x").unwrap_err().kind, crate::error::Kind::Config);
}

fn busy_state() -> LiveState {
    let mut state = LiveState::default();
    (state.title, state.progress, state.learning) = (format!("demo {HOSTILE}"), Some(f64::NAN), Some(0.4));
    state.counts.received = 1_234_567;
    state.events_per_second = 45_678.9;
    state.latency = Percentiles { p50: 12, p99: 1_234, p999: 2_500_000, max: 3_000_000 };
    state.simulated = Some(EventTime(1_772_496_000_000_000));
    state.risks = vec![(format!("user:{HOSTILE}"), 9.5), ("ip:10.0.0.1".into(), f64::NAN)];
    for _ in 0..2 * THREATS_MAX {
        state.add_threat(&threat(HOSTILE));
    }
    state
}

#[test]
fn the_live_view_is_inert_in_every_size() {
    let state = busy_state();
    for (width, height) in [(120, 40), (80, 24), (20, 8), (1, 1)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| live_view::draw(frame, &state)).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| !cell.symbol().chars().any(is_unsafe)), "{width}x{height}");
        if width == 120 {
            let text: String = cells.iter().map(|cell| cell.symbol()).collect();
            for part in ["1 234 567  (45 678/s)", "p99 1.2 ms  p99.9 2.5 s", "200 high", "9.5##########", "03-03 00:00:00", "learning 40 %"]
            {
                assert!(text.replace("9.5 ", "9.5").contains(part), "{part} is not in\n{text}");
            }
        }
    }
    assert_eq!(state.threats().count(), THREATS_MAX, "bounded");
    let line = live_view::plain(&state);
    assert!(!line.chars().any(is_unsafe) && line.contains("threats 0 critical 200 high"), "{line}");
}

#[test]
fn the_plain_view_ends_with_the_run() {
    let live = Live::new("demo");
    live.update(|state| state.counts.received = 7);
    live.finish();
    let mut out = vec![];
    live.watch_plain(&mut out).unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert_eq!(shown.lines().count(), 1, "the last state once");
    assert!(shown.contains("7 events"), "{shown}");
    assert!(!live.has_quit());
}
