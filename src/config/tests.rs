//! What the loaders say of good and of bad files.

use std::path::Path;

use super::layers::{FlagLayer, Resolved};
use super::pipeline;
use super::service::{Bytes, ServiceSettings, Verdicts};

const GOOD_TEST: &str = "tests: [{name: t, given: [{line: x}], expect: {dead_letters: 1}}]\n";

/// Loads `text` and compares every problem, without the file's name.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = pipeline::parse("p.yaml", text, folder).err().map(|problems| problems.to_string()).unwrap_or_default();
    let found: Vec<&str> = shown.lines().map(|line| line.trim_start_matches("p.yaml")).collect();
    assert_eq!(found.len(), expected.len(), "{shown}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  does not start with\n{expected}");
    }
}

#[test]
fn the_pipelines_of_the_project_load() {
    for name in ["network", "identity"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/{name}.yaml"));
        let pipeline = pipeline::load(&file).map_err(|problems| problems.to_string()).unwrap();
        assert_eq!(pipeline.name, name);
        assert_eq!(pipeline::built_in(name), Some(pipeline.clone()));
        for case in &pipeline.tests {
            let records = case.records().unwrap();
            assert!(!records.is_empty() && records.is_sorted_by_key(|record| record.time), "{}", case.name);
            assert_eq!(records, case.records().unwrap(), "the same bytes every time");
        }
    }
}

#[test]
fn a_shown_pipeline_loads_again() {
    let text = format!("name: a\n{GOOD_TEST}");
    let first = pipeline::parse("p.yaml", &text, Path::new("")).unwrap();
    let shown = serde_norway::to_string(&first).unwrap();
    assert_eq!(pipeline::parse("p.yaml", &shown, Path::new("")).unwrap(), first);
    assert_eq!(first.core(), crate::core::settings::CoreSettings::default());
}

#[test]
fn unknown_keys_and_wrong_types_are_all_named_with_their_lines() {
    check(
        &format!(
            "name: a\ntresholds: {{low: 1}}\ndetectors:\n  behaviour: {{}}\n  isolation_forest:\n    trees: many\n    smaple: 3\nwindows:\n  allowed_lateness: 5 minutes\nfeatures: netwrok\nkey: source\ngeo:\n{GOOD_TEST}"
        ),
        &[
            ":2: tresholds: unknown key 'tresholds', did you mean 'thresholds'?",
            ":4: detectors.behaviour: unknown key 'behaviour', did you mean 'behavior'?",
            ":6: detectors.isolation_forest.trees: expected a whole number, found text",
            ":7: detectors.isolation_forest.smaple: unknown key 'smaple', did you mean 'sample'?",
            ":9: windows.allowed_lateness: '5 minutes' is not a time span",
            ":10: features: 'netwrok' is not known here, did you mean 'network'?",
            ":11: key: expected a list, found text",
            ":12: geo: expected a mapping, found nothing",
        ],
    );
}

#[test]
fn problems_of_form_and_of_meaning_are_reported_together() {
    check(
        &format!("name: A b\nnonsense: 1\nthresholds: {{low: 2, medium: 3}}\n{GOOD_TEST}"),
        &[
            ":1: name: write 1 to 40 lower-case",
            ":2: nonsense: unknown key 'nonsense', valid: ",
            ":3: thresholds.low: p-values fall",
            ":3: thresholds.medium: p-values fall",
        ],
    );
}

