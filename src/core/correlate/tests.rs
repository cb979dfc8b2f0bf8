//! Correlation: sequences of signals and what has to come out of them, and properties of any sequence.

use proptest::prelude::*;

use super::*;
use crate::core::output::{EvidenceRecord, MitreRecord, Severity};
use crate::core::types::{Partition, Position};

const HOUR: i64 = 3_600_000_000;

pub(super) fn signal(
    offset: u64,
    minutes: i64,
    entity: &str,
    threat_type: &str,
    target: &str,
    severity: Severity,
    risk: f64,
) -> ThreatSignal {
    let position = Position { partition: Partition(0), offset: Offset(offset) };
    let tactic = match threat_type {
        "brute_force" => "credential-access",
        "port_scan" => "discovery",
        "beaconing" => "command-and-control",
        other => other,
    };
    ThreatSignal {
        position,
        id: format!("{offset:032x}"),
        time: EventTime(minutes * HOUR / 60),
        ended: EventTime(minutes * HOUR / 60),
        entity: entity.into(),
        threat_type: threat_type.into(),
        severity,
        score: risk * 10.0,
        risk,
        confidence: 0.9,
        source: "10.0.0.1".into(),
        target: target.into(),
        account: String::new(),
        mitre: vec![MitreRecord { technique: "T1110".into(), name: threat_type.into(), tactic: tactic.into() }],
        recommendations: vec![format!("look at {threat_type}")],
        evidence: EvidenceRecord::new("security.events.raw", position),
    }
}

pub(super) fn shown(output: &Correlated) -> String {
    match output {
        Correlated::Alert(a) => {
            format!(
                "{} r{} {} risk {:.1} n{} s{} {}",
                a.entity,
                a.revision,
                a.severity.as_str(),
                a.risk_score,
                a.count,
                a.suppressed_count,
                a.threat_types.join("+")
            )
        }
        Correlated::Resolved(t) => format!(
            "{} resolved {} at {} {}",
            t.entity,
            t.id.trim_start_matches('0'),
            &t.metadata["resolvedAt"].as_str().unwrap()[11..19],
            t.metadata["reason"].as_str().unwrap()
        ),
    }
}

/// A step a line: `minutes entity type target severity risk`, or `tick minutes`. `id N` at the end repeats threat N, `of N` is one of
/// partition N, `for N` lasted N minutes.
pub(super) fn run(settings: CorrelationSettings, steps: &str) -> Vec<Correlated> {
    let mut correlator = Correlator::new("test", "security.threats", settings);
    let mut out = Vec::new();
    for (offset, step) in steps.lines().map(str::trim).filter(|step| !step.is_empty()).enumerate() {
        let words: Vec<&str> = step.split_whitespace().collect();
        if words[0] == "tick" {
            correlator.tick(EventTime(words[1].parse::<i64>().unwrap() * HOUR / 60), &mut out);
            continue;
        }
        let severity = Severity::ALL.into_iter().find(|severity| severity.as_str() == words[4]).unwrap();
        let mut signal =
            signal(offset as u64 + 1, words[0].parse().unwrap(), words[1], words[2], words[3], severity, words[5].parse().unwrap());
        if let Some(["id", again]) = words.get(6..8) {
            signal.evidence.offset = again.parse().unwrap();
            signal.id = format!("{:032x}", signal.evidence.offset);
        }
        if let Some(["of", partition]) = words.get(6..8) {
            signal.evidence.partition = partition.parse().unwrap();
        }
        if let Some(["for", minutes]) = words.get(6..8) {
            signal.ended.0 += minutes.parse::<i64>().unwrap() * HOUR / 60;
        }
        correlator.apply(&signal, &mut out);
        // A state that went through bytes is the same state.
        let bytes = correlator.to_bytes();
        correlator = Correlator::from_bytes("test", "security.threats", settings, &bytes).unwrap();
        assert_eq!(correlator.to_bytes(), bytes);
    }
    out
}

pub(super) fn check(what: &str, steps: &str, expected: &[&str]) {
    let found = run(CorrelationSettings::default(), steps);
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected, "{what}");
}

