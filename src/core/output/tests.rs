//! Outputs: stable bytes, the hot-path writer against serde, and every record against its schema.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::number::{parse_time, write_escaped, write_number, write_p_value};
use super::*;
use crate::core::event::{Repair, Repairs};
use crate::core::types::EntityKind;

fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

pub(super) fn at(partition: u32, offset: u64) -> Position {
    Position { partition: Partition(partition), offset: Offset(offset) }
}

#[test]
fn numbers() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (-0.000_04, "0"),
        (1.0, "1"),
        (0.5, "0.5000"),
        (-12.345_67, "-12.3457"),
        (99.999_96, "100"),
        (0.000_1, "0.0001"),
        (10.01, "10.0100"),
        (123_456_789.123_45, "123456789.1235"),
        (1_234_567_890.7, "1234567891"),
        (f64::INFINITY, "9000000000000000"),
        (f64::NEG_INFINITY, "-9000000000000000"),
        (f64::NAN, "0"),
    ] {
        assert_eq!(written(|out| write_number(out, value)), text, "{value}");
    }
    for (value, text) in [
        (1.0, "1"),
        (0.5, "0.5000"),
        (0.1, "0.1000"),
        (0.099_999_9, "0.1000"),
        (0.012_345_6, "1.235e-2"),
        (1e-9, "1.000e-9"),
        (9.999_9e-9, "1.000e-8"),
        (0.999_99, "1"),
        (2.0, "1"),
        (0.0, "1.000e-300"),
        (-1.0, "1.000e-300"),
        (f64::NAN, "1"),
    ] {
        assert_eq!(written(|out| write_p_value(out, value)), text, "{value}");
    }
}

#[test]
fn times_round_trip_and_what_we_never_write_is_refused() {
    for micros in [0, -1, 951_782_400_000_000, 1_795_305_600_123_456, 253_402_300_799_999_999] {
        let time = EventTime(micros);
        assert_eq!(time_text(time), time.to_string());
        assert_eq!(parse_time(&time.to_string()), Some(time));
    }
    for text in [
        "",
        "2026-02-30T00:00:00.000000Z",
        "2026-01-01T24:00:00.000000Z",
        "2026-01-01T00:00:00Z",
        "2026-00-01T00:00:00.000000Z",
        "+026-01-01T00:00:00.000000Z",
    ] {
        assert_eq!(parse_time(text), None, "{text}");
    }
    assert_eq!(time_text(EventTime(i64::MAX)), "9999-12-31T23:59:59.999999Z");
    assert_eq!(time_text(EventTime(i64::MIN)), "0000-01-01T00:00:00.000000Z");
}

