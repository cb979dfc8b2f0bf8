//! Verdicts: which one holds, and what is refused.

use super::*;

pub fn feedback(id: &str, verdict: Finding, entity: &str, time: &str) -> Feedback {
    Feedback {
        threat_id: id.to_owned(),
        verdict,
        at: "2026-05-01T00:00:00Z".to_owned(),
        by: Some("kim".to_owned()),
        note: None,
        entity: entity.to_owned(),
        time: time.to_owned(),
        evidence: Evidence { topic: "input".to_owned(), partition: 0, offset: 7 },
    }
}

#[test]
fn the_last_verdict_on_a_threat_holds_for_its_entity_at_its_time() {
    let time = "1970-01-01T00:00:01Z";
    let lines = [
        feedback("a", Finding::Benign, "ip:10.0.0.1", time),
        feedback("b", Finding::Benign, "user:al:ice", time),
        feedback("a", Finding::True, "ip:10.0.0.1", time),
        feedback("b", Finding::True, "user:al:ice", time),
        feedback("b", Finding::Benign, "user:al:ice", time),
    ];
    let text: String = lines.iter().map(Feedback::to_line).collect();
    let judgements = Judgements::parse(&format!("{text}\n")).unwrap();
    assert_eq!((judgements.len(), judgements.unmet(), judgements.has_attacks()), (2, 2, true));
    let at = |kind, name, micros| judgements.attack(kind, name, EventTime(micros));
    assert_eq!(at(EntityKind::Ip, "10.0.0.1", 1_000_000), Some(true));
    assert_eq!(judgements.unmet(), 1, "nobody has asked about the other");
    assert_eq!(at(EntityKind::User, "al:ice", 1_000_000), Some(false));
    assert_eq!([at(EntityKind::Ip, "10.0.0.1", 1_000_001), at(EntityKind::User, "10.0.0.1", 1_000_000)], [None, None]);
    assert_eq!((judgements.unmet(), Judgements::default().is_empty()), (0, true));
}

#[test]
fn lines_that_are_no_verdicts_are_named() {
    let good = feedback("a", Finding::True, "ip:10.0.0.1", "1970-01-01T00:00:01Z").to_line();
    let refused = |line: &str| Judgements::parse(&format!("{good}{line}\n")).unwrap_err().to_string();
    assert!(refused("{\"threatId\": \"b\"}").starts_with("line 2: it is no verdict"));
    assert!(refused(&good.replace("\"true\"", "\"maybe\"")).contains("line 2"));
    assert!(refused(&good.replace("1970-01-01T00:00:01Z", "soon")).contains("its time is none"));
    assert!(refused(&good[..good.len() / 2]).contains("mend or remove it"));
    let long = Feedback { note: Some("x".repeat(STRING_CHARS_MAX + 1)), ..feedback("a", Finding::True, "ip:1.1.1.1", "t") };
    assert!(long.check().unwrap_err().to_string().contains("shorten"));
}

#[test]
fn rows_are_told_by_whose_they_are_and_when() {
    let lines = [
        feedback("a", Finding::True, "user:eve", "1970-01-05T00:00:00Z"),
        feedback("b", Finding::Benign, "user:bob", "1970-01-05T00:00:00Z"),
    ];
    let told = Judgements::parse(&lines.iter().map(Feedback::to_line).collect::<String>()).unwrap().told();
    let day = 86_400_000_000;
    let whose = |name: &str, micros: i64| Whose::of(EntityKind::User, name, EventTime(micros));
    assert_eq!([3 * day, 4 * day, 5 * day].map(|at| told.is_suspect(whose("eve", at))), [true; 3], "a day before and after");
    assert!(!told.is_suspect(whose("eve", 3 * day - 1)) && !told.is_suspect(whose("bob", 4 * day)));
    assert!(told.is_benign(whose("bob", 4 * day)) && !told.is_benign(whose("bob", 4 * day + 1)) && !told.is_benign(whose("eve", 4 * day)));
}
