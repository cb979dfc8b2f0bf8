//! Counting, exposition, and that the dashboard and the alert rules use what exists.

use super::*;
use crate::models::comparison::Compared;
use crate::models::drift::{ColumnDrift, Report, ShareError};
use crate::models::recalibrate::Shift;

/// The value of a line of the exposition.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_batch_is_counted_once_and_conserved() {
    let metrics = Metrics::new();
    let counts = Counts { received: 10, scored: 7, late: 1, dead_lettered: 2, replayed: 3, threats: 1 };
    let mut delta = Delta { counts, ..Delta::default() };
    delta.dead_letter(RejectReason::TooDeep);
    delta.dead_letter(RejectReason::Panicked);
    delta.threats[Severity::High as usize] = 1;
    delta.fired[1] = 1;
    delta.surprise_nats[1] = 2.5;
    delta.spent(Stage::Publish, Duration::from_millis(1_500));
    delta.latency.add(900, 6);
    delta.latency.add(99_000_000, 1);
    metrics.add(&delta);
    let text = metrics.to_text().unwrap();
    for (series, expected) in [
        ("threatguard_events_received_total", 10.0),
        ("threatguard_events_scored_total", 7.0),
        ("threatguard_events_replayed_total", 3.0),
        ("threatguard_events_in_flight", 0.0),
        ("threatguard_conservation", 0.0),
        ("threatguard_events_dead_lettered_total{reason=\"too_deep\"}", 1.0),
        ("threatguard_events_dead_lettered_total{reason=\"empty\"}", 0.0),
        ("threatguard_threats_total{severity=\"high\"}", 1.0),
        ("threatguard_detector_fired_total{detector=\"behavior\"}", 1.0),
        ("threatguard_detector_surprise_nats_total{detector=\"behavior\"}", 2.5),
        ("threatguard_stage_seconds_total{stage=\"publish\"}", 1.5),
        ("threatguard_latency_seconds_bucket{le=\"0.0005\"}", 0.0),
        ("threatguard_latency_seconds_bucket{le=\"0.001\"}", 6.0),
        ("threatguard_latency_seconds_bucket{le=\"60\"}", 6.0),
        ("threatguard_latency_seconds_bucket{le=\"+Inf\"}", 7.0),
        ("threatguard_latency_seconds_count", 7.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series} in\n{text}");
    }
    let warm = metrics.latencies();
    assert_eq!(warm.percentiles().p50, 900);
    let mut delta = Delta { counts: Counts { received: 2, scored: 1, ..Counts::default() }, ..Delta::default() };
    delta.latency.add(50, 1);
    metrics.add(&delta);
    assert_eq!(metrics.latencies().since(&warm).percentiles().max, 50, "without what came before");
    assert_eq!(metrics.conservation(), 1, "a lost record shows");
}

fn show_models(metrics: &Metrics) {
    metrics.models.set(CHAMPION, Some("0123456789abcdef"));
    metrics.models.set_compared(Some(&Compared { both: 3, ..Compared::default() }));
    let columns = vec![ColumnDrift { column: "port".to_owned(), psi: 0.3, ks: 0.05, usual_psi: 0.1, usual_ks: 0.1 }];
    let shares = vec![ShareError { nominal: 0.01, ratio: 1.5, is_significant: false }];
    metrics.models.set_drift(&Report { rows: 1_000, columns, shares }, &["psi"]);
    let shift = Shift { detector: "behavior".to_owned(), factor: 1.3, is_alarm: true, is_refused: false };
    metrics.models.set_recalibration(&[shift], Some(1_000_000));
}

#[test]
fn every_name_is_exposed_and_partitions_come_and_go() {
    let metrics = Metrics::new();
    metrics.set_partition(Partition(3), 17, Duration::from_secs(2));
    metrics.set_learning(0.25);
    show_models(&metrics);
    let text = metrics.to_text().unwrap();
    for name in NAMES {
        assert!(text.contains(&format!("# TYPE {} ", name.0)), "{} is not exposed", name.0);
    }
    assert!((value(&text, "threatguard_lag_records{partition=\"3\"}") - 17.0).abs() < 1e-9);
    metrics.forget_partition(Partition(3));
    metrics.forget_partition(Partition(4));
    assert!(!metrics.to_text().unwrap().contains("partition=\"3\""));
}