#[test]
fn base64_is_rfc_4648() {
    for (bytes, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
    assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
}

#[test]
fn ids_depend_on_every_part() {
    let id = output_id("network", "security.events.raw", at(1, 2), "threat");
    assert_eq!(id, output_id("network", "security.events.raw", at(1, 2), "threat"));
    assert_eq!(id.len(), 32);
    let others = [
        output_id("networks", "ecurity.events.raw", at(1, 2), "threat"),
        output_id("network", "security.events.raw", at(2, 1), "threat"),
        output_id("network", "security.events.raw", at(1, 3), "threat"),
        output_id("network", "security.events.raw", at(1, 2), "alert"),
        output_id("identity", "security.events.raw", at(1, 2), "threat"),
    ];
    assert!(!others.contains(&id));
}

fn sample_threat(status: ThreatStatus) -> ThreatRecord {
    ThreatRecord {
        id: output_id("network", "security.events.raw", at(3, 77), "threat"),
        threat_type: "brute_force".into(),
        severity: Severity::High,
        threat_score: 87.123_456,
        risk_score: 8.712_345_6,
        confidence: 0.999_999,
        status,
        timestamp: EventTime(1_795_305_600_000_001),
        source: "10.0.0.1".into(),
        target: "10.0.0.9".into(),
        entity: "ip:10.0.0.1".into(),
        description: "42 failed log-ins in 5 minutes \u{1b}[2J\"".into(),
        anomalies: vec![AnomalyRecord {
            name: "failed_logins".into(),
            description: "many".into(),
            observed: 42.0,
            expected: 0.123_45,
            severity: Severity::High,
        }],
        contributions: vec![ContributionRecord { feature: "failure_ratio".into(), observed: 1.0, expected: 0.01, share: 0.75 }],
        detectors: vec![DetectorRecord { name: "brute_force".into(), model_version: "1".into(), score: 25.3, p_value: 1.234_56e-11 }],
        mitre: vec![MitreRecord { technique: "T1110.001".into(), name: "Password Guessing".into(), tactic: "credential-access".into() }],
        recommendations: vec!["Lock the account".into()],
        evidence: EvidenceRecord::new("security.events.raw", at(3, 77)),
        metadata: Metadata::from([("port".to_owned(), json!(22))]),
    }
}

fn sample_alert() -> AlertRecord {
    AlertRecord {
        id: output_id("network", "security.threats", at(0, 5), "alert"),
        revision: 1,
        severity: Severity::Critical,
        title: "Brute force by ip:10.0.0.1".into(),
        entity: "ip:10.0.0.1".into(),
        risk_score: 9.5,
        threat_types: vec!["brute_force".into()],
        threats: vec![sample_threat(ThreatStatus::Detected).id],
        first_seen: EventTime(1),
        last_seen: EventTime(2),
        count: 3,
        mitre: vec![],
        description: String::new(),
        recommendations: vec![],
        status: AlertStatus::Open,
        suppressed_count: 2,
        metadata: Metadata::new(),
    }
}

fn sample_analytics() -> AnalyticsRecord {
    let counts = AnalyticsCounts {
        events: 10,
        by_severity: BTreeMap::from([("low".to_owned(), 2)]),
        by_event_type: BTreeMap::from([("login".to_owned(), 9)]),
        ..AnalyticsCounts::default()
    };
    AnalyticsRecord {
        id: output_id("network", "security.events.raw", at(0, 9), "analytics"),
        kind: AnalyticsKind::Traffic,
        pipeline: "network".into(),
        partition: 0,
        window: WindowRecord { start: EventTime(0), end: EventTime(60_000_000) },
        counts,
    }
}

fn sample_verdict() -> VerdictRecord<'static> {
    let mut repairs = Repairs::default();
    repairs.add(Repair::PortClamped);
    repairs.add(Repair::FieldLimit);
    VerdictRecord {
        position: at(0, u64::MAX),
        entity_kind: EntityKind::User,
        entity_name: "al\"i\\ce\u{1}",
        timestamp: EventTime(1_795_305_600_000_001),
        score: 12.345_678,
        p_value: 3.456_78e-4,
        threat: true,
        learning: false,
        models: Some(*b"0123456789abcdef"),
        repairs,
        detectors: parts([(0, 0.66, 1e-5), (1, 0.1, 0.5)]),
    }
}

pub(super) fn parts(heard: impl IntoIterator<Item = (usize, f64, f64)>) -> [Part; 9] {
    let mut parts = [Part::NOTHING; 9];
    heard.into_iter().for_each(|(part, score, p_value)| parts[part] = Part { score, p_value });
    parts
}

pub(super) fn line(record: &VerdictRecord<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    VerdictWriter::default().write(record, &mut out);
    out
}

fn schema(name: &str) -> jsonschema::Validator {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
    jsonschema::validator_for(&schema).unwrap()
}

/// Fields that are written only where they say something.
const OPTIONAL: [(&str, &str); 3] = [("verdict", "learning"), ("verdict", "models"), ("verdict", "repairs")];

