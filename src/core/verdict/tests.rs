//! Threats from scores and explanations made by hand.

use super::*;
use crate::core::detect::{BEHAVIOR, BRUTE_FORCE, Contribution, DNS_TUNNEL, FAN_OUT, ISOLATION_FOREST};
use crate::core::event::{Flow, Geo, Outcome, Repair, Repairs};
use crate::core::features::row::{FeatureRows, MODEL_WIDTH, SIGNAL_WIDTH};
use crate::core::settings::ThresholdSettings;
use crate::core::types::EntityKey;
use crate::limits::{EXTRA_SHOWN_BYTES_MAX, EXTRA_SHOWN_MAX};

/// Says what it is told to.
struct Scripted(&'static str, Explanation);

impl Detector for Scripted {
    fn name(&self) -> &'static str {
        self.0
    }
    fn version(&self) -> &str {
        "7"
    }
    fn score(&self, _: FeatureRows<'_>, out: &mut [f32]) {
        out.fill(0.0);
    }
    fn explain(&self, _: RowView<'_>, out: &mut Explanation) {
        *out = self.1.clone();
    }
}

fn scripted(index: usize, threat_type: &'static str, feature: &'static str, surprise: f32) -> Box<dyn Detector> {
    let anomalies = if threat_type == threat_type::ANOMALOUS_BEHAVIOR {
        vec![]
    } else {
        vec![Anomaly { name: threat_type, description: format!("{feature} was 9."), observed: 9.0, expected: 1.0, surprise }]
    };
    let contributions = vec![Contribution { feature, observed: 9.0, expected: 1.0, weight: 2.0 }];
    Box::new(Scripted(NAMES[index], Explanation { threat_type, anomalies, contributions }))
}

fn event() -> Event<'static> {
    Event {
        at: Position::default(),
        raw: b"",
        time: EventTime(1_795_305_600_000_000),
        reached: EventTime(1_795_305_600_000_000),
        source_ip: "10.0.0.5".parse().unwrap(),
        dest_ip: "10.0.0.9".parse().unwrap(),
        protocol: "tcp",
        port: 22,
        bytes: 0,
        event_type: "ssh",
        user_agent: "",
        user_id: "alice",
        resource: "sshd",
        action: "",
        outcome: Outcome::Failure,
        outcome_text: "",
        device_id: "",
        session_id: "",
        file_hash: "",
        geo: Geo::default(),
        flow: Flow::default(),
        extra: &[],
        repairs: Repairs::default(),
        entity: Entity { kind: EntityKind::Ip, key: EntityKey::default(), name: "10.0.0.5" },
    }
}

fn thresholds() -> SeverityThresholds {
    SeverityThresholds::new(&ThresholdSettings::default())
}

fn scored(parts: &[(usize, f32)]) -> Scored {
    let mut parts_surprise = [0.0; NAMES.len()];
    parts.iter().for_each(|(index, surprise)| parts_surprise[*index] = *surprise);
    let surprise = parts_surprise.iter().sum();
    let severity = thresholds().severity(surprise).unwrap_or(Severity::Low);
    Scored { surprise, severity, parts: parts_surprise, parts_surprise, learning: false }
}

fn build<'b>(event: &Event<'b>, scored: &Scored, detectors: &[Box<dyn Detector>]) -> Threat<'b> {
    let mut signals = [0.0; SIGNAL_WIDTH];
    signals[Signal::Events as usize] = 300.0;
    signals[Signal::IntelConfidence as usize] = 0.95;
    threat(event, RowView { model: &[0.0; MODEL_WIDTH], signals: &signals, sequence: None }, scored, detectors, &thresholds())
}

fn detectors() -> Vec<Box<dyn Detector>> {
    vec![
        scripted(ISOLATION_FOREST, threat_type::ANOMALOUS_BEHAVIOR, "bytes", 0.0),
        scripted(BEHAVIOR, threat_type::UNUSUAL_TIME, "hour_rarity", 7.0),
        scripted(BRUTE_FORCE, threat_type::PASSWORD_SPRAYING, "failures_5m", 30.0),
        scripted(FAN_OUT, threat_type::PORT_SCAN, "distinct_ports", 15.0),
        scripted(DNS_TUNNEL, threat_type::CREDENTIAL_COMPROMISE, "new_country", 9.0),
        scripted(THREAT_INTEL, threat_type::THREAT_INTEL_MATCH, "intel_confidence", 24.0),
    ]
}

