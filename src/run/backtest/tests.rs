//! Collectors that are fed by hand: incidents, measures, bars and what is refused.

use super::*;
use crate::config::backtest::Bars;
use crate::core::event::{Entity, Record};
use crate::core::types::{EntityKind, EventTime, Offset, Partition, Position};
use report::{Report, Subject};

const HOUR: i64 = 3_600;

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

fn collector(settings: &BacktestSettings) -> Collector {
    let label = Some("label".to_owned());
    let mut collector = Collector::new(&BacktestSettings { label, ..settings.clone() }, None, 0).unwrap();
    (collector.at_work, collector.threshold) = (vec![0], 9.0);
    collector
}

/// One event of `ip:<entity>` after so many seconds, with its label as JSON has it; the first detector says half of the surprise.
fn hear(collector: &mut Collector, entity: u128, seconds: i64, label: &str, surprise: f32) {
    let at = Position { partition: Partition(0), offset: Offset(0) };
    let name = format!("10.0.0.{entity}");
    let quoted = format!("\"{label}\"");
    let extra = [("other", "\"x\""), ("label", quoted.as_str())];
    let mut event = Event::blank(&Record { at, payload: b"", time: None });
    event.time = EventTime(seconds * 1_000_000);
    event.entity = Entity { kind: EntityKind::Ip, key: EntityKey(entity), name: &name };
    event.extra = &extra;
    let mut parts = [0.0; PARTS];
    parts[0] = surprise / 2.0;
    collector.fates.scored += 1;
    collector.take(&event, surprise, &parts);
}

fn report(collector: Collector, bars: &Bars) -> Result<Report> {
    collector.report(Subject { pipeline: "p<1>".into(), models: None }, bars)
}

/// Three benign entities, one of them with a false threat; two scans of one attacker, the second found after ten minutes.
fn heard() -> Collector {
    let mut all = collector(&BacktestSettings { ignore: vec!["noise".into()], ..BacktestSettings::default() });
    for second in 0..100 {
        hear(&mut all, second as u128 % 3, second, "Benign", if second == 50 { 9.0 } else { 1.0 });
    }
    for (seconds, surprise) in [(0, 1.0), (HOUR - 1, 1.0), (3 * HOUR, 2.0), (3 * HOUR + 600, 20.0), (3 * HOUR + 700, 18.0)] {
        hear(&mut all, 9, seconds, "scan", surprise);
    }
    hear(&mut all, 9, 10 * HOUR, "noise", 30.0);
    hear(&mut all, 9, 11 * HOUR, "-", 30.0);
    all
}

#[test]
fn an_incident_ends_with_an_hour_of_silence_and_is_found_by_the_first_threat_after_it_began() {
    let incidents = report(heard(), &Bars::default()).unwrap().incidents;
    let seconds: Vec<_> = incidents.list.iter().map(|incident| (incident.events, incident.seconds_to_threat)).collect();
    assert_eq!(seconds, [(2, None), (3, Some(600.0))]);
    assert_eq!((incidents.ensemble.incidents, incidents.ensemble.found), (2, 1));
    // The detector says half of 20 and so fires at the same event; no alert was heard.
    assert_eq!((incidents.members["isolation_forest"].found, incidents.alerts.found), (1, 0));
    close(incidents.by_class["scan"].seconds_to_first.unwrap().median, 600.0);
    assert_eq!((incidents.list[1].entity.as_str(), incidents.list[1].class.as_str()), ("ip:10.0.0.9", "scan"));
}

#[test]
fn a_threat_counts_up_to_an_hour_after_the_last_event_whatever_its_own_label() {
    for (after, label, found) in [(HOUR, "Benign", 1), (HOUR, "noise", 1), (HOUR + 1, "noise", 0)] {
        let mut all = collector(&BacktestSettings { ignore: vec!["noise".into()], ..BacktestSettings::default() });
        hear(&mut all, 1, 0, "Benign", 9.5);
        hear(&mut all, 1, 10, "scan", 1.0);
        hear(&mut all, 1, 10 + after, label, 9.0);
        hear(&mut all, 2, 10, "Benign", 9.0);
        assert_eq!(report(all, &Bars::default()).unwrap().incidents.ensemble.found, found, "{after} {label}");
    }
}