#[test]
fn meaning_is_checked() {
    for (text, expected) in [
        ("source: {codec: zeke}\n", ":2: source.codec: unknown codec 'zeke', did you mean 'zeek'?"),
        ("source: {codec: mapping}\n", ":2: source.mapping: 'mapping' goes with 'codec: mapping'"),
        (
            "source: {codec: mapping, mapping: {fields: {sorce_ip: a.b}}}\n",
            ":2: source.mapping.fields.sorce_ip: unknown field 'sorce_ip', did you mean 'source_ip'?",
        ),
        ("source: {topic: 'no spaces'}\n", ":2: source.topic: not a Kafka topic name"),
        ("routes: {alerts: security.threats}\n", ":2: routes.alerts: topic 'security.threats' has another use"),
        ("key: []\n", ":2: key: name at least one"),
        ("key: [user, user]\n", ":2: key: names a part twice"),
        ("exempt: [{entity: 'ip:10.0.0.0/33', reason: x}]\n", ":2: exempt[0].entity: '10.0.0.0/33' is no network"),
        ("exempt: [{entity: 'mars', reason: x}]\n", ":2: exempt[0].entity: 'mars' names no entity"),
        ("exempt: [{entity: 'user:a', reason: ' '}]\n", ":2: exempt[0].reason: say why"),
        (
            "exempt: [{entity: 'user:a', reason: x, detectors: [fanout]}]\n",
            ":2: exempt[0].detectors[0]: unknown detector 'fanout', did you mean 'fan_out'?",
        ),
        (
            "detectors: {threat_intel: {lists: [{name: a, path: /absent}]}}\n",
            ":2: detectors.threat_intel.lists[0].path: there is no file /absent",
        ),
        ("geo: {city: absent.mmdb}\n", ":2: geo.city: there is no file "),
        ("detectors: {beaconing: {weight: 0}}\n", ":2: detectors.beaconing.weight: write a number above 0"),
        ("detectors: {behavior: {weight: .nan}}\n", ":2: detectors.behavior.weight: write a number above 0"),
        ("detectors: {isolation_forest: {sample: 300}}\n", ":2: detectors.isolation_forest.sample: write 2 to 256"),
        ("learning: {events: 5}\n", ":2: learning.events: the isolation forest learns from at least 256"),
        ("correlation: {alert_risk: 1, resolve_risk: 2}\n", ":2: correlation.resolve_risk: must be above 0"),
        ("backtest: {bars: {min_recall: 2}}\n", ":2: backtest.bars.min_recall: write a share between 0 and 1"),
        ("windows: {analytics: 0s}\n", ":2: windows.analytics: 0ms is out of range: 1s to 1d"),
        ("state: {max_entities: -1}\n", ":2: state.max_entities: -1 is out of range"),
        ("description: 5\n", ":2: description: expected text, found a bare value; put it in quotes"),
    ] {
        check(&format!("name: a\n{text}{GOOD_TEST}"), &[expected]);
    }
}

#[test]
fn tests_of_pipelines_are_checked() {
    for (text, expected) in [
        ("", ": 'tests' is missing"),
        ("tests: []", ":2: tests: a pipeline needs at least one test"),
        ("tests: [{name: t, given: [], expect: {late: 1}}]", ":2: tests[0].given: gives 0 records"),
        ("tests: [{name: t, given: [{repeat: 5}], expect: {late: 1}}]", ":2: tests[0].given[0]: write either 'event' or 'line'"),
        ("tests: [{name: t, given: [{line: x}], expect: {}}]", ":2: tests[0].expect: expects nothing"),
        ("tests: [{name: t, start: now, given: [{line: x}], expect: {late: 1}}]", ":2: tests[0].start: 'now' is not a time"),
        ("tests: [{name: t, start: '2026-02-30T00:00:00Z', given: [{line: x}], expect: {late: 1}}]", ":2: tests[0].start: '2026-02-30"),
        ("tests: [{name: t, given: [{line: x, repeat: 999999999}], expect: {late: 1}}]", ":2: tests[0].given: gives 999999999 records"),
        ("tests: [{name: t, given: [{line: x}], expect: {threats: [{}]}}]", ":2: tests[0].expect.threats[0]: says nothing"),
        (
            "tests: [{name: t, given: [{line: x}], expect: {threats: [{type: a, severity: hihg}]}}]",
            ":2: tests[0].expect.threats[0].severity: 'hihg' is not known here, did you mean 'high'?",
        ),
    ] {
        check(&format!("name: a\n{text}"), &[expected]);
    }
}

#[test]
fn broken_yaml_says_where() {
    check("name: [", &[":2: did not find expected node content"]);
    check("name: a\nname: b", &[":1: duplicate entry with key \"name\""]);
    check("", &[": 'name' is missing", ": 'tests' is missing"]);
    check("- 1", &[": expected a mapping, found a list"]);
}