#[test]
fn threats_become_alerts() {
    check("one low threat is no alert", "0 ip:a port_scan t low 4.2", &[]);
    check("a high one is", "0 ip:a brute_force t high 7.0", &["ip:a r1 high risk 7.0 n1 s0 brute_force"]);
    check(
        "the same again within the hour is suppressed",
        "0 ip:a brute_force t high 7\n5 ip:a brute_force t high 7\n59 ip:a brute_force t high 6",
        &["ip:a r1 high risk 7.0 n1 s0 brute_force"],
    );
    check(
        "low noise of one kind at one target never alerts within the window",
        "0 ip:a port_scan t low 4.2\n1 ip:a port_scan t low 4.2\n2 ip:a port_scan t low 4.2",
        &[],
    );
    check(
        "after the window it counts again",
        "0 ip:a port_scan t low 4.2\n60 ip:a port_scan t low 4.2",
        &["ip:a r1 low risk 5.7 n2 s0 port_scan"],
    );
    check(
        "another target counts, with less",
        "0 ip:a port_scan t low 4.2\n0 ip:a port_scan u low 4.2",
        &["ip:a r1 low risk 5.9 n2 s0 port_scan"],
    );
    check(
        "another tactic counts fully, and more",
        "0 ip:a port_scan t low 3\n0 ip:a beaconing u low 3",
        &["ip:a r1 low risk 7.5 n2 s0 port_scan+beaconing"],
    );
    check(
        "a worse one of the same evidence escalates once",
        "0 ip:a brute_force t medium 5\n1 ip:a brute_force t medium 5\n2 ip:a brute_force t critical 10\n3 ip:a brute_force t critical 10",
        &["ip:a r1 medium risk 5.0 n1 s0 brute_force", "ip:a r2 critical risk 10.0 n3 s1 brute_force"],
    );
    check(
        "a chain over three tactics is one worse",
        "0 ip:a brute_force t medium 6\n1 ip:a port_scan t medium 2\n2 ip:a beaconing t medium 2",
        &["ip:a r1 medium risk 6.0 n1 s0 brute_force", "ip:a r2 high risk 10.0 n3 s0 brute_force+port_scan+beaconing"],
    );
}

#[test]
fn risks_decay_and_resolve() {
    check(
        "entities are apart",
        "0 ip:a brute_force t high 7\n0 user:a brute_force t high 7",
        &["ip:a r1 high risk 7.0 n1 s0 brute_force", "user:a r1 high risk 7.0 n1 s0 brute_force"],
    );
    check(
        "the same id counts once, whatever it says",
        "0 ip:a port_scan t low 4.2\n0 ip:a port_scan u low 4.2 id 1\n0 ip:a beaconing u low 4.2 id 1",
        &[],
    );
    check(
        "risk 8 takes three half-lives of 6 h to 1",
        "0 ip:a brute_force t high 8\ntick 1089\ntick 1090\ntick 5000",
        &["ip:a r1 high risk 8.0 n1 s0 brute_force", "ip:a resolved 1 at 18:00:00 risk_decayed"],
    );
    check("no alert, resolved all the same", "0 ip:a port_scan t low 2\ntick 400", &["ip:a resolved 1 at 06:00:00 risk_decayed"]);
    check(
        "a signal after the end begins a new alert",
        "0 ip:a brute_force t high 8\n1080 ip:a brute_force t high 8",
        &["ip:a r1 high risk 8.0 n1 s0 brute_force", "ip:a resolved 1 at 18:00:00 risk_decayed", "ip:a r1 high risk 8.0 n1 s0 brute_force"],
    );
    check(
        "a late copy of a resolved threat makes no second alert",
        "0 ip:a brute_force t high 8\ntick 5000\n0 ip:a brute_force t high 8 id 1",
        &[
            "ip:a r1 high risk 8.0 n1 s0 brute_force",
            "ip:a resolved 1 at 18:00:00 risk_decayed",
            "ip:a resolved 1 at 18:00:00 risk_decayed",
        ],
    );
    check(
        "out of order is decayed to now",
        "360 ip:a port_scan t low 3\n0 ip:a beaconing t low 4",
        &["ip:a r1 low risk 6.2 n2 s0 port_scan+beaconing"],
    );
    check(
        "nonsense risk is harmless",
        "0 ip:a port_scan t low NaN\n0 ip:b port_scan t low -5\n0 ip:c port_scan t critical 1e300\ntick 20",
        &[
            "ip:c r1 critical risk 10.0 n1 s0 port_scan",
            "ip:a resolved 1 at 00:00:00 risk_decayed",
            "ip:b resolved 2 at 00:00:00 risk_decayed",
        ],
    );
}

