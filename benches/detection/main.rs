//! How well attacks are found: the simulator's campaigns through both pipelines, and the labelled Zeek days beside scikit-learn's
//! isolation forest.
//!
//!     cargo bench --bench detection -- --days 3 --seed 42 --explain 0 --json detection.json
//!
//! Must never give detection a label: the same settings have to do on real files.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::disallowed_methods)] // A bench prints and may stop.

#[path = "../../tests/quality/harness.rs"]
mod harness;
#[path = "../../tests/quality/real.rs"]
mod real;
#[path = "../../tests/quality/simulated.rs"]
mod simulated;
#[path = "../support/mod.rs"]
mod support;
mod zeek;

use std::process::ExitCode;

use serde_json::json;
use simulated::Outcome;
use support::{Arguments, timed};
use threatguard::core::detect::NAMES;
use threatguard::simulate::Scenario;
use threatguard::simulate::evaluate::{Judgement, Report};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::read(&[("days", "3"), ("seed", "42"), ("explain", "0"), ("json", "")])?;
    let days = arguments.number("days")? as f64;
    let scenario = Scenario { days, seed: arguments.number("seed")?, ..Scenario::demo() };
    scenario.check().map_err(|error| error.to_string())?;
    let (outcome, took) = timed(|| simulated::run(&scenario));
    let learned = scenario.days * scenario.learning;
    println!("{} simulated events over {days} days in {:.1} s; learned from the first {learned:.1}", outcome.events, took.as_secs_f64());
    println!("\nAlerts (what an analyst sees)");
    show(&outcome.alerts);
    println!("\nThreats (what alerts are made of)");
    show(&outcome.threats);
    if arguments.number("explain")? > 0 {
        explain(&outcome);
    }
    println!();
    let zeek = zeek::report();
    let figures = json!({
        "scenario": { "days": days, "seed": scenario.seed, "events": outcome.events, "learnedDays": learned },
        "alerts": outcome.alerts,
        "threats": outcome.threats,
        "zeek": zeek,
    });
    arguments.write_json(&figures)
}

fn show(report: &Report) {
    let lines = report.table();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("  {}", cells.join("  ").trim_end());
    }
    println!("  {}", report.summary());
}

/// What each campaign looked like to the detectors at its most conspicuous, why alerts were raised, and what they were learned from.
fn explain(outcome: &Outcome) {
    for bundle in &outcome.bundles {
        for (name, metrics) in &bundle.manifest.detectors {
            println!("learned {} {name}: p99 {:.2}, largest {:.2}, {:?}", bundle.manifest.name, metrics.p99, metrics.max, metrics.tail);
        }
    }
    for campaign in &outcome.campaigns {
        let (kind, variant) = (campaign.kind.as_str(), campaign.variant.as_str());
        println!("{kind} {variant}, {} to {}: {} {:?}", campaign.start, campaign.end, campaign.description, campaign.entities);
        for (pipeline, place) in [("network", 0), ("identity", 1)] {
            if let Some(best) = outcome.best.get(&(campaign.id.0, place)) {
                println!("    {pipeline} {:.1} nats: {} (raw {})", best.surprise, parts(&best.parts), parts(&best.raw));
            }
        }
    }
    for (revision, risk, threat, judged) in &outcome.raised {
        let what = match judged {
            Judgement::True(id) => outcome.campaigns[id.0 as usize].kind.as_str(),
            Judgement::Neutral => "background",
            Judgement::False => "FALSE",
        };
        let (lane, record, nats) = (&threat.lane, &threat.record, threat.surprise);
        let (time, entity, kind) = (record.timestamp, &record.entity, &record.threat_type);
        println!("alert {what} revision {revision} risk {risk:.1}: {time} {lane} {entity} {kind} {nats:.1} nats");
        println!("    {} | {}", parts(&threat.parts), record.description);
    }
}

fn parts(parts: &[f32]) -> String {
    let shown: Vec<String> = NAMES.iter().zip(parts).filter(|(_, p)| **p > 1.0).map(|(n, p)| format!("{n} {p:.1}")).collect();
    shown.join(", ")
}
