//! How well attacks are found: the simulator's campaigns, and the real Zeek days beside scikit-learn's isolation forest.
//!
//! `cargo bench --bench detection [-- --days N] [--seed N] [--explain] [--json FILE]`. Must never give detection a label.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints and may stop")]

#[path = "../../tests/quality/harness.rs"]
mod harness;
#[path = "../../tests/quality/simulated.rs"]
mod simulated;

use simulated::Outcome;
use threatguard::core::detect::NAMES;
use threatguard::simulate::Scenario;
use threatguard::simulate::evaluate::Judgement;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let mut scenario = if arguments.iter().any(|a| a == "--small") { Scenario::small() } else { Scenario::demo() };
    if let Some(days) = value("--days") {
        scenario.days = days.parse().unwrap();
    }
    if let Some(seed) = value("--seed") {
        scenario.seed = seed.parse().unwrap();
    }
    let started = std::time::Instant::now();
    let outcome = simulated::run(&scenario);
    println!("{} events in {:.1} s", outcome.events, started.elapsed().as_secs_f64());
    println!("ALERTS");
    table(&outcome.alerts.table());
    println!("{}", outcome.alerts.summary());
    println!("THREATS");
    table(&outcome.threats.table());
    println!("{}", outcome.threats.summary());
    if arguments.iter().any(|a| a == "--explain") {
        explain(&outcome);
    }
}

fn table(lines: &[Vec<String>]) {
    let widths: Vec<usize> = (0..lines[0].len()).map(|c| lines.iter().map(|l| l[c].len()).max().unwrap()).collect();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", cells.join("  "));
    }
}

fn explain(outcome: &Outcome) {
    for bundle in &outcome.bundles {
        for (name, metrics) in &bundle.manifest.detectors {
            println!("BUNDLE {} {name} {metrics:?}", bundle.manifest.name);
        }
    }
    for campaign in &outcome.campaigns {
        println!(
            "{:?} {:?} {} .. {}: {} ({} events) {:?}",
            campaign.kind, campaign.variant, campaign.start, campaign.end, campaign.description, campaign.events, campaign.entities
        );
        for place in 0..2 {
            if let Some(best) = outcome.best.get(&(campaign.id.0, place)) {
                println!("    lane {place}: {:.1} nats {} RAW {}", best.surprise, parts(&best.parts), parts(&best.raw));
                if matches!(campaign.kind, threatguard::simulate::CampaignKind::InsiderNight) {
                    use threatguard::core::features::row::Signal as S;
                    for s in [
                        S::Events,
                        S::AgeHours,
                        S::HourRarity,
                        S::HourEvents,
                        S::HourEventsMedian,
                        S::HourEventsSpread,
                        S::Resources,
                        S::ResourcesMean,
                        S::NewResource,
                        S::NewResources1h,
                        S::NewResources24h,
                        S::HourVolume,
                        S::HourVolumeMedian,
                        S::HourVolumeSpread,
                    ] {
                        print!("{s:?}={} ", best.signals[s as usize]);
                    }
                    println!();
                }
            }
        }
    }
    for (place, detector) in [(0, 1), (0, 4), (1, 1), (1, 4), (0, 2), (0, 3), (1, 3)] {
        let mut top: Vec<_> = outcome.ordinary.iter().filter(|(key, _)| key.0 == place && key.1 == detector).collect();
        top.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        println!("ORDINARY lane {place} {}: {} entities", NAMES[detector], top.len());
        for (key, (raw, learned, signals)) in top.into_iter().take(12) {
            let mut text = threatguard::core::detect::Explanation::default();
            let settings = threatguard::core::settings::DetectorsSettings::default();
            threatguard::core::detect::rules(&settings)[detector - 1].explain(&[0.0; 16], signals, &mut text);
            let words: Vec<String> = text.anomalies.iter().map(|a| format!("[{:.1}] {}", a.surprise, a.description)).collect();
            println!("    {raw:.1} learned {learned} {} age {:.0} events {} | {}", key.2, signals[1], signals[0], words.join(" "));
        }
    }
    for (revision, risk, threat, judged) in &outcome.raised {
        let what =
            if let Judgement::True(id) = judged { format!("{:?}", outcome.campaigns[id.0 as usize].kind) } else { format!("{judged:?}") };
        println!(
            "ALERT {what} rev {revision} risk {risk:.1} {} {} {} {} {:.1} | {} | {}",
            threat.time,
            threat.lane,
            threat.entity,
            threat.kind,
            threat.surprise,
            parts(&threat.parts),
            threat.description
        );
    }
    for (threat, judged) in outcome.found.iter().filter(|(_, judged)| *judged == Judgement::False) {
        println!(
            "{judged:?} {} {} {} {} {:.1} | {} | {}",
            threat.time,
            threat.lane,
            threat.entity,
            threat.kind,
            threat.surprise,
            parts(&threat.parts),
            threat.description
        );
    }
}

fn parts(parts: &[f32]) -> String {
    let shown: Vec<String> = NAMES.iter().zip(parts).filter(|(_, p)| **p > 1.0).map(|(n, p)| format!("{n} {p:.1}")).collect();
    shown.join(", ")
}