#[test]
fn a_partition_that_is_behind_has_a_time_of_its_own() {
    check(
        "two days behind, and slowly on",
        "0 ip:a port_scan t low 4.2\ntick 0\n2880 ip:a port_scan t low 4.2\ntick 2880\n\
         0 ip:b port_scan t low 4.2 of 1\ntick 2880\n60 ip:b beaconing u low 4.2 of 1\ntick 2880\n\
         2000 ip:b brute_force t high 8 of 1\ntick 2880\n2880 ip:c port_scan t low 1 of 1\ntick 5760\ntick 5770",
        &[
            "ip:a resolved 1 at 12:25:20 risk_decayed",
            "ip:b r1 low risk 9.9 n2 s0 port_scan+beaconing",
            "ip:b resolved 5 at 20:52:06 risk_decayed",
            "ip:b resolved 7 at 20:52:06 risk_decayed",
            "ip:b r1 high risk 8.0 n1 s0 brute_force",
            "ip:c resolved b at 00:00:00 risk_decayed",
            "ip:b resolved 9 at 03:20:00 risk_decayed",
            "ip:a resolved 3 at 12:25:20 risk_decayed",
        ],
    );
}

#[test]
fn a_full_table_resolves_the_decayed_and_then_the_quiet_first() {
    let settings = CorrelationSettings { max_entities: 2, ..CorrelationSettings::default() };
    let found = run(
        settings,
        "0 ip:b port_scan t low 4\n0 ip:a port_scan t low 4\n1 ip:c port_scan t low 4\n2 ip:b port_scan u low 1\n5000 ip:d port_scan t low 4",
    );
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        ["ip:a resolved 2 at 00:01:00 evicted", "ip:c resolved 3 at 12:01:00 risk_decayed",]
    );
}

#[test]
fn risks_decay_and_are_ranked() {
    let mut correlator = Correlator::new("test", "t", CorrelationSettings::default());
    let mut out = Vec::new();
    for (offset, entity, risk) in [(0, "ip:a", 4.0), (1, "ip:b", 8.0), (2, "ip:c", 4.0)] {
        correlator.apply(&signal(offset, 0, entity, "port_scan", "t", Severity::Low, risk), &mut out);
    }
    assert!((correlator.risk_of("ip:b", EventTime(6 * HOUR)) - 4.0).abs() < 1e-9);
    assert!((correlator.risk_of("ip:b", EventTime(-HOUR)) - 8.0).abs() < 1e-9);
    assert!(correlator.risk_of("ip:z", EventTime(0)).abs() < 1e-9);
    let top: Vec<String> = correlator.top_risks(EventTime(0), 2).into_iter().map(|(entity, _)| entity).collect();
    assert_eq!(top, ["ip:b", "ip:a"]);
    correlator.apply(&signal(1, 0, "ip:b", "beaconing", "t", Severity::Low, 8.0), &mut out);
    assert_eq!((correlator.counts().replayed, correlator.next_offset(), correlator.open_entities()), (1, Offset(3), 3));
    correlator.skip(Offset(7));
    assert_eq!(correlator.next_offset(), Offset(8));
}

#[test]
fn records_are_read_and_fit_their_schemas() {
    let schema = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
        jsonschema::validator_for(&serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).unwrap()
    };
    for output in run(CorrelationSettings::default(), "0 ip:a brute_force t high 8\n1 ip:a port_scan t critical 10\ntick 5000") {
        let validator = schema(if matches!(output, Correlated::Alert(_)) { "alert.schema.json" } else { "threat.schema.json" });
        let envelope = output.into_envelope();
        let record = serde_json::from_slice(&envelope.to_json()).unwrap();
        assert!(validator.is_valid(&record), "{record}");
        let position = Position::default();
        assert!(ThreatSignal::parse(position, &envelope.to_json()).is_ok());
        if let Envelope::ThreatResolved(threat) = envelope {
            assert_eq!(ThreatSignal::parse(position, &Envelope::ThreatResolved(threat.clone()).to_json()), Ok(None));
            let signal = ThreatSignal::parse(position, &Envelope::ThreatDetected(threat.clone()).to_json()).unwrap().unwrap();
            assert_eq!((&signal.id, &signal.entity, signal.time), (&threat.id, &threat.entity, threat.timestamp));
            let metadata = [("event".to_owned(), serde_json::json!({ "duration": 0.1_f32 }))].into();
            let odd = ThreatRecord { risk_score: 10.0 / 3.0, threat_score: 200.0 / 3.0, confidence: 2.0 / 3.0, metadata, ..threat };
            let written = Envelope::ThreatDetected(odd.clone()).to_json();
            let read = ThreatSignal::parse(position, &written).unwrap();
            assert_eq!(read, Some(ThreatSignal::new(position, odd)), "the same from memory and from the log");
            assert!(read.is_some_and(|signal| (signal.ended.0 - signal.time.0) == 100_000), "lasted a tenth of a second");
        }
    }
    assert!(ThreatSignal::parse(Position::default(), b"{}").is_err());
}