/// Every published record and its schema's name.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let verdict = line(&sample_verdict());
    let mut letters = Vec::new();
    write_record(
        &mut letters,
        &DeadLetterRecord::new(
            "network",
            EvidenceRecord::new("security.events.raw", at(0, 1)),
            None,
            "malformed",
            "byte 3: expected ':'",
            b"{\"a\" 1}\xff",
            8,
        ),
    );
    vec![
        ("threat", Envelope::ThreatDetected(sample_threat(ThreatStatus::Detected)).to_json()),
        ("threat", Envelope::ThreatResolved(sample_threat(ThreatStatus::Resolved)).to_json()),
        ("alert", Envelope::AlertCreated(sample_alert()).to_json()),
        ("analytics", Envelope::AnalyticsUpdate(sample_analytics()).to_json()),
        ("verdict", verdict),
        ("dead-letter", letters),
    ]
}

#[test]
fn every_record_fits_its_schema_and_a_stray_or_missing_field_does_not() {
    for (name, bytes) in samples() {
        let validator = schema(name);
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        let problems: Vec<String> = validator.iter_errors(&record).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let body = |record: &Value| if record.get("data").is_some() { record["data"].clone() } else { record.clone() };
        for field in body(&record).as_object().unwrap().keys() {
            if OPTIONAL.contains(&(name, field)) {
                continue;
            }
            let mut lacking = record.clone();
            let inner = if lacking.get("data").is_some() { &mut lacking["data"] } else { &mut lacking };
            inner.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&lacking), "{name} without {field}");
        }
        let mut stray = record.clone();
        let inner = if stray.get("data").is_some() { &mut stray["data"] } else { &mut stray };
        inner["strayField"] = json!(1);
        assert!(!validator.is_valid(&stray), "{name} with a stray field");
    }
    let mixed = Envelope::ThreatResolved(sample_threat(ThreatStatus::Detected)).to_json();
    assert!(!schema("threat").is_valid(&serde_json::from_slice(&mixed).unwrap()), "type and status must agree");
}

#[test]
fn every_repair_and_reject_reason_is_in_the_schemas() {
    let mut verdict = sample_verdict();
    verdict.repairs = Repairs::default();
    Repair::ALL.into_iter().for_each(|(repair, _)| verdict.repairs.add(repair));
    assert!(schema("verdict").is_valid(&serde_json::to_value(verdict).unwrap()));
    use crate::core::event::RejectReason as R;
    for reason in
        [R::Empty, R::TooLarge, R::InvalidUtf8, R::Malformed, R::Truncated, R::TooDeep, R::DuplicateKey, R::NotAnEvent, R::Panicked]
    {
        let letter = DeadLetterRecord::new("p", EvidenceRecord::new("t", at(0, 0)), Some(EventTime(0)), reason.as_str(), "", b"", 0);
        assert!(schema("dead-letter").is_valid(&serde_json::to_value(letter).unwrap()), "{reason:?}");
    }
}

#[test]
fn inputs_have_schemas_too() {
    let event = json!({"timestamp": "2026-01-02T03:04:05Z", "source_ip": "10.0.0.1", "dest_ip": "::1", "protocol": "tcp", "port": 443, "bytes_transferred": 10,
        "event_type": "login", "geo": {"lat": 1.5, "lon": 2, "country": "DE", "asn": 64512}, "unknown_field": [1]});
    let validator = schema("raw-event");
    assert!(validator.is_valid(&event));
    for (field, bad) in [
        ("port", json!(70000)),
        ("bytes_transferred", json!(-1)),
        ("protocol", json!("much-too-long")),
        ("source_ip", json!(5)),
        ("geo", json!("DE")),
    ] {
        let mut event = event.clone();
        event[field] = bad;
        assert!(!validator.is_valid(&event), "{field}");
    }
    let time = time_text(EventTime(0));
    let label = json!({"id": 0, "kind": "dns_tunnel", "variant": "slow", "start": time, "end": time, "entities": ["ip:10.0.0.1"], "description": "d", "technique": "T1071.004",
        "events": 3, "touched": [{"entity": "user:a", "first": time, "last": time, "taken_over": false}]});
    assert!(schema("label").is_valid(&label));
}