#[test]
fn the_dominating_detector_names_the_threat() {
    let user = Event { entity: Entity { kind: EntityKind::User, ..event().entity }, ..event() };
    for (event, parts, expected) in [
        (event(), vec![(BEHAVIOR, 12.0), (FAN_OUT, 3.0)], threat_type::UNUSUAL_TIME),
        (event(), vec![(BEHAVIOR, 12.0), (FAN_OUT, 12.0)], threat_type::UNUSUAL_TIME),
        (event(), vec![(BEHAVIOR, 12.0), (FAN_OUT, 13.0)], threat_type::PORT_SCAN),
        (event(), vec![(ISOLATION_FOREST, 13.0)], threat_type::ANOMALOUS_BEHAVIOR),
        (event(), vec![(ISOLATION_FOREST, 13.0), (FAN_OUT, 2.0)], threat_type::ANOMALOUS_BEHAVIOR),
        (event(), vec![(ISOLATION_FOREST, 13.0), (FAN_OUT, 9.0)], threat_type::PORT_SCAN),
        (event(), vec![(BRUTE_FORCE, 20.0)], threat_type::PASSWORD_SPRAYING),
        (user, vec![(BRUTE_FORCE, 20.0)], threat_type::BRUTE_FORCE),
        (event(), vec![(DNS_TUNNEL, 9.0)], threat_type::BRUTE_FORCE),
        (Event { outcome: Outcome::Success, ..event() }, vec![(DNS_TUNNEL, 9.0)], threat_type::CREDENTIAL_COMPROMISE),
        (event(), vec![], threat_type::ANOMALOUS_BEHAVIOR),
    ] {
        let threat = build(&event, &scored(&parts), &detectors());
        assert_eq!(threat.kind.name, expected, "{parts:?}");
        let shares: f32 = threat.contributions.iter().map(|c| c.share).sum();
        assert!((shares - 1.0).abs() < 1e-5 || parts.is_empty(), "{parts:?}");
    }
}

#[test]
fn a_threat_says_everything_about_itself() {
    let threat = build(&event(), &scored(&[(ISOLATION_FOREST, 5.0), (BEHAVIOR, 5.0), (FAN_OUT, 10.0)]), &detectors());
    assert_eq!(threat.description, "Port scan by ip:10.0.0.5. distinct_ports was 9. 1 more anomaly.");
    assert_eq!((threat.source.as_str(), threat.target.as_str()), ("10.0.0.5", "10.0.0.9"));
    assert_eq!(threat.severity, Severity::High);
    let shares: Vec<_> = threat.contributions.iter().map(|c| (c.feature, c.share)).collect();
    assert_eq!(shares, [("distinct_ports", 0.5), ("bytes", 0.25), ("hour_rarity", 0.25)]);
    let rated: Vec<_> = threat.anomalies.iter().map(|a| (a.anomaly.name, a.severity)).collect();
    assert_eq!(rated, [("port_scan", Severity::Medium), ("unusual_time", Severity::Low)]);
    assert_eq!(threat.detectors.len(), 6);
    assert_eq!((threat.detectors[3].name, threat.detectors[3].version.as_str()), ("fan_out", "7"));
    assert!((threat.detectors[3].p - 4.54e-5).abs() < 1e-6 && (threat.detectors[4].p - 1.0).abs() < 1e-9);
    assert_eq!(threat.kind.mitre[0].id, "T1046");
    let odd = build(&event(), &scored(&[(ISOLATION_FOREST, 13.0)]), &detectors());
    assert_eq!(odd.description, "Anomalous behaviour by ip:10.0.0.5. Most unusual: bytes is 9 where 1 is usual.");
}