#[test]
fn events_and_entities_are_measured_by_the_threshold_and_alerts_by_their_entity() {
    let mut all = heard();
    all.alerts.push(("ip:10.0.0.9".into(), (3 * HOUR + 660) * 1_000_000));
    all.alerts.push(("ip:10.9.9.9".into(), 0));
    let report = report(all, &Bars::default()).unwrap();
    assert_eq!(report.fates, Fates { scored: 107, measured: 105, warming_up: 0, unlabelled: 2 });
    let deployed = report.events.ensemble.deployed;
    // 9.0 is the threshold itself: from there on it is a threat.
    assert_eq!((deployed.tpr, deployed.fpr, deployed.threshold), (0.4, 0.01, 9.0));
    close(report.events.members["isolation_forest"].deployed.tpr, 0.4);
    let entities = report.entities.unwrap();
    assert_eq!((entities.rows, entities.base_rate, entities.ensemble.deployed.tpr), (4, 0.25, 1.0));
    assert!((entities.ensemble.deployed.fpr - 1.0 / 3.0).abs() < 1e-12);
    close(entities.ensemble.recall_by_class["scan"], 1.0);
    close(report.incidents.alerts.seconds_to_first.unwrap().max, 660.0);
}

#[test]
fn bars_are_held_against_the_measures_and_missed_where_there_are_none() {
    let bars = Bars { min_recall: Some(0.4), max_fpr: Some(0.009), max_seconds_to_threat: Some(600.0), ..Bars::default() };
    let all = report(heard(), &bars).unwrap();
    assert_eq!(all.bars.iter().map(|bar| bar.met).collect::<Vec<_>>(), [true, false, true]);
    let xml = junit::junit(&all, 1.25);
    assert!(xml.contains(r#"<testsuite name="backtest p&lt;1&gt;" tests="3" failures="1" errors="0" time="1.250">"#), "{xml}");
    assert_eq!((xml.matches("<failure message=\"max_fpr 0.009: 0.01\"/>").count(), xml.matches("<testcase").count()), (1, 3));

    let mut one = collector(&BacktestSettings::default());
    for (second, label) in [(0, "benign"), (1, "scan")] {
        hear(&mut one, 1, second, label, 1.0);
    }
    let bars = Bars { max_seconds_to_threat: Some(600.0), max_entity_fpr: Some(1.0), ..Bars::default() };
    let one = report(one, &bars).unwrap();
    assert!(one.entities.is_none() && one.bars.iter().all(|bar| !bar.met && bar.value.is_none()), "{:?}", one.bars);
    let without = report(heard(), &Bars::default()).unwrap();
    assert!(junit::junit(&without, 0.0).contains(r#"tests="1" failures="0""#));
}

#[test]
fn one_kind_of_label_alone_is_refused_with_what_would_mend_it() {
    let refused = |labels: &[&str], settings: &BacktestSettings| {
        let mut all = collector(settings);
        labels.iter().for_each(|label| hear(&mut all, 1, 0, label, 1.0));
        report(all, &Bars::default()).map(|_| ()).unwrap_err().to_string()
    };
    let plain = BacktestSettings::default();
    assert!(refused(&["normal", "0"], &plain).contains("all 2 labels are benign (normal, 0)"));
    assert!(refused(&["scan"], &plain).contains("none of 1 labels is benign (scan); name the benign value with --benign"));
    assert!(refused(&["", "-"], &plain).contains("no event has a label in 'label'"));
    assert!(refused(&[], &plain).contains("nothing was scored"));
    let quiet = BacktestSettings { benign: Some("quiet".into()), ..plain };
    assert!(refused(&["benign"], &quiet).contains("none of 1 labels is benign"), "another word was named");
    assert!(Collector::new(&BacktestSettings::default(), None, 0).map(|_| ()).unwrap_err().to_string().contains("--label"));
}

#[test]
fn labels_beside_the_events_take_the_place_of_their_own() {
    let line = r#"{"entities":["ip:10.0.0.2"],"start":"1970-01-01T00:00:05Z","end":"1970-01-01T00:00:06Z","kind":"worm"}"#;
    let mut all = collector(&BacktestSettings::default());
    all.spans = Some(Spans::parse(line).unwrap());
    (0..10).for_each(|second| hear(&mut all, second % 3, i64::try_from(second).unwrap(), "scan", 1.0));
    let report = report(all, &Bars::default()).unwrap();
    assert_eq!((report.events.rows, report.events.base_rate), (10, 0.1));
    assert_eq!(report.incidents.list[0].class, "worm");
}

#[test]
fn a_field_that_is_no_label_is_refused() {
    let mut all = collector(&BacktestSettings::default());
    (0..=BACKTEST_CLASSES_MAX).for_each(|number| hear(&mut all, 1, 0, &format!("x{number}"), 1.0));
    assert!(all.check().unwrap_err().to_string().contains("is it the label?"));
}