#[test]
fn settings_and_states_that_cannot_work_are_refused() {
    let default = CorrelationSettings::default();
    assert!(default.problems().is_empty());
    let zero = crate::core::settings::Span::seconds(0);
    let bad = CorrelationSettings {
        half_life: zero,
        resolve_risk: 6.0,
        alert_risk: 11.0,
        type_risk_max: f64::NAN,
        tactic_bonus: -1.0,
        max_entities: 0,
        ..default
    };
    assert_eq!(bad.problems().len(), 7);
    for bytes in [&b""[..], b"{}", br#"{"version":2,"next":0,"resolved_until":0,"entities":{}}"#] {
        assert!(Correlator::from_bytes("n", "t", default, bytes).is_err());
    }
}

/// Any signals of a few entities, not more out of order than the lateness allowed.
pub(super) fn some_signals() -> impl Strategy<Value = Vec<ThreatSignal>> {
    let one = (0i64..240, 0i64..10, 0usize..4, 0usize..4, 0usize..3, 0usize..4, 0.0f64..10.0, 0u64..12);
    prop::collection::vec(one, 1..60).prop_map(|steps| {
        let mut now = 0;
        let mut signals: Vec<ThreatSignal> = Vec::new();
        for (offset, (gap, late, entity, kind, target, severity, risk, repeat)) in steps.into_iter().enumerate() {
            now += gap;
            let entity = ["ip:a", "ip:b", "user:a", "host:c"][entity];
            let kind = ["brute_force", "port_scan", "beaconing", "exfiltration"][kind];
            let mut made = signal(offset as u64, now - late, entity, kind, ["t", "u", "v"][target], Severity::ALL[severity], risk);
            // Now and then a threat comes a second time, as after a crash.
            if repeat == 0 && offset > 0 {
                made = ThreatSignal { position: made.position, ..signals[offset - 1].clone() };
            }
            signals.push(made);
        }
        signals
    })
}

fn by_entity(mut outputs: Vec<Correlated>) -> Vec<String> {
    // Ticks decide when a resolution is told, not what it says; within an entity the order stays.
    outputs.sort_by(|a, b| a.entity().cmp(b.entity()));
    outputs.into_iter().map(|output| String::from_utf8(output.into_envelope().to_json()).unwrap()).collect()
}

/// What comes of signals one after the other, each followed by the time that any of them has reached, as people see it.
fn one_after_the_other<'s>(signals: impl Iterator<Item = &'s ThreatSignal>) -> Vec<String> {
    let (mut correlator, mut out, mut latest) = (Correlator::new("c", "t", CorrelationSettings::default()), vec![], EventTime(i64::MIN));
    for (offset, signal) in signals.enumerate() {
        let position = Position { partition: Partition(0), offset: Offset(offset as u64) };
        correlator.apply(&ThreatSignal { position, ..signal.clone() }, &mut out);
        latest = latest.max(signal.time);
        correlator.tick(latest, &mut out);
    }
    correlator.tick(EventTime(1 << 60), &mut out);
    out.sort_by(|a, b| a.entity().cmp(b.entity()));
    out.iter().map(shown).collect()
}