#[test]
fn confidence_grows_with_agreement_history_and_learning() {
    let of = |parts: &[(usize, f32)]| build(&event(), &scored(parts), &detectors()).confidence;
    let (one, two) = (of(&[(FAN_OUT, 20.0)]), of(&[(FAN_OUT, 10.0), (BEHAVIOR, 10.0)]));
    assert!(0.5 < one && one < two && two < 0.95, "{one} {two}");
    let learning = Scored { learning: true, ..scored(&[(FAN_OUT, 20.0)]) };
    assert!(build(&event(), &learning, &detectors()).confidence < 0.7 * one);
    assert!((of(&[(THREAT_INTEL, 24.0)]) - 0.95).abs() < 1e-6, "as good as the list");
}

#[test]
fn the_target_is_the_first_thing_known() {
    let nowhere = Event { dest_ip: "0.0.0.0".parse().unwrap(), ..event() };
    let user = Event { entity: Entity { kind: EntityKind::User, ..event().entity }, ..event() };
    let unknown = Event { source_ip: "0.0.0.0".parse().unwrap(), resource: "", user_id: "", ..nowhere };
    for (event, kind, expected) in [
        (event(), threat_type::PORT_SCAN, "10.0.0.9"),
        (event(), threat_type::DNS_TUNNELING, "sshd"),
        (user, threat_type::UNUSUAL_TIME, "sshd"),
        (nowhere, threat_type::PORT_SCAN, "sshd"),
        (Event { resource: "", ..nowhere }, threat_type::BRUTE_FORCE, "alice"),
        (unknown, threat_type::BRUTE_FORCE, ""),
    ] {
        assert_eq!(context::target(&event, kind), expected);
    }
    assert_eq!(context::source(&unknown), "10.0.0.5", "the entity");
}

#[test]
fn metadata_shows_what_is_there_within_bounds() {
    let mut repairs = Repairs::default();
    repairs.add(Repair::PortClamped);
    let geo = Geo { coordinates: Some((52.5, 13.5)), country: "DE", city: "", asn: 3320 };
    let extra = [("uid", "\"C1\""), ("nested", "{\"a\":[1]}"), ("not json", "a b")];
    let rich = Event { repairs, geo, extra: &extra, bytes: 10, ..event() };
    let metadata = build(&rich, &scored(&[(FAN_OUT, 12.0)]), &detectors()).metadata;
    assert_eq!(metadata["repairs"], json!(["port_clamped"]));
    assert_eq!(metadata["extra"], json!({"uid": "C1", "nested": {"a": [1]}, "not json": "a b"}));
    assert!(!metadata.contains_key("extraOmitted") && !metadata.contains_key("learning"));
    let fields = &metadata["event"];
    assert_eq!(fields["geo"], json!({"lat": 52.5, "lon": 13.5, "country": "DE", "asn": 3320}));
    assert_eq!((&fields["port"], &fields["outcome"], &fields["bytes_transferred"]), (&json!(22), &json!("failure"), &json!(10)));
    assert!(fields.get("user_agent").is_none());

    let names: Vec<String> = (0..100).map(|i| format!("field{i}")).collect();
    let long = format!("\"{}\"", "x".repeat(EXTRA_SHOWN_BYTES_MAX));
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.insert(0, ("too long", &long));
    let metadata = build(&Event { extra: &many, ..event() }, &scored(&[(FAN_OUT, 12.0)]), &detectors()).metadata;
    assert_eq!(metadata["extra"].as_object().unwrap().len(), EXTRA_SHOWN_MAX);
    assert_eq!(metadata["extraOmitted"], json!(101 - EXTRA_SHOWN_MAX));
}

#[test]
fn every_type_has_an_entry_with_advice() {
    let names: Vec<_> = catalog::KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names, threat_type::ALL);
    for kind in &catalog::KINDS {
        assert!((2..=4).contains(&kind.recommendations.len()), "{}", kind.name);
        assert!(kind.recommendations.iter().all(|text| text.ends_with('.')));
        assert!(!kind.mitre.is_empty() || kind.name == threat_type::ANOMALOUS_BEHAVIOR);
        for technique in kind.mitre {
            let digits = technique.id.strip_prefix('T').unwrap();
            assert!(digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{}", technique.id);
        }
    }
    assert_eq!(kind("never heard of").name, threat_type::ANOMALOUS_BEHAVIOR);
}