#[test]
fn records_round_trip_with_their_fields_in_order() {
    for (_, bytes) in samples().into_iter().take(4) {
        let envelope: Envelope = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(envelope.to_json(), bytes, "quantised once, quantised for good");
    }
    let text = String::from_utf8(Envelope::ThreatDetected(sample_threat(ThreatStatus::Detected)).to_json()).unwrap();
    let expected = [
        "{\"type\":\"threat.detected\",\"data\":{\"id\":",
        "\"type\":\"brute_force\"",
        "\"severity\":\"high\"",
        "\"threatScore\":87.1235",
        "\"riskScore\":8.7123",
        "\"confidence\":1.0",
        "\"status\":\"detected\"",
        "\"timestamp\":\"2026-11-22T00:00:00.000001Z\"",
        "\"source\":",
        "\"target\":",
        "\"entity\":\"ip:10.0.0.1\"",
        "\"description\":",
        "\"anomalies\":",
        "\"contributions\":",
        "\"detectors\":",
        "\"modelVersion\":\"1\"",
        "\"pValue\":1.235e-11",
        "\"mitre\":",
        "\"recommendations\":",
        "\"evidence\":",
        "\"metadata\":",
    ];
    let mut from = 0;
    for part in expected {
        from += text[from..].find(part).unwrap_or_else(|| panic!("{part} is not after byte {from} of {text}")) + part.len();
    }
}

#[test]
fn a_dead_letter_keeps_the_beginning_and_the_true_size() {
    let big = vec![b'x'; DEAD_LETTER_BYTES_MAX + 5];
    let letter = DeadLetterRecord::new(
        "p",
        EvidenceRecord::new("t", at(1, 2)),
        Some(EventTime(0)),
        "too_large",
        &"d".repeat(10_000),
        &big,
        10_000_000,
    );
    assert_eq!((letter.raw_bytes, letter.truncated, letter.raw.len()), (10_000_000, true, DEAD_LETTER_BYTES_MAX.div_ceil(3) * 4));
    let mut bytes = Vec::new();
    write_record(&mut bytes, &letter);
    assert!(bytes.len() < crate::limits::OUTPUT_BYTES_MAX);
    assert!(schema("dead-letter").is_valid(&serde_json::from_slice(&bytes).unwrap()));
}

#[test]
fn counts_by_name_stay_bounded() {
    let mut counts = BTreeMap::new();
    for name in ["a", "b", "c", "a", "d", "b"] {
        count_bounded(&mut counts, name, 1, 2);
    }
    assert_eq!(counts, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2), ("other".to_owned(), 2)]));
}

proptest! {
    #[test]
    fn quantising_is_idempotent_and_close(value in prop::num::f64::NORMAL, exponent in -299i32..0, mantissa in 1.0f64..10.0) {
        prop_assert_eq!(quantised(quantised(value)).to_bits(), quantised(value).to_bits());
        if value.abs() < 1e9 { prop_assert!((quantised(value) - value).abs() <= 0.000_051); }
        prop_assert_eq!(written(|out| write_number(out, value)).parse::<f64>().unwrap().to_bits(), quantised(value).to_bits());
        let p_value = mantissa * 10f64.powi(exponent);
        prop_assert!((quantised_p(p_value) / p_value.min(1.0) - 1.0).abs() <= 0.000_51, "{} {}", p_value, quantised_p(p_value));
        prop_assert_eq!(quantised_p(quantised_p(p_value)).to_bits(), quantised_p(p_value).to_bits());
    }

    #[test]
    fn text_is_escaped_as_json(text in "(\\PC|[\\x00-\\x7f]){0,30}") {
        let json = written(|out| { out.push(b'"'); write_escaped(out, &text); out.push(b'"'); });
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
