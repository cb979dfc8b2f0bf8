//! Scenario: partitions of an input are worked off at any paces, so their threats lie in the log in any order; each one's own order stays.
//! Guarantees: the same alerts, to the byte but for their ids, and in the end the same threats resolved at the same times.

use proptest::prelude::*;
use serde_json::Value;

use super::tests::{check, run, shown, signal, some_signals};
use super::*;
use crate::core::output::Severity;
use crate::core::types::{Partition, Position};

/// What is left of a log when all of it has been read.
#[derive(Debug, PartialEq)]
struct Told {
    /// Each revision, without the id, which is a place in the log.
    alerts: Vec<String>,
    /// What the latest record says of each threat.
    resolved: BTreeMap<String, String>,
}

impl Told {
    fn of(outputs: Vec<Correlated>) -> Self {
        let (mut alerts, mut resolved) = (vec![], BTreeMap::new());
        for output in outputs {
            let mut record: Value = serde_json::from_slice(&output.into_envelope().to_json()).unwrap();
            if record["type"] == "alert.created" {
                record["data"]["id"].take();
                alerts.push(record.to_string());
            } else {
                let alert = &mut record["data"]["metadata"]["alert"];
                *alert = alert.is_string().into();
                resolved.insert(record["data"]["id"].to_string(), record.to_string());
            }
        }
        alerts.sort();
        Self { alerts, resolved }
    }

    fn and(mut self, other: Self) -> Self {
        self.alerts.extend(other.alerts);
        self.alerts.sort();
        self.resolved.extend(other.resolved);
        self
    }
}

/// Reads a log whose time goes on with its threats; goes through bytes after each one of every `restart`.
fn read<'s>(log: impl IntoIterator<Item = &'s ThreatSignal>, restart: usize) -> Told {
    let settings = CorrelationSettings::default();
    let (mut correlator, mut out, mut latest) = (Correlator::new("c", "t", settings), vec![], EventTime(i64::MIN));
    for (offset, signal) in log.into_iter().enumerate() {
        let position = Position { partition: Partition(0), offset: Offset(offset as u64) };
        correlator.apply(&ThreatSignal { position, ..signal.clone() }, &mut out);
        latest = latest.max(signal.time);
        correlator.tick(latest, &mut out);
        if offset % restart == 0 {
            correlator = Correlator::from_bytes("c", "t", settings, &correlator.to_bytes()).unwrap();
        }
    }
    correlator.tick(EventTime(1 << 60), &mut out);
    assert_eq!(correlator.open_entities(), 0);
    Told::of(out)
}

/// Threats of a partition of the input: its entities are its own.
fn of_partition(partition: u32, signals: Vec<ThreatSignal>) -> Vec<ThreatSignal> {
    let own = |mut signal: ThreatSignal| {
        signal.evidence.partition = partition;
        ThreatSignal { entity: format!("{}{partition}", signal.entity), id: format!("{partition}{}", signal.id), ..signal }
    };
    signals.into_iter().map(own).collect()
}

/// The threats of all partitions in the order of `turns`: whose next one comes next.
fn interleaved<'s>(partitions: &'s [Vec<ThreatSignal>], turns: &[usize]) -> Vec<&'s ThreatSignal> {
    let mut rest: Vec<_> = partitions.iter().map(|signals| signals.iter()).collect();
    let mut log: Vec<&ThreatSignal> = turns.iter().filter_map(|turn| rest[turn % partitions.len()].next()).collect();
    log.extend(rest.into_iter().flatten());
    log
}

#[test]
fn an_entity_is_judged_by_its_own_threats_whatever_others_have_come_to() {
    let scan = |offset, hours: i64, target| signal(offset, hours * 60, "ip:a", "port_scan", target, Severity::Low, 4.2);
    // Both hosts scan twice within an hour, which together makes an alert, and go on for two days.
    let partition = |number| of_partition(number, vec![scan(0, 0, "t"), scan(1, 1, "u"), scan(2, 48, "t"), scan(3, 49, "u")]);
    let partitions = [partition(0), partition(1)];
    let apart = read(&partitions[0], 1).and(read(&partitions[1], 1));
    assert_eq!((apart.alerts.len(), apart.resolved.len()), (4, 8));
    for (what, turns) in [
        ("in order", [0, 1, 0, 1, 0, 1, 0, 1]),
        ("one after the other", [0, 0, 0, 0, 1, 1, 1, 1]),
        ("one two days ahead from the second threat on", [0, 1, 0, 0, 1, 1, 0, 1]),
        ("by turns a day ahead", [0, 1, 0, 0, 0, 1, 1, 1]),
    ] {
        assert_eq!(read(interleaved(&partitions, &turns), 1), apart, "{what}");
    }
}