proptest! {
    #[test]
    fn it_does_not_matter_which_partition_is_read_first(first in some_signals(), second in some_signals()) {
        // What is published again comes behind its time, and is told as such.
        let [first, second] = [first, second].map(|mut signals| {
            let mut seen = BTreeSet::new();
            signals.retain(|signal| seen.insert(signal.id.clone()));
            signals
        });
        let of_second = |signal: &ThreatSignal| {
            let mut signal = ThreatSignal { entity: format!("{}2", signal.entity), id: format!("2{}", signal.id), ..signal.clone() };
            signal.evidence.partition = 2;
            signal
        };
        let second: Vec<ThreatSignal> = second.iter().map(of_second).collect();
        let found = one_after_the_other(first.iter().chain(&second));
        prop_assert_eq!(&found, &one_after_the_other(second.iter().chain(&first)));
        let mut apart = [one_after_the_other(first.iter()), one_after_the_other(second.iter())].concat();
        let by_entity = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        apart.sort_by_key(by_entity);
        prop_assert_eq!(found, apart);
    }

    #[test]
    fn ticks_and_restarts_change_nothing(signals in some_signals(), every in 1usize..6, cut in 0usize..60) {
        let settings = CorrelationSettings::default();
        let (mut plain, mut ticked) = (Correlator::new("c", "t", settings), Correlator::new("c", "t", settings));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut latest = EventTime(i64::MIN);
        for (index, signal) in signals.iter().enumerate() {
            plain.apply(signal, &mut expected);
            ticked.apply(signal, &mut found);
            latest = latest.max(signal.time);
            if index % every == 0 { ticked.tick(latest, &mut found); }
            if index == cut {
                let bytes = ticked.to_bytes();
                ticked = Correlator::from_bytes("c", "t", settings, &bytes).unwrap();
                ticked.apply(signal, &mut found);
            }
        }
        let end = EventTime(latest.0 + 100 * HOUR);
        plain.tick(end, &mut expected);
        ticked.tick(end, &mut found);
        prop_assert_eq!(plain.open_entities() + ticked.open_entities(), 0);
        prop_assert_eq!(by_entity(found), by_entity(expected));
    }

    #[test]
    fn no_evidence_alerts_twice_and_every_threat_is_resolved_once(signals in some_signals()) {
        let mut correlator = Correlator::new("c", "t", CorrelationSettings::default());
        let mut out = Vec::new();
        signals.iter().for_each(|signal| correlator.apply(signal, &mut out));
        correlator.tick(EventTime(1 << 60), &mut out);
        let mut alert_of = BTreeMap::new();
        let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
        let mut resolved = BTreeSet::new();
        for output in &out {
            match output {
                Correlated::Alert(alert) => {
                    for id in &alert.threats {
                        prop_assert_eq!(alert_of.entry(id.clone()).or_insert_with(|| alert.id.clone()), &alert.id);
                    }
                    let before = revisions.insert(alert.id.clone(), alert.revision).unwrap_or(0);
                    prop_assert_eq!(alert.revision, before + 1);
                    prop_assert!(alert.revision <= 4 && alert.risk_score <= 10.0 && alert.suppressed_count < alert.count);
                    prop_assert!(alert.threats.len() as u64 <= alert.count && alert.first_seen <= alert.last_seen);
                }
                Correlated::Resolved(threat) => prop_assert!(resolved.insert(threat.id.clone())),
            }
        }
        let ids: BTreeSet<String> = signals.iter().map(|signal| signal.id.clone()).collect();
        prop_assert!(revisions.len() <= ids.len());
        let counts = correlator.counts();
        prop_assert_eq!(counts.alerts, revisions.len() as u64);
        prop_assert_eq!(resolved, ids, "fewer than the bound an entity, so all of them");
        prop_assert_eq!(counts.signals - counts.duplicates, counts.resolved);
    }
}

#[test]
fn an_alert_names_the_accounts_that_were_used_from_its_host() {
    let mut correlator = Correlator::new("test", "security.threats", CorrelationSettings::default());
    let alert = |correlator: &mut Correlator, offset, entity: &str, account: &str, risk| {
        let mut out = vec![];
        let signal = signal(offset, offset as i64, entity, "lateral_movement", &format!("t{offset}"), Severity::High, risk);
        correlator.apply(&ThreatSignal { account: account.into(), ..signal }, &mut out);
        out.into_iter().find_map(|output| if let Correlated::Alert(alert) = output { Some(alert) } else { None })
    };
    for (offset, account) in ["", "adm1", "adm2", "adm1"].into_iter().enumerate() {
        assert_eq!(alert(&mut correlator, offset as u64, "ip:10.0.0.1", account, 1.2), None, "not risky enough yet");
    }
    let named = alert(&mut correlator, 10, "ip:10.0.0.1", "adm1", 9.0).unwrap();
    assert_eq!(named.metadata["accounts"], serde_json::json!(["adm1", "adm2"]));
    assert!(named.description.ends_with("; with the account of adm1, adm2"), "{}", named.description);
    let of_many = (20..60).filter_map(|offset| alert(&mut correlator, offset, "ip:10.0.0.2", &format!("u{offset}"), 1.2)).last();
    assert!(of_many.is_some_and(|first| first.metadata["accounts"].as_array().unwrap().len() < 12));
    let worse = signal(61, 61, "ip:10.0.0.2", "beaconing", "t", Severity::Critical, 9.0);
    let mut out = vec![];
    correlator.apply(&worse, &mut out);
    let Some(Correlated::Alert(many)) = out.pop() else { panic!("no alert") };
    assert_eq!(many.metadata["accounts"].as_array().unwrap().len(), crate::limits::CORRELATED_SHOWN_MAX);
    assert!(many.description.ends_with("u20, u21, u22 and 9 more"), "{}", many.description);
    let itself = alert(&mut correlator, 82, "user:eve", "Eve", 9.0).unwrap();
    assert!(!itself.metadata.contains_key("accounts") && itself.description.ends_with("of 10"), "{}", itself.description);
}