#[test]
fn cases_expand_and_judge() {
    let text = "name: a\ntests:\n- name: t\n  given:\n  - {event: {source_ip: 10.0.0.1, geo: {lat: 1}}, repeat: 3, every: 1m, vary: {geo.country: [DE, US], port: {from: 7, to: 8}, d: {from: 1, to: 9, format: 'h{}'}}}\n  - {line: 'x {time}', at: 30s}\n  - {line: last}\n  expect: {threats: [{type: beaconing, entity: 'ip:10.0.0.1', severity: medium, at_most: 1}], late: 0}\n";
    let pipeline = pipeline::parse("p.yaml", text, Path::new("")).map_err(|problems| problems.to_string()).unwrap();
    let case = &pipeline.tests[0];
    let lines: Vec<String> = case.records().unwrap().into_iter().map(|record| String::from_utf8(record.payload).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].contains(r#""timestamp":"2026-01-05T09:00:00.000000Z""#) && lines[0].contains(r#""country":"DE""#), "{}", lines[0]);
    assert_eq!(lines[1], "x 2026-01-05T09:00:30.000000Z");
    assert_eq!(lines[2], "last", "starts when the block before has ended");
    assert!(lines[3].contains(r#""country":"US""#) && lines[3].contains(r#""port":8"#) && lines[3].contains(r#""d":"h2""#), "{}", lines[3]);
    assert!(lines[4].contains(r#""port":7"#), "a range starts again: {}", lines[4]);

    use super::cases::{Observed, ObservedThreat};
    use crate::core::output::Severity;
    let threat = |kind: &str, severity| ObservedThreat {
        kind: kind.into(),
        entity: "ip:10.0.0.1".into(),
        severity,
        anomalies: vec!["beaconing".into()],
    };
    let observed = |threats: Vec<ObservedThreat>, late| Observed { threats, dead_letters: 0, late };
    assert_eq!(case.judge(&observed(vec![threat("beaconing", Severity::High)], 0)), Vec::<String>::new());
    assert_eq!(case.judge(&observed(vec![threat("beaconing", Severity::Low)], 0)), Vec::<String>::new(), "at_most alone allows none");
    let twice = vec![threat("beaconing", Severity::Medium), threat("beaconing", Severity::Critical)];
    assert!(case.judge(&observed(twice, 0))[0].starts_with("expected at most 1 'beaconing' of ip:10.0.0.1, found 2"));
    assert_eq!(
        case.judge(&Observed { dead_letters: 2, late: 1, threats: vec![] }),
        ["expected 0 dead letters, found 2", "expected 0 late events, found 1"]
    );
}

fn resolve(flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: Option<&str>) -> Result<Resolved, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("threatguard.yaml");
    std::fs::write(&path, file.unwrap_or_default()).unwrap();
    let mut layer = FlagLayer::default();
    for (key, value) in flags {
        layer.set(key, Some(value));
    }
    let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let named = file.map(|_| path.as_path());
    Resolved::new(&layer, &variables, named).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn flags_go_over_environment_over_file_over_defaults() {
    let file = "brokers: [file:1]\nkafka:\n  linger: 1ms\n  partitions: 3\n  overrides: {client.rack: a, fetch.min.bytes: '9'}\nverdicts: json\nshards: 2\n";
    let variables = [
        ("THREATGUARD_BROKERS", "env:1, env:2"),
        ("THREATGUARD_KAFKA_LINGER", "2ms"),
        ("THREATGUARD_KAFKA_CREATE_TOPICS", "false"),
        ("THREATGUARD_SHARDS", "4"),
        ("THREATGUARD_KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),
        ("THREATGUARD_KAFKA_SASL_USERNAME", "12"),
        ("THREATGUARD_KAFKA_SASL_PASSWORD", "CANARY-7f3a"),
        ("THREATGUARD_REDIS", "rediss://user:CANARY-7f3a@redis:6379/1"),
        ("THREATGUARD_SHARD", "1"),
        ("THREATGUARD_DATA", "somewhere"),
    ];
    let resolved = resolve(&[("shards", "6"), ("log.level", "debug")], &variables, Some(file)).unwrap();
    let set = &resolved.settings;
    assert_eq!(set.brokers.0, ["env:1", "env:2"]);
    assert_eq!((set.kafka.linger.micros, set.kafka.partitions, set.kafka.create_topics), (2_000, Some(3), false));
    assert_eq!((set.shards, set.verdicts, set.memory), (6, Verdicts::Json, Bytes(1 << 30)));
    assert_eq!(set.kafka.overrides["fetch.min.bytes"], "9");
    assert_eq!(set.kafka.sasl.username.as_deref(), Some("12"));
    assert_eq!(resolved.warnings, ["environment variable THREATGUARD_SHARD is no setting, did you mean THREATGUARD_SHARDS?"]);
    let shown = resolved.to_yaml();
    for line in [
        "shards: 6  # flag --shards",
        "  linger: 2ms  # environment variable THREATGUARD_KAFKA_LINGER",
        "  level: debug  # flag --log-level",
        "memory: 1GiB\n",
        "@redis:6379/1  # environment variable THREATGUARD_REDIS",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(shown.contains("brokers:  # environment variable THREATGUARD_BROKERS"), "{shown}");
    assert!(!shown.contains("CANARY") && !format!("{resolved:?}").contains("CANARY"), "secrets are never shown");
}

#[test]
fn problems_of_every_layer_are_reported_together() {
    let file = "brokrs: [a:1]\nkafka:\n  lingr: 1ms\n";
    let message = resolve(&[("listen", "nowhere"), ("shards", "x")], &[("THREATGUARD_MEMORY", "lots")], Some(file)).unwrap_err();
    for part in [
        "FILE:1: brokrs: unknown key 'brokrs', did you mean 'brokers'?",
        "FILE:3: kafka.lingr: unknown key 'lingr', did you mean 'linger'?",
        "environment variable THREATGUARD_MEMORY: memory: 'lots' is not a size",
        "flag --shards: shards: expected a whole number, found text",
        "listen: write an address and a port, such as 127.0.0.1:3002 or [::1]:0 (flag --listen)",
    ] {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
    let secret = resolve(&[], &[("THREATGUARD_REDIS", "http://user:CANARY-7f3a@x")], None).unwrap_err();
    assert!(secret.contains("redis: write redis://") && !secret.contains("CANARY"), "{secret}");
    let reserved = resolve(&[], &[], Some("kafka: {overrides: {acks: '0'}}")).unwrap_err();
    assert!(reserved.contains("kafka.overrides.acks: is set by ThreatGuard"), "{reserved}");
    let absent = Resolved::new(&FlagLayer::default(), &[], Some(Path::new("/absent.yaml"))).unwrap_err();
    assert!(absent.to_string().starts_with("cannot read /absent.yaml"), "{absent}");
}

/// What can be checked of the compose file without an engine: it parses, and what it gives ThreatGuard are settings and flags.
#[test]
fn the_compose_file_configures_threatguard_with_settings_that_exist() {
    let text = include_str!("../../docker/compose.yaml");
    let mut file: serde_norway::Value = serde_norway::from_str(text).unwrap();
    file.apply_merge().unwrap();
    let services = file["services"].as_mapping().unwrap();
    let ours = services.values().filter(|service| service["image"] == "threatguard");
    let mut seen = 0;
    for service in ours {
        let variables: Vec<(&str, &str)> = service["environment"]
            .as_mapping()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap()))
            .collect();
        let resolved = resolve(&[], &variables, None).unwrap();
        assert_eq!(resolved.origins.len(), variables.len(), "every variable is a setting");
        let command: Vec<&str> = service["command"].as_sequence().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(command[..2], ["run", "--pipeline"]);
        let pipeline = command[2].strip_prefix("/etc/threatguard/").unwrap();
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(pipeline).is_file(), "{pipeline} is in the image");
        seen += 1;
    }
    assert_eq!(seen, 2);
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert!(image == "threatguard" || image.contains(':') && !image.ends_with(":latest"), "{name:?}: {image} has no version");
    }
}

#[test]
fn secrets_among_the_overrides_are_masked_where_they_are_shown() {
    let text = "kafka: {overrides: {ssl.keystore.password: CANARY-1, sasl.oauthbearer.client.secret: CANARY-2, client.rack: here}}";
    let settings: ServiceSettings = serde_norway::from_str(text).unwrap();
    let shown = Resolved { settings, origins: Default::default(), warnings: vec![] }.to_yaml();
    assert!(shown.contains("client.rack: here") && !shown.contains("CANARY"), "{shown}");
}