#[test]
fn what_was_told_too_early_is_open_again() {
    let steps = "0 ip:b brute_force t high 8 of 1\n0 ip:a port_scan t low 1\ntick 0\n5000 ip:a port_scan t low 1\ntick 5000\n\
                 60 ip:b brute_force u critical 10 of 1\ntick 5000\ntick 9000";
    let found = run(CorrelationSettings::default(), steps);
    let of_b: Vec<&Correlated> = found.iter().filter(|output| output.entity() == "ip:b").collect();
    let expected = [
        "ip:b r1 high risk 8.0 n1 s0 brute_force",
        "ip:b resolved 1 at 18:00:00 risk_decayed",
        "ip:b r2 critical risk 10.0 n2 s0 brute_force",
        "ip:b resolved 1 at 20:55:53 risk_decayed",
        "ip:b resolved 6 at 20:55:53 risk_decayed",
    ];
    assert_eq!(of_b.iter().map(|output| shown(output)).collect::<Vec<_>>(), expected);
    let ids: BTreeSet<&str> =
        of_b.iter().filter_map(|output| if let Correlated::Alert(alert) = output { Some(&*alert.id) } else { None }).collect();
    assert_eq!(ids.len(), 1, "one alert");
}

#[test]
fn what_was_told_is_kept_as_long_as_its_partition_may_add_to_it_and_room_lasts() {
    let settings = CorrelationSettings { max_entities: 2, ..CorrelationSettings::default() };
    let scan = |offset, minutes, entity: &str, partition| {
        let mut signal = signal(offset, minutes, entity, "port_scan", "t", Severity::Low, 4.0);
        signal.evidence.partition = partition;
        signal
    };
    let (mut correlator, mut out) = (Correlator::new("test", "t", settings), vec![]);
    let mut step = |correlator: &mut Correlator, signal: ThreatSignal, tick: i64| {
        correlator.apply(&signal, &mut out);
        correlator.tick(EventTime(tick * 60_000_000), &mut out);
        let kept: Vec<String> = correlator.entities.iter().map(|(key, entity)| format!("{key} {}", entity.told)).collect();
        (kept.join(", "), correlator.open_entities(), correlator.counts().evicted)
    };
    let mut next = |signal, tick| step(&mut correlator, signal, tick);
    assert_eq!(next(scan(0, 0, "ip:a", 1), 0), ("ip:a false".into(), 1, 0));
    assert_eq!(next(scan(1, 9_000, "ip:b", 2), 9_000), ("ip:a true, ip:b false".into(), 1, 0), "others are days ahead");
    assert_eq!(next(scan(2, 700, "ip:b", 1), 9_000), ("ip:a true, ip:b false".into(), 1, 0));
    assert_eq!(next(scan(3, 9_000, "ip:c", 2), 9_000), ("ip:b false, ip:c false".into(), 2, 0), "room for an open one");
    assert_eq!(next(scan(4, 9_000, "ip:d", 2), 9_000).2, 1, "then the quietest");
    assert_eq!(next(scan(5, 99_000, "ip:d", 2), 99_000).0, "ip:c true, ip:d false");
    assert_eq!(next(scan(6, 99_001, "ip:d", 2), 99_001).0, "ip:d false", "its own partition is days past it");
}

#[test]
fn a_state_that_was_kept_before_anything_told_was_is_read() {
    let settings = CorrelationSettings::default();
    let mut correlator = Correlator::new("c", "t", settings);
    correlator.apply(&signal(0, 0, "ip:a", "port_scan", "t", Severity::Low, 4.0), &mut vec![]);
    let kept = String::from_utf8(correlator.to_bytes()).unwrap();
    let old = kept.replace(",\"told\":false", "");
    assert!(old.len() < kept.len() && !old.contains("told"));
    let read = Correlator::from_bytes("c", "t", settings, old.as_bytes()).unwrap();
    assert_eq!(read.to_bytes(), correlator.to_bytes());
}

#[test]
fn what_lasted_counts_from_its_end_where_others_prove_it() {
    check(
        "until the latest one: in full",
        "360 ip:a port_scan t low 3\n0 ip:a beaconing t low 4 for 360",
        &["ip:a r1 low risk 8.8 n2 s0 port_scan+beaconing"],
    );
    check(
        "an end moves no time",
        "0 ip:a port_scan t low 3 for 6000\n60 ip:a beaconing t low 3",
        &["ip:a r1 low risk 7.1 n2 s0 port_scan+beaconing"],
    );
    check(
        "one that lasted longer than its risk lives makes an alert, which is over when it is heard",
        "5000 ip:b port_scan t low 1\ntick 5000\n0 ip:a beaconing t high 8 for 4990\ntick 5000",
        &["ip:a r1 high risk 8.0 n1 s0 beaconing", "ip:a resolved 3 at 18:00:00 risk_decayed"],
    );
}

proptest! {
    #[test]
    fn the_paces_of_partitions_change_no_alert(
        signals in prop::collection::vec(some_signals(), 2..5),
        turns in prop::collection::vec(0usize..4, 0..200),
        restart in 1usize..9,
    ) {
        let partitions: Vec<_> = signals.into_iter().zip(0..).map(|(signals, partition)| of_partition(partition, signals)).collect();
        let apart = partitions.iter().map(|own| read(own, 1)).reduce(Told::and).unwrap();
        prop_assert_eq!(read(interleaved(&partitions, &turns), restart), apart);
    }
}
