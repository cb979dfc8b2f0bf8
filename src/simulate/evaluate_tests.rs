//! Judgements on a hand-made label file.

use super::*;
use crate::simulate::Touched;

const MINUTE: i64 = 60_000_000;

fn campaign(id: u32, kind: CampaignKind, entities: &[&str], touched: &[(&str, bool)]) -> Campaign {
    let (start, end) = (EventTime(100 * MINUTE), EventTime(200 * MINUTE));
    let touched = touched
        .iter()
        .map(|(entity, taken_over)| Touched {
            entity: (*entity).to_owned(),
            first: EventTime(120 * MINUTE),
            last: EventTime(130 * MINUTE),
            taken_over: *taken_over,
        })
        .collect();
    let entities = entities.iter().map(|entity| (*entity).to_owned()).collect();
    Campaign {
        id: LabelId(id),
        kind,
        variant: Variant::Loud,
        start,
        end,
        entities,
        description: String::new(),
        technique: "T".into(),
        events: 5,
        touched,
    }
}

fn campaigns() -> Vec<Campaign> {
    vec![
        campaign(
            0,
            CampaignKind::PasswordSpraying,
            &["ip:1.1.1.1", "ip:2.2.2.2"],
            &[("user:a", false), ("user:b", true), ("ip:1.1.1.1", false)],
        ),
        campaign(1, CampaignKind::BackgroundScan, &["ip:9.9.9.9", "ip:1.1.1.1"], &[]),
        campaign(2, CampaignKind::Beaconing, &["ip:10.0.0.1"], &[]),
    ]
}

fn period() -> Period {
    Period { start: EventTime(0), end: EventTime(2 * MICROS_PER_DAY), grace_micros: 10 * MINUTE }
}

fn finding(entity: &str, minute: i64) -> Finding<'_> {
    Finding { time: EventTime(minute * MINUTE), entity, kind: "spray", severity: "high", p: 1e-6 }
}

#[test]
fn a_finding_is_judged_by_its_entity_and_its_time() {
    let campaigns = campaigns();
    let mut evaluator = Evaluator::new(&campaigns, period());
    let spray = Judgement::True(LabelId(0));
    let cases = [
        ("ip:1.1.1.1", 99, Judgement::False),
        ("ip:2.2.2.2", 100, spray),
        ("ip:2.2.2.2", 210, spray),
        ("ip:2.2.2.2", 211, Judgement::False),
        ("ip:1.1.1.1", 150, spray),
        ("user:a", 119, Judgement::False),
        ("user:a", 140, spray),
        ("user:a", 141, Judgement::False),
        ("user:b", 130 + 24 * 60, spray),
        ("ip:9.9.9.9", 150, Judgement::Neutral),
        ("user:2.2.2.2", 150, Judgement::False),
        ("ip:10.0.0.1", 150, Judgement::True(LabelId(2))),
    ];
    for (entity, minute, expected) in cases {
        let judgement = evaluator.add(&finding(entity, minute));
        assert_eq!(judgement, expected, "{entity} at {minute}");
    }
}

#[test]
fn the_report_counts_campaigns_entities_and_delays() {
    let campaigns = campaigns();
    let mut evaluator = Evaluator::new(&campaigns, period());
    evaluator.add(&finding("ip:2.2.2.2", 150));
    evaluator.add(&finding("ip:2.2.2.2", 102));
    evaluator.add(&Finding { kind: "other", ..finding("ip:3.3.3.3", 102) });
    evaluator.add(&finding("ip:9.9.9.9", 102));
    let report = evaluator.report();
    assert_eq!((report.campaigns, report.found, report.rows.len()), (2, 1, 2));
    assert_eq!(report.counts, Counts { true_findings: 2, neutral_findings: 1, false_findings: 1 });
    assert_eq!(report.precision, Some(2.0 / 3.0));
    assert!((report.false_per_day - 0.5).abs() < 1e-12);
    assert_eq!(report.false_entities, [("ip:3.3.3.3".to_owned(), 1)]);
    let spray = report.rows.iter().find(|row| row.kind == CampaignKind::PasswordSpraying).unwrap();
    assert_eq!((spray.found, spray.findings, spray.mostly_as.as_str()), (1, 2, "spray"));
    assert_eq!((spray.seconds_to_first, spray.precision), (Some(120.0), Some(1.0)));
    assert!((spray.entity_recall - 0.5).abs() < 1e-12, "user:a is a victim, not one of the campaign's own");
    let beacon = report.rows.iter().find(|row| row.kind == CampaignKind::Beaconing).unwrap();
    assert_eq!((beacon.found, beacon.seconds_to_first, beacon.precision), (0, None, None));
    let table = report.table();
    assert!(table.iter().all(|line| line.len() == table[0].len()));
    assert!(report.summary().starts_with("1 of 2 campaigns found; precision 66.7 %"), "{}", report.summary());
    assert!(serde_json::to_value(&report).unwrap()["trueFindings"] == 2);
}