#[test]
fn pipelines_of_one_process_have_series_of_their_own() {
    let metrics = Metrics::new();
    for (name, lag) in [("network", 17), ("identity", 4)] {
        let pipeline = metrics.of(name);
        pipeline.set_partition(Partition(3), lag, Duration::from_secs(2));
        pipeline.set_learning(0.25);
        show_models(&pipeline);
        pipeline.set_held(0, Held { partitions: 2, entities: 100, evicted: 5 });
        pipeline.set_held(1, Held { partitions: 1, entities: 10, evicted: 0 });
        pipeline.set_held(1, Held { partitions: lag, entities: 30, evicted: 2 });
        pipeline.add(&Delta { counts: Counts { received: lag, scored: lag, ..Counts::default() }, ..Delta::default() });
    }
    let text = metrics.to_text().unwrap();
    for name in NAMES {
        assert_eq!(text.matches(&format!("# TYPE {} ", name.0)).count(), 1, "{} in\n{text}", name.0);
        let series = text.lines().filter(|line| line.starts_with(name.0));
        let unnamed: Vec<&str> = series.filter(|line| !line.contains("pipeline=\"")).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }
    for (series, expected) in [
        ("threatguard_lag_records{partition=\"3\",pipeline=\"network\"}", 17.0),
        ("threatguard_lag_records{partition=\"3\",pipeline=\"identity\"}", 4.0),
        ("threatguard_events_scored_total{pipeline=\"identity\"}", 4.0),
        ("threatguard_partitions_assigned{pipeline=\"identity\"}", 6.0),
        ("threatguard_entities_resident{pipeline=\"identity\"}", 130.0),
        ("threatguard_entities_evicted_total{pipeline=\"network\"}", 7.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series} in\n{text}");
    }
    metrics.of("network").forget_partition(Partition(3));
    let text = metrics.to_text().unwrap();
    assert!(!text.contains("partition=\"3\",pipeline=\"network\"") && text.contains("partition=\"3\",pipeline=\"identity\""));
}

#[test]
fn what_waits_is_received_and_leaves_with_its_verdict() {
    let metrics = Metrics::new();
    let figures = || {
        let text = metrics.to_text().unwrap();
        ["threatguard_events_received_total", "threatguard_events_in_flight", "threatguard_conservation"]
            .map(|name| value(&text, name) as i64)
    };
    let scored =
        |taken, events| Delta { counts: Counts { received: events, scored: events, ..Counts::default() }, taken, ..Delta::default() };
    metrics.take(10);
    assert_eq!(figures(), [10, 10, 0]);
    metrics.add(&scored(4, 4));
    assert_eq!(figures(), [10, 6, 0], "what was scored waits no more");
    metrics.add(&scored(0, 14));
    assert_eq!(figures(), [24, 6, 0], "what was never said to wait");
    metrics.add(&scored(6, 6).given_back());
    assert_eq!(figures(), [24, 0, 0], "an abort: given back, and a counter never falls");
    metrics.take(9);
    assert_eq!(figures(), [27, 9, 0], "six of them were counted before");
    metrics.add(&scored(9, 8));
    assert_eq!(figures(), [27, 0, 0], "one was delivered a second time");
    metrics.add(&scored(0, 0));
    metrics.take(1);
    metrics.add(&scored(1, 1));
    assert_eq!(figures(), [27, 0, 0]);
}

#[test]
fn deltas_add_up_and_what_is_given_back_was_only_work() {
    let mut delta =
        Delta { counts: Counts { received: 3, scored: 2, dead_lettered: 1, replayed: 4, ..Counts::default() }, ..Delta::default() };
    delta.dead_letter(RejectReason::Empty);
    delta.spent(Stage::Score, Duration::from_secs(2));
    (delta.taken, delta.alerts, delta.resolved) = (3, 1, 2);
    (delta.threats[0], delta.fired[1], delta.surprise_nats[1]) = (1, 1, 0.5);
    delta.latency.add(100, 2);
    let mut twice = delta.clone();
    twice.merge(&delta);
    let (once, sum) = (Metrics::new(), Metrics::new());
    let add = |metrics: &Metrics, delta: &Delta, times: u64| {
        metrics.take(delta.taken);
        (0..times).for_each(|_| metrics.add(delta));
        metrics.to_text().unwrap()
    };
    once.take(3);
    assert_eq!(add(&once, &delta, 2), add(&sum, &twice, 1));
    let work = Metrics::new();
    let text = add(&work, &delta.given_back(), 1);
    for (series, expected) in [
        ("threatguard_events_replayed_total", 4.0),
        ("threatguard_stage_seconds_total{stage=\"score\"}", 2.0),
        ("threatguard_events_scored_total", 0.0),
        ("threatguard_alerts_total", 0.0),
        ("threatguard_events_dead_lettered_total{reason=\"empty\"}", 0.0),
        ("threatguard_latency_seconds_count", 0.0),
        ("threatguard_events_in_flight", 0.0),
        ("threatguard_conservation", 0.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series} in\n{text}");
    }
}

#[test]
fn reasons_and_stages_stand_where_their_index_says() {
    for (index, reason) in REASONS.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
    for (index, (stage, _)) in Stage::ALL.iter().enumerate() {
        assert_eq!(*stage as usize, index);
    }
}

/// Names of metrics in a text: what begins like ours and goes on like a name.
fn names_in(text: &str) -> std::collections::BTreeSet<String> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
    text.split(ends).filter(|word| word.starts_with("threatguard_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist_and_show_them_all() {
    let dashboard = include_str!("../../../docker/grafana/dashboards/threatguard.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    assert!(parsed["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
    let text = format!("{dashboard}{}", include_str!("../../../docker/alerts.yaml"));
    let used = names_in(&text);
    // A histogram is read by its series.
    let base = |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned();
    for name in &used {
        assert!(NAMES.iter().any(|known| known.0 == base(name)), "{name} is no metric");
    }
    // Every series bears its pipeline; what a scrape adds under the same name would push ours aside.
    assert!(!include_str!("../../../docker/prometheus.yaml").contains("pipeline:"));
    for known in NAMES {
        assert!(used.iter().any(|name| base(name) == known.0), "{} is on no panel", known.0);
    }
}
