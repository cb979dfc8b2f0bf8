//! Detection quality: what the simulator's campaigns and real logs must show at least. Not timed; `cargo bench --bench detection`
//! has the whole tables.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests may stop, and say what they found and skipped")]

mod harness;
mod real;
mod simulated;

use std::collections::BTreeMap;

use harness::Found;
use real::{data_folder, unpacked};
use threatguard::simulate::{Plan, Scenario, Variant};

/// The smallest company that has all roles, two and a half days, and every loud campaign.
fn loud() -> Scenario {
    let campaigns: Vec<Plan> = Scenario::all_campaigns().into_iter().filter(|plan| plan.variant == Variant::Loud).collect();
    Scenario { days: 2.5, users: 40, servers: 10, rate: 0.5, campaigns, ..Scenario::small() }
}

#[test]
fn every_loud_campaign_is_found_and_few_alerts_are_false() {
    let outcome = simulated::run(&loud());
    let report = &outcome.alerts;
    let table: Vec<String> = report.table().iter().map(|line| line.join("  ")).collect();
    eprintln!("{} events\n{}\n{}", outcome.events, table.join("\n"), report.summary());
    for (_, risk, threat, judged) in &outcome.raised {
        eprintln!("{judged:?} risk {risk:.1} {} {} {}", threat.record.entity, threat.record.threat_type, threat.record.description);
    }
    for row in &report.rows {
        assert_eq!(row.found, row.campaigns, "{} was not found", row.kind.as_str());
    }
    assert!(report.precision.unwrap() >= 0.85, "{}", report.summary());
    assert!(report.false_per_day <= 3.0, "{}", report.summary());
}

#[test]
fn ordinary_days_raise_next_to_nothing() {
    let outcome = simulated::run(&loud().benign());
    eprintln!("{}", outcome.alerts.summary());
    assert!(outcome.alerts.false_per_day <= 2.0, "{:?}", outcome.alerts.false_entities);
}

/// Threats by type, and how many different entities they name.
fn by_type(found: &[Found]) -> BTreeMap<&str, usize> {
    let mut types = BTreeMap::new();
    for threat in found {
        *types.entry(threat.record.threat_type.as_str()).or_default() += 1;
    }
    types
}

/// File, codec, events to learn from, the type that must be among its threats, and the largest share of events that may be threats.
const FILES: [(&str, &str, u64, &str, f64); 4] = [
    ("stratosphere-zeek/002-zeek-scenario-port-scanning/conn.log.gz", "zeek", 100, "port_scan", 1.0),
    ("suricata-eve/slips-test6-malicious.suricata.json.gz", "suricata", 1_000, "", 0.2),
    ("syslog-auth/loghub_OpenSSH_2k.log.gz", "syslog", 200, "brute_force", 1.0),
    ("syslog-auth/elastic_auth.log.gz", "syslog", 1_000, "brute_force", 1.0),
];

#[test]
fn real_logs_give_sensible_threats_with_the_same_settings() {
    let Some(folder) = data_folder() else {
        eprintln!("skipped: no data folder (THREATGUARD_DATA)");
        return;
    };
    for (file, codec, learn, expected, share_max) in FILES {
        let bytes = unpacked(&folder.join(file));
        let events = real::framed(codec, &bytes).len();
        let (found, alerts) = real::threats(codec, &bytes, learn);
        let types = by_type(&found);
        eprintln!("{file}: {} threats in {events} events, {alerts} alerts, {types:?}", found.len());
        for threat in found.iter().take(3) {
            eprintln!("    {} {:.1} nats: {}", threat.record.entity, threat.surprise, threat.record.description);
        }
        assert!(expected.is_empty() || types.contains_key(expected), "{file}: {types:?}");
        assert!(found.len() as f64 <= share_max * events as f64, "{file}: {} of {events}", found.len());
    }
}
